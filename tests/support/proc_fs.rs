//! What `/proc` says about a process and its connections.

use super::wait_until;
use std::fs;

/// `R` running, `S` asleep, `T` stopped, `Z` dead (proc_pid_stat(5)).
pub fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything, parentheses included.
    stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next()).unwrap_or('?')
}

pub fn wait_for_state(pid: u32, wanted: char) {
    wait_until(&format!("process {pid} in state {wanted}"), || state(pid) == wanted);
}

/// A line of `/proc/PID/status`, without its name.
pub fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in /proc/{pid}/status")).trim().to_owned()
}

/// The number at the beginning of such a line.
pub fn status_number(pid: u32, name: &str) -> u64 {
    let text = status(pid, name);
    text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Signals that were sent and have not reached the process yet, as a mask.
pub fn pending_signals(pid: u32) -> u64 {
    let mask = |name| u64::from_str_radix(&status(pid, name), 16).expect("a mask");
    mask("ShdPnd") | mask("SigPnd")
}

/// The numbers below `limit` that are no open descriptor. A limit is one of numbers: what a process has inherited
/// beyond it does not count.
pub fn free_descriptors(pid: u32, limit: u64) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").flatten();
    let open: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    (0..limit).filter(|number| !open.contains(number)).collect()
}

/// Descriptors that are sockets: the listener and the accepted connections.
pub fn sockets(pid: u32) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").flatten();
    let is_socket = |target: &std::path::Path| target.to_string_lossy().starts_with("socket:[");
    links.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| is_socket(&target))).count()
}

/// Bytes that the process has read and written so far, sockets included.
pub fn traffic(pid: u32) -> (u64, u64) {
    let counters = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process lives, and is ours to look at");
    let counter = |name: &str| {
        let line = counters.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|number| number.parse().ok()).expect("a counter")
    };
    (counter("rchar"), counter("wchar"))
}

/// Whether everything that was sent to this TCP port has been read and every thread sleeps. `traffic` does not count
/// what is read by `recv`, as the standard library does.
pub fn has_read_all(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("the process lives");
    let port = format!(":{port:04X}");
    let is_pending = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, _, queues, ..] = columns[..] else { return false };
        let (unsent, unread) = queues.split_once(':').unwrap_or_default();
        let none = |queue: &str| queue.bytes().all(|digit| digit == b'0');
        (local.ends_with(&port) && !none(unread)) || (remote.ends_with(&port) && !none(unsent))
    };
    !table.lines().any(is_pending) && all_asleep(pid)
}

/// Whether every thread of the process sleeps.
pub fn all_asleep(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten();
    let mut tasks = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    // A thread that has ended meanwhile does nothing either.
    tasks.all(|task| matches!(state(task), 'S' | '?'))
}

/// Memory of the process that is in RAM, in kB. `VmRSS` is an estimate on some kernels: off by some pages for each CPU.
pub fn resident_kb(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let exact = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next()?.parse().ok());
    exact.unwrap_or_else(|| status_number(pid, "VmRSS"))
}
