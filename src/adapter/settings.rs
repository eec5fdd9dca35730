//! The settings of the adapter, as values.

use crate::config::Listen;
use crate::function::per_hook::PerHook;
use crate::platform::hooks::Hook;
use std::ffi::CString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the adapter treats its program. `Settings::ROWS` has one row for each setting that a user can change.
pub struct Settings {
    /// Where the program listens. With port 0 the adapter chooses a free port and tells it to the program.
    pub(crate) program: Listen,
    /// The path of events at the program, if it is not the platform's.
    pub(crate) event_path: Option<String>,
    pub(crate) hooks: PerHook<Option<Action>>,
    pub(crate) on_thaw: Option<Action>,
    /// The statuses of the program that make a call a failed one (C-INV-3).
    pub(crate) fail_on: Statuses,
    /// The program gets no secret in the headers of its requests.
    pub(crate) withhold_secrets: bool,
    /// A command of a hook gets the credentials in its environment.
    pub(crate) command_secrets: bool,
    pub(crate) ready: Ready,
    /// The adapter listens at once; the initializer and the calls wait for the program.
    pub(crate) early: bool,
    pub(crate) ready_time_max: Duration,
    /// For hooks whose request names no time limit.
    pub(crate) hook_time_max: Duration,
    /// From SIGTERM to SIGKILL.
    pub(crate) kill_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            program: Listen::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
            event_path: None,
            hooks: PerHook::none(),
            on_thaw: None,
            fail_on: Statuses(vec![(500, 599)]),
            withhold_secrets: false,
            command_secrets: false,
            ready: Ready::Connect,
            early: false,
            ready_time_max: Duration::from_secs(120),
            hook_time_max: Duration::from_secs(60),
            kill_time_max: Duration::from_secs(5),
        }
    }
}

impl Settings {
    pub(crate) fn hook(&self, hook: Hook) -> Option<&Action> {
        self.hooks.get(hook).as_ref()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("program", &self.program).finish_non_exhaustive()
    }
}

/// The meaning of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A request to the program.
    Request { method: String, path: String },
    /// A program of its own, and its arguments. There is at least one word.
    Command(Vec<CString>),
}

/// How the adapter learns that the program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It accepts a connection.
    Connect,
    /// It answers a request with one of these statuses.
    Request { method: String, path: String, statuses: Statuses },
}

/// Ranges of statuses, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses(pub(crate) Vec<(u16, u16)>);

impl Statuses {
    pub(crate) fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}
