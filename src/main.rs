//! The binary `fc-hooks`: arguments and environment in, exit code out. It serves hooks for another program or the
//! inspector, and calls servers.

mod arguments;

use arguments::{Command, Environment, EventMode};
use fc_hooks::adapter::{self, Settings};
use fc_hooks::{Config, Limit, Limits, StartError, inspect};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = lexopt::Parser::from_env();
    if std::env::var_os(Config::EVENT_VARIABLE).is_some_and(|event| !event.is_empty()) {
        match arguments::for_event(std::env::args_os().skip(1)) {
            EventMode::Program(words) if !words.is_empty() => return adapter::exec(&words),
            EventMode::Inspector => return fc_hooks::run(&inspect::APP, Default::default()),
            EventMode::Program(_) | EventMode::Call => {}
        }
    }
    let environment = Environment { config: Config::from_env(), settings: Settings::from_env() };
    match arguments::parse(arguments, environment) {
        Ok(Command::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Command::Adapt(config, settings, program)) => adapter::run(*config, *settings, program),
        Ok(Command::Call(call)) => adapter::call(&call),
        Ok(Command::Inspect(config)) => fc_hooks::serve(&inspect::APP, Default::default(), *config),
        Err(error) => {
            // If nobody can read the message, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "fc-hooks: {error}");
            ExitCode::from(2)
        }
    }
}
