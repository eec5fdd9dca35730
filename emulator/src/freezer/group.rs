//! A freeze group holds one target and everything that the target starts, and is frozen and thawed as one.
//!
//! A group is created before its target, which enters it before its exec, and is removed after it.
//! [`FreezeGroup::kill`] thaws a group for good: not even SIGKILL ends a process that the cgroup v1 freezer holds.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use super::{FreezeWith, Freezer, Proof, all_stopped, for_processes, freeze, stood_still};
use crate::cleanup::{self, Guard, Undo};
use crate::error::{Error, Result};
use crate::process::descendants;

/// The freezer of one target. Dropping it removes its control group.
pub struct FreezeGroup {
    shared: Arc<Shared>,
    members: Members,
    _guard: Guard,
}

/// Which processes belong to a group if the kernel keeps no list of them, as with SIGSTOP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// The members of the process group. Finding them takes a search of all of `/proc`.
    ProcessGroup,
    /// The leader and its descendants, even those that moved to another process group. This is cheap enough for
    /// thousands of groups.
    Descendants,
}

struct Shared {
    freezer: Box<dyn Freezer>,
    /// Set by [`FreezeGroup::kill`]. Locked while a freeze is requested, so that none can follow the kill.
    killed: Mutex<bool>,
}

impl fmt::Debug for FreezeGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FreezeGroup").field(&self.name()).finish()
    }
}

struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        self.0.freezer.remove();
    }
}

impl FreezeGroup {
    /// Creates an empty group.
    ///
    /// # Errors
    /// If this method does not work here; the text names the cause and what to do. [`FreezeWith::Auto`] always works:
    /// it falls back to SIGSTOP.
    pub fn new(freeze_with: FreezeWith) -> Result<Self> {
        Self::with_members(freeze_with, Members::ProcessGroup)
    }

    /// Creates an empty group for one of many targets. With SIGSTOP, its members are the leader and its descendants.
    ///
    /// # Errors
    /// As [`FreezeGroup::new`].
    pub fn of_descendants(freeze_with: FreezeWith) -> Result<Self> {
        Self::with_members(freeze_with, Members::Descendants)
    }

    fn with_members(freeze_with: FreezeWith, members: Members) -> Result<Self> {
        let (shared, guard) = cleanup::make(|| {
            let shared = Arc::new(Shared { freezer: for_processes(freeze_with)?, killed: Mutex::new(false) });
            Ok((shared.clone(), Removal(shared)))
        })?;
        Ok(Self { shared, members, _guard: guard })
    }

    /// The name of its method, for reports.
    pub fn name(&self) -> &'static str {
        self.shared.freezer.name()
    }

    /// The file into which a new process writes `0` to enter the group, if the method has one. A process must enter
    /// before its exec, so that all its children are in the group, too.
    pub fn entry(&self) -> Option<PathBuf> {
        self.shared.freezer.entry()
    }

    /// Requests a freeze of the group with this leader. [`FreezeGroup::is_frozen`] says when it is in force.
    ///
    /// # Errors
    /// If the kernel refuses, or the group was killed.
    pub fn request_freeze(&self, leader: u32) -> Result<()> {
        self.unless_killed(|| self.shared.freezer.request(leader))
    }

    /// Freezes the group and waits until the kernel says that it is frozen.
    ///
    /// # Errors
    /// If the kernel refuses or does not finish within [`FREEZE_WAIT`](super::FREEZE_WAIT), or the group was killed.
    pub fn freeze(&self, leader: u32) -> Result<()> {
        self.unless_killed(|| freeze(&*self.shared.freezer, leader))
    }

    /// Freezes the group and proves that nothing in it runs. Without a proof the group is thawed again.
    ///
    /// # Errors
    /// As [`FreezeGroup::freeze`], or if a task ran although it was frozen.
    pub fn freeze_proven(&self, leader: u32) -> Result<Proof> {
        self.unless_killed(|| {
            freeze(&*self.shared.freezer, leader)?;
            let proven = stood_still(self.name(), || self.pids(leader));
            if proven.is_err() {
                self.thaw(leader)?;
            }
            proven
        })
    }

    /// Whether the kernel says that the freeze is in force.
    pub fn is_frozen(&self, leader: u32) -> bool {
        if self.lists_members_itself() {
            return self.shared.freezer.is_frozen(leader);
        }
        all_stopped(&self.pids(leader))
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn thaw(&self, leader: u32) -> Result<()> {
        self.shared.freezer.thaw(leader)
    }

    /// Every process in the group.
    pub fn pids(&self, leader: u32) -> Vec<u32> {
        match (self.lists_members_itself(), self.members) {
            (false, Members::Descendants) => descendants(leader),
            _ => self.shared.freezer.pids(leader),
        }
    }

    /// Kills every process that the group lists, and thaws the group for good so that the kill takes effect. With
    /// SIGSTOP the group lists none: the owner of the leader kills its process group.
    pub fn kill(&self, leader: u32) {
        *self.killed() = true;
        self.kill_members(leader);
        // The group may be thawed already.
        let _ = self.thaw(leader);
    }

    /// Kills every process that the group lists.
    pub(crate) fn kill_members(&self, leader: u32) {
        let members = if self.lists_members_itself() { self.pids(leader) } else { Vec::new() };
        for pid in members.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may have ended by now.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Whether the kernel keeps the list of members.
    fn lists_members_itself(&self) -> bool {
        self.entry().is_some()
    }

    fn unless_killed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let killed = self.killed();
        if *killed { Err(Error::new("the target is being removed")) } else { work() }
    }

    fn killed(&self) -> MutexGuard<'_, bool> {
        self.shared.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
