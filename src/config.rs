//! How an instance is configured: where it listens, its limits, its log markers.
//!
//! The values come from the environment, because a platform can set variables for an image that it does not know. The
//! binary's options override them. Must not open anything.

use crate::function::path;
use crate::limits::Limits;
use crate::platform::variables;
use crate::start_error::StartError;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The configuration of a server: everything about it that can be set without writing code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on. Default `0.0.0.0:9000` (C-START-1).
    pub listen: Listen,
    /// What the server accepts from peers.
    pub limits: Limits,
    /// Whether the server prints `FC Invoke Start/End RequestId: …` around calls (C-LOG-1). Default true. It always
    /// prints those of hooks, which cost nothing between calls.
    pub call_markers: bool,
    /// Overrides [`App::health_path`](crate::App::health_path).
    pub health_path: Option<String>,
    /// Enabled if either this or [`App::require_control_path`](crate::App::require_control_path) is set.
    pub control_path_required: bool,
    /// Whether a platform runs this instance that freezes instances without requests (C-FRZ-1): then a long idle gap is
    /// evidence of a freeze, see [`Limits::idle_thaw_time_min`]. Default false; [`Config::from_env`] sets it where the
    /// environment names the function.
    pub idle_means_frozen: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Listen::default(),
            limits: Limits::default(),
            call_markers: true,
            health_path: None,
            control_path_required: false,
            idle_means_frozen: false,
        }
    }
}

/// One setting that [`Config::set`] knows.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Setting {
    /// Its name, which is also the binary's option: `listen` for `--listen`.
    pub name: &'static str,
    /// The environment variables that set it, in the order in which they count: one is read only if those before it
    /// are not set.
    pub variables: &'static [&'static str],
    /// The form of the value. The binary's option takes none if this is empty: it stands for `on`.
    pub value: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// The value if nothing sets it.
    pub default: &'static str,
    apply: fn(&mut Config, &str) -> Result<(), StartError>,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).field("variables", &self.variables).finish_non_exhaustive()
    }
}

impl Config {
    /// Every setting, in the order in which the environment is read: a later one overrides an earlier one.
    pub const SETTINGS: &'static [Setting] = &SETTINGS;

    /// The environment variable that holds an event. If it is set, web server mode is off (C-JOB-2):
    /// [`run`](crate::run) handles the event and starts no server.
    pub const EVENT_VARIABLE: &'static str = variables::EVENT;

    /// Reads the environment, setting by setting.
    ///
    /// | variable | value | meaning |
    /// |---|---|---|
    /// | `FC_CUSTOM_LISTEN_PORT`, else `FC_SERVER_PORT` | `PORT` | port on every IPv4 address (C-START-1) |
    /// | `FC_HOOKS_LISTEN` | `ADDR:PORT` or `unix:PATH` | address to listen on, instead of the port |
    /// | `FC_HOOKS_LIMITS` | `NAME=VALUE,…` | limits, see [`Limits::NAMES`] |
    /// | `FC_HOOKS_HEALTH_PATH` | `PATH` | path of the health check (C-START-4) |
    /// | `FC_HOOKS_REQUIRE_CONTROL_PATH` | `on` or `off` | refuse hook calls without `x-fc-control-path` (C-DISP-4) |
    /// | `FC_HOOKS_LOG_MARKERS` | `on` or `off` | print the log markers of events and HTTP calls (C-LOG-1) |
    ///
    /// An empty variable counts as not set.
    ///
    /// # Errors
    /// A variable is not UTF-8 or has an invalid value. The error names the variable.
    pub fn from_env() -> Result<Config, StartError> {
        Config::from_lookup(&|name| std::env::var_os(name))
    }

    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Config, StartError> {
        let is_set = |variable| lookup(variable).is_some_and(|value| !value.is_empty());
        let mut config = Config { idle_means_frozen: is_set(variables::FUNCTION_NAME), ..Config::default() };
        for setting in Config::SETTINGS {
            for variable in setting.variables {
                let Some(value) = lookup(variable).filter(|value| !value.is_empty()) else { continue };
                let value = value.to_str().ok_or_else(|| StartError::about(variable, &"not UTF-8"))?;
                (setting.apply)(&mut config, value).map_err(|error| error.of(variable))?;
                break;
            }
        }
        Ok(config)
    }

    /// Changes one setting, from the text that a variable or an option holds.
    ///
    /// ```
    /// let mut config = fc_hooks::Config::default();
    /// config.set("listen", "127.0.0.1:0")?;
    /// config.set("limit", "body_bytes_max=1048576,headers_max=64")?;
    /// config.set("log-markers", "off")?;
    /// # Ok::<(), fc_hooks::StartError>(())
    /// ```
    ///
    /// # Errors
    /// [`Config::SETTINGS`] has no setting of that name; the value is invalid.
    pub fn set(&mut self, setting: &str, value: &str) -> Result<(), StartError> {
        match Config::SETTINGS.iter().find(|known| known.name == setting) {
            Some(known) => (known.apply)(self, value),
            None => Err(StartError::about("unknown setting", &setting)),
        }
    }
}

/// One row for each setting. Not a constant, which the library and the binary would each have a copy of.
static SETTINGS: [Setting; 6] = [
    Setting {
        name: "port",
        variables: variables::PORTS,
        value: "PORT",
        meaning: "port to listen on, of every IPv4 address",
        default: "9000",
        apply: |config, value| {
            let error = |_| StartError::expected("a port from 0 to 65535", value);
            config.listen = Listen::Tcp(SocketAddr::new(ANY_ADDRESS, value.parse().map_err(error)?));
            Ok(())
        },
    },
    Setting {
        name: "listen",
        variables: &[variables::LISTEN],
        value: "ADDR:PORT|unix:PATH",
        meaning: "address to listen on, instead of the port; port 0 takes a free one",
        default: "",
        apply: |config, value| {
            config.listen = value.parse()?;
            Ok(())
        },
    },
    Setting {
        name: "limit",
        variables: &[variables::LIMITS],
        value: "NAME=VALUE,…",
        meaning: "limits on what peers can send and use; `--limit help` lists them",
        default: "",
        apply: |config, value| Ok(config.limits.set_all(value)?),
    },
    Setting {
        name: "health-path",
        variables: &[variables::HEALTH_PATH],
        value: "PATH",
        meaning: "answer GET of this path with 200, without waking the function",
        default: "none",
        apply: |config, value| {
            path::check(value).map_err(|error| StartError::invalid(value, &error))?;
            config.health_path = Some(value.to_owned());
            Ok(())
        },
    },
    Setting {
        name: "require-control-path",
        variables: &[variables::REQUIRE_CONTROL_PATH],
        value: "",
        meaning: "refuse hook calls that have no control path",
        default: "off",
        apply: |config, value| {
            config.control_path_required = switch(value)?;
            Ok(())
        },
    },
    Setting {
        name: "log-markers",
        variables: &[variables::LOG_MARKERS],
        value: "on|off",
        meaning: "print the log markers of events and HTTP calls",
        default: "on",
        apply: |config, value| {
            config.call_markers = switch(value)?;
            Ok(())
        },
    },
];

fn switch(value: &str) -> Result<bool, StartError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(StartError::expected("on or off", other)),
    }
}

const ANY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The address that a server listens on.
///
/// ```
/// let tcp: fc_hooks::Listen = "127.0.0.1:0".parse().unwrap();
/// let unix: fc_hooks::Listen = "unix:/run/function.sock".parse().unwrap();
/// assert_eq!((tcp.to_string(), unix.to_string()), ("127.0.0.1:0".into(), "unix:/run/function.sock".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket. A socket file that no process listens on is replaced.
    Unix(PathBuf),
}

impl Default for Listen {
    fn default() -> Listen {
        Listen::Tcp(SocketAddr::new(ANY_ADDRESS, 9000))
    }
}

impl FromStr for Listen {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Listen, StartError> {
        let error = || StartError::expected("ADDR:PORT (such as 0.0.0.0:9000) or unix:PATH", text);
        match text.strip_prefix("unix:") {
            Some("") => Err(error()),
            Some(path) => Ok(Listen::Unix(path.into())),
            None => text.parse().map(Listen::Tcp).map_err(|_| error()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Config::from_lookup(&lookup).map_err(|error| error.to_string())
    }

    /// C-START-1: the documented name, else the older one, else 9000.
    #[test]
    fn where_to_listen() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "0.0.0.0:9000"),
            (&[("FC_SERVER_PORT", "8080")], "0.0.0.0:8080"),
            (&[("FC_CUSTOM_LISTEN_PORT", "8081"), ("FC_SERVER_PORT", "8080")], "0.0.0.0:8081"),
            (&[("FC_CUSTOM_LISTEN_PORT", ""), ("FC_SERVER_PORT", "8080")], "0.0.0.0:8080"),
            (&[("FC_CUSTOM_LISTEN_PORT", "8081"), ("FC_SERVER_PORT", "old")], "0.0.0.0:8081"),
            (&[("FC_HOOKS_LISTEN", "[::1]:0"), ("FC_SERVER_PORT", "8080")], "[::1]:0"),
            (&[("FC_HOOKS_LISTEN", "unix:/a")], "unix:/a"),
        ];
        for (pairs, expected) in cases {
            assert_eq!(from(pairs).unwrap().listen.to_string(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn errors_name_variable_and_cause() {
        let cases = [
            ("FC_CUSTOM_LISTEN_PORT", "70000", "FC_CUSTOM_LISTEN_PORT: expected a port from 0 to 65535, not '70000'"),
            ("FC_SERVER_PORT", "http", "FC_SERVER_PORT: expected a port from 0 to 65535, not 'http'"),
            (
                "FC_HOOKS_LISTEN",
                "9000",
                "FC_HOOKS_LISTEN: expected ADDR:PORT (such as 0.0.0.0:9000) or unix:PATH, not '9000'",
            ),
            (
                "FC_HOOKS_LISTEN",
                "unix:",
                "FC_HOOKS_LISTEN: expected ADDR:PORT (such as 0.0.0.0:9000) or unix:PATH, not 'unix:'",
            ),
            ("FC_HOOKS_LIMITS", "x=1", "FC_HOOKS_LIMITS: unknown limit 'x'"),
            ("FC_HOOKS_LOG_MARKERS", "no", "FC_HOOKS_LOG_MARKERS: expected on or off, not 'no'"),
            ("FC_HOOKS_HEALTH_PATH", "healthz", "FC_HOOKS_HEALTH_PATH: 'healthz': the path does not begin with '/'"),
            (
                "FC_HOOKS_HEALTH_PATH",
                "/invoke",
                "FC_HOOKS_HEALTH_PATH: '/invoke': the path belongs to events; only Route::invoke can serve it",
            ),
        ];
        for (name, value, expected) in cases {
            assert_eq!(from(&[(name, value)]).unwrap_err(), expected);
        }
    }
}
