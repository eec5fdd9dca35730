//! Counts the system calls of one start with a tracer (ptrace). This is slow and exact: only time limits depend on
//! time.
//!
//! The tracer is also the client. After each system call the server is stopped while the tracer checks whether the
//! whole reply has arrived, so a call after the reply is never counted as one before it. A server is ready when it
//! listens, all its threads sleep, and it has made no call for a while; the last call that was counted is the one in
//! which it waits. The tracer counts the calls of all threads and children. Page faults, memory and threads are those
//! of the process itself.
//!
//! ptrace belongs to a thread: the calling thread starts the process, waits for it and ends it. The command runs under
//! `env`, so that there is an exec at which the count of page faults can begin.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::Process;

use super::Outcome;
use super::client::Client;
use crate::harness::{Contender, Instance, Start};
use crate::results::Counts;
use fc_emulator::clock::Deadline;
use fc_emulator::http::Conn;
use fc_testkit::proc::{Faults, Memory};

/// How long the server must have made no call. Threads that sleep for so long have nothing to do.
const REST: Duration = Duration::from_millis(30);

/// How long the tracer sleeps if there is nothing to handle.
const LOOK_PAUSE: Duration = Duration::from_micros(50);

/// How long a reply may take from the server's call to the client's socket.
const ARRIVAL: Duration = Duration::from_millis(1);

/// Time limit for a start to be ready, for a reply, and for an exit.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event that the tracer has just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A system call has ended, and its thread is stopped.
    Returned,
    /// Nothing has happened for a while.
    Rest,
    /// Anything else.
    Other,
}

/// Starts a contender once and counts until its first reply.
///
/// # Errors
/// If the contender cannot be traced, does not come to rest, or does not answer as it should.
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
    /// Every thread that was seen.
    known: HashSet<Pid>,
    /// The threads that are in a system call.
    inside: HashSet<Pid>,
    /// System calls that were entered since the exec, which is the first.
    calls: u64,
    /// Whether the exec of the command has happened; the exec of `env` comes before it.
    begun: bool,
    /// Page faults before the exec.
    before: Option<Faults>,
}

impl<'a> Tracer<'a> {
    /// Takes over a process that is stopped after the exec of `env`.
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

    /// Lets the process run until `look` returns something. It is asked after every event, while the thread of the
    /// event is stopped.
    fn run_until<T>(&mut self, mut look: impl FnMut(&Self, Event) -> Option<T>) -> Outcome<T> {
        let deadline = Deadline::after(PATIENCE);
        let mut quiet_since = Instant::now();
        loop {
            if deadline.passed() {
                return Err("under the tracer it did not come to rest, or did not answer, in time".to_owned());
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

    /// The process with an event to report. This does not reap it: the owner of the leader reaps the leader.
    fn next(&self) -> Outcome<Option<Pid>> {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, options | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD) {
            Ok(WaitStatus::StillAlive) => Ok(None),
            Ok(WaitStatus::Exited(pid, code)) if pid == self.leader => Err(format!("it exited with code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.leader => Err(format!("it was ended by {signal}")),
            Ok(status) => Ok(status.pid()),
            Err(cause) => Err(format!("the tracer cannot reach it: {cause}")),
        }
    }

    /// The event, and the signal with which the thread continues, unless it has ended.
    fn handle(&mut self, pid: Pid) -> Outcome<(Event, Option<Option<Signal>>)> {
        let options = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        let status = waitpid(pid, Some(options)).map_err(|cause| format!("the tracer cannot reach it: {cause}"))?;
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
            // A new thread begins with a stop that the tracer causes. The thread must not receive that as a signal.
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
        // It may have been killed since. Then its end is the next event.
        let _ = ptrace::syscall(pid, signal);
    }

    fn pid(&self) -> u32 {
        self.instance.pid()
    }

    /// Page faults since the exec, including those of the exec.
    fn faults(&self) -> Option<Faults> {
        Some(Faults::of(self.pid()).ok()?.since(self.before?))
    }
}

impl Event {
    const EXEC: i32 = ptrace::Event::PTRACE_EVENT_EXEC as i32;
}

/// Kills all processes and reaps all except the leader. Nobody else would reap them.
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

/// Whether a socket listens on this port, found out without a connection.
fn listens(port: u16) -> bool {
    let is_listener = |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    [tcp(), tcp6()].into_iter().flatten().flatten().any(|entry| is_listener(&entry))
}

/// Whether all threads of the process sleep.
pub fn sleeps(pid: u32) -> bool {
    let tasks = Process::new(pid.cast_signed()).and_then(|process| process.tasks());
    let states: Vec<char> =
        tasks.into_iter().flatten().flatten().filter_map(|task| Some(task.stat().ok()?.state)).collect();
    !states.is_empty() && states.iter().all(|state| *state == 'S')
}

fn threads(pid: u32) -> Option<u64> {
    let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat()).ok()?;
    u64::try_from(stat.num_threads).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen_without_knocking() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port) && !listens(0));
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
