//! `Config`, `Listen` and `Limits`: whatever the options say.
//!
//! - What was accepted is within its range, and written down it reads back as the same.
//! - An option that is refused changes nothing (of a list of limits, what stands before the mistake counts); one that
//!   is accepted changes nothing when given again.

use super::Draw;
use crate::limits::Limits;
use crate::{Config, Listen};

/// One option a line, `--name value`; other lines mean nothing.
pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let mut options = Vec::new();
    while let Some(line) = draw.line() {
        if let Some(option) = line.strip_prefix(b"--") {
            let option = String::from_utf8_lossy(option).into_owned();
            let (name, value) = option.split_once(' ').unwrap_or((&option, ""));
            options.push((name.to_owned(), value.to_owned()));
        }
    }
    let mut config = Config::default();
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

fn shown(config: &Config) -> String {
    format!("{config:?}")
}

fn check(config: &Config) {
    assert_eq!(config.limits.check(), Ok(()));
    let listen: Listen = config.listen.to_string().parse().expect("it was accepted before");
    assert_eq!(listen, config.listen);
    if let Some(path) = &config.health_path {
        assert!(path.starts_with('/') && !path.contains(['?', '#', ' ']), "{path:?}");
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
        let range = Limits::NAMES.iter().find(|(known, ..)| *known == name.trim());
        match (range, value.trim().parse::<u64>()) {
            (Some((name, min, max)), Ok(number)) if (*min..=*max).contains(&number) => {
                plain.push(format!("{name}={number}"));
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
