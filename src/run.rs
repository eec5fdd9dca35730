//! Runs a function and returns an exit code. The environment decides between a server and a single event.

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::platform::variables;
use crate::server::logger::{init_logging, warn_of_unread_variables};
use crate::start_error::StartError;
use crate::{Server, job, server};
use std::process::ExitCode;

/// Runs a function as the environment says, and returns the exit code.
///
/// If `FC_CUSTOM_CONTAINER_EVENT` is set and not empty, web server mode is off (C-JOB-2). The invoke callback runs once
/// on that event, and the body of its reply goes to standard output. The exit code is 0 if the callback succeeded, 1 if
/// it failed, 143 if SIGTERM came meanwhile.
///
/// Otherwise it serves with [`Config::from_env`] until SIGTERM or SIGINT. The exit code is 0 after an orderly stop, 1
/// if the server cannot listen or wait, 2 if the configuration is invalid; an error goes to standard error. A second
/// signal ends the process at once, with 128 plus the number of the signal. A variable whose name begins with
/// `FC_HOOKS_` and that no setting reads is logged as a warning.
///
/// # Slow work before it
/// Do it in the initializer instead. Until this function has been called nobody listens, so the platform's start-up
/// check fails (C-START-2), and the signals are not the server's: SIGTERM ends the process at once, without pre-stop
/// and with 143 for a shell. As PID 1 the kernel even ignores it, and a container takes the whole grace period of its
/// stop, 10 s by default, before SIGKILL ends it. If such work cannot be moved, handle SIGTERM in it.
///
/// # Other processes
/// The server reaps no child, because it cannot tell an orphan from a child that a callback waits for. Start programs
/// by [`Command`](std::process::Command) and wait for each. If such programs leave children of their own behind, these
/// become children of PID 1 and stay zombies: start the function by an init that reaps them, such as
/// `ENTRYPOINT ["tini", "--", "/my-function"]` or `docker run --init`.
///
/// A callback that forks without exec must end the child by `_exit`: it must not return into the server, which serves
/// the same connections in the parent. The child holds copies of the sockets; the server shuts a connection down before
/// it closes it, so that its client sees the end all the same.
pub fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    run_on(serve, app, state)
}

/// [`run`] for any of the servers.
#[inline(always)]
pub(crate) fn run_on<S>(serve: fn(&'static App<S>, S, Config) -> ExitCode, app: &'static App<S>, state: S) -> ExitCode {
    // musl unmaps a page with the last allocation in it and maps it again for the next. An allocation that stays makes
    // the short-lived ones of the start cheap: without it, each costs two system calls and two page faults.
    let _anchor = std::hint::black_box(Box::new(0_u8));
    if let Some(event) = std::env::var_os(variables::EVENT).filter(|event| !event.is_empty()) {
        init_logging();
        return job::run(app, state, event);
    }
    match Config::from_env() {
        Ok(config) => serve(app, state, config),
        Err(error) => fail(&error, MISUSED),
    }
}

/// Serves with this configuration instead of the environment's. The exit codes are those of [`run`].
pub fn serve<S>(app: &'static App<S>, state: S, config: Config) -> ExitCode {
    let fits = check(app, &config);
    serve_on(fits, || Server::bind(config), Server::address, |server| server.run(app, state))
}

/// Whether this configuration fits this table.
pub(crate) fn check<S>(app: &App<S>, config: &Config) -> Result<(), StartError> {
    let Some(path) = &config.health_path else { return Ok(()) };
    app.check_health_path(path).map_err(|error| StartError::invalid(path, &error))
}

/// The life of a process that serves, on either engine: logging, start, the line that says so, serving, exit code.
#[inline(always)]
pub(crate) fn serve_on<E>(
    fits: Result<(), StartError>,
    start: impl FnOnce() -> Result<E, StartError>,
    address: impl FnOnce(&E) -> &Listen,
    serve: impl FnOnce(E) -> Result<(), StartError>,
) -> ExitCode {
    init_logging();
    warn_of_unread_variables(false);
    if let Err(error) = fits {
        return fail(&error, MISUSED);
    }
    let engine = match start() {
        Ok(engine) => engine,
        Err(error) => return fail(&error, FAILED),
    };
    server::announce(address(&engine));
    match serve(engine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// Becomes the program, which handles the event of the environment (C-JOB-2). Returns only if that fails.
#[cfg(feature = "adapter")]
pub fn exec(program: &[std::ffi::CString]) -> ExitCode {
    let error = server::sys::process::exec(program);
    let (error, code) = server::sys::process::cannot_execute(&program[0], error);
    fail(&error, code)
}

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn fail(error: &StartError, code: u8) -> ExitCode {
    server::eprint_line(format_args!("fc-hooks: {error}"));
    ExitCode::from(code)
}
