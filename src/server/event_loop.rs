//! The loop: wait, clock, signals, accept, step each, expire.
//!
//! One thread, level-triggered readiness. Every turn asks the kernel what is ready and does one bounded step for
//! each; what is not finished is seen again in the next turn. While no request is in progress the wait has no limit,
//! so an idle instance never wakes. All system calls go through [`System`], all decisions about calls through
//! [`Dispatcher`]; this file decides only whose turn it is and when a connection ends.

mod eviction;
mod exchange;

use crate::function::dispatch::Dispatcher;
use crate::function::lifecycle::{ClockReading, Evidence};
use crate::function::marker_log::{MarkerLog, MarkerWriter};
use crate::function::request::Peer;
use crate::limits::Limits;
use crate::server::awake_clock::AwakeClock;
use crate::server::connection_table::{CloseReason, Connection, ConnectionTable, Mode};
use crate::server::system::{EVENTS_PER_WAIT, Interest, Ready, Signals, System, Token};
use crate::tuning;
use exchange::refuse;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// A server on its way through its life.
pub(crate) struct Loop<S: 'static, O: System> {
    os: O,
    service: Dispatcher<S>,
    limits: Limits,
    connections: ConnectionTable<O::Socket>,
    clock: AwakeClock,
    /// This turn's reading of the clocks.
    now: ClockReading,
    /// Buffers that go from one connection to the next, so that idle ones hold none.
    spare: BufferPool,
    marker_log: MarkerLog,
    /// The kernel has no room for another connection: leave the listener alone until then, or until one closes.
    accept_paused_until: Option<Duration>,
    /// That was said in the log, and need not be said again before.
    accept_warning_muted_until: Option<Duration>,
    /// All slots are taken and somebody has come nevertheless.
    accept_backlogged: bool,
    draining: Option<Drain>,
}

#[derive(Default)]
struct BufferPool {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The last small body, kept until the next: musl gives a group of equal slots back with its last one and makes it
    /// anew for the next small allocation, which costs more than all other work for a request together.
    last_body: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Drain {
    /// Time since the signal, callbacks included, freezes not.
    spent: Duration,
    /// Up to here it was counted.
    counted: Instant,
    /// Every connection was looked at since the stop: those with nothing to say can be closed.
    polled_once: bool,
    /// Somebody may still wait in the kernel's queue.
    listening: bool,
}

/// What became of a step.
type Outcome = Result<(), CloseReason>;

impl<S, O: System> Loop<S, O> {
    pub(crate) fn new(mut os: O, service: Dispatcher<S>, limits: Limits, call_markers: bool) -> Loop<S, O> {
        let now = os.now();
        Loop {
            os,
            service,
            connections: ConnectionTable::new(limits.connections_max),
            limits,
            clock: AwakeClock::new(now.instant),
            now,
            spare: BufferPool::default(),
            marker_log: MarkerLog::new(call_markers),
            accept_paused_until: None,
            accept_warning_muted_until: None,
            accept_backlogged: false,
            draining: None,
        }
    }

    /// Serves until a signal ends it.
    pub(crate) fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.is_done() {
            let next_evictable_at = self.next_evictable_at();
            self.watch_listener(next_evictable_at);
            let limit = self.wait_limit(next_evictable_at);
            let interrupted = self.wait(&mut ready, limit);
            for event in &ready {
                if self.is_done() {
                    break;
                }
                match event.token {
                    Token::LISTENER if self.draining.is_some() => {}
                    // Alone, it is rarely more than one connection, and asking for a second costs a call.
                    Token::LISTENER => {
                        self.accept(if ready.len() == 1 { 1 } else { tuning::ACCEPT_RUN_MAX });
                    }
                    Token::WAKE => {}
                    token => self.step(token, event.readable, event.writable),
                }
                if self.draining.is_some() {
                    self.count_drain(false);
                }
            }
            self.expire();
            self.sweep(!interrupted && limit == Some(Duration::ZERO) && ready.len() < EVENTS_PER_WAIT);
            self.accept_the_last();
        }
        for token in self.connections.pick(|_| true) {
            self.close(token, CloseReason::Stopping);
        }
        self.service.stop(&mut MarkerWriter::new(&mut self.os, &mut self.marker_log));
        self.os.flush_output();
    }

    fn is_done(&self) -> bool {
        self.draining.is_some_and(|drain| self.connections.open() == 0 || drain.spent >= self.limits.drain_time_max)
    }

    /// None means for ever: nobody owes us anything.
    fn wait_limit(&self, next_evictable_at: Option<Duration>) -> Option<Duration> {
        if self.draining.is_some_and(|drain| !drain.polled_once) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.reading();
        let drain = self.draining.map(|drain| now + self.limits.drain_time_max.saturating_sub(drain.spent));
        // What is there already needs no waiting for.
        let room = next_evictable_at.filter(|at| *at > now);
        let peers = if self.connections.any_timed() { Some(now + tuning::TURN_TIME_MAX) } else { None };
        let next = [drain, self.accept_paused_until, room, peers].into_iter().flatten().min()?;
        Some(next.saturating_sub(now).min(tuning::TURN_TIME_MAX))
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
            .filter(|excess| *excess >= tuning::OVERSLEPT_MIN);
        let Signals { stop_age, continued, any } = signals;
        let unexplained = interrupted && !any;
        let evidence = Evidence { sigcont: continued, overslept, interrupted: unexplained, ..Evidence::default() };
        if evidence.any() {
            self.service.record_evidence(evidence);
        }
        match stop_age {
            Some(_) if self.draining.is_some() => self.count_drain(evidence.any()),
            Some(age) => self.drain(age),
            None => {}
        }
        interrupted
    }

    /// True if nobody waits any more.
    fn accept(&mut self, run_max: usize) -> bool {
        for nth in 0..run_max {
            // Only of the first it is known that it waits.
            if self.connections.is_full() && (nth > 0 || !self.evict_idle()) {
                self.accept_backlogged = nth == 0;
                return false;
            }
            match self.os.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if is_about_the_peer(error) => {}
                Err(Errno::AGAIN) => return true,
                // Said even where nobody waits.
                Err(Errno::MFILE | Errno::NFILE) if nth == 0 && self.evict_idle() => {}
                Err(error) => {
                    self.rest(error);
                    return false;
                }
            }
        }
        false
    }

    fn admit(&mut self, socket: O::Socket, peer: Peer) {
        let token = self.connections.insert(Connection::new(socket, peer, self.clock.reading()));
        let Some(connection) = self.connections.get(token) else { return };
        if let Err(error) = self.os.register(&connection.socket, token, connection.watched) {
            log::warn!("cannot watch a connection: {error}");
            self.connections.remove(token);
        }
    }

    /// Ends what has used up its time.
    fn expire(&mut self) {
        let now = self.clock.reading();
        if self.accept_paused_until.is_some_and(|until| until <= now) {
            self.accept_paused_until = None;
        }
        for token in self.connections.overdue(now, self.limits.stall_time_max) {
            let Some(connection) = self.connections.get(token) else { continue };
            let outcome = match connection.mode {
                Mode::Lingering { .. } => Err(CloseReason::Done),
                Mode::Serving if connection.interest() == Interest::Read => {
                    let error = connection.input.overdue();
                    refuse(connection, error);
                    self.drive(token)
                }
                // Its turn has not come for so long. Whether the peer takes anything will show now.
                Mode::Serving | Mode::Closing { .. } if connection.wants_turn => self.drive(token),
                Mode::Serving | Mode::Closing { .. } => match self.os.unacked_bytes(&connection.socket) {
                    // The peer is slow, not stuck: it has taken some since.
                    Some(unacked_bytes) if connection.unacked_bytes.is_none_or(|before| unacked_bytes < before) => {
                        connection.unacked_bytes = Some(unacked_bytes);
                        connection.stalled_at = Some(now);
                        Ok(())
                    }
                    _ => {
                        self.os.set_reset_on_close(&connection.socket);
                        Err(CloseReason::Stalled)
                    }
                },
            };
            self.settle(token, outcome);
        }
    }

    /// Stops accepting; what is in hand has until the drain's end.
    fn drain(&mut self, age: Duration) {
        self.draining = Some(Drain { spent: age, counted: self.now.instant, polled_once: false, listening: true });
        self.accept_the_last();
        log::info!("stopping: {} connections are open", self.connections.open());
    }

    /// Connections that the kernel has accepted for us would be reset with the listener: so it goes once they are in,
    /// as places and descriptors allow.
    fn accept_the_last(&mut self) {
        while self.draining.is_some_and(|drain| drain.listening)
            && !self.connections.is_full()
            && self.accept_paused_until.is_none()
        {
            let nobody_waits = self.accept(tuning::ACCEPT_RUN_MAX);
            if let Some(drain) = &mut self.draining {
                (drain.polled_once, drain.listening) = (false, !nobody_waits);
            }
            if nobody_waits {
                // Closing removes it from the poller as well, so there is nothing to fail.
                let _ = self.os.watch_listener(false);
                self.os.stop_listening();
            }
        }
    }

    /// Counts what has passed since the last count; of a stretch with a freeze in it only a turn's worth.
    fn count_drain(&mut self, frozen: bool) {
        self.now = self.os.now();
        let Some(drain) = &mut self.draining else { return };
        let passed = self.now.instant.saturating_duration_since(drain.counted);
        drain.spent += if frozen { passed.min(tuning::TURN_TIME_MAX) } else { passed };
        drain.counted = self.now.instant;
    }

    /// Closes what has nothing to say any more, once a stopping instance has looked at every connection.
    fn sweep(&mut self, saw_all: bool) {
        let Some(drain) = &mut self.draining else { return };
        drain.polled_once |= saw_all;
        if !drain.polled_once {
            return;
        }
        for token in self.connections.pick(Connection::is_idle) {
            let outcome = self.close_or_linger(token, false);
            self.settle(token, outcome.map_err(|_| CloseReason::Stopping));
        }
        let linger_until = self.clock.reading() + self.linger_time();
        for token in self.connections.pick(|connection| matches!(connection.mode, Mode::Lingering { .. })) {
            if let Some(Connection { mode: Mode::Lingering { until, .. }, .. }) = self.connections.get(token) {
                *until = linger_until.min(*until);
            }
            self.connections.settle(token, self.limits.stall_time_max);
        }
    }
}

/// Errors of `accept` that concern the connection that was to be accepted, not us (accept(2)).
fn is_about_the_peer(error: Errno) -> bool {
    const PEER: [Errno; 6] =
        [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM, Errno::NETDOWN, Errno::HOSTUNREACH];
    PEER.contains(&error)
}

#[cfg(test)]
#[path = "../../tests/event_loop/mod.rs"]
mod tests;
