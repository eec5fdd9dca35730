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
//! [`run`] and [`serve`] stand for the functions of these names one level up: same table, configuration, log lines,
//! exit codes and replies. [`Function`] answers single requests of a server that is not ours. Where there is no such
//! server, prefer [`fc_hooks::run`](crate::run): everything below that does not hold here holds there.
//!
//! # What holds
//! - Callbacks run one at a time on the calling thread, with `&mut State`, nothing `Send`.
//! - Who may call what, how often hooks run, what they answer, panics and log lines: the code is the same.
//! - What tiny_http has read is checked as strictly as if we had read it, by the same code, before anything is called.
//!   It takes every `Transfer-Encoding` for chunked (CVE-2026-66752); here one other than exactly `chunked`, one beside
//!   a length, and lengths that differ or are no number end the connection. Replies are not written by tiny_http, which
//!   lets line ends into headers (CVE-2026-66753), but as the default server writes them.
//! - A request that is refused is the last of its connection, though tiny_http cannot close one: the socket is looked
//!   up among the process's descriptors (so `/proc` has to be there) and shut down, and what was read behind it is
//!   dropped.
//! - A thaw is noticed by the pre-freeze call, SIGCONT, and clocks that disagree.
//!
//! # What does not
//! - **One thread.** tiny_http accepts in one and reads in at least four, one for each connection that is open; `ctrlc`
//!   waits for signals in one. Some of them wake without a request.
//! - **Connections side by side.** Of several that are opened at the same moment, beyond the first four, tiny_http may
//!   leave some unread until others close.
//! - **Time limits.** None on heads and bodies. A body over 1 KiB is read on the calling thread: a client that stops in
//!   the middle stops the instance. So does, for at most `linger_ms_max`, one that is refused and does not hang up.
//!   Replies are written there as well; how long a reader may take nothing is bounded by [`serve`] alone.
//! - **Bounds on memory.** A head is looked at when all of it is there, and so is the size line of a chunk. Connections
//!   are not counted (`connections_max`), nor is what they hold together (`buffered_bytes_max`). A `Content-Length`
//!   that no memory could hold costs a thread for good, because tiny_http would allocate it.
//! - **Strictness before we see a request.** White space and lone line feeds around values, a folded line with a colon
//!   in it, words behind the version, and signs before chunk sizes pass. What tiny_http refuses itself gets an empty
//!   400, or no answer where a head holds bytes beyond ASCII, and none ever for HTTP/2 and 3. Trailers are refused, and
//!   so is a chunked body whose client has closed its side: tiny_http takes that end for the body's.
//! - **Silent probes.** A client that sends a request and resets the connection at once makes a thread of tiny_http
//!   panic, which says so on standard error (C-START-3).
//! - **Every freeze noticed.** Nothing ends a wait with `EINTR` here, and no wait oversleeps: a freeze without a
//!   pre-freeze call or SIGCONT, on a clock that ran on, shows nowhere. But frozen time cuts no reply: `stall_ms_max`
//!   begins anew behind it.
//! - **The orderly stop**, in part. What was read when the signal came is answered; what was on its way is not. A
//!   client that stalls holds the stop up, until a second signal.
//! - **Running out.** tiny_http accepts nothing more after the first error, and [`serve`] ends with code 1. For want of
//!   a thread or of a second descriptor for a connection it panics instead, and nobody is told.
//! - **Unix sockets.** Their connections have no address to look them up by.

mod closing;
mod function;
mod message;

pub use function::{Function, Unanswered};

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::server::drop_with_state;
use crate::server::sys::{self, accepted, signals};
use crate::start_error::StartError;
use rustix::net::sockopt::{self, Timeout};
use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// As [`fc_hooks::run`](crate::run), on tiny_http.
///
/// Can be called once in the life of a process, because `ctrlc` can.
pub fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    crate::run::run_on(serve, app, state)
}

/// As [`fc_hooks::serve`](crate::serve), on tiny_http.
///
/// SIGHUP stops it too: `ctrlc` catches it with the others. Exit code 1 also where tiny_http accepts no more
/// connections.
pub fn serve<S>(app: &'static App<S>, state: S, config: Config) -> ExitCode {
    crate::run::serve_on(
        || start(&config),
        |server| {
            let mut function = Function::of(app, state, &config);
            let outcome = answer_all(&server, &mut function);
            answer_rest(&server, &mut function, &config);
            // Ends the listening: no client should begin to wait for a process that is about to end.
            drop(server);
            function.stop();
            drop_with_state(function);
            outcome.map_err(|error| StartError::io("accept connections", &error))
        },
    )
}

fn start(config: &Config) -> Result<(Listen, Arc<::tiny_http::Server>), StartError> {
    config.limits.check()?;
    accepted::can_be_found().map_err(|error| StartError::io("list the descriptors of this process", &error))?;
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

/// Until a signal ends it; an error if tiny_http does.
fn answer_all<S>(server: &::tiny_http::Server, function: &mut Function<S>) -> io::Result<()> {
    loop {
        match server.recv() {
            // Whatever became of it, the client knows.
            Ok(request) => _ = function.answer(request),
            Err(_) if signals::stop_requested() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What tiny_http has read by now, as far as the drain's time goes.
fn answer_rest<S>(server: &::tiny_http::Server, function: &mut Function<S>, config: &Config) {
    let began = Instant::now();
    while let Ok(Some(request)) = server.try_recv() {
        let _ = function.answer(request);
        if signals::stop_age().unwrap_or(began.elapsed()) >= config.limits.drain_time_max {
            return;
        }
    }
}
