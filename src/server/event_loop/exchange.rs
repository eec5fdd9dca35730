//! One connection's steps: read, serve, write, linger, close.
//!
//! Every step is bounded: one read, some requests, some pieces of a stream. What is not finished says so through its
//! state, from which its interest follows ([`Slot::interest`]).

use super::{CloseReason, Loop, Outcome, Printer};
use crate::function::request::{Headers, NO_ID, Request};
use crate::function::response_writer::Pulled;
use crate::http1::decoder::Step;
use crate::http1::error::ProtocolError;
use crate::http1::head::{full_room, usual_room};
use crate::http1::response_head;
use crate::logging::OneLine;
use crate::server::connection_table::{Mode, Slot};
use crate::server::system::{Interest, System, Token};
use crate::tuning;
use rustix::io::Errno;
use std::time::Duration;

impl<S, O: System> Loop<S, O> {
    /// One bounded step for one connection.
    pub(super) fn step(&mut self, token: Token, readable: bool, writable: bool) {
        // Closed earlier in this turn.
        let Some(slot) = self.slots.get(token) else { return };
        let outcome = match slot.watched {
            Interest::Read if readable => self.receive(token),
            Interest::Write if writable => self.drive(token),
            _ => return,
        };
        self.settle(token, outcome);
    }

    /// One read, and what follows from it.
    pub(super) fn receive(&mut self, token: Token) -> Outcome {
        let allowance = self.limits.buffered_bytes_allowed().saturating_sub(self.slots.held());
        let Some(slot) = self.slots.get(token) else { return Ok(()) };
        if slot.input.wants_buffer() {
            slot.input.lend(take_spare(&mut self.spare.input, tuning::FIRST_READ_BYTES));
        }
        let buffer = match slot.input.buffer_for_reading(allowance) {
            Ok(buffer) => buffer,
            Err(error) => {
                if self.make_memory() {
                    return self.receive(token);
                }
                let Some(slot) = self.slots.get(token) else { return Ok(()) };
                refuse(slot, error);
                return self.drive(token);
            }
        };
        let bytes = match self.os.read(&slot.socket, buffer) {
            Err(Errno::AGAIN) => return Ok(()),
            Err(_) if slot.is_idle() => return Err(CloseReason::PeerLeft),
            Err(_) => return Err(CloseReason::Broken),
            Ok(bytes) => bytes,
        };
        match &mut slot.mode {
            Mode::Lingering { bytes_left, .. } => {
                slot.input.finish();
                *bytes_left = bytes_left.saturating_sub(bytes);
                if bytes == 0 || *bytes_left == 0 { Err(CloseReason::Done) } else { Ok(()) }
            }
            Mode::Serving | Mode::Closing { .. } if bytes > 0 => self.drive(token),
            Mode::Serving | Mode::Closing { .. } if slot.input.is_idle() => Err(CloseReason::PeerLeft),
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
            let Some(slot) = self.slots.get(token) else { return Ok(()) };
            if let Mode::Closing { linger } = slot.mode {
                return self.close_or_linger(token, linger);
            }
            if slot.outbox.wants_buffer() {
                slot.outbox.lend(take_spare(&mut self.spare.output, tuning::FIRST_WRITE_BYTES));
            }
            let mut usual = usual_room();
            let mut full;
            let mut step = slot.input.advance(now, &self.limits, &mut usual);
            if matches!(step, Step::Refuse(ProtocolError::TooManyHeaders)) {
                full = full_room();
                step = slot.input.advance(now, &self.limits, &mut full);
            }
            match step {
                Step::NeedMore => return Ok(()),
                Step::HeadDone { send_continue: true } => slot.outbox.raw().extend_from_slice(response_head::CONTINUE),
                Step::HeadDone { send_continue: false } => {}
                Step::Refuse(error) => refuse(slot, error),
                Step::Request(head, body) => {
                    let request = Request {
                        method: head.method,
                        path_and_query: head.path_and_query,
                        headers: Headers(head.headers),
                        body,
                        peer: slot.peer,
                    };
                    let mut printer = Printer::new(&mut self.os, &mut self.console);
                    let answer = self.service.handle(&request, self.now, reply_bytes_max, &mut printer);
                    let dropped = answer.dropped;
                    let shape = head.shape;
                    // A stop may have been asked for while the callback ran, before the loop could see it.
                    let stopping = self.draining.is_some() || self.service.is_cancelled();
                    let wanted = shape.keep_alive && !answer.close && !stopping;
                    let unfinished = answer.unfinished;
                    // Only a call that goes on will be named again.
                    let request_id = unfinished.map_or(NO_ID, |_| request.logged_id());
                    let kept = slot.outbox.take(answer, &shape, head.method, request_id, wanted);
                    if let Some(marker) = unfinished.filter(|_| !slot.outbox.is_streaming()) {
                        // A status or a method without content: there is nothing to stream.
                        self.service.finish(marker, request_id, false, &mut printer);
                    }
                    slot.input.consume();
                    (slot.used, slot.since) = (true, now);
                    follow_up(&mut self.os, slot, kept, shape.keep_alive);
                    if dropped {
                        self.make_memory();
                    }
                }
            }
        }
        let now = self.clock.reading();
        if self.flush(token)?
            && let Some(slot) = self.slots.get(token)
        {
            slot.yielding = true;
            // It goes on when the peer's kernel has room for more replies; a peer that takes none is cut.
            slot.stalled_at = Some(now);
        }
        Ok(())
    }

    /// Whether everything is sent. A streamed reply is pulled piece by piece as the peer takes it.
    fn flush(&mut self, token: Token) -> Result<bool, CloseReason> {
        let now = self.clock.reading();
        let Some(slot) = self.slots.get(token) else { return Ok(true) };
        slot.yielding = false;
        for _ in 0..tuning::STREAM_RUN_MAX {
            loop {
                let (head, body) = slot.outbox.unsent();
                if head.is_empty() && body.is_empty() {
                    break;
                }
                let whole = head.len() + body.len();
                match self.os.write(&slot.socket, head, body) {
                    Ok(bytes) => {
                        slot.stalled_at = Some(now);
                        slot.outbox.sent(bytes);
                        // What was held at an earlier stall says nothing about this one.
                        slot.queued = None;
                        if bytes < whole {
                            slot.queued = self.os.queued(&slot.socket);
                            return Ok(false);
                        }
                    }
                    Err(Errno::AGAIN) => {
                        slot.stalled_at.get_or_insert(now);
                        if slot.queued.is_none() {
                            slot.queued = self.os.queued(&slot.socket);
                        }
                        return Ok(false);
                    }
                    Err(_) => return Err(CloseReason::Broken),
                }
            }
            if !slot.outbox.is_streaming() {
                if slot.stalled_at.take().is_some() {
                    // Idle from now on, not from the beginning of a long reply (C-CONN-1).
                    slot.since = now;
                }
                return Ok(true);
            }
            match slot.outbox.pull() {
                Pulled::More => {}
                Pulled::Last(stream) => self.service.finish(
                    stream.marker,
                    &stream.request_id,
                    false,
                    &mut Printer::new(&mut self.os, &mut self.console),
                ),
                Pulled::Failed(stream, error) => {
                    log::error!("the reply's stream failed: {}, request {}", OneLine(error), stream.request_id);
                    let printer = &mut Printer::new(&mut self.os, &mut self.console);
                    self.service.finish(stream.marker, &stream.request_id, true, printer);
                    self.os.spoil(&slot.socket);
                    return Err(CloseReason::StreamFailed);
                }
            }
        }
        slot.yielding = true;
        Ok(false)
    }

    /// Closes, unless the peer may be about to send more, or has not taken everything yet: a byte that came then, be it
    /// an empty line behind the last request, would turn the close into a reset, and what is on its way would be lost.
    pub(super) fn close_or_linger(&mut self, token: Token, linger: bool) -> Outcome {
        let until = self.clock.reading() + self.linger_time();
        let Some(slot) = self.slots.get(token) else { return Ok(()) };
        let mut under_way = || self.os.queued(&slot.socket).is_some_and(|bytes| bytes > 0);
        if self.limits.linger_time_max.is_zero() || !(linger || under_way()) {
            return Err(CloseReason::Done);
        }
        self.os.end_writing(&slot.socket);
        slot.input.finish();
        slot.mode = Mode::Lingering { until, bytes_left: tuning::LINGER_BYTES_MAX };
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
        let Some(slot) = self.slots.get(token) else { return };
        give_spare(&mut self.spare.input, slot.input.reclaim());
        give_spare(&mut self.spare.output, slot.outbox.reclaim());
        if let Some(body) = slot.outbox.copied_body() {
            self.spare.last_body = body;
        }
        let interest = slot.interest();
        if interest != slot.watched {
            slot.watched = interest;
            self.os.rewatch(&slot.socket, token, interest);
        }
        self.slots.settle(token, self.limits.stall_time_max);
    }

    pub(super) fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(mut slot) = self.slots.remove(token) else { return };
        if matches!(reason, CloseReason::Done | CloseReason::PeerLeft) {
            log::trace!("closed {}: {reason}", slot.peer);
        } else {
            log::debug!("closed {}: {reason}", slot.peer);
        }
        if let Some(stream) = slot.outbox.abandon() {
            // The author's code did nothing wrong: its reader was merely not read to the end.
            let printer = &mut Printer::new(&mut self.os, &mut self.console);
            self.service.finish(stream.marker, &stream.request_id, false, printer);
            self.os.spoil(&slot.socket);
        }
        slot.input.finish();
        give_spare(&mut self.spare.input, slot.input.reclaim());
        give_spare(&mut self.spare.output, slot.outbox.reclaim());
        self.os.unwatch(&slot.socket);
        // A descriptor is free again.
        self.resting_until = None;
    }
}

/// What a reply that was just taken means for its connection.
fn follow_up<O: System>(os: &mut O, slot: &mut Slot<O::Socket>, kept: bool, more_expected: bool) {
    let pieces = slot.outbox.is_streaming() || !slot.input.is_idle();
    if pieces && !std::mem::replace(&mut slot.at_once, true) {
        // Several small writes in a row would each wait for the peer's delayed acknowledgement.
        os.send_at_once(&slot.socket);
    }
    if !kept {
        // A client that announced the close sends nothing more, most of the time; any other may be about to.
        slot.mode = Mode::Closing { linger: more_expected || !slot.input.is_idle() || slot.outbox.ends_by_close() };
    }
}

/// Answers a request that broke a rule; nothing more is read as HTTP from this peer.
pub(super) fn refuse<K>(slot: &mut Slot<K>, error: ProtocolError) {
    log::debug!("refused {}: {error}", slot.peer);
    response_head::refusal(slot.outbox.raw(), error, !slot.input.is_by_head());
    slot.input.finish();
    slot.mode = Mode::Closing { linger: true };
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
