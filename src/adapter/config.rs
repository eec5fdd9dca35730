//! The settings of the adapter, from variables and options: one row for each. Pure.

use crate::adapter::settings::{Action, Ready, Settings, Statuses};
use crate::adapter::words;
use crate::config::{Config, Listen, switch};
use crate::http1::is_token_byte;
use crate::limits::{next_entry, whole_number};
use crate::platform::hooks::Hook;
use crate::platform::variables::adapter as variables;
use crate::start_error::StartError;
use std::ffi::{CString, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// One setting of the adapter: a variable, and an option of the binary.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct AdapterSetting {
    /// Its name, which is also the binary's option: `pre-stop` for `--pre-stop`.
    pub name: &'static str,
    /// The environment variable that sets it.
    pub variable: &'static str,
    /// The form of the value. The binary's option takes none if this is empty: it stands for `on`.
    pub value: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// The value if nothing sets it.
    pub default: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), StartError>,
}

impl fmt::Debug for AdapterSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterSetting").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Settings {
    /// Every setting of the adapter.
    pub const ROWS: &'static [AdapterSetting] = &ROWS;

    /// Reads the environment. An empty variable counts as not set.
    ///
    /// # Errors
    /// A variable is not UTF-8 or has an invalid value. The error names the variable.
    pub fn from_env() -> Result<Settings, StartError> {
        Settings::from_lookup(&|name| std::env::var_os(name))
    }

    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, StartError> {
        let mut settings = Settings::default();
        for row in Settings::ROWS {
            let Some(value) = lookup(row.variable).filter(|value| !value.is_empty()) else { continue };
            let value = value.to_str().ok_or_else(|| StartError::about(row.variable, &"not UTF-8"))?;
            (row.apply)(&mut settings, value).map_err(|error| error.of(row.variable))?;
        }
        Ok(settings)
    }

    /// Changes one setting, from the text that a variable or an option holds.
    ///
    /// # Errors
    /// [`Settings::ROWS`] has no setting of that name; the value is invalid.
    pub fn set(&mut self, setting: &str, value: &str) -> Result<(), StartError> {
        match Settings::ROWS.iter().find(|known| known.name == setting) {
            Some(known) => (known.apply)(self, value),
            None => Err(StartError::about("unknown setting", &setting)),
        }
    }

    /// Whether these settings fit the server's.
    pub(crate) fn check(&self, config: &Config) -> Result<(), StartError> {
        let clash = match (&self.program, &config.listen) {
            (Listen::Tcp(program), Listen::Tcp(own)) => {
                // A listener on every address of IPv6 takes clients of IPv4 as well.
                let same_address = program.ip() == own.ip() || own.ip().is_unspecified();
                program.port() == own.port() && own.port() != 0 && same_address
            }
            // Not as paths: comparing these part by part would be a kilobyte, and no spelling is safe.
            (Listen::Unix(program), Listen::Unix(own)) => program.as_os_str() == own.as_os_str(),
            _ => false,
        };
        if clash {
            let cause = "the adapter listens there, so the program cannot";
            return Err(StartError::invalid(&self.program.to_string(), &cause).of(variables::APP));
        }
        Ok(())
    }
}

/// Whether a row has this variable.
pub(crate) fn is_setting(variable: &str) -> bool {
    ROWS.iter().any(|row| row.variable == variable)
}

const ACTION: &str = "METHOD /PATH|exec: COMMAND";

/// One row for each setting. Not a constant, which the library and the binary would each have a copy of.
static ROWS: [AdapterSetting; 13] = [
    AdapterSetting {
        name: "initialize",
        variable: variables::HOOK_INITIALIZE,
        value: ACTION,
        meaning: "the initializer: a request to the program, or a command",
        default: "answer 200",
        apply: |settings, value| set_action(settings.hooks.get_mut(Hook::Initialize), value),
    },
    AdapterSetting {
        name: "pre-freeze",
        variable: variables::HOOK_PRE_FREEZE,
        value: ACTION,
        meaning: "before each freeze that the platform announces",
        default: "answer 200",
        apply: |settings, value| set_action(settings.hooks.get_mut(Hook::PreFreeze), value),
    },
    AdapterSetting {
        name: "pre-stop",
        variable: variables::HOOK_PRE_STOP,
        value: ACTION,
        meaning: "before the end of the instance; SIGTERM runs it too",
        default: "answer 200",
        apply: |settings, value| set_action(settings.hooks.get_mut(Hook::PreStop), value),
    },
    AdapterSetting {
        name: "on-thaw",
        variable: variables::ON_THAW,
        value: ACTION,
        meaning: "before the first request after a freeze",
        default: "none",
        apply: |settings, value| set_action(&mut settings.on_thaw, value),
    },
    AdapterSetting {
        name: "app",
        variable: variables::APP,
        value: "[HOST:]PORT|unix:PATH",
        meaning: "where the program listens",
        default: "a free port, told to the program by PORT",
        apply: |settings, value| {
            settings.program = program_address(value)?;
            Ok(())
        },
    },
    AdapterSetting {
        name: "event-path",
        variable: variables::EVENT_PATH,
        value: "/PATH",
        meaning: "path of events at the program",
        default: "the platform's",
        apply: |settings, value| {
            let path = path(value).ok_or_else(|| StartError::expected("a path such as /events", value))?;
            settings.event_path = Some(path.to_owned());
            Ok(())
        },
    },
    AdapterSetting {
        name: "fail-on",
        variable: variables::FAIL_ON,
        value: "STATUS[-STATUS],…|none",
        meaning: "statuses of the program that make a call a failed one",
        default: "500-599",
        apply: |settings, value| {
            let none = || (value == "none").then(|| Statuses(Vec::new()));
            let expected = || StartError::expected("statuses such as 404,500-599, or none", value);
            settings.fail_on = none().or_else(|| statuses(value)).ok_or_else(expected)?;
            Ok(())
        },
    },
    AdapterSetting {
        name: "ready",
        variable: variables::READY,
        value: "port|METHOD /PATH [STATUS-STATUS,…]|early",
        meaning: "when to listen: the program listens, it answers this request, or at once",
        default: "port",
        apply: set_ready,
    },
    AdapterSetting {
        name: "ready-timeout",
        variable: variables::READY_TIMEOUT,
        value: TIME,
        meaning: "a program that is not ready by then is ended",
        default: "120s",
        apply: |settings, value| set_time(&mut settings.ready_time_max, value),
    },
    AdapterSetting {
        name: "hook-timeout",
        variable: variables::HOOK_TIMEOUT,
        value: TIME,
        meaning: "time limit of a hook where the platform names none",
        default: "60s",
        apply: |settings, value| set_time(&mut settings.hook_time_max, value),
    },
    AdapterSetting {
        name: "stop-timeout",
        variable: variables::STOP_TIMEOUT,
        value: TIME,
        meaning: "from the program's SIGTERM to its SIGKILL",
        default: "5s",
        apply: |settings, value| set_time(&mut settings.kill_time_max, value),
    },
    AdapterSetting {
        name: "withhold-secrets",
        variable: variables::WITHHOLD_SECRETS,
        value: "",
        meaning: "do not pass the secrets in headers on to the program",
        default: "off",
        apply: |settings, value| {
            settings.withhold_secrets = switch(value)?;
            Ok(())
        },
    },
    AdapterSetting {
        name: "command-secrets",
        variable: variables::COMMAND_SECRETS,
        value: "",
        meaning: "give commands of hooks the credentials, in their environment",
        default: "off",
        apply: |settings, value| {
            settings.command_secrets = switch(value)?;
            Ok(())
        },
    },
];

const TIME: &str = "TIME";

fn set_action(action: &mut Option<Action>, value: &str) -> Result<(), StartError> {
    let Some(line) = value.strip_prefix("exec:") else {
        let request = request(value).map(|(method, path)| Action::Request { method, path });
        let expected = || StartError::expected("METHOD /PATH (such as POST /warm-up) or exec: COMMAND", value);
        *action = Some(request.ok_or_else(expected)?);
        return Ok(());
    };
    let words = words::split(line).map_err(|error| StartError::invalid(value, &error))?;
    // Variables and arguments hold no zero byte; a caller of `Settings::set` may give one.
    let words = words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    *action = Some(Action::Command(words.map_err(|_| StartError::invalid(value, &"it holds a zero byte"))?));
    Ok(())
}

fn set_ready(settings: &mut Settings, value: &str) -> Result<(), StartError> {
    let (early, rest) = match value.strip_prefix("early") {
        Some("") => (true, "port"),
        Some(rest) if rest.starts_with(' ') => (true, rest.trim_start()),
        _ => (false, value),
    };
    let ready = if rest == "port" {
        Some(Ready::Connect)
    } else {
        let behind = rest.bytes().enumerate().filter(|(_, byte)| *byte == b' ').nth(1).map(|(at, _)| at);
        let head = request(&rest[..behind.unwrap_or(rest.len())]);
        let statuses = behind.map_or(Some(Statuses(vec![(200, 399)])), |at| statuses(rest[at..].trim()));
        head.zip(statuses).map(|((method, path), statuses)| Ready::Request { method, path, statuses })
    };
    let expected = "port, METHOD /PATH [STATUS-STATUS,…] (such as GET /healthz 200-299) or early";
    settings.ready = ready.ok_or_else(|| StartError::expected(expected, value))?;
    settings.early = early;
    Ok(())
}

/// `METHOD /PATH`. Methods of lower case exist (RFC 9110 §9.1), but here they are mistakes.
pub(super) fn request(text: &str) -> Option<(String, String)> {
    let (method, target) = text.split_once(' ')?;
    let is_method = |byte: u8| is_token_byte(byte) && !byte.is_ascii_lowercase();
    let is_sound = !method.is_empty() && method.bytes().all(is_method) && method != "CONNECT";
    is_sound.then_some((method.to_owned(), path(target.trim())?.to_owned()))
}

/// A path, with a query or without.
fn path(text: &str) -> Option<&str> {
    let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    (text.starts_with('/') && text.bytes().all(is_sound)).then_some(text)
}

/// `404`, `500-599`, with commas between them.
fn statuses(list: &str) -> Option<Statuses> {
    let status = |text: &str| whole_number(text).filter(|status| (100..=999).contains(status));
    let (mut ranges, mut rest) = (Vec::new(), Some(list));
    while let Some(entry) = next_entry(&mut rest) {
        let dash = entry.bytes().position(|byte| byte == b'-');
        let first = status(&entry[..dash.unwrap_or(entry.len())])?;
        let last = dash.map_or(Some(first), |at| status(&entry[at + 1..]))?;
        if last < first {
            return None;
        }
        ranges.push((first as u16, last as u16));
    }
    Some(Statuses(ranges))
}

/// The address of the program. It is in the same container, so a port alone is that of loopback.
fn program_address(text: &str) -> Result<Listen, StartError> {
    let expected = || StartError::expected("[HOST:]PORT (such as 127.0.0.1:8080) or unix:PATH", text);
    let address = match text.parse().map_err(|_| expected())? {
        Listen::Tcp(address) => address,
        socket => return Ok(socket),
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    if address.port() == 0 { Err(expected()) } else { Ok(Listen::Tcp(SocketAddr::new(ip, address.port()))) }
}

fn set_time(field: &mut Duration, value: &str) -> Result<(), StartError> {
    *field = time(value).ok_or_else(|| StartError::expected(TIME_FORM, value))?;
    Ok(())
}

/// The form of a time, for messages.
pub const TIME_FORM: &str = "a time such as 500ms, 3s or 2m, at most 24 hours";

/// `500ms`, `3s`, `2m`.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        _ => return None,
    };
    let ms = whole_number(&text[..digits])?.checked_mul(unit_ms)?;
    (1..=TIME_MAX_MS).contains(&ms).then(|| Duration::from_millis(ms))
}

/// A time as it is set.
#[cold]
#[inline(never)]
pub(crate) fn time_text(time: Duration) -> String {
    let ms = time.as_millis() as u64;
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

const TIME_MAX_MS: u64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests;
