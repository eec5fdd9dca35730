//! How many more instances the machine can hold without harm to its other users.
//!
//! Reads the limits and their use. Starts nothing.

use procfs::process::all_processes;
use procfs::sys::kernel::pid_max;
use procfs::{Current, LoadAverage};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, getuid, setrlimit};

use fc_emulator::error::{Error, Result};
use fc_testkit::proc::available_kb;

/// This share of the memory that was available at the beginning stays free.
const MEMORY_KEPT: f64 = 0.2;

/// Descriptors that each instance takes here: the connection to it, and the lock on its port.
const DESCRIPTORS_EACH: u64 = 2;

/// Descriptors for everything else.
const DESCRIPTORS_KEPT: u64 = 200;

/// Descriptors that a server, or the client, has beside those of its connections.
const DESCRIPTORS_OF_A_SERVER: u64 = 40;

/// Instances between two looks at the machine: so few that they cannot fill the reserve.
const LOOK_EVERY: usize = 16;

/// The limits of this machine. Dropping this value restores the soft limit of descriptors.
pub struct Capacity {
    memory_kept_kb: u64,
    /// Processes and threads of the machine, of which half are kept for others.
    tasks_max: u64,
    /// Those of this user. The kernel does not limit root.
    own_tasks_max: Option<u64>,
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

    /// The reason why a program that has these descriptors cannot keep so many connections, if it cannot.
    pub fn lacks_room(&self, connections: u32) -> Option<String> {
        let needed = u64::from(connections) + DESCRIPTORS_OF_A_SERVER;
        (needed > self.granted).then(|| {
            format!(
                "the limit of open files is {}, and {connections} connections take {needed}: raise it by `ulimit -n`",
                self.granted
            )
        })
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
        let own_tasks_max = getrlimit(Resource::Nproc).current.filter(|_| !geteuid().is_root());
        Ok(Self {
            memory_kept_kb: (available_kb()? as f64 * MEMORY_KEPT) as u64,
            // Half of the kernel's limit: threads count as well, and other programs run here, too.
            tasks_max: u64::from(pid_max.cast_unsigned()) / 2,
            own_tasks_max,
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
            let most = self.instances_max;
            return Some(format!("the limit of open files is enough for {most} instances: raise it by `ulimit -n`"));
        }
        instances.is_multiple_of(LOOK_EVERY).then(|| self.shortage_of_machine()).flatten()
    }

    fn shortage_of_machine(&self) -> Option<String> {
        match (tasks(), available_kb()) {
            (Ok(tasks), _) if tasks >= self.tasks_max => {
                let most = self.tasks_max;
                Some(format!(
                    "the machine has {tasks} processes and threads: half of kernel.pid_max, {most}, stay free"
                ))
            }
            (_, Ok(left_kb)) if left_kb < self.memory_kept_kb => {
                Some(format!("memory: {} MB are left", left_kb / 1024))
            }
            (Err(cause), _) => Some(cause.to_string()),
            (_, Err(cause)) => Some(cause.to_string()),
            _ => self.own_tasks_max.and_then(shortage_of_own_tasks),
        }
    }
}

/// Until the next look, so many processes of a thread each are started at most.
fn shortage_of_own_tasks(most: u64) -> Option<String> {
    match own_tasks() {
        Ok(tasks) if tasks.saturating_add(LOOK_EVERY as u64) > most => {
            let limit = "the limit of this user's processes and threads";
            Some(format!("{limit} is {most}, and {tasks} exist: raise it by `ulimit -u`"))
        }
        Ok(_) => None,
        Err(cause) => Some(cause.to_string()),
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

/// Processes and threads of this user.
fn own_tasks() -> Result<u64> {
    let user = getuid().as_raw();
    let all = all_processes().map_err(|cause| Error::failed("read", "/proc", cause))?;
    // One that has ended meanwhile counts no more.
    let own = all.flatten().filter(|process| process.uid().is_ok_and(|uid| uid == user));
    Ok(own.filter_map(|process| process.stat().ok()).map(|stat| stat.num_threads.cast_unsigned()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read() {
        assert!(tasks().unwrap() > 0 && own_tasks().unwrap() > 0);
    }

    #[test]
    fn each_shortage_is_named() {
        let capacity = |memory_kept_kb, tasks_max, instances_max| Capacity {
            memory_kept_kb,
            tasks_max,
            own_tasks_max: None,
            instances_max,
            _descriptors: Descriptors::for_more(0),
        };
        const MANY: u64 = u64::MAX;
        let shortage = |capacity: Capacity| capacity.shortage(LOOK_EVERY).unwrap_or_default();
        assert_eq!(shortage(capacity(0, MANY, 17)), "");
        assert!(shortage(capacity(0, MANY, 16)).contains("open files"));
        assert!(shortage(capacity(0, 1, 17)).contains("processes and threads"));
        assert!(shortage(capacity(MANY, MANY, 17)).contains("memory"));
        let of_user = |most| Capacity { own_tasks_max: Some(most), ..capacity(0, MANY, 17) };
        assert_eq!(shortage(of_user(MANY)), "");
        assert!(shortage(of_user(1)).contains("ulimit -u"));
        let roomy = capacity(0, MANY, 17);
        assert_eq!(roomy.lacks_memory(1, 1), None);
        assert_eq!(roomy._descriptors.lacks_room(0), None);
        assert!(roomy._descriptors.lacks_room(u32::MAX).unwrap().contains("ulimit -n"));
        assert!(roomy.lacks_memory(100, available_kb().unwrap()).unwrap().contains("100 instances of"));
    }
}
