//! The client's side of an exchange, as a state machine.
//!
//! Every change of state passes one door, [`Machine::enter`], and is a row of [`TRANSITIONS`].
//!
//! ```text
//! (accepted) ──────────────────────────────────────▶ New
//!
//! New Idle Receiving ── Partial ───────────────────▶ Receiving
//! New Idle Receiving ── Held ──────────────────────▶ Waiting
//! New Idle Receiving ── Forwarded ─────────────────▶ Forwarding
//! New Idle Receiving ── Answered ──────────────────▶ Sending
//! New Idle Receiving ── AnsweredLast ──────────────▶ SendingLast
//! Receiving ─────────── BlankLine ─────────────────▶ Idle
//! New Idle ──────────── Stopped ───────────────────▶ Lingering
//!
//! Waiting Forwarding ── Forwarded ─────────────────▶ Forwarding
//! Waiting Forwarding ── Answered ──────────────────▶ Sending
//! Waiting Forwarding ── AnsweredLast ──────────────▶ SendingLast
//!
//! Forwarding ────────── ReplyBegun ────────────────▶ Relaying
//! Forwarding ────────── Switched ──────────────────▶ Tunnelling
//! Relaying ──────────── Answered ──────────────────▶ Sending
//! Relaying ──────────── AnsweredLast ──────────────▶ SendingLast
//! Tunnelling ────────── Ended ─────────────────────▶ SendingLast
//! Sending ───────────── Sent ──────────────────────▶ Idle
//! SendingLast ───────── Sent ──────────────────────▶ Lingering
//! ```
//!
//! Every state also leads to `Closed`.

// Release builds check no transition: the simulation has seen each row.
#![cfg_attr(not(any(test, debug_assertions)), allow(dead_code))]

use std::fmt;

/// Where a client's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Accepted; the client has not sent a whole head yet.
    New,
    /// Nothing is in progress, since the last reply was sent.
    Idle,
    /// A part of a head has arrived.
    Receiving,
    /// A whole head has arrived, and a hook must end before the call begins.
    Waiting,
    /// The request is with the program, and nothing of the reply was passed on.
    Forwarding,
    /// The program's reply is being passed on.
    Relaying,
    /// The rest of a reply is being sent, and the connection stays open behind it.
    Sending,
    /// The rest of the last reply is being sent.
    SendingLast,
    /// Both sides have changed to another protocol.
    Tunnelling,
    /// Everything is sent; what the client still sends is read and dropped.
    Lingering,
    Closed,
}

/// What moves a client's connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part of a head is there.
    Partial,
    /// What looked like the beginning of a request was an empty line.
    BlankLine,
    /// The call must wait for a hook, or it is one.
    Held,
    /// The request was passed on, for the first time or once more.
    Forwarded,
    /// The program's reply has begun.
    ReplyBegun,
    /// The reply is whole, and the connection stays open behind it.
    Answered,
    /// The reply is whole, and the connection closes behind it.
    AnsweredLast,
    /// All bytes in hand were written.
    Sent,
    /// The program has agreed to change the protocol.
    Switched,
    /// The program has closed its end of the tunnel.
    Ended,
    /// The instance stops while the connection is idle.
    Stopped,
    Close(CloseReason),
}

/// Why a client's connection was closed; logged once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Both sides were done with it.
    Done,
    /// The client left between two requests, as probes do (C-START-3).
    ClientLeft,
    /// The client left in the middle of a request, or before its reply was whole.
    ClientLeftEarly,
    /// Reading or writing failed.
    Broken,
    /// The client did not take its reply in time.
    Stalled,
    /// The program's reply broke off.
    ReplyCut,
    /// Another connection needed its slot.
    Evicted,
    /// The instance stops.
    Stopping,
    /// The kernel could not add it to those that the loop waits for.
    NotRegistered,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Done => "both sides were done",
            CloseReason::ClientLeft => "the client left",
            CloseReason::ClientLeftEarly => "the client left in the middle of a call",
            CloseReason::Broken => "the connection broke",
            CloseReason::Stalled => "the client took no byte of its reply in time",
            CloseReason::ReplyCut => "the program's reply broke off",
            CloseReason::Evicted => "evicted",
            CloseReason::Stopping => "the instance is stopping",
            CloseReason::NotRegistered => "it cannot be waited for",
        })
    }
}

/// A transition: from a state, by an event, to a state.
pub(crate) type Row = (State, Event, State);

/// Every transition there is, but for those to `Closed`, which every other state has.
pub(crate) const TRANSITIONS: [Row; 31] = {
    use Event::*;
    use State::*;
    [
        (New, Partial, Receiving),
        (Idle, Partial, Receiving),
        (Receiving, Partial, Receiving),
        (Receiving, BlankLine, Idle),
        (New, Held, Waiting),
        (Idle, Held, Waiting),
        (Receiving, Held, Waiting),
        (New, Forwarded, Forwarding),
        (Idle, Forwarded, Forwarding),
        (Receiving, Forwarded, Forwarding),
        (New, Answered, Sending),
        (Idle, Answered, Sending),
        (Receiving, Answered, Sending),
        (New, AnsweredLast, SendingLast),
        (Idle, AnsweredLast, SendingLast),
        (Receiving, AnsweredLast, SendingLast),
        (Waiting, Forwarded, Forwarding),
        (Waiting, Answered, Sending),
        (Waiting, AnsweredLast, SendingLast),
        (Forwarding, Forwarded, Forwarding), // once more, on a new connection
        (Forwarding, Answered, Sending),     // 502: the program gave none
        (Forwarding, AnsweredLast, SendingLast),
        (Forwarding, ReplyBegun, Relaying),
        (Forwarding, Switched, Tunnelling),
        (Relaying, Answered, Sending),
        (Relaying, AnsweredLast, SendingLast),
        (Tunnelling, Ended, SendingLast),
        (Sending, Sent, Idle),
        (SendingLast, Sent, Lingering),
        (New, Stopped, Lingering),
        (Idle, Stopped, Lingering),
    ]
};

/// The state of a client's connection.
#[derive(Debug)]
pub(crate) struct Machine(State);

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine(State::New)
    }

    pub(crate) fn state(&self) -> State {
        self.0
    }

    /// The one door.
    #[inline]
    pub(crate) fn enter(&mut self, event: Event, next: State) {
        #[cfg(any(test, debug_assertions))]
        check((self.0, event, next));
        let _ = event;
        self.0 = next;
    }

    /// Nothing is in progress, so a close loses nothing.
    pub(crate) fn is_between_calls(&self) -> bool {
        matches!(self.0, State::New | State::Idle)
    }

    /// A call is in progress that a stop waits for.
    pub(crate) fn is_in_call(&self) -> bool {
        !matches!(self.0, State::New | State::Idle | State::Lingering | State::Closed)
    }

    /// The next bytes of the client are the head of a request.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(self.0, State::New | State::Idle | State::Receiving)
    }
}

/// A transition without a row is a fault of the adapter.
#[cfg(any(test, debug_assertions))]
fn check(row: Row) {
    #[cfg(test)]
    TAKEN.with_borrow_mut(|taken| taken.push(row));
    let (from, event, to) = row;
    let is_closing = from != State::Closed && to == State::Closed && matches!(event, Event::Close(_));
    assert!(is_closing || TRANSITIONS.contains(&row), "no such transition of a client: {row:?}");
}

#[cfg(test)]
thread_local! {
    /// The rows that were taken, for the simulation.
    pub(crate) static TAKEN: std::cell::RefCell<Vec<Row>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no such transition of a client: (New, Sent, Idle)")]
    fn what_is_not_listed_is_a_fault() {
        Machine::new().enter(Event::Sent, State::Idle);
    }
}
