//! SIGSTOP to the process group. It works everywhere, but the target can notice it, because SIGCONT ends it. A child
//! that left the process group is not stopped; the proof notices that only if the child is busy.

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
        let group = Pid::from_raw(leader.cast_signed())
            .ok_or_else(|| Error::new("the process group to signal does not exist"))?;
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
