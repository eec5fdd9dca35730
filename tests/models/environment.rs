//! `Config`, `Listen` and `Limits`: whatever the environment and the options say.
//!
//! - A configuration comes out, or an error that begins with the name of a variable that is set; without that variable
//!   it is Ok, or the error is another's.
//! - Variables that are not ours change nothing, nor do empty ones. Where to listen is said by one variable alone.
//! - What was accepted is within its range, and written down it reads back as the same.
//! - An option that is refused changes nothing (of a list of limits, what stands before the mistake counts); one that
//!   is accepted changes nothing when given again.

use super::Draw;
use crate::limits::Limits;
use crate::{Config, Listen, StartError};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// One variable a line, `NAME=value`, or an option, `--name value`.
pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let mut variables = BTreeMap::new();
    let mut options = Vec::new();
    while let Some(line) = draw.line() {
        if let Some(option) = line.strip_prefix(b"--") {
            let option = String::from_utf8_lossy(option).into_owned();
            let (name, value) = option.split_once(' ').unwrap_or((&option, ""));
            options.push((name.to_owned(), value.to_owned()));
        } else if let Some(equals) = line.iter().position(|&byte| byte == b'=') {
            let name = String::from_utf8_lossy(&line[..equals]).into_owned();
            variables.insert(name, OsString::from_vec(line[equals + 1..].to_vec()));
        }
    }
    let mut config = read_at_last(variables);
    check(&config);
    for (name, value) in options {
        let before = shown(&config);
        let outcome = config.set(&name, &value);
        match outcome {
            Ok(()) => {
                let after = shown(&config);
                config.set(&name, &value).expect("it was accepted before");
                assert_eq!(shown(&config), after, "--{name} {value} twice");
            }
            Err(error) => {
                assert!(name == "limit" || shown(&config) == before, "--{name} {value}: {error}");
                assert!(!error.to_string().is_empty());
            }
        }
        check(&config);
        if name == "limit" {
            check_list(&value);
        }
    }
}

type Variables = BTreeMap<String, OsString>;

fn read(variables: &Variables) -> Result<Config, StartError> {
    Config::from_lookup(&|name| variables.get(name).cloned())
}

/// Takes away one bad variable after the other, until none is left.
fn read_at_last(mut variables: Variables) -> Config {
    loop {
        match read(&variables) {
            Ok(config) => {
                let ours = |name: &str, value: &OsString| OURS.contains(&name) && !value.is_empty();
                variables.retain(|name, value| ours(name, value));
                assert_eq!(shown(&read(&variables).expect("less of the same")), shown(&config), "{variables:?}");
                assert!(!variables.is_empty() || shown(&config) == shown(&Config::default()));
                let first = LISTEN.iter().find_map(|name| variables.remove_entry(*name));
                let alone = read(&first.into_iter().collect()).expect("less of the same");
                assert_eq!(config.listen, alone.listen, "another variable than the first decides where to listen");
                return config;
            }
            Err(error) => {
                let error = error.to_string();
                let (name, cause) = error.split_once(": ").expect("an error names its variable");
                assert!(OURS.contains(&name) && !cause.is_empty(), "{error}");
                assert!(variables.remove(name).is_some_and(|value| !value.is_empty()), "not set, but: {error}");
                let ports = LISTEN[1..].iter().take_while(|known| **known != name);
                let first = ports.filter(|known| variables.get(**known).is_some_and(|value| !value.is_empty())).count();
                assert!(
                    first == 0 || !LISTEN[1..].contains(&name),
                    "a name counts where those before are absent: {error}"
                );
            }
        }
    }
}

/// What says where to listen, the first that is set wins (C-START-1).
const LISTEN: [&str; 5] = ["FC_HOOKS_LISTEN", "FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT", "_FAAS_RUNTIME_PORT", "PORT"];

const OURS: &[&str] = &[
    "FC_FUNCTION_NAME",
    "FC_FUNCTION_MEMORY_SIZE",
    "FC_CUSTOM_LISTEN_PORT",
    "FC_SERVER_PORT",
    "_FAAS_RUNTIME_PORT",
    "PORT",
    "FC_HOOKS_LISTEN",
    "FC_HOOKS_SOCKET_MODE",
    "FC_HOOKS_HOOKS_FROM",
    "FC_HOOKS_LIMITS",
    "FC_HOOKS_HEALTH_PATH",
    "FC_HOOKS_REQUIRE_CONTROL_PATH",
    "FC_HOOKS_LOG_MARKERS",
];

pub(super) fn shown(config: &Config) -> String {
    format!("{config:?}")
}

pub(super) fn check(config: &Config) {
    assert_eq!(config.limits.check(), Ok(()));
    let listen: Listen = config.listen.to_string().parse().expect("it was accepted before");
    assert_eq!(listen, config.listen);
    assert!(config.socket_mode.is_none_or(|mode| mode <= 0o777));
    if let Some(path) = &config.health_path {
        assert!(path.starts_with('/') && !path.contains(['?', '#']), "{path:?}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
        assert!(!["/initialize", "/pre-freeze", "/pre-stop", "/invoke"].contains(&&**path), "{path:?}");
    }
}

/// A list of limits against its plain reading: name by name, the last one counts.
fn check_list(list: &str) {
    let mut limits = Limits::default();
    let outcome = limits.set_all(list);
    let mut plain = Vec::new();
    let mut fine = true;
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let limit = Limits::NAMES.iter().find(|limit| limit.name == name.trim());
        match (limit, value.trim().parse::<u64>()) {
            (Some(limit), Ok(number)) if (limit.min..=limit.max).contains(&number) => {
                plain.push(format!("{}={number}", limit.name));
            }
            _ => {
                fine = false;
                break;
            }
        }
    }
    assert_eq!(outcome.is_ok(), fine, "{list:?}");
    let mut again = Limits::default();
    again.set_all(&plain.join(",")).expect("each of them is fine");
    assert_eq!(limits, again, "{list:?}");
}
