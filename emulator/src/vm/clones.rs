//! Two clones of one guest, and what each of them draws at the same call.

use std::time::Duration;

use super::matrix::{call, initialized};
use super::{Guest, Options, Program, Tools};
use crate::error::Result;

/// Saves a guest, restores it twice `pause` later, makes the call `GET path` to both clones, and returns the two
/// answers. The program has had one such call before it was saved, so that its generator runs.
///
/// # Errors
/// If the guest cannot be booted, saved or restored, or the program does not answer.
pub fn draw(
    tools: &Tools,
    program: &Program,
    port: u16,
    path: &str,
    pause: Duration,
    generation_id: bool,
) -> Result<[String; 2]> {
    let options = Options { generation_id, ..Options::default() };
    let (mut guest, platform) = initialized(tools, program, port, &options)?;
    // Each clone gets a request id of its own, as on the platform.
    let ask = |guest: &Guest| -> Result<String> {
        let body = call(guest, &platform.http("GET", path, &[], Vec::new()))?;
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    };
    ask(&guest)?;
    let snapshot = guest.snapshot()?;
    drop(guest);
    std::thread::sleep(pause);
    let clones = [Guest::restore(&snapshot)?, Guest::restore(&snapshot)?];
    Ok([ask(&clones[0])?, ask(&clones[1])?])
}
