//! What the kernel tells of a process in `/proc`: its state, its memory, its page faults, its descriptors and sockets.
//!
//! Reads and adds up; judges nothing. Processes may end at any instant, so each look can fail.
//!
//! The crate `procfs` would read the same files, but does not compile on other systems than Linux. The tests do: there
//! they leave out what needs these files.

use std::fs;
use std::io::{self, Error};
use std::path::Path;
use std::time::Duration;

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

/// The processor time of one process so far, in itself and in the kernel for it, and of everything that it has started
/// and waited for.
///
/// # Errors
/// When the process has ended and somebody has waited for it.
pub fn processor_time(pid: u32) -> Result<Duration> {
    of_process(pid, "stat", |stat| Some(Duration::from_secs_f64(ticks(stat)? as f64 / TICKS_PER_SECOND)))
}

/// Fields 14 to 17, counted after the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    (0..4).try_fold(0, |sum, _| Some(sum + fields.next()?.parse::<u64>().ok()?))
}

/// Of all figures of `/proc`, on every architecture that Linux still has.
const TICKS_PER_SECOND: f64 = 100.0;

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
    Ok(names(pid, "fd")?.len())
}

/// How many threads one process has.
///
/// # Errors
/// When the process has ended.
pub fn threads(pid: u32) -> Result<usize> {
    Ok(names(pid, "task")?.len())
}

/// The state of one process or thread: `R` runs, `S` sleeps until something happens, `T` is stopped, `Z` has ended and
/// nobody has waited for it (proc_pid_stat(5)).
///
/// # Errors
/// When the process has ended.
pub fn state(pid: u32) -> Result<char> {
    // The name in parentheses may hold anything, parentheses included.
    of_process(pid, "stat", |stat| stat.rsplit_once(')')?.1.trim_start().chars().next())
}

/// Whether one process sleeps, waiting for something. Of its threads this looks only at the first.
///
/// # Errors
/// When the process has ended.
pub fn is_asleep(pid: u32) -> Result<bool> {
    Ok(state(pid)? == 'S')
}

/// Whether every thread of one process sleeps. A thread that ends meanwhile does nothing either.
///
/// # Errors
/// When the process has ended.
pub fn all_asleep(pid: u32) -> Result<bool> {
    all_are(pid, 'S')
}

/// Whether every thread of one process is stopped. One after another stops when the processor is its own.
///
/// # Errors
/// When the process has ended.
pub fn all_stopped(pid: u32) -> Result<bool> {
    all_are(pid, 'T')
}

fn all_are(pid: u32, wanted: char) -> Result<bool> {
    let threads = names(pid, "task")?.into_iter().filter_map(|name| name.parse().ok());
    Ok(threads.map(state).all(|state| state.map_or(true, |state| state == wanted)))
}

/// The text of a line in `/proc/PID/status`, such as `NSpid`.
///
/// # Errors
/// When the process has ended, or has no such line.
pub fn status(pid: u32, name: &str) -> Result<String> {
    of_process(pid, "status", |text| field(text, name).map(str::to_owned))
}

/// How often the kernel has taken the processor from one process so far: because it waited, and although it did not.
/// Only its first thread is counted.
///
/// # Errors
/// When the process has ended.
pub fn context_switches(pid: u32) -> Result<[u64; 2]> {
    of_process(pid, "status", |text| {
        let count = |name| field(text, name)?.parse().ok();
        Some([count("voluntary_ctxt_switches")?, count("nonvoluntary_ctxt_switches")?])
    })
}

/// The signals that were sent and have not reached one process yet, as a mask.
///
/// # Errors
/// When the process has ended.
pub fn pending_signals(pid: u32) -> Result<u64> {
    of_process(pid, "status", |text| {
        let mask = |name| u64::from_str_radix(field(text, name)?, 16).ok();
        Some(mask("ShdPnd")? | mask("SigPnd")?)
    })
}

/// The numbers below `limit` that are no open descriptor of one process. A limit of descriptors bounds their numbers,
/// so a descriptor that was inherited with a higher number does not count against it.
///
/// # Errors
/// When the process has ended.
pub fn free_descriptors(pid: u32, limit: u64) -> Result<Vec<u64>> {
    let open: Vec<u64> = names(pid, "fd")?.into_iter().filter_map(|name| name.parse().ok()).collect();
    Ok((0..limit).filter(|number| !open.contains(number)).collect())
}

/// How many descriptors of one process are sockets: those that listen, and connections.
///
/// # Errors
/// When the process has ended.
pub fn sockets(pid: u32) -> Result<usize> {
    let names = names(pid, "fd")?.into_iter();
    let is_socket = |path: &Path| path.to_string_lossy().starts_with("socket:[");
    Ok(names.filter(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|path| is_socket(&path))).count())
}

/// The bytes that one process has read and written so far by `read`, `write` and the like, sockets included. Bytes that
/// it has received by `recv`, as the standard library does, are not counted.
///
/// # Errors
/// When the process has ended, or may not be looked at.
pub fn traffic(pid: u32) -> Result<(u64, u64)> {
    of_process(pid, "io", |text| Some((field(text, "rchar")?.parse().ok()?, field(text, "wchar")?.parse().ok()?)))
}

/// Whether the kernel holds no byte that was sent to this TCP port, over IPv4, and that the port's owner has not read.
/// `pid` is any process of the network namespace.
///
/// # Errors
/// When the process has ended.
pub fn is_all_read(pid: u32, port: u16) -> Result<bool> {
    of_process(pid, "net/tcp", |table| Some(!table.lines().any(|line| is_unread(line, port))))
}

/// Whether one line of `net/tcp` is a connection to the port with bytes that its owner has not read: they wait in the
/// owner's queue, or still in the sender's.
fn is_unread(line: &str, port: u16) -> bool {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, _, queues, ..] = columns[..] else { return false };
    let (unsent, unread) = queues.split_once(':').unwrap_or_default();
    let (end, holds_some) = (format!(":{port:04X}"), |queue: &str| queue.bytes().any(|digit| digit != b'0'));
    (local.ends_with(&end) && holds_some(unread)) || (remote.ends_with(&end) && holds_some(unsent))
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
        let tasks = fs::read_dir(format!("/proc/{member}/task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
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

/// The names in a folder of one process: numbers of descriptors, or ids of threads.
fn names(pid: u32, folder: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/{folder}");
    let listed = fs::read_dir(&path).map_err(|cause| about("read", &path, cause))?;
    Ok(listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|cause| about("read", &name, cause))?;
    parse(&text).ok_or_else(|| about("understand", &name, Error::other("a figure is missing")))
}

fn about(verb: &str, path: &str, cause: Error) -> Error {
    Error::new(cause.kind(), format!("failed to {verb} `{path}`: {cause}"))
}

/// The text in a line like `Threads: 1`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The figure in a line like `Pss:   12 kB`.
fn field_kb(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim_end().parse().ok()
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
        assert_eq!((ticks(stat), ticks("7 (a) S 1 7 7 0 -1 4194560 101 22")), (Some(56), None));
        let (earlier, later) = (Faults { minor: 5, major: 0 }, Faults { minor: 12, major: 1 });
        assert_eq!(later.since(earlier), Faults { minor: 7, major: 1 });
    }

    #[test]
    fn pages_at_hand_are_added_up() {
        let zoneinfo = "Node 0, zone  Normal\n  pages free     9\n  pagesets\n    cpu: 0\n              count:    5\n\
                        \n    cpu: 1\n              count:    70\n              high:     99\n";
        assert_eq!((pages_at_hand(zoneinfo), pages_at_hand("")), (75, 0));
    }

    /// Lines as the kernel writes them: the listener, a connection to it, and its other end.
    #[test]
    fn bytes_that_wait_for_their_reader_are_seen_at_either_end() {
        let line = |local: &str, remote: &str, queues: &str| {
            format!("   0: 0100007F:{local} 0100007F:{remote} 01 {queues} 00:00000000 00000000 0 0 1234 1")
        };
        for (local, remote, queues, unread) in [
            ("2328", "0000", "00000000:00000000", false),
            ("2328", "D431", "00000000:00000005", true),
            ("2328", "D431", "00000005:00000000", false),
            ("D431", "2328", "00000005:00000000", true),
            ("D431", "2328", "00000000:00000005", false),
            ("D431", "1F90", "00000005:00000005", false),
        ] {
            assert_eq!(is_unread(&line(local, remote, queues), 9000), unread, "{local} {remote} {queues}");
        }
        assert!(!is_unread("  sl  local_address rem_address   st tx_queue rx_queue", 9000));
    }

    #[test]
    fn our_own_process_can_be_looked_at() {
        let pid = std::process::id();
        let memory = Memory::of(pid).unwrap();
        assert!(memory.resident_kb >= memory.proportional_kb && memory.proportional_kb >= memory.private_kb);
        assert!(memory.private_kb > 0 && Faults::of(pid).unwrap().minor > 0 && processor_time(pid).is_ok());
        assert!(available_kb().unwrap() > 0 && tcp_kb().is_ok());
        assert!(
            peak_kb(pid).unwrap() >= memory.private_kb && descriptors(pid).unwrap() > 2 && threads(pid).unwrap() > 1
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(sockets(pid).unwrap() > 0 && traffic(pid).unwrap().0 > 0);
        assert!(is_all_read(pid, listener.local_addr().unwrap().port()).unwrap());
        let free = free_descriptors(pid, 1000).unwrap();
        assert!(!free.contains(&0) && free.len() < 1000);
        assert_eq!(status(pid, "Tgid").unwrap(), pid.to_string());
        assert!(context_switches(pid).is_ok() && pending_signals(pid).is_ok());
        // This very thread runs.
        assert!(!all_asleep(pid).unwrap() && state(pid).is_ok());
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
