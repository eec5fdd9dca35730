//! From an application to an exit code: the environment decides between a server and a single event.

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::logging::init_logging;
use crate::platform::{markers, variables};
use crate::start_error::StartError;
use crate::{Server, job, server};
use std::process::ExitCode;

/// Does what the environment asks for, and returns the exit code.
///
/// With `FC_CUSTOM_CONTAINER_EVENT` set, web server mode is off (C-JOB-2): the invoke callback runs once on that
/// event, its reply's body goes to standard output; 0 if it succeeded, 1 if it failed, 143 if SIGTERM came meanwhile.
///
/// Otherwise it serves as [`Config::from_env`] says until SIGTERM or SIGINT: 0 after an orderly stop, 1 if it cannot
/// listen, 2 if the configuration makes no sense; both are said on standard error. A second signal ends the process at
/// once with 128 plus its number.
pub fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    run_on(serve, app, state)
}

/// [`run`], whichever server it is that serves.
#[inline(always)]
pub(crate) fn run_on<S>(serve: fn(&'static App<S>, S, Config) -> ExitCode, app: &'static App<S>, state: S) -> ExitCode {
    // musl unmaps a page with the last allocation in it and maps it anew for the next. One that stays makes those that
    // come and go during the start cheap: without it each is two system calls and two page faults.
    let _anchor = std::hint::black_box(Box::new(0_u8));
    if let Some(event) = std::env::var_os(variables::EVENT) {
        init_logging();
        return job::run(app, state, event);
    }
    match Config::from_env() {
        Ok(config) => serve(app, state, config),
        Err(error) => fail(&error, MISUSED),
    }
}

/// Serves with this configuration, whatever the environment says; exit codes as [`run`].
pub fn serve<S>(app: &'static App<S>, state: S, config: Config) -> ExitCode {
    init_logging();
    if let Err(error) = check(app, &config) {
        return fail(&error, MISUSED);
    }
    let server = match Server::bind(config) {
        Ok(server) => server,
        Err(error) => return fail(&error, FAILED),
    };
    announce(server.address());
    server.run(app, state);
    ExitCode::SUCCESS
}

/// Whether this configuration fits this table.
pub(crate) fn check<S>(app: &App<S>, config: &Config) -> Result<(), StartError> {
    let Some(path) = &config.health_path else { return Ok(()) };
    app.check_health_path(path).map_err(|error| StartError::invalid(path, &error))
}

/// Says in the log that the server waits for calls.
pub(crate) fn announce(address: &Listen) {
    let mut lines = format!("fc-hooks: listening on {address}\n");
    if std::env::var_os(variables::FUNCTION_NAME).is_some_and(|name| !name.is_empty()) {
        lines.push_str(markers::RUNTIME_INITED);
    }
    // The server works the same if nobody can read this.
    let _ = server::print(lines.as_bytes());
}

pub(crate) const FAILED: u8 = 1;
pub(crate) const MISUSED: u8 = 2;

pub(crate) fn fail(error: &StartError, code: u8) -> ExitCode {
    server::eprint_line(format_args!("fc-hooks: {error}"));
    ExitCode::from(code)
}
