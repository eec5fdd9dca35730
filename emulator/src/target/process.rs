//! A target as a process with a supervisor of its own, so that a freeze and a kill reach all of its processes and no
//! others.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::command::Program;
use super::listening;
use super::supervisor::Supervisor;
use super::{Exit, Launch, Target};
use crate::cleanup::{self, Guard, Undo};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::freezer::{FreezeGroup, Proof};
use crate::output::{Output, Stream};
use crate::process::{below, first_child, name};

/// One process with its descendants.
pub struct Process {
    shared: Arc<Shared>,
    output: Output,
    port: u16,
    pid_one: bool,
    _guard: Guard,
}

/// The part that the signal thread needs to remove the target.
struct Shared {
    supervisor: Supervisor,
    /// The names of the processes that outlived the target's first one.
    left_behind: Mutex<Vec<String>>,
    group: FreezeGroup,
    /// The name of the program if it is the client of a container engine.
    container_client: Option<String>,
}

/// A client gets this time to end its container, which is not below the supervisor.
const CLIENT_WAIT: Duration = Duration::from_secs(3);

impl Process {
    /// Starts the program.
    pub fn start(words: &[String], launch: &Launch) -> Result<Self> {
        let program = Program::new(words, &launch.env, launch.pid_one)?;
        let group = FreezeGroup::below(launch.freeze_with)?;
        let ((shared, streams), guard) = cleanup::make(|| {
            let (supervisor, streams) = Supervisor::start(&program, &group)?;
            let container_client = container_client(words);
            let shared = Arc::new(Shared { supervisor, left_behind: Mutex::default(), group, container_client });
            Ok(((shared.clone(), streams), Removal(shared)))
        })?;
        let output = Output::new();
        output.follow(Stream::Out, File::from(streams.out));
        output.follow(Stream::Err, File::from(streams.err));
        Ok(Self { shared, output, port: launch.port, pid_one: launch.pid_one, _guard: guard })
    }

    fn root(&self) -> u32 {
        self.shared.supervisor.pid()
    }
}

impl Shared {
    /// How the target ended. The rest of it is then ended, too, as in a container when process 1 ends.
    fn try_exit(&self) -> Option<Exit> {
        let exit = self.supervisor.try_exit()?;
        let others = self.supervisor.others();
        if !others.is_empty() {
            let names = others.into_iter().filter_map(name).collect();
            *self.left_behind.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
        self.end();
        Some(exit)
    }

    fn end(&self) {
        self.supervisor.while_it_is_there(|| self.group.kill(self.supervisor.pid()));
        self.supervisor.end();
    }
}

/// Kills the target, thaws it so that the kill takes effect, and waits for the end of all its processes.
struct Removal(Arc<Shared>);

impl Undo for Removal {
    fn undo(&self) {
        if self.0.container_client.is_some() && self.0.try_exit().is_none() {
            let leader = Pid::from_raw(self.0.supervisor.leader().cast_signed());
            self.0.supervisor.while_it_is_there(|| leader.map(|leader| kill_process(leader, Signal::TERM)));
            Deadline::after(CLIENT_WAIT).until(|| self.0.try_exit());
        }
        self.0.end();
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
        let leader = self.shared.supervisor.leader();
        if self.pid_one { first_child(leader) } else { Some(leader) }
    }

    fn pids(&self) -> Vec<u32> {
        below(self.root())
    }

    fn left_behind(&self) -> Vec<String> {
        self.shared.left_behind.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shares_ports(&self) -> bool {
        true
    }

    fn container_client(&self) -> Option<&str> {
        self.shared.container_client.as_deref()
    }

    fn freezer(&self) -> Option<&'static str> {
        Some(self.shared.group.name())
    }

    fn freeze(&mut self) -> Result<Proof> {
        let proof = self.shared.group.freeze_proven(self.root())?;
        // What answers at the port must be among what stands still.
        match listening::stranger(self.addr(), &self.pids()) {
            None => Ok(proof),
            Some(stranger) => {
                self.thaw()?;
                Err(Error::new(format!("{} froze the target, but {stranger}", self.shared.group.name())))
            }
        }
    }

    fn freeze_unproven(&mut self) -> Result<()> {
        self.shared.group.freeze(self.root())
    }

    fn thaw(&mut self) -> Result<()> {
        self.shared.group.thaw()
    }

    fn terminate(&mut self) -> Result<()> {
        if self.try_exit().is_some() {
            return Err(Error::new("the target has ended already"));
        }
        let main = self
            .pid()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .ok_or_else(|| Error::new("the main process of the target is not visible from here"))?;
        let sent = self.shared.supervisor.while_it_is_there(|| kill_process(main, Signal::TERM));
        sent.unwrap_or(Ok(())).map_err(|cause| Error::failed("send", "SIGTERM", cause))
    }

    fn try_exit(&mut self) -> Option<Exit> {
        self.shared.try_exit()
    }
}

/// The program of a command, if it is the client of a container engine.
fn container_client(words: &[String]) -> Option<String> {
    const CLIENTS: [&str; 3] = ["docker", "podman", "nerdctl"];
    let name = std::path::Path::new(words.first()?).file_name()?.to_str()?;
    CLIENTS.contains(&name).then(|| name.to_owned())
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
