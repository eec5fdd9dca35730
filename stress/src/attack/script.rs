//! What an attacker does with a connection, as data: bytes in, times and counts out. It knows no sockets.

use std::sync::Arc;
use std::time::Duration;

/// How long an attacker waits before it opens a new connection in place of one that has ended.
const REST: Duration = Duration::from_millis(20);

/// The part of one connection in an attack: an opening, and then a piece that is repeated.
#[derive(Clone, Debug)]
pub struct Script {
    /// The bytes that are sent first, as fast as the socket takes them.
    pub opening: Arc<[u8]>,
    /// The bytes that are sent after the opening, `times` times.
    pub piece: Arc<[u8]>,
    /// How often the piece is sent.
    pub times: u64,
    /// The time between two pieces, and between two slow reads. Zero: as fast as the socket takes them.
    pub every: Duration,
    /// How replies are read.
    pub reading: Reading,
    /// What happens when everything is sent.
    pub end: End,
    /// The time before the next connection. `None`: there is no next one.
    pub rest: Option<Duration>,
}

/// How replies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As soon as they arrive.
    All,
    /// This many bytes at a time, with a small receive buffer.
    Slowly(usize),
    /// Not at all.
    Never,
}

/// What happens when everything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection stays until the server ends it.
    Stay,
    /// The connection is reset.
    Reset,
    /// The sending half is closed, and the other half stays open.
    HalfClose,
}

impl Script {
    /// Connects, sends this, reads what arrives, and connects again when the server has ended the connection.
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

    /// Sends this piece after the opening, this often.
    pub fn then(self, piece: impl Into<Vec<u8>>, times: u64) -> Self {
        Self { piece: piece.into().into(), times, ..self }
    }

    /// Slowly: this many milliseconds between two pieces or reads.
    pub fn every_ms(self, ms: u64) -> Self {
        Self { every: Duration::from_millis(ms), ..self }
    }

    /// How replies are read.
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// What happens when everything is sent.
    pub fn end(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// The time before the next connection.
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
    /// The next bytes to send. Empty if everything is sent.
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

    /// Records that this many bytes were sent. Returns true if they completed a piece or the opening.
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
