//! The binary's command line: what its arguments, over what its environment said, ask for. Pure.
//!
//! Belongs to the binary; the library compiles it only for the fuzzer, which hands it arguments of any kind.

use crate::{Config, Limits, StartError};
use lexopt::prelude::*;

const HELP: &str = "\
fc-hooks: lifecycle hooks for serverless containers, in one thread

Serves the inspector: hooks answer OK, POST /invoke echoes its event, and every
other call answers a JSON document of what was sent and of the instance's life.

Usage: fc-hooks [OPTIONS]

Options:
  --listen ADDR:PORT       where to listen, or unix:PATH; port 0 takes a free one
                           [default: 0.0.0.0 and the port of the environment, else 9000]
  --health-path PATH       answer GET of PATH with 200 without waking the function
  --require-control-path   refuse hooks that come without x-fc-control-path
  --limit NAME=VALUE,...   set limits; may be repeated (--limit help lists them)
  --log-markers on|off     'FC Invoke Start/End' lines around calls [default: on]
  -h, --help               print this
  -V, --version            print the version

Environment:
  FC_CUSTOM_LISTEN_PORT, FC_SERVER_PORT  the port, as the platform sets it
  FC_HOOKS_LISTEN                        as --listen
  FC_HOOKS_LIMITS                        as --limit
  FC_HOOKS_HEALTH_PATH                   as --health-path
  FC_HOOKS_REQUIRE_CONTROL_PATH          on: as --require-control-path
  FC_HOOKS_LOG_MARKERS                   as --log-markers
  FC_CUSTOM_CONTAINER_EVENT              the event; web server mode is off then
  RUST_LOG                               log level, on standard error [default: warn]

Exit codes: 0 stopped in order; 1 cannot listen; 2 misuse; 128 + n second signal n
";

const VERSION: &str = concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n");

/// What the arguments ask for.
pub(crate) enum Command {
    Run(Box<Config>),
    /// Text to print, and nothing else.
    Print(String),
}

/// The error is a sentence for people. A bad variable is said last: help must be had with a bad environment too.
pub(crate) fn parse(mut arguments: lexopt::Parser, environment: Result<Config, StartError>) -> Result<Command, String> {
    let (mut config, environment) = match environment {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error)),
    };
    while let Some(argument) = arguments.next().map_err(text)? {
        let option = match argument {
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            Short('V') | Long("version") => return Ok(Command::Print(VERSION.to_owned())),
            Long("require-control-path") => {
                config.control_path_required = true;
                continue;
            }
            Long(name) if Config::SETTINGS.iter().any(|(known, _)| *known == name) => name.to_owned(),
            unknown => return Err(format!("{} (--help lists the options)", unknown.unexpected())),
        };
        let value = arguments.value().and_then(|value| value.string()).map_err(text)?;
        if option == "limit" && value == "help" {
            return Ok(Command::Print(limits_help()));
        }
        config.set(&option, &value).map_err(|error| format!("--{option}: {error}"))?;
    }
    match environment {
        Some(error) => Err(error.to_string()),
        None => Ok(Command::Run(Box::new(config))),
    }
}

/// As text at once: a boxed error would bring the `Debug` of every kind of error along.
fn text(error: lexopt::Error) -> String {
    error.to_string()
}

fn limits_help() -> String {
    let line = |(name, min, max): &(&str, u64, u64)| format!("  {name:<18} {min} to {max}\n");
    let lines: String = Limits::NAMES.iter().map(line).collect();
    format!("Limits; bytes and counts are plain numbers, times (_ms_) milliseconds awake:\n{lines}")
}
