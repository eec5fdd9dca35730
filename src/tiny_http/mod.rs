//! The same functions on [`tiny_http`], for authors who already have such a server.
//!
//! ```no_run
//! use fc_hooks::{App, Route};
//!
//! static APP: App<()> = App::new(&[Route::invoke(|_, _, event| Ok(event.body().to_vec().into()))]);
//!
//! fn main() -> std::process::ExitCode {
//!     fc_hooks::tiny_http::run(&APP, ())
//! }
//! ```
//!
//! [`run`] and [`serve`] are the functions of these names one level up, on this engine: same table, configuration, log
//! lines, exit codes and replies. [`Function`] answers single requests of a server that you already have. If you have
//! no such server, prefer [`fc_hooks::run`](crate::run): it keeps every promise that this engine does not.
//!
//! # What this engine promises
//! - Callbacks run one at a time on the calling thread, with `&mut State`, nothing `Send`.
//! - Access to hooks, repeats, answers, panics and log lines: the code is the default engine's.
//! - Every request is checked by the same strict rules, before anything is called. tiny_http takes every
//!   `Transfer-Encoding` for chunked (CVE-2026-66752); here a coding other than exactly `chunked`, a coding beside a
//!   length, and lengths that differ or are no number end the connection. tiny_http lets line ends into headers
//!   (CVE-2026-66753); here it does not write the responses.
//! - A refused request is the last of its connection, although tiny_http cannot close one: the engine finds the socket
//!   among the descriptors of the process (so `/proc` has to be there), shuts it down, and drops requests that were
//!   read behind the refused one. It touches no connection of another listener ([`Function::listening_on`]).
//! - A thaw is noticed by the pre-freeze call, by SIGCONT, and by clocks that disagree.
//!
//! # What it does not promise
//! - **One thread.** tiny_http accepts in one thread and reads in at least four, one for each open connection; `ctrlc`
//!   waits for signals in one. Some of them wake without a request.
//! - **Connections side by side.** If more than four connections are opened at the same moment, tiny_http may leave
//!   some of them unread until others close.
//! - **Time limits.** None on heads and bodies. A body over 1 KiB is read on the calling thread: a client that stops in
//!   the middle stops the instance. So does, for at most `linger_ms_max`, a refused client that does not leave.
//!   Responses are written on that thread as well; only [`serve`] bounds how long a client may take no byte.
//! - **Bounds on memory.** A head is checked when all of it is there, and so is the size line of a chunk. Connections
//!   are not counted (`connections_max`), nor is their memory (`buffered_bytes_max`). A `Content-Length` that no memory
//!   could hold costs a thread for good, because tiny_http would allocate it.
//! - **Strictness before a request is seen.** White space and lone line feeds around values, a folded line with a colon
//!   in it, words behind the version, and signs before chunk sizes pass. Requests that tiny_http refuses itself get an
//!   empty 400, or no answer where a head holds bytes beyond ASCII; HTTP/2 and 3 never get one. Trailers are refused,
//!   and so is a chunked body whose client has closed its side: tiny_http takes that end for the body's.
//! - **Silent probes.** A client that sends a request and resets the connection at once makes a thread of tiny_http
//!   panic, which prints to standard error (C-START-3).
//! - **Every freeze noticed.** Nothing ends a wait with `EINTR` here, and no wait oversleeps: a freeze without a
//!   pre-freeze call or SIGCONT, on a clock that ran on, goes unnoticed. But frozen time cuts no response:
//!   `stall_ms_max` begins anew behind it.
//! - **The orderly stop**, in part. Requests that were read when the signal came are answered; those on their way are
//!   not. A client that stalls delays the stop, until a second signal.
//! - **Exhaustion.** tiny_http accepts nothing more after the first error, and [`serve`] ends with code 1. Without a
//!   thread or a second descriptor for a connection it panics instead, and the process does not notice.
//! - **Unix sockets.** Their connections have no address by which the engine could find them.

mod closing;
mod function;
mod message;

pub use function::{Function, Unanswered};

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::server::drop_with_state;
use crate::server::sys::{self, find_socket_by_peer, signals};
use crate::start_error::StartError;
use rustix::net::sockopt::{self, Timeout};
use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// As [`fc_hooks::run`](crate::run), on tiny_http.
///
/// A process can call it once, because it can call `ctrlc` once.
pub fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    crate::run::run_on(serve, app, state)
}

/// As [`fc_hooks::serve`](crate::serve), on tiny_http.
///
/// SIGHUP stops it as well: `ctrlc` catches it with the others. The exit code is also 1 if tiny_http accepts no more
/// connections.
pub fn serve<S>(app: &'static App<S>, state: S, config: Config) -> ExitCode {
    crate::run::serve_on(
        crate::run::check(app, &config),
        || start(&config),
        |(address, _)| address,
        |(_, server)| {
            let mut function = Function::of(app, state, &config);
            if let Some(address) = server.server_addr().to_ip() {
                function = function.listening_on(address);
            }
            let outcome = answer_all(&server, &mut function);
            answer_rest(&server, &mut function, &config);
            // Ends the listening: no client should begin to wait for a process that is about to end.
            drop(server);
            function.stop();
            drop_with_state(&mut Some(function));
            outcome.map_err(|error| StartError::io("accept connections", &error))
        },
    )
}

fn start(config: &Config) -> Result<(Listen, Arc<::tiny_http::Server>), StartError> {
    config.limits.check()?;
    find_socket_by_peer::check_descriptors()
        .map_err(|error| StartError::io("list the descriptors of this process", &error))?;
    let (listener, address) =
        listen(config).map_err(|error| StartError::io(format_args!("listen on {}", config.listen), &error))?;
    let server = ::tiny_http::Server::from_listener(listener, None)
        .map_err(|error| StartError::about("cannot start tiny_http", &error))?;
    let server = Arc::new(server);
    take_signals_over(&server)?;
    Ok((address, server))
}

/// Connections inherit the options of their listener.
fn listen(config: &Config) -> io::Result<(TcpListener, Listen)> {
    let Listen::Tcp(address) = config.listen else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the tiny_http engine serves TCP only"));
    };
    let listener = TcpListener::bind(address)?;
    sys::set_nodelay(&listener)?;
    sys::set_keepalive(&listener)?;
    sockopt::set_socket_timeout(&listener, Timeout::Send, Some(config.limits.stall_time_max))?;
    let address = listener.local_addr()?;
    Ok((listener, Listen::Tcp(address)))
}

fn take_signals_over(server: &Arc<::tiny_http::Server>) -> Result<(), StartError> {
    signals::install_continued().map_err(|error| StartError::io("take SIGCONT over", &error))?;
    let server = Arc::downgrade(server);
    let on_signal = move || {
        signals::stop_caught_elsewhere();
        if let Some(server) = server.upgrade() {
            server.unblock();
        }
    };
    ctrlc::set_handler(on_signal).map_err(|error| StartError::about("cannot take the stop signals over", &error))
}

/// Answers requests until a signal comes; an error if tiny_http ends before.
fn answer_all<S>(server: &::tiny_http::Server, function: &mut Function<S>) -> io::Result<()> {
    loop {
        match server.recv() {
            // The client was told what became of it.
            Ok(request) => _ = function.answer(request),
            Err(_) if signals::stop_requested() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers the requests that tiny_http has read by now, within the drain's time.
fn answer_rest<S>(server: &::tiny_http::Server, function: &mut Function<S>, config: &Config) {
    let began = Instant::now();
    while let Ok(Some(request)) = server.try_recv() {
        let _ = function.answer(request);
        if signals::stop_age().unwrap_or(began.elapsed()) >= config.limits.drain_time_max {
            return;
        }
    }
}
