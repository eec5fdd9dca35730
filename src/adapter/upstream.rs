//! The program's side of an exchange, as a state machine.
//!
//! ```text
//! (connected) ─────────────────────────▶ Asking
//!
//! Asking ───────────── ReplyBegun ─────▶ Replying
//! Asking ───────────── Switched ───────▶ Tunnelling
//! Replying ─────────── Finished ───────▶ Kept
//! Kept ─────────────── Reused ─────────▶ Asking
//! ```
//!
//! Every state also leads to `Closed`.

// Release builds check no transition: the simulation has seen each row.
#![cfg_attr(not(any(test, debug_assertions)), allow(dead_code))]

/// Where a connection to the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A request is on its way, and the head of its reply is not whole.
    Asking,
    /// The body of the reply is on its way.
    Replying,
    /// Both sides have changed to another protocol.
    Tunnelling,
    /// Nothing is in progress; the next request may use it.
    Kept,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    ReplyBegun,
    Switched,
    /// Request and reply are whole.
    Finished,
    /// Another request takes the connection.
    Reused,
    Closed(CloseReason),
}

/// Why a connection to the program was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The reply is whole, and the connection cannot be used again.
    Done,
    /// The program closed it, or it broke.
    ProgramLeft,
    /// The reply is not HTTP.
    BrokenReply,
    /// The client left.
    ClientLeft,
    /// The instance was frozen: the program may be about to close it.
    Thawed,
    /// It was idle for so long that the program may be about to close it.
    Old,
    /// The hook's time is over.
    Overdue,
    Stopping,
}

/// A transition: from a state, by an event, to a state.
pub(crate) type Row = (State, Event, State);

/// Every transition there is, but for those to `Closed`, which every other state has.
pub(crate) const TRANSITIONS: [Row; 4] = {
    use Event::*;
    use State::*;
    [(Asking, ReplyBegun, Replying), (Asking, Switched, Tunnelling), (Replying, Finished, Kept), (Kept, Reused, Asking)]
};

/// The state of a connection to the program.
#[derive(Debug)]
pub(crate) struct Machine(State);

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine(State::Asking)
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
}

/// A transition without a row is a fault of the adapter.
#[cfg(any(test, debug_assertions))]
fn check(row: Row) {
    #[cfg(test)]
    TAKEN.with_borrow_mut(|taken| taken.push(row));
    let (from, event, to) = row;
    let is_closing = from != State::Closed && to == State::Closed && matches!(event, Event::Closed(_));
    assert!(is_closing || TRANSITIONS.contains(&row), "no such transition of a connection to the program: {row:?}");
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
    #[should_panic(expected = "no such transition of a connection to the program: (Asking, Reused, Asking)")]
    fn what_is_not_listed_is_a_fault() {
        Machine::new().enter(Event::Reused, State::Asking);
    }
}
