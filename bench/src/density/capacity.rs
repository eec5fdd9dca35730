//! How many more instances the machine can take without harm to anybody else on it.
//!
//! Reads limits and what is used of them. Starts nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use fc_emulator::error::{Error, Result};
use fc_testkit::proc::available_kb;

/// The share of the memory that was there at the beginning which stays free.
const MEMORY_KEPT: f64 = 0.2;

/// Descriptors that each instance takes here: the connection to it, and the lock on its port.
const DESCRIPTORS_EACH: u64 = 2;

/// Descriptors for all else.
const DESCRIPTORS_KEPT: u64 = 200;

/// Instances between two looks at the machine: less than could fill what is kept.
const LOOK_EVERY: usize = 16;

/// How many more the machine can take. Dropping it gives back what was asked for.
pub struct Capacity {
    memory_kept_kb: u64,
    tasks_max: u64,
    instances_max: u64,
    descriptors_before: Rlimit,
}

impl Capacity {
    /// Looks around, and raises the soft limit of descriptors if so many instances need it. They inherit it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn make(instances: u32) -> Result<Self> {
        let before = getrlimit(Resource::Nofile);
        let needed = u64::from(instances) * DESCRIPTORS_EACH + DESCRIPTORS_KEPT;
        let mut granted = before.current.unwrap_or(u64::MAX);
        if granted < needed {
            let wanted = needed.min(before.maximum.unwrap_or(u64::MAX));
            let raised = Rlimit { current: Some(wanted), maximum: before.maximum };
            if setrlimit(Resource::Nofile, raised).is_ok() {
                granted = wanted;
            }
        }
        let number = |path: &str| -> Result<u64> {
            let text = std::fs::read_to_string(path).map_err(|cause| Error::failed("read", path, cause))?;
            text.trim().parse().map_err(|cause| Error::failed("understand", path, cause))
        };
        let processes = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
        Ok(Self {
            memory_kept_kb: (available_kb()? as f64 * MEMORY_KEPT) as u64,
            // Half of what there may be: threads count, too, and others live here as well.
            tasks_max: processes.min(number("/proc/sys/kernel/pid_max")?) / 2,
            instances_max: granted.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH,
            descriptors_before: before,
        })
    }

    /// What keeps one more from joining those that are there, if anything. Looks at the machine now and then only.
    pub fn shortage(&self, instances: usize) -> Option<String> {
        if instances as u64 >= self.instances_max {
            return Some(format!("the limit of open files: there is room for {}", self.instances_max));
        }
        instances.is_multiple_of(LOOK_EVERY).then(|| self.shortage_of_machine()).flatten()
    }

    fn shortage_of_machine(&self) -> Option<String> {
        match (tasks(), available_kb()) {
            (Ok(tasks), _) if tasks >= self.tasks_max => {
                Some(format!("the limit of processes and threads: there are {tasks}"))
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

impl Drop for Capacity {
    fn drop(&mut self) {
        // It was ours before.
        let _ = setrlimit(Resource::Nofile, self.descriptors_before);
    }
}

/// Processes and threads that exist on the machine.
fn tasks() -> Result<u64> {
    let path = "/proc/loadavg";
    let text = std::fs::read_to_string(path).map_err(|cause| Error::failed("read", path, cause))?;
    parse_tasks(&text).ok_or_else(|| Error::failed("understand", path, "a figure is missing"))
}

/// The second number of `1/234`.
fn parse_tasks(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read() {
        assert_eq!(parse_tasks("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(parse_tasks("0.20 0.18 0.12"), None);
        assert!(tasks().unwrap() > 0);
    }

    #[test]
    fn each_shortage_is_named() {
        let capacity = |memory_kept_kb, tasks_max, instances_max| Capacity {
            memory_kept_kb,
            tasks_max,
            instances_max,
            descriptors_before: getrlimit(Resource::Nofile),
        };
        const MANY: u64 = u64::MAX;
        let shortage = |capacity: Capacity| capacity.shortage(LOOK_EVERY).unwrap_or_default();
        assert_eq!(shortage(capacity(0, MANY, 17)), "");
        assert!(shortage(capacity(0, MANY, 16)).contains("open files"));
        assert!(shortage(capacity(0, 1, 17)).contains("processes and threads"));
        assert!(shortage(capacity(MANY, MANY, 17)).contains("memory"));
    }
}
