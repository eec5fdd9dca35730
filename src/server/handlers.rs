//! What the loop does for one connection when its socket is ready or its deadline has passed.
//!
//! Every handler has one shape: look at the state, make one bounded step, and leave a state from which follows what the
//! loop waits for next. An error is the reason to close the connection. [`Loop::sync`] then brings the poller, the
//! buffers and the table in line with the state.

use super::event_loop::Loop;
use crate::function::exchange::{Allowance, Next, Received, StreamFailed, linger_time};
use crate::function::marker_log::MarkerWriter;
use crate::http1::decoder::Step;
use crate::http1::error::ProtocolError;
use crate::server::connection::{CloseReason, Event, LingerAfter, State, Transfer};
use crate::server::system::{Interest, Ready, System, Token};
use crate::tuning::{LINGER_BYTES_MAX, PIPELINE_RUN_MAX, STREAM_RUN_MAX};
use rustix::io::Errno;

/// What became of a step; an error closes the connection.
pub(super) type Outcome = Result<(), CloseReason>;

/// What came of looking at a connection's input.
enum Served {
    /// A request was answered, and its response is sent.
    Request,
    /// A head was looked at whose body comes next.
    Head,
    /// The client has to send or to take something first.
    Nothing,
}

impl<S, O: System> Loop<S, O> {
    /// One bounded step for a connection whose socket is ready.
    pub(super) fn step(&mut self, event: &Ready) {
        let token = event.token;
        // It may have been closed earlier in this turn.
        let Some(connection) = self.connections.get(token) else { return };
        let outcome = match connection.noted.interest {
            Interest::Read if event.readable => self.on_readable(token),
            Interest::Write if event.writable => self.on_writable(token),
            _ => return,
        };
        self.sync(token, outcome);
    }

    /// One read, and what follows from it.
    fn on_readable(&mut self, token: Token) -> Outcome {
        let read = loop {
            let allowance = self.limits.buffered_bytes_allowed().saturating_sub(self.connections.buffered_bytes());
            let Some(connection) = self.connections.get(token) else { return Ok(()) };
            if connection.input.wants_buffer() {
                connection.input.attach(self.buffers.take_input());
            }
            let error = match connection.input.buffer_for_reading(allowance) {
                Ok(buffer) => break self.system.read(&connection.socket, buffer),
                Err(error) => error,
            };
            // Behind an eviction there may be enough memory.
            if !self.evict_largest_response() {
                return self.reject(token, error);
            }
        };
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        match read {
            Err(Errno::AGAIN) => Ok(()),
            Err(_) if connection.is_idle() => Err(CloseReason::ClientLeft),
            Err(_) => Err(CloseReason::Broken),
            Ok(bytes) if connection.is_lingering() => {
                connection.input.finish();
                if connection.lingers_on(bytes) { Ok(()) } else { Err(CloseReason::Done) }
            }
            Ok(0) if connection.is_idle() => Err(CloseReason::ClientLeft),
            Ok(0) => Err(CloseReason::ClientLeftEarly),
            Ok(_) => self.serve(token),
        }
    }

    /// Writes on, then serves what has arrived.
    fn on_writable(&mut self, token: Token) -> Outcome {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        if let State::Yielding { .. } = connection.state() {
            connection.enter(Event::TurnBegun, State::Idle { since: now });
        } else if !self.send(token)? {
            return Ok(());
        }
        self.serve(token)
    }

    /// The client has used up its time, or its turn has not come for as long.
    pub(super) fn on_deadline(&mut self, token: Token) -> Outcome {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        if connection.is_lingering() {
            return Err(CloseReason::Done);
        }
        if connection.interest() == Interest::Read {
            let error = connection.input.overdue();
            return self.reject(token, error);
        }
        let blocked = connection.transfer().copied().filter(|transfer| !transfer.yields);
        // Whether the client takes anything will show now.
        let Some(blocked) = blocked else { return self.on_writable(token) };
        let unacked_bytes = self.system.unacked_bytes(&connection.socket);
        match (unacked_bytes, connection.transfer()) {
            // The client is slow, not stuck: its kernel has taken a part since.
            (Some(bytes), Some(transfer)) if blocked.unacked_bytes.is_none_or(|before| bytes < before) => {
                (transfer.unacked_bytes, transfer.progress_at) = (unacked_bytes, now);
                Ok(())
            }
            _ => {
                self.system.set_reset_on_close(&connection.socket);
                Err(CloseReason::Stalled)
            }
        }
    }

    /// Serves the requests that have arrived, until the client has to send or to take something.
    fn serve(&mut self, token: Token) -> Outcome {
        let mut requests = 0;
        while requests < PIPELINE_RUN_MAX {
            match self.serve_next(token)? {
                Served::Request => requests += 1,
                Served::Head => {}
                Served::Nothing => return Ok(()),
            }
        }
        let since = self.clock.reading();
        if let Some(connection) = self.connections.get(token)
            && !connection.input.is_idle()
        {
            // It goes on when the client's kernel has room for more responses. A client that takes none is cut.
            connection.enter(Event::TurnEnded, State::Yielding { since });
        }
        Ok(())
    }

    fn serve_next(&mut self, token: Token) -> Result<Served, CloseReason> {
        let now = self.clock.reading();
        let reply_bytes_max = self.reply_bytes_max(token);
        let Some(connection) = self.connections.get(token) else { return Ok(Served::Nothing) };
        let mut headers = self.buffers.headers.lend();
        match connection.input.advance(now, &self.limits, &mut headers) {
            Step::NeedMore => {
                self.buffers.headers.take_back(headers);
                connection.needs_more(now);
                Ok(Served::Nothing)
            }
            Step::HeadDone { send_continue } => {
                self.buffers.headers.take_back(headers);
                self.head_done(token, send_continue)
            }
            Step::Refuse(error) => {
                self.buffers.headers.take_back(headers);
                self.reject(token, error).map(|()| Served::Nothing)
            }
            Step::Request(head, body) => {
                if connection.exchange.response.wants_buffer() {
                    connection.exchange.response.attach(self.buffers.take_output());
                }
                let client_keeps = head.meta.keep_alive;
                let received = Received { head, body, client: connection.client, at: self.now };
                let allowance = Allowance { keep: self.drain.is_none(), reply_bytes_max };
                let markers = &mut MarkerWriter::new(&mut self.system, &mut self.marker_log);
                let started = connection.exchange.start(&mut self.dispatcher, received, allowance, markers);
                self.buffers.headers.take_back(headers);
                if started.wants_body {
                    let (request, body) = connection.input.take_body();
                    connection.exchange.hand_over(request, body);
                } else {
                    connection.input.consume();
                }
                let is_last_request = connection.input.is_idle();
                let response = &connection.exchange.response;
                if (response.is_streaming() || !is_last_request) && !std::mem::replace(&mut connection.nodelay, true) {
                    self.system.set_nodelay(&connection.socket);
                }
                if started.keep {
                    connection.enter(Event::Answered, State::Sending(Transfer::begin(now)));
                } else {
                    // A client that announced the close sends nothing more; any other may be about to.
                    let is_done = !client_keeps && is_last_request && !response.ends_by_close();
                    let linger = if is_done { LingerAfter::IfUnacked } else { LingerAfter::Always };
                    connection.enter(Event::AnsweredLast, State::SendingLast(Transfer::begin(now), linger));
                }
                if started.overloaded {
                    self.evict_largest_response();
                }
                let may_have_more = self.send(token)? && !is_last_request;
                Ok(if may_have_more { Served::Request } else { Served::Nothing })
            }
        }
    }

    /// A head is whole, its body is not.
    fn head_done(&mut self, token: Token, send_continue: bool) -> Result<Served, CloseReason> {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(Served::Nothing) };
        if !send_continue {
            connection.enter(Event::HeadDone, State::Receiving);
            return Ok(Served::Head);
        }
        if connection.exchange.response.wants_buffer() {
            connection.exchange.response.attach(self.buffers.take_output());
        }
        connection.exchange.send_continue();
        connection.enter(Event::ContinueAwaited, State::Continuing(Transfer::begin(now)));
        Ok(if self.send(token)? { Served::Head } else { Served::Nothing })
    }

    /// Answers a request that broke HTTP or a limit; nothing more is read as HTTP from this client.
    fn reject(&mut self, token: Token, error: ProtocolError) -> Outcome {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        log::debug!("rejected {}: {error}", connection.client);
        if connection.exchange.response.wants_buffer() {
            connection.exchange.response.attach(self.buffers.take_output());
        }
        connection.exchange.reject(error, !connection.input.is_by_head());
        connection.input.finish();
        connection.enter(Event::Rejected, State::SendingLast(Transfer::begin(now), LingerAfter::Always));
        self.send(token).map(|_| ())
    }

    /// Writes what is to be written. True once all of it is, and more requests can be served.
    fn send(&mut self, token: Token) -> Result<bool, CloseReason> {
        let Some(connection) = self.connections.get(token) else { return Ok(false) };
        let (mut pieces, mut progress) = (0, false);
        let yields = loop {
            self.streamed |= connection.exchange.is_about_to_pull();
            let markers = &mut MarkerWriter::new(&mut self.system, &mut self.marker_log);
            let (head, body) = match connection.exchange.next(&mut self.dispatcher, markers) {
                Ok(Next::Done) => return self.sent(token),
                // Other connections have their turn first.
                Ok(Next::Write(..)) if pieces == STREAM_RUN_MAX => break true,
                Ok(Next::Write(head, body)) => (head, body),
                Err(StreamFailed) => {
                    self.system.set_reset_on_close(&connection.socket);
                    return Err(CloseReason::StreamFailed);
                }
            };
            let whole = head.len() + body.len();
            match self.system.write(&connection.socket, head, body) {
                Ok(bytes) => {
                    connection.exchange.advance(bytes);
                    (pieces, progress) = (pieces + 1, true);
                    if bytes < whole {
                        break false;
                    }
                }
                Err(Errno::AGAIN) => break false,
                Err(_) => return Err(CloseReason::Broken),
            }
        };
        let now = self.clock.reading();
        let before = connection.transfer().and_then(|transfer| transfer.unacked_bytes);
        let unacked_bytes = match before {
            _ if yields => None,
            Some(_) if !progress => before,
            _ => self.system.unacked_bytes(&connection.socket),
        };
        // Counted for the first time since the stream gave way to others: nobody knows what the client took meanwhile.
        let first_count = before.is_none() && unacked_bytes.is_some();
        if let Some(transfer) = connection.transfer() {
            let progress_at = if progress || first_count { now } else { transfer.progress_at };
            *transfer = Transfer { begun_at: transfer.begun_at, progress_at, unacked_bytes, yields };
        }
        Ok(false)
    }

    /// All of it is written. True if more requests can be served.
    fn sent(&mut self, token: Token) -> Result<bool, CloseReason> {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(false) };
        match connection.state() {
            State::SendingLast(_, linger) => {
                self.close_or_linger(token, Event::Sent, linger)?;
                return Ok(false);
            }
            State::Continuing(_) => connection.enter(Event::Sent, State::Receiving),
            // It is idle from now on, not from the beginning of a long response (C-CONN-1).
            _ => connection.enter(Event::Sent, State::Idle { since: now }),
        }
        Ok(true)
    }

    /// Closes, unless the client may be about to send more, or its kernel has not taken everything yet: a byte that
    /// came then, such as an empty line behind the last request, would turn the close into a reset, and the client
    /// would lose what is on its way.
    pub(super) fn close_or_linger(&mut self, token: Token, event: Event, linger: LingerAfter) -> Outcome {
        let until = self.clock.reading() + linger_time(&self.limits, self.drain.is_some());
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        let may_linger = !self.limits.linger_time_max.is_zero();
        let lingers = may_linger
            && (linger == LingerAfter::Always
                || self.system.unacked_bytes(&connection.socket).is_some_and(|bytes| bytes > 0));
        if !lingers {
            return Err(CloseReason::Done);
        }
        self.system.shutdown_write(&connection.socket);
        connection.input.finish();
        connection.enter(event, State::Lingering { until, bytes_left: LINGER_BYTES_MAX });
        Ok(())
    }

    /// Brings everything around a connection in line with its state.
    pub(super) fn sync(&mut self, token: Token, outcome: Outcome) {
        if let Err(reason) = outcome {
            return self.close(token, reason);
        }
        let Some(connection) = self.connections.get(token) else { return };
        self.buffers.take_back(connection);
        let interest = connection.interest();
        if interest != connection.noted.interest {
            connection.noted.interest = interest;
            self.system.reregister(&connection.socket, token, interest);
        }
        self.connections.update_accounting(token, self.limits.stall_time_max);
    }

    pub(super) fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(mut connection) = self.connections.remove(token) else { return };
        connection.enter(Event::Close(reason), State::Closed);
        let is_usual = matches!(reason, CloseReason::Done | CloseReason::ClientLeft);
        let level = if is_usual { log::Level::Trace } else { log::Level::Debug };
        log::log!(level, "closed {}: {reason}", connection.client);
        let markers = &mut MarkerWriter::new(&mut self.system, &mut self.marker_log);
        if connection.exchange.abandon(&mut self.dispatcher, markers) {
            self.system.set_reset_on_close(&connection.socket);
        }
        connection.input.finish();
        self.buffers.take_back(&mut connection);
        self.system.deregister(&connection.socket);
        self.accept.freed();
    }
}
