//! One connection's steps: read, serve, write, linger, close.
//!
//! Every step is bounded: one read, some requests, some pieces of a stream. What is not finished says so through its
//! state, from which its interest follows ([`Connection::interest`]).

use super::{CloseReason, Loop, MarkerWriter, Outcome};
use crate::function::rejection;
use crate::function::request::{Headers, NO_ID, Request};
use crate::function::response_writer::StreamPoll;
use crate::http1::decoder::Step;
use crate::http1::error::ProtocolError;
use crate::http1::head::{large_header_storage, small_header_storage};
use crate::http1::response_head;
use crate::logging::OneLine;
use crate::server::connection_table::{Connection, Mode};
use crate::server::system::{Interest, System, Token};
use crate::tuning;
use rustix::io::Errno;
use std::time::Duration;

impl<S, O: System> Loop<S, O> {
    /// One bounded step for one connection.
    pub(super) fn step(&mut self, token: Token, readable: bool, writable: bool) {
        // Closed earlier in this turn.
        let Some(connection) = self.connections.get(token) else { return };
        let outcome = match connection.watched {
            Interest::Read if readable => self.receive(token),
            Interest::Write if writable => self.drive(token),
            _ => return,
        };
        self.settle(token, outcome);
    }

    /// One read, and what follows from it.
    pub(super) fn receive(&mut self, token: Token) -> Outcome {
        let allowance = self.limits.buffered_bytes_allowed().saturating_sub(self.connections.held());
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        if connection.input.wants_buffer() {
            connection.input.attach(take_spare(&mut self.spare.input, tuning::FIRST_READ_BYTES));
        }
        let buffer = match connection.input.buffer_for_reading(allowance) {
            Ok(buffer) => buffer,
            Err(error) => {
                if self.evict_largest_reply() {
                    return self.receive(token);
                }
                let Some(connection) = self.connections.get(token) else { return Ok(()) };
                refuse(connection, error);
                return self.drive(token);
            }
        };
        let bytes = match self.os.read(&connection.socket, buffer) {
            Err(Errno::AGAIN) => return Ok(()),
            Err(_) if connection.is_idle() => return Err(CloseReason::PeerLeft),
            Err(_) => return Err(CloseReason::Broken),
            Ok(bytes) => bytes,
        };
        match &mut connection.mode {
            Mode::Lingering { bytes_left, .. } => {
                connection.input.finish();
                *bytes_left = bytes_left.saturating_sub(bytes);
                if bytes == 0 || *bytes_left == 0 { Err(CloseReason::Done) } else { Ok(()) }
            }
            Mode::Serving | Mode::Closing { .. } if bytes > 0 => self.drive(token),
            Mode::Serving | Mode::Closing { .. } if connection.input.is_idle() => Err(CloseReason::PeerLeft),
            Mode::Serving | Mode::Closing { .. } => Err(CloseReason::PeerLeftEarly),
        }
    }

    /// Writes what is to be written, then serves what was read, until one of the two has to wait for the peer.
    pub(super) fn drive(&mut self, token: Token) -> Outcome {
        for _ in 0..tuning::PIPELINE_RUN_MAX {
            if !self.flush(token)? {
                return Ok(());
            }
            let now = self.clock.reading();
            let reply_bytes_max = self.reply_bytes_max(token);
            let Some(connection) = self.connections.get(token) else { return Ok(()) };
            if let Mode::Closing { linger } = connection.mode {
                return self.close_or_linger(token, linger);
            }
            if connection.response.wants_buffer() {
                connection.response.attach(take_spare(&mut self.spare.output, tuning::FIRST_WRITE_BYTES));
            }
            let mut usual = small_header_storage();
            let mut full;
            let mut step = connection.input.advance(now, &self.limits, &mut usual);
            if matches!(step, Step::Refuse(ProtocolError::TooManyHeaders)) {
                full = large_header_storage();
                step = connection.input.advance(now, &self.limits, &mut full);
            }
            match step {
                Step::NeedMore => return Ok(()),
                Step::HeadDone { send_continue: true } => {
                    connection.response.raw().extend_from_slice(response_head::CONTINUE)
                }
                Step::HeadDone { send_continue: false } => {}
                Step::Refuse(error) => refuse(connection, error),
                Step::Request(head, body) => {
                    let request = Request {
                        method: head.method,
                        path_and_query: head.path_and_query,
                        headers: Headers(head.headers),
                        body,
                        peer: connection.peer,
                    };
                    let mut markers = MarkerWriter::new(&mut self.os, &mut self.marker_log);
                    let answer = self.service.handle(&request, self.now, reply_bytes_max, &mut markers);
                    let dropped = answer.dropped;
                    let meta = head.meta;
                    // A stop may have been asked for while the callback ran, before the loop could see it.
                    let stopping = self.draining.is_some() || self.service.is_cancelled();
                    let wanted = meta.keep_alive && !answer.close && !stopping;
                    let streaming = answer.streaming;
                    // Only a call that goes on will be named again.
                    let request_id = streaming.map_or(NO_ID, |_| request.logged_id());
                    let kept = connection.response.start(answer, &meta, head.method, request_id, wanted);
                    if let Some(marker) = streaming.filter(|_| !connection.response.is_streaming()) {
                        // A status or a method without content: there is nothing to stream.
                        self.service.finish(marker, request_id, false, &mut markers);
                    }
                    connection.input.consume();
                    (connection.used, connection.since) = (true, now);
                    follow_up(&mut self.os, connection, kept, meta.keep_alive);
                    if dropped {
                        self.evict_largest_reply();
                    }
                }
            }
        }
        let now = self.clock.reading();
        if self.flush(token)?
            && let Some(connection) = self.connections.get(token)
        {
            connection.wants_turn = true;
            // It goes on when the peer's kernel has room for more replies; a peer that takes none is cut.
            connection.stalled_at = Some(now);
        }
        Ok(())
    }

    /// Whether everything is sent. A streamed reply is pulled piece by piece as the peer takes it.
    fn flush(&mut self, token: Token) -> Result<bool, CloseReason> {
        let now = self.clock.reading();
        let Some(connection) = self.connections.get(token) else { return Ok(true) };
        connection.wants_turn = false;
        for _ in 0..tuning::STREAM_RUN_MAX {
            loop {
                let (head, body) = connection.response.unsent();
                if head.is_empty() && body.is_empty() {
                    break;
                }
                let whole = head.len() + body.len();
                match self.os.write(&connection.socket, head, body) {
                    Ok(bytes) => {
                        connection.stalled_at = Some(now);
                        connection.response.advance(bytes);
                        // What was held at an earlier stall says nothing about this one.
                        connection.unacked_bytes = None;
                        if bytes < whole {
                            connection.unacked_bytes = self.os.unacked_bytes(&connection.socket);
                            return Ok(false);
                        }
                    }
                    Err(Errno::AGAIN) => {
                        connection.stalled_at.get_or_insert(now);
                        if connection.unacked_bytes.is_none() {
                            connection.unacked_bytes = self.os.unacked_bytes(&connection.socket);
                        }
                        return Ok(false);
                    }
                    Err(_) => return Err(CloseReason::Broken),
                }
            }
            if !connection.response.is_streaming() {
                if connection.stalled_at.take().is_some() {
                    // Idle from now on, not from the beginning of a long reply (C-CONN-1).
                    connection.since = now;
                }
                return Ok(true);
            }
            match connection.response.pull() {
                StreamPoll::More => {}
                StreamPoll::Last(stream) => self.service.finish(
                    stream.marker,
                    &stream.request_id,
                    false,
                    &mut MarkerWriter::new(&mut self.os, &mut self.marker_log),
                ),
                StreamPoll::Failed(stream, error) => {
                    log::error!("the reply's stream failed: {}, request {}", OneLine(error), stream.request_id);
                    let markers = &mut MarkerWriter::new(&mut self.os, &mut self.marker_log);
                    self.service.finish(stream.marker, &stream.request_id, true, markers);
                    self.os.set_reset_on_close(&connection.socket);
                    return Err(CloseReason::StreamFailed);
                }
            }
        }
        connection.wants_turn = true;
        Ok(false)
    }

    /// Closes, unless the peer may be about to send more, or has not taken everything yet: a byte that came then, be it
    /// an empty line behind the last request, would turn the close into a reset, and what is on its way would be lost.
    pub(super) fn close_or_linger(&mut self, token: Token, linger: bool) -> Outcome {
        let until = self.clock.reading() + self.linger_time();
        let Some(connection) = self.connections.get(token) else { return Ok(()) };
        let mut under_way = || self.os.unacked_bytes(&connection.socket).is_some_and(|bytes| bytes > 0);
        if self.limits.linger_time_max.is_zero() || !(linger || under_way()) {
            return Err(CloseReason::Done);
        }
        self.os.shutdown_write(&connection.socket);
        connection.input.finish();
        connection.mode = Mode::Lingering { until, bytes_left: tuning::LINGER_BYTES_MAX };
        Ok(())
    }

    /// A stop does not wait for clients as long as a refusal does.
    pub(super) fn linger_time(&self) -> Duration {
        let max = if self.draining.is_some() { tuning::DRAIN_LINGER_TIME_MAX } else { Duration::MAX };
        self.limits.linger_time_max.min(max)
    }

    /// Brings everything around a connection in line with its state.
    pub(super) fn settle(&mut self, token: Token, outcome: Outcome) {
        if let Err(reason) = outcome {
            return self.close(token, reason);
        }
        let Some(connection) = self.connections.get(token) else { return };
        give_spare(&mut self.spare.input, connection.input.detach());
        give_spare(&mut self.spare.output, connection.response.detach());
        if let Some(body) = connection.response.copied_body() {
            self.spare.last_body = body;
        }
        let interest = connection.interest();
        if interest != connection.watched {
            connection.watched = interest;
            self.os.reregister(&connection.socket, token, interest);
        }
        self.connections.settle(token, self.limits.stall_time_max);
    }

    pub(super) fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(mut connection) = self.connections.remove(token) else { return };
        if matches!(reason, CloseReason::Done | CloseReason::PeerLeft) {
            log::trace!("closed {}: {reason}", connection.peer);
        } else {
            log::debug!("closed {}: {reason}", connection.peer);
        }
        if let Some(stream) = connection.response.abandon() {
            // The author's code did nothing wrong: its reader was merely not read to the end.
            let markers = &mut MarkerWriter::new(&mut self.os, &mut self.marker_log);
            self.service.finish(stream.marker, &stream.request_id, false, markers);
            self.os.set_reset_on_close(&connection.socket);
        }
        connection.input.finish();
        give_spare(&mut self.spare.input, connection.input.detach());
        give_spare(&mut self.spare.output, connection.response.detach());
        self.os.deregister(&connection.socket);
        // A descriptor is free again.
        self.accept_paused_until = None;
    }
}

/// What a reply that was just taken means for its connection.
fn follow_up<O: System>(os: &mut O, connection: &mut Connection<O::Socket>, kept: bool, more_expected: bool) {
    let pieces = connection.response.is_streaming() || !connection.input.is_idle();
    if pieces && !std::mem::replace(&mut connection.nodelay, true) {
        // Several small writes in a row would each wait for the peer's delayed acknowledgement.
        os.set_nodelay(&connection.socket);
    }
    if !kept {
        // A client that announced the close sends nothing more, most of the time; any other may be about to.
        connection.mode = Mode::Closing {
            linger: more_expected || !connection.input.is_idle() || connection.response.ends_by_close(),
        };
    }
}

/// Answers a request that broke a rule; nothing more is read as HTTP from this peer.
pub(super) fn refuse<K>(connection: &mut Connection<K>, error: ProtocolError) {
    log::debug!("refused {}: {error}", connection.peer);
    rejection::write_rejection(connection.response.raw(), error, !connection.input.is_by_head());
    connection.input.finish();
    connection.mode = Mode::Closing { linger: true };
}

fn take_spare(spare: &mut Vec<u8>, first_bytes: usize) -> Vec<u8> {
    if spare.capacity() == 0 { Vec::with_capacity(first_bytes) } else { std::mem::take(spare) }
}

/// Keeps a buffer of the usual size; what had to grow goes back to the allocator.
fn give_spare(spare: &mut Vec<u8>, buffer: Option<Vec<u8>>) {
    if let Some(buffer) = buffer.filter(|buffer| buffer.capacity() <= tuning::SPARE_BYTES_MAX) {
        *spare = buffer;
    }
}
