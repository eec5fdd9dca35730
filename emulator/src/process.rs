//! What the emulator reads of processes in `/proc`. A process may end at any moment, and then there is nothing to read.

use std::fs;

/// One task of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Its number.
    pub id: u32,
    /// The letter of its state: `T` if a signal stopped it, `Z` if it has ended.
    pub state: char,
    /// Processor time in user and kernel space, in clock ticks.
    pub ticks: u64,
}

/// The tasks of a process.
pub(crate) fn tasks(pid: u32) -> Vec<Task> {
    ids(&format!("/proc/{pid}/task"))
        .filter_map(|id| task(id, &read(&format!("/proc/{pid}/task/{id}/stat"))?))
        .collect()
}

/// How often a task was switched in or out.
pub(crate) fn switches(pid: u32, task: u32) -> Option<u64> {
    let status = read(&format!("/proc/{pid}/task/{task}/status"))?;
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    Some(counts.filter_map(|line| line.rsplit(char::is_whitespace).next()?.parse::<u64>().ok()).sum())
}

/// A process and everything that it started and that still runs, itself first.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        for task in ids(&format!("/proc/{parent}/task")) {
            let children = read(&format!("/proc/{parent}/task/{task}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// The first child of a process that has one task.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    read(&format!("/proc/{pid}/task/{pid}/children"))?.split_whitespace().next()?.parse().ok()
}

/// Every process of a process group.
pub(crate) fn group(leader: u32) -> Vec<u32> {
    let in_group = |pid: &u32| {
        let stat = read(&format!("/proc/{pid}/stat"));
        stat.and_then(|stat| after_name(&stat).nth(2)?.parse::<u32>().ok()) == Some(leader)
    };
    ids("/proc").filter(in_group).collect()
}

/// The entries of a folder that are numbers.
fn ids(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn task(id: u32, stat: &str) -> Option<Task> {
    let mut fields = after_name(stat);
    let state = fields.next()?.chars().next()?;
    let ticks = fields.skip(10).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Task { id, state, ticks })
}

/// The fields of `stat` from the third on. The second is a name, which may hold anything.
fn after_name(stat: &str) -> std::str::SplitWhitespace<'_> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_any_name() {
        let stat = "7 (a) b) T 1 7 7 0 -1 4194560 101 22 3 44 50 6 0 0 20 0 1 0 9";
        assert_eq!(task(7, stat), Some(Task { id: 7, state: 'T', ticks: 56 }));
        assert_eq!(task(7, ""), None);
    }

    #[test]
    fn our_own_process_is_there() {
        let pid = std::process::id();
        assert!(tasks(pid).iter().any(|task| task.id == pid) && switches(pid, pid).is_some());
        assert_eq!(descendants(pid).first(), Some(&pid));
        assert!(tasks(u32::MAX).is_empty() && group(u32::MAX).is_empty());
    }
}
