//! Open connections, in a fixed number of slots.
//!
//! A slot's index and generation name a connection, never its descriptor: the kernel hands descriptors out again at
//! once. ConnectionTable are made on first use and then reused, so an instance that serves one connection pays for one.

use crate::function::request::Peer;
use crate::function::response_writer::ResponseWriter;
use crate::http1::decoder::RequestDecoder;
use crate::server::system::{Interest, Token};
use crate::tuning::{KEEP_ALIVE_TIME_MIN, UNUSED_TIME_MIN};
use std::fmt;
use std::time::Duration;

/// One connection. Times are readings of the awake clock.
pub(crate) struct Connection<K> {
    pub(crate) socket: K,
    pub(crate) peer: Peer,
    pub(crate) input: RequestDecoder,
    pub(crate) response: ResponseWriter,
    pub(crate) mode: Mode,
    /// What the poller was last told.
    pub(crate) watched: Interest,
    /// A reply in flight has made no progress since; set while one is blocked.
    pub(crate) stalled_at: Option<Duration>,
    /// What the kernel held of it at that time: it goes on sending long after it stopped taking more from us.
    pub(crate) unacked_bytes: Option<usize>,
    /// The peer is sent every piece at once.
    pub(crate) nodelay: bool,
    /// When it was accepted, or its last reply was begun; once that is sent, when it was.
    pub(crate) since: Duration,
    /// It has brought a whole request.
    pub(crate) used: bool,
    /// There is more to do without waiting for the peer: the others were to have their turn first.
    pub(crate) wants_turn: bool,
    /// What [`ConnectionTable`] has counted of it.
    counted: Counted,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    timed: bool,
    held: usize,
}

/// How a connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Requests and replies in turn.
    Serving,
    /// The reply in flight is the last one.
    Closing { linger: bool },
    /// Everything is sent; what the peer still sends is read and dropped, so that the close is no reset under its
    /// unread answer.
    Lingering { until: Duration, bytes_left: usize },
}

impl<K> Connection<K> {
    pub(crate) fn new(socket: K, peer: Peer, since: Duration) -> Connection<K> {
        Connection {
            socket,
            peer,
            input: RequestDecoder::new(),
            response: ResponseWriter::default(),
            mode: Mode::Serving,
            watched: Interest::Read,
            stalled_at: None,
            unacked_bytes: None,
            nodelay: false,
            since,
            used: false,
            wants_turn: false,
            counted: Counted::default(),
        }
    }

    /// Follows from the state, afresh each time.
    pub(crate) fn interest(&self) -> Interest {
        if self.wants_turn || !self.response.is_empty() { Interest::Write } else { Interest::Read }
    }

    /// When the peer has used up its time; none while it owes us nothing.
    pub(crate) fn deadline(&self, stall_time_max: Duration) -> Option<Duration> {
        match self.mode {
            Mode::Lingering { until, .. } => Some(until),
            Mode::Serving | Mode::Closing { .. } if self.interest() == Interest::Write => {
                self.stalled_at.map(|since| since + stall_time_max)
            }
            Mode::Serving | Mode::Closing { .. } => self.input.deadline(),
        }
    }

    /// The bytes of memory that count against [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    fn held(&self) -> usize {
        self.input.held() + self.response.held()
    }

    /// From when on it may be closed for another one.
    pub(crate) fn replaceable_from(&self) -> Option<Duration> {
        let has_no_head = self.mode == Mode::Serving && self.response.is_empty() && self.input.is_before_body();
        match self.used {
            false if has_no_head => Some(self.since + UNUSED_TIME_MIN),
            true if self.is_idle() => Some(self.since + KEEP_ALIVE_TIME_MIN),
            _ => None,
        }
    }

    /// Nothing is in progress: closing now loses nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.mode == Mode::Serving && self.response.is_empty() && self.input.is_idle()
    }
}

/// Why a connection was closed by us or by its peer; logged once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Both sides were done with it.
    Done,
    /// The peer left between requests, as probes do (C-START-3).
    PeerLeft,
    /// The peer left in the middle of a request.
    PeerLeftEarly,
    /// Reading or writing failed.
    Broken,
    /// The peer did not take its reply in time.
    Stalled,
    /// The author's reader failed.
    StreamFailed,
    /// Another connection was to have its place.
    Evicted,
    /// The instance is stopping.
    Stopping,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Done => "both sides were done",
            CloseReason::PeerLeft => "the peer left",
            CloseReason::PeerLeftEarly => "the peer left in the middle of a request",
            CloseReason::Broken => "the connection broke",
            CloseReason::Stalled => "the peer took no byte of its reply in time",
            CloseReason::StreamFailed => "the reply's stream failed",
            CloseReason::Evicted => "its place or its memory was needed",
            CloseReason::Stopping => "the instance is stopping",
        })
    }
}

pub(crate) struct ConnectionTable<K> {
    entries: Vec<Entry<K>>,
    free: Vec<usize>,
    max: usize,
    timed: usize,
    /// No deadline is earlier.
    earliest: Duration,
    held: usize,
}

struct Entry<K> {
    generation: u32,
    connection: Option<Connection<K>>,
}

impl<K> ConnectionTable<K> {
    pub(crate) fn new(max: usize) -> ConnectionTable<K> {
        ConnectionTable { entries: Vec::new(), free: Vec::new(), max, timed: 0, earliest: Duration::MAX, held: 0 }
    }

    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open() >= self.max
    }

    pub(crate) fn insert(&mut self, connection: Connection<K>) -> Token {
        debug_assert!(!self.is_full(), "nothing is accepted while the connections are full");
        let index = self.free.pop().unwrap_or_else(|| {
            if self.entries.is_empty() {
                // Most instances have one connection; the vector would begin with room for four.
                self.entries.reserve_exact(1);
            }
            self.entries.push(Entry { generation: 0, connection: None });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[index];
        entry.connection = Some(connection);
        Token::of_slot(index, entry.generation)
    }

    /// The connection of this name, if it is still open.
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Connection<K>> {
        let entry = self.entries.get_mut(token.index())?;
        if entry.generation == token.generation() { entry.connection.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Connection<K>> {
        let entry = self.entries.get_mut(token.index())?;
        if entry.generation != token.generation() {
            return None;
        }
        let connection = entry.connection.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(token.index());
        self.timed -= usize::from(connection.counted.timed);
        self.held -= connection.counted.held;
        Some(connection)
    }

    /// Keeps count of connections with a deadline and of the memory that all hold, so that a turn need not look at
    /// every one. Called whenever either may have changed.
    pub(crate) fn settle(&mut self, token: Token, stall_time_max: Duration) {
        let Some(connection) = self.get(token) else { return };
        let deadline = connection.deadline(stall_time_max);
        let counted = Counted { timed: deadline.is_some(), held: connection.held() };
        let before = std::mem::replace(&mut connection.counted, counted);
        self.timed = self.timed + usize::from(counted.timed) - usize::from(before.timed);
        self.held = self.held + counted.held - before.held;
        self.earliest = deadline.map_or(self.earliest, |deadline| deadline.min(self.earliest));
    }

    /// The connections that have used up their time. Each is to be settled.
    pub(crate) fn overdue(&mut self, now: Duration, stall_time_max: Duration) -> Vec<Token> {
        if now < self.earliest {
            return Vec::new();
        }
        let is_due = |deadline: &Duration| *deadline <= now;
        let overdue = self.pick(|connection| connection.deadline(stall_time_max).as_ref().is_some_and(is_due));
        let deadlines = self.iter().filter_map(|(_, connection)| connection.deadline(stall_time_max));
        self.earliest = deadlines.filter(|deadline| !is_due(deadline)).min().unwrap_or(Duration::MAX);
        overdue
    }

    /// What all connections together hold of [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn any_timed(&self) -> bool {
        self.timed > 0
    }

    /// The connection that may be closed for another one first, and from when on. Of those whose time has come, unused
    /// ones go before used ones.
    pub(crate) fn replaceable(&self, now: Duration) -> Option<(Token, Duration)> {
        let candidates = self
            .iter()
            .filter_map(|(token, connection)| Some((token, connection.used, connection.replaceable_from()?)));
        let order = |(_, used, from): &(Token, bool, Duration)| (*from > now, *used && *from <= now, *from);
        candidates.min_by_key(order).map(|(token, _, from)| (token, from))
    }

    /// The connection whose reply holds most memory, of those that were begun before.
    pub(crate) fn largest_buffered_reply(&self, before: Duration) -> Option<Token> {
        let unread =
            |(_, connection): &(Token, &Connection<K>)| connection.response.held() > 0 && connection.since <= before;
        self.iter().filter(unread).max_by_key(|(_, connection)| connection.response.held()).map(|(token, _)| token)
    }

    /// What the others hold, as of [`ConnectionTable::held`].
    pub(crate) fn held_by_others(&self, token: Token) -> usize {
        let own = self.entries.get(token.index()).and_then(|entry| entry.connection.as_ref());
        self.held - own.map_or(0, |connection| connection.counted.held)
    }

    fn iter(&self) -> impl Iterator<Item = (Token, &Connection<K>)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let connection = entry.connection.as_ref()?;
            Some((Token::of_slot(index, entry.generation), connection))
        })
    }

    /// The names of the open connections that `wanted` picks.
    pub(crate) fn pick(&self, wanted: impl Fn(&Connection<K>) -> bool) -> Vec<Token> {
        self.iter().filter(|(_, connection)| wanted(connection)).map(|(token, _)| token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stale_name_reaches_nobody() {
        let mut connections = ConnectionTable::new(2);
        let first = connections.insert(Connection::new('a', Peer::Unix, Duration::ZERO));
        assert!(connections.remove(first).is_some());
        let second = connections.insert(Connection::new('b', Peer::Unix, Duration::ZERO));
        assert_eq!(first.index(), second.index());
        assert!(connections.get(first).is_none() && connections.remove(first).is_none());
        assert_eq!(connections.get(second).map(|connection| connection.socket), Some('b'));
        assert!(connections.get(Token::LISTENER).is_none() && connections.get(Token::WAKE).is_none());
    }

    #[test]
    fn the_overdue_are_found_when_they_are() {
        let mut connections = ConnectionTable::new(9);
        let tokens = [5, 3, 9].map(|seconds| {
            let token = connections.insert(Connection::new((), Peer::Unix, Duration::ZERO));
            let connection = connections.get(token).expect("open");
            connection.mode = Mode::Lingering { until: SECOND * seconds, bytes_left: 1 };
            connections.settle(token, SECOND);
            token
        });
        for (now, expected) in [(2, vec![]), (3, vec![tokens[1]]), (4, vec![]), (5, vec![tokens[0]]), (6, vec![])] {
            let overdue = connections.overdue(SECOND * now, SECOND);
            assert_eq!(overdue, expected, "after {now} s");
            overdue.into_iter().for_each(|token| drop(connections.remove(token)));
        }
        let connection = connections.get(tokens[2]).expect("open");
        connection.mode = Mode::Lingering { until: SECOND * 7, bytes_left: 1 };
        connections.settle(tokens[2], SECOND);
        assert_eq!(connections.overdue(SECOND * 7, SECOND), [tokens[2]], "its deadline was brought forward");
    }

    /// C-CONN-1: what was used has 15 minutes.
    #[test]
    fn places_go_from_the_least_used() {
        let mut connections = ConnectionTable::new(9);
        let mut insert = |used, seconds| {
            let token = connections.insert(Connection::new((), Peer::Unix, SECOND * seconds));
            connections.get(token).expect("open").used = used;
            token
        };
        let (_, old, used) = (insert(true, 20), insert(false, 9), insert(true, 5));
        let newer = insert(false, 10);
        // The first whose time comes; once it has come to several, the least used of them.
        for now in [0, 10, 905, 2000] {
            assert_eq!(connections.replaceable(SECOND * now), Some((old, SECOND * 10)), "after {now} s");
        }
        connections.remove(old);
        assert_eq!(connections.replaceable(SECOND * 9), Some((newer, SECOND * 11)));
        connections.get(newer).expect("open").mode = Mode::Closing { linger: true };
        assert_eq!(connections.replaceable(SECOND * 9), Some((used, SECOND * 905)));
        // One that has just come stands before nobody whose time has come.
        let latest = connections.insert(Connection::new((), Peer::Unix, SECOND * 905));
        assert_eq!(connections.replaceable(SECOND * 905), Some((used, SECOND * 905)));
        assert_eq!(connections.replaceable(SECOND * 906), Some((latest, SECOND * 906)));
    }

    #[test]
    fn slots_are_reused_and_bounded() {
        let mut connections = ConnectionTable::new(2);
        for _ in 0..10 {
            let tokens = [(), ()].map(|()| connections.insert(Connection::new((), Peer::Unix, Duration::ZERO)));
            assert!(connections.is_full());
            let connection = connections.get(tokens[0]).expect("open");
            connection.mode = Mode::Lingering { until: SECOND, bytes_left: 1 };
            connections.settle(tokens[0], SECOND);
            assert!(connections.any_timed());
            for token in tokens {
                assert!(connections.remove(token).is_some());
            }
            assert_eq!((connections.open(), connections.any_timed()), (0, false));
        }
        assert_eq!(connections.entries.len(), 2);
    }
}
