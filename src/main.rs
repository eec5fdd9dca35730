//! The binary `fc-hooks`: arguments and environment in, exit code out. It serves the inspector.

mod arguments;

use arguments::Command;
use fc_hooks::{Config, Limit, Limits, StartError, inspect};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os(Config::EVENT_VARIABLE).is_some_and(|event| !event.is_empty()) {
        // No server starts, so its options mean nothing.
        return fc_hooks::run(&inspect::APP, Default::default());
    }
    match arguments::parse(lexopt::Parser::from_env(), Config::from_env()) {
        Ok(Command::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Command::Run(config)) => fc_hooks::serve(&inspect::APP, Default::default(), *config),
        Err(error) => {
            // If nobody can read the message, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "fc-hooks: {error}");
            ExitCode::from(2)
        }
    }
}
