//! The loop: wait, clock, signals, accept, step each, expire.
//!
//! One thread, level-triggered readiness. Every turn asks the kernel what is ready and does one bounded step for each; what
//! is not finished is seen again in the next turn. While no request is in progress the wait has no limit, so an idle
//! instance never wakes. All system calls go through [`Os`], all decisions about calls through
//! [`Service`]; this file decides only whose turn it is and when a connection ends.

use crate::dispatch::{Journal, Marker, NO_ID, Service};
use crate::error::ProtocolError;
use crate::http::connection::Step;
use crate::http::encode;
use crate::http::head::header_room;
use crate::lifecycle::{Evidence, Moment};
use crate::limits::{self, Limits};
use crate::request::{Headers, Peer, Request};
use crate::server::awake::AwakeClock;
use crate::server::os::{EVENTS_PER_WAIT, Interest, Os, Ready, Signals, Token};
use crate::server::outbox::Pulled;
use crate::server::slots::{CloseReason, Mode, Slot, Slots};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// A server on its way through its life.
pub(crate) struct Loop<S: 'static, O: Os> {
    os: O,
    service: Service<S>,
    limits: Limits,
    slots: Slots<O::Socket>,
    clock: AwakeClock,
    /// This turn's reading of the clocks.
    now: Moment,
    /// Buffers that go from one connection to the next, so that idle ones hold none.
    spare: Spare,
    console: Console,
    /// The kernel has no room for another connection: leave the listener alone until then, or until one closes.
    resting_until: Option<Duration>,
    /// That was said in the log; once is enough until a connection comes through.
    exhaustion_logged: bool,
    draining: Option<Drain>,
}

#[derive(Default)]
struct Spare {
    input: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Drain {
    /// Time since the signal, callbacks included, freezes not.
    spent: Duration,
    /// Up to here it was counted.
    counted: Instant,
    /// Every connection was looked at since the stop: those with nothing to say can be closed.
    looked: bool,
}

/// What became of a step.
type Outcome = Result<(), CloseReason>;

impl<S, O: Os> Loop<S, O> {
    pub(crate) fn new(mut os: O, service: Service<S>, limits: Limits, call_markers: bool) -> Loop<S, O> {
        let now = os.now();
        Loop {
            os,
            service,
            slots: Slots::new(limits.connections_max),
            limits,
            clock: AwakeClock::new(now.instant),
            now,
            spare: Spare::default(),
            console: Console { line: Vec::new(), call_markers },
            resting_until: None,
            exhaustion_logged: false,
            draining: None,
        }
    }

    /// Serves until a signal ends it.
    pub(crate) fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.is_done() {
            let limit = self.wait_limit();
            self.watch_listener();
            let interrupted = self.wait(&mut ready, limit);
            for event in &ready {
                match event.token {
                    Token::LISTENER => self.accept(),
                    Token::WAKE => {}
                    token => self.step(token, event.readable, event.writable),
                }
                if self.draining.is_some() {
                    self.count_drain(false);
                    if self.is_done() {
                        break;
                    }
                }
            }
            self.expire();
            self.sweep(!interrupted && limit == Some(Duration::ZERO) && ready.len() < EVENTS_PER_WAIT);
        }
        for token in self.slots.pick(|_| true) {
            self.close(token, CloseReason::Stopping);
        }
        self.service.stop(&mut Printer { os: &mut self.os, console: &mut self.console });
        self.os.flush_output();
    }

    fn is_done(&self) -> bool {
        self.draining.is_some_and(|drain| self.slots.open() == 0 || drain.spent >= self.limits.drain_time_max)
    }

    fn watch_listener(&mut self) {
        let wanted = self.wants_connections();
        if let Err(error) = self.os.watch_listener(wanted) {
            self.rest(error);
        }
    }

    /// Leaves the listener alone for a moment.
    fn rest(&mut self, error: Errno) {
        if !std::mem::replace(&mut self.exhaustion_logged, true) {
            log::warn!("cannot accept connections for now: {error}; {} are open", self.slots.open());
        }
        self.resting_until = Some(self.clock.reading() + limits::ACCEPT_RETRY);
    }

    fn wants_connections(&self) -> bool {
        self.draining.is_none() && !self.slots.is_full() && self.resting_until.is_none()
    }

    /// None means for ever: nobody owes us anything.
    fn wait_limit(&self) -> Option<Duration> {
        if self.draining.is_some_and(|drain| !drain.looked) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.reading();
        let drain = self.draining.map(|drain| now + self.limits.drain_time_max.saturating_sub(drain.spent));
        let peers = if self.slots.any_timed() { Some(now + limits::TURN_TIME_MAX) } else { None };
        let next = [drain, self.resting_until, peers].into_iter().flatten().min()?;
        Some(next.saturating_sub(now).min(limits::TURN_TIME_MAX))
    }

    /// One wait, and what it tells about freezes. True if it was interrupted.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> bool {
        let before: Option<Instant> = limit.map(|_| self.os.now().instant);
        let interrupted = self.os.wait(ready, limit);
        self.now = self.os.now();
        self.clock.turn(self.now.instant);
        let signals = self.os.signals();
        let overslept = before
            .zip(limit)
            .and_then(|(before, limit)| self.now.instant.saturating_duration_since(before).checked_sub(limit))
            .filter(|excess| *excess >= limits::OVERSLEPT_MIN);
        let Signals { stop_age, continued, any } = signals;
        let unexplained = interrupted && !any;
        let evidence = Evidence { sigcont: continued, overslept, interrupted: unexplained, ..Evidence::default() };
        if evidence.any() {
            self.service.note(evidence);
        }
        match stop_age {
            Some(_) if self.draining.is_some() => self.count_drain(evidence.any()),
            Some(age) => self.drain(age),
            None => {}
        }
        interrupted
    }

    fn accept(&mut self) {
        for _ in 0..limits::ACCEPT_RUN_MAX {
            if self.slots.is_full() {
                return;
            }
            match self.os.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if is_about_the_peer(error) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => return self.rest(error),
            }
        }
    }

    fn admit(&mut self, socket: O::Socket, peer: Peer) {
        self.exhaustion_logged = false;
        let token = self.slots.insert(Slot::new(socket, peer));
        let Some(slot) = self.slots.get(token) else { return };
        if let Err(error) = self.os.watch(&slot.socket, token, slot.watched) {
            log::warn!("cannot watch a connection: {error}");
            self.slots.remove(token);
        }
    }

    /// One bounded step for one connection.
    fn step(&mut self, token: Token, readable: bool, writable: bool) {
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
    fn receive(&mut self, token: Token) -> Outcome {
        let Some(slot) = self.slots.get(token) else { return Ok(()) };
        if slot.input.wants_buffer() {
            slot.input.lend(take_spare(&mut self.spare.input));
        }
        let buffer = match slot.input.buffer_for_reading() {
            Ok(buffer) => buffer,
            Err(error) => {
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
    fn drive(&mut self, token: Token) -> Outcome {
        for _ in 0..limits::PIPELINE_RUN_MAX {
            if !self.flush(token)? {
                return Ok(());
            }
            let now = self.clock.reading();
            let Some(slot) = self.slots.get(token) else { return Ok(()) };
            slot.yielding = false;
            if let Mode::Closing { linger } = slot.mode {
                return self.close_or_linger(token, linger);
            }
            if slot.outbox.wants_buffer() {
                slot.outbox.lend(take_spare(&mut self.spare.output));
            }
            let mut room = header_room();
            match slot.input.advance(now, &self.limits, &mut room) {
                Step::NeedMore => return Ok(()),
                Step::HeadDone { send_continue: true } => slot.outbox.raw().extend_from_slice(encode::CONTINUE),
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
                    let mut printer = Printer { os: &mut self.os, console: &mut self.console };
                    let answer = self.service.handle(&request, self.now, &mut printer);
                    let shape = head.shape;
                    // A stop may have been asked for while the callback ran, before the loop could see it.
                    let stopping = self.draining.is_some() || self.service.is_cancelled();
                    let wanted = shape.keep_alive && !answer.close && !stopping;
                    let request_id = request.headers.get("x-fc-request-id").unwrap_or(NO_ID);
                    let unfinished = answer.unfinished;
                    let kept = slot.outbox.take(answer, &shape, head.method, request_id, wanted);
                    if let Some(marker) = unfinished.filter(|_| !slot.outbox.is_streaming()) {
                        // A status or a method without content: there is nothing to stream.
                        self.service.finish(marker, request_id, false, &mut printer);
                    }
                    slot.input.consume();
                    let pieces = slot.outbox.is_streaming() || !slot.input.is_idle();
                    if pieces && !std::mem::replace(&mut slot.at_once, true) {
                        // Several small writes in a row would each wait for the peer's delayed acknowledgement.
                        self.os.send_at_once(&slot.socket);
                    }
                    if !kept {
                        // A client that announced the close sends nothing more; any other may be about to.
                        slot.mode = Mode::Closing { linger: shape.keep_alive || !slot.input.is_idle() };
                    }
                }
            }
        }
        if self.flush(token)?
            && let Some(slot) = self.slots.get(token)
        {
            slot.yielding = true;
        }
        Ok(())
    }

    /// Whether everything is sent. A streamed reply is pulled piece by piece as the peer takes it.
    fn flush(&mut self, token: Token) -> Result<bool, CloseReason> {
        let now = self.clock.reading();
        let Some(slot) = self.slots.get(token) else { return Ok(true) };
        for _ in 0..limits::STREAM_RUN_MAX {
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
                        if bytes < whole {
                            slot.queued = self.os.queued(&slot.socket);
                            return Ok(false);
                        }
                    }
                    Err(Errno::AGAIN) => {
                        slot.stalled_at.get_or_insert(now);
                        return Ok(false);
                    }
                    Err(_) => return Err(CloseReason::Broken),
                }
            }
            if !slot.outbox.is_streaming() {
                slot.stalled_at = None;
                return Ok(true);
            }
            match slot.outbox.pull() {
                Pulled::More => {}
                Pulled::Last(stream) => self.service.finish(
                    stream.marker,
                    &stream.request_id,
                    false,
                    &mut Printer { os: &mut self.os, console: &mut self.console },
                ),
                Pulled::Failed(stream, error) => {
                    log::error!("the reply's stream failed: {error}, request {}", stream.request_id);
                    let printer = &mut Printer { os: &mut self.os, console: &mut self.console };
                    self.service.finish(stream.marker, &stream.request_id, true, printer);
                    self.os.spoil(&slot.socket);
                    return Err(CloseReason::StreamFailed);
                }
            }
        }
        slot.yielding = true;
        Ok(false)
    }

    fn close_or_linger(&mut self, token: Token, linger: bool) -> Outcome {
        let until = self.clock.reading() + self.linger_time();
        let Some(slot) = self.slots.get(token) else { return Ok(()) };
        if !linger || self.limits.linger_time_max.is_zero() {
            return Err(CloseReason::Done);
        }
        self.os.end_writing(&slot.socket);
        slot.input.finish();
        slot.mode = Mode::Lingering { until, bytes_left: limits::LINGER_BYTES_MAX };
        Ok(())
    }

    /// A stop does not wait for clients as long as a refusal does.
    fn linger_time(&self) -> Duration {
        let max = if self.draining.is_some() { limits::DRAIN_LINGER_TIME_MAX } else { Duration::MAX };
        self.limits.linger_time_max.min(max)
    }

    /// Brings everything around a connection in line with its state.
    fn settle(&mut self, token: Token, outcome: Outcome) {
        if let Err(reason) = outcome {
            return self.close(token, reason);
        }
        let stall_time_max = self.limits.stall_time_max;
        let Some(slot) = self.slots.get(token) else { return };
        give_spare(&mut self.spare.input, slot.input.reclaim());
        give_spare(&mut self.spare.output, slot.outbox.reclaim());
        let interest = slot.interest();
        if interest != slot.watched {
            slot.watched = interest;
            self.os.rewatch(&slot.socket, token, interest);
        }
        let timed = slot.deadline(stall_time_max).is_some();
        self.slots.settle(token, timed);
    }

    fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(mut slot) = self.slots.remove(token) else { return };
        if matches!(reason, CloseReason::Done | CloseReason::PeerLeft) {
            log::trace!("closed {}: {reason}", slot.peer);
        } else {
            log::debug!("closed {}: {reason}", slot.peer);
        }
        if let Some(stream) = slot.outbox.abandon() {
            // The author's code did nothing wrong: its reader was merely not read to the end.
            let printer = &mut Printer { os: &mut self.os, console: &mut self.console };
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

    /// Ends what has used up its time.
    fn expire(&mut self) {
        let now = self.clock.reading();
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
        }
        if !self.slots.any_timed() {
            return;
        }
        let stall_time_max = self.limits.stall_time_max;
        for token in self.slots.pick(|slot| slot.deadline(stall_time_max).is_some_and(|deadline| deadline <= now)) {
            let Some(slot) = self.slots.get(token) else { continue };
            let outcome = match slot.mode {
                Mode::Lingering { .. } => Err(CloseReason::Done),
                Mode::Serving if slot.outbox.is_empty() => {
                    let error = slot.input.expire();
                    refuse(slot, error);
                    self.drive(token)
                }
                Mode::Serving | Mode::Closing { .. } => match self.os.queued(&slot.socket) {
                    // The peer is slow, not stuck: it has taken some since.
                    Some(queued) if slot.queued.is_none_or(|before| queued < before) => {
                        slot.queued = Some(queued);
                        slot.stalled_at = Some(now);
                        Ok(())
                    }
                    _ => {
                        self.os.spoil(&slot.socket);
                        Err(CloseReason::Stalled)
                    }
                },
            };
            self.settle(token, outcome);
        }
    }

    /// Stops accepting; what is in hand has until the drain's end.
    fn drain(&mut self, age: Duration) {
        // Connections that the kernel has accepted for us would be reset with the listener.
        while !self.slots.is_full() && self.resting_until.is_none() {
            let before = self.slots.open();
            self.accept();
            if self.slots.open() < before + limits::ACCEPT_RUN_MAX {
                break;
            }
        }
        // Closing removes it from the poller as well, so there is nothing to fail.
        let _ = self.os.watch_listener(false);
        self.os.stop_listening();
        self.draining = Some(Drain { spent: age, counted: self.now.instant, looked: false });
        log::info!("stopping: {} connections are open", self.slots.open());
    }

    /// Counts what has passed since the last count; of a stretch with a freeze in it only a turn's worth.
    fn count_drain(&mut self, frozen: bool) {
        self.now = self.os.now();
        let Some(drain) = &mut self.draining else { return };
        let passed = self.now.instant.saturating_duration_since(drain.counted);
        drain.spent += if frozen { passed.min(limits::TURN_TIME_MAX) } else { passed };
        drain.counted = self.now.instant;
    }

    /// Closes what has nothing to say any more, once a stopping instance has looked at every connection.
    fn sweep(&mut self, saw_all: bool) {
        let Some(drain) = &mut self.draining else { return };
        drain.looked |= saw_all;
        if !drain.looked {
            return;
        }
        for token in self.slots.pick(Slot::is_idle) {
            self.close(token, CloseReason::Stopping);
        }
        let linger_until = self.clock.reading() + self.linger_time();
        for token in self.slots.pick(|slot| matches!(slot.mode, Mode::Lingering { .. })) {
            if let Some(Slot { mode: Mode::Lingering { until, .. }, .. }) = self.slots.get(token) {
                *until = linger_until.min(*until);
            }
        }
    }
}

/// Answers a request that broke a rule; nothing more is read as HTTP from this peer.
fn refuse<K>(slot: &mut Slot<K>, error: ProtocolError) {
    log::debug!("refused {}: {error}", slot.peer);
    slot.input.finish();
    encode::refusal(slot.outbox.raw(), error);
    slot.mode = Mode::Closing { linger: true };
}

/// Errors of `accept` that concern the connection that was to be accepted, not us (accept(2)).
fn is_about_the_peer(error: Errno) -> bool {
    const PEER: [Errno; 6] =
        [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM, Errno::NETDOWN, Errno::HOSTUNREACH];
    PEER.contains(&error)
}

fn take_spare(spare: &mut Vec<u8>) -> Vec<u8> {
    if spare.capacity() == 0 { Vec::with_capacity(limits::READ_BYTES) } else { std::mem::take(spare) }
}

/// Keeps a buffer of the usual size; what had to grow goes back to the allocator.
fn give_spare(spare: &mut Vec<u8>, buffer: Option<Vec<u8>>) {
    if let Some(buffer) = buffer.filter(|buffer| buffer.capacity() <= 2 * limits::READ_BYTES) {
        *spare = buffer;
    }
}

/// Formats log markers; keeps its line buffer.
struct Console {
    line: Vec<u8>,
    call_markers: bool,
}

struct Printer<'a, O> {
    os: &'a mut O,
    console: &'a mut Console,
}

impl<O: Os> Printer<'_, O> {
    fn print(&mut self, marker: Marker, edge: &str, request_id: &str, tail: &str) {
        if marker == Marker::Invoke && !self.console.call_markers {
            return;
        }
        let mut cut = request_id.len().min(limits::LOGGED_ID_BYTES_MAX);
        while !request_id.is_char_boundary(cut) {
            cut -= 1;
        }
        let id = &request_id[..cut];
        let line = &mut self.console.line;
        line.clear();
        for part in ["FC ", marker.word(), edge, " RequestId: ", id, tail, "\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        self.os.print(line);
    }
}

impl<O: Os> Journal for Printer<'_, O> {
    fn start(&mut self, marker: Marker, request_id: &str) {
        self.print(marker, " Start", request_id, "");
    }

    fn end(&mut self, marker: Marker, request_id: &str, failed: bool) {
        self.os.flush_output();
        self.print(marker, " End", request_id, if failed { ", Error: Unhandled function error" } else { "" });
    }
}

#[cfg(test)]
mod tests;
