//! The server under test: a command or a container image, here or in a virtual machine, or the address of a server that
//! already runs.
//!
//! A target is started, becomes ready, gets signals, exits, and is removed. This module knows the platform only as an
//! environment to set, and it knows no hooks: `run`, `check` and the benchmarks bring those.

mod addr;
mod command;
mod image;
mod listening;
mod machine;
mod port;
mod process;
mod start_up;
#[cfg_attr(not(target_os = "linux"), path = "supervisor_elsewhere.rs")]
mod supervisor;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::freezer::{FreezeWith, Proof};
use crate::output::Output;
pub(crate) use image::end_containers_of_dead_runs;
pub use image::{engine_answers, image_platform};
pub use machine::Machines;
pub use port::{Port, no_fork};
pub use start_up::{Ready, daemon, loopback_only, wait_ready};

/// The port of a custom container that sets no other.
pub const PORT_DEFAULT: u16 = 9000;

/// The target as the user gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A program with its arguments, started as a child process.
    Command(Vec<String>),
    /// A container image, started through the Docker command line.
    Image {
        /// The name or the id of the image.
        name: String,
        /// The arguments for its entry point.
        args: Vec<String>,
    },
    /// The address of a server that already runs. It gets no environment, no freezes and no signals, and its output
    /// cannot be read.
    Addr(SocketAddr),
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => f.write_str(&words.join(" ")),
            Self::Image { name, args } => write!(f, "image {}", [std::slice::from_ref(name), args].concat().join(" ")),
            Self::Addr(addr) => write!(f, "{addr}"),
        }
    }
}

/// How one instance is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The environment variables, which name the port.
    pub env: Vec<(String, String)>,
    /// The port that it will listen on.
    pub port: u16,
    /// How the target is frozen.
    pub freeze_with: FreezeWith,
    /// The virtual machines, if the target runs in one.
    pub machines: Option<Arc<Machines>>,
    /// Whether the command runs as process 1 of a namespace of its own, as in a container. In a virtual machine it does
    /// anyhow, unless CRIU freezes it.
    pub pid_one: bool,
}

/// How a target ended. Shown as the end of a sentence: "exited with code 1".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal with this number ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "was ended by signal {number}"),
            Self::Code(143) => f.write_str("exited with code 143 (ended by SIGTERM)"),
            Self::Code(code) => write!(f, "exited with code {code}"),
        }
    }
}

/// Where a target listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Nowhere.
    None,
    /// On a loopback address only, where the platform cannot reach it.
    LoopbackOnly,
    /// On an address that can be reached from outside.
    Reachable,
}

/// One running instance. Dropping it removes everything that it started.
pub trait Target: Send {
    /// The address at which we call it.
    fn addr(&self) -> SocketAddr;

    /// An address with the same port that is not 127.0.0.1, if there is one.
    fn outer_addr(&self) -> Option<SocketAddr>;

    /// Its output, if we can read it.
    fn output(&self) -> Option<&Output>;

    /// Its main process, if it is on this machine.
    fn pid(&self) -> Option<u32>;

    /// All of its processes that can be seen from here.
    fn pids(&self) -> Vec<u32> {
        self.pid().into_iter().collect()
    }

    /// The names of the processes that outlived its first one. They were then ended.
    fn left_behind(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether its ports are those of this machine, so that something else can answer in its place.
    fn shares_ports(&self) -> bool {
        false
    }

    /// The name of its program if that is the client of a container engine, which does not run the container itself.
    fn container_client(&self) -> Option<&str> {
        None
    }

    /// Where it listens, if that can be seen without a connection.
    fn listener(&mut self) -> Option<Listener> {
        None
    }

    /// The name of its freezer in reports, if it can be frozen.
    fn freezer(&self) -> Option<&'static str>;

    /// Freezes it and proves that it stands still.
    ///
    /// # Errors
    /// If it cannot be frozen, or a task ran although it was frozen.
    fn freeze(&mut self) -> Result<Proof>;

    /// Freezes it without the proof, which takes a pause. The kernel still says that the freeze is in force. A
    /// container is frozen as by [`Target::freeze`], because the pause of an engine takes longer than the proof.
    ///
    /// # Errors
    /// If it cannot be frozen.
    fn freeze_unproven(&mut self) -> Result<()> {
        self.freeze().map(drop)
    }

    /// Thaws it.
    ///
    /// # Errors
    /// If it cannot be thawed.
    fn thaw(&mut self) -> Result<()>;

    /// The word of the target's own clocks about the last freeze, where it has clocks of its own.
    ///
    /// # Errors
    /// If they contradict the freezer.
    fn own_clocks(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Sends SIGTERM to the main process.
    ///
    /// # Errors
    /// If it gets no signals, or has ended.
    fn terminate(&mut self) -> Result<()>;

    /// How it ended, or `None` while it runs.
    fn try_exit(&mut self) -> Option<Exit>;
}

/// Stands in the place of a target that was moved elsewhere. It does nothing.
pub(crate) fn placeholder() -> Box<dyn Target> {
    Box::new(addr::Running::new((std::net::Ipv4Addr::UNSPECIFIED, 0).into()))
}

/// The last lines that a target printed, as the end of a sentence. Empty if it printed none.
pub fn last_words(target: &dyn Target) -> String {
    const LINES: usize = 5;
    const CHARS: usize = 120;
    let Some(output) = target.output() else { return String::new() };
    output.wait_end(Deadline::after(Duration::from_millis(150)));
    let lines = output.last_lines(LINES, CHARS);
    let quoted: Vec<_> = lines.iter().map(|line| format!("`{line}`")).collect();
    match quoted.as_slice() {
        [] => "; it printed nothing".into(),
        [line] => format!("; its last line of output: {line}"),
        lines => format!("; its last lines of output: {}", lines.join(" ")),
    }
}

/// Starts an instance. It is not ready yet.
///
/// # Errors
/// If it could not even be started.
pub fn launch(spec: &Spec, launch: &Launch) -> Result<Box<dyn Target>> {
    if let Some(machines) = &launch.machines {
        return Ok(Box::new(machine::InMachine::start(machines, launch)?));
    }
    Ok(match spec {
        Spec::Command(words) => Box::new(process::Process::start(words, launch)?),
        Spec::Image { name, args } => Box::new(image::Container::start(name, args, launch)?),
        Spec::Addr(addr) => Box::new(addr::Running::new(*addr)),
    })
}

/// Makes sure that a target which will listen on this port of this machine can do so.
///
/// # Errors
/// If something listens there already: it would be judged in the target's place. The text names it.
pub fn require_free(port: u16) -> Result<()> {
    match listening::taken(port) {
        None => Ok(()),
        Some(taker) => Err(Error::new(format!("port {port} is taken: {taker}; end it, or give another `--port`"))),
    }
}

/// Waits until the target has ended.
pub fn wait_exit(target: &mut dyn Target, deadline: Deadline) -> Option<Exit> {
    deadline.until(|| target.try_exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_explained() {
        assert_eq!(Exit::Code(0).to_string(), "exited with code 0");
        assert_eq!(Exit::Code(137).to_string(), "exited with code 137");
        assert_eq!(Exit::Code(143).to_string(), "exited with code 143 (ended by SIGTERM)");
        assert_eq!(Exit::Signal(15).to_string(), "was ended by signal 15");
    }
}
