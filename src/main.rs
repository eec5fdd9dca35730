//! The binary `fc-hooks`: arguments and environment in, exit code out. Serves the inspector.

use fc_hooks::{Config, inspect};
use lexopt::prelude::*;
use std::io::Write;
use std::process::ExitCode;

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

/// Web server mode is off while it is set, and the arguments of a server mean nothing then.
const EVENT_VARIABLE: &str = "FC_CUSTOM_CONTAINER_EVENT";

/// What the arguments ask for.
enum Command {
    Run(Box<Config>),
    /// Text to print, and nothing else.
    Print(String),
}

fn main() -> ExitCode {
    if std::env::var_os(EVENT_VARIABLE).is_some() {
        return fc_hooks::run(&inspect::APP, Default::default());
    }
    match parse(lexopt::Parser::from_env()) {
        Ok(Command::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Command::Run(config)) => fc_hooks::serve(&inspect::APP, Default::default(), *config),
        Err(error) => {
            // Whether or not it can be read, the code says it.
            let _ = writeln!(std::io::stderr(), "fc-hooks: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, String> {
    // A bad variable is said last: help must be had with a bad environment too.
    let (mut config, environment) = match Config::from_env() {
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
    let lines: String = fc_hooks::Limits::NAMES.iter().map(line).collect();
    format!("Limits; bytes and counts are plain numbers, times (_ms_) milliseconds awake:\n{lines}")
}
