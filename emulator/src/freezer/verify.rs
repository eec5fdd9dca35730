//! The proof that processes stand still, out of `/proc`: no task used processor time and none was
//! switched in or out between two looks.
//!
//! An idle process passes this too; it is evidence only together with the kernel's own "frozen",
//! which the callers ask for first. What it catches is a child that escaped the freeze.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Proof;
use crate::error::{Error, Result};
use crate::process::{switches, tasks};

/// How long is watched.
const WATCH: Duration = Duration::from_millis(30);

/// A look is repeated so often when something moved: a task may need an instant to be caught.
const LOOKS_MAX: usize = 5;

/// Watches every task of the processes that `pids` names.
///
/// # Errors
/// When there is none to watch, or they keep running.
pub fn stood_still(method: &'static str, pids: impl Fn() -> Vec<u32>) -> Result<Proof> {
    let mut before = activity(&pids());
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(WATCH);
        let after = activity(&pids());
        if after.is_empty() {
            return Err(Error::new(format!("{method}: there is no process to watch")));
        }
        if before == after {
            return Ok(Proof { method, tasks: after.len(), watched: WATCH });
        }
        before = after;
    }
    Err(Error::new(format!("{method}: the target was seen running although it is said to be frozen")))
}

/// Whether every task of these processes is stopped by a signal, or has ended.
pub fn all_stopped(pids: &[u32]) -> bool {
    pids.iter().flat_map(|pid| tasks(*pid)).all(|task| matches!(task.state, 'T' | 'Z'))
}

/// The processor time and the context switches of each task.
fn activity(pids: &[u32]) -> BTreeMap<(u32, u32), (u64, u64)> {
    let tasks = pids.iter().flat_map(|&pid| tasks(pid).into_iter().map(move |task| (pid, task)));
    tasks.filter_map(|(pid, task)| Some(((pid, task.id), (task.ticks, switches(pid, task.id)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
