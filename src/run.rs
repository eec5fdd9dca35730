//! From an application to an exit code: the environment decides between a server and a single event.

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::logging::init_logging;
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
    if let Some(event) = std::env::var_os(job::EVENT_VARIABLE) {
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
    let bind = || Server::bind(config).map(|server| (server.address().clone(), server));
    serve_on(bind, |server| {
        server.run(app, state);
        Ok(())
    })
}

/// The life of a process that serves, on either engine: logging, start, the line that says so, serving, exit code.
#[inline(always)]
pub(crate) fn serve_on<E>(
    start: impl FnOnce() -> Result<(Listen, E), StartError>,
    serve: impl FnOnce(E) -> Result<(), StartError>,
) -> ExitCode {
    init_logging();
    let (address, engine) = match start() {
        Ok(started) => started,
        Err(error) => return fail(&error, FAILED),
    };
    announce(&address);
    match serve(engine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// Says on standard output that the server waits for calls.
fn announce(address: &Listen) {
    let mut lines = format!("fc-hooks: listening on {address}\n");
    if std::env::var_os("FC_FUNCTION_NAME").is_some_and(|name| !name.is_empty()) {
        // The platform's mark of a cold start's end (C-LOG-4).
        lines.push_str("FunctionCompute fc-hooks runtime inited.\n");
    }
    // Serving does not depend on somebody reading this.
    let _ = server::print(lines.as_bytes());
}

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn fail(error: &StartError, code: u8) -> ExitCode {
    server::eprint_line(format_args!("fc-hooks: {error}"));
    ExitCode::from(code)
}
