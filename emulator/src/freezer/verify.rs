//! The proof that processes stand still, from `/proc`: between two looks no task used processor time, and the scheduler
//! switched none in or out.
//!
//! An idle process passes this too, so it is evidence only together with the kernel's own "frozen", which the callers
//! ask for first. It catches a child that escaped the freeze.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Proof;
use crate::error::{Error, Result};
use crate::process::{has_stop_pending, tasks};

/// The time between two looks.
const WATCH: Duration = Duration::from_millis(30);

/// How many times we look again if something moved: a task may need a moment to stop.
const LOOKS_MAX: usize = 5;

/// Watches every task of the processes that `pids` names.
///
/// # Errors
/// If there is no process to watch, or if one keeps running.
pub fn stood_still(method: &'static str, pids: impl Fn() -> Vec<u32>) -> Result<Proof> {
    let mut before = activity(&pids());
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(WATCH);
        let after = activity(&pids());
        if after.is_empty() {
            return Err(Error::new(format!("{method}: it froze no process that could be watched")));
        }
        if before == after {
            return Ok(Proof::Tasks { method, tasks: after.len(), watched: WATCH });
        }
        before = after;
    }
    Err(Error::new(format!("{method}: the target ran although the kernel says that it is frozen")))
}

/// Whether every task of these processes is stopped by a signal, or has ended.
pub fn all_stopped(pids: &[u32]) -> bool {
    pids.iter().all(|pid| is_stopped(*pid))
}

/// Whether every task of this process is stopped by a signal, or has ended.
///
/// A task in an uninterruptible wait cannot stop, but it runs nothing of its program before it does. So it counts as
/// stopped once SIGSTOP was sent. There may be no end to that wait: the parent of a vfork waits until its child calls
/// exec, and the child is stopped, too.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = tasks(pid);
    let all_in = |states: &[char]| tasks.iter().all(|task| states.contains(&task.state));
    let one_has_stopped = || tasks.iter().any(|task| task.state == 'T');
    all_in(&['T', 'Z', 'X']) || (all_in(&['T', 'Z', 'X', 'D']) && (one_has_stopped() || has_stop_pending(pid)))
}

/// The processor time and the context switches of each task.
fn activity(pids: &[u32]) -> BTreeMap<(u32, u32), (u64, u64)> {
    let tasks = pids.iter().flat_map(|&pid| tasks(pid).into_iter().map(move |task| (pid, task)));
    tasks.map(|(pid, task)| ((pid, task.id), (task.ticks, task.switches))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_is_no_proof() {
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
            assert!(proven.unwrap_err().to_string().contains("the target ran"));
        });
    }
}
