//! The binary's command line: what its arguments and its environment ask for. Arguments override the environment.
//!
//! Pure. Belongs to the binary; the library compiles it only for tests and the fuzzer, which try arguments of any kind.

use crate::{Config, Limit, Limits, StartError};
use lexopt::prelude::*;

const ABOUT: &str = "\
fc-hooks: lifecycle hooks for serverless containers, in one thread

Serves the inspector: hooks answer OK, events are echoed, and every other call
answers a JSON document with the request and the life of the instance.

Usage: fc-hooks [OPTIONS]

Options:
";

/// In front of the variable that holds an event, and behind it.
const OTHER_OPTIONS: &str = concat!(
    "  -h, --help\n      print this help\n",
    "  -V, --version\n      print the version\n",
    "\nOther variables:\n  ",
);
const OTHER_VARIABLES: &str = "
      event to handle instead of serving (web server mode off)
  RUST_LOG
      log level, on standard error [default: warn]

Exit codes: 0 stopped in order; 1 cannot listen or wait; 2 misuse; 128 + n second signal n
";

const VERSION: &str = concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n");

/// What the arguments ask for.
pub(crate) enum Command {
    Run(Box<Config>),
    /// Text to print, and nothing else.
    Print(String),
}

/// The error is a sentence for people. The arguments come first: `--help` works in a bad environment too.
pub(crate) fn parse(mut arguments: lexopt::Parser, environment: Result<Config, StartError>) -> Result<Command, String> {
    let (mut config, environment) = match environment {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error)),
    };
    while let Some(argument) = arguments.next().map_err(text)? {
        let setting = match argument {
            Short('h') | Long("help") => return Ok(Command::Print(help())),
            Short('V') | Long("version") => return Ok(Command::Print(VERSION.to_owned())),
            Long(name) => match Config::SETTINGS.iter().find(|setting| setting.name == name) {
                Some(setting) => setting,
                None => return Err(unexpected(argument)),
            },
            argument => return Err(unexpected(argument)),
        };
        if setting.value.is_empty() {
            config.set(setting.name, "on").map_err(|error| error.to_string())?;
            continue;
        }
        let value = arguments.value().and_then(|value| value.string()).map_err(text)?;
        if setting.name == "limit" && value == "help" {
            return Ok(Command::Print(limits_help()));
        }
        config.set(setting.name, &value).map_err(|error| format!("--{}: {error}", setting.name))?;
    }
    match environment {
        Some(error) => Err(error.to_string()),
        None => Ok(Command::Run(Box::new(config))),
    }
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
        let (before, after) = if setting.default.is_empty() { ("", "") } else { (" [default: ", "]") };
        let space = if setting.value.is_empty() { "" } else { " " };
        let option = ["  --", setting.name, space, setting.value, "\n      "];
        let meaning = [setting.meaning, before, setting.default, after];
        push(&mut help, &option);
        push(&mut help, &meaning);
        for variable in setting.variables {
            push(&mut help, &["\n      variable ", variable]);
        }
        help.push('\n');
    }
    push(&mut help, &[OTHER_OPTIONS, Config::EVENT_VARIABLE, OTHER_VARIABLES]);
    help
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
