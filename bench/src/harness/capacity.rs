//! How many more instances the machine can hold without harm to its other users.
//!
//! Reads the limits and their use. Starts nothing.

use procfs::sys::kernel::pid_max;
use procfs::{Current, LoadAverage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use fc_emulator::error::{Error, Result};
use fc_testkit::proc::available_kb;

/// This share of the memory that was available at the beginning stays free.
const MEMORY_KEPT: f64 = 0.2;

/// Descriptors that each instance takes here: the connection to it, and the lock on its port.
const DESCRIPTORS_EACH: u64 = 2;

/// Descriptors for everything else.
const DESCRIPTORS_KEPT: u64 = 200;

/// Instances between two looks at the machine: so few that they cannot fill the reserve.
const LOOK_EVERY: usize = 16;

/// The limits of this machine. Dropping this value restores the soft limit of descriptors.
pub struct Capacity {
    memory_kept_kb: u64,
    tasks_max: u64,
    instances_max: u64,
    _descriptors: Descriptors,
}

/// A soft limit of descriptors that is high enough. What is started meanwhile inherits it. Dropping this value restores
/// the limit.
pub struct Descriptors {
    granted: u64,
    before: Rlimit,
}

impl Descriptors {
    /// Raises the limit, if it is lower, to this many and those for everything else, or as far as the hard limit
    /// allows.
    pub fn for_more(wanted: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        let needed = wanted + DESCRIPTORS_KEPT;
        let mut granted = before.current.unwrap_or(u64::MAX);
        if granted < needed {
            let wanted = needed.min(before.maximum.unwrap_or(u64::MAX));
            let raised = Rlimit { current: Some(wanted), maximum: before.maximum };
            if setrlimit(Resource::Nofile, raised).is_ok() {
                granted = wanted;
            }
        }
        Self { granted, before }
    }
}

impl Capacity {
    /// Reads the limits, and raises the soft limit of descriptors if this many instances need it. Instances inherit it.
    ///
    /// # Errors
    /// If the kernel does not tell the limits.
    pub fn make(instances: u32) -> Result<Self> {
        let descriptors = Descriptors::for_more(u64::from(instances) * DESCRIPTORS_EACH);
        let pid_max = pid_max().map_err(|cause| Error::failed("read", "/proc/sys/kernel/pid_max", cause))?;
        let processes = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
        Ok(Self {
            memory_kept_kb: (available_kb()? as f64 * MEMORY_KEPT) as u64,
            // Half of the kernel's limit: threads count as well, and other programs run here, too.
            tasks_max: processes.min(pid_max.cast_unsigned().into()) / 2,
            instances_max: descriptors.granted.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH,
            _descriptors: descriptors,
        })
    }

    /// The reason why this many instances have no room, each with this much memory, if so.
    pub fn lacks_memory(&self, instances: u32, each_kb: u64) -> Option<String> {
        let (needed_kb, there_kb) = (u64::from(instances) * each_kb, available_kb().ok()?);
        (needed_kb + self.memory_kept_kb > there_kb).then(|| {
            let (each, there) = (each_kb / 1024, there_kb / 1024);
            format!("memory: {instances} instances of {each} MB each do not fit into {there} MB with a fifth to spare")
        })
    }

    /// The reason why no further instance can be started, if there is one. It looks at the machine only from time to
    /// time.
    pub fn shortage(&self, instances: usize) -> Option<String> {
        if instances as u64 >= self.instances_max {
            return Some(format!("the limit of open files is enough for {} instances", self.instances_max));
        }
        instances.is_multiple_of(LOOK_EVERY).then(|| self.shortage_of_machine()).flatten()
    }

    fn shortage_of_machine(&self) -> Option<String> {
        match (tasks(), available_kb()) {
            (Ok(tasks), _) if tasks >= self.tasks_max => {
                Some(format!("the limit of processes and threads: {tasks} exist"))
            }
            (_, Ok(left_kb)) if left_kb < self.memory_kept_kb => {
                Some(format!("memory: {} MB are left", left_kb / 1024))
            }
            (Err(cause), _) => Some(cause.to_string()),
            (_, Err(cause)) => Some(cause.to_string()),
            _ => None,
        }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // The limit was ours before.
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

/// Processes and threads that exist on the machine.
fn tasks() -> Result<u64> {
    let load = LoadAverage::current().map_err(|cause| Error::failed("read", "/proc/loadavg", cause))?;
    Ok(load.max.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read() {
        assert!(tasks().unwrap() > 0);
    }

    #[test]
    fn each_shortage_is_named() {
        let capacity = |memory_kept_kb, tasks_max, instances_max| Capacity {
            memory_kept_kb,
            tasks_max,
            instances_max,
            _descriptors: Descriptors::for_more(0),
        };
        const MANY: u64 = u64::MAX;
        let shortage = |capacity: Capacity| capacity.shortage(LOOK_EVERY).unwrap_or_default();
        assert_eq!(shortage(capacity(0, MANY, 17)), "");
        assert!(shortage(capacity(0, MANY, 16)).contains("open files"));
        assert!(shortage(capacity(0, 1, 17)).contains("processes and threads"));
        assert!(shortage(capacity(MANY, MANY, 17)).contains("memory"));
        let roomy = capacity(0, MANY, 17);
        assert_eq!(roomy.lacks_memory(1, 1), None);
        assert!(roomy.lacks_memory(100, available_kb().unwrap()).unwrap().contains("100 instances of"));
    }
}
