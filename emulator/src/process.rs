//! The state of processes, as `/proc` shows it. A process may end at any moment; then a function returns nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use procfs::ProcResult;
use procfs::net::TcpState;
use procfs::process::{Process, Stat, all_processes};

/// One task of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Its id.
    pub id: u32,
    /// The letter of its state: `T` if a signal stopped it, `Z` if it has ended.
    pub state: char,
    /// Its processor time in user and kernel space, in clock ticks.
    pub ticks: u64,
    /// How many times the scheduler switched it in or out.
    pub switches: u64,
}

/// The tasks of a process.
pub(crate) fn tasks(pid: u32) -> Vec<Task> {
    let read = |task: procfs::process::Task| -> ProcResult<Task> {
        let (Stat { state, utime, stime, .. }, status) = (task.stat()?, task.status()?);
        let switches = [status.voluntary_ctxt_switches, status.nonvoluntary_ctxt_switches];
        let switches = switches.into_iter().flatten().sum();
        Ok(Task { id: task.tid.cast_unsigned(), state, ticks: utime + stime, switches })
    };
    tasks_of(pid).filter_map(|task| read(task).ok()).collect()
}

/// A process and all its descendants that still run, itself first.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(tasks_of(parent).filter_map(|task| task.children().ok()).flatten());
        next += 1;
    }
    found
}

/// How many times the scheduler switched a task of a process, or of its descendants, in or out.
pub(crate) fn switches(pid: u32) -> u64 {
    descendants(pid).into_iter().flat_map(tasks).map(|task| task.switches).sum()
}

/// The first child of a process that has one task.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    tasks_of(pid).next()?.children().ok()?.first().copied()
}

/// The command line of a process, word by word. A process can set it to anything.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    process(pid).and_then(|process| process.cmdline().ok()).unwrap_or_default()
}

/// Whether the program of a process has the note that the linker of Go writes near the start of its files.
pub(crate) fn is_built_by_go(pid: u32) -> bool {
    use std::io::Read;
    let mut start = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/exe"));
    // The name `Go` of a note of type 4 (the build id).
    let note = b"\x04\0\0\0Go\0\0";
    file.is_ok_and(|file| file.take(8192).read_to_end(&mut start).is_ok()) && start.windows(8).any(|at| at == note)
}

/// Every process of a process group.
pub(crate) fn group(leader: u32) -> Vec<u32> {
    let in_group = |process: &Process| process.stat().is_ok_and(|stat| stat.pgrp == leader.cast_signed());
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter(in_group).map(|process| process.pid.cast_unsigned()).collect()
}

/// Whether a TCP socket listens on this address in the network namespace of a process.
pub(crate) fn listens_on(pid: u32, addr: SocketAddr) -> bool {
    let sockets = process(pid).and_then(|process| process.tcp().ok()).unwrap_or_default();
    sockets.iter().any(|socket| socket.local_address == addr && socket.state == TcpState::Listen)
}

/// The folder of our own control group in the freezer hierarchy of cgroup v1. `None` if it is not mounted.
pub(crate) fn freezer_v1_folder() -> Option<PathBuf> {
    own_group(
        |kind, options| kind == "cgroup" && options.contains_key("freezer"),
        |controllers| controllers.iter().any(|controller| controller == "freezer"),
    )
}

/// The folder of our own control group in the hierarchy of cgroup v2. `None` if it is not mounted.
pub(crate) fn cgroup_v2_folder() -> Option<PathBuf> {
    own_group(|kind, _| kind == "cgroup2", |controllers| controllers.iter().all(String::is_empty))
}

type MountOptions = std::collections::HashMap<String, Option<String>>;

fn own_group(is_mount: impl Fn(&str, &MountOptions) -> bool, is_ours: impl Fn(&[String]) -> bool) -> Option<PathBuf> {
    let mounts = procfs::mounts().ok()?;
    let mount = mounts.iter().find(|mount| is_mount(&mount.fs_vfstype, &mount.fs_mntops))?;
    let groups = Process::myself().ok()?.cgroups().ok()?;
    let own = groups.0.iter().find(|group| is_ours(&group.controllers));
    let below = own.map_or("", |group| group.pathname.trim_start_matches('/'));
    Some(Path::new(&mount.fs_file).join(below))
}

fn process(pid: u32) -> Option<Process> {
    Process::new(pid.try_into().ok()?).ok()
}

fn tasks_of(pid: u32) -> impl Iterator<Item = procfs::process::Task> {
    process(pid).and_then(|process| process.tasks().ok()).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_there() {
        let pid = std::process::id();
        assert!(tasks(pid).iter().any(|task| task.id == pid && task.switches > 0));
        assert_eq!(descendants(pid).first(), Some(&pid));
        assert!(tasks(u32::MAX).is_empty() && group(u32::MAX).is_empty());
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(listens_on(std::process::id(), addr));
        assert!(!listens_on(std::process::id(), ([127, 0, 0, 1], 1).into()));
    }
}
