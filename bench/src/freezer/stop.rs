//! SIGSTOP to the process group: works everywhere, but the subject can tell (SIGCONT at the end),
//! and a child that left the group escapes, which the proof notices only if it is busy.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Freezer;
use super::verify::all_stopped;
use crate::error::{Error, Result};

/// Freezes by signals.
pub struct Sigstop;

impl Sigstop {
    fn send(self, leader: u32, signal: Signal, name: &str) -> Result<()> {
        let group = Pid::from_raw(leader.cast_signed()).ok_or_else(|| Error::new("there is no process to signal"))?;
        kill_process_group(group, signal).map_err(|cause| Error::failed("send", name, cause))
    }
}

impl Freezer for Sigstop {
    fn way(&self) -> &'static str {
        "SIGSTOP"
    }

    fn admission(&self) -> Option<PathBuf> {
        None
    }

    fn ask(&self, leader: u32) -> Result<()> {
        Self.send(leader, Signal::STOP, "SIGSTOP")
    }

    fn in_force(&self, leader: u32) -> bool {
        all_stopped(&self.pids(leader))
    }

    fn thaw(&self, leader: u32) -> Result<()> {
        Self.send(leader, Signal::CONT, "SIGCONT")
    }

    fn pids(&self, leader: u32) -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return vec![leader] };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| group_of(*pid) == Some(leader)).collect()
    }

    fn remove(&self) {}
}

fn group_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse().ok()
}
