//! One instance in the emulator: a target, the platform that calls it, and the limits.
//!
//! `run` and `check` share this. It starts instances and calls them, and judges nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::freezer::{FreezeGroup, FreezeWith};
use crate::http::{Conn, Response};
use crate::platform::{Credentials, Hook, PORT_NAMES, Platform, Request, Settings};
use crate::target::{self, Launch, Machines, PORT_DEFAULT, Port, Ready, Spec, Target};

/// The time limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start to an open port.
    pub ready: Duration,
    /// For the initializer.
    pub initialize: Duration,
    /// For one call.
    pub call: Duration,
    /// For the pre-freeze hook.
    pub pre_freeze: Duration,
    /// For the pre-stop hook.
    pub pre_stop: Duration,
    /// From SIGTERM to the exit.
    pub term: Duration,
}

impl Limits {
    /// The time limit of a hook.
    pub fn of(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Initialize => self.initialize,
            Hook::PreFreeze => self.pre_freeze,
            Hook::PreStop => self.pre_stop,
        }
    }
}

/// The target, and how the platform treats it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The target.
    pub spec: Spec,
    /// The platform.
    pub settings: Settings,
    /// How the target is frozen.
    pub freeze_with: FreezeWith,
    /// The virtual machines in which it runs, if it is frozen so.
    pub machines: Option<Arc<Machines>>,
    /// The port of a target that ignores the environment. `None` takes a free one, or 9000 for an image and in a
    /// virtual machine.
    pub port: Option<u16>,
    /// More environment variables for the target.
    pub env: Vec<(String, String)>,
    /// The time limits.
    pub limits: Limits,
}

impl Setup {
    /// Makes sure that the chosen method can freeze this target here.
    ///
    /// # Errors
    /// If it cannot; the text names the cause and what to do.
    pub fn require_freezer(&self) -> Result<()> {
        let chosen = self.freeze_with;
        match (&self.spec, chosen) {
            (Spec::Command(_) | Spec::Image { .. }, _) if chosen.machine().is_some() => Ok(()),
            (_, FreezeWith::Auto) | (Spec::Image { .. }, FreezeWith::DockerPause) => Ok(()),
            (Spec::Command(_), _) => FreezeGroup::new(chosen).map(drop),
            (Spec::Image { .. }, _) => Err(Error::new(format!(
                "`--freeze-with {chosen}` cannot freeze a container, because its engine owns the control group: take \
                 docker-pause or auto"
            ))),
            (Spec::Addr(_), _) => Err(Error::new(format!(
                "`--freeze-with {chosen}` cannot freeze a server that already runs: leave `--freeze-with` out, \
                 or give a command or an image"
            ))),
        }
    }
}

impl Setup {
    /// Makes sure that nothing listens on the port that the target will take: it would be judged in its place.
    ///
    /// # Errors
    /// If something does; the text names it.
    pub fn require_port(&self) -> Result<()> {
        match (self.port, &self.spec) {
            (Some(port), Spec::Command(_)) if self.freeze_with.machine().is_none() => target::require_free(port),
            _ => Ok(()),
        }
    }
}

/// How a start differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    /// Variables that override the usual ones.
    pub env: Vec<(String, String)>,
    /// The port to listen on in place of the usual one.
    pub port: Option<u16>,
    /// Whether the target is process 1 of a namespace.
    pub pid_one: bool,
    /// Whether the platform gives no credentials.
    pub no_credentials: bool,
}

/// One running target and the platform that calls it.
pub struct Instance {
    /// The target.
    pub target: Box<dyn Target>,
    /// The platform.
    pub platform: Platform,
    /// The time limits.
    pub limits: Limits,
    /// The port in the older variable, which the target may have taken.
    other_port: Option<u16>,
    /// Released after the target has ended: fields are dropped in order.
    port: Option<Port>,
    /// Where the target goes at the end, unless we ended it.
    morgue: Option<Arc<Morgue>>,
}

/// A target that nobody uses any more, so that one can still see whether it had ended by itself.
pub struct Remains {
    /// The target. Dropping it removes it.
    pub target: Box<dyn Target>,
    _port: Option<Port>,
}

/// The targets of one check that are not in use any more.
#[derive(Default)]
pub struct Morgue(Mutex<Vec<Remains>>);

impl Morgue {
    /// Takes targets in.
    pub fn give_back(&self, remains: Vec<Remains>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(remains);
    }

    /// Hands out all targets.
    pub fn take(&self) -> Vec<Remains> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(morgue) = self.morgue.take() else { return };
        let target = std::mem::replace(&mut self.target, target::placeholder());
        let remains = Remains { target, _port: self.port.take() };
        morgue.give_back(vec![remains]);
    }
}

impl Instance {
    /// Starts a target. It is not ready yet.
    ///
    /// # Errors
    /// If it could not even be started.
    pub fn start(setup: &Setup, variant: &Variant) -> Result<Self> {
        let (port, lock) = match (variant.port.or(setup.port), &setup.spec) {
            (Some(port), _) => {
                // A port that we chose ourselves is free.
                if variant.port.is_none() {
                    setup.require_port()?;
                }
                (port, None)
            }
            (None, Spec::Command(_)) if setup.machines.is_none() => {
                let port = Port::free()?;
                (port.number(), Some(port))
            }
            (None, _) => (PORT_DEFAULT, None),
        };
        let credentials = if variant.no_credentials { Credentials::Nowhere } else { setup.settings.credentials };
        let platform = Platform::new(Settings { credentials, ..setup.settings.clone() });
        let mut env = platform.env(port);
        env.extend(setup.env.iter().chain(&variant.env).cloned());
        let older = env.iter().rev().find(|(name, _)| name == PORT_NAMES[1]).and_then(|(_, port)| port.parse().ok());
        let launch = Launch {
            env,
            port,
            freeze_with: setup.freeze_with,
            machines: setup.machines.clone(),
            pid_one: variant.pid_one,
        };
        let target = target::launch(&setup.spec, &launch)?;
        Ok(Self { target, platform, limits: setup.limits, other_port: older, port: lock, morgue: None })
    }

    /// Gives the target to `morgue` at the end of this instance, unless we ask it to exit before.
    pub fn leave_to(mut self, morgue: &Arc<Morgue>) -> Self {
        self.morgue = Some(morgue.clone());
        self
    }

    /// Sends SIGTERM to the target.
    ///
    /// # Errors
    /// If it gets no signals, or has ended.
    pub fn terminate(&mut self) -> Result<()> {
        self.morgue = None;
        self.target.terminate()
    }

    /// Waits for an open port, as the start-up check of the platform does.
    pub fn wait_ready(&mut self) -> Ready {
        self.wait_ready_noting(&mut |_| ())
    }

    /// The same. `notice` gets a sentence as soon as the target listens elsewhere, though it may become ready yet.
    pub fn wait_ready_noting(&mut self, notice: &mut dyn FnMut(&str)) -> Ready {
        target::wait_ready(&mut *self.target, self.other_port, self.limits.ready, notice, &|| false)
    }

    /// The same, but it ends early if `cancelled` says so.
    pub fn wait_ready_unless(&mut self, cancelled: &dyn Fn() -> bool) -> Ready {
        target::wait_ready(&mut *self.target, self.other_port, self.limits.ready, &mut |_| (), cancelled)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the target does not accept it.
    pub fn conn(&self) -> std::result::Result<Conn, String> {
        Conn::open(self.target.addr(), self.call_deadline())
    }

    /// The deadline of a call that begins now.
    pub fn call_deadline(&self) -> Deadline {
        Deadline::after(self.limits.call)
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    /// If no whole answer arrives within the limit of a call.
    pub fn send(&self, request: &Request) -> std::result::Result<Response, String> {
        self.conn()?.exchange(&request.bytes(), self.call_deadline())
    }

    /// Calls a hook on a connection of its own.
    ///
    /// # Errors
    /// If no whole answer arrives within the limit of that hook.
    pub fn hook(&self, hook: Hook) -> std::result::Result<Response, String> {
        let deadline = Deadline::after(self.limits.of(hook));
        Conn::open(self.target.addr(), deadline)?.exchange(&self.platform.hook(hook).bytes(), deadline)
    }
}
