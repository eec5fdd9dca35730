//! The proof that processes stand still, out of `/proc`: no task used processor time and none was
//! switched in or out between two looks.
//!
//! An idle process passes this too; it is evidence only together with the kernel's own "frozen",
//! which the callers ask for first. What it catches is a child that escaped the freeze.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::Proof;
use crate::error::{Error, Result};

/// How long is watched.
const WATCH: Duration = Duration::from_millis(30);

/// A look is repeated so often when something moved: a task may need an instant to be caught.
const LOOKS_MAX: usize = 5;

/// Watches every task of the processes that `pids` names.
///
/// # Errors
/// When there is none to watch, or they keep running.
pub fn stood_still(way: &'static str, pids: impl Fn() -> Vec<u32>) -> Result<Proof> {
    let mut before = activity(&pids());
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(WATCH);
        let after = activity(&pids());
        if after.is_empty() {
            return Err(Error::new(format!("{way}: there is no process to watch")));
        }
        if before == after {
            return Ok(Proof { way, tasks: after.len(), watched: WATCH });
        }
        before = after;
    }
    Err(Error::new(format!("{way}: the subject was seen running although it is said to be frozen")))
}

/// Whether every task of these processes is stopped by a signal.
pub fn all_stopped(pids: &[u32]) -> bool {
    let stopped = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 'Z']));
    pids.iter().flat_map(|pid| task_dirs(*pid)).all(|dir| {
        // A task that is gone does not run.
        fs::read_to_string(format!("{dir}/stat")).map_or(true, |stat| stopped(&stat))
    })
}

/// Per task: processor time in ticks and context switches.
fn activity(pids: &[u32]) -> BTreeMap<String, (u64, u64)> {
    let dirs = pids.iter().flat_map(|pid| task_dirs(*pid));
    dirs.filter_map(|dir| {
        let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
        let status = fs::read_to_string(format!("{dir}/status")).ok()?;
        Some((dir, (ticks(&stat), switches(&status))))
    })
    .collect()
}

fn task_dirs(pid: u32) -> Vec<String> {
    let tasks = format!("/proc/{pid}/task");
    let Ok(entries) = fs::read_dir(&tasks) else { return Vec::new() };
    entries.flatten().map(|entry| format!("{tasks}/{}", entry.file_name().to_string_lossy())).collect()
}

/// User and system time: fields 14 and 15, counted after the name, which may hold anything.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn switches(status: &str) -> u64 {
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_time_and_switches() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 1 2 3 4 50 6 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), 56);
        assert_eq!(switches("voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n"), 7);
    }

    #[test]
    fn nothing_to_watch_is_no_proof() {
        assert!(stood_still("test", Vec::new).is_err());
    }

    #[test]
    fn a_running_process_is_no_proof() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            });
            let proven = stood_still("test", || vec![std::process::id()]);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(proven.unwrap_err().to_string().contains("seen running"));
        });
    }
}
