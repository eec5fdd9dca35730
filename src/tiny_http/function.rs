//! One function that answers one request of tiny_http at a time.

use super::closing::Closing;
use super::message::{self, NoBody, Refusal};
use crate::config::Config;
use crate::function::app::App;
use crate::function::dispatch::Dispatcher;
use crate::function::exchange::{self, Allowance, Exchange, Next, Received, StreamFailed, linger_time};
use crate::function::lifecycle::Evidence;
use crate::function::marker_log::{MarkerLog, MarkerWriter, Output};
use crate::function::rejection;
use crate::function::request::Peer;
use crate::http1::fields::Header;
use crate::http1::head;
use crate::limits::Limits;
use crate::server::sys::signals;
use crate::server::{self, PROCESS_ENV};
use crate::start_error::StartError;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

/// An [`App`] with its state, for a [`tiny_http::Server`](::tiny_http::Server) of one's own.
///
/// ```no_run
/// use fc_hooks::tiny_http::Function;
/// use fc_hooks::{App, Route};
///
/// static APP: App<u64> = App::new(&[
///     Route::initialize(|_, _| Ok("ready".into())),
///     Route::get("/count", |count, _, _| {
///         *count += 1;
///         Ok(count.to_string().into())
///     }),
/// ]);
///
/// let server = tiny_http::Server::http("0.0.0.0:9000").expect("a free port");
/// let address = server.server_addr().to_ip().expect("TCP");
/// let mut function = Function::new(&APP, 0).listening_on(address);
/// for request in server.incoming_requests() {
///     if request.url().starts_with("/mine/") {
///         let _ = request.respond(tiny_http::Response::from_string("not the function's"));
///     } else if let Err(unanswered) = function.answer(request) {
///         eprintln!("{unanswered}");
///     }
/// }
/// function.stop();
/// ```
///
/// Only requests that this function answers are checked by its rules. A request that the server's own code answers is
/// as tiny_http has read it, and may be a smuggled one. Pass requests on in the order in which they came, those of one
/// server to one function: a response waits for the earlier ones of its connection. Signals are left to the server:
/// call [`Function::stop`] at the end.
pub struct Function<S: 'static> {
    dispatcher: Dispatcher<S>,
    limits: Limits,
    marker_log: MarkerLog,
    output: Stdout,
    closing: Closing,
}

impl<S> Function<S> {
    /// A function with the default configuration.
    pub fn new(app: &'static App<S>, state: S) -> Function<S> {
        Function::of(app, state, &Config::default())
    }

    /// A function with a configuration. Its limits of size, health path, control path and log markers apply.
    ///
    /// # Errors
    /// A limit is outside the range that [`Limits::NAMES`] gives.
    pub fn with_config(app: &'static App<S>, state: S, config: &Config) -> Result<Function<S>, StartError> {
        config.limits.check()?;
        Ok(Function::of(app, state, config))
    }

    /// Says which address the server listens on whose requests are answered. A process with other listeners, or one
    /// that connects to its own clients, must say so: the function finds a connection by the address of its client, and
    /// one client address can have a connection to each listener. Without this, where two connections of the process
    /// have the same client address, the function closes neither, and logs an error.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Function<S> {
        self.closing.listener = Some(address);
        self
    }

    pub(super) fn of(app: &'static App<S>, state: S, config: &Config) -> Function<S> {
        let dispatcher = exchange::dispatcher(app, state, config, PROCESS_ENV);
        let marker_log = MarkerLog::new(config.call_markers);
        Function { dispatcher, limits: config.limits.clone(), marker_log, output: Stdout, closing: Closing::default() }
    }

    /// Answers one request, reading its body and writing the reply on the calling thread.
    ///
    /// # Errors
    /// Why the client did not get the callback's reply, or not all of it. Nothing is left to be done about it.
    pub fn answer(&mut self, mut request: ::tiny_http::Request) -> Result<(), Unanswered> {
        let received = (PROCESS_ENV.now)();
        if signals::take_continued() {
            self.dispatcher.record_evidence(Evidence { sigcont: true, ..Evidence::default() });
        }
        let Some(client) = request.remote_addr().copied() else {
            return Err(refuse_unix(request));
        };
        if self.closing.has_closed(client) {
            drop(message::release(request));
            return Err(Unanswered::Closed);
        }
        let bytes = match message::head_bytes(&request, &self.limits) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.refuse(request, client, error.into())),
        };
        let mut room = vec![Header::EMPTY; request.headers().len()];
        let (head, _) = match head::parse(&bytes, &mut room, &self.limits) {
            Ok(head) => head,
            Err(error) => return Err(self.refuse(request, client, error.into())),
        };
        let body = match message::body(&mut request, head.meta.framing, &self.limits, self.closing.listener) {
            Ok(body) => body,
            Err(NoBody::Refused(refusal)) => return Err(self.refuse(request, client, refusal)),
            Err(NoBody::ClientLeft) => {
                self.closing.reset(client);
                drop(message::release(request));
                return Err(Unanswered::ClientLeft);
            }
        };
        let is_last = message::is_last(&request);
        // From here on tiny_http reads the connection's next request.
        let writer = request.into_writer();
        let received = Received { head, body: &body, client: Peer::Ip(client), at: received };
        self.call(received, client, writer, is_last)
    }

    /// Runs pre-stop if the platform did not call it (C-STOP-3).
    pub fn stop(&mut self) {
        self.dispatcher.stop(&mut MarkerWriter::new(&mut self.output, &mut self.marker_log));
    }

    fn call(
        &mut self,
        received: Received<'_>,
        client: SocketAddr,
        mut writer: Box<dyn Write + Send>,
        is_last: bool,
    ) -> Result<(), Unanswered> {
        let mut exchange = Exchange::default();
        let allowance = Allowance { keep: !is_last, reply_bytes_max: usize::MAX };
        let markers = &mut MarkerWriter::new(&mut self.output, &mut self.marker_log);
        let body = received.body;
        let started = exchange.start(&mut self.dispatcher, received, allowance, markers);
        if started.wants_body {
            exchange.hand_over(body.to_vec(), 0..body.len());
        }
        let is_stopping = self.dispatcher.is_cancelled();
        let outcome = self.send(exchange, &mut *writer);
        self.dispatcher.before_wait();
        match outcome {
            Ok(()) if started.keep => {}
            Ok(()) => {
                log::trace!("the last response to {client}");
                if !is_last && !is_stopping {
                    self.closing.shutdown_write(client);
                }
            }
            Err(_) => self.closing.reset(client),
        }
        outcome
    }

    /// Writes a response, on this thread.
    fn send(&mut self, mut exchange: Exchange, writer: &mut dyn Write) -> Result<(), Unanswered> {
        let markers = &mut MarkerWriter::new(&mut self.output, &mut self.marker_log);
        loop {
            let (head, body) = match exchange.next(&mut self.dispatcher, markers) {
                Ok(Next::Write(head, body)) => (head, body),
                Ok(Next::Done) => return Ok(()),
                Err(StreamFailed) => return Err(Unanswered::StreamFailed),
            };
            // A wait for the client ends after `stall_time_max`, by an option of the socket. A freeze interrupts the
            // wait, and it begins anew.
            let written = writer.write_all(head).and_then(|()| writer.write_all(body)).and_then(|()| writer.flush());
            if let Err(error) = written {
                exchange.abandon(&mut self.dispatcher, markers);
                log::debug!("a response was not taken: {error}");
                let stalled = error.kind() == io::ErrorKind::WouldBlock;
                return Err(if stalled { Unanswered::ReaderStalled } else { Unanswered::ClientLeft });
            }
            let whole = head.len() + body.len();
            exchange.advance(whole);
        }
    }

    fn refuse(&mut self, request: ::tiny_http::Request, client: SocketAddr, refusal: Refusal) -> Unanswered {
        log::debug!("rejected {client}: {}", refusal.message);
        let linger_time = linger_time(&self.limits, signals::stop_requested());
        self.closing.close_with(client, &response_of(refusal), linger_time);
        drop(message::release(request));
        Unanswered::Refused(refusal.status)
    }
}

fn refuse_unix(request: ::tiny_http::Request) -> Unanswered {
    const NO_ADDRESS: Refusal = Refusal { status: 501, message: "Unix sockets are not served on tiny_http" };
    if let Some(mut writer) = message::release(request) {
        // Nothing else can be done, whether or not it arrives.
        let _ = writer.write_all(&response_of(NO_ADDRESS)).and_then(|()| writer.flush());
    }
    Unanswered::Refused(NO_ADDRESS.status)
}

/// The whole response to a request that is refused, as the default server writes it.
fn response_of(refusal: Refusal) -> Vec<u8> {
    let mut bytes = Vec::new();
    rejection::write_rejection_of(&mut bytes, refusal.status, refusal.message, true);
    bytes
}

/// Why a client did not get a callback's reply, or not all of it. The client was told, if that was possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unanswered {
    /// The request breaks HTTP or a limit. It was answered with this status and its connection closed.
    Refused(u16),
    /// The request came over a connection that was closed before, behind a refused request for example.
    Closed,
    /// The client left before its request or the reply was whole.
    ClientLeft,
    /// The client took no byte of its response for too long. The connection was reset.
    ReaderStalled,
    /// The reader of a streamed reply failed. The connection was reset.
    StreamFailed,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Refused(status) => write!(f, "the request was refused with {status}"),
            Unanswered::Closed => f.write_str("the connection had been closed before the request"),
            Unanswered::ClientLeft => f.write_str("the client left early"),
            Unanswered::ReaderStalled => f.write_str("the client did not take its reply"),
            Unanswered::StreamFailed => f.write_str("the reply's stream failed"),
        }
    }
}

impl std::error::Error for Unanswered {}

struct Stdout;

impl Output for Stdout {
    fn print(&mut self, line: &[u8]) {
        // No call may fail because its log cannot be written.
        let _ = server::print(line);
    }

    fn flush_output(&mut self) {
        let _ = server::flush_output();
    }

    fn is_mid_line(&self) -> bool {
        server::sys::stdout::is_mid_line()
    }
}
