//! The binary `fc-hooks`: arguments and environment in, exit code out. Serves the inspector.

mod arguments;

use arguments::Command;
use fc_hooks::{Config, Limits, StartError, inspect};
use std::io::Write;
use std::process::ExitCode;

/// Web server mode is off while it is set, and the arguments of a server mean nothing then.
const EVENT_VARIABLE: &str = "FC_CUSTOM_CONTAINER_EVENT";

fn main() -> ExitCode {
    if std::env::var_os(EVENT_VARIABLE).is_some() {
        return fc_hooks::run(&inspect::APP, Default::default());
    }
    match arguments::parse(lexopt::Parser::from_env(), Config::from_env()) {
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
