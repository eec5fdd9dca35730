//! SIGSTOP to the process group: works everywhere, but the target can tell (SIGCONT at the end),
//! and a child that left the group escapes, which the proof notices only if it is busy.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Freezer;
use super::verify::all_stopped;
use crate::error::{Error, Result};
use crate::process;

/// Freezes by signals.
pub struct Sigstop;

impl Sigstop {
    fn send(self, leader: u32, signal: Signal, name: &str) -> Result<()> {
        let group = Pid::from_raw(leader.cast_signed()).ok_or_else(|| Error::new("there is no process to signal"))?;
        kill_process_group(group, signal).map_err(|cause| Error::failed("send", name, cause))
    }
}

impl Freezer for Sigstop {
    fn name(&self) -> &'static str {
        "SIGSTOP"
    }

    fn entry(&self) -> Option<PathBuf> {
        None
    }

    fn request(&self, leader: u32) -> Result<()> {
        Self.send(leader, Signal::STOP, "SIGSTOP")
    }

    fn is_frozen(&self, leader: u32) -> bool {
        all_stopped(&self.pids(leader))
    }

    fn thaw(&self, leader: u32) -> Result<()> {
        Self.send(leader, Signal::CONT, "SIGCONT")
    }

    fn pids(&self, leader: u32) -> Vec<u32> {
        process::group(leader)
    }

    fn remove(&self) {}
}
