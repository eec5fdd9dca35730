//! The binary's command line: whatever arguments it gets, with a good environment and a bad one.
//!
//! - A configuration comes out, a text, or a sentence that says what is wrong; never a panic.
//! - It is what a plain reading of the arguments one by one gives: `--name value` is `--name=value`, a later one counts
//!   over an earlier one, `--help` and `--version` count where they stand before any mistake.
//! - What is accepted holds what [`super::environment`] demands of any configuration.
//! - A bad environment is said only where the arguments are fine, and never in the way of help.

use super::environment;
use crate::adapter::Settings;
use crate::arguments::{Command, Given, parse};
use crate::{Config, StartError};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Arguments with NUL between them, as the kernel hands them over.
pub(super) fn run(input: &[u8]) {
    let arguments: Vec<&[u8]> = input.split(|&byte| byte == 0).collect();
    let plain = plainly(&arguments);
    let good = outcome(&arguments, Ok(Config::default()), Ok(Settings::default()));
    match (&good, &plain) {
        (Outcome::Refused(sentence), Outcome::Refused(_)) => assert!(!sentence.is_empty()),
        _ => assert_eq!(good, plain, "{arguments:?}"),
    }
    let bad = || StartError::about("FC_HOOKS_LIMITS", &"bad");
    let refused = || Outcome::Refused("FC_HOOKS_LIMITS: bad".to_owned());
    let with_bad_config = outcome(&arguments, Err(bad()), Ok(Settings::default()));
    match &good {
        Outcome::Runs(_) | Outcome::Adapts(..) => assert_eq!(with_bad_config, refused()),
        // It may be refused for the variable or for a mistake of its own; a call may name its address.
        Outcome::Refused(_) => assert!(matches!(with_bad_config, Outcome::Refused(_))),
        Outcome::Calls(_) => assert!(with_bad_config == good || with_bad_config == refused()),
        Outcome::Prints(_) => assert_eq!(good, with_bad_config, "{arguments:?}"),
    }
    // Where there is no program, nobody reads the settings of the adapter.
    match (outcome(&arguments, Ok(Config::default()), Err(bad())), &good) {
        (outcome, Outcome::Adapts(..)) => assert_eq!(outcome, refused()),
        (outcome, _) => assert_eq!(&outcome, &good, "{arguments:?}"),
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// How the configuration is shown.
    Runs(String),
    /// How the configuration is shown, and the program with its arguments.
    Adapts(String, Vec<Vec<u8>>),
    /// How the call is shown.
    Calls(String),
    Prints(&'static str),
    Refused(String),
}

fn outcome(arguments: &[&[u8]], config: Result<Config, StartError>, settings: Result<Settings, StartError>) -> Outcome {
    let mut words = arguments.iter().map(|word| OsString::from_vec(word.to_vec()));
    let mut given = Given::from_environment(config, settings);
    let command = parse(&mut words, &mut given);
    environment::check(&given.config);
    let shown = environment::shown(&given.config);
    match command {
        Ok(Command::Inspect) => Outcome::Runs(shown),
        Ok(Command::Adapt(program)) => {
            Outcome::Adapts(shown, program.into_iter().map(|word| word.into_bytes()).collect())
        }
        Ok(Command::Call(call)) => Outcome::Calls(call.to_string()),
        Ok(Command::Print(text)) => {
            let known = [("fc-hooks: ", "help"), ("fc-hooks 0", "version"), ("Limits; ", "limits")];
            let of = known.iter().find(|(start, _)| text.starts_with(start)).expect("one of the three texts");
            assert!(text.ends_with('\n'), "{text:?}");
            Outcome::Prints(of.1)
        }
        Err(sentence) => Outcome::Refused(sentence),
    }
}

/// The same by hand, without a parser.
fn plainly(arguments: &[&[u8]]) -> Outcome {
    let refused = || Outcome::Refused(String::new());
    let (mut config, mut settings) = (Config::default(), Settings::default());
    let mut is_for_program = false;
    if arguments.first() == Some(&&b"call"[..]) {
        return call_plainly(&arguments[1..]);
    }
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        let equals = word.iter().position(|&byte| byte == b'=').filter(|_| word.starts_with(b"--"));
        let (name, value) = equals.map_or((word, None), |at| (&word[..at], Some(&word[at + 1..])));
        match name {
            b"--help" | [b'-', b'h', ..] => return Outcome::Prints("help"),
            b"--version" | [b'-', b'V', ..] => return Outcome::Prints("version"),
            // Behind it there are no options.
            b"--" if value.is_none() => {
                let program: Vec<Vec<u8>> = words.map(|word| word.to_vec()).collect();
                let shown = environment::shown(&config);
                return if program.first().is_none_or(Vec::is_empty) {
                    refused()
                } else {
                    Outcome::Adapts(shown, program)
                };
            }
            _ => {}
        }
        let Some(name) = name.strip_prefix(b"--").and_then(|name| std::str::from_utf8(name).ok()) else {
            return refused();
        };
        let of_server = SERVER.contains(&name);
        let is_switch = SWITCHES.contains(&name);
        if !of_server && !ADAPTER.contains(&name) || is_switch && value.is_some() {
            return refused();
        }
        is_for_program |= !of_server;
        let value = if is_switch { Some(&b"on"[..]) } else { value.or_else(|| words.next()) };
        let Some(Ok(value)) = value.map(std::str::from_utf8) else { return refused() };
        if name == "limit" && value == "help" {
            return Outcome::Prints("limits");
        }
        let set = if of_server { config.set(name, value) } else { settings.set(name, value) };
        if set.is_err() {
            return refused();
        }
    }
    if is_for_program { refused() } else { Outcome::Runs(environment::shown(&config)) }
}

const SERVER: [&str; 8] =
    ["port", "listen", "socket-mode", "limit", "health-path", "hooks-from", "log-markers", "require-control-path"];
const ADAPTER: [&str; 13] = [
    "initialize",
    "pre-freeze",
    "pre-stop",
    "on-thaw",
    "app",
    "event-path",
    "fail-on",
    "ready",
    "ready-timeout",
    "hook-timeout",
    "stop-timeout",
    "withhold-secrets",
    "command-secrets",
];
const SWITCHES: [&str; 3] = ["require-control-path", "withhold-secrets", "command-secrets"];

/// What stands behind `call`, by hand.
fn call_plainly(arguments: &[&[u8]]) -> Outcome {
    let refused = || Outcome::Refused(String::new());
    let (mut call, mut config, mut only_words) = (Vec::new(), Config::default(), false);
    let (mut place, mut timeout) = (None, None);
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        let equals = word.iter().position(|&byte| byte == b'=').filter(|_| word.starts_with(b"--"));
        let (name, value) = equals.map_or((word, None), |at| (&word[..at], Some(&word[at + 1..])));
        let setting = match name {
            _ if only_words => None,
            b"--help" | [b'-', b'h', ..] => return Outcome::Prints("help"),
            b"--" if value.is_none() => {
                only_words = true;
                continue;
            }
            b"--port" | b"--unix" | b"--timeout" => Some(name),
            [b'-', _, ..] => return refused(),
            _ => None,
        };
        let Some(name) = setting else {
            call.push(String::from_utf8_lossy(word).into_owned());
            continue;
        };
        let Some(Ok(value)) = value.or_else(|| words.next()).map(std::str::from_utf8) else { return refused() };
        match name {
            b"--timeout" => timeout = Some(value),
            b"--port" => place = Some(("port", value.to_owned())),
            _ => place = Some(("listen", format!("unix:{value}"))),
        }
    }
    if place.is_some_and(|(setting, value)| config.set(setting, &value).is_err()) {
        return refused();
    }
    let sound_time = timeout.is_none_or(|time| Settings::default().set("hook-timeout", time).is_ok());
    let call = call.join(" ");
    let shown = match call.as_str() {
        "initialize" => "POST /initialize".to_owned(),
        "pre-freeze" | "pre-stop" => format!("GET /{call}"),
        _ if call.starts_with("exec:") => return refused(),
        // A hook of the adapter can be the same request.
        _ if Settings::default().set("initialize", &call).is_ok() => {
            let (method, path) = call.split_once(' ').expect("it was accepted");
            format!("{method} {}", path.trim())
        }
        _ => return refused(),
    };
    if sound_time { Outcome::Calls(shown) } else { refused() }
}
