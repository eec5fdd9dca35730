//! The binary's command line: what its arguments and its environment ask for. Arguments override the environment.
//!
//! Pure. Belongs to the binary; the library compiles it only for tests and the fuzzer, which try arguments of any kind.

use crate::adapter::{ClientCall, Settings, TIME_FORM};
use crate::{Config, Limit, Limits, StartError};
use lexopt::prelude::*;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

const ABOUT: &str = "\
fc-hooks: lifecycle hooks for serverless containers, in one thread

Usage: fc-hooks [OPTIONS] -- PROGRAM [ARGUMENTS]
       fc-hooks call initialize|pre-freeze|pre-stop|METHOD /PATH
                     [--timeout TIME] [--port PORT | --unix PATH]
       fc-hooks [OPTIONS]

The first starts the program, listens in its place, and gives it hooks; its
settings are the last ones below. The second calls an instance in the same
container and prints the body of the answer; its exit code is 0 for a status
from 200 to 399, else 1. The third serves the inspector: hooks answer OK, events
are echoed, and every other call answers a JSON document with the request and
the life of the instance.

Options:
";

const ABOUT_ADAPTER: &str = "\nOptions of a program behind `--`; TIME is 500ms, 3s or 2m:\n";

/// In front of the variable that holds an event, and behind it.
const OTHER_OPTIONS: &str = concat!(
    "\n  -h, --help\n      print this help\n",
    "  -V, --version\n      print the version\n",
    "\nOther variables:\n  ",
);
const OTHER_VARIABLES: &str = "
      event to handle instead of serving (web server mode off); a program
      behind `--` takes the place of this one
  RUST_LOG
      log level, on standard error [default: warn]

Exit codes: 0 stopped in order; 1 cannot listen or wait; 2 misuse; 126 the
program cannot be executed; 127 there is no such program; 128 + n second signal
n; else that of the program
";

const VERSION: &str = concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n");

/// What the arguments ask for.
pub(crate) enum Command {
    /// Serve the inspector.
    Inspect(Box<Config>),
    /// Serve hooks for a program, which is given with its arguments.
    Adapt(Box<Config>, Box<Settings>, Vec<CString>),
    /// Call a server of this machine.
    Call(ClientCall),
    /// Text to print, and nothing else.
    Print(String),
}

/// What the environment says. An error counts only where the setting does.
pub(crate) struct Environment {
    pub(crate) config: Result<Config, StartError>,
    pub(crate) settings: Result<Settings, StartError>,
}

/// The error is a sentence for people. The arguments come first: `--help` works in a bad environment too.
pub(crate) fn parse(mut arguments: lexopt::Parser, environment: Environment) -> Result<Command, String> {
    let (mut config, bad_config) = or_default(environment.config);
    let (mut settings, bad_settings) = or_default(environment.settings);
    let mut option_of_adapter = None;
    let mut is_first = true;
    let program = loop {
        if let Some(program) = program(&mut arguments) {
            break Some(program?);
        }
        let Some(argument) = arguments.next().map_err(text)? else { break None };
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(help())),
            Short('V') | Long("version") => return Ok(Command::Print(VERSION.to_owned())),
            Value(word) if is_first && word == "call" => return call(arguments, bad_config.map_or(Ok(config), Err)),
            Value(word) => return Err(unexpected_word(&word)),
            Long(name) => {
                let adapter = Settings::ROWS.iter().find(|row| row.name == name);
                let server = Config::SETTINGS.iter().find(|setting| setting.name == name);
                let (name, takes_value) = match (adapter, server) {
                    (Some(row), _) => (row.name, !row.value.is_empty()),
                    (None, Some(setting)) => (setting.name, !setting.value.is_empty()),
                    (None, None) => return Err(unexpected(argument)),
                };
                let value = if takes_value { value(&mut arguments)? } else { "on".to_owned() };
                if name == "limit" && value == "help" {
                    return Ok(Command::Print(limits_help()));
                }
                let set = if adapter.is_some() { settings.set(name, &value) } else { config.set(name, &value) };
                set.map_err(|error| format!("--{name}: {error}"))?;
                option_of_adapter = adapter.map(|row| row.name).or(option_of_adapter);
            }
            argument => return Err(unexpected(argument)),
        }
        is_first = false;
    };
    match (program, bad_config, bad_settings, option_of_adapter) {
        (_, Some(error), ..) | (Some(_), None, Some(error), _) => Err(error.to_string()),
        (Some(program), None, None, _) => Ok(Command::Adapt(Box::new(config), Box::new(settings), program)),
        (None, .., Some(name)) => Err(format!("--{name} needs a program: write -- PROGRAM behind the options")),
        (None, None, _, None) => Ok(Command::Inspect(Box::new(config))),
    }
}

/// The program behind `--` and its arguments, if they come next.
fn program(arguments: &mut lexopt::Parser) -> Option<Result<Vec<CString>, String>> {
    let mut words = arguments.try_raw_args()?;
    words.next_if(|word| word == "--")?;
    let words = c_strings(words);
    Some(if words.is_empty() { Err("no program stands behind --".to_owned()) } else { Ok(words) })
}

/// What the arguments ask for where the environment holds an event. No server starts, so options mean nothing.
pub(crate) fn for_event(mut arguments: impl Iterator<Item = OsString>) -> EventMode {
    let mut is_first = true;
    while let Some(word) = arguments.next() {
        if is_first && word == "call" {
            return EventMode::Call;
        }
        if word == "--" {
            return EventMode::Program(c_strings(arguments));
        }
        is_first = false;
    }
    EventMode::Inspector
}

/// What is to be done where the environment holds an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EventMode {
    /// A call to a server has nothing to do with events.
    Call,
    /// The program handles the event. There is a word, unless it was forgotten.
    Program(Vec<CString>),
    Inspector,
}

/// The kernel hands arguments over as C strings.
fn c_strings(words: impl Iterator<Item = OsString>) -> Vec<CString> {
    words.filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// `call initialize`, `call GET /path`, with their options.
fn call(mut arguments: lexopt::Parser, config: Result<Config, StartError>) -> Result<Command, String> {
    let (mut words, mut timeout, mut place) = (String::new(), None, None);
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(help())),
            Long("timeout") => timeout = Some(value(&mut arguments)?),
            Long("port") => place = Some(("port", value(&mut arguments)?)),
            Long("unix") => place = Some(("listen", ["unix:", &value(&mut arguments)?].concat())),
            Value(word) => {
                let space = if words.is_empty() { "" } else { " " };
                push(&mut words, &[space, &word.to_string_lossy()]);
            }
            argument => return Err(unexpected(argument)),
        }
    }
    let config = match place {
        Some((setting, value)) => {
            let mut config = Config::default();
            config.set(setting, &value).map_err(|error| format!("call: {error}"))?;
            config
        }
        None => config.map_err(|error| error.to_string())?,
    };
    let expected = || format!("call: expected initialize, pre-freeze, pre-stop or METHOD /PATH, not '{words}'");
    let mut call = ClientCall::new(&words, &config.listen).ok_or_else(expected)?;
    match timeout {
        Some(time) if !call.set_timeout(&time) => Err(format!("--timeout: expected {TIME_FORM}, not '{time}'")),
        _ => Ok(Command::Call(call)),
    }
}

fn or_default<T: Default>(environment: Result<T, StartError>) -> (T, Option<StartError>) {
    match environment {
        Ok(value) => (value, None),
        Err(error) => (T::default(), Some(error)),
    }
}

#[inline(never)]
fn value(arguments: &mut lexopt::Parser) -> Result<String, String> {
    arguments.value().and_then(|value| value.string()).map_err(text)
}

fn unexpected_word(word: &OsString) -> String {
    let word = word.to_string_lossy();
    format!("unexpected argument '{word}' (a program stands behind --; --help lists the options)")
}

#[inline(never)]
fn unexpected(argument: lexopt::Arg<'_>) -> String {
    format!("{} (--help lists the options)", argument.unexpected())
}

/// As text at once: a boxed error would add the `Debug` of every kind of error to the binary.
fn text(error: lexopt::Error) -> String {
    error.to_string()
}

fn help() -> String {
    let mut help = ABOUT.to_owned();
    for setting in Config::SETTINGS {
        row(&mut help, [setting.name, setting.value, setting.meaning, setting.default], setting.variables);
    }
    help.push_str(ABOUT_ADAPTER);
    for setting in Settings::ROWS {
        row(&mut help, [setting.name, setting.value, setting.meaning, setting.default], &[setting.variable]);
    }
    push(&mut help, &[OTHER_OPTIONS, Config::EVENT_VARIABLE, OTHER_VARIABLES]);
    help
}

#[inline(never)]
fn row(help: &mut String, [name, value, meaning, default]: [&str; 4], variables: &[&str]) {
    let (before, after) = if default.is_empty() { ("", "") } else { (" [default: ", "]") };
    let space = if value.is_empty() { "" } else { " " };
    push(help, &["  --", name, space, value, "\n      ", meaning, before, default, after]);
    for variable in variables {
        push(help, &["\n      variable ", variable]);
    }
    help.push('\n');
}

/// `format!` would do the same in five times the bytes.
#[inline(never)]
fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn limits_help() -> String {
    let mut help =
        "Limits; each with its default. Bytes and counts are plain numbers, times are milliseconds awake:\n".to_owned();
    for Limit { name, meaning, min, max, default, .. } in Limits::NAMES {
        help.push_str(&format!("  {name}={default}\n      {meaning} [{min} to {max}]\n"));
    }
    help
}
