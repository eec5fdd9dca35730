//! One start under a tracer (ptrace), counted call by call. Slow, and exact: nothing here depends on time but patience.
//!
//! The tracer is also the client. After each system call the server stands still while the tracer looks whether the
//! whole reply has come, so a call after the reply is never counted before it. A server is ready when it listens, all
//! its threads sleep, and it has made no call for a while: the last call that was counted is the one it waits in.
//! Calls are those of all its threads and children; page faults, memory and threads are those of the process itself.
//!
//! ptrace belongs to a thread: start, waiting and end are all on the caller's. `env` stands before the command, so that
//! there is an exec to begin at whose own page faults count.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::Outcome;
use super::client::Client;
use crate::harness::{Contender, Instance, Start};
use crate::results::Counts;
use fc_emulator::clock::Deadline;
use fc_emulator::http::Conn;
use fc_testkit::proc::{Faults, Memory};

/// How long it must have made no call. Threads that sleep meanwhile sleep for lack of work.
const REST: Duration = Duration::from_millis(30);

/// How long the tracer sleeps when there is nothing to handle.
const LOOK_PAUSE: Duration = Duration::from_micros(50);

/// How long a reply that has been sent may be on its way through the kernel.
const ARRIVAL: Duration = Duration::from_millis(1);

/// How long a start may take to be ready, a reply to come, and a process to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the tracer has just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A system call has ended; the thread that made it stands still.
    Returned,
    /// Nothing has happened for a while.
    Rest,
    /// Something else.
    Other,
}

/// Starts a contender once and counts until its first reply.
///
/// # Errors
/// When it cannot be traced, does not come to rest, or does not answer as it should.
pub fn count(contender: &Contender, client: &Client) -> Outcome<Counts> {
    let start = Start { prefix: &["env".to_owned()], ..Start::default() };
    let instance = Instance::start_traced(contender, &start).map_err(|cause| cause.to_string())?;
    let mut tracer = Tracer::new(&instance)?;
    let mut counts = Counts { name: contender.name().to_owned(), ..Counts::default() };

    let port = instance.address().port();
    tracer.run_until(|tracer, event| match event {
        Event::Rest if listens(port) && sleeps(tracer.pid()) => {
            counts.calls_to_ready = Some(tracer.calls);
            counts.minor_faults_to_ready = tracer.faults().map(|faults| faults.minor);
            let memory = Memory::of(tracer.pid()).ok();
            counts.resident_kb = memory.map(|memory| memory.resident_kb);
            counts.private_kb = memory.map(|memory| memory.private_kb);
            Some(())
        }
        _ => None,
    })?;

    let mut conn = Conn::open(instance.address(), Deadline::after(PATIENCE))?;
    conn.send(&client.initialize(), Deadline::after(PATIENCE))?;
    let reply = tracer.run_until(|tracer, event| {
        let reply = (event != Event::Other).then(|| conn.read(Deadline::after(ARRIVAL)).ok()).flatten()?;
        counts.calls_to_initialize = Some(tracer.calls);
        let faults = tracer.faults();
        counts.minor_faults_to_initialize = faults.map(|faults| faults.minor);
        counts.major_faults_to_initialize = faults.map(|faults| faults.major);
        Some(reply)
    })?;
    client.judge_initialize(contender, &reply)?;

    tracer.run_until(|tracer, event| match event {
        Event::Rest => {
            counts.threads = threads(tracer.pid());
            counts.threads.map(drop)
        }
        _ => None,
    })?;
    Ok(counts)
}

/// One traced process with all its threads and children.
struct Tracer<'a> {
    instance: &'a Instance,
    leader: Pid,
    /// Threads that have been seen.
    known: HashSet<Pid>,
    /// Those that are in a system call.
    inside: HashSet<Pid>,
    /// System calls that were entered since the exec, which is the first.
    calls: u64,
    /// Whether the command's own exec has come; `env` is before it.
    begun: bool,
    /// Page faults before the exec.
    before: Option<Faults>,
}

impl<'a> Tracer<'a> {
    /// Takes over a process that stands still after the exec of `env`.
    fn new(instance: &'a Instance) -> Outcome<Self> {
        let leader = Pid::from_raw(instance.pid().cast_signed());
        let known = HashSet::from([leader]);
        let tracer = Self { instance, leader, known, inside: HashSet::new(), calls: 0, begun: false, before: None };
        waitpid(leader, Some(WaitPidFlag::__WALL)).map_err(|cause| format!("it could not be traced: {cause}"))?;
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(leader, options).map_err(|cause| format!("it could not be traced: {cause}"))?;
        tracer.go_on(leader, None);
        Ok(tracer)
    }

    /// Lets it run until `look`, which is asked after everything that happens, has found something. Whoever has just
    /// made a call stands still while it looks.
    fn run_until<T>(&mut self, mut look: impl FnMut(&Self, Event) -> Option<T>) -> Outcome<T> {
        let deadline = Deadline::after(PATIENCE);
        let mut quiet_since = Instant::now();
        loop {
            if deadline.passed() {
                return Err("under the tracer it did not come to rest or to an answer in time".to_owned());
            }
            let Some(pid) = self.next()? else {
                if quiet_since.elapsed() < REST {
                    std::thread::sleep(LOOK_PAUSE);
                } else if let Some(found) = look(self, Event::Rest) {
                    return Ok(found);
                } else {
                    quiet_since = Instant::now();
                }
                continue;
            };
            let (event, resumed) = self.handle(pid)?;
            let found = look(self, event);
            if let Some(signal) = resumed {
                self.go_on(pid, signal);
            }
            if let Some(found) = found {
                return Ok(found);
            }
            quiet_since = Instant::now();
        }
    }

    /// Who has something to tell. Only looks: the leader's end is its owner's to collect.
    fn next(&self) -> Outcome<Option<Pid>> {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, options | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD) {
            Ok(WaitStatus::StillAlive) => Ok(None),
            Ok(WaitStatus::Exited(pid, code)) if pid == self.leader => Err(format!("it exited with code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.leader => Err(format!("it was ended by {signal}")),
            Ok(status) => Ok(status.pid()),
            Err(cause) => Err(format!("it is out of the tracer's reach: {cause}")),
        }
    }

    /// What happened, and with which signal the thread goes on, unless it has ended.
    fn handle(&mut self, pid: Pid) -> Outcome<(Event, Option<Option<Signal>>)> {
        let options = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        let status =
            waitpid(pid, Some(options)).map_err(|cause| format!("it is out of the tracer's reach: {cause}"))?;
        Ok(match status {
            WaitStatus::PtraceSyscall(pid) if self.inside.remove(&pid) => (Event::Returned, Some(None)),
            WaitStatus::PtraceSyscall(pid) => {
                self.enter(pid);
                (Event::Other, Some(None))
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == Event::EXEC && pid == self.leader && !self.begun {
                    (self.begun, self.calls) = (true, 1);
                }
                (Event::Other, Some(None))
            }
            // A new thread begins with a stop of the tracer's making, which is no signal to it.
            WaitStatus::Stopped(pid, signal) => {
                let own = self.known.insert(pid) && signal == Signal::SIGSTOP || signal == Signal::SIGTRAP;
                (Event::Other, Some((!own).then_some(signal)))
            }
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => {
                self.known.remove(&pid);
                self.inside.remove(&pid);
                (Event::Other, None)
            }
            WaitStatus::Continued(_) | WaitStatus::StillAlive => (Event::Other, None),
        })
    }

    fn enter(&mut self, pid: Pid) {
        self.inside.insert(pid);
        if self.begun {
            self.calls += 1;
        } else if pid == self.leader {
            // This call may be the exec.
            self.before = Faults::of(self.pid()).ok();
        }
    }

    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        // It may have been killed meanwhile; its end is then seen next.
        let _ = ptrace::syscall(pid, signal);
    }

    fn pid(&self) -> u32 {
        self.instance.pid()
    }

    /// Page faults since the exec, its own included.
    fn faults(&self) -> Option<Faults> {
        Some(Faults::of(self.pid()).ok()?.since(self.before?))
    }
}

impl Event {
    const EXEC: i32 = ptrace::Event::PTRACE_EVENT_EXEC as i32;
}

/// Kills it and collects all but the leader, whose end nobody would see before.
impl Drop for Tracer<'_> {
    fn drop(&mut self) {
        self.instance.signal(rustix::process::Signal::KILL);
        let _ = Deadline::after(PATIENCE).until(|| {
            loop {
                match self.next() {
                    Ok(Some(pid)) => {
                        let _ = waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
                        let _ = ptrace::cont(pid, Signal::SIGKILL);
                    }
                    Ok(None) => return None,
                    Err(_) => return Some(()),
                }
            }
        });
    }
}

/// Whether anyone listens on this port, seen without knocking.
fn listens(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().any(|table| has_listener(table, port))
}

/// A row is like `0: 00000000:2328 00000000:0000 0A …`: number, local address, remote address, state in hexadecimal.
fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1));
        let local_port = local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
        local_port == Some(port) && state == Some("0A")
    })
}

/// Whether all its threads sleep.
pub fn sleeps(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats: Vec<String> = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok()).collect();
    !stats.is_empty() && stats.iter().all(|stat| state(stat) == Some('S'))
}

/// The letter behind the name, which may hold anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit(')').next()?.trim_start().chars().next()
}

fn threads(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:")).and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 00000000:2328 00000000:0000 0A 00000000:00000000\n\
            1: 0100007F:2329 0100007F:2328 01 00000000:00000000\n";
        assert!(has_listener(table, 9000));
        assert!(!has_listener(table, 9001));
        let six = "sl\n0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A 0:0\n";
        assert!(has_listener(six, 9000));
        assert!(!has_listener("", 9000));
    }

    #[test]
    fn a_state_is_read_after_any_name() {
        assert_eq!(state("7 (a) R b) S 1 7"), Some('S'));
        assert_eq!(state("7 (a) t 1"), Some('t'));
        assert_eq!(state(""), None);
    }

    #[test]
    fn a_listener_is_seen_without_knocking() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port));
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
