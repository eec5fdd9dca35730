//! How an instance is configured: where it listens, its limits, its log markers.
//!
//! The values come from the environment, because a platform can set variables for an image that it does not know. The
//! binary's options override them. Must not open anything.

use crate::function::path;
use crate::limits::{Limits, whole_number};
use crate::networks::Networks;
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
    /// The permissions of a Unix socket's file, such as `0o660`; on most systems a client needs to write to it. Default
    /// `None`: what the process's umask leaves of `0o777`.
    pub socket_mode: Option<u32>,
    /// What the server accepts from peers.
    pub limits: Limits,
    /// Whether the server prints `FC Invoke Start/End RequestId: …` around calls (C-LOG-1). Default true. It always
    /// prints those of hooks, which cost nothing between calls.
    pub call_markers: bool,
    /// Overrides [`App::health_path`](crate::App::health_path).
    pub health_path: Option<String>,
    /// Enabled if either this or [`App::require_control_path`](crate::App::require_control_path) is set.
    pub control_path_required: bool,
    /// The peers that may call hooks. Default `None`: all, because only the platform's gateway reaches the port of an
    /// instance. Wherever others can reach the port (Kubernetes, a published port), any of them could set the headers
    /// that say so, so limit hooks there: a hook call of another peer is answered with 404 `HookRefused`. Events and
    /// HTTP calls are not limited, nor are peers on a Unix socket.
    pub hooks_from: Option<Networks>,
    /// Whether a platform runs this instance that freezes instances without requests (C-FRZ-1): then a long idle gap is
    /// evidence of a freeze, see [`Limits::idle_thaw_time_min`]. Default false; [`Config::from_env`] sets it where the
    /// environment names the function.
    pub idle_means_frozen: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Listen::default(),
            socket_mode: None,
            limits: Limits::default(),
            call_markers: true,
            health_path: None,
            control_path_required: false,
            hooks_from: None,
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

    /// The environment variable that holds an event. If it is set and not empty, web server mode is off (C-JOB-2):
    /// [`run`](crate::run) handles the event and starts no server.
    pub const EVENT_VARIABLE: &'static str = variables::EVENT;

    /// Reads the environment, setting by setting.
    ///
    /// | variable | value | meaning |
    /// |---|---|---|
    /// | `FC_CUSTOM_LISTEN_PORT`, else `FC_SERVER_PORT`, else `_FAAS_RUNTIME_PORT`, else `PORT` | 1–65535 | the port |
    /// | `FC_HOOKS_LISTEN` | see [`Listen`] | address to listen on, instead of the port |
    /// | `FC_HOOKS_SOCKET_MODE` | octal, such as `0660` | permissions of a Unix socket |
    /// | `FC_HOOKS_LIMITS` | `NAME=VALUE,…` | limits, see [`Limits::NAMES`] |
    /// | `FC_HOOKS_HEALTH_PATH` | `PATH` | path of the health check (C-START-4) |
    /// | `FC_HOOKS_REQUIRE_CONTROL_PATH` | `on` or `off` | refuse hook calls without `x-fc-control-path` (C-DISP-4) |
    /// | `FC_HOOKS_HOOKS_FROM` | `loopback` or `ADDR/PREFIX`, … | the peers that may call hooks |
    /// | `FC_HOOKS_LOG_MARKERS` | `on` or `off` | print the log markers of events and HTTP calls (C-LOG-1) |
    ///
    /// An empty variable counts as not set. `FC_FUNCTION_MEMORY_SIZE` lowers the default of
    /// [`Limits::buffered_bytes_max`]. The port is that of every IPv4 address; the platform's own variables come first
    /// (C-START-1), then those of other platforms (C-DIA-2).
    ///
    /// # Errors
    /// A variable is not UTF-8 or has an invalid value. The error names the variable.
    // Out of line, so that what it needs is off the stack while the server serves.
    #[inline(never)]
    pub fn from_env() -> Result<Config, StartError> {
        Config::from_lookup(&|name| std::env::var_os(name))
    }

    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Config, StartError> {
        let is_set = |variable| lookup(variable).is_some_and(|value| !value.is_empty());
        let mut config = Config { idle_means_frozen: is_set(variables::FUNCTION_NAME), ..Config::default() };
        let memory_mb = lookup(variables::FUNCTION_MEMORY).and_then(|value| whole_number(value.to_str()?));
        if let Some(megabytes) = memory_mb {
            config.limits.fit_memory(megabytes);
        }
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

/// The name of a variable that has one of our names although no setting reads it: it is misspelt. `variable` is
/// `NAME=value`.
#[cold]
#[inline(never)]
pub(crate) fn misspelt(variable: &[u8]) -> Option<&str> {
    let end = variable.iter().position(|byte| *byte == b'=')?;
    let name = std::str::from_utf8(&variable[..end]).ok()?;
    let is_read = |setting: &Setting| setting.variables.contains(&name);
    (name.starts_with(variables::OURS) && !SETTINGS.iter().any(is_read)).then_some(name)
}

/// One row for each setting. Not a constant, which the library and the binary would each have a copy of.
static SETTINGS: [Setting; 8] = [
    Setting {
        name: "port",
        variables: variables::PORTS,
        value: "PORT",
        meaning: "port to listen on, of every IPv4 address",
        default: "9000",
        apply: |config, value| {
            // No platform could reach a port that the kernel has chosen.
            let port = port(value).filter(|port| *port > 0);
            let port = port.ok_or_else(|| StartError::expected("a port from 1 to 65535", value))?;
            config.listen = Listen::Tcp(SocketAddr::new(ANY_ADDRESS, port));
            Ok(())
        },
    },
    Setting {
        name: "listen",
        variables: &[variables::LISTEN],
        value: "[ADDR:]PORT|unix:PATH",
        meaning: "address to listen on, instead of the port; port 0 takes a free one",
        default: "",
        apply: |config, value| {
            config.listen = value.parse()?;
            Ok(())
        },
    },
    Setting {
        name: "socket-mode",
        variables: &[variables::SOCKET_MODE],
        value: "MODE",
        meaning: "permissions of the Unix socket, in octal",
        default: "by the umask",
        apply: |config, value| {
            let digit = |byte: u8| matches!(byte, b'0'..=b'7').then(|| u32::from(byte - b'0'));
            let mode = value.bytes().try_fold(0, |mode, byte| Some(mode << 3 | digit(byte)?).filter(|it| *it <= 0o777));
            let mode = mode.filter(|_| !value.is_empty());
            config.socket_mode = Some(mode.ok_or_else(|| StartError::expected("a mode such as 0660", value))?);
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
        name: "hooks-from",
        variables: &[variables::HOOKS_FROM],
        value: "loopback|ADDR/PREFIX,…",
        meaning: "peers that may call hooks; others get 404",
        default: "all",
        apply: |config, value| {
            config.hooks_from = Some(value.parse()?);
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

fn port(text: &str) -> Option<u16> {
    whole_number(text).and_then(|number| number.try_into().ok())
}

pub(crate) fn switch(value: &str) -> Result<bool, StartError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(StartError::expected("on or off", other)),
    }
}

const ANY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The address that a server listens on.
///
/// Its text is `ADDR:PORT`, `localhost:PORT` (IPv4), a port alone (every IPv4 address), or `unix:PATH`. Names of hosts
/// are not looked up. `[::]:PORT` takes IPv4 clients as well, where the kernel does so by default.
///
/// ```
/// let listen = |text: &str| text.parse().map(|listen: fc_hooks::Listen| listen.to_string());
/// assert_eq!(listen("127.0.0.1:0")?, "127.0.0.1:0");
/// assert_eq!(listen("localhost:9001")?, "127.0.0.1:9001");
/// assert_eq!(listen("9000")?, "0.0.0.0:9000");
/// assert_eq!(listen("unix:/run/function.sock")?, "unix:/run/function.sock");
/// # Ok::<(), fc_hooks::StartError>(())
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
        let error = || StartError::expected("[ADDR:]PORT (such as 0.0.0.0:9000) or unix:PATH", text);
        match text.strip_prefix("unix:") {
            Some("") => return Err(error()),
            Some(path) => return Ok(Listen::Unix(path.into())),
            None => {}
        }
        if let Ok(address) = text.parse() {
            return Ok(Listen::Tcp(address));
        }
        let (host, port) = match text.strip_prefix("localhost:") {
            Some(port) => (Ipv4Addr::LOCALHOST, port),
            None => (Ipv4Addr::UNSPECIFIED, text.strip_prefix(':').unwrap_or(text)),
        };
        Ok(Listen::Tcp(SocketAddr::new(host.into(), self::port(port).ok_or_else(error)?)))
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
        let cases: [(&[(&str, &str)], &str); 14] = [
            (&[], "0.0.0.0:9000"),
            (&[("FC_SERVER_PORT", "8080")], "0.0.0.0:8080"),
            (&[("FC_CUSTOM_LISTEN_PORT", "8081"), ("FC_SERVER_PORT", "8080")], "0.0.0.0:8081"),
            (&[("FC_CUSTOM_LISTEN_PORT", ""), ("FC_SERVER_PORT", "8080")], "0.0.0.0:8080"),
            (&[("FC_CUSTOM_LISTEN_PORT", "8081"), ("FC_SERVER_PORT", "old")], "0.0.0.0:8081"),
            (&[("FC_HOOKS_LISTEN", "[::1]:0"), ("FC_SERVER_PORT", "8080")], "[::1]:0"),
            (&[("FC_HOOKS_LISTEN", "unix:/a")], "unix:/a"),
            (&[("PORT", "8082")], "0.0.0.0:8082"),
            (&[("PORT", "8082"), ("_FAAS_RUNTIME_PORT", "8083")], "0.0.0.0:8083"),
            (&[("PORT", "8082"), ("_FAAS_RUNTIME_PORT", "8083"), ("FC_SERVER_PORT", "8080")], "0.0.0.0:8080"),
            (&[("FC_HOOKS_LISTEN", "9001")], "0.0.0.0:9001"),
            (&[("FC_HOOKS_LISTEN", ":9001")], "0.0.0.0:9001"),
            (&[("FC_HOOKS_LISTEN", "localhost:9001")], "127.0.0.1:9001"),
            (&[("FC_HOOKS_LISTEN", "[::]:9000")], "[::]:9000"),
        ];
        for (pairs, expected) in cases {
            assert_eq!(from(pairs).unwrap().listen.to_string(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn errors_name_variable_and_cause() {
        let cases = [
            ("FC_CUSTOM_LISTEN_PORT", "70000", "FC_CUSTOM_LISTEN_PORT: expected a port from 1 to 65535, not '70000'"),
            ("FC_SERVER_PORT", "http", "FC_SERVER_PORT: expected a port from 1 to 65535, not 'http'"),
            ("FC_SERVER_PORT", "0", "FC_SERVER_PORT: expected a port from 1 to 65535, not '0'"),
            (
                "FC_HOOKS_LISTEN",
                "example.org:80",
                "FC_HOOKS_LISTEN: expected [ADDR:]PORT (such as 0.0.0.0:9000) or unix:PATH, not 'example.org:80'",
            ),
            (
                "FC_HOOKS_LISTEN",
                "unix:",
                "FC_HOOKS_LISTEN: expected [ADDR:]PORT (such as 0.0.0.0:9000) or unix:PATH, not 'unix:'",
            ),
            ("FC_HOOKS_SOCKET_MODE", "0o660", "FC_HOOKS_SOCKET_MODE: expected a mode such as 0660, not '0o660'"),
            ("FC_HOOKS_SOCKET_MODE", "1000", "FC_HOOKS_SOCKET_MODE: expected a mode such as 0660, not '1000'"),
            (
                "FC_HOOKS_HOOKS_FROM",
                "nobody",
                "FC_HOOKS_HOOKS_FROM: expected loopback, ADDR or ADDR/PREFIX, with commas between them, not 'nobody'",
            ),
            (
                "FC_HOOKS_HEALTH_PATH",
                "/a\u{1}",
                "FC_HOOKS_HEALTH_PATH: '/a\u{1}': the path holds a blank, '?', '#', a control character or a character \
                 beyond ASCII",
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

    #[test]
    fn the_mode_of_a_socket() {
        for (text, mode) in [("0660", 0o660), ("777", 0o777), ("0", 0)] {
            assert_eq!(from(&[("FC_HOOKS_SOCKET_MODE", text)]).unwrap().socket_mode, Some(mode));
        }
        assert_eq!(from(&[]).unwrap().socket_mode, None);
    }

    /// Three of the largest requests at once must not end an instance of 128 MB.
    #[test]
    fn the_budget_of_memory_follows_the_instance() {
        const MIB: usize = 1 << 20;
        for (memory, expected) in [("128", 32 * MIB), ("512", 128 * MIB), ("2048", 256 * MIB), ("", 256 * MIB)] {
            let limits = from(&[("FC_FUNCTION_MEMORY_SIZE", memory)]).unwrap().limits;
            assert_eq!(limits.buffered_bytes_max, expected, "{memory}");
        }
        let small = from(&[("FC_FUNCTION_MEMORY_SIZE", "64")]).unwrap().limits;
        assert_eq!(small.buffered_bytes_allowed(), small.body_bytes_max + small.head_bytes_max, "one request, always");
        let set = [("FC_FUNCTION_MEMORY_SIZE", "128"), ("FC_HOOKS_LIMITS", "buffered_bytes_max=70000000")];
        assert_eq!(from(&set).unwrap().limits.buffered_bytes_max, 70_000_000, "who sets it decides");
        assert!(from(&[("FC_FUNCTION_MEMORY_SIZE", "much")]).is_ok(), "the platform's own variable is no mistake");
    }

    #[test]
    fn misspelt_names() {
        for name in ["FC_HOOKS_LIMIT", "FC_HOOKS_", "FC_HOOKS_LISTENS", "FC_HOOKS_listen"] {
            assert_eq!(misspelt(format!("{name}=1=2").as_bytes()), Some(name));
        }
        for name in ["FC_HOOKS_LIMITS", "FC_HOOKS_LISTEN", "FC_HOOKS", "FC_FUNCTION_NAME", "PORT", "fc_hooks_x"] {
            assert_eq!(misspelt(format!("{name}=1").as_bytes()), None);
        }
    }
}
