//! A share of a processor: a control group whose processes get no more than it in each period of 100 ms.
//!
//! A group is made for one start and removed after it, so every start begins with the whole share of a period, as on a
//! platform that makes a group for each instance. The kernel begins the periods of each group at a random moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::run_folder::{dead_run, new_name};

use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};

/// The period in microseconds: the kernel's default, which container engines keep.
pub const PERIOD_US: u32 = 100_000;

/// The beginning of the names of our groups. The run follows.
const PREFIX: &str = "fc-bench-cpu";

/// The kernel may take this long to let an emptied group be removed.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// A group with a limit. Dropping it removes it, so its processes must have ended.
pub struct CpuLimit {
    path: PathBuf,
    version: Version,
    _guard: Guard,
}

/// How often and how long the processes of a group had to wait for the next period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throttling {
    /// Periods in which the share was used up.
    pub periods: u64,
    /// The time that passed then, of all processors together.
    pub micros: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

struct Removal(PathBuf);

impl Undo for Removal {
    fn undo(&self) {
        // A later run removes a group that stays.
        Deadline::after(REMOVE_WAIT).until(|| (fs::remove_dir(&self.0).is_ok() || !self.0.exists()).then_some(()));
    }
}

impl CpuLimit {
    /// Makes an empty group with this share of a processor.
    ///
    /// # Errors
    /// If there is no controller of processors here, or it refuses; the text names the cause and the fix.
    pub fn new(vcpu: f64) -> Result<Self> {
        let (folder, version) = place()?;
        let path = folder.join(new_name(PREFIX));
        let ((), guard) = cleanup::make(|| {
            let fix = "run as root, or in a control group that is delegated to you";
            fs::create_dir(&path).map_err(|cause| {
                Error::failed("create the control group", path.display(), format!("{cause}: {fix}"))
            })?;
            let removal = Removal(path.clone());
            version.limit(&path, vcpu).inspect_err(|_| removal.undo())?;
            Ok(((), removal))
        })?;
        Ok(Self { path, version, _guard: guard })
    }

    /// The method, for reports.
    pub fn name(&self) -> &'static str {
        match self.version {
            Version::V1 => "cpu.cfs_quota_us of cgroup v1",
            Version::V2 => "cpu.max of cgroup v2",
        }
    }

    /// The file into which a new process writes `0` to enter.
    pub fn entry(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// What the kernel says of the group until now.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn throttling(&self) -> Result<Throttling> {
        read(&self.path)
    }
}

impl Throttling {
    /// Of the group that a process is in.
    ///
    /// # Errors
    /// If the process has ended, or the kernel does not tell.
    pub fn of_process(pid: u32) -> Result<Self> {
        let process = pid.try_into().ok().and_then(|pid| Process::new(pid).ok());
        let folder = process.as_ref().and_then(folder_v1).or_else(|| process.as_ref().and_then(folder_v2));
        read(&folder.ok_or_else(|| Error::failed("find", format!("the control group of process {pid}"), "none"))?)
    }

    /// Lines like `nr_throttled 3`. Version 1 has the time in nanoseconds, version 2 in microseconds.
    fn parse(stat: &str) -> Option<Self> {
        let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        let nanos = |name| field(name).map(|nanos: u64| nanos as f64 / 1e3);
        let micros = nanos("throttled_time").or_else(|| field("throttled_usec").map(|micros| micros as f64))?;
        Some(Self { periods: field("nr_throttled")?, micros })
    }
}

impl Version {
    fn limit(self, path: &Path, vcpu: f64) -> Result<()> {
        let quota = (vcpu * f64::from(PERIOD_US)).round() as u64;
        let write = |file: &str, text: String| {
            let file = path.join(file);
            fs::write(&file, text).map_err(|cause| Error::failed("write to", file.display(), cause))
        };
        match self {
            Self::V1 => {
                write("cpu.cfs_period_us", PERIOD_US.to_string())?;
                write("cpu.cfs_quota_us", quota.to_string())
            }
            Self::V2 => write("cpu.max", format!("{quota} {PERIOD_US}")),
        }
    }
}

/// The folder in which groups can be made: that of our own group, or else the whole hierarchy's. In version 2 the
/// controller must be passed on to the groups below, and a group with processes in it cannot do that.
fn place() -> Result<(PathBuf, Version)> {
    let own = Process::myself().map_err(|cause| Error::failed("read", "/proc/self", cause))?;
    if let Some(folder) = folder_v1(&own) {
        return Ok((folder, Version::V1));
    }
    let passes_on = |folder: &PathBuf| {
        let list = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        list.split_whitespace().any(|controller| controller == "cpu")
    };
    let folders = [folder_v2(&own), mount(|kind, _| kind == "cgroup2")];
    let found = folders.into_iter().flatten().find(passes_on);
    let fix = "mount the controller `cpu` of cgroup v1, or pass `cpu` on to groups below that of this process \
               (`echo +cpu > …/cgroup.subtree_control`)";
    found.map(|folder| (folder, Version::V2)).ok_or_else(|| {
        Error::failed("limit", "the processor", format!("no control group with the controller `cpu`: {fix}"))
    })
}

fn folder_v1(process: &Process) -> Option<PathBuf> {
    let mount = mount(|kind, options| kind == "cgroup" && options.contains_key("cpu"))?;
    below(mount, process, |controllers| controllers.iter().any(|controller| controller == "cpu"))
}

fn folder_v2(process: &Process) -> Option<PathBuf> {
    below(mount(|kind, _| kind == "cgroup2")?, process, |controllers| controllers.iter().all(String::is_empty))
}

type MountOptions = std::collections::HashMap<String, Option<String>>;

fn mount(is_it: impl Fn(&str, &MountOptions) -> bool) -> Option<PathBuf> {
    let mounts = procfs::mounts().ok()?;
    mounts.iter().find(|mount| is_it(&mount.fs_vfstype, &mount.fs_mntops)).map(|mount| PathBuf::from(&mount.fs_file))
}

fn below(mount: PathBuf, process: &Process, is_it: impl Fn(&[String]) -> bool) -> Option<PathBuf> {
    let groups = process.cgroups().ok()?;
    let path = groups.0.iter().find(|group| is_it(&group.controllers)).map(|group| group.pathname.clone())?;
    let folder = mount.join(path.trim_start_matches('/'));
    // A container may see only its own part of the hierarchy, and its paths are then those of the machine.
    Some(if folder.exists() { folder } else { mount })
}

fn read(folder: &Path) -> Result<Throttling> {
    let file = folder.join("cpu.stat");
    let text = fs::read_to_string(&file).map_err(|cause| Error::failed("read", file.display(), cause))?;
    Throttling::parse(&text).ok_or_else(|| Error::failed("understand", file.display(), "a figure is missing"))
}

/// Kills and removes the groups of runs that ended without doing so themselves.
pub(super) fn end_those_of_dead_runs() {
    let Ok((folder, _)) = place() else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(|name| dead_run(name, PREFIX)).is_none() {
            continue;
        }
        let members = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            // It may have ended by now.
            let _ = kill_process(pid, Signal::KILL);
        }
        Removal(entry.path()).undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Contender, Instance, Start};
    use crate::results::Kind;
    use fc_emulator::owner::Owner;

    #[test]
    fn both_versions_are_read() {
        let v1 = "nr_periods 20\nnr_throttled 3\nthrottled_time 240500000\nnr_bursts 0\nburst_time 0\n";
        let v2 = "usage_usec 9\nuser_usec 5\nnr_periods 20\nnr_throttled 3\nthrottled_usec 240500\nnr_bursts 0\n";
        let seen = Some(Throttling { periods: 3, micros: 240_500.0 });
        assert_eq!((Throttling::parse(v1), Throttling::parse(v2)), (seen, seen));
        assert_eq!(Throttling::parse("usage_usec 9\n"), None);
    }

    #[test]
    fn who_uses_up_a_share_waits_and_who_sleeps_does_not() {
        let limit = match CpuLimit::new(0.05) {
            Ok(limit) => limit,
            Err(cause) => return fc_testkit::skip(format!("a share of a processor: {cause}")),
        };
        let start = |words: &[&str]| {
            let command = words.iter().map(|&word| word.to_owned()).collect();
            let contender = Contender::of_command("it", Kind::Custom, command);
            Instance::start(&contender, &Start { limit: Some(&limit), ..Start::default() }).unwrap()
        };
        let sleeps = start(&["sleep", "600"]);
        assert!(Throttling::of_process(sleeps.pid()).unwrap() == limit.throttling().unwrap());
        let works = start(&["sh", "-c", "while :; do :; done"]);
        let throttled = || limit.throttling().ok().filter(|throttling| throttling.periods >= 3);
        let throttling = Deadline::after(Duration::from_secs(30)).until(throttled).expect("it is throttled");
        assert!(throttling.micros > 0.0);
        drop((sleeps, works));
        let path = limit.path.clone();
        assert!(path.exists());
        drop(limit);
        assert!(!path.exists());
    }

    #[test]
    fn the_group_of_a_dead_run_goes_with_its_processes() {
        let limit = match CpuLimit::new(1.0) {
            Ok(limit) => limit,
            Err(cause) => return fc_testkit::skip(format!("control groups of dead runs: {cause}")),
        };
        // The same run, but started at another time: its id was given to this process since.
        let own = Owner::this_run().name(PREFIX);
        let mut parts: Vec<String> = own.split('-').map(str::to_owned).collect();
        let started = parts.len() - 3;
        parts[started] = (parts[started].parse::<u64>().unwrap() + 1).to_string();
        let dead = limit.path.with_file_name(format!("{}-0", parts.join("-")));
        fs::create_dir(&dead).unwrap();
        let mut sleeps = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(dead.join("cgroup.procs"), sleeps.id().to_string()).unwrap();
        end_those_of_dead_runs();
        assert!(!dead.exists() && limit.path.exists());
        // A process that was killed in its group is reaped here.
        assert!(sleeps.wait().unwrap().code().is_none(), "it was killed");
    }

    #[test]
    fn an_impossible_share_is_refused_and_leaves_nothing() {
        let Ok((folder, _)) = place() else { return fc_testkit::skip("a share of a processor: no controller") };
        let of_us = || {
            let entries = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
            let prefix = Owner::this_run().name(PREFIX);
            entries
                .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
                .count()
        };
        let before = of_us();
        // The kernel takes no less than 1 ms.
        let refused = CpuLimit::new(0.000_01);
        assert!(refused.is_err());
        assert!(of_us() <= before + 1, "another test may have one");
    }
}
