//! The state of processes, as `/proc` shows it. A process may end at any moment; then a function returns nothing.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::process::{FDInfo, FDTarget, Process, Stat, all_processes};
use procfs::{FromBufReadSI, ProcResult};

use crate::sock_diag::SockDiag;

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

/// Whether a process was sent SIGSTOP and has not stopped yet.
pub(crate) fn has_stop_pending(pid: u32) -> bool {
    const SIGSTOP: u64 = 1 << 18;
    let status = process(pid).and_then(|process| process.status().ok());
    status.is_some_and(|status| (status.shdpnd | status.sigpnd) & SIGSTOP != 0)
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

/// Whether every task of these processes is in a system call that waits for something, or was in one when it was
/// frozen. `None` if the kernel does not say it of one of them.
///
/// A task that is ready to run, and only has no processor yet, does not wait.
pub(crate) fn all_wait(pids: &[u32]) -> Option<bool> {
    let mut known = Some(true);
    for pid in pids {
        for task in tasks(*pid).iter().filter(|task| !matches!(task.state, 'Z' | 'X')) {
            match waits(*pid, task.id) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => known = None,
            }
        }
    }
    known
}

/// Whether every task of these processes that is not frozen sleeps, for whatever reason: also until a client reads.
pub(crate) fn all_sleep(pids: &[u32]) -> Option<bool> {
    let mut states = pids.iter().flat_map(|pid| tasks(*pid)).map(|task| task.state);
    Some(states.all(|state| matches!(state, 'S' | 'I' | 'Z' | 'X')))
}

/// Whether a task waits in a system call. One that has ended meanwhile does.
fn waits(pid: u32, task: u32) -> Option<bool> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{task}/syscall")) {
        // The number of the call, `-1` outside of one, or `running`.
        Ok(text) => {
            let number = text.split_whitespace().next().and_then(|word| word.parse::<libc::c_long>().ok());
            Some(number.is_some_and(|number| WAITS.contains(&number)))
        }
        Err(_) if !tasks(pid).iter().any(|other| other.id == task) => Some(true),
        Err(_) => None,
    }
}

/// The system calls in which servers wait for input, for a time, for each other or for their children.
const WAITS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_io_getevents,
    libc::SYS_io_uring_enter,
];

/// The first child of a process that has one task.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    tasks_of(pid).next()?.children().ok()?.first().copied()
}

/// The command line of a process, word by word. A process can set it to anything.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    process(pid).and_then(|process| process.cmdline().ok()).unwrap_or_default()
}

/// Whether a process was started with this variable, and with a value.
pub(crate) fn has_variable(pid: u32, name: &str) -> bool {
    let variables = process(pid).and_then(|process| process.environ().ok()).unwrap_or_default();
    variables.get(std::ffi::OsStr::new(name)).is_some_and(|value| !value.is_empty())
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

/// The descendants of a process that still run, without itself.
pub(crate) fn below(pid: u32) -> Vec<u32> {
    let mut found = descendants(pid);
    found.remove(0);
    found
}

/// Every process of this machine.
pub(crate) fn all() -> Vec<u32> {
    all_processes().into_iter().flatten().flatten().map(|process| process.pid.cast_unsigned()).collect()
}

/// The name of a process, as `ps` shows it.
pub(crate) fn name(pid: u32) -> Option<String> {
    process(pid)?.stat().ok().map(|stat| stat.comm)
}

/// When a process started, in clock ticks since the boot. With its id this names it for ever. `None` if it has ended,
/// even if its parent has not asked for its exit status yet.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = process(pid)?.stat().ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

/// The namespace in which our process ids count.
pub(crate) fn pid_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_string_lossy().trim_start_matches("pid:[").trim_end_matches(']').parse().ok()
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListeningSocket {
    /// Its address.
    pub addr: SocketAddr,
    /// Its number, by which the processes that hold it are found.
    pub inode: u64,
    /// The user who opened it.
    pub uid: u32,
}

/// Every TCP socket that listens in the network namespace of a process.
pub(crate) fn listening_sockets(pid: u32) -> Vec<ListeningSocket> {
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let is_ours = network("self").is_some_and(|ours| network(&pid.to_string()) == Some(ours));
    let asked = if is_ours { SockDiag::open().and_then(|mut kernel| kernel.listening_sockets()).ok() } else { None };
    asked.unwrap_or_else(|| listed_sockets(pid))
}

/// The same from `/proc`, which shows other namespaces, too.
fn listed_sockets(pid: u32) -> Vec<ListeningSocket> {
    let both = ["tcp", "tcp6"].map(|name| first_sockets(Path::new(&format!("/proc/{pid}/net/{name}"))));
    let listening = both.into_iter().flatten().filter(|socket| socket.state == TcpState::Listen);
    listening
        .map(|socket| ListeningSocket { addr: socket.local_address, inode: socket.inode, uid: socket.uid })
        .collect()
}

/// The length of a line in `/proc/net/tcp`.
const LINE_BYTES: usize = 150;

/// The sockets of a table up to the first that does not listen. The kernel lists those that listen first, and a busy
/// machine has tens of thousands of others, most of them closed a moment ago.
fn first_sockets(table: &Path) -> Vec<TcpNetEntry> {
    let Ok(file) = std::fs::File::open(table) else { return Vec::new() };
    let mut text = String::new();
    // The kernel looks for as many sockets as fit into a read, and the table of those that do not listen is long.
    let file = BufReader::with_capacity(LINE_BYTES, file);
    for (index, line) in file.lines().map_while(Result::ok).enumerate() {
        let listens = || line.split_whitespace().nth(3) == Some("0A");
        if index > 0 && !listens() {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    let read = TcpNetEntries::from_buf_read(text.as_bytes(), procfs::current_system_info());
    read.map_or_else(|_| Vec::new(), |entries| entries.0)
}

/// The numbers of the sockets that a process holds. `None` if we may not see them.
pub(crate) fn held_sockets(pid: u32) -> Option<Vec<u64>> {
    let inode = |descriptor: FDInfo| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    };
    Some(process(pid)?.fd().ok()?.flatten().filter_map(inode).collect())
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
        assert!(tasks(u32::MAX).is_empty() && below(u32::MAX).is_empty());
    }

    #[test]
    fn a_process_waits_or_works() {
        let mut sleeps = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let mut works = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let (sleeper, worker) = (sleeps.id(), works.id());
        let deadline = crate::clock::Deadline::after(std::time::Duration::from_secs(10));
        let slept = deadline.until(|| (all_wait(&[sleeper]) != Some(false)).then_some(()));
        let worked = deadline.until(|| (name(worker).as_deref() == Some("sh")).then(|| all_wait(&[worker, sleeper])));
        let sleep = (all_sleep(&[sleeper]), all_sleep(&[sleeper, worker]));
        for child in [&mut sleeps, &mut works] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(slept.is_some());
        assert_ne!(worked, Some(Some(true)));
        assert_eq!(sleep, (Some(true), Some(false)));
        assert_eq!(all_wait(&[u32::MAX]), Some(true));
    }

    #[test]
    fn our_own_listener_is_found() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has no such listener.
            let Ok(listener) = std::net::TcpListener::bind(addr) else { continue };
            is_found(listener);
        }
    }

    fn is_found(listener: std::net::TcpListener) {
        let addr = listener.local_addr().unwrap();
        let own = std::process::id();
        let find = |sockets: Vec<ListeningSocket>| sockets.into_iter().find(|socket| socket.addr == addr);
        let found = find(listening_sockets(own)).expect("it listens");
        assert!(held_sockets(own).unwrap().contains(&found.inode));
        assert_eq!(find(listed_sockets(own)), Some(found));
        drop(listener);
        assert_eq!((find(listening_sockets(own)), find(listed_sockets(own))), (None, None));
    }

    #[test]
    fn a_process_is_named_by_its_id_and_its_start() {
        let own = std::process::id();
        assert!(started(own).is_some() && name(own).is_some() && all().contains(&own) && pid_namespace().is_some());
        assert_eq!((started(u32::MAX), name(u32::MAX)), (None, None));
    }
}
