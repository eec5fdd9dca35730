//! What an attacker does with a connection, as data: bytes in, times and counts out. Knows no sockets.

use std::sync::Arc;
use std::time::Duration;

/// How long an attacker rests before it takes a new connection in the place of one that is over.
const REST: Duration = Duration::from_millis(20);

/// One connection's part in an attack: an opening, then a piece again and again.
#[derive(Clone, Debug)]
pub struct Script {
    /// Sent first, as fast as the socket takes it.
    pub opening: Arc<[u8]>,
    /// Sent behind it, `times` times.
    pub piece: Arc<[u8]>,
    /// How often.
    pub times: u64,
    /// From one piece to the next, and from one slow read to the next; zero: as fast as the socket takes it.
    pub every: Duration,
    /// What becomes of replies.
    pub reading: Reading,
    /// What follows when all is sent.
    pub end: End,
    /// Before the next connection; none: there is no next one.
    pub rest: Option<Duration>,
}

/// What becomes of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They are taken as they come.
    All,
    /// So many bytes at a time, and the kernel is lent little room for the others.
    Slowly(usize),
    /// They are left where they are.
    Never,
}

/// What follows when all is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection stays until the server ends it.
    Stay,
    /// A reset.
    Reset,
    /// The sending half is closed; the other stays.
    HalfClose,
}

impl Script {
    /// Connects, sends this, reads what comes, and connects anew when the server has ended it.
    pub fn open(opening: impl Into<Vec<u8>>) -> Self {
        Self {
            opening: opening.into().into(),
            piece: Arc::new([]),
            times: 0,
            every: Duration::ZERO,
            reading: Reading::All,
            end: End::Stay,
            rest: Some(REST),
        }
    }

    /// Sends this behind it, so often.
    pub fn then(self, piece: impl Into<Vec<u8>>, times: u64) -> Self {
        Self { piece: piece.into().into(), times, ..self }
    }

    /// Slowly: so many milliseconds from one piece, or read, to the next.
    pub fn every_ms(self, ms: u64) -> Self {
        Self { every: Duration::from_millis(ms), ..self }
    }

    /// What becomes of replies.
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// What follows when all is sent.
    pub fn end(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Before the next connection.
    pub fn rest_ms(self, ms: u64) -> Self {
        Self { rest: Some(Duration::from_millis(ms)), ..self }
    }
}

/// How far a connection is in its script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    opened: usize,
    pieces: u64,
    of_piece: usize,
}

impl Place {
    /// What is to be sent next; nothing: all is sent.
    pub fn unsent<'a>(&self, script: &'a Script) -> &'a [u8] {
        match script.opening.get(self.opened..) {
            Some(rest) if !rest.is_empty() => rest,
            _ if self.pieces < script.times => &script.piece[self.of_piece..],
            _ => &[],
        }
    }

    /// Whether the opening is sent.
    pub fn is_open(&self, script: &Script) -> bool {
        self.opened == script.opening.len()
    }

    /// So much of it was sent. True if that was the end of a piece, or of the opening.
    pub fn sent(&mut self, script: &Script, bytes: usize) -> bool {
        if !self.is_open(script) {
            self.opened += bytes;
            return self.is_open(script);
        }
        self.of_piece += bytes;
        let whole = self.of_piece == script.piece.len();
        if whole {
            self.of_piece = 0;
            self.pieces += 1;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_script_is_sent_however_cut() {
        let script = Script::open("open").then("ab", 3);
        for step in 1..12 {
            let (mut place, mut sent) = (Place::default(), Vec::new());
            loop {
                let unsent = place.unsent(&script);
                if unsent.is_empty() {
                    break;
                }
                let bytes = step.min(unsent.len());
                sent.extend_from_slice(&unsent[..bytes]);
                place.sent(&script, bytes);
            }
            assert_eq!(sent, b"openababab", "{step} at a time");
        }
    }

    #[test]
    fn who_has_nothing_to_say_is_open_at_once() {
        let silent = Script::open("");
        let place = Place::default();
        assert!(place.is_open(&silent) && place.unsent(&silent).is_empty());
    }
}
