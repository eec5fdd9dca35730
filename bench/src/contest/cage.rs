//! Cages: each holds one instance and everything that it starts, and can be frozen and thawed alone.
//!
//! A cage is made before its instance, which enters before its exec, and goes after it. Whoever takes an instance away
//! opens its cage for good: what is frozen cannot even be killed.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::Timespec;

use super::proc_fs::family;
use super::start::{Instance, now};
use crate::cleanup::{self, Guard, Undo};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::freezer::{self, FREEZE_WAIT, Freezer, Way, all_stopped, stood_still};

/// A freezer for one instance.
pub struct Cage {
    shared: Arc<Shared>,
    _guard: Guard,
}

struct Shared {
    freezer: Box<dyn Freezer>,
    /// Open for good. Locked while a freeze is asked for, so that none can follow the opening.
    open: Mutex<bool>,
}

impl fmt::Debug for Cage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cage").field(&self.way()).finish()
    }
}

struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        self.0.freezer.remove();
    }
}

impl Cage {
    /// An empty one.
    ///
    /// # Errors
    /// When this way of freezing does not work here.
    pub fn make(way: Way) -> Result<Arc<Self>> {
        let (shared, guard) = cleanup::make(|| {
            let shared = Arc::new(Shared { freezer: freezer::for_process(way)?, open: Mutex::new(false) });
            Ok((shared.clone(), Removal(shared)))
        })?;
        Ok(Arc::new(Self { shared, _guard: guard }))
    }

    /// By which means it freezes.
    pub fn way(&self) -> &'static str {
        self.shared.freezer.way()
    }

    /// The file by which a process enters.
    pub(super) fn admission(&self) -> Option<PathBuf> {
        self.shared.freezer.admission()
    }

    /// Asks for the freeze.
    pub(super) fn ask(&self, leader: u32) -> Result<()> {
        match *self.shared.lock() {
            true => Err(Error::new("it is being taken away")),
            false => self.shared.freezer.ask(leader),
        }
    }

    pub(super) fn in_force(&self, leader: u32) -> bool {
        match self.admission() {
            Some(_) => self.shared.freezer.in_force(leader),
            // The freezer would look through all processes of the machine for each of many instances.
            None => all_stopped(&self.pids(leader)),
        }
    }

    pub(super) fn thaw(&self, leader: u32) -> Result<()> {
        self.shared.freezer.thaw(leader)
    }

    /// Every process in it.
    pub(super) fn pids(&self, leader: u32) -> Vec<u32> {
        match self.admission() {
            Some(_) => self.shared.freezer.pids(leader),
            // By signals: who left the process group would not be seen by the freezer, but here.
            None => family(leader),
        }
    }

    /// Kills all that is in it and thaws it for good, so that the kill can act.
    pub(super) fn open(&self, leader: u32) {
        let mut open = self.shared.lock();
        *open = true;
        // Without a list of its own it holds a process group, which the instance kills.
        let members = if self.admission().is_some() { self.pids(leader) } else { Vec::new() };
        for pid in members.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.thaw(leader);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Freezes all these, as close together as can be, and proves that they stand still. Returns the time at which the last
/// was frozen by the kernel's word, and what came of each; one that failed is not frozen.
pub fn freeze_all(instances: &[&Instance]) -> (Timespec, Vec<Result<()>>) {
    let mut outcomes: Vec<Result<()>> = instances.iter().map(|instance| ask(instance)).collect();
    let deadline = Deadline::after(FREEZE_WAIT);
    for (instance, outcome) in frozen(instances, &mut outcomes) {
        if deadline.until(|| instance.is_frozen().then_some(())).is_none() {
            *outcome = give_up(instance, Error::new("the freeze did not come into force"));
        }
    }
    let frozen_at = now();
    // One look at all of them; one by one only if it has to be found out who ran.
    let pids = |instance: &Instance| instance.cage().map_or(Vec::new(), |cage| cage.pids(instance.pid()));
    let all: Vec<&Instance> = frozen(instances, &mut outcomes).map(|(instance, _)| instance).collect();
    let proven = stood_still("the freeze", || all.iter().flat_map(|instance| pids(instance)).collect());
    if proven.is_err() {
        for (instance, outcome) in frozen(instances, &mut outcomes) {
            if let Err(cause) = stood_still("the freeze", || pids(instance)) {
                *outcome = give_up(instance, cause);
            }
        }
    }
    (frozen_at, outcomes)
}

fn ask(instance: &Instance) -> Result<()> {
    match instance.try_exit() {
        Some(status) => Err(Error::new(format!("it ended before the freeze: {status}"))),
        None => instance.cage()?.ask(instance.pid()),
    }
}

fn frozen<'a>(
    instances: &'a [&'a Instance],
    outcomes: &'a mut [Result<()>],
) -> impl Iterator<Item = (&'a Instance, &'a mut Result<()>)> {
    instances.iter().copied().zip(outcomes).filter(|(_, outcome)| outcome.is_ok())
}

fn give_up(instance: &Instance, cause: Error) -> Result<()> {
    instance.thaw()?;
    Err(cause)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::contest::{Contender, Roster, Start};

    fn contender(words: &str) -> Contender {
        let mut roster = Roster::default();
        roster.give(&format!("it={words}")).unwrap();
        roster.contenders.remove(0)
    }

    #[test]
    fn what_is_frozen_stands_still_and_can_be_taken_away() {
        for way in [Way::CgroupV1, Way::CgroupV2, Way::Sigstop] {
            let start = |words| {
                let cage = Some(Cage::make(way)?);
                Instance::start(&contender(words), &Start { cage, ..Start::default() })
            };
            let (busy, asleep, ended) = match (start("yes"), start("sleep 600"), start("true")) {
                (Ok(busy), Ok(asleep), Ok(ended)) => (busy, asleep, ended),
                (Err(cause), ..) if way != Way::Sigstop => {
                    eprintln!("skipped: {cause}");
                    continue;
                }
                (busy, asleep, ended) => panic!("{way:?}: {:?}", [busy.err(), asleep.err(), ended.err()]),
            };
            assert!(Deadline::after(Duration::from_secs(10)).until(|| ended.try_exit()).is_some());
            let (_, outcomes) = freeze_all(&[&busy, &ended, &asleep]);
            assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true], "{outcomes:?}");
            assert!(busy.is_frozen() && asleep.is_frozen());
            asleep.thaw().unwrap();
            assert!(busy.is_frozen() && !asleep.is_frozen());
            let process = format!("/proc/{}", busy.pid());
            let cage = Arc::downgrade(busy.cage().map(|cage| &cage.shared).unwrap());
            drop(busy);
            assert!(!Path::new(&process).exists() && cage.strong_count() == 0, "{way:?}");
        }
    }

    #[test]
    fn none_is_frozen_without_a_cage_or_once_it_is_open() {
        let free = Instance::start(&contender("sleep 600"), &Start::default()).unwrap();
        assert!(freeze_all(&[&free]).1[0].as_ref().is_err_and(|cause| cause.to_string().contains("without a cage")));
        let cage = Cage::make(Way::Sigstop).unwrap();
        cage.open(free.pid());
        assert!(cage.ask(free.pid()).unwrap_err().to_string().contains("taken away"));
    }
}
