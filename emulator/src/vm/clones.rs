//! Two clones of one guest, and what each of them draws at the same call.

use std::fmt;
use std::time::Duration;

use super::matrix::{call, compared, initialized};
use super::{Guest, Options, Program, Tools};
use crate::error::Result;

/// The answers of two clones to the same call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The answers.
    pub answers: [String; 2],
    /// A random number of each kernel.
    pub kernel: [String; 2],
}

/// Saves a guest, restores it twice `pause` later, and makes the call `GET path` to both clones. The program has had one
/// such call before it was saved, so that its generator runs.
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
) -> Result<Drawn> {
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
    let (mut one, mut two) = (Guest::restore(&snapshot)?, Guest::restore(&snapshot)?);
    let answers = [ask(&one)?, ask(&two)?];
    Ok(Drawn { answers, kernel: [one.random()?, two.random()?] })
}

impl Drawn {
    /// Whether the two answers are different.
    pub fn differ(&self) -> bool {
        self.answers[0] != self.answers[1]
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two] = &self.answers;
        write!(f, "{one} | {two} | {} | {}", compared(&self.answers), compared(&self.kernel))
    }
}
