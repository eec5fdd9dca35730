//! The two cgroup freezers. Each target gets a group of its own, which is created and removed here.
//!
//! Cgroup v1 has a separate hierarchy for its freezer, with the file `freezer.state` in every group. Cgroup v2 has the
//! file `cgroup.freeze` in every group, and `cgroup.events` says when the freeze is in force. A new group is created
//! below the group of this process, so that it works in a delegated subtree as well as at the root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Freezer;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::process;

/// The kernel may take this long to let an emptied group be removed.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// The control group of one target.
pub struct Cgroup {
    path: PathBuf,
    version: Version,
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
        let own = match version {
            Version::V1 => process::freezer_v1_folder(),
            Version::V2 => process::cgroup_v2_folder(),
        };
        let own = own.ok_or_else(|| not_mounted(version))?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fc-emulator-{}-{count}", std::process::id());
        let path = own.join(name);
        fs::create_dir(&path).map_err(|cause| not_writable(&path, cause))?;
        let cgroup = Self { path, version };
        match cgroup.path.join(version.switch()).exists() {
            true => Ok(cgroup),
            false => {
                cgroup.remove();
                Err(no_switch(version))
            }
        }
    }

    fn set(&self, value: &str) -> Result<()> {
        let file = self.path.join(self.version.switch());
        fs::write(&file, value).map_err(|cause| Error::failed("write to", file.display(), cause))
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
        Version::V1 => (version.switch(), "take `--freeze-with auto`"),
        Version::V2 => (version.switch(), "use Linux 5.2 or later, or take `--freeze-with auto`"),
    };
    Error::new(format!("the kernel has no `{file}` in a new control group: {fix}"))
}

impl Version {
    fn name(self) -> &'static str {
        if self == Self::V1 { "the cgroup v1 freezer" } else { "the cgroup v2 freezer" }
    }

    fn switch(self) -> &'static str {
        if self == Self::V1 { "freezer.state" } else { "cgroup.freeze" }
    }
}

impl Freezer for Cgroup {
    fn name(&self) -> &'static str {
        self.version.name()
    }

    fn entry(&self) -> Option<PathBuf> {
        Some(self.path.join("cgroup.procs"))
    }

    fn request(&self, _leader: u32) -> Result<()> {
        self.set(if self.version == Version::V1 { "FROZEN" } else { "1" })
    }

    fn is_frozen(&self, _leader: u32) -> bool {
        let (file, sign) = match self.version {
            Version::V1 => ("freezer.state", "FROZEN"),
            Version::V2 => ("cgroup.events", "frozen 1"),
        };
        fs::read_to_string(self.path.join(file)).is_ok_and(|text| text.lines().any(|line| line == sign))
    }

    fn thaw(&self, _leader: u32) -> Result<()> {
        self.set(if self.version == Version::V1 { "THAWED" } else { "0" })
    }

    fn pids(&self, _leader: u32) -> Vec<u32> {
        let list = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        // The kernel writes 0 for a process that this namespace cannot see.
        list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    fn remove(&self) {
        Deadline::after(REMOVE_WAIT).until(|| {
            let gone = fs::remove_dir(&self.path).is_ok() || !self.path.exists();
            gone.then_some(())
        });
    }
}
