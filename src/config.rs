//! How an instance is configured: where it listens, its limits, its log markers.
//!
//! Values come from the environment, because that is what a platform can set on an image it does not know; the binary
//! puts its arguments over them. Must not open anything.

use crate::limits::Limits;
use crate::start_error::StartError;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Everything that can be set about a server without writing code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Default `0.0.0.0:9000` (C-START-1).
    pub listen: Listen,
    /// What is accepted from peers.
    pub limits: Limits,
    /// Whether `FC Invoke Start/End RequestId: …` is printed around calls (C-LOG-1). Default on. Those of hooks always
    /// are: they cost nothing between calls.
    pub call_markers: bool,
    /// As [`App::health_path`](crate::App::health_path), over it.
    pub health_path: Option<String>,
    /// As [`App::require_control_path`](crate::App::require_control_path), beside it: either asks for it.
    pub control_path_required: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Listen::default(),
            limits: Limits::default(),
            call_markers: true,
            health_path: None,
            control_path_required: false,
        }
    }
}

impl Config {
    /// What [`Config::set`] knows, each with the variable that sets it.
    pub const SETTINGS: [(&'static str, &'static str); 5] = [
        ("listen", "FC_HOOKS_LISTEN"),
        ("limit", "FC_HOOKS_LIMITS"),
        ("health-path", "FC_HOOKS_HEALTH_PATH"),
        ("require-control-path", "FC_HOOKS_REQUIRE_CONTROL_PATH"),
        ("log-markers", "FC_HOOKS_LOG_MARKERS"),
    ];

    /// Reads the environment.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `FC_CUSTOM_LISTEN_PORT`, else `FC_SERVER_PORT` | port on `0.0.0.0` (C-START-1) |
    /// | `FC_HOOKS_LISTEN` | `ADDR:PORT` or `unix:PATH`, over both |
    /// | `FC_HOOKS_LIMITS` | `name=value,…`, see [`Limits::NAMES`] |
    /// | `FC_HOOKS_LOG_MARKERS` | `off`: no log markers around calls; `on` |
    /// | `FC_HOOKS_HEALTH_PATH` | path of the health check (C-START-4) |
    /// | `FC_HOOKS_REQUIRE_CONTROL_PATH` | `on`: no hook without `x-fc-control-path`; `off` |
    ///
    /// An empty variable is one that is not set.
    ///
    /// # Errors
    /// A variable with a value that makes no sense, by name.
    pub fn from_env() -> Result<Config, StartError> {
        Config::from_lookup(&|name| std::env::var_os(name))
    }

    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Config, StartError> {
        let mut config = Config::default();
        let ports = ["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"].map(|variable| ("port", variable));
        let mut port_known = false;
        for (setting, variable) in ports.into_iter().chain(Config::SETTINGS) {
            let Some(value) = lookup(variable).filter(|value| !value.is_empty()) else { continue };
            if setting == "port" && std::mem::replace(&mut port_known, true) {
                continue; // the older name counts only where the newer is absent
            }
            let value = value.to_str().ok_or_else(|| StartError::about(variable, &"not UTF-8"))?;
            config.set(setting, value).map_err(|error| StartError::about(variable, &error))?;
        }
        Ok(config)
    }

    /// Sets one thing from text, as variables and options do.
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
    /// Nothing of that name in [`Config::SETTINGS`]; a value that makes no sense for it.
    pub fn set(&mut self, setting: &str, value: &str) -> Result<(), StartError> {
        match setting {
            "port" => {
                let port = value.parse().map_err(|_| StartError::quoting(value, "is not a port"))?;
                self.listen = Listen::Tcp(SocketAddr::new(ANY_ADDRESS, port));
            }
            "listen" => self.listen = value.parse()?,
            "limit" => self.limits.set_all(value).map_err(|error| StartError::new(error.to_string()))?,
            "health-path" => {
                if !value.starts_with('/') || value.contains(['?', '#', ' ']) {
                    return Err(StartError::quoting(value, "is not a path"));
                }
                if crate::function::path::check(value).is_err() {
                    return Err(StartError::quoting(value, "is a path of the platform's own calls"));
                }
                self.health_path = Some(value.to_owned());
            }
            "require-control-path" => self.control_path_required = switch(value)?,
            "log-markers" => self.call_markers = switch(value)?,
            unknown => return Err(StartError::quoting(unknown, "is no setting")),
        }
        Ok(())
    }
}

fn switch(value: &str) -> Result<bool, StartError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(StartError::quoting(other, "is neither on nor off")),
    }
}

const ANY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Where to listen.
///
/// ```
/// let tcp: fc_hooks::Listen = "127.0.0.1:0".parse().unwrap();
/// let unix: fc_hooks::Listen = "unix:/run/function.sock".parse().unwrap();
/// assert_eq!((tcp.to_string(), unix.to_string()), ("127.0.0.1:0".into(), "unix:/run/function.sock".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket. A socket file that nobody listens on any more is replaced.
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
        match text.strip_prefix("unix:") {
            Some("") => Err(StartError::quoting(text, "has no path")),
            Some(path) => Ok(Listen::Unix(path.into())),
            None => text
                .parse()
                .map(Listen::Tcp)
                .map_err(|_| StartError::quoting(text, "is neither ADDR:PORT (such as 0.0.0.0:9000) nor unix:PATH")),
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
    fn nonsense_is_named() {
        let cases = [
            ("FC_CUSTOM_LISTEN_PORT", "70000", "FC_CUSTOM_LISTEN_PORT: '70000' is not a port"),
            ("FC_SERVER_PORT", "http", "FC_SERVER_PORT: 'http' is not a port"),
            (
                "FC_HOOKS_LISTEN",
                "9000",
                "FC_HOOKS_LISTEN: '9000' is neither ADDR:PORT (such as 0.0.0.0:9000) nor unix:PATH",
            ),
            ("FC_HOOKS_LISTEN", "unix:", "FC_HOOKS_LISTEN: 'unix:' has no path"),
            ("FC_HOOKS_LIMITS", "x=1", "FC_HOOKS_LIMITS: no limit is called 'x'"),
            ("FC_HOOKS_LOG_MARKERS", "no", "FC_HOOKS_LOG_MARKERS: 'no' is neither on nor off"),
            ("FC_HOOKS_HEALTH_PATH", "healthz", "FC_HOOKS_HEALTH_PATH: 'healthz' is not a path"),
            (
                "FC_HOOKS_HEALTH_PATH",
                "/invoke",
                "FC_HOOKS_HEALTH_PATH: '/invoke' is a path of the platform's own calls",
            ),
        ];
        for (name, value, expected) in cases {
            assert_eq!(from(&[(name, value)]).unwrap_err(), expected);
        }
    }
}
