//! A target in a virtual machine. Each instance is a guest of its own, and all of them share what is found and exported
//! once: QEMU, the kernel, the program.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Exit, Launch, Listener, Spec, Target};
use crate::clock::seconds;
use crate::error::{Error, Result};
use crate::freezer::Proof;
use crate::output::Output;
use crate::vm::{self, Guest, Method, Options, Program, Tools};

/// What every instance of a target in a virtual machine is made of.
pub struct Machines {
    tools: Tools,
    method: Method,
    program: Program,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Machines").field(&self.method.name()).finish()
    }
}

impl Machines {
    /// Finds what virtual machines need here, and gets the target's files. `kernel` is the kernel to boot; without one,
    /// the newest cloud kernel of the distribution is taken.
    ///
    /// # Errors
    /// If something is missing, or this target cannot run in a virtual machine. The text is one line, and says what to
    /// do.
    pub fn prepare(method: Method, kernel: Option<&Path>, spec: &Spec) -> Result<Arc<Self>> {
        let refused = |cause: &dyn fmt::Display| Error::new(format!("`--freeze-with {}`: {cause}", method.name()));
        let tools = vm::requirements(kernel).map_err(|missing| refused(&missing))?;
        if method == Method::Criu {
            vm::requires_criu().map_err(|cause| refused(&cause))?;
        }
        let program = match spec {
            Spec::Command(words) => Program::command(words, &[]),
            Spec::Image { name, args } => Program::image(name, args, &[]),
            Spec::Addr(_) => Err(Error::new("a server that already runs cannot be moved into a virtual machine")),
        };
        let program = program.map_err(|cause| refused(&cause))?;
        Ok(Arc::new(Self { tools, method, program }))
    }

    /// How the targets are frozen.
    pub fn method(&self) -> Method {
        self.method
    }
}

/// One guest.
pub struct InMachine {
    guest: Guest,
    method: Method,
    output: Output,
    addr: SocketAddr,
    /// Since when the guest is frozen, and how long the last freeze was.
    frozen: Option<Instant>,
    last_freeze: Duration,
}

impl InMachine {
    /// Boots a guest, which starts the target.
    pub fn start(machines: &Machines, launch: &Launch) -> Result<Self> {
        let options = Options { criu: machines.method == Method::Criu, ..Options::default() };
        let program = machines.program.with_env(&launch.env);
        let guest = Guest::boot(&machines.tools, &program, launch.port, &options)?;
        let (output, addr) = (guest.output().clone(), guest.addr());
        Ok(Self { guest, method: machines.method, output, addr, frozen: None, last_freeze: Duration::ZERO })
    }
}

impl Target for InMachine {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The forwarded port leads to the guest's network card, not to its loopback address.
    fn outer_addr(&self) -> Option<SocketAddr> {
        Some(self.addr)
    }

    fn output(&self) -> Option<&Output> {
        Some(&self.output)
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn listener(&mut self) -> Option<Listener> {
        // A guest that does not answer is looked at again: it may have ended.
        Some(self.guest.listener().unwrap_or(Listener::None))
    }

    fn freezer(&self) -> Option<&'static str> {
        Some(self.method.name())
    }

    fn freeze(&mut self) -> Result<Proof> {
        let proof = self.guest.freeze(self.method)?;
        self.frozen = Some(Instant::now());
        Ok(Proof::Machine(proof))
    }

    fn thaw(&mut self) -> Result<()> {
        self.last_freeze = self.frozen.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.guest.thaw()
    }

    fn own_clocks(&mut self) -> Result<Option<String>> {
        let lag = self.guest.lag()?;
        match self.method {
            Method::Criu => Ok(None),
            // A question under emulation may take a while, so the guest's word is not exact.
            Method::VmPause | Method::VmSnapshot | Method::VmSnapshotSame if lag.monotonic < self.last_freeze / 2 => {
                Err(Error::new(format!(
                    "{}: the guest's clocks ran although QEMU says that it stood for {}",
                    self.method.name(),
                    seconds(self.last_freeze)
                )))
            }
            _ => Ok(Some(format!(
                "MONOTONIC of the guest lacks {}, REALTIME {}",
                seconds(lag.monotonic),
                seconds(lag.realtime)
            ))),
        }
    }

    fn terminate(&mut self) -> Result<()> {
        self.guest.terminate()
    }

    fn try_exit(&mut self) -> Option<Exit> {
        self.guest.try_exit()
    }
}
