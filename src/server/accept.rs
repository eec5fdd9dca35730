//! Whether the server accepts connections, as a state machine.
//!
//! Every change of state passes one door, [`Acceptor::enter`], and is a row of [`TRANSITIONS`]. The loop waits for the
//! listener in the state `Open` and in no other.
//!
//! ```text
//! (listening) ────────────▶ Open
//!
//! Open ── Backlogged ─────▶ Full ───── Freed Evictable ▶ Open
//! Open ── Exhausted ──────▶ Paused ─── Freed RetryDue ─▶ Open
//!
//! Open ─── StopRequested ─▶ Draining ─ BacklogEmpty ───▶ Closed
//! Full ─── StopRequested ─▶ Draining ─ Exhausted ──────▶ Draining
//! Paused ─ StopRequested ─▶ Draining ─ Freed RetryDue ─▶ Draining
//! ```

// Release builds check no transition: the simulation has seen each row.
#![cfg_attr(not(any(test, debug_assertions)), allow(dead_code))]

use super::event_loop::Loop;
use crate::function::request::Peer;
use crate::server::connection::{CloseReason, Connection, Event as ConnectionEvent, State};
use crate::server::system::System;
use crate::tuning::{ACCEPT_RETRY, ACCEPT_RUN_MAX, EXHAUSTION_SILENCE};
use rustix::io::Errno;
use std::time::Duration;

/// Whether connections are accepted. Times are readings of the awake clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// The loop waits for the listener.
    Open,
    /// The table is full and at least one connection waits in the backlog. `evictable_at`: from when on another
    /// connection can be evicted for it, if no connection closes before.
    Full { evictable_at: Option<Duration> },
    /// The kernel gave the server no connection although one waits: try again then, or when one closes.
    Paused { until: Duration },
    /// The instance stops: only what waits in the backlog is accepted, unless the kernel had no room for it.
    Draining { paused_until: Option<Duration> },
    /// The listener is closed.
    Closed,
}

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Open,
    Full,
    Paused,
    Draining,
    Closed,
}

/// What moves the server from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A connection waits, the table is full, and no connection can be evicted.
    Backlogged,
    /// The kernel cannot give the server another connection, or cannot report one.
    Exhausted,
    /// A connection has closed.
    Freed,
    /// The time of a connection has come that can be evicted.
    Evictable,
    /// The pause is over.
    RetryDue,
    /// SIGTERM or SIGINT.
    StopRequested,
    /// No connection waits any more.
    BacklogEmpty,
}

/// A transition: from a state, by an event, to a state.
pub(crate) type Row = (Name, Event, Name);

/// Every transition there is; `Closed` is the end. What is not listed cannot happen: outside of `Open` and `Draining`
/// the server accepts nothing, so it meets neither a full table nor an exhausted kernel.
pub(crate) const TRANSITIONS: [Row; 13] = {
    use Event::*;
    use Name::*;
    [
        (Open, Backlogged, Full),
        (Open, Exhausted, Paused),
        (Open, StopRequested, Draining),
        (Full, Freed, Open),
        (Full, Evictable, Open),
        (Full, StopRequested, Draining),
        (Paused, Freed, Open),
        (Paused, RetryDue, Open),
        (Paused, StopRequested, Draining), // the pause goes on
        (Draining, Exhausted, Draining),
        (Draining, Freed, Draining),
        (Draining, RetryDue, Draining),
        (Draining, BacklogEmpty, Closed),
    ]
};

/// The state, and when the log last told of an exhausted kernel.
pub(crate) struct Acceptor {
    state: Accept,
    /// The log says nothing more about it before this time.
    warning_muted_until: Duration,
    /// Connections in a row that could not be accepted for a reason of their own.
    failed_in_a_row: usize,
}

impl Acceptor {
    pub(crate) fn new() -> Acceptor {
        Acceptor { state: Accept::Open, warning_muted_until: Duration::ZERO, failed_in_a_row: 0 }
    }

    pub(crate) fn state(&self) -> Accept {
        self.state
    }

    /// The one door.
    pub(crate) fn enter(&mut self, event: Event, next: Accept) {
        #[cfg(any(test, debug_assertions))]
        check((self.state.name(), event, next.name()));
        let _ = event;
        self.state = next;
    }

    /// A connection has closed: its slot and its descriptor are free.
    pub(crate) fn freed(&mut self) {
        match self.state {
            Accept::Full { .. } | Accept::Paused { .. } => self.enter(Event::Freed, Accept::Open),
            Accept::Draining { paused_until: Some(_) } => {
                self.enter(Event::Freed, Accept::Draining { paused_until: None });
            }
            Accept::Open | Accept::Draining { paused_until: None } | Accept::Closed => {}
        }
    }

    /// The kernel could not give the server a connection. True if the log should say so.
    pub(super) fn pause(&mut self, now: Duration) -> bool {
        let until = now + ACCEPT_RETRY;
        let is_draining = matches!(self.state, Accept::Draining { .. });
        let next = if is_draining { Accept::Draining { paused_until: Some(until) } } else { Accept::Paused { until } };
        self.enter(Event::Exhausted, next);
        let is_due = self.warning_muted_until <= now;
        if is_due {
            self.warning_muted_until = now + EXHAUSTION_SILENCE;
        }
        is_due
    }

    /// A connection failed for a reason of its own. False if so many have in a row that the reason is the server's: a
    /// security profile that forbids to accept says `EPERM`, as a firewall does of one connection.
    pub(super) fn may_be_its_own(&mut self) -> bool {
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        self.failed_in_a_row < ACCEPT_RUN_MAX
    }

    /// A connection was accepted, or none waits.
    #[cfg(feature = "adapter")]
    pub(super) fn none_failed(&mut self) {
        self.failed_in_a_row = 0;
    }

    /// Ends a pause whose time is over.
    pub(crate) fn end_pause(&mut self, now: Duration) {
        if self.paused_until().is_some_and(|until| until <= now) {
            let is_draining = matches!(self.state, Accept::Draining { .. });
            let next = if is_draining { Accept::Draining { paused_until: None } } else { Accept::Open };
            self.enter(Event::RetryDue, next);
        }
    }

    pub(crate) fn paused_until(&self) -> Option<Duration> {
        match self.state {
            Accept::Paused { until } => Some(until),
            Accept::Draining { paused_until } => paused_until,
            Accept::Open | Accept::Full { .. } | Accept::Closed => None,
        }
    }

    /// While the table is full: from when on a connection can be evicted, as of now.
    pub(super) fn refresh(&mut self, next: Option<Duration>) {
        if let Accept::Full { evictable_at } = &mut self.state {
            *evictable_at = next;
        }
    }

    /// When to look again whether a connection can be accepted, if none closes before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.state {
            Accept::Full { evictable_at } => evictable_at,
            _ => self.paused_until(),
        }
    }
}

impl Accept {
    pub(crate) fn name(self) -> Name {
        match self {
            Accept::Open => Name::Open,
            Accept::Full { .. } => Name::Full,
            Accept::Paused { .. } => Name::Paused,
            Accept::Draining { .. } => Name::Draining,
            Accept::Closed => Name::Closed,
        }
    }
}

/// A transition without a row is a fault of the server.
#[cfg(any(test, debug_assertions))]
fn check(row: Row) {
    #[cfg(test)]
    TAKEN.with_borrow_mut(|taken| taken.push(row));
    assert!(TRANSITIONS.contains(&row), "no such transition of accepting: {row:?}");
}

#[cfg(test)]
thread_local! {
    /// The rows that were taken, for the simulation.
    pub(crate) static TAKEN: std::cell::RefCell<Vec<Row>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl<S, O: System> Loop<S, O> {
    /// Before each wait: whether the listener takes part in it.
    pub(super) fn watch_listener(&mut self) {
        if let Accept::Full { .. } = self.accept.state() {
            let now = self.clock.reading();
            let evictable_at = self.connections.evictable(now).map(|(_, from)| from);
            if evictable_at.is_some_and(|at| at <= now) {
                self.accept.enter(Event::Evictable, Accept::Open);
            } else {
                self.accept.refresh(evictable_at);
            }
        }
        let is_open = self.accept.state() == Accept::Open;
        if let Err(error) = self.system.watch_listener(is_open) {
            self.pause_accepting(error);
        }
    }

    /// The listener is ready, so one connection waits at least. `is_alone`: nothing else is ready.
    pub(super) fn on_acceptable(&mut self, is_alone: bool) {
        if self.accept.state() == Accept::Open {
            // Where nothing else is ready it is rarely more than one connection, and to ask for a second costs a call.
            self.accept_run(if is_alone { 1 } else { ACCEPT_RUN_MAX });
        }
    }

    /// Accepts some connections. True if no more connection waits.
    pub(super) fn accept_run(&mut self, run_max: usize) -> bool {
        for nth in 0..run_max {
            // Only of the first connection it is known that it waits.
            let is_first = nth == 0;
            if self.connections.is_full() && !(is_first && self.evict_unused()) {
                if is_first {
                    self.accept.enter(Event::Backlogged, Accept::Full { evictable_at: None });
                }
                return false;
            }
            let accepted = self.system.accept();
            if matches!(accepted, Ok(_) | Err(Errno::AGAIN)) {
                self.accept.failed_in_a_row = 0;
            }
            match accepted {
                Ok((socket, client)) => self.admit(socket, client),
                Err(Errno::AGAIN) => return true,
                Err(error) if is_of_the_connection(error) && self.accept.may_be_its_own() => {}
                // The kernel says so even where no connection waits.
                Err(Errno::MFILE | Errno::NFILE) if is_first && self.evict_unused() => {}
                Err(error) => {
                    self.pause_accepting(error);
                    return false;
                }
            }
        }
        false
    }

    fn admit(&mut self, socket: O::Socket, client: Peer) {
        let token = self.connections.insert(Connection::new(socket, client, self.clock.reading()));
        let Some(connection) = self.connections.get(token) else { return };
        if let Err(error) = self.system.register(&connection.socket, token, connection.noted.interest) {
            log::warn!("cannot wait for a connection: {error}");
            connection.enter(ConnectionEvent::Close(CloseReason::NotRegistered), State::Closed);
            self.connections.remove(token);
        }
    }

    #[cold]
    #[inline(never)]
    fn pause_accepting(&mut self, error: Errno) {
        if self.accept.pause(self.clock.reading()) {
            log::warn!("cannot accept connections for now: {error}; {} are open", self.connections.open());
        }
    }
}

/// Errors of `accept` that concern the connection that was to be accepted, not the server (accept(2)), unless they do
/// not end.
pub(super) fn is_of_the_connection(error: Errno) -> bool {
    const ERRORS: [Errno; 6] =
        [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM, Errno::NETDOWN, Errno::HOSTUNREACH];
    ERRORS.contains(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no such transition of accepting: (Open, BacklogEmpty, Closed)")]
    fn what_is_not_listed_is_a_fault() {
        Acceptor::new().enter(Event::BacklogEmpty, Accept::Closed);
    }

    /// The log tells of an exhausted kernel once in a while, however often the server tries.
    #[test]
    fn exhaustion_is_not_repeated_in_the_log() {
        let mut acceptor = Acceptor::new();
        let mut told = Vec::new();
        for turn in 0..100 {
            let now = ACCEPT_RETRY * turn;
            acceptor.end_pause(now);
            if acceptor.pause(now) {
                told.push(now);
            }
        }
        assert_eq!(told, [Duration::ZERO, EXHAUSTION_SILENCE, EXHAUSTION_SILENCE * 2]);
    }
}
