//! Freezing for real, and proving it.
//!
//! Four ways, best first: the cgroup v1 freezer, cgroup v2, SIGSTOP to the process group, and, for
//! containers, the engine's own pause (in [`crate::target`], because the engine owns the group).
//! A freeze counts only with a [`Proof`]: the kernel says "frozen", and no task of the target
//! used the processor or was scheduled while we watched.

mod cgroup;
mod group;
mod sigstop;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, Result};
pub use group::FreezeGroup;
use verify::all_stopped;
pub use verify::stood_still;

/// How long a freeze may take to come into force.
pub const FREEZE_WAIT: Duration = Duration::from_secs(10);

/// Which method of freezing processes is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FreezeMethod {
    /// The best that works here.
    #[default]
    Auto,
    /// The cgroup v1 freezer hierarchy; needs write access, mostly root.
    CgroupV1,
    /// `cgroup.freeze` of cgroup v2; needs write access, mostly root.
    CgroupV2,
    /// SIGSTOP and SIGCONT to the target's process group. The target sees SIGCONT.
    Sigstop,
}

/// The evidence that a target stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By which means.
    pub method: &'static str,
    /// How many tasks were watched; none where they are out of sight, on another machine.
    pub tasks: usize,
    /// For how long.
    pub watched: Duration,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, tasks, watched } = self;
        match tasks {
            0 => write!(f, "{method}, by its own word"),
            1 => write!(f, "{method}; its task did not run for {} ms", watched.as_millis()),
            _ => write!(f, "{method}; {tasks} tasks did not run for {} ms", watched.as_millis()),
        }
    }
}

/// Stops and resumes the processes of one target.
trait Freezer: Send + Sync {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// The file into which a new process writes `0` to put itself under this freezer, if that is
    /// how it works. It must be done before the target's program starts, so that every child is in.
    fn entry(&self) -> Option<PathBuf>;

    /// Asks for the freeze, which takes an instant to come into force.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn request(&self, leader: u32) -> Result<()>;

    /// Whether the kernel says that the freeze is in force.
    fn is_frozen(&self, leader: u32) -> bool;

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

/// A freezer for one new target.
///
/// # Errors
/// When the wanted method does not work here. [`FreezeMethod::Auto`] never fails: SIGSTOP always works.
fn for_process(method: FreezeMethod) -> Result<Box<dyn Freezer>> {
    match method {
        FreezeMethod::CgroupV1 => cgroup::Cgroup::v1().map(boxed),
        FreezeMethod::CgroupV2 => cgroup::Cgroup::v2().map(boxed),
        FreezeMethod::Sigstop => Ok(boxed(sigstop::Sigstop)),
        FreezeMethod::Auto => Ok(cgroup::Cgroup::v1()
            .map(boxed)
            .or_else(|_: Error| cgroup::Cgroup::v2().map(boxed))
            .unwrap_or_else(|_| boxed(sigstop::Sigstop))),
    }
}

/// Requests the freeze and waits until the kernel says that it is in force.
///
/// # Errors
/// If the kernel refuses or does not finish within [`FREEZE_WAIT`].
fn freeze(freezer: &dyn Freezer, leader: u32) -> Result<()> {
    freezer.request(leader)?;
    let frozen = Deadline::after(FREEZE_WAIT).until(|| freezer.is_frozen(leader).then_some(()));
    frozen.ok_or_else(|| {
        // A half frozen target must not stay behind. The error that is reported is that of the freeze.
        let _ = freezer.thaw(leader);
        Error::new(format!("{} did not come into force", freezer.name()))
    })
}

fn boxed(freezer: impl Freezer + 'static) -> Box<dyn Freezer> {
    Box::new(freezer)
}
