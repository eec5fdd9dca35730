//! Other processes: start, signal, wait, and becoming another program.
//!
//! `std::process::Command` forks where it sets a process group, waits for one child at a time, and takes 20 kB more.
//! `posix_spawn` copies no page tables, and reports a failed exec as its own error.
#![allow(unsafe_code)]

use crate::adapter::program::{Exit, Signal};
use crate::start_error::StartError;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use std::ffi::{CStr, CString, c_char, c_int, c_short};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

/// A process that was started, the leader of a process group of its own.
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// The reading end of its standard output, if that is a pipe. It never blocks.
    pub(crate) output: Option<OwnedFd>,
}

/// What a child's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Those of this process.
    Inherited,
    /// Standard input is empty, standard output is a pipe, standard error is that of this process.
    Piped,
}

/// Starts a program: `words` are its name and its arguments. A name without a slash is looked up in `PATH`.
///
/// The child gets no descriptor that is closed on exec, so none of ours. Signals have their default actions in it, but
/// for those that were ignored when this process began: Rust ignores SIGPIPE, which the child gets back.
pub(crate) fn spawn(words: &[CString], environment: &[CString], streams: Streams) -> Result<Child, Errno> {
    let pipe = match streams {
        Streams::Inherited => None,
        Streams::Piped => Some(output_pipe()?),
    };
    let (arguments, environment) = (pointers(words), pointers(environment));
    let mut pid = 0;
    let attributes = Attributes::new()?;
    let mut actions = Actions::new()?;
    if let Some((_, writer)) = &pipe {
        actions.redirect(writer.as_raw_fd())?;
    }
    // SAFETY: both lists end in null and hold C strings that outlive the call, as do the actions and the attributes.
    check(unsafe {
        libc::posix_spawnp(
            &mut pid,
            arguments[0],
            &actions.0,
            &attributes.0,
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
        )
    })?;
    Ok(Child { pid, output: pipe.map(|(reader, _)| reader) })
}

/// Becomes another program; returns if that fails. The environment and the standard streams stay.
pub(crate) fn exec(words: &[CString]) -> Errno {
    let arguments = pointers(words);
    // SAFETY: the list ends in null and holds C strings that outlive the call. To reset a signal needs no handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execvp(arguments[0], arguments.as_ptr());
    }
    last_errno()
}

/// The error of a program that cannot be started, and the exit code that a shell gives for it.
#[cold]
pub(crate) fn cannot_execute(name: &CStr, error: Errno) -> (StartError, u8) {
    let action = format!("execute {}", name.to_string_lossy());
    // SAFETY: a C string.
    let is_there = || name.to_bytes().contains(&b'/') && unsafe { libc::access(name.as_ptr(), libc::F_OK) } == 0;
    let message = match error {
        Errno::NOENT if is_there() => "the interpreter or the loader that it names does not exist",
        Errno::NOENT => "no such file or directory",
        Errno::NOEXEC => "neither a program of this kind of machine nor a script that begins with #!",
        error => return (StartError::io(action, &error.into()), CANNOT_EXECUTE),
    };
    let code = if error == Errno::NOENT { NOT_FOUND } else { CANNOT_EXECUTE };
    (StartError::about(&format!("cannot {action}"), &message), code)
}

const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Sends a signal to a process group. A group that has ended is not an error.
pub(crate) fn signal_group(pid: i32, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    if pid > 1 {
        // SAFETY: takes numbers only.
        unsafe { libc::kill(-pid, signal) };
    }
}

/// Takes the status of a child that has ended, whoever started it: orphans become children of PID 1.
pub(crate) fn reap() -> Option<(i32, Exit)> {
    let mut status = 0;
    // SAFETY: waitpid writes to the address given.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, exit_of(status)))
}

fn exit_of(status: c_int) -> Exit {
    if libc::WIFEXITED(status) {
        return Exit::Code(libc::WEXITSTATUS(status) as u8);
    }
    let signal = libc::WTERMSIG(status);
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("", |(_, name)| name);
    Exit::Signal(signal as u8, name)
}

/// The signals that end programs.
const SIGNALS: [(c_int, &str); 14] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGSYS, "SIGSYS"),
];

/// Makes orphans of the program children of this process, as they are of PID 1. Other kernels cannot.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only. An old kernel refuses, and nothing is lost.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
}

/// Every variable of this process, as `NAME=value`.
pub(crate) fn inherited_environment() -> Vec<CString> {
    let mut variables = Vec::new();
    super::environment::for_each_with_prefix("", &mut |variable| variables.extend(CString::new(variable)));
    variables
}

/// A port that is free on every IPv4 address now. Nothing keeps it free, but the kernel gives it to nobody soon.
pub(crate) fn free_port() -> Result<u16, Errno> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok(address.port())
}

/// A pipe whose reading end never blocks. Its writing end does, because programs expect that.
fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    #[cfg(not(target_vendor = "apple"))]
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    #[cfg(target_vendor = "apple")]
    let (reader, writer) = rustix::pipe::pipe()?;
    #[cfg(target_vendor = "apple")]
    rustix::io::ioctl_fioclex(&reader).and_then(|()| rustix::io::ioctl_fioclex(&writer))?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

/// The addresses of C strings, and null.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// A process group of its own; SIGPIPE ends the child.
    fn new() -> Result<Attributes, Errno> {
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the attributes are initialised before anything is set in them, and the set of signals before its use.
        unsafe {
            let mut attributes = MaybeUninit::uninit();
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut attributes = Attributes(attributes.assume_init());
            let mut signals = MaybeUninit::uninit();
            libc::sigemptyset(signals.as_mut_ptr());
            libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
            check(libc::posix_spawnattr_setsigdefault(&mut attributes.0, signals.as_ptr()))?;
            check(libc::posix_spawnattr_setpgroup(&mut attributes.0, 0))?;
            check(libc::posix_spawnattr_setflags(&mut attributes.0, flags as c_short))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: they were initialised.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Actions, Errno> {
        // SAFETY: initialised by the call, if it succeeds.
        unsafe {
            let mut actions = MaybeUninit::uninit();
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Actions(actions.assume_init()))
        }
    }

    /// Standard input becomes empty, standard output this descriptor.
    fn redirect(&mut self, output: c_int) -> Result<(), Errno> {
        let (actions, null) = (&mut self.0, c"/dev/null".as_ptr());
        // SAFETY: the actions are initialised; the path is a C string, which the call copies.
        unsafe {
            check(libc::posix_spawn_file_actions_addopen(actions, libc::STDIN_FILENO, null, libc::O_RDONLY, 0))?;
            check(libc::posix_spawn_file_actions_adddup2(actions, output, libc::STDOUT_FILENO))
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: they were initialised.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// These functions return the number of the error.
fn check(outcome: c_int) -> Result<(), Errno> {
    if outcome == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(outcome)) }
}

fn last_errno() -> Errno {
    errno_of(&io::Error::last_os_error())
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_wait() {
        // By the layout that Linux and the BSDs share: the signal in the low byte, or the code in the next.
        let cases = [
            (0, Exit::Code(0)),
            (3 << 8, Exit::Code(3)),
            (255 << 8, Exit::Code(255)),
            (9, Exit::Signal(9, "SIGKILL")),
            (11 | 0x80, Exit::Signal(11, "SIGSEGV")),
            (64, Exit::Signal(64, "")),
        ];
        for (status, exit) in cases {
            assert_eq!(exit_of(status), exit, "{status:#x}");
        }
    }

    #[test]
    fn what_cannot_be_executed() {
        let cases = [
            (c"./none", Errno::NOENT, "cannot execute ./none: no such file or directory", 127),
            (c"none", Errno::NOENT, "cannot execute none: no such file or directory", 127),
            (c"/", Errno::NOENT, "cannot execute /: the interpreter or the loader that it names does not exist", 127),
            (c"/", Errno::ACCESS, "cannot execute /: permission denied", 126),
            (
                c"a",
                Errno::NOEXEC,
                "cannot execute a: neither a program of this kind of machine nor a script that begins with #!",
                126,
            ),
        ];
        for (name, error, message, code) in cases {
            let (seen, seen_code) = cannot_execute(name, error);
            assert_eq!((seen.to_string().as_str(), seen_code), (message, code));
        }
        let (other, code) = cannot_execute(c"a", Errno::TOOBIG);
        assert!(other.to_string().starts_with("cannot execute a: ") && code == 126, "{other}");
    }

    /// Other tests of this process start children too, so this one takes no other child's status.
    #[test]
    fn a_child_leads_its_group_and_writes_to_a_pipe_that_blocks_only_itself() {
        let script = c"echo $A $(cat) $$; trap '' TERM; kill -0 -$$ && echo group; sleep 1000";
        let words = [c"/bin/sh", c"-c", script].map(CString::from);
        let child = spawn(&words, &[c"A=b".into(), c"PATH=/usr/bin:/bin".into()], Streams::Piped).unwrap();
        let output = child.output.as_ref().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"group\n") {
            let mut piece = [0; 100];
            let mut poll = [rustix::event::PollFd::new(output, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut poll, None).unwrap();
            let bytes = rustix::io::read(output, &mut piece).unwrap();
            assert!(bytes > 0, "{:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..bytes]);
        }
        assert_eq!(String::from_utf8(seen).unwrap(), format!("b {}\ngroup\n", child.pid));
        assert_eq!(rustix::io::read(output, &mut [0; 1]), Err(Errno::AGAIN));
        signal_group(child.pid, Signal::Terminate);
        signal_group(child.pid, Signal::Kill);
        let mut status = 0;
        // SAFETY: waitpid writes to the address given; the child is ours.
        assert_eq!(unsafe { libc::waitpid(child.pid, &mut status, 0) }, child.pid);
        assert_eq!(exit_of(status), Exit::Signal(9, "SIGKILL"));
        signal_group(child.pid, Signal::Kill);
    }

    #[test]
    fn a_failed_exec_is_an_error_of_the_start() {
        for (name, error) in [(c"/nonexistent/a", Errno::NOENT), (c"/dev/null", Errno::ACCESS), (c"", Errno::NOENT)] {
            assert_eq!(spawn(&[name.into()], &[], Streams::Inherited).err(), Some(error), "{name:?}");
        }
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        assert!(port > 0 && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "{port}");
    }
}
