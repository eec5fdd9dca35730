//! Control groups, in either hierarchy.

use std::fs;
use std::path::{Path, PathBuf};

/// The versions of control groups. One machine can have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller; the freezer is one of them.
    V1,
    /// One hierarchy, in which every group can be frozen.
    V2,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];
}

/// Where this machine mounts the hierarchy that freezes processes, if it has this version.
pub fn hierarchy(version: Version) -> Option<PathBuf> {
    hierarchy_in(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), version)
}

/// Each line has the device, the mount point, the file system and its options (fstab(5)).
fn hierarchy_in(mounts: &str, version: Version) -> Option<PathBuf> {
    let mount_point = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (point, system, options) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match version {
            Version::V1 => system == "cgroup" && options.split(',').any(|option| option == "freezer"),
            Version::V2 => system == "cgroup2",
        };
        wanted.then(|| PathBuf::from(point))
    };
    mounts.lines().find_map(mount_point)
}

/// The groups at the top of a hierarchy whose names begin with `prefix`.
pub fn groups_named(prefix: &str) -> Vec<PathBuf> {
    let hierarchies = Version::ALL.into_iter().filter_map(hierarchy);
    let entries = hierarchies.filter_map(|path| fs::read_dir(path).ok()).flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Whether the kernel says that every process in this group is frozen.
pub fn is_frozen(group: &Path) -> bool {
    let says = |file: &str, sign: &str| {
        fs::read_to_string(group.join(file)).is_ok_and(|text| text.lines().any(|line| line == sign))
    };
    says("freezer.state", "FROZEN") || says("cgroup.events", "frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_system_and_option() {
        let both = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\nproc /proc proc rw 0 0\n";
        let found = |mounts: &str| Version::ALL.map(|version| hierarchy_in(mounts, version));
        assert_eq!(found(both), ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified"].map(|path| Some(path.into())));
        assert_eq!(found("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), [None, Some("/sys/fs/cgroup".into())]);
        assert_eq!(found("cgroup"), [None, None]);
    }
}
