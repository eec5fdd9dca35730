//! The drain: from a stop signal to the exit.
//!
//! A stopping instance first accepts all connections that wait in the kernel's backlog, then closes the listener: the
//! kernel would reset them with it. It looks at every connection once, answers what has arrived, and closes connections
//! that are idle. What is in progress has until the drain's end, whatever clients do.

use super::event_loop::Loop;
use crate::function::exchange::linger_time;
use crate::server::accept::{Accept, Event};
use crate::server::connection::{self, CloseReason, Connection, LingerAfter, State};
use crate::server::system::System;
use crate::tuning::{ACCEPT_RUN_MAX, TURN_TIME_MAX};
use std::time::{Duration, Instant};

/// How far a drain has come.
#[derive(Clone, Copy)]
pub(crate) struct Drain {
    /// Time since the signal, callbacks included, freezes not.
    spent: Duration,
    counted_until: Instant,
    /// Every connection was looked at since the stop, so those that are idle can be closed.
    pub(crate) polled_once: bool,
}

impl Drain {
    /// `age`: the time since the signal.
    pub(super) fn new(age: Duration, now: Instant) -> Drain {
        Drain { spent: age, counted_until: now, polled_once: false }
    }

    /// Counts the time since the last count; of a stretch with a freeze in it no more than a turn.
    pub(super) fn count(&mut self, now: Instant, was_frozen: bool) {
        let passed = now.saturating_duration_since(self.counted_until);
        self.spent += if was_frozen { passed.min(TURN_TIME_MAX) } else { passed };
        self.counted_until = now;
    }

    pub(crate) fn time_left(&self, drain_time_max: Duration) -> Duration {
        drain_time_max.saturating_sub(self.spent)
    }
}

impl<S, O: System> Loop<S, O> {
    /// Everything is closed, or the drain's time is over.
    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.drain
            .is_some_and(|drain| self.connections.open() == 0 || drain.time_left(self.limits.drain_time_max).is_zero())
    }

    #[cold]
    #[inline(never)]
    pub(super) fn begin_drain(&mut self, age: Duration) {
        self.drain = Some(Drain::new(age, self.now.instant));
        let paused_until = self.accept.paused_until();
        self.accept.enter(Event::StopRequested, Accept::Draining { paused_until });
        self.accept_backlog();
        log::info!("stopping: {} connections are open", self.connections.open());
    }

    #[inline(always)]
    pub(super) fn count_drain(&mut self, was_frozen: bool) {
        if let Some(drain) = &mut self.drain {
            self.now = self.system.now();
            drain.count(self.now.instant, was_frozen);
        }
    }

    /// Accepts the connections that wait, as slots and descriptors allow; closes the listener once none waits.
    #[inline(never)]
    pub(super) fn accept_backlog(&mut self) {
        while matches!(self.accept.state(), Accept::Draining { paused_until: None }) && !self.connections.is_full() {
            let is_empty = self.accept_run(ACCEPT_RUN_MAX);
            if let Some(drain) = &mut self.drain {
                drain.polled_once = false;
            }
            if is_empty {
                self.accept.enter(Event::BacklogEmpty, Accept::Closed);
                // Closing removes it from the poller as well, so there is nothing to fail.
                let _ = self.system.watch_listener(false);
                self.system.stop_listening();
            }
        }
    }

    /// Closes idle connections once the stopping instance has looked at all; shortens the time of those that linger.
    #[inline(never)]
    pub(super) fn close_idle_for_drain(&mut self, saw_all: bool) {
        let Some(drain) = &mut self.drain else { return };
        drain.polled_once |= saw_all;
        if !drain.polled_once {
            return;
        }
        for token in self.connections.pick(Connection::is_idle) {
            let outcome = self.close_or_linger(token, connection::Event::Stopped, LingerAfter::IfUnacked);
            self.sync(token, outcome.map_err(|_| CloseReason::Stopping));
        }
        let end = self.clock.reading() + linger_time(&self.limits, true);
        for token in self.connections.pick(|connection| matches!(connection.state(), State::Lingering { .. })) {
            if let Some(connection) = self.connections.get(token) {
                connection.linger_no_longer_than(end);
            }
            self.connections.update_accounting(token, self.limits.stall_time_max);
        }
    }
}
