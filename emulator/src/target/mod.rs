//! The thing under test, whatever a user has: a command, an image, or an address.
//!
//! Owns starting, readiness, signals, exit and cleaning up. Knows the platform only as an
//! environment to set, and nothing of hooks: the commands that share targets (`run`, `check`, and
//! benchmarks) bring their own questions.

mod addr;
mod image;
mod port;
mod process;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::Result;
use crate::freezer::{FreezeWith, Proof};
use crate::output::Output;
pub use image::{engine_answers, image_platform};
pub use port::{Port, no_fork};

/// The port of a custom container that nobody told another.
pub const PORT_DEFAULT: u16 = 9000;

/// How long one connection attempt of the start-up check may take.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// What is to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A program with its arguments, started as a child process.
    Command(Vec<String>),
    /// A container image, started through the Docker command line.
    Image {
        /// Name or id of the image.
        name: String,
        /// Arguments for its entry point.
        args: Vec<String>,
    },
    /// Something that runs already: no environment, freeze, signals or output.
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
    /// Variables to set, for the port that was chosen.
    pub env: Vec<(String, String)>,
    /// The port it will listen on.
    pub port: u16,
    /// How processes are frozen.
    pub freeze_with: FreezeWith,
    /// Run the command as process 1 of a namespace of its own, as in a container.
    pub pid_one: bool,
}

/// How a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "ended by signal {number}"),
            Self::Code(code) => {
                write!(f, "exited with code {code}")?;
                let known = match code {
                    2 | 127 => " (no such file?)",
                    8 => " (wrong executable format?)",
                    13 | 126 => " (not executable?)",
                    137 => " (killed; mostly memory)",
                    143 => " (ended by SIGTERM)",
                    _ => "",
                };
                f.write_str(known)
            }
        }
    }
}

/// One running instance. Dropping it takes everything away.
pub trait Target: Send {
    /// Where it is called.
    fn addr(&self) -> SocketAddr;

    /// An address of the same port that is not loopback, if there is one to try.
    fn outer_addr(&self) -> Option<SocketAddr>;

    /// What it prints, unless that is out of reach.
    fn output(&self) -> Option<&Output>;

    /// Its main process, if it is on this machine.
    fn pid(&self) -> Option<u32>;

    /// What freezes it, as reports name it, if it can be frozen.
    fn freezer(&self) -> Option<&'static str>;

    /// Freezes it and proves it.
    ///
    /// # Errors
    /// When it cannot be frozen, or was seen running.
    fn freeze(&mut self) -> Result<Proof>;

    /// Freezes it by the kernel's word alone, without the pause that a proof takes. A container is frozen as by
    /// [`Target::freeze`], because an engine's pause takes longer than the proof.
    ///
    /// # Errors
    /// If it cannot be frozen.
    fn freeze_unproven(&mut self) -> Result<()> {
        self.freeze().map(drop)
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When it cannot be thawed.
    fn thaw(&mut self) -> Result<()>;

    /// Sends SIGTERM to the main process.
    ///
    /// # Errors
    /// When signals are out of reach.
    fn terminate(&mut self) -> Result<()>;

    /// How it ended, or `None` while it runs.
    fn try_exit(&mut self) -> Option<Exit>;
}

/// Starts an instance; it is not ready yet.
///
/// # Errors
/// When it could not even be started.
pub fn launch(spec: &Spec, launch: &Launch) -> Result<Box<dyn Target>> {
    Ok(match spec {
        Spec::Command(words) => Box::new(process::Process::start(words, launch)?),
        Spec::Image { name, args } => Box::new(image::Container::start(name, args, launch)?),
        Spec::Addr(addr) => Box::new(addr::Running::new(*addr)),
    })
}

/// How the start-up check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It accepts connections.
    Yes,
    /// It ended before it listened.
    Exited(Exit),
    /// It did not listen in time.
    Late,
}

/// The platform's start-up check: a TCP connection, opened and hung up, until one succeeds.
pub fn wait_ready(target: &mut dyn Target, deadline: Deadline) -> Ready {
    let look = || {
        if let Some(exit) = target.try_exit() {
            return Some(Ready::Exited(exit));
        }
        let wait = PROBE_WAIT.min(deadline.left().unwrap_or(Duration::from_millis(10)));
        let stream = TcpStream::connect_timeout(&target.addr(), wait).ok()?;
        stays_open(&stream, target).then_some(Ready::Yes)
    };
    deadline.until(look).unwrap_or(Ready::Late)
}

/// Waits until it has ended.
pub fn wait_exit(target: &mut dyn Target, deadline: Deadline) -> Option<Exit> {
    deadline.until(|| target.try_exit())
}

/// A published container port is accepted by the engine's proxy whether or not anyone listens
/// behind it; the proxy then hangs up at once. Elsewhere an accepted connection is enough.
fn stays_open(stream: &TcpStream, target: &dyn Target) -> bool {
    if target.pid().is_some() || target.output().is_none() {
        return true;
    }
    let wait = Duration::from_millis(150);
    stream.set_read_timeout(Some(wait)).is_ok()
        && stream.peek(&mut [0]).map_or_else(|cause| cause.kind() == std::io::ErrorKind::WouldBlock, |count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_explained() {
        assert_eq!(Exit::Code(0).to_string(), "exited with code 0");
        assert_eq!(Exit::Code(137).to_string(), "exited with code 137 (killed; mostly memory)");
        assert_eq!(Exit::Signal(15).to_string(), "ended by signal 15");
    }
}
