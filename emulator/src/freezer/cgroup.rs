//! The two cgroup freezers. Each target gets a group of its own, which is created and removed here.
//!
//! Cgroup v1 has a separate hierarchy for its freezer, with the file `freezer.state` in every group. Cgroup v2 has the
//! file `cgroup.freeze` in every group, and `cgroup.events` says when the freeze is in force. A new group is created
//! below the group of this process, so that it works in a delegated subtree as well as at the root. Its name says which
//! run of the emulator created it, so that a later run can tell what a killed one left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::process;

/// The kernel may take this long to let an emptied group be removed.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// The control group of one target.
pub struct Cgroup {
    path: PathBuf,
    version: Version,
    /// The file that freezes and thaws. It stays open, because to open it takes a good part of the time of a thaw.
    switch: Option<File>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Cgroup {
    /// Creates a group in the freezer hierarchy of cgroup v1.
    pub fn v1() -> Result<Self> {
        Self::create(Version::V1)
    }

    /// Creates a group in the hierarchy of cgroup v2.
    pub fn v2() -> Result<Self> {
        Self::create(Version::V2)
    }

    fn create(version: Version) -> Result<Self> {
        let own = version.folder().ok_or_else(|| not_mounted(version))?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // No other run has the same name, and a folder that is there already is an error.
        let path = own.join(format!("{}-{count}", Owner::this_run()));
        fs::create_dir(&path).map_err(|cause| not_writable(&path, cause))?;
        let mut cgroup = Self { path, version, switch: None };
        match OpenOptions::new().write(true).open(cgroup.switch().file) {
            Ok(file) => {
                cgroup.switch = Some(file);
                Ok(cgroup)
            }
            Err(cause) => {
                cgroup.remove();
                Err(if cause.kind() == io::ErrorKind::NotFound {
                    no_switch(version)
                } else {
                    not_writable(&cgroup.path, cause)
                })
            }
        }
    }

    fn set(&self, value: &str) -> Result<()> {
        let file = self.path.join(self.version.file());
        let written = match &self.switch {
            Some(open) => open.write_at(value.as_bytes(), 0).map(drop),
            None => fs::write(&file, value),
        };
        written.map_err(|cause| Error::failed("write to", file.display(), cause))
    }
}

fn not_mounted(version: Version) -> Error {
    let (hierarchy, command) = match version {
        Version::V1 => ("freezer of cgroup v1", "mount -t cgroup -o freezer freezer FOLDER"),
        Version::V2 => ("hierarchy of cgroup v2", "mount -t cgroup2 cgroup2 FOLDER"),
    };
    Error::new(format!("the {hierarchy} is not mounted: mount it (`{command}`), or take `--freeze-with auto`"))
}

fn not_writable(path: &Path, cause: io::Error) -> Error {
    let fix = "run as root or in a control group that is delegated to you, or take `--freeze-with sigstop`";
    Error::failed("create the control group", path.display(), format!("{cause}: {fix}"))
}

fn no_switch(version: Version) -> Error {
    let (file, fix) = match version {
        Version::V1 => (version.file(), "take `--freeze-with auto`"),
        Version::V2 => (version.file(), "use Linux 5.2 or later, or take `--freeze-with auto`"),
    };
    Error::new(format!("the kernel has no `{file}` in a new control group: {fix}"))
}

impl Version {
    /// The folder in which we create groups.
    fn folder(self) -> Option<PathBuf> {
        match self {
            Self::V1 => process::freezer_v1_folder(),
            Self::V2 => process::cgroup_v2_folder(),
        }
    }

    fn name(self) -> &'static str {
        if self == Self::V1 { "the cgroup v1 freezer" } else { "the cgroup v2 freezer" }
    }

    fn file(self) -> &'static str {
        if self == Self::V1 { "freezer.state" } else { "cgroup.freeze" }
    }
}

/// How a group is thawed by somebody who may not allocate: what to write into which file, and the folder to remove.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only a supervisor needs it"))]
pub(crate) struct Switch {
    /// The file.
    pub file: PathBuf,
    /// What thaws.
    pub thaw: &'static str,
    /// The folder of the group.
    pub folder: PathBuf,
}

impl Cgroup {
    /// The name of its method, for reports.
    pub fn name(&self) -> &'static str {
        self.version.name()
    }

    /// The file into which a new process writes `0` to enter.
    pub fn entry(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// How to thaw it.
    pub fn switch(&self) -> Switch {
        Switch {
            file: self.path.join(self.version.file()),
            thaw: if self.version == Version::V1 { "THAWED" } else { "0" },
            folder: self.path.clone(),
        }
    }

    /// Requests a freeze, which comes into force a moment later.
    pub fn request(&self) -> Result<()> {
        self.set(if self.version == Version::V1 { "FROZEN" } else { "1" })
    }

    /// Requests a freeze that does not come into force. The cgroup v1 freezer can miss a process that is being started
    /// and then stays in its state FREEZING; it looks at every process anew only after a thaw.
    pub fn request_again(&self) -> Result<()> {
        match self.version {
            Version::V1 => self.thaw().and_then(|()| self.request()),
            Version::V2 => Ok(()),
        }
    }

    /// Whether the kernel says that the freeze is in force.
    pub fn is_frozen(&self) -> bool {
        let (file, sign) = match self.version {
            Version::V1 => ("freezer.state", "FROZEN"),
            Version::V2 => ("cgroup.events", "frozen 1"),
        };
        fs::read_to_string(self.path.join(file)).is_ok_and(|text| text.lines().any(|line| line == sign))
    }

    /// Ends the freeze.
    pub fn thaw(&self) -> Result<()> {
        self.set(self.switch().thaw)
    }

    /// Every process in it.
    pub fn pids(&self) -> Vec<u32> {
        let list = fs::read_to_string(self.entry()).unwrap_or_default();
        // The kernel writes 0 for a process that this namespace cannot see.
        list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    /// Whether it holds this process. One that has ended needs no freeze, so it counts as held.
    pub fn holds(&self, pid: u32) -> bool {
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let in_it = |line: &[u8]| line.rsplit(|byte| *byte == b'/').next() == Some(name);
        match fs::read(format!("/proc/{pid}/cgroup")) {
            Ok(groups) => groups.is_empty() || groups.split(|byte| *byte == b'\n').any(in_it),
            Err(_) => true,
        }
    }

    /// Removes it. Its processes have ended or are about to end.
    pub fn remove(&self) {
        Deadline::after(REMOVE_WAIT).until(|| {
            let gone = fs::remove_dir(&self.path).is_ok() || !self.path.exists();
            gone.then_some(())
        });
    }
}

/// Kills and removes the groups of runs of the emulator that ended without doing so themselves. Returns the number of
/// processes that were left in them, for each run.
pub(crate) fn end_what_dead_runs_left() -> Vec<(Owner, usize)> {
    let mut found = Vec::new();
    for version in [Version::V1, Version::V2] {
        let entries = version.folder().and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.rsplit_once('-')).and_then(|(name, _)| name.parse().ok());
            let Some(owner) = owner.filter(Owner::is_dead) else { continue };
            let cgroup = Cgroup { path: entry.path(), version, switch: None };
            let pids = cgroup.pids();
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
                // It may have ended by now.
                let _ = kill_process(pid, Signal::KILL);
            }
            // The kill takes effect with the thaw. The group may not be ours to write to.
            let _ = cgroup.thaw();
            cgroup.remove();
            found.push((owner, pids.len()));
        }
    }
    found
}
