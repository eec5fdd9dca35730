//! The data of both ends of an exchange: what the loop holds of a client, and of a connection to the program.

use crate::adapter::relay::{Reader, Relay};
use crate::adapter::{downstream, upstream};
use crate::function::request::Peer;
use crate::http1::head::HeadEndFinder;
use crate::server::system::{Interest, Token};
use std::time::{Duration, Instant};

/// Bytes that a socket did not take yet.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

/// A client's connection. Times are readings of the awake clock.
pub(super) struct Client<K> {
    pub(super) socket: K,
    pub(super) peer: Peer,
    pub(super) machine: downstream::Machine,
    /// Bytes that are not used yet: a part of a head, a request that waits, or what follows the request in hand. In
    /// front of them may be the request in hand, see `repeatable_bytes`.
    pub(super) input: Vec<u8>,
    /// The bytes at the beginning of `input` that are the request in hand, as long as it may be sent once more.
    pub(super) repeatable_bytes: usize,
    pub(super) finder: HeadEndFinder,
    pub(super) output: Output,
    /// The body of the request in hand.
    pub(super) upload: Relay,
    pub(super) program: Option<Token>,
    pub(super) call: CallInHand,
    /// The program's side takes more of the request's body, or of the tunnel.
    pub(super) wants_upload: bool,
    /// The client sends nothing more.
    pub(super) has_ended: bool,
    /// Its call is looked at once more when the task in hand has ended.
    pub(super) waits_for_gate: bool,
    pub(super) since: Duration,
    /// When the client has used up its time.
    pub(super) deadline: Option<Duration>,
    /// What its kernel had not acknowledged when it was last asked.
    pub(super) unacked_bytes: Option<usize>,
    pub(super) linger_bytes_left: usize,
    pub(super) noted: Option<Interest>,
    /// The turn in which that changed last: what the wait before it has reported may be out of date.
    pub(super) noted_in_turn: u64,
    pub(super) is_timed: bool,
    /// The bytes that the loop counts for it.
    pub(super) held_bytes: usize,
}

/// The call that a client waits for.
#[derive(Default)]
pub(super) struct CallInHand {
    pub(super) keep: bool,
    pub(super) http10: bool,
    pub(super) is_head: bool,
    pub(super) upgrades: bool,
    /// The program's reply says so.
    pub(super) failed: bool,
    /// The framing of a hook call's body, which nobody gets.
    pub(super) hook_body: Option<Reader>,
    /// The gate has counted it.
    pub(super) is_counted: bool,
    /// Its log has begun.
    pub(super) is_logged: bool,
    pub(super) request_id: Vec<u8>,
}

impl<K> Client<K> {
    pub(super) fn new(socket: K, peer: Peer, now: Duration) -> Client<K> {
        Client {
            socket,
            peer,
            machine: downstream::Machine::new(),
            input: Vec::new(),
            repeatable_bytes: 0,
            finder: HeadEndFinder::default(),
            output: Output::default(),
            upload: Relay::NONE,
            program: None,
            call: CallInHand::default(),
            wants_upload: false,
            has_ended: false,
            waits_for_gate: false,
            since: now,
            deadline: None,
            unacked_bytes: None,
            linger_bytes_left: 0,
            noted: Some(Interest::Read),
            noted_in_turn: 0,
            is_timed: false,
            held_bytes: 0,
        }
    }

    pub(super) fn state(&self) -> downstream::State {
        self.machine.state()
    }
}

/// For whom a connection to the program works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Client(Token),
    /// The task behind the gate.
    Task,
    /// The question whether the program serves.
    Ready,
    Nobody,
}

/// A connection to the program.
pub(super) struct Upstream<K> {
    pub(super) socket: K,
    pub(super) machine: upstream::Machine,
    pub(super) owner: Owner,
    /// A part of a reply's head.
    pub(super) input: Vec<u8>,
    pub(super) output: Output,
    /// The body of the reply in hand.
    pub(super) download: Relay,
    /// The connection can be used once more behind this reply.
    pub(super) keeps: bool,
    /// It had served a request before this one.
    pub(super) was_kept: bool,
    /// The program takes nothing more of the request.
    pub(super) is_deaf: bool,
    /// It has sent a byte of its reply.
    pub(super) has_replied: bool,
    /// When its last request ended, by the monotonic clock: its timers run on while a control group is frozen.
    pub(super) idle_since: Instant,
    pub(super) idle_max: Duration,
    /// The turn in which that was: the next wait would report that the program has closed it.
    pub(super) idle_in_turn: u64,
    pub(super) noted: Option<Interest>,
    /// The bytes that the loop counts for it.
    pub(super) held_bytes: usize,
}

impl<K> Upstream<K> {
    pub(super) fn new(socket: K, owner: Owner, now: Instant) -> Upstream<K> {
        Upstream {
            socket,
            machine: upstream::Machine::new(),
            owner,
            input: Vec::new(),
            output: Output::default(),
            download: Relay::NONE,
            keeps: false,
            was_kept: false,
            is_deaf: false,
            has_replied: false,
            idle_since: now,
            idle_max: Duration::ZERO,
            idle_in_turn: 0,
            noted: None,
            held_bytes: 0,
        }
    }
}

/// Spare buffers, so that a call allocates nothing once a few have been served.
#[derive(Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

const SPARE_MAX: usize = 16;

#[cfg(test)]
thread_local! {
    /// What the loop holds for later calls while it waits, for the simulation.
    pub(super) static SPARE_BYTES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl Pool {
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Vec::capacity).sum()
    }
}

impl Pool {
    /// Gives `buffer` memory, if it has none.
    #[inline(never)]
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0
            && let Some(spare) = self.0.pop()
        {
            *buffer = spare;
        }
    }

    /// Takes the memory of an empty buffer.
    #[inline(never)]
    pub(super) fn take_back(&mut self, buffer: &mut Vec<u8>) {
        if buffer.is_empty() && buffer.capacity() > 0 {
            let buffer = std::mem::take(buffer);
            if self.0.len() < SPARE_MAX && buffer.capacity() <= crate::tuning::SPARE_BYTES_MAX {
                self.0.push(buffer);
            }
        }
    }
}
