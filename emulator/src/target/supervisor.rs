//! The process between the emulator and a target. Each instance has one.
//!
//! It adopts every process below it whose parent ends (`PR_SET_CHILD_SUBREAPER`), so whatever a target starts stays
//! below the supervisor of its own instance: behind `setsid`, a second fork or a new process group. That is why the
//! supervisor is a process of its own. If the emulator adopted the orphans itself, it could not tell those of one
//! instance from those of another: a process can clear its environment, and control groups are not there for all users.
//!
//! The supervisor tells how the target ended, and keeps its process id from being used again. When the emulator closes
//! the control socket, or is killed, the supervisor ends everything below it and removes the control group. Both ways
//! lead through the same code, so the rare one is tried in every run.
//!
//! It is forked and runs no other program: libraries that use this crate have no program that could be run in this
//! role. From the fork to its end, or to the exec of the target, the code makes only system calls on memory that was
//! prepared before. It neither allocates nor locks, because another thread could have held any lock at the fork.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::Exit;
use super::command::Program;
use super::port::no_fork;
use crate::error::{Error, Result};
use crate::freezer::FreezeGroup;
use crate::process;

/// The supervisor of one target, as the emulator sees it.
pub(super) struct Supervisor {
    pid: u32,
    leader: u32,
    state: Mutex<State>,
}

struct State {
    control: UnixStream,
    /// How the target ended, once it is known.
    exit: Option<Exit>,
    /// Whether everything was ended.
    ended: bool,
}

/// What a new target prints.
pub(super) struct Streams {
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

/// How the two forked processes report a failed start: the step, then the error number.
const REPORT_BYTES: usize = 8;
const STEPS: [&str; 4] = ["start a second process for", "enter the control group with", "start", "connect"];
const FORK: i32 = 0;
const ENTER: i32 = 1;
const EXEC: i32 = 2;
const CONNECT: i32 = 3;

impl Supervisor {
    /// Starts the program below a new supervisor. Returns when it runs.
    pub(super) fn start(program: &Program, group: &FreezeGroup) -> Result<(Self, Streams)> {
        let failed = |cause: io::Error| Error::failed("start", &program.shown, cause);
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let (mut report, report_end) = new_pipe().map_err(failed)?;
        let (out, out_end) = new_pipe().map_err(failed)?;
        let (err, err_end) = new_pipe().map_err(failed)?;
        let null = std::fs::File::open("/dev/null").map_err(failed)?;
        let prepared = Prepared::new(program, group).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let descriptors = Descriptors {
            control: theirs.as_raw_fd(),
            report: report_end.as_raw_fd(),
            stdio: [null.as_raw_fd(), out_end.as_raw_fd(), err_end.as_raw_fd()],
        };
        let alone = no_fork();
        // SAFETY: the child runs only `supervise`, which makes nothing but system calls and never returns.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(failed(io::Error::last_os_error())),
            // SAFETY: this is the forked child, and what it uses was prepared before the fork.
            0 => unsafe { supervise(&prepared, &descriptors) },
            pid => pid.cast_unsigned(),
        };
        drop((theirs, report_end, out_end, err_end));
        // The report ends when the exec has closed the last copy of it.
        let mut reported = Vec::new();
        let read = report.read_to_end(&mut reported);
        drop(alone);
        let mut supervisor = Self { pid, leader: 0, state: Mutex::new(State { control, exit: None, ended: false }) };
        read.map_err(failed)?;
        if let Some((step, cause)) = reported.first_chunk::<REPORT_BYTES>().map(read_report) {
            supervisor.end();
            return Err(Error::failed(step, &program.shown, cause));
        }
        supervisor.leader = supervisor.read_leader().inspect_err(|_| supervisor.end()).map_err(failed)?;
        Ok((supervisor, Streams { out: out.into(), err: err.into() }))
    }

    /// The id of the supervisor. The target and all that it started are below it.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The id of the target's first process.
    pub(super) fn leader(&self) -> u32 {
        self.leader
    }

    /// How the first process ended. Others may still run.
    pub(super) fn try_exit(&self) -> Option<Exit> {
        let mut state = self.state();
        if state.exit.is_none() && !state.ended {
            state.exit = read_exit(&state.control);
        }
        state.exit
    }

    /// Whether a signal to the first process can reach no other: it has not been reaped.
    pub(super) fn while_it_is_there<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!state.ended).then(work)
    }

    /// The processes that the target started and that still run.
    pub(super) fn others(&self) -> Vec<u32> {
        process::below(self.pid)
            .into_iter()
            .filter(|pid| *pid != self.leader && process::started(*pid).is_some())
            .collect()
    }

    /// Ends everything, and waits for it.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        // The supervisor takes the end of the stream as the word to end everything.
        let _ = state.control.shutdown(std::net::Shutdown::Both);
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed()) {
            while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(rustix::io::Errno::INTR)) {}
        }
    }

    fn read_leader(&self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        (&self.state().control).read_exact(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

fn new_pipe() -> io::Result<(std::fs::File, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((read.into(), write))
}

fn read_report(bytes: &[u8; REPORT_BYTES]) -> (&'static str, io::Error) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    let step = usize::try_from(i32::from_ne_bytes([a, b, c, d])).unwrap_or_default();
    (STEPS.get(step).copied().unwrap_or("start"), io::Error::from_raw_os_error(i32::from_ne_bytes([e, f, g, h])))
}

fn read_exit(control: &UnixStream) -> Option<Exit> {
    let mut bytes = [0; 8];
    let flags = rustix::net::RecvFlags::DONTWAIT;
    let got = match rustix::net::recv(control.as_fd(), &mut bytes, flags) {
        Ok((got, _)) => got,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
        Err(_) => 0,
    };
    let [a, b, c, d, e, f, g, h] = bytes;
    let (code, status) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
    match got {
        8 if code == libc::CLD_EXITED => Some(Exit::Code(status)),
        8 => Some(Exit::Signal(status)),
        // Somebody killed the supervisor, and the kernel then killed the target.
        _ => Some(Exit::Signal(libc::SIGKILL)),
    }
}

/// Everything that the forked processes need, in the form in which the kernel takes it.
struct Prepared {
    path: CString,
    arguments: Pointers,
    environment: Pointers,
    /// The file to enter the control group.
    entry: Option<CString>,
    /// The file that thaws it, what to write, and its folder.
    switch: Option<(CString, &'static [u8], CString)>,
}

/// Texts, and the pointers to them that end with a null pointer.
struct Pointers {
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Pointers {
    fn new(texts: impl Iterator<Item = Vec<u8>>) -> Option<Self> {
        let texts: Vec<CString> = texts.map(CString::new).collect::<std::result::Result<_, _>>().ok()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Some(Self { _texts: texts, pointers })
    }
}

impl Prepared {
    /// `None` if a text contains a zero byte.
    fn new(program: &Program, group: &FreezeGroup) -> Option<Self> {
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
        let switch = match group.switch() {
            Some(switch) => Some((path(&switch.file)?, switch.thaw.as_bytes(), path(&switch.folder)?)),
            None => None,
        };
        let entry = match group.entry() {
            Some(entry) => Some(path(&entry)?),
            None => None,
        };
        let pair = |(name, value): &(String, String)| format!("{name}={value}").into_bytes();
        Some(Self {
            path: path(&program.path)?,
            arguments: Pointers::new(program.words.iter().map(|word| word.clone().into_bytes()))?,
            environment: Pointers::new(program.env.iter().map(pair))?,
            entry,
            switch,
        })
    }
}

#[derive(Clone, Copy)]
struct Descriptors {
    control: RawFd,
    report: RawFd,
    stdio: [RawFd; 3],
}

/// Reports a failed step of the start, and ends this process.
unsafe fn give_up(report: RawFd, step: i32) -> ! {
    let cause = io::Error::last_os_error().raw_os_error().unwrap_or_default();
    let message = [step, cause];
    // SAFETY: the buffer is valid for its length, and `_exit` runs no code of this process.
    unsafe {
        libc::write(report, message.as_ptr().cast(), REPORT_BYTES);
        libc::_exit(127)
    }
}

/// The life of the supervisor.
///
/// # Safety
/// Only a forked child may call this.
unsafe fn supervise(prepared: &Prepared, descriptors: &Descriptors) -> ! {
    // SAFETY: every call below is a system call on memory of this function or of `prepared`, and safe after a fork.
    unsafe {
        // No signal ends or stops the supervisor before its work is done. Those of children arrive by descriptor.
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_NAME, c"fc-supervisor".as_ptr());
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1 {
            give_up(descriptors.report, FORK);
        }
        let own = libc::getpid();
        let leader = match libc::fork() {
            -1 => give_up(descriptors.report, FORK),
            0 => become_target(prepared, descriptors, own),
            leader => leader,
        };
        // The target's folder may be removed while this process lives, and its streams end with the target.
        libc::chdir(c"/".as_ptr());
        close_all_but(descriptors.control);
        let signals = libc::signalfd(-1, &all, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        let written = libc::write(descriptors.control, (&raw const leader).cast(), 4);
        if signals >= 0 && written == 4 {
            watch(descriptors.control, signals, leader);
        }
        end_all(prepared)
    }
}

/// Watches the children until the emulator closes the socket. Orphans that have ended are reaped. The target's first
/// process is not: until everything is ended, no other process can get its id.
///
/// # Safety
/// Only the supervisor may call this.
unsafe fn watch(control: RawFd, signals: RawFd, leader: libc::pid_t) {
    let mut told = false;
    loop {
        // SAFETY: the structures are valid for the kernel to write to.
        unsafe {
            loop {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
                if libc::waitid(libc::P_ALL, 0, &mut info, flags) == -1 || info.si_pid() == 0 {
                    break;
                }
                if info.si_pid() == leader {
                    let message = [info.si_code, info.si_status()];
                    if !told {
                        libc::write(control, message.as_ptr().cast(), 8);
                    }
                    told = true;
                    break;
                }
                libc::waitpid(info.si_pid(), ptr::null_mut(), libc::WNOHANG);
            }
            let mut ready = [control, signals].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
            libc::poll(ready.as_mut_ptr(), 2, -1);
            let mut bytes = [0u8; 1024];
            if ready[1].revents != 0 {
                libc::read(signals, bytes.as_mut_ptr().cast(), bytes.len());
            }
            if ready[0].revents != 0 && libc::read(control, bytes.as_mut_ptr().cast(), bytes.len()) <= 0 {
                return;
            }
        }
    }
}

/// Ends everything below the supervisor, removes the control group, and ends the supervisor. A process whose parent is
/// killed becomes a child of the supervisor, so it is enough to kill children until there are none.
///
/// # Safety
/// Only the supervisor may call this.
unsafe fn end_all(prepared: &Prepared) -> ! {
    const ROUNDS_MAX: usize = 5_000;
    const PAUSE_MS: libc::c_int = 2;
    // SAFETY: every call is a system call on memory of this function or of `prepared`.
    unsafe {
        for _ in 0..ROUNDS_MAX {
            kill_children();
            if let Some((file, thaw, _)) = &prepared.switch {
                // Not even SIGKILL ends what the cgroup v1 freezer holds.
                let file = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                libc::write(file, thaw.as_ptr().cast(), thaw.len());
                libc::close(file);
            }
            let mut reaped = libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG);
            while reaped > 0 {
                reaped = libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG);
            }
            if reaped == -1 {
                break;
            }
            libc::poll(ptr::null_mut(), 0, PAUSE_MS);
        }
        if let Some((_, _, folder)) = &prepared.switch {
            // The kernel may take a moment to let an emptied group be removed.
            let mut rounds = 0;
            while libc::rmdir(folder.as_ptr()) == -1 && *libc::__errno_location() == libc::EBUSY && rounds < ROUNDS_MAX
            {
                libc::poll(ptr::null_mut(), 0, PAUSE_MS);
                rounds += 1;
            }
        }
        libc::_exit(0)
    }
}

/// Kills every child of this process.
///
/// # Safety
/// Only the supervisor may call this.
unsafe fn kill_children() {
    // SAFETY: the buffer is valid for its length, and a child is not reaped while its id is in use here.
    unsafe {
        let list = libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let (mut bytes, mut pid) = ([0u8; 512], 0);
        loop {
            let read = libc::read(list, bytes.as_mut_ptr().cast(), bytes.len());
            let Ok(read @ 1..) = usize::try_from(read) else { break };
            for byte in bytes.iter().take(read) {
                match byte {
                    b'0'..=b'9' => pid = pid * 10 + libc::pid_t::from(byte - b'0'),
                    _ if pid > 0 => {
                        libc::kill(pid, libc::SIGKILL);
                        pid = 0;
                    }
                    _ => {}
                }
            }
        }
        libc::close(list);
    }
}

/// Closes every descriptor of this process but one.
///
/// # Safety
/// Only the supervisor may call this.
unsafe fn close_all_but(kept: RawFd) {
    let kept = kept.cast_unsigned();
    // Before Linux 5.9 each descriptor is closed by itself.
    const DESCRIPTORS_MAX: libc::c_uint = 65_536;
    // SAFETY: nothing in this process uses the descriptors any more.
    unsafe {
        let below = if kept == 0 { 0 } else { libc::syscall(libc::SYS_close_range, 0, kept - 1, 0) };
        let above = libc::syscall(libc::SYS_close_range, kept + 1, libc::c_uint::MAX, 0);
        if below != 0 || above != 0 {
            for descriptor in (0..DESCRIPTORS_MAX).filter(|descriptor| *descriptor != kept) {
                libc::close(descriptor.cast_signed());
            }
        }
    }
}

/// Becomes the target: it gets a process group, the default action for each signal, and only the three usual
/// descriptors. It dies with the supervisor.
///
/// # Safety
/// Only a child of the supervisor may call this.
unsafe fn become_target(prepared: &Prepared, descriptors: &Descriptors, parent: libc::pid_t) -> ! {
    // SAFETY: every call below is a system call on memory of this function or of `prepared`, and safe after a fork.
    unsafe {
        libc::setpgid(0, 0);
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent {
            libc::_exit(127);
        }
        for (number, descriptor) in descriptors.stdio.iter().enumerate() {
            if libc::dup2(*descriptor, number as RawFd) == -1 {
                give_up(descriptors.report, CONNECT);
            }
        }
        if let Some(entry) = &prepared.entry {
            let file = libc::open(entry.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file == -1 || libc::write(file, c"0".as_ptr().cast(), 1) != 1 {
                give_up(descriptors.report, ENTER);
            }
        }
        // Whoever started the emulator may have left it descriptors that outlive an exec. Older kernels keep them.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let (path, arguments) = (prepared.path.as_ptr(), prepared.arguments.pointers.as_ptr());
        libc::execve(path, arguments, prepared.environment.pointers.as_ptr());
        give_up(descriptors.report, EXEC)
    }
}
