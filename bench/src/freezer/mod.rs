//! Freezing for real, and proving it.
//!
//! Four ways, best first: the cgroup v1 freezer, cgroup v2, SIGSTOP to the process group, and, for
//! containers, the engine's own pause (in [`crate::subject`], because the engine owns the group).
//! A freeze counts only with a [`Proof`]: the kernel says "frozen", and no task of the subject
//! used the processor or was scheduled while we watched.

mod cgroup;
mod stop;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, Result};
pub use verify::{all_stopped, stood_still};

/// How long a freeze may take to come into force.
pub const FREEZE_WAIT: Duration = Duration::from_secs(10);

/// Which way of freezing processes is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Way {
    /// The best that works here.
    #[default]
    Auto,
    /// The cgroup v1 freezer hierarchy; needs write access, mostly root.
    CgroupV1,
    /// `cgroup.freeze` of cgroup v2; needs write access, mostly root.
    CgroupV2,
    /// SIGSTOP and SIGCONT to the subject's process group. The subject sees SIGCONT.
    Sigstop,
}

/// The evidence that a subject stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By which means.
    pub way: &'static str,
    /// How many tasks were watched; none where they are out of sight, on another machine.
    pub tasks: usize,
    /// For how long.
    pub watched: Duration,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, tasks, watched } = self;
        match tasks {
            0 => write!(f, "{way}, by its own word"),
            1 => write!(f, "{way}; its task did not run for {} ms", watched.as_millis()),
            _ => write!(f, "{way}; {tasks} tasks did not run for {} ms", watched.as_millis()),
        }
    }
}

/// Stops and resumes the processes of one subject.
pub trait Freezer: Send + Sync {
    /// Its name, for reports.
    fn way(&self) -> &'static str;

    /// The file into which a new process writes `0` to put itself under this freezer, if that is
    /// how it works. It must be done before the subject's program starts, so that every child is in.
    fn admission(&self) -> Option<PathBuf>;

    /// Asks for the freeze, which takes an instant to come into force.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn ask(&self, leader: u32) -> Result<()>;

    /// Whether the kernel says that the freeze is in force.
    fn in_force(&self, leader: u32) -> bool;

    /// Asks for the freeze and waits until the kernel says that it is in force.
    ///
    /// # Errors
    /// When the kernel refuses or does not get there in [`FREEZE_WAIT`].
    fn freeze(&self, leader: u32) -> Result<()> {
        self.ask(leader)?;
        let came = Deadline::after(FREEZE_WAIT).until(|| self.in_force(leader).then_some(()));
        came.ok_or_else(|| {
            // What is half frozen must not stay behind; the failure itself is what is reported.
            let _ = self.thaw(leader);
            Error::new(format!("{} did not come into force", self.way()))
        })
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn thaw(&self, leader: u32) -> Result<()>;

    /// Every process under it.
    fn pids(&self, leader: u32) -> Vec<u32>;

    /// Takes away what it made; the processes are gone or about to go.
    fn remove(&self);
}

/// A freezer for one new subject.
///
/// # Errors
/// When the wanted way does not work here. [`Way::Auto`] never fails: SIGSTOP always works.
pub fn for_process(way: Way) -> Result<Box<dyn Freezer>> {
    match way {
        Way::CgroupV1 => cgroup::Cgroup::v1().map(boxed),
        Way::CgroupV2 => cgroup::Cgroup::v2().map(boxed),
        Way::Sigstop => Ok(boxed(stop::Sigstop)),
        Way::Auto => Ok(cgroup::Cgroup::v1()
            .map(boxed)
            .or_else(|_: Error| cgroup::Cgroup::v2().map(boxed))
            .unwrap_or_else(|_| boxed(stop::Sigstop))),
    }
}

/// Freezes and proves it. Without the proof the subject is thawed again.
///
/// # Errors
/// When the freeze fails or the subject was seen running.
pub fn freeze_proven(freezer: &dyn Freezer, leader: u32) -> Result<Proof> {
    freezer.freeze(leader)?;
    let proven = stood_still(freezer.way(), || freezer.pids(leader));
    if proven.is_err() {
        freezer.thaw(leader)?;
    }
    proven
}

fn boxed(freezer: impl Freezer + 'static) -> Box<dyn Freezer> {
    Box::new(freezer)
}
