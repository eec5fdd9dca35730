//! A proxy with its program behind it, both running, and the figures that the kernel has of the proxy's process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use procfs::process::Process;
use rustix::thread::sched_setaffinity;

use super::peers::{Place, Proxy, Role};
use crate::harness::{BODY, Contender, Folder, Instance, Processors, Start, set_of};
use crate::results::Kind;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_emulator::platform::Request;
use fc_emulator::target::Port;

/// From the start of both to the first good reply.
const READY_WAIT: Duration = Duration::from_secs(20);

/// The time limit of one call.
const REPLY_WAIT: Duration = Duration::from_secs(10);

/// Both processes. Dropping it ends them.
pub struct Stage {
    front: Instance,
    _program: Option<Instance>,
    /// The program's port, if the proxy starts the program.
    _port: Option<Port>,
    _folder: Folder,
}

impl Stage {
    /// Starts `program` and the proxy before it: the proxy on its processors, the program on those of the client.
    ///
    /// # Errors
    /// If one of them cannot be started.
    pub fn start(proxy: &Proxy, program: &[String], processors: &Processors) -> Result<Self> {
        let folder = Folder::new()?;
        let (listen, behind) = (Port::free()?, Port::free()?);
        let place = Place { listen: listen.number(), program: behind.number(), folder: folder.path() };
        let (words, env) = proxy.command(program, place)?;
        let on_client = Start { processors: &processors.client, ..Start::default() };
        let (behind, port) = match proxy.role {
            Role::Connects | Role::Relays => {
                let contender = Contender::of_command("program", Kind::Custom, program.to_vec());
                let started = Instance::start_on(&contender, &on_client, behind)?;
                wait_for_port(&started)?;
                (Some(started), None)
            }
            _ => (None, Some(behind)),
        };
        let mut contender = Contender::of_command(&proxy.described.name, Kind::Custom, words);
        contender.described.env = env;
        let on_own = Start { processors: &processors.server, ..Start::default() };
        let start = if proxy.role == Role::Direct { &on_client } else { &on_own };
        let front = Instance::start_on(&contender, start, listen)?;
        Ok(Self { front, _program: behind, _port: port, _folder: folder })
    }

    /// Waits for the first good reply and returns when it had arrived, counted from the exec of the proxy.
    ///
    /// # Errors
    /// If there is none in time, or the proxy ends.
    pub fn first_reply(&self, event: &Request) -> Result<f64> {
        let deadline = Deadline::after(READY_WAIT);
        let mut last = "its port is not open".to_owned();
        loop {
            if let Some(status) = self.front.try_exit() {
                return Err(Error::new(format!("it ended before it answered: {status}")));
            }
            let reply = Conn::open(self.address(), deadline)
                .and_then(|mut conn| conn.exchange(&event.bytes(), Deadline::after(REPLY_WAIT)));
            let at = crate::harness::now();
            match reply {
                Ok(reply) if reply.status == 200 && reply.body == BODY.as_bytes() => {
                    return Ok(crate::harness::micros(self.front.exec_at(), at));
                }
                Ok(reply) => last = format!("status {}, `{}`", reply.status, reply.body_text(40)),
                Err(cause) => last = format!("{last}; {cause}").chars().take(200).collect(),
            }
            if deadline.passed() {
                return Err(Error::new(format!("there was no good reply in time: {last}")));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Moves what the proxy has started to the processors of the client, where the programs of the others run.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn settle(&self, processors: &Processors) -> Result<()> {
        for pid in fc_testkit::proc::family(self.pid()).into_iter().skip(1) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed());
            sched_setaffinity(pid, &set_of(&processors.client))
                .map_err(|cause| Error::failed("move", "the program to its processor", cause))?;
        }
        Ok(())
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.front.address().port()).into()
    }

    /// The process of the proxy.
    pub fn pid(&self) -> u32 {
        self.front.pid()
    }

    /// The processor time of all threads of the proxy, in nanoseconds; not that of its program.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> Result<u64> {
        let unknown = |cause| Error::failed("read", "the proxy's clock of processor time", cause);
        let clock: ClockId = clock_getcpuclockid(Pid::from_raw(self.pid().cast_signed())).map_err(unknown)?;
        let time = clock.now().map_err(unknown)?;
        Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }

    /// The context switches of all threads of the proxy so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn switches(&self) -> Result<u64> {
        let unknown = |cause| Error::failed("read", "the proxy's context switches", cause);
        let tasks = Process::new(self.pid().cast_signed()).and_then(|it| it.tasks()).map_err(unknown)?;
        let count = |status: procfs::process::Status| {
            status.voluntary_ctxt_switches.unwrap_or(0) + status.nonvoluntary_ctxt_switches.unwrap_or(0)
        };
        Ok(tasks.flatten().filter_map(|task| task.status().ok()).map(count).sum())
    }
}

fn wait_for_port(instance: &Instance) -> Result<()> {
    let deadline = Deadline::after(READY_WAIT);
    let opened = deadline.until(|| match instance.try_exit() {
        Some(status) => Some(Err(Error::new(format!("the program ended before it listened: {status}")))),
        None => Conn::open(instance.address(), deadline).is_ok().then_some(Ok(())),
    });
    opened.unwrap_or_else(|| Err(Error::new("the program did not listen in time")))
}
