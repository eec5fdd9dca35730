//! One connection, as a state machine.
//!
//! Every change of state passes one door, [`Connection::enter`], and is a row of [`TRANSITIONS`]. What a state needs
//! beside its name is data of that state. What the loop waits for ([`Connection::interest`]), until when
//! ([`Connection::deadline`]) and from when on the connection can be evicted follow from the state, afresh each time.
//!
//! ```text
//! (accepted) ────────────────────────────▶ New
//!
//! New Idle Receiving ── HeadDone ────────▶ Receiving
//! New Idle Receiving ── ContinueAwaited ─▶ Continuing ──── Sent ────────▶ Receiving
//! New Idle Receiving ── Answered ────────▶ Sending ─────── Sent ────────▶ Idle
//! New Idle Receiving ── AnsweredLast ────▶ SendingLast ─── Sent ────────▶ Lingering
//! New Idle Receiving ── Rejected ────────▶ SendingLast
//!
//! Idle ──────────────── Begun ───────────▶ Receiving ───── BlankLine ───▶ Idle
//! Idle ──────────────── TurnEnded ───────▶ Yielding ────── TurnBegun ───▶ Idle
//! Idle ──────────────── Stopped ─────────▶ Lingering
//!
//! New Idle ───────────── ClientLeft Evicted ────▶ Closed
//! New Receiving ──────── ClientLeftEarly Broken ▶ Closed
//! New ────────────────── NotRegistered ─────────▶ Closed
//! New Idle Receiving ─── Stopping ──────────────▶ Closed
//! Continuing Yielding ── Stopping ──────────────▶ Closed
//! Continuing ─────────── Broken Stalled ────────▶ Closed
//! Sending SendingLast ── Broken Stalled ────────▶ Closed
//! Sending SendingLast ── StreamFailed Evicted ──▶ Closed
//! Sending SendingLast ── Stopping ──────────────▶ Closed
//! SendingLast ────────── Done ──────────────────▶ Closed
//! Lingering ──────────── Done Broken Stopping ──▶ Closed
//! ```
//!
//! The request decoder and the response writer are machines of their own; their states and this one agree whenever the
//! loop waits, which the simulation checks.

// Release builds check no transition: the simulation has seen each row.
#![cfg_attr(not(any(test, debug_assertions)), allow(dead_code))]

use crate::function::exchange::Exchange;
use crate::function::request::Peer;
use crate::http1::decoder::RequestDecoder;
use crate::server::system::Interest;
use crate::tuning::{KEEP_ALIVE_TIME_MIN, UNUSED_TIME_MIN};
use std::fmt;
use std::time::Duration;

/// Where a connection is. Times are readings of the awake clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Accepted at that time; the client has not sent a whole head yet.
    New { since: Duration },
    /// Nothing is in progress, since the last response was sent.
    Idle { since: Duration },
    /// A part of a request has arrived. Its time limit is the decoder's.
    Receiving,
    /// `100 Continue` is being sent.
    Continuing(Transfer),
    /// A response is being sent, and the connection stays open behind it.
    Sending(Transfer),
    /// The last response is being sent.
    SendingLast(Transfer, LingerAfter),
    /// More requests have arrived, and other connections have their turn first.
    Yielding { since: Duration },
    /// Everything is sent. What the client still sends is read and dropped: a close with unread input would reset the
    /// connection, and the client's kernel would drop the response.
    Lingering { until: Duration, bytes_left: usize },
    /// Removed from the table.
    Closed,
}

/// Whether to linger behind the last response even where the client's kernel has taken all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LingerAfter {
    /// The client may be about to send more.
    Always,
    /// The client has announced that it sends nothing more.
    IfUnacked,
}

/// Bytes on their way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) begun_at: Duration,
    /// When the client's kernel last took a part of it, as far as ours can tell.
    pub(crate) progress_at: Duration,
    /// What our kernel held of it when it last took less than was written: it goes on sending long after.
    pub(crate) unacked_bytes: Option<usize>,
    /// The socket may take more, and other connections have their turn first.
    pub(crate) yields: bool,
}

impl Transfer {
    pub(crate) fn begin(now: Duration) -> Transfer {
        Transfer { begun_at: now, progress_at: now, unacked_bytes: None, yields: false }
    }
}

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    New,
    Idle,
    Receiving,
    Continuing,
    Sending,
    SendingLast,
    Yielding,
    Lingering,
    Closed,
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The first bytes of a request have arrived.
    Begun,
    /// What looked like the beginning of a request was an empty line.
    BlankLine,
    /// The head is whole, its body is not.
    HeadDone,
    /// As `HeadDone`, and the client waits for `100 Continue`.
    ContinueAwaited,
    /// A request was dispatched; the connection stays open behind its response.
    Answered,
    /// A request was dispatched; the connection closes behind its response.
    AnsweredLast,
    /// The request broke HTTP or a limit, its time limit included.
    Rejected,
    /// All bytes in hand were written.
    Sent,
    /// So many requests were served in a row that other connections have their turn.
    TurnEnded,
    /// The next turn of a connection that has let others go first.
    TurnBegun,
    /// The instance stops while the connection is idle: its last response is sent.
    Stopped,
    Close(CloseReason),
}

/// Why a connection was closed; logged once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Both sides were done with it.
    Done,
    /// The client left between two requests, as probes do (C-START-3).
    ClientLeft,
    /// The client left in the middle of a request.
    ClientLeftEarly,
    /// Reading or writing failed.
    Broken,
    /// The client did not take its response in time.
    Stalled,
    /// The author's reader failed.
    StreamFailed,
    /// Another connection needed its slot or its memory.
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
            CloseReason::ClientLeftEarly => "the client left in the middle of a request",
            CloseReason::Broken => "the connection broke",
            CloseReason::Stalled => "the client took no byte of its response in time",
            CloseReason::StreamFailed => "the reply's stream failed",
            CloseReason::Evicted => "evicted",
            CloseReason::Stopping => "the instance is stopping",
            CloseReason::NotRegistered => "it cannot be waited for",
        })
    }
}

/// A transition: from a state, by an event, to a state.
pub(crate) type Row = (Name, Event, Name);

/// Every transition there is; `Closed` is the end. What is not listed cannot happen: while bytes are on their way to a
/// client the server reads nothing from it, so it sees no request and no end of the input then.
pub(crate) const TRANSITIONS: [Row; 53] = {
    use CloseReason::*;
    use Event::*;
    use Name::*;
    [
        (New, HeadDone, Receiving),
        (New, ContinueAwaited, Continuing),
        (New, Answered, Sending),
        (New, AnsweredLast, SendingLast),
        (New, Rejected, SendingLast),
        (New, Close(ClientLeft), Closed),
        (New, Close(ClientLeftEarly), Closed),
        (New, Close(Broken), Closed),
        (New, Close(Evicted), Closed), // it had a second and sent no whole head
        (New, Close(Stopping), Closed),
        (New, Close(NotRegistered), Closed),
        (Idle, Begun, Receiving),
        (Idle, HeadDone, Receiving),
        (Idle, ContinueAwaited, Continuing),
        (Idle, Answered, Sending),
        (Idle, AnsweredLast, SendingLast),
        (Idle, Rejected, SendingLast),
        (Idle, TurnEnded, Yielding),
        (Idle, Stopped, Lingering),
        (Idle, Close(ClientLeft), Closed),
        (Idle, Close(Evicted), Closed), // it was idle for 15 minutes (C-CONN-1)
        (Idle, Close(Stopping), Closed),
        (Receiving, BlankLine, Idle),
        (Receiving, HeadDone, Receiving),
        (Receiving, ContinueAwaited, Continuing),
        (Receiving, Answered, Sending),
        (Receiving, AnsweredLast, SendingLast),
        (Receiving, Rejected, SendingLast),
        (Receiving, Close(ClientLeftEarly), Closed),
        (Receiving, Close(Broken), Closed),
        (Receiving, Close(Stopping), Closed), // here and below: the drain's time is over
        (Continuing, Sent, Receiving),
        (Continuing, Close(Broken), Closed),
        (Continuing, Close(Stalled), Closed),
        (Continuing, Close(Stopping), Closed),
        (Sending, Sent, Idle),
        (Sending, Close(Broken), Closed),
        (Sending, Close(Stalled), Closed),
        (Sending, Close(StreamFailed), Closed),
        (Sending, Close(Evicted), Closed), // another connection needed its memory
        (Sending, Close(Stopping), Closed),
        (SendingLast, Sent, Lingering),
        (SendingLast, Close(Done), Closed),
        (SendingLast, Close(Broken), Closed),
        (SendingLast, Close(Stalled), Closed),
        (SendingLast, Close(StreamFailed), Closed),
        (SendingLast, Close(Evicted), Closed),
        (SendingLast, Close(Stopping), Closed),
        (Yielding, TurnBegun, Idle),
        (Yielding, Close(Stopping), Closed),
        (Lingering, Close(Done), Closed),
        (Lingering, Close(Broken), Closed),
        (Lingering, Close(Stopping), Closed),
    ]
};

/// An open connection.
pub(crate) struct Connection<K> {
    pub(crate) socket: K,
    pub(crate) client: Peer,
    pub(crate) input: RequestDecoder,
    pub(crate) exchange: Exchange,
    state: State,
    /// The kernel sends every piece at once, and need not be told again.
    pub(crate) nodelay: bool,
    pub(crate) noted: Noted,
}

/// What the loop, the kernel and the table were last told of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) interest: Interest,
    pub(crate) timed: bool,
    pub(crate) buffered_bytes: usize,
}

impl<K> Connection<K> {
    pub(crate) fn new(socket: K, client: Peer, now: Duration) -> Connection<K> {
        Connection {
            socket,
            client,
            input: RequestDecoder::new(),
            exchange: Exchange::default(),
            state: State::New { since: now },
            nodelay: false,
            noted: Noted { interest: Interest::Read, timed: false, buffered_bytes: 0 },
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The one door.
    #[inline]
    pub(crate) fn enter(&mut self, event: Event, next: State) {
        #[cfg(any(test, debug_assertions))]
        check((self.state.name(), event, next.name()));
        let _ = event;
        self.state = next;
    }

    /// The bytes on their way to the client, if the state is one that sends.
    pub(crate) fn transfer(&mut self) -> Option<&mut Transfer> {
        match &mut self.state {
            State::Continuing(transfer) | State::Sending(transfer) | State::SendingLast(transfer, _) => Some(transfer),
            _ => None,
        }
    }

    /// The decoder waits for more bytes.
    pub(crate) fn needs_more(&mut self, now: Duration) {
        match (self.state, self.input.is_idle()) {
            (State::Idle { .. }, false) => self.enter(Event::Begun, State::Receiving),
            (State::Receiving, true) => self.enter(Event::BlankLine, State::Idle { since: now }),
            _ => {}
        }
    }

    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.state, State::Lingering { .. })
    }

    /// While lingering: so many bytes were read and dropped. False if that was the end, or all that is allowed.
    pub(crate) fn lingers_on(&mut self, bytes: usize) -> bool {
        let State::Lingering { bytes_left, .. } = &mut self.state else { return false };
        *bytes_left = bytes_left.saturating_sub(bytes);
        bytes > 0 && *bytes_left > 0
    }

    /// A stop begins: lingering ends no later than this.
    pub(crate) fn linger_no_longer_than(&mut self, end: Duration) {
        if let State::Lingering { until, .. } = &mut self.state {
            *until = end.min(*until);
        }
    }

    /// What the loop waits for.
    #[inline]
    pub(crate) fn interest(&self) -> Interest {
        match self.state {
            State::New { .. } | State::Idle { .. } | State::Receiving | State::Lingering { .. } => Interest::Read,
            _ => Interest::Write,
        }
    }

    /// When the client has used up its time; `None` while the server waits for nothing that the client owes.
    pub(crate) fn deadline(&self, stall_time_max: Duration) -> Option<Duration> {
        match self.state {
            State::New { .. } | State::Idle { .. } | State::Receiving => self.input.deadline(),
            State::Continuing(transfer) | State::Sending(transfer) | State::SendingLast(transfer, _) => {
                Some(transfer.progress_at + stall_time_max)
            }
            State::Yielding { since } => Some(since + stall_time_max),
            State::Lingering { until, .. } => Some(until),
            State::Closed => None,
        }
    }

    /// The bytes of memory that count against [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.input.held() + self.exchange.response.held()
    }

    /// From when on the connection may be closed for a new one.
    pub(crate) fn evictable_from(&self) -> Option<Duration> {
        match self.state {
            State::New { since } => Some(since + UNUSED_TIME_MIN),
            State::Idle { since } => Some(since + KEEP_ALIVE_TIME_MIN),
            _ => None,
        }
    }

    /// When the response was begun whose memory can be had by closing the connection.
    pub(crate) fn buffers_response_since(&self) -> Option<Duration> {
        match self.state {
            State::Sending(transfer) | State::SendingLast(transfer, _) if self.exchange.response.held() > 0 => {
                Some(transfer.begun_at)
            }
            _ => None,
        }
    }

    /// Nothing is in progress: closing now loses nothing.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::New { .. } | State::Idle { .. }) && self.input.is_idle()
    }
}

impl State {
    pub(crate) fn name(self) -> Name {
        match self {
            State::New { .. } => Name::New,
            State::Idle { .. } => Name::Idle,
            State::Receiving => Name::Receiving,
            State::Continuing(..) => Name::Continuing,
            State::Sending(..) => Name::Sending,
            State::SendingLast(..) => Name::SendingLast,
            State::Yielding { .. } => Name::Yielding,
            State::Lingering { .. } => Name::Lingering,
            State::Closed => Name::Closed,
        }
    }
}

/// A transition without a row is a fault of the server.
#[cfg(any(test, debug_assertions))]
fn check(row: Row) {
    #[cfg(test)]
    TAKEN.with_borrow_mut(|taken| taken.push(row));
    assert!(TRANSITIONS.contains(&row), "no such transition of a connection: {row:?}");
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
    #[should_panic(expected = "no such transition of a connection: (New, Sent, Idle)")]
    fn what_is_not_listed_is_a_fault() {
        Connection::new((), Peer::Unix, Duration::ZERO).enter(Event::Sent, State::Idle { since: Duration::ZERO });
    }
}
