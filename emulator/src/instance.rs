//! One instance in the emulator: a target, the platform that calls it, and the limits.
//!
//! What `run` and `check` have in common. Starts and calls; judges nothing.

use std::time::Duration;

use crate::clock::Deadline;
use crate::error::Result;
use crate::freezer::FreezeMethod;
use crate::http::{Conn, Response};
use crate::platform::{Hook, Platform, Request, Settings};
use crate::target::{self, Launch, PORT_DEFAULT, Port, Ready, Spec, Target};

/// How long each thing may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From start to an open port.
    pub ready: Duration,
    /// The initializer.
    pub initialize: Duration,
    /// One call.
    pub call: Duration,
    /// The pre-freeze hook.
    pub pre_freeze: Duration,
    /// The pre-stop hook.
    pub pre_stop: Duration,
    /// From SIGTERM to the exit.
    pub term: Duration,
}

impl Limits {
    /// The limit of a hook.
    pub fn of(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Initialize => self.initialize,
            Hook::PreFreeze => self.pre_freeze,
            Hook::PreStop => self.pre_stop,
        }
    }
}

/// What is started, and how it is treated.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The target.
    pub spec: Spec,
    /// The platform.
    pub settings: Settings,
    /// How processes are frozen.
    pub freeze_method: FreezeMethod,
    /// A fixed port, for a target that cannot be told one.
    pub port: Option<u16>,
    /// Further variables for the target.
    pub env: Vec<(String, String)>,
    /// The limits.
    pub limits: Limits,
}

/// Departures from the usual start.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    /// Variables set after the usual ones, so they win.
    pub env: Vec<(String, String)>,
    /// Listen here, whatever the usual choice.
    pub port: Option<u16>,
    /// As process 1 of a namespace.
    pub pid_one: bool,
}

/// One running target under one platform.
pub struct Instance {
    /// The target.
    pub target: Box<dyn Target>,
    /// The platform that calls it.
    pub platform: Platform,
    /// The limits.
    pub limits: Limits,
    /// Given back after the target is gone: fields are dropped in order.
    _port: Option<Port>,
}

impl Instance {
    /// Starts a target; it is not ready yet.
    ///
    /// # Errors
    /// When it could not even be started.
    pub fn start(setup: &Setup, variant: &Variant) -> Result<Self> {
        let (port, lock) = match (variant.port.or(setup.port), &setup.spec) {
            (Some(port), _) => (port, None),
            (None, Spec::Command(_)) => {
                let port = Port::free()?;
                (port.number(), Some(port))
            }
            (None, _) => (PORT_DEFAULT, None),
        };
        let platform = Platform::new(setup.settings.clone());
        let mut env = platform.env(port);
        env.extend(setup.env.iter().chain(&variant.env).cloned());
        let launch = Launch { env, port, freeze_method: setup.freeze_method, pid_one: variant.pid_one };
        let target = target::launch(&setup.spec, &launch)?;
        Ok(Self { target, platform, limits: setup.limits, _port: lock })
    }

    /// Waits as the platform's start-up check does.
    pub fn wait_ready(&mut self) -> Ready {
        target::wait_ready(&mut *self.target, Deadline::after(self.limits.ready))
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody accepts it.
    pub fn conn(&self) -> std::result::Result<Conn, String> {
        Conn::open(self.target.addr(), self.call_deadline())
    }

    /// When a call that begins now must be answered.
    pub fn call_deadline(&self) -> Deadline {
        Deadline::after(self.limits.call)
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    /// When no whole answer comes within the limit of a call.
    pub fn send(&self, request: &Request) -> std::result::Result<Response, String> {
        self.conn()?.exchange(&request.bytes(), self.call_deadline())
    }

    /// Calls a hook on a connection of its own.
    ///
    /// # Errors
    /// When no whole answer comes within the limit of that hook.
    pub fn hook(&self, hook: Hook) -> std::result::Result<Response, String> {
        let deadline = Deadline::after(self.limits.of(hook));
        Conn::open(self.target.addr(), deadline)?.exchange(&self.platform.hook(hook).bytes(), deadline)
    }
}
