//! The binary `fc-hooks`: arguments and environment in, exit code out. Serves the inspector.

use fc_hooks::{Config, inspect};
use lexopt::prelude::*;
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
  --limit NAME=VALUE       set a limit; may be repeated (--limit help lists them)
  -h, --help               print this
  -V, --version            print the version

Environment:
  FC_CUSTOM_LISTEN_PORT, FC_SERVER_PORT  the port, as the platform sets it
  FC_HOOKS_LISTEN                        as --listen
  FC_HOOKS_LIMITS                        as --limit, separated by commas
  FC_HOOKS_HEALTH_PATH                   as --health-path
  FC_HOOKS_REQUIRE_CONTROL_PATH          on: as --require-control-path
  FC_HOOKS_LOG_MARKERS                   off: no 'FC Invoke Start/End' lines
  FC_CUSTOM_CONTAINER_EVENT              the event; web server mode is off then
  RUST_LOG                               log level, on standard error [default: warn]

Exit codes: 0 stopped in order; 1 cannot listen; 2 misuse; 128 + n second signal n
";

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
        Ok(Command::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Command::Run(config)) => fc_hooks::serve(&inspect::APP, Default::default(), *config),
        Err(message) => {
            eprintln!("fc-hooks: {message}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, String> {
    let mut config = Config::from_env().map_err(|error| error.to_string())?;
    while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
        match argument {
            Long("listen") => config.listen = named("--listen", text(&mut arguments)?.parse())?,
            Long("health-path") => named("--health-path", config.set_health_path(&text(&mut arguments)?))?,
            Long("require-control-path") => config.control_path_required = true,
            Long("limit") => match text(&mut arguments)?.as_str() {
                "help" => return Ok(Command::Print(limits_help())),
                setting => named("--limit", config.limits.set_all(setting))?,
            },
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
            }
            unknown => return Err(format!("{} (--help lists the options)", unknown.unexpected())),
        }
    }
    Ok(Command::Run(Box::new(config)))
}

fn text(arguments: &mut lexopt::Parser) -> Result<String, String> {
    let value = arguments.value().map_err(|error| error.to_string())?;
    value.into_string().map_err(|value| format!("{value:?} is not UTF-8"))
}

fn named<T, E: std::fmt::Display>(option: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{option}: {error}"))
}

fn limits_help() -> String {
    let line = |(name, min, max): &(&str, u64, u64)| format!("  {name:<18} {min} to {max}\n");
    let lines: String = fc_hooks::Limits::NAMES.iter().map(line).collect();
    format!("Limits; bytes and counts are plain numbers, times (_ms_) milliseconds awake:\n{lines}")
}
