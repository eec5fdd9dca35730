//! The table of open connections, with a fixed number of slots.
//!
//! The index and the generation of a slot name a connection, never its descriptor: the kernel gives a descriptor's
//! number out again at once. Slots are made on first use and then reused, so an instance that serves one connection
//! pays for one. The table also counts deadlines and memory, so that a turn of the loop need not look at every
//! connection.

use crate::server::connection::{Connection, State};
use crate::server::system::Token;
use std::time::Duration;

pub(crate) struct ConnectionTable<K> {
    slots: Vec<Slot<K>>,
    free: Vec<usize>,
    max: usize,
    timed: usize,
    /// No deadline is earlier.
    earliest_deadline: Duration,
    buffered_bytes: usize,
}

struct Slot<K> {
    generation: u32,
    connection: Option<Connection<K>>,
}

impl<K> ConnectionTable<K> {
    pub(crate) fn new(max: usize) -> ConnectionTable<K> {
        ConnectionTable {
            slots: Vec::new(),
            free: Vec::new(),
            max,
            timed: 0,
            earliest_deadline: Duration::MAX,
            buffered_bytes: 0,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open() >= self.max
    }

    pub(crate) fn insert(&mut self, connection: Connection<K>) -> Token {
        debug_assert!(!self.is_full(), "nothing is accepted while the table is full");
        let index = self.free.pop().unwrap_or_else(|| {
            if self.slots.is_empty() {
                // Most instances have one connection; the vector would begin with room for four.
                self.slots.reserve_exact(1);
            }
            self.slots.push(Slot { generation: 0, connection: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.connection = Some(connection);
        Token::of_slot(index, slot.generation)
    }

    /// The connection of this name, if it is still open.
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Connection<K>> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation == token.generation() { slot.connection.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Connection<K>> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation != token.generation() {
            return None;
        }
        let connection = slot.connection.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.index());
        self.timed -= usize::from(connection.noted.timed);
        self.buffered_bytes -= connection.noted.buffered_bytes;
        Some(connection)
    }

    /// Counts the deadline and the memory of a connection anew. Called whenever either may have changed.
    pub(crate) fn update_accounting(&mut self, token: Token, stall_time_max: Duration) {
        let Some(connection) = self.get(token) else { return };
        let deadline = connection.deadline(stall_time_max);
        let (timed, buffered_bytes) = (deadline.is_some(), connection.buffered_bytes());
        let before = connection.noted;
        (connection.noted.timed, connection.noted.buffered_bytes) = (timed, buffered_bytes);
        self.timed = self.timed + usize::from(timed) - usize::from(before.timed);
        self.buffered_bytes = self.buffered_bytes + buffered_bytes - before.buffered_bytes;
        self.earliest_deadline =
            deadline.map_or(self.earliest_deadline, |deadline| deadline.min(self.earliest_deadline));
    }

    /// The connections whose deadline has passed. The caller updates the accounting of each.
    pub(crate) fn overdue(&mut self, now: Duration, stall_time_max: Duration) -> Vec<Token> {
        if now < self.earliest_deadline {
            return Vec::new();
        }
        let is_due = |deadline: &Duration| *deadline <= now;
        let overdue = self.pick(|connection| connection.deadline(stall_time_max).as_ref().is_some_and(is_due));
        let deadlines = self.iter().filter_map(|(_, connection)| connection.deadline(stall_time_max));
        self.earliest_deadline = deadlines.filter(|deadline| !is_due(deadline)).min().unwrap_or(Duration::MAX);
        overdue
    }

    pub(crate) fn any_timed(&self) -> bool {
        self.timed > 0
    }

    /// What all connections together hold of [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// What the other connections hold of it.
    pub(crate) fn buffered_bytes_of_others(&self, token: Token) -> usize {
        let own = self.slots.get(token.index()).and_then(|slot| slot.connection.as_ref());
        self.buffered_bytes - own.map_or(0, |connection| connection.noted.buffered_bytes)
    }

    /// The next connection to evict, and the time from which it may be evicted. Of those whose time has come,
    /// connections that have never sent a whole head go first.
    pub(crate) fn evictable(&self, now: Duration) -> Option<(Token, Duration)> {
        let candidates = self.iter().filter_map(|(token, connection)| {
            let is_used = !matches!(connection.state(), State::New { .. });
            Some((token, is_used, connection.evictable_from()?))
        });
        let order = |(_, is_used, from): &(Token, bool, Duration)| (*from > now, *is_used && *from <= now, *from);
        candidates.min_by_key(order).map(|(token, _, from)| (token, from))
    }

    /// The connection whose response holds most memory, of the responses that were begun before.
    pub(crate) fn largest_buffered_response(&self, before: Duration) -> Option<Token> {
        let old = |(_, connection): &(Token, &Connection<K>)| {
            connection.buffers_response_since().is_some_and(|since| since <= before)
        };
        let candidates = self.iter().filter(old);
        candidates.max_by_key(|(_, connection)| connection.exchange.response.held()).map(|(token, _)| token)
    }

    /// The names of the open connections that `wanted` picks.
    pub(crate) fn pick(&self, wanted: impl Fn(&Connection<K>) -> bool) -> Vec<Token> {
        self.iter().filter(|(_, connection)| wanted(connection)).map(|(token, _)| token).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (Token, &Connection<K>)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let connection = slot.connection.as_ref()?;
            Some((Token::of_slot(index, slot.generation), connection))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::request::Peer;
    use crate::server::connection::{Event, LingerAfter, Transfer};

    const SECOND: Duration = Duration::from_secs(1);

    fn insert(connections: &mut ConnectionTable<char>, accepted_at: Duration) -> Token {
        connections.insert(Connection::new('a', Peer::Unix, accepted_at))
    }

    fn linger(connections: &mut ConnectionTable<char>, token: Token, until: Duration) {
        let connection = connections.get(token).expect("open");
        connection.enter(Event::Rejected, State::SendingLast(Transfer::begin(until), LingerAfter::Always));
        connection.enter(Event::Sent, State::Lingering { until, bytes_left: 1 });
        connections.update_accounting(token, SECOND);
    }

    #[test]
    fn a_stale_name_reaches_nobody() {
        let mut connections = ConnectionTable::new(2);
        let first = insert(&mut connections, Duration::ZERO);
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
            let token = insert(&mut connections, Duration::ZERO);
            linger(&mut connections, token, SECOND * seconds);
            token
        });
        for (now, expected) in [(2, vec![]), (3, vec![tokens[1]]), (4, vec![]), (5, vec![tokens[0]]), (6, vec![])] {
            let overdue = connections.overdue(SECOND * now, SECOND);
            assert_eq!(overdue, expected, "after {now} s");
            overdue.into_iter().for_each(|token| drop(connections.remove(token)));
        }
        connections.get(tokens[2]).expect("open").linger_no_longer_than(SECOND * 7);
        connections.update_accounting(tokens[2], SECOND);
        assert_eq!(connections.overdue(SECOND * 7, SECOND), [tokens[2]], "its deadline was brought forward");
    }

    /// C-CONN-1: what was used has 15 minutes.
    #[test]
    fn slots_go_from_the_least_used() {
        let mut connections = ConnectionTable::new(9);
        let transfer = Transfer::begin(Duration::ZERO);
        let mut use_until = |seconds| {
            let token = insert(&mut connections, Duration::ZERO);
            let connection = connections.get(token).expect("open");
            connection.enter(Event::Answered, State::Sending(transfer));
            connection.enter(Event::Sent, State::Idle { since: SECOND * seconds });
            token
        };
        let (_, used) = (use_until(20), use_until(5));
        let (old, newer) = (insert(&mut connections, SECOND * 9), insert(&mut connections, SECOND * 10));
        // The first whose time comes; once it has come to several, the least used of them.
        for now in [0, 10, 905, 2000] {
            assert_eq!(connections.evictable(SECOND * now), Some((old, SECOND * 10)), "after {now} s");
        }
        connections.remove(old);
        assert_eq!(connections.evictable(SECOND * 9), Some((newer, SECOND * 11)));
        let last = State::SendingLast(transfer, LingerAfter::Always);
        connections.get(newer).expect("open").enter(Event::Rejected, last);
        assert_eq!(connections.evictable(SECOND * 9), Some((used, SECOND * 905)));
        // A connection that has just come is not preferred to one whose time has come.
        let latest = insert(&mut connections, SECOND * 905);
        assert_eq!(connections.evictable(SECOND * 905), Some((used, SECOND * 905)));
        assert_eq!(connections.evictable(SECOND * 906), Some((latest, SECOND * 906)));
    }

    #[test]
    fn slots_are_reused_and_bounded() {
        let mut connections = ConnectionTable::new(2);
        for _ in 0..10 {
            let tokens = [(), ()].map(|()| insert(&mut connections, Duration::ZERO));
            assert!(connections.is_full());
            linger(&mut connections, tokens[0], SECOND);
            assert!(connections.any_timed());
            for token in tokens {
                assert!(connections.remove(token).is_some());
            }
            assert_eq!((connections.open(), connections.any_timed()), (0, false));
        }
        assert_eq!(connections.slots.len(), 2);
    }
}
