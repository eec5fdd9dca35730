//! The loop: wait, clock, signals, accept, step each connection, fire timeouts, drain.
//!
//! One thread, level-triggered readiness. Every turn asks the kernel what is ready and does one bounded step for each;
//! what is not finished is reported again in the next turn. While no request is in progress the wait has no limit, so
//! an idle instance never wakes. All system calls go through [`System`], and all decisions about calls are the
//! [`Dispatcher`]'s. Whether connections are accepted is the machine in [`accept`](super::accept), what a connection
//! may do is the one in [`connection`](super::connection); this file only decides whose turn it is.

use crate::function::dispatch::Dispatcher;
use crate::function::lifecycle::{ClockReading, Evidence};
use crate::function::marker_log::{MarkerLog, MarkerWriter};
use crate::limits::Limits;
use crate::server::accept::Acceptor;
use crate::server::awake_clock::AwakeClock;
use crate::server::buffers::BufferPool;
use crate::server::connection::CloseReason;
use crate::server::connection_table::ConnectionTable;
use crate::server::drain::Drain;
use crate::server::system::{EVENTS_PER_WAIT, Ready, Signals, System, Token};
use crate::tuning::{OVERSLEPT_MIN, TURN_TIME_MAX};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// A server on its way through its life.
pub(crate) struct Loop<S: 'static, O: System> {
    pub(super) system: O,
    pub(super) dispatcher: Dispatcher<S>,
    pub(super) marker_log: MarkerLog,
    pub(super) limits: Limits,
    pub(super) connections: ConnectionTable<O::Socket>,
    pub(super) buffers: BufferPool,
    pub(super) accept: Acceptor,
    /// Since a stop was asked for.
    pub(super) drain: Option<Drain>,
    pub(super) clock: AwakeClock,
    /// This turn's reading of the system's clocks.
    pub(super) now: ClockReading,
    /// An author's reader ran in this turn, and may have taken any time.
    pub(super) streamed: bool,
}

impl<S, O: System> Loop<S, O> {
    pub(crate) fn new(mut system: O, dispatcher: Dispatcher<S>, limits: Limits, call_markers: bool) -> Loop<S, O> {
        let now = system.now();
        Loop {
            system,
            dispatcher,
            marker_log: MarkerLog::new(call_markers),
            connections: ConnectionTable::new(limits.connections_max),
            limits,
            buffers: BufferPool::default(),
            accept: Acceptor::new(),
            drain: None,
            clock: AwakeClock::new(now.instant),
            now,
            streamed: false,
        }
    }

    /// Serves until a signal ends it. Then, or if it cannot wait any more, closes everything and runs pre-stop.
    // Out of line, so that the frames of start and service do not add up.
    #[inline(never)]
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        let outcome = self.serve_until_done();
        for token in self.connections.pick(|_| true) {
            self.close(token, CloseReason::Stopping);
        }
        self.dispatcher.stop(&mut MarkerWriter::new(&mut self.system, &mut self.marker_log));
        self.system.flush_output();
        outcome
    }

    fn serve_until_done(&mut self) -> Result<(), Errno> {
        let mut ready = Vec::new();
        while !self.is_done() {
            self.watch_listener();
            let limit = self.wait_limit();
            let interrupted = self.wait(&mut ready, limit)?;
            for event in &ready {
                if self.is_done() {
                    break;
                }
                match event.token {
                    Token::LISTENER => self.on_acceptable(ready.len() == 1),
                    Token::WAKE => {}
                    _ => self.step(event),
                }
                self.count_drain(false);
            }
            self.fire_timeouts();
            if self.drain.is_some() {
                let saw_all = !interrupted && limit == Some(Duration::ZERO) && ready.len() < EVENTS_PER_WAIT;
                self.close_idle_for_drain(saw_all);
                self.accept_backlog();
            }
        }
        Ok(())
    }

    /// `None`: no deadline is pending, so the wait has no limit.
    fn wait_limit(&self) -> Option<Duration> {
        if self.drain.is_some_and(|drain| !drain.polled_once) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.reading();
        let drain = self.drain.map(|drain| now + drain.time_left(self.limits.drain_time_max));
        let clients = self.connections.any_timed().then_some(now + TURN_TIME_MAX);
        let next = [drain, self.accept.deadline(), clients].into_iter().flatten().min()?;
        Some(next.saturating_sub(now).min(TURN_TIME_MAX))
    }

    /// One wait; then the clocks, the signals, and what they tell about freezes. True if the wait was interrupted.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        if self.dispatcher.before_wait() {
            // A frozen instance holds no memory that the call which thaws it can have anew.
            self.buffers = BufferPool::default();
        }
        let before = self.system.monotonic();
        self.look_at_turn(before);
        let interrupted = self.system.wait(ready, limit)?;
        self.now = self.system.now();
        self.clock.turn(self.now.instant);
        let Signals { stop_age, continued, any } = self.system.signals();
        let overslept = limit
            .and_then(|limit| self.now.instant.saturating_duration_since(before).checked_sub(limit))
            .filter(|excess| *excess >= OVERSLEPT_MIN);
        let unexplained = interrupted && !any;
        let evidence = Evidence { sigcont: continued, overslept, interrupted: unexplained, ..Evidence::default() };
        if evidence.any() {
            self.dispatcher.record_evidence(evidence);
        }
        match stop_age {
            Some(_) if self.drain.is_some() => self.count_drain(evidence.any()),
            Some(age) => self.begin_drain(age),
            None => {}
        }
        Ok(interrupted)
    }

    /// A freeze that falls between two waits interrupts neither (C-FRZ-11), but the turn takes longer than its
    /// callbacks do. A freeze inside of a callback, or in the instant between this look and the wait, does not show.
    fn look_at_turn(&mut self, now: Instant) {
        let has_streamed = std::mem::take(&mut self.streamed);
        let idle_since = self.now.instant.max(self.dispatcher.last_active());
        if now >= idle_since + OVERSLEPT_MIN && !has_streamed {
            let overslept = Some(now.saturating_duration_since(idle_since));
            self.dispatcher.record_evidence(Evidence { overslept, ..Evidence::default() });
        }
    }

    /// Handles the deadlines that have passed.
    fn fire_timeouts(&mut self) {
        let now = self.clock.reading();
        self.accept.end_pause(now);
        for token in self.connections.overdue(now, self.limits.stall_time_max) {
            // A connection whose turn has come may have requests to serve, and no callback begins beyond the drain.
            if self.is_done() {
                break;
            }
            let outcome = self.on_deadline(token);
            self.sync(token, outcome);
            self.count_drain(false);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/event_loop/mod.rs"]
mod tests;
