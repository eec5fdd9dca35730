//! Clients: what they send and when, what they take of their replies, and how they leave.

use super::coverage::Kind;
use super::reader::Reader;
use super::requests::Ask;
use super::world::{Mark, Sim};
use crate::server::system::{Interest, Token};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    Never,
    WhenServed,
    /// Its own direction only, and the rest when the server has ended its own.
    HalfWhenSent,
    /// Both directions, having sent so much.
    At(usize),
    ResetsAt(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Sends on without waiting for replies.
    pub(super) pipelines: bool,
    /// Takes so much of its replies and no more.
    pub(super) deaf_from: usize,
    /// Sends so much and no more.
    pub(super) stops_at: usize,
    pub(super) leaves: Leaves,
    /// Does not close when the server has ended its direction.
    pub(super) clings: bool,
    /// Sleeps in so many of a thousand steps, up to so many milliseconds.
    pub(super) naps: usize,
    pub(super) nap: usize,
    /// Sends one byte at a time.
    pub(super) byte_by_byte: bool,
    /// Sends nothing before.
    pub(super) silent_until: Duration,
}

/// One client's connection. Offsets count from its beginning, in each direction.
pub(super) struct Client {
    pub(super) manner: Manner,
    pub(super) asleep_until: Duration,
    pub(super) script: Vec<u8>,
    pub(super) asks: Vec<Ask>,
    pub(super) connected: bool,
    pub(super) accepted: bool,
    /// The server holds it.
    pub(super) open: bool,
    /// Arrived at the server's kernel, and read by the server.
    pub(super) sent: usize,
    pub(super) read: usize,
    pub(super) fin: bool,
    pub(super) gone: bool,
    pub(super) reset: bool,
    /// Written, taken by the client's kernel, and by the client.
    pub(super) written: usize,
    pub(super) delivered: usize,
    pub(super) received: usize,
    pub(super) sndbuf: usize,
    pub(super) rcvbuf: usize,
    pub(super) watched: Option<(Token, Interest)>,
    pub(super) server_ended: bool,
    pub(super) reset_on_close: bool,
    /// The capacity of the server's input buffer, in bytes.
    pub(super) capacity: usize,
    // The kernel's answers to the server, and the server's replies.
    pub(super) saw_end: bool,
    pub(super) saw_error: bool,
    pub(super) watch_failed: bool,
    /// The last write was not taken whole.
    pub(super) blocked: bool,
    /// Others held memory when it was written to.
    pub(super) others_buffered: bool,
    /// Its reply says that there was no memory for the callback's own.
    pub(super) dropped: bool,
    pub(super) reader: Reader,
    /// Whole replies; of the next, how many bytes of body.
    pub(super) answered: usize,
    pub(super) reply_begun: bool,
    pub(super) body_seen: usize,
    pub(super) reply_ends: Vec<usize>,
    /// The last reply says that the connection closes.
    pub(super) closing: bool,
    pub(super) rejected: bool,
    /// It had brought a request when the stop came.
    pub(super) owed: bool,
    pub(super) accepted_at: Mark,
    pub(super) begun_at: Mark,
    pub(super) head_done_at: Mark,
    pub(super) answered_at: Mark,
    pub(super) taken_at: Mark,
    pub(super) wrote_at: Mark,
    /// When a write was first not taken whole.
    pub(super) blocked_at: Mark,
    pub(super) stalled_since: Mark,
    pub(super) ended_at: Mark,
    /// Turns since something was due that was not done.
    pub(super) overdue: u32,
}

impl Default for Client {
    fn default() -> Client {
        let mark = Mark::default();
        Client {
            manner: Manner {
                pipelines: true,
                deaf_from: usize::MAX,
                stops_at: usize::MAX,
                leaves: Leaves::Never,
                clings: false,
                naps: 0,
                nap: 1,
                byte_by_byte: false,
                silent_until: Duration::ZERO,
            },
            asleep_until: Duration::ZERO,
            script: Vec::new(),
            asks: Vec::new(),
            connected: false,
            accepted: false,
            open: false,
            sent: 0,
            read: 0,
            fin: false,
            gone: false,
            reset: false,
            written: 0,
            delivered: 0,
            received: 0,
            sndbuf: 1,
            rcvbuf: 1,
            watched: None,
            server_ended: false,
            reset_on_close: false,
            capacity: 0,
            saw_end: false,
            saw_error: false,
            watch_failed: false,
            blocked: false,
            others_buffered: false,
            dropped: false,
            reader: Reader::default(),
            answered: 0,
            reply_begun: false,
            body_seen: 0,
            reply_ends: Vec::new(),
            closing: false,
            rejected: false,
            owed: false,
            accepted_at: mark,
            begun_at: mark,
            head_done_at: mark,
            answered_at: mark,
            taken_at: mark,
            wrote_at: mark,
            blocked_at: mark,
            stalled_since: mark,
            ended_at: mark,
            overdue: 0,
        }
    }
}

impl Client {
    /// Written and not yet taken by the client's kernel.
    pub(super) fn unacked_bytes(&self) -> usize {
        self.written - self.delivered
    }

    pub(super) fn arrived(&self) -> usize {
        self.sent - self.read
    }

    pub(super) fn next_ask(&self) -> Option<&Ask> {
        self.asks.get(self.answered)
    }

    /// Whole replies that the client has seen.
    fn replies(&self) -> usize {
        self.reply_ends.iter().filter(|end| **end <= self.received).count()
    }

    /// How far it may send by now.
    fn may_send(&self) -> usize {
        let whole = self.script.len().min(self.manner.stops_at);
        if self.manner.pipelines {
            return whole;
        }
        let replies = self.replies();
        let Some(ask) = self.asks.get(replies) else { return whole };
        // A client that waits for `100 Continue` has seen it once it has read everything that the server has written.
        let waits = ask.waits && !(ask.continued && self.received == self.written);
        whole.min(if waits { ask.head_end.max(self.sent) } else { ask.end })
    }

    fn seems_closed(&self) -> bool {
        (self.server_ended || (self.accepted && !self.open)) && self.received == self.written
    }

    /// A whole request had arrived when the stop came, and is not answered.
    pub(super) fn is_owed_at_stop(&self) -> bool {
        let whole = self.next_ask().is_some_and(|ask| ask.end <= self.sent);
        self.connected && (self.open || !self.accepted) && whole && !self.closing && !self.reset && !self.gone
    }

    /// The steps that it could do next, if it did not sleep.
    fn options(&self) -> [bool; 5] {
        let alive = self.connected && !self.gone;
        let both_open = alive && !self.reset && (self.open || !self.accepted);
        let done = match self.manner.leaves {
            Leaves::Never => false,
            Leaves::WhenServed => self.replies() == self.asks.len(),
            Leaves::HalfWhenSent => self.sent == self.script.len() && !self.fin,
            Leaves::At(at) | Leaves::ResetsAt(at) => self.sent >= at.min(self.may_send()),
        };
        [
            !self.connected,
            self.unacked_bytes() > 0 && (self.delivered - self.received < self.rcvbuf || self.gone) && !self.reset,
            alive && self.delivered > self.received && self.received < self.manner.deaf_from,
            both_open && !self.fin && self.sent < self.may_send(),
            both_open && (done || (self.seems_closed() && !self.manner.clings)),
        ]
    }

    pub(super) fn can_act(&self) -> bool {
        self.options().contains(&true)
    }
}

impl Sim {
    pub(super) fn somebody_acts(&mut self) -> bool {
        let count = self.clients.len();
        let first = self.chance.below(count);
        (0..count).any(|offset| self.acts((first + offset) % count))
    }

    /// When the next client wakes that then has something to do.
    pub(super) fn next_waking(&self) -> Option<Duration> {
        self.clients.iter().filter(|client| client.can_act()).map(|client| client.asleep_until).min()
    }

    fn acts(&mut self, index: usize) -> bool {
        if self.clients[index].asleep_until > self.world {
            return false;
        }
        let options = self.clients[index].options();
        let first = self.chance.below(options.len());
        let Some(option) = (0..options.len()).map(|at| (first + at) % options.len()).find(|at| options[*at]) else {
            return false;
        };
        self.progress += 1;
        let portion = |chance: &mut super::rng::Rng, whole| chance.portion(whole);
        let turn = self.turn;
        let client = &mut self.clients[index];
        match option {
            0 => {
                client.connected = true;
                client.asleep_until = client.manner.silent_until;
                if self.listening {
                    self.queue.push_back(index);
                } else {
                    client.gone = true;
                }
            }
            1 if client.gone => {
                // A kernel answers bytes for a closed socket with a reset.
                client.reset = true;
            }
            1 => {
                let room = client.rcvbuf - (client.delivered - client.received);
                client.delivered += portion(&mut self.chance, room.min(client.unacked_bytes()));
                client.taken_at = turn;
            }
            2 => {
                let whole = client.delivered.min(client.manner.deaf_from) - client.received;
                client.received += portion(&mut self.chance, whole);
            }
            3 => {
                let mut left = client.may_send() - client.sent;
                if let Leaves::At(at) | Leaves::ResetsAt(at) = client.manner.leaves {
                    left = left.min(at.saturating_sub(client.sent)).max(1);
                }
                client.sent += if client.manner.byte_by_byte { 1 } else { portion(&mut self.chance, left) };
            }
            _ => self.leaves(index),
        }
        let client = &mut self.clients[index];
        if self.chance.permille(client.manner.naps) {
            client.asleep_until = self.world + Duration::from_millis(1 + self.chance.below(client.manner.nap) as u64);
        }
        let client = &self.clients[index];
        let state = (option, client.sent, client.script.len(), client.delivered, client.received, client.fin);
        self.note(|| {
            let (option, sent, whole, delivered, received, fin) = state;
            let what = ["connects", "is delivered", "takes", "sends", "leaves"][option];
            format!("client {index} {what}: sent {sent}/{whole}, delivered {delivered}, took {received}, fin {fin}")
        });
        true
    }

    fn leaves(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let kind = match client.manner.leaves {
            Leaves::ResetsAt(_) if !client.seems_closed() => Kind::ClientReset,
            Leaves::HalfWhenSent if !client.seems_closed() => Kind::ClientHalfClosed,
            _ => Kind::ClientLeft,
        };
        client.fin = true;
        client.gone = kind != Kind::ClientHalfClosed;
        client.reset |= kind == Kind::ClientReset;
        if client.gone && !client.accepted {
            // Still in the queue: what it has sent will be found there.
            client.connected = true;
        }
        self.seen.count(kind);
    }
}
