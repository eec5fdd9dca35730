//! Counts the instructions of one start in user space with valgrind's callgrind.
//!
//! The count begins with the exec and ends when the first call was answered and the server sleeps again, so that it
//! holds nothing of the exit.

use std::time::{Duration, Instant};

use super::Outcome;
use super::client::Client;
use crate::harness::{Callgrind, Contender};
use fc_emulator::clock::Deadline;

/// The time limit of a start.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_QUICK: Duration = Duration::from_secs(3);

/// A start that takes longer than this is not repeated.
const SLOW: Duration = Duration::from_secs(3);

/// The count of one start.
pub struct Counted {
    /// Instructions in user space.
    pub instructions: u64,
    /// Whether the start took so long that it should not be repeated.
    pub slow: bool,
}

/// Starts a contender once under callgrind.
///
/// # Errors
/// If the contender does not run under valgrind, or does not answer in time.
pub fn count(contender: &Contender, client: &Client, quick: bool) -> Outcome<Counted> {
    let began = Instant::now();
    let mut server = Callgrind::start(contender, &[]).map_err(|cause| cause.to_string())?;
    let deadline = Deadline::after(if quick { PATIENCE_QUICK } else { PATIENCE });
    let mut conn = server.connect(deadline).map_err(|cause| cause.to_string())?;
    let reply = conn.exchange(&client.initialize(), deadline).map_err(|why| format!("under valgrind: {why}"))?;
    client.judge_initialize(contender, &reply)?;
    let instructions = server.count(deadline).map_err(|cause| cause.to_string())?;
    Ok(Counted { instructions, slow: began.elapsed() > SLOW })
}
