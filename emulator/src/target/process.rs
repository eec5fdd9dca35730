//! A target as a child process. It has a process group and, if possible, a control group of its own, so that a freeze
//! and a kill reach all of its processes and no others.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::port::no_fork;
use super::{Exit, Launch, Target};
use crate::cleanup::{self, Guard, Undo};
use crate::error::{Error, Result};
use crate::freezer::{FreezeGroup, Proof};
use crate::output::{Output, Stream};
use crate::process::first_child;

/// One child process.
pub struct Process {
    shared: Arc<Shared>,
    output: Output,
    port: u16,
    pid_one: bool,
    _guard: Guard,
}

/// The part that the signal thread needs to remove the target.
struct Shared {
    /// The second field is `None` until the child has been reaped. Before that, the kernel does not reuse its id.
    child: Mutex<(Child, Option<Exit>)>,
    leader: u32,
    /// Removed after the child has been reaped: the guard runs before the fields are dropped.
    group: FreezeGroup,
}

impl Process {
    /// Starts the program.
    pub fn start(words: &[String], launch: &Launch) -> Result<Self> {
        let group = FreezeGroup::new(launch.freeze_with)?;
        let (shared, guard) = cleanup::make(|| {
            let shared = Arc::new(Shared::spawn(words, launch, group)?);
            Ok((shared.clone(), Removal(shared)))
        })?;
        let output = Output::new();
        let mut child = shared.child();
        if let Some(stdout) = child.0.stdout.take() {
            output.follow(Stream::Out, stdout);
        }
        if let Some(stderr) = child.0.stderr.take() {
            output.follow(Stream::Err, stderr);
        }
        drop(child);
        Ok(Self { shared, output, port: launch.port, pid_one: launch.pid_one, _guard: guard })
    }
}

fn command(words: &[String], launch: &Launch) -> Command {
    const AS_PID_ONE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--"];
    let prefix = if launch.pid_one { &AS_PID_ONE[..] } else { &[] };
    let mut all = prefix.iter().copied().chain(words.iter().map(String::as_str));
    let mut command = Command::new(all.next().unwrap_or_default());
    command.args(all);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FC_") {
            command.env_remove(name);
        }
    }
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    command
}

/// Makes the child enter the group of the freezer before its program starts, and die together with us.
fn adopt(command: &mut Command, entry: Option<PathBuf>) {
    let file = entry.and_then(|path| c_string(&path));
    let join = move || -> io::Result<()> {
        if let Some(file) = &file {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
            let procs = rustix::fs::open(file.as_c_str(), flags, rustix::fs::Mode::empty())?;
            rustix::io::write(&procs, b"0")?;
        }
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls (open, write, close, prctl) on memory that was
    // prepared before the fork. It neither allocates nor locks.
    unsafe { command.pre_exec(join) };
}

fn c_string(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

impl Shared {
    fn spawn(words: &[String], launch: &Launch, group: FreezeGroup) -> Result<Self> {
        let mut command = command(words, launch);
        adopt(&mut command, group.entry());
        let alone = no_fork();
        let spawned = command.spawn();
        drop(alone);
        let child = spawned.map_err(|cause| Error::failed("start", words.join(" "), cause))?;
        Ok(Self { leader: child.id(), child: Mutex::new((child, None)), group })
    }

    fn child(&self) -> MutexGuard<'_, (Child, Option<Exit>)> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the target ended. The rest of its group is then killed, as in a container when process 1 ends. This happens
    /// before the child is reaped, because until then no other group can have the same number.
    fn try_exit(&self) -> Option<Exit> {
        let mut child = self.child();
        if child.1.is_none() && self.has_ended() {
            self.kill_rest();
            let status = child.0.wait().ok()?;
            child.1 = Some(exit_of(status));
        }
        child.1
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Some(pid) = pid(self.leader) else { return false };
        matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
    }

    fn kill_rest(&self) {
        if let Some(group) = pid(self.leader) {
            // The group may be empty.
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.group.kill_members(self.leader);
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or_default()),
    }
}

fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(raw.cast_signed())
}

/// Kills the target, thaws it so that the kill takes effect, and reaps it.
struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        let mut child = self.0.child();
        if child.1.is_none() {
            self.0.kill_rest();
            self.0.group.kill(self.0.leader);
            if let Ok(status) = child.0.wait() {
                child.1 = Some(exit_of(status));
            }
        }
    }
}

impl Target for Process {
    fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn outer_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(own_address(), self.port))
    }

    fn output(&self) -> Option<&Output> {
        Some(&self.output)
    }

    fn pid(&self) -> Option<u32> {
        if !self.pid_one {
            return Some(self.shared.leader);
        }
        let leader = self.shared.leader;
        first_child(leader)
    }

    fn freezer(&self) -> Option<&'static str> {
        Some(self.shared.group.name())
    }

    fn freeze(&mut self) -> Result<Proof> {
        self.shared.group.freeze_proven(self.shared.leader)
    }

    fn freeze_unproven(&mut self) -> Result<()> {
        self.shared.group.freeze(self.shared.leader)
    }

    fn thaw(&mut self) -> Result<()> {
        self.shared.group.thaw(self.shared.leader)
    }

    fn terminate(&mut self) -> Result<()> {
        if self.try_exit().is_some() {
            return Err(Error::new("the target has ended already"));
        }
        let main = self
            .pid()
            .and_then(pid)
            .ok_or_else(|| Error::new("the main process of the target is not visible from here"))?;
        kill_process(main, Signal::TERM).map_err(|cause| Error::failed("send", "SIGTERM", cause))
    }

    fn try_exit(&mut self) -> Option<Exit> {
        self.shared.try_exit()
    }
}

/// An address of this machine that is not 127.0.0.1: the source address of its outgoing packets (nothing is sent to
/// find it), else another loopback address, which only a server on all interfaces has.
fn own_address() -> IpAddr {
    let outward = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    };
    outward().unwrap_or(Ipv4Addr::new(127, 0, 0, 2).into())
}
