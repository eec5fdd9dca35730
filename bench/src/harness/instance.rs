//! One instance of a contender, started so that its first microseconds can be measured.
//!
//! Lighter than [`fc_emulator::target`]: it reads no output and starts no thread, because hundreds of instances run at
//! once and the client must not compete with them. It does not know which requests the instance gets.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::time::clock_getcpuclockid;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::pin::set_of;
use super::{Contender, CpuLimit, RunFolder, leftovers};
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::FreezeGroup;
use fc_emulator::platform::PORT_NAMES;
use fc_emulator::target::Port;
use fc_emulator::target::no_fork;

/// How an instance is started.
#[derive(Clone, Default)]
pub struct Start<'a> {
    /// The processors that it may use. Empty means all.
    pub processors: &'a [usize],
    /// Environment variables, in addition to those of the platform and of the contender.
    pub env: &'a [(&'a str, &'a str)],
    /// Words before the command: a program that starts the command, such as a tracer.
    pub prefix: &'a [String],
    /// The group in which it can be frozen. It enters the group before its exec.
    pub group: Option<Arc<FreezeGroup>>,
    /// The share of a processor that it gets. It enters the group before its exec.
    pub limit: Option<&'a CpuLimit>,
}

/// A running instance, in a session of its own. Dropping it kills all processes below it, and all of its process group
/// and its freeze group, and reaps it.
pub struct Instance {
    shared: Arc<Shared>,
    port: Port,
    pid: u32,
    exec_at: Timespec,
    _guard: Guard,
    /// With the record that leads to this instance.
    _run: Arc<RunFolder>,
}

struct Shared {
    child: Mutex<(Child, Option<ExitStatus>)>,
    group: Option<Arc<FreezeGroup>>,
}

struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        let mut child = self.0.lock();
        if child.1.is_none() {
            self.0.end(&mut child);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Child, Option<ExitStatus>)> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process group before the leader is reaped: until then no other group can get its number.
    fn end(&self, child: &mut (Child, Option<ExitStatus>)) {
        // Those that it has put into groups of their own are found only as long as it lives.
        for member in fc_testkit::proc::family(child.0.id()).into_iter().skip(1) {
            leftovers::kill_member(member.cast_signed(), child.0.id());
        }
        if let Some(group) = pid(child.0.id()) {
            // All processes of the group may have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let Some(group) = &self.group {
            group.kill(child.0.id());
        }
        child.1 = child.0.wait().ok();
    }
}

fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(raw.cast_signed())
}

fn has_ended(raw: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid(raw).is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))))
}

/// Microseconds between two readings of the monotonic clock.
pub fn micros(from: Timespec, to: Timespec) -> f64 {
    (to.tv_sec - from.tv_sec) as f64 * 1e6 + (to.tv_nsec - from.tv_nsec) as f64 / 1e3
}

/// The monotonic clock.
pub fn now() -> Timespec {
    clock_gettime(ClockId::Monotonic)
}

impl Instance {
    /// Starts an instance. Returns as soon as its program runs, or could not be started.
    ///
    /// # Errors
    /// If it cannot be started, or there is no free port for it.
    pub fn start(contender: &Contender, start: &Start<'_>) -> Result<Self> {
        Self::spawn(contender, start, false, Port::free()?)
    }

    /// Starts an instance on a port that the caller has reserved.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_on(contender: &Contender, start: &Start<'_>, port: Port) -> Result<Self> {
        Self::spawn(contender, start, false, port)
    }

    /// Starts an instance that the calling thread traces (ptrace): it is stopped before the first instruction of its
    /// program. Do not call [`Instance::try_exit`] for it, because only the tracer may wait for it.
    ///
    /// # Errors
    /// As [`Instance::start`], or if the kernel does not allow the trace.
    pub fn start_traced(contender: &Contender, start: &Start<'_>) -> Result<Self> {
        Self::spawn(contender, start, true, Port::free()?)
    }

    fn spawn(contender: &Contender, start: &Start<'_>, traced: bool, port: Port) -> Result<Self> {
        let own = contender.words(port.number());
        let words: Vec<&String> = start.prefix.iter().chain(&own).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A program reads its environment at its start, so the environment is small and the same for all.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(PORT_NAMES.map(|name| (name, port.number().to_string())));
        command.envs(contender.described.env.iter().map(|(name, value)| (name, value)));
        command.envs(start.env.iter().copied());
        let (mut clock, sender) = pipe()?;
        let run = RunFolder::shared()?;
        let record = run.clone();
        // SAFETY: see `prepare`; these are setsid, readings of a clock and of an id, and a write of bytes on the stack.
        unsafe { command.pre_exec(move || record.begin_session().map_err(Into::into)) };
        prepare(&mut command, start, traced, sender)?;
        let (shared, guard) = cleanup::make(|| {
            let _alone = no_fork();
            let child = command.spawn().map_err(|cause| {
                let shown: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
                let forbidden = is_forbidden(words[0], &cause);
                let fix =
                    if forbidden { ": let this user execute it (`chmod +x`), in every folder of its path" } else { "" };
                Error::failed("start", shown.join(" "), format!("{cause}{fix}"))
            })?;
            let shared = Arc::new(Shared { child: Mutex::new((child, None)), group: start.group.clone() });
            Ok((shared.clone(), Removal(shared)))
        })?;
        drop(command);
        let mut reading = [0; 16];
        clock.read_exact(&mut reading).map_err(|cause| Error::failed("read", "the time of the exec", cause))?;
        let (seconds, nanos) = reading.split_at(8);
        let number = |bytes: &[u8]| i64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        let exec_at = Timespec { tv_sec: number(seconds), tv_nsec: number(nanos) };
        let pid = shared.lock().0.id();
        Ok(Self { shared, port, pid, exec_at, _guard: guard, _run: run })
    }

    /// The address at which it will listen.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// Its process, or the process of the prefix.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The monotonic clock just before its exec.
    pub fn exec_at(&self) -> Timespec {
        self.exec_at
    }

    /// The processor time of its process in nanoseconds: of all threads, including those that have ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> Result<u64> {
        let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(self.pid.cast_signed()));
        let time = clock.and_then(|clock| clock.now()).map_err(|cause| match self.try_exit() {
            Some(status) => Error::new(format!("the server ended: {status}")),
            None => Error::failed("read", "the server's clock of processor time", cause),
        })?;
        Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }

    /// How it ended, or `None` while it runs. If it has ended, this kills the processes that it started.
    pub fn try_exit(&self) -> Option<ExitStatus> {
        let mut child = self.shared.lock();
        if child.1.is_none() && has_ended(self.pid) {
            self.shared.end(&mut child);
        }
        child.1
    }

    /// Sends it a signal, unless it has ended: its number may belong to another process then.
    pub fn signal(&self, signal: Signal) {
        let child = self.shared.lock();
        if let (None, Some(pid)) = (child.1, pid(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether the kernel says that it is frozen.
    pub fn is_frozen(&self) -> bool {
        self.group().is_ok_and(|group| group.is_frozen(self.pid))
    }

    /// Ends its freeze.
    ///
    /// # Errors
    /// If the kernel refuses, or it has no freeze group.
    pub fn thaw(&self) -> Result<()> {
        self.group()?.thaw()
    }

    pub(super) fn group(&self) -> Result<&FreezeGroup> {
        self.shared.group.as_deref().ok_or_else(|| Error::new("it was started without a freeze group"))
    }
}

/// Whether the user may not execute a program, which is one cause of a start that is not permitted.
fn is_forbidden(program: &str, cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::PermissionDenied && rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_err()
}

fn pipe() -> Result<(File, OwnedFd)> {
    let (receiver, sender) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|cause| Error::failed("open", "a pipe", cause))?;
    Ok((File::from(receiver), sender))
}

/// Makes the child enter its processors and its control group, die with us, and report the time of its exec.
fn prepare(command: &mut Command, start: &Start<'_>, traced: bool, clock: OwnedFd) -> Result<()> {
    let set = (!start.processors.is_empty()).then(|| set_of(start.processors));
    let open = |path: PathBuf| {
        File::options().write(true).open(&path).map_err(|cause| Error::failed("open", path.display(), cause))
    };
    let group = start.group.as_ref().and_then(|group| group.entry()).map(open).transpose()?;
    let limit = start.limit.map(|limit| open(limit.entry())).transpose()?;
    let child = move || -> io::Result<()> {
        for group in [&group, &limit].into_iter().flatten() {
            rustix::io::write(group.as_fd(), b"0")?;
        }
        if let Some(set) = &set {
            rustix::thread::sched_setaffinity(None, set)?;
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let now = clock_gettime(ClockId::Monotonic);
        let mut reading = [0; 16];
        reading[..8].copy_from_slice(&now.tv_sec.to_ne_bytes());
        reading[8..].copy_from_slice(&now.tv_nsec.to_ne_bytes());
        rustix::io::write(&clock, &reading)?;
        if traced {
            nix::sys::ptrace::traceme()?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls (write, sched_setaffinity, prctl,
    // clock_gettime, ptrace) on memory that was prepared before the fork; it neither allocates nor locks.
    unsafe { command.pre_exec(child) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;
    use fc_emulator::clock::Deadline;
    use std::path::Path;
    use std::time::Duration;

    fn contender(words: &[&str]) -> Contender {
        Contender::of_command("it", Kind::Custom, words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn says_when_it_began_and_goes_when_dropped() {
        let before = now();
        let instance = Instance::start(&contender(&["sleep", "600"]), &Start::default()).unwrap();
        assert!(micros(before, instance.exec_at()) >= 0.0 && micros(instance.exec_at(), now()) >= 0.0);
        assert!(instance.try_exit().is_none());
        let process = format!("/proc/{}", instance.pid());
        drop(instance);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn its_children_go_with_it() {
        let instance = Instance::start(&contender(&["sh", "-c", "sleep 600 & wait"]), &Start::default()).unwrap();
        let path = format!("/proc/{0}/task/{0}/children", instance.pid());
        let child = Deadline::after(Duration::from_secs(10)).until(|| {
            let children = std::fs::read_to_string(&path).unwrap();
            children.split_whitespace().next().map(|child| format!("/proc/{child}/stat"))
        });
        let child = child.expect("there is a child");
        drop(instance);
        // After the kill it may be a zombie until another process reaps it.
        let gone = || std::fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z ")).then_some(());
        assert!(Deadline::after(Duration::from_secs(10)).until(gone).is_some());
    }

    #[test]
    fn its_children_in_groups_of_their_own_go_with_it() {
        // `timeout` makes a group for itself and what it starts.
        let words = ["sh", "-c", "timeout 900 sleep 600 & wait"];
        let instance = Instance::start(&contender(&words), &Start::default()).unwrap();
        let in_own_group = |pid: &u32| {
            let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat());
            stat.is_ok_and(|stat| stat.pgrp.cast_unsigned() == *pid && stat.comm == "timeout")
        };
        let child = Deadline::after(Duration::from_secs(10))
            .until(|| fc_testkit::proc::family(instance.pid()).into_iter().skip(1).find(in_own_group));
        let child = format!("/proc/{}/stat", child.expect("there is a child"));
        drop(instance);
        let gone = || std::fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z ")).then_some(());
        assert!(Deadline::after(Duration::from_secs(10)).until(gone).is_some());
    }

    #[test]
    fn an_exit_is_seen_and_a_missing_program_named() {
        let instance = Instance::start(&contender(&["true"]), &Start::default()).unwrap();
        let exit = Deadline::after(Duration::from_secs(10)).until(|| instance.try_exit());
        assert!(exit.is_some_and(|status| status.success()));
        let error = Instance::start(&contender(&["/no/such/program"]), &Start::default()).err();
        assert!(error.is_some_and(|error| error.to_string().contains("/no/such/program")));
    }
}
