//! One QEMU process: its start, its wires, its end.
//!
//! Nothing of it has a name in the file system. The control connection, the console and the ports of the guest are
//! socket pairs, which QEMU inherits; files are open files without a name. The kernel kills QEMU when the thread that
//! started it ends, so the thread that boots or thaws a guest must live as long as the guest.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::agent::Agent;
use super::machine::{Machine, Wires};
use super::qmp::Qmp;
use crate::cleanup::{self, Guard, Undo};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::output::{Output, Stream};
use crate::process::tasks;
use crate::target::no_fork;

/// How long QEMU may take from its start to its first word, and for a command that only changes a state.
const COMMAND_WAIT: Duration = Duration::from_secs(10);

/// How long is watched whether a task runs.
const WATCH: Duration = Duration::from_millis(30);

/// How long a task may take to stand still.
const STILL_WAIT: Duration = Duration::from_secs(5);

/// The lines of the guest's console that an error shows.
const CONSOLE_LINES: usize = 3;

/// A running QEMU.
pub(super) struct Vmm {
    pub(super) qmp: Qmp,
    pub(super) agent: Agent,
    shared: Arc<Shared>,
    pid: u32,
    console: Output,
    complaints: Output,
    _guard: Guard,
}

/// What the signal thread needs to end it.
struct Shared(Mutex<(Child, Option<ExitStatus>)>);

impl Shared {
    fn child(&self) -> MutexGuard<'_, (Child, Option<ExitStatus>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_exit(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        if child.1.is_none() {
            child.1 = child.0.try_wait().ok().flatten();
        }
        child.1
    }
}

struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        let mut child = self.0.child();
        if child.1.is_none() {
            // SIGKILL ends a process that SIGSTOP has stopped, too.
            let _ = child.0.kill();
            child.1 = child.0.wait().ok();
        }
    }
}

impl Vmm {
    /// Starts a machine. What the target prints goes to `output`.
    ///
    /// # Errors
    /// If QEMU does not start or does not speak.
    pub(super) fn start(machine: &Machine, host_port: u16, output: &Output, incoming: Option<&str>) -> Result<Self> {
        let pair = || UnixStream::pair().map_err(|cause| Error::failed("make", "a socket pair", cause));
        let (qmp, qmp_end) = pair()?;
        let (console, console_end) = pair()?;
        let (agent, agent_end) = pair()?;
        let (out, out_end) = pair()?;
        let (err, err_end) = pair()?;
        let wires = Wires {
            qmp: qmp_end.as_fd(),
            console: console_end.as_fd(),
            ports: [("agent", agent_end.as_fd()), ("out", out_end.as_fd()), ("err", err_end.as_fd())],
        };
        let mut command = Command::new(machine.qemu());
        command.args(machine.arguments(&wires, host_port, incoming));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let inherited = [&qmp_end, &console_end, &agent_end, &out_end, &err_end].map(AsRawFd::as_raw_fd);
        adopt(&mut command, inherited);
        let (shared, guard) = cleanup::make(|| {
            let alone = no_fork();
            let spawned = command.spawn();
            drop(alone);
            let child = spawned.map_err(|cause| Error::failed("start", machine.qemu().display(), cause))?;
            let shared = Arc::new(Shared(Mutex::new((child, None))));
            Ok((shared.clone(), Removal(shared)))
        })?;
        // With our copies closed, each stream ends when QEMU does.
        drop((qmp_end, console_end, agent_end, out_end, err_end));

        let (console_lines, complaints) = (Output::new(), Output::new());
        console_lines.follow(Stream::Out, console);
        output.follow(Stream::Out, out);
        output.follow(Stream::Err, err);
        let pid = {
            let mut child = shared.child();
            if let Some(stderr) = child.0.stderr.take() {
                complaints.follow(Stream::Err, stderr);
            }
            child.0.id()
        };
        let qmp = Qmp::open(qmp, Deadline::after(COMMAND_WAIT)).map_err(|cause| explained(cause, &complaints, None))?;
        Ok(Self { qmp, agent: Agent::open(agent)?, shared, pid, console: console_lines, complaints, _guard: guard })
    }

    /// The process id of QEMU.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How QEMU ended, or `None` while it runs.
    pub(super) fn try_exit(&self) -> Option<ExitStatus> {
        self.shared.try_exit()
    }

    /// Adds to an error what QEMU and the guest's console said last.
    pub(super) fn explain(&self, cause: Error) -> Error {
        explained(cause, &self.complaints, Some(&self.console))
    }

    /// Stops the guest's processors and shows that none of them runs.
    ///
    /// # Errors
    /// If QEMU refuses, or a processor was seen running.
    pub(super) fn pause(&mut self) -> Result<usize> {
        let deadline = Deadline::after(COMMAND_WAIT);
        self.qmp.command("stop", json!({}), deadline)?;
        let status = self.qmp.status(deadline)?;
        if status != "paused" {
            return Err(Error::failed("pause", "the guest", format!("QEMU says that it is `{status}`")));
        }
        let processors = self.qmp.command("query-cpus-fast", json!({}), deadline)?;
        let threads = processors.as_array().into_iter().flatten().filter_map(|cpu| cpu["thread-id"].as_u64());
        let threads: Vec<u32> = threads.filter_map(|id| u32::try_from(id).ok()).collect();
        self.watch(&threads)
    }

    /// Lets the guest's processors go on.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.qmp.command("cont", json!({}), Deadline::after(COMMAND_WAIT)).map(drop)
    }

    /// Stops QEMU itself and shows that none of its threads runs.
    ///
    /// # Errors
    /// If a thread was seen running.
    pub(super) fn stop_process(&mut self) -> Result<usize> {
        self.signal(Signal::STOP)?;
        let stopped =
            Deadline::after(STILL_WAIT).until(|| tasks(self.pid).iter().all(|task| task.state == 'T').then_some(()));
        stopped.ok_or_else(|| Error::failed("stop", "QEMU", "a thread did not stop"))?;
        let threads: Vec<u32> = tasks(self.pid).iter().map(|task| task.id).collect();
        self.watch(&threads)
    }

    /// Lets QEMU itself go on.
    ///
    /// # Errors
    /// If QEMU is gone.
    pub(super) fn continue_process(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends QEMU and waits until it is gone.
    ///
    /// # Errors
    /// If QEMU does not end.
    pub(super) fn quit(mut self) -> Result<()> {
        self.qmp.command("quit", json!({}), Deadline::after(COMMAND_WAIT))?;
        let gone = Deadline::after(COMMAND_WAIT).until(|| self.try_exit());
        gone.map(drop).ok_or_else(|| Error::failed("end", "QEMU", "it did not end in time"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let gone = || Error::failed("signal", "QEMU", "it has ended");
        // The lock keeps the process from being reaped, and its number from being used again.
        let child = self.shared.child();
        if child.1.is_some() {
            return Err(gone());
        }
        let pid = Pid::from_raw(self.pid.cast_signed()).ok_or_else(gone)?;
        kill_process(pid, signal).map_err(|cause| Error::failed("signal", "QEMU", cause))
    }

    /// Waits until none of these threads has used the processor or was scheduled for a while. Gives their number.
    fn watch(&self, threads: &[u32]) -> Result<usize> {
        if threads.is_empty() {
            return Err(Error::failed("watch", "QEMU", "it has no threads to watch"));
        }
        let activity = || -> Vec<_> {
            let all = tasks(self.pid).into_iter().filter(|task| threads.contains(&task.id));
            all.map(|task| (task.id, task.ticks, task.switches)).collect()
        };
        let mut before = activity();
        let still = Deadline::after(STILL_WAIT).until(|| {
            std::thread::sleep(WATCH);
            let now = activity();
            let still = now == before && now.len() == threads.len();
            before = now;
            still.then_some(threads.len())
        });
        still.ok_or_else(|| Error::failed("freeze", "the guest", "it was seen running although it is said to stand"))
    }
}

/// Lets the child keep these descriptors, and die with the thread that started it.
fn adopt(command: &mut Command, inherited: [RawFd; 5]) {
    let prepare = move || -> std::io::Result<()> {
        for descriptor in inherited {
            // SAFETY: the descriptors are open from before the fork until after the exec, because `start` holds them.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
        }
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls (fcntl, prctl) on numbers that were copied
    // before the fork. It neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

fn explained(cause: Error, complaints: &Output, console: Option<&Output>) -> Error {
    // QEMU's last words come just before its end.
    complaints.settle(WATCH, Deadline::after(COMMAND_WAIT));
    let said: Vec<String> = complaints.all().into_iter().map(|line| line.text.to_string()).collect();
    let console: Vec<String> =
        console.into_iter().flat_map(Output::all).map(|line| line.text.trim().to_owned()).collect();
    let console: Vec<&str> = console.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    let last = &console[console.len().saturating_sub(CONSOLE_LINES)..];
    let mut text = cause.to_string();
    for (who, said) in [("QEMU", said.join(" ")), ("the guest's console", last.join(" | "))] {
        if !said.is_empty() {
            text.push_str(&format!("; {who} said: {said}"));
        }
    }
    Error::new(text)
}
