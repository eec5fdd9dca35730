//! Freezes processes for real, and proves it.
//!
//! A command is frozen by the freezer of cgroup v1, by cgroup v2, or by SIGSTOP to all of its processes. A container is
//! frozen by the pause of its engine (in [`crate::target`], because the engine owns the control group). A virtual
//! machine is frozen by QEMU or as QEMU (in [`crate::vm`]). A freeze counts only with a [`Proof`]: the kernel says
//! "frozen", and no task of the target used the processor or was scheduled while we watched.

mod cgroup;
mod group;
mod verify;

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::vm;
use cgroup::Cgroup;
pub(crate) use cgroup::end_what_dead_runs_left;
pub use group::FreezeGroup;
pub use verify::stood_still;
use verify::{all_stopped, is_stopped};

/// A freeze must be in force within this time.
pub const FREEZE_WAIT: Duration = Duration::from_secs(10);

/// How to freeze a target: the values of `--freeze-with` in every tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum FreezeWith {
    /// The best method that works here: for a command cgroup-v1, else cgroup-v2, else sigstop; for an image
    /// docker-pause
    #[default]
    Auto,
    /// The freezer of cgroup v1; needs write access to the hierarchy, which mostly only root has
    CgroupV1,
    /// The file `cgroup.freeze` of cgroup v2; needs write access to the hierarchy, which mostly only root has
    CgroupV2,
    /// SIGSTOP and SIGCONT to all processes of a command; the target can notice SIGCONT
    Sigstop,
    /// `docker pause`, for images only
    DockerPause,
    /// Run the target in a virtual machine, which QEMU pauses and continues; its clocks stand still meanwhile
    VmPause,
    /// The same, but the machine is saved, its QEMU ends, and another QEMU restores it; its connections are lost
    VmSnapshot,
    /// The same, but the process of QEMU is stopped by SIGSTOP; the clocks of the machine run on
    VmmStop,
    /// Run the target in a virtual machine, where CRIU saves and restores its process
    Criu,
}

impl FreezeWith {
    /// How a virtual machine with the target is frozen. `None` if the target runs on this machine or in a container.
    pub fn machine(self) -> Option<vm::Method> {
        match self {
            Self::VmPause => Some(vm::Method::VmPause),
            Self::VmSnapshot => Some(vm::Method::VmSnapshot),
            Self::VmmStop => Some(vm::Method::VmmStop),
            Self::Criu => Some(vm::Method::Criu),
            Self::Auto | Self::CgroupV1 | Self::CgroupV2 | Self::Sigstop | Self::DockerPause => None,
        }
    }

    /// Whether connections outlive the freeze, and a call can be sent during it that waits for the thaw.
    pub fn keeps_connections(self) -> bool {
        self.machine().is_none_or(vm::Method::keeps_connections)
    }
}

impl fmt::Display for FreezeWith {
    /// The value as it is given on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// The evidence that a target stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// None of its tasks ran.
    Tasks {
        /// The name of the freezer.
        method: &'static str,
        /// The number of tasks that we watched.
        tasks: usize,
        /// How long we watched them.
        watched: Duration,
    },
    /// The word of an engine. Its tasks run on another machine, where we cannot see them.
    Engine {
        /// The name of the freezer.
        method: &'static str,
    },
    /// Its virtual machine did not run.
    Machine(vm::Proof),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine { method } => {
                write!(f, "{method}; the engine says so, the tasks cannot be watched from here")
            }
            Self::Tasks { method, tasks: 1, watched } => {
                write!(f, "{method}; its task did not run for {} ms", watched.as_millis())
            }
            Self::Tasks { method, tasks, watched } => {
                write!(f, "{method}; its {tasks} tasks did not run for {} ms", watched.as_millis())
            }
            Self::Machine(proof) => proof.fmt(f),
        }
    }
}

/// A new control group for a target, or `None` if SIGSTOP freezes it.
///
/// # Errors
/// If the method does not work here; the text names the cause and what to do. [`FreezeWith::Auto`] always works: it
/// falls back to SIGSTOP.
fn cgroup_for(freeze_with: FreezeWith) -> Result<Option<Cgroup>> {
    match freeze_with {
        FreezeWith::CgroupV1 => Cgroup::v1().map(Some),
        FreezeWith::CgroupV2 => Cgroup::v2().map(Some),
        FreezeWith::Sigstop => Ok(None),
        FreezeWith::DockerPause => Err(Error::new(
            "`--freeze-with docker-pause` freezes only containers: give the target as `--image NAME`, or choose auto, \
             cgroup-v1, cgroup-v2 or sigstop",
        )),
        FreezeWith::VmPause | FreezeWith::VmSnapshot | FreezeWith::VmmStop | FreezeWith::Criu => {
            Err(Error::new(format!(
                "`--freeze-with {freeze_with}` freezes a virtual machine, which only `fc-emulator run` and \
                 `fc-emulator check` start: choose auto, cgroup-v1, cgroup-v2 or sigstop"
            )))
        }
        FreezeWith::Auto => Ok(Cgroup::v1().or_else(|_: Error| Cgroup::v2()).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_shown_as_it_is_given() {
        let shown: Vec<String> = FreezeWith::value_variants().iter().map(FreezeWith::to_string).collect();
        assert_eq!(
            shown,
            [
                "auto",
                "cgroup-v1",
                "cgroup-v2",
                "sigstop",
                "docker-pause",
                "vm-pause",
                "vm-snapshot",
                "vmm-stop",
                "criu"
            ]
        );
    }

    #[test]
    fn an_engine_cannot_freeze_a_command() {
        let error = FreezeGroup::new(FreezeWith::DockerPause).unwrap_err().to_string();
        assert!(error.contains("--image NAME") && error.contains("cgroup-v1"), "{error}");
    }
}
