//! The binary `fc-hooks`: arguments and environment in, exit code out. It serves hooks for another program or the
//! inspector, and calls servers.

mod arguments;

use arguments::{Command, Given, c_strings};
use fc_hooks::adapter::{self, Settings};
use fc_hooks::{Config, Limit, Limits, StartError, inspect};
use std::ffi::{CString, OsString};
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os(Config::EVENT_VARIABLE).is_some_and(|event| !event.is_empty()) {
        match for_event(&mut std::env::args_os().skip(1)) {
            EventMode::Program(words) if !words.is_empty() => return adapter::exec(&words),
            EventMode::Inspector => return fc_hooks::run(&inspect::APP, Default::default()),
            EventMode::Program(_) | EventMode::Call => {}
        }
    }
    let mut given = Given::from_environment(Config::from_env(), Settings::from_env());
    match arguments::parse(&mut std::env::args_os().skip(1), &mut given) {
        Ok(Command::Print(text)) => adapter::print(&text),
        Ok(Command::Adapt(program)) => adapter::run(given.config, given.settings, program),
        Ok(Command::Call(call)) => adapter::call(&call),
        Ok(Command::Inspect) => fc_hooks::serve(&inspect::APP, Default::default(), given.config),
        Err(error) => adapter::refuse(&error),
    }
}

/// What the arguments ask for where the environment holds an event. No server starts, so options mean nothing.
fn for_event(arguments: &mut dyn Iterator<Item = OsString>) -> EventMode {
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
enum EventMode {
    /// A call to a server has nothing to do with events.
    Call,
    /// The program handles the event. There is a word, unless it was forgotten.
    Program(Vec<CString>),
    Inspector,
}
