//! One function, answering one request at a time.

use super::closing::Closing;
use super::message::{self, NoBody, Refusal};
use crate::config::Config;
use crate::function::app::App;
use crate::function::dispatch::{Answer, Dispatcher};
use crate::function::lifecycle::{ClockReading, Evidence};
use crate::function::marker_log::{MarkerLog, MarkerWriter, Output};
use crate::function::panic::Failure;
use crate::function::request::{Headers, NO_ID, Peer, Request};
use crate::function::response_writer::{ResponseWriter, StreamPoll};
use crate::http1::head::{self, Framing, Head, RequestMeta};
use crate::limits::Limits;
use crate::logging::OneLine;
use crate::server::sys::signals;
use crate::server::{self, PROCESS_ENV};
use crate::start_error::StartError;
use crate::tuning::DRAIN_LINGER_TIME_MAX;
use std::fmt;
use std::io::{self, Write};
use std::mem::MaybeUninit;
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
/// let mut function = Function::new(&APP, 0);
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
/// What is checked here is checked here only: a request that the server's own code answers is what tiny_http takes it
/// for, and may be one that was smuggled in. Hand requests on in the order in which they came, those of one server to
/// one function; a reply waits for those that are owed on its connection. Signals are the server's business: call
/// [`Function::stop`] at the end.
pub struct Function<S: 'static> {
    service: Dispatcher<S>,
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

    /// A function with what applies of a configuration: limits of size, health path, control path, log markers.
    ///
    /// # Errors
    /// A limit is outside the range that [`Limits::NAMES`] gives.
    pub fn with_config(app: &'static App<S>, state: S, config: &Config) -> Result<Function<S>, StartError> {
        config.limits.check().map_err(|error| StartError::new(error.to_string()))?;
        Ok(Function::of(app, state, config))
    }

    pub(super) fn of(app: &'static App<S>, state: S, config: &Config) -> Function<S> {
        let mut service = Dispatcher::new(app, state, PROCESS_ENV);
        if let Some(path) = &config.health_path {
            service.health_path = Some(path.clone());
        }
        service.control_path_required |= config.control_path_required;
        let marker_log = MarkerLog::new(config.call_markers);
        Function { service, limits: config.limits.clone(), marker_log, output: Stdout, closing: Closing::default() }
    }

    /// Answers one request, reading its body and writing the reply on the calling thread.
    ///
    /// # Errors
    /// Says why the client did not get what a callback answered, or not whole. Nothing is left to be done about it.
    pub fn answer(&mut self, mut request: ::tiny_http::Request) -> Result<(), Unanswered> {
        let received = (PROCESS_ENV.now)();
        if signals::take_continued() {
            self.service.record_evidence(Evidence { sigcont: true, ..Evidence::default() });
        }
        let Some(peer) = request.remote_addr().copied() else {
            return Err(self.refuse_unix(request));
        };
        if self.closing.has_closed(peer) {
            drop(message::release(request));
            return Err(Unanswered::Closed);
        }
        let bytes = match message::head_bytes(&request, &self.limits) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.refuse(request, peer, error.into())),
        };
        let mut room = Vec::new();
        room.resize_with(request.headers().len(), MaybeUninit::uninit);
        let (head, _) = match head::parse(&bytes, &mut room, &self.limits) {
            Ok(head) => head,
            Err(error) => return Err(self.refuse(request, peer, error.into())),
        };
        let body = match message::body(&mut request, head.meta.framing, &self.limits) {
            Ok(body) => body,
            Err(NoBody::Refused(refusal)) => return Err(self.refuse(request, peer, refusal)),
            Err(NoBody::ClientLeft) => {
                self.closing.reset(peer);
                drop(message::release(request));
                return Err(Unanswered::ClientLeft);
            }
        };
        let is_last = message::is_last(&request);
        // From here on tiny_http reads the connection's next request.
        let writer = request.into_writer();
        self.call(head, &body, peer, received, writer, is_last)
    }

    /// Runs pre-stop if the platform did not call it (C-STOP-3).
    pub fn stop(&mut self) {
        self.service.stop(&mut MarkerWriter::new(&mut self.output, &mut self.marker_log));
    }

    fn call(
        &mut self,
        head: Head<'_>,
        body: &[u8],
        peer: SocketAddr,
        received: ClockReading,
        mut writer: Box<dyn Write + Send>,
        is_last: bool,
    ) -> Result<(), Unanswered> {
        let Head { method, path_and_query, headers, meta } = head;
        let request = Request { method, path_and_query, headers: Headers(headers), body, peer: Peer::Ip(peer) };
        let markers = &mut MarkerWriter::new(&mut self.output, &mut self.marker_log);
        let answer = self.service.handle(&request, received, usize::MAX, markers);
        let is_stopping = self.service.is_cancelled();
        let wanted = meta.keep_alive && !is_last && !answer.close && !is_stopping;
        let request_id = request.logged_id();
        let streaming = answer.streaming;
        let mut response = ResponseWriter::default();
        let kept = response.start(answer, &meta, method, request_id, wanted);
        if let Some(marker) = streaming.filter(|_| !response.is_streaming()) {
            // A status without content: there is nothing to stream.
            self.service.finish(marker, request_id, false, markers);
        }
        let outcome = self.send(response, &mut *writer);
        match outcome {
            Ok(()) if kept => {}
            Ok(()) => {
                log::trace!("the last reply to {peer}");
                if !is_last && !is_stopping {
                    self.closing.shutdown_write(peer);
                }
            }
            Err(_) => self.closing.reset(peer),
        }
        outcome
    }

    /// Writes a reply, pulling a streamed one piece by piece.
    fn send(&mut self, mut response: ResponseWriter, writer: &mut dyn Write) -> Result<(), Unanswered> {
        let markers = &mut MarkerWriter::new(&mut self.output, &mut self.marker_log);
        loop {
            let (head, body) = response.unsent();
            // A wait for the reader ends after `stall_time_max`, by an option of the socket. A freeze interrupts it,
            // and it begins anew.
            let written = writer.write_all(head).and_then(|()| writer.write_all(body)).and_then(|()| writer.flush());
            if let Err(error) = written {
                if let Some(stream) = response.abandon() {
                    // The author's code did nothing wrong: its reader was merely not read to the end.
                    self.service.finish(stream.marker, &stream.request_id, false, markers);
                }
                log::debug!("a reply was not taken: {error}");
                let stalled = error.kind() == io::ErrorKind::WouldBlock;
                return Err(if stalled { Unanswered::ReaderStalled } else { Unanswered::ClientLeft });
            }
            response.advance(head.len() + body.len());
            if !response.is_streaming() {
                return Ok(());
            }
            match response.pull() {
                StreamPoll::More => {}
                StreamPoll::Last(stream) => self.service.finish(stream.marker, &stream.request_id, false, markers),
                StreamPoll::Failed(stream, error) => {
                    log::error!("the reply's stream failed: {}, request {}", OneLine(error), stream.request_id);
                    self.service.finish(stream.marker, &stream.request_id, true, markers);
                    return Err(Unanswered::StreamFailed);
                }
            }
        }
    }

    fn refuse(&mut self, request: ::tiny_http::Request, peer: SocketAddr, refusal: Refusal) -> Unanswered {
        log::debug!("refused {peer}: {}", refusal.message);
        let linger_max = if signals::stop_requested() { DRAIN_LINGER_TIME_MAX } else { self.limits.linger_time_max };
        self.closing.close_with(peer, &reply_of(refusal), linger_max.min(self.limits.linger_time_max));
        drop(message::release(request));
        Unanswered::Refused(refusal.status)
    }

    fn refuse_unix(&mut self, request: ::tiny_http::Request) -> Unanswered {
        const NO_ADDRESS: Refusal = Refusal { status: 501, message: "Unix sockets are not served on tiny_http" };
        if let Some(mut writer) = message::release(request) {
            // Whether or not it arrives, nothing else can be done.
            let _ = writer.write_all(&reply_of(NO_ADDRESS)).and_then(|()| writer.flush());
        }
        Unanswered::Refused(NO_ADDRESS.status)
    }
}

/// The whole reply to a request that is refused, as the default server writes it.
fn reply_of(refusal: Refusal) -> Vec<u8> {
    let failure = Failure { message: refusal.message.to_owned(), error_type: "ProtocolError".to_owned() };
    let meta = RequestMeta { framing: Framing::Sized(0), keep_alive: false, expects_continue: false, http10: false };
    let mut response = ResponseWriter::default();
    response.start(Answer::failed(refusal.status, &failure), &meta, "", NO_ID, false);
    let (head, body) = response.unsent();
    [head, body].concat()
}

/// Why a client did not get what a callback answered, or not whole. It has been told, as far as it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unanswered {
    /// The request breaks HTTP or a limit. It was answered with this status and its connection closed.
    Refused(u16),
    /// The request came over a connection that had been closed before, behind one that was refused, say.
    Closed,
    /// The client left before its request or the reply was whole.
    ClientLeft,
    /// The client took nothing of its reply for too long. The connection was cut.
    ReaderStalled,
    /// The reader of a streamed reply failed. The connection was cut.
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
}
