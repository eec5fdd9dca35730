//! The loop: wait, clock, signals, accept, step each, expire.
//!
//! One thread, level-triggered readiness. Every turn asks the kernel what is ready and does one bounded step for
//! each; what is not finished is seen again in the next turn. While no request is in progress the wait has no limit,
//! so an idle instance never wakes. All system calls go through [`System`], all decisions about calls through
//! [`Service`]; this file decides only whose turn it is and when a connection ends.

mod eviction;
mod exchange;

use crate::function::dispatch::Service;
use crate::function::lifecycle::{Evidence, Moment};
use crate::function::marker_log::{Console, Printer};
use crate::function::request::Peer;
use crate::limits::Limits;
use crate::server::awake_clock::AwakeClock;
use crate::server::connection_table::{CloseReason, Mode, Slot, Slots};
use crate::server::system::{EVENTS_PER_WAIT, Interest, Ready, Signals, System, Token};
use crate::tuning;
use exchange::refuse;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// A server on its way through its life.
pub(crate) struct Loop<S: 'static, O: System> {
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
    /// That was said in the log, and need not be said again before.
    silent_until: Option<Duration>,
    /// All slots are taken and somebody has come nevertheless.
    turned_away: bool,
    draining: Option<Drain>,
}

#[derive(Default)]
struct Spare {
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
    looked: bool,
    /// Somebody may still wait in the kernel's queue.
    listening: bool,
}

/// What became of a step.
type Outcome = Result<(), CloseReason>;

impl<S, O: System> Loop<S, O> {
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
            console: Console::new(call_markers),
            resting_until: None,
            silent_until: None,
            turned_away: false,
            draining: None,
        }
    }

    /// Serves until a signal ends it.
    pub(crate) fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.is_done() {
            let room_at = self.room_at();
            self.watch_listener(room_at);
            let limit = self.wait_limit(room_at);
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
        for token in self.slots.pick(|_| true) {
            self.close(token, CloseReason::Stopping);
        }
        self.service.stop(&mut Printer::new(&mut self.os, &mut self.console));
        self.os.flush_output();
    }

    fn is_done(&self) -> bool {
        self.draining.is_some_and(|drain| self.slots.open() == 0 || drain.spent >= self.limits.drain_time_max)
    }

    /// None means for ever: nobody owes us anything.
    fn wait_limit(&self, room_at: Option<Duration>) -> Option<Duration> {
        if self.draining.is_some_and(|drain| !drain.looked) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.reading();
        let drain = self.draining.map(|drain| now + self.limits.drain_time_max.saturating_sub(drain.spent));
        // What is there already needs no waiting for.
        let room = room_at.filter(|at| *at > now);
        let peers = if self.slots.any_timed() { Some(now + tuning::TURN_TIME_MAX) } else { None };
        let next = [drain, self.resting_until, room, peers].into_iter().flatten().min()?;
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
            self.service.note(evidence);
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
            if self.slots.is_full() && (nth > 0 || !self.make_room()) {
                self.turned_away = nth == 0;
                return false;
            }
            match self.os.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if is_about_the_peer(error) => {}
                Err(Errno::AGAIN) => return true,
                // Said even where nobody waits.
                Err(Errno::MFILE | Errno::NFILE) if nth == 0 && self.make_room() => {}
                Err(error) => {
                    self.rest(error);
                    return false;
                }
            }
        }
        false
    }

    fn admit(&mut self, socket: O::Socket, peer: Peer) {
        let token = self.slots.insert(Slot::new(socket, peer, self.clock.reading()));
        let Some(slot) = self.slots.get(token) else { return };
        if let Err(error) = self.os.watch(&slot.socket, token, slot.watched) {
            log::warn!("cannot watch a connection: {error}");
            self.slots.remove(token);
        }
    }

    /// Ends what has used up its time.
    fn expire(&mut self) {
        let now = self.clock.reading();
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
        }
        for token in self.slots.overdue(now, self.limits.stall_time_max) {
            let Some(slot) = self.slots.get(token) else { continue };
            let outcome = match slot.mode {
                Mode::Lingering { .. } => Err(CloseReason::Done),
                Mode::Serving if slot.interest() == Interest::Read => {
                    let error = slot.input.overdue();
                    refuse(slot, error);
                    self.drive(token)
                }
                // Its turn has not come for so long. Whether the peer takes anything will show now.
                Mode::Serving | Mode::Closing { .. } if slot.yielding => self.drive(token),
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
        self.draining = Some(Drain { spent: age, counted: self.now.instant, looked: false, listening: true });
        self.accept_the_last();
        log::info!("stopping: {} connections are open", self.slots.open());
    }

    /// Connections that the kernel has accepted for us would be reset with the listener: so it goes once they are in,
    /// as places and descriptors allow.
    fn accept_the_last(&mut self) {
        while self.draining.is_some_and(|drain| drain.listening)
            && !self.slots.is_full()
            && self.resting_until.is_none()
        {
            let nobody_waits = self.accept(tuning::ACCEPT_RUN_MAX);
            if let Some(drain) = &mut self.draining {
                (drain.looked, drain.listening) = (false, !nobody_waits);
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
        drain.looked |= saw_all;
        if !drain.looked {
            return;
        }
        for token in self.slots.pick(Slot::is_idle) {
            let outcome = self.close_or_linger(token, false);
            self.settle(token, outcome.map_err(|_| CloseReason::Stopping));
        }
        let linger_until = self.clock.reading() + self.linger_time();
        for token in self.slots.pick(|slot| matches!(slot.mode, Mode::Lingering { .. })) {
            if let Some(Slot { mode: Mode::Lingering { until, .. }, .. }) = self.slots.get(token) {
                *until = linger_until.min(*until);
            }
            self.slots.settle(token, self.limits.stall_time_max);
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
