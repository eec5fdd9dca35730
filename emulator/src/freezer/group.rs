//! A freeze group holds one target and everything that the target starts, and is frozen and thawed as one.
//!
//! A group is created before its target, which enters its control group before its exec, and is removed after it. A
//! member that no control group freezes gets SIGSTOP: each of them if there is no control group, and one that left it
//! otherwise. [`FreezeGroup::kill`] thaws a group for good: not even SIGKILL ends a process that the cgroup v1 freezer
//! holds.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::cgroup::{Cgroup, Switch};
use super::{FREEZE_WAIT, FreezeWith, Proof, all_stopped, cgroup_for, is_stopped, stood_still};
use crate::cleanup::{self, Guard, Undo};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::process;

/// A control group that does not freeze within this time is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The freezer of one target. Dropping it removes its control group.
///
/// Its methods take the id of the root, from which the members are found: see [`FreezeGroup::new`] and
/// [`FreezeGroup::below`].
pub struct FreezeGroup {
    shared: Arc<Shared>,
    members: Members,
    _guard: Guard,
}

/// Which processes belong to a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Those in the control group; without one, the root and its descendants. This is cheap enough for thousands of
    /// groups, but misses a process whose parent has ended.
    Root,
    /// Those in the control group and all descendants of the root, but not the root. The root adopts every process
    /// whose parent ends, so none is missed.
    BelowRoot,
}

struct Shared {
    /// `None` if SIGSTOP freezes the members.
    cgroup: Option<Cgroup>,
    /// Set by [`FreezeGroup::kill`]. Locked while a freeze is requested, so that none can follow the kill.
    killed: Mutex<bool>,
    /// The processes that a freeze has stopped by SIGSTOP. Nothing else may be continued, because the target can stop
    /// processes of its own; and a thaw that looked for them anew would take longer than the rest of it.
    stopped: Mutex<Vec<u32>>,
}

impl fmt::Debug for FreezeGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FreezeGroup").field(&self.name()).finish()
    }
}

struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        if let Some(cgroup) = &self.0.cgroup {
            cgroup.remove();
        }
    }
}

impl FreezeGroup {
    /// Creates an empty group for a target whose main process is the root. With SIGSTOP, its members are the root and
    /// its descendants.
    ///
    /// # Errors
    /// If this method does not work here; the text names the cause and what to do. [`FreezeWith::Auto`] always works:
    /// it falls back to SIGSTOP.
    pub fn new(freeze_with: FreezeWith) -> Result<Self> {
        Self::with_members(freeze_with, Members::Root)
    }

    /// Creates an empty group for everything below the root, which adopts orphans (`PR_SET_CHILD_SUBREAPER`) and is
    /// not frozen itself.
    ///
    /// # Errors
    /// As [`FreezeGroup::new`].
    pub fn below(freeze_with: FreezeWith) -> Result<Self> {
        Self::with_members(freeze_with, Members::BelowRoot)
    }

    fn with_members(freeze_with: FreezeWith, members: Members) -> Result<Self> {
        let (shared, guard) = cleanup::make(|| {
            let shared = Arc::new(Shared {
                cgroup: cgroup_for(freeze_with)?,
                killed: Mutex::new(false),
                stopped: Mutex::default(),
            });
            Ok((shared.clone(), Removal(shared)))
        })?;
        Ok(Self { shared, members, _guard: guard })
    }

    /// The name of its method, for reports.
    pub fn name(&self) -> &'static str {
        self.shared.cgroup.as_ref().map_or("SIGSTOP", Cgroup::name)
    }

    /// The file into which a new process writes `0` to enter the group, if the method has one. A process must enter
    /// before its exec, so that all its children are in the group, too.
    pub fn entry(&self) -> Option<PathBuf> {
        self.shared.cgroup.as_ref().map(Cgroup::entry)
    }

    /// How to thaw the group by a write, if the method has a file for it.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only a supervisor needs it"))]
    pub(crate) fn switch(&self) -> Option<Switch> {
        self.shared.cgroup.as_ref().map(Cgroup::switch)
    }

    /// Requests a freeze. [`FreezeGroup::is_frozen`] says when it is in force.
    ///
    /// # Errors
    /// If the kernel refuses, or the group was killed.
    pub fn request_freeze(&self, root: u32) -> Result<()> {
        self.unless_killed(|| self.request(root))
    }

    /// Freezes the group and waits until the kernel says that it is frozen.
    ///
    /// # Errors
    /// If the kernel refuses or does not finish within [`FREEZE_WAIT`], or the group was killed.
    pub fn freeze(&self, root: u32) -> Result<()> {
        self.unless_killed(|| self.freeze_and_wait(root))
    }

    /// Freezes the group and proves that nothing in it runs. Without a proof the group is thawed again.
    ///
    /// # Errors
    /// As [`FreezeGroup::freeze`], or if a task ran although it was frozen.
    pub fn freeze_proven(&self, root: u32) -> Result<Proof> {
        self.unless_killed(|| {
            self.freeze_and_wait(root)?;
            let proven = stood_still(self.name(), || self.pids(root));
            if proven.is_err() {
                self.thaw()?;
            }
            proven
        })
    }

    /// Whether the kernel says that the freeze is in force.
    pub fn is_frozen(&self, root: u32) -> bool {
        self.shared.cgroup.as_ref().is_none_or(Cgroup::is_frozen) && all_stopped(&self.outside(root))
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        if let Some(cgroup) = &self.shared.cgroup {
            cgroup.thaw()?;
        }
        // A busy machine may stop a process later than at the first signal, so it can be here twice. To the target, two
        // signals are two thaws.
        let mut stopped = std::mem::take(&mut *self.stopped());
        stopped.sort_unstable();
        stopped.dedup();
        signal(stopped, Signal::CONT);
        Ok(())
    }

    /// Every process in the group.
    pub fn pids(&self, root: u32) -> Vec<u32> {
        let mut pids = self.shared.cgroup.as_ref().map_or(Vec::new(), Cgroup::pids);
        // The list of a cgroup v1 can be a second old, so it may lack a new process.
        let others = match self.members {
            Members::Root => self.outside(root),
            Members::BelowRoot => process::below(root),
        };
        pids.extend(others);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills every process in the group, and thaws the group for good so that the kill takes effect.
    pub fn kill(&self, root: u32) {
        *self.killed() = true;
        signal(self.pids(root), Signal::KILL);
        // The group may be thawed already.
        let _ = self.thaw();
    }

    /// The members that no control group freezes.
    fn outside(&self, root: u32) -> Vec<u32> {
        match (&self.shared.cgroup, self.members) {
            (None, Members::Root) => process::descendants(root),
            (None, Members::BelowRoot) => process::below(root),
            (Some(_), Members::Root) => Vec::new(),
            (Some(cgroup), Members::BelowRoot) => {
                let mut below = process::below(root);
                below.retain(|pid| !cgroup.holds(*pid));
                below
            }
        }
    }

    fn request(&self, root: u32) -> Result<()> {
        if let Some(cgroup) = &self.shared.cgroup {
            cgroup.request()?;
        }
        // A process that was about to start another one may have done so. What it started then, the wait stops.
        self.stop_outside(root);
        self.stop_outside(root);
        Ok(())
    }

    /// Stops what no control group freezes.
    fn stop_outside(&self, root: u32) {
        let mut running = self.outside(root);
        running.retain(|pid| !is_stopped(*pid));
        self.stopped().extend(&running);
        signal(running, Signal::STOP);
    }

    fn freeze_and_wait(&self, root: u32) -> Result<()> {
        self.request(root)?;
        let mut asked = Instant::now();
        let look = || {
            if self.is_frozen(root) {
                return Some(());
            }
            self.stop_outside(root);
            if asked.elapsed() > ASK_AGAIN_AFTER {
                asked = Instant::now();
                // If this fails, the freeze does not come into force, and that is the error.
                let _ = self.shared.cgroup.as_ref().map(Cgroup::request_again);
            }
            None
        };
        Deadline::after(FREEZE_WAIT).until(look).ok_or_else(|| {
            // A half frozen target must not stay behind. We report the error of the freeze, not one of the thaw.
            let _ = self.thaw();
            Error::new(format!("{}: the freeze was not in force after {} s", self.name(), FREEZE_WAIT.as_secs()))
        })
    }

    fn unless_killed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let killed = self.killed();
        if *killed { Err(Error::new("the target is being removed")) } else { work() }
    }

    fn stopped(&self) -> MutexGuard<'_, Vec<u32>> {
        self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn killed(&self) -> MutexGuard<'_, bool> {
        self.shared.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signals processes. Any of them may have ended by now.
fn signal(pids: Vec<u32>, signal: Signal) {
    for pid in pids.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        #[cfg(not(target_os = "linux"))]
        let _ = rustix::process::kill_process_group(pid, signal);
        let _ = kill_process(pid, signal);
    }
}
