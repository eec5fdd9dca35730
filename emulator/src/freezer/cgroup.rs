//! The two cgroup freezers. One group per target, made here and removed here.
//!
//! v1 has a hierarchy of its own with the three states of `freezer.state`; v2 has `cgroup.freeze`
//! in every group and tells in `cgroup.events` when it is in force. Our group is made below our
//! own, so it works inside a delegated subtree as well as at the root.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Freezer;
use crate::clock::Deadline;
use crate::error::{Error, Result};

/// How long an emptied group may take to become removable.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// A group with one target in it.
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
    /// A group in the v1 freezer hierarchy.
    pub fn v1() -> Result<Self> {
        Self::make(Version::V1)
    }

    /// A group in the v2 hierarchy.
    pub fn v2() -> Result<Self> {
        Self::make(Version::V2)
    }

    fn make(version: Version) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mount = mount_point(&mounts, version)
            .ok_or_else(|| Error::new(format!("{} is not mounted here", version.name())))?;
        let own = own_group(&memberships, version).unwrap_or("/");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fc-emulator-{}-{count}", std::process::id());
        let path = Path::new(mount).join(own.trim_start_matches('/')).join(name);
        fs::create_dir(&path).map_err(|cause| Error::failed("make", path.display(), cause))?;
        let cgroup = Self { path, version };
        match cgroup.path.join(version.switch()).exists() {
            true => Ok(cgroup),
            false => {
                cgroup.remove();
                Err(Error::new(format!("{} cannot freeze here", version.name())))
            }
        }
    }

    fn set(&self, value: &str) -> Result<()> {
        let file = self.path.join(self.version.switch());
        fs::write(&file, value).map_err(|cause| Error::failed("write to", file.display(), cause))
    }
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
        // In a group of another namespace's process the kernel says 0.
        list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    fn remove(&self) {
        Deadline::after(REMOVE_WAIT).until(|| {
            let gone = fs::remove_dir(&self.path).is_ok() || !self.path.exists();
            gone.then_some(())
        });
    }
}

/// Where the hierarchy is mounted, out of `/proc/self/mounts`.
fn mount_point(mounts: &str, version: Version) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match version {
            Version::V1 => kind == "cgroup" && options.split(',').any(|option| option == "freezer"),
            Version::V2 => kind == "cgroup2",
        };
        wanted.then_some(point)
    })
}

/// Our own group in the hierarchy, out of `/proc/self/cgroup`.
fn own_group(memberships: &str, version: Version) -> Option<&str> {
    memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let wanted = match version {
            Version::V1 => controllers.split(',').any(|controller| controller == "freezer"),
            Version::V2 => controllers.is_empty(),
        };
        wanted.then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts, Version::V1), Some("/sys/fs/cgroup/freezer"));
        assert_eq!(mount_point(mounts, Version::V2), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("", Version::V2), None);

        let memberships = "4:memory:/m\n6:freezer:/ours\n0::/a:b\n";
        assert_eq!(own_group(memberships, Version::V1), Some("/ours"));
        assert_eq!(own_group(memberships, Version::V2), Some("/a:b"));
    }
}
