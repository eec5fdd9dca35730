//! What the kernel tells of a process in `/proc`: its memory and its page faults.
//!
//! Reads and adds up; judges nothing. Processes may end at any instant, so each look can fail.

use std::io::{self, Error};
use std::path::Path;

/// An error names the file.
pub type Result<T> = io::Result<T>;

/// The memory of one process, all its threads included, in kilobytes of 1,024 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every page that it has in memory, shared or not (RSS).
    pub resident_kb: u64,
    /// Each of these pages divided by the number of processes that share it (PSS).
    pub proportional_kb: u64,
    /// The pages that it shares with nobody: what one more instance costs.
    pub private_kb: u64,
    /// The pages that no file stands behind: heap and stack.
    pub anonymous_kb: u64,
}

impl Memory {
    /// Of one process, out of `smaps_rollup`, which counts page by page and is exact.
    ///
    /// # Errors
    /// When the process has ended, or may not be looked at.
    pub fn of(pid: u32) -> Result<Self> {
        of_process(pid, "smaps_rollup", Self::parse)
    }

    /// Of one process and everything that it has started, added up.
    ///
    /// # Errors
    /// When the process itself has ended. A child that ends meanwhile has no memory left to count.
    pub fn of_family(pid: u32) -> Result<Self> {
        Ok(members(pid).filter_map(|pid| Self::of(pid).ok()).fold(Self::of(pid)?, |sum, one| Self {
            resident_kb: sum.resident_kb + one.resident_kb,
            proportional_kb: sum.proportional_kb + one.proportional_kb,
            private_kb: sum.private_kb + one.private_kb,
            anonymous_kb: sum.anonymous_kb + one.anonymous_kb,
        }))
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| field_kb(text, name);
        Some(Self {
            resident_kb: field("Rss")?,
            proportional_kb: field("Pss")?,
            private_kb: field("Private_Clean")? + field("Private_Dirty")?,
            anonymous_kb: field("Anonymous")?,
        })
    }
}

/// The page faults of one process so far, all its threads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Those that were served from memory.
    pub minor: u64,
    /// Those that had to wait for a disk.
    pub major: u64,
}

impl Faults {
    /// Of one process.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn of(pid: u32) -> Result<Self> {
        of_process(pid, "stat", Self::parse)
    }

    /// Of one process and everything that it has started, added up.
    ///
    /// # Errors
    /// When the process itself has ended.
    pub fn of_family(pid: u32) -> Result<Self> {
        Ok(members(pid)
            .filter_map(|pid| Self::of(pid).ok())
            .fold(Self::of(pid)?, |sum, one| Self { minor: sum.minor + one.minor, major: sum.major + one.major }))
    }

    /// Those that came after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { minor: self.minor.saturating_sub(earlier.minor), major: self.major.saturating_sub(earlier.major) }
    }

    /// Fields 10 and 12, counted after the name, which may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(7);
        let minor = fields.next()?.parse().ok()?;
        let major = fields.nth(1)?.parse().ok()?;
        Some(Self { minor, major })
    }
}

/// The most memory that one process has had in memory so far, in kilobytes.
///
/// # Errors
/// When the process has ended.
pub fn peak_kb(pid: u32) -> Result<u64> {
    of_process(pid, "status", |text| field_kb(text, "VmHWM"))
}

/// How many descriptors one process has open.
///
/// # Errors
/// When the process has ended.
pub fn descriptors(pid: u32) -> Result<usize> {
    entries(pid, "fd")
}

/// How many threads one process has.
///
/// # Errors
/// When the process has ended.
pub fn threads(pid: u32) -> Result<usize> {
    entries(pid, "task")
}

/// Whether one process sleeps, waiting for something.
///
/// # Errors
/// When the process has ended.
pub fn is_asleep(pid: u32) -> Result<bool> {
    of_process(pid, "stat", |stat| Some(stat.rsplit(')').next()?.trim_start().starts_with('S')))
}

/// What the kernel holds for TCP connections, of everybody on this machine, in kilobytes.
///
/// # Errors
/// When the kernel does not tell.
pub fn tcp_kb() -> Result<u64> {
    // The first line that ends with `mem` is TCP's.
    let pages = |text: &str| text.split(" mem ").nth(1)?.split_whitespace().next()?.parse::<u64>().ok();
    Ok(read(Path::new("/proc/net/sockstat"), pages)? * page_kb()?)
}

/// A process and everything that it has started and that still runs, itself first.
pub fn family(pid: u32) -> Vec<u32> {
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(&member) = members.get(next) {
        let tasks = std::fs::read_dir(format!("/proc/{member}/task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists.for_each(|list| members.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok())));
        next += 1;
    }
    members
}

/// Everything that a process has started and that still runs.
fn members(pid: u32) -> impl Iterator<Item = u32> {
    family(pid).into_iter().skip(1)
}

/// The memory of the machine that could still be handed out, in kilobytes. Pages that a processor keeps at hand for
/// itself are included: they are hundreds of megabytes at times, and `MemAvailable` leaves them out.
///
/// # Errors
/// When the kernel does not tell.
pub fn available_kb() -> Result<u64> {
    let available_kb = read(Path::new("/proc/meminfo"), |text| field_kb(text, "MemAvailable"))?;
    let pages = read(Path::new("/proc/zoneinfo"), |text| Some(pages_at_hand(text)))?;
    Ok(available_kb + pages * page_kb()?)
}

fn page_kb() -> Result<u64> {
    read(Path::new("/proc/self/smaps"), |text| field_kb(text, "KernelPageSize"))
}

/// Each zone has a list for each processor, with a line like `count: 12`.
fn pages_at_hand(zoneinfo: &str) -> u64 {
    let counts = zoneinfo.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

fn of_process<T>(pid: u32, file: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    read(Path::new(&format!("/proc/{pid}/{file}")), parse)
}

fn entries(pid: u32, folder: &str) -> Result<usize> {
    let path = format!("/proc/{pid}/{folder}");
    let listed = std::fs::read_dir(&path).map_err(|cause| about("read", &path, cause))?;
    Ok(listed.count())
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| about("read", &name, cause))?;
    parse(&text).ok_or_else(|| about("understand", &name, Error::other("a figure is missing")))
}

fn about(verb: &str, path: &str, cause: Error) -> Error {
    Error::new(cause.kind(), format!("failed to {verb} `{path}`: {cause}"))
}

/// The figure in a line like `Pss:   12 kB`.
fn field_kb(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "\
        00400000-7ffd03b9f000 ---p 00000000 00:00 0                              [rollup]\n\
        Rss:                 488 kB\nPss:                 120 kB\nPss_Dirty:            84 kB\nPss_Anon:  84 kB\n\
        Shared_Clean:        400 kB\nShared_Dirty:          0 kB\nPrivate_Clean:         4 kB\n\
        Private_Dirty:        84 kB\nReferenced:          488 kB\nAnonymous:            80 kB\n";

    #[test]
    fn memory_is_read_from_its_own_lines() {
        let memory = Memory { resident_kb: 488, proportional_kb: 120, private_kb: 88, anonymous_kb: 80 };
        assert_eq!(Memory::parse(ROLLUP), Some(memory));
        for missing in ["Rss", "Pss:", "Private_Clean", "Private_Dirty", "Anonymous"] {
            assert_eq!(Memory::parse(&ROLLUP.replace(missing, "Other:")), None, "{missing}");
        }
        assert_eq!(Memory::parse(""), None);
    }

    #[test]
    fn faults_are_read_after_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 101 22 3 44 50 6 0 0 20 0 1 0 9";
        assert_eq!(Faults::parse(stat), Some(Faults { minor: 101, major: 3 }));
        assert_eq!(Faults::parse("7 (a) S 1 7 7 0 -1 4194560 101 22"), None);
        let (earlier, later) = (Faults { minor: 5, major: 0 }, Faults { minor: 12, major: 1 });
        assert_eq!(later.since(earlier), Faults { minor: 7, major: 1 });
    }

    #[test]
    fn pages_at_hand_are_added_up() {
        let zoneinfo = "Node 0, zone  Normal\n  pages free     9\n  pagesets\n    cpu: 0\n              count:    5\n\
                        \n    cpu: 1\n              count:    70\n              high:     99\n";
        assert_eq!((pages_at_hand(zoneinfo), pages_at_hand("")), (75, 0));
    }

    #[test]
    fn our_own_process_can_be_looked_at() {
        let pid = std::process::id();
        let memory = Memory::of(pid).unwrap();
        assert!(memory.resident_kb >= memory.proportional_kb && memory.proportional_kb >= memory.private_kb);
        assert!(memory.private_kb > 0 && Faults::of(pid).unwrap().minor > 0);
        assert!(available_kb().unwrap() > 0 && tcp_kb().is_ok());
        assert!(
            peak_kb(pid).unwrap() >= memory.private_kb && descriptors(pid).unwrap() > 2 && threads(pid).unwrap() > 1
        );
        assert!(Memory::of(u32::MAX).unwrap_err().to_string().contains("smaps_rollup"));
    }

    #[test]
    fn what_a_process_has_started_belongs_to_its_family() {
        use std::process::{Command, Stdio};
        let mut child = Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let look = || {
            let more_memory = Memory::of_family(pid).ok()?.resident_kb > Memory::of(pid).ok()?.resident_kb;
            let more_faults = Faults::of_family(pid).ok()?.minor > Faults::of(pid).ok()?.minor;
            (family(pid).len() == 2 && more_memory && more_faults).then(|| family(pid)[0])
        };
        let mut counted = None;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while counted.is_none() && std::time::Instant::now() < deadline {
            counted = look();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // Its input ends, and with it the child's child.
        child.wait().unwrap();
        assert_eq!(counted, Some(pid));
    }
}
