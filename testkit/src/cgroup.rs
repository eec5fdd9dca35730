//! Control groups, in either hierarchy.

use std::fs;
use std::path::PathBuf;

/// Where the freezer of version 1 and the hierarchy of version 2 are usually mounted.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// The groups at the top of a hierarchy whose names begin with `prefix`.
pub fn groups_named(prefix: &str) -> Vec<PathBuf> {
    let entries = HIERARCHIES.iter().filter_map(|path| fs::read_dir(path).ok()).flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Whether the kernel says that every process in this group is frozen.
pub fn is_frozen(group: &std::path::Path) -> bool {
    let says = |file: &str, sign: &str| {
        fs::read_to_string(group.join(file)).is_ok_and(|text| text.lines().any(|line| line == sign))
    };
    says("freezer.state", "FROZEN") || says("cgroup.events", "frozen 1")
}
