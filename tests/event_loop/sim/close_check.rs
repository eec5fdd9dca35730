//! Every close against its reason.

use super::client::Client;
use super::coverage::Kind;
use super::requests::{Ask, Does, StreamEnd, What};
use super::world::{Mark, Sim};
use crate::limits::Limits;
use crate::tuning::{KEEP_ALIVE_TIME_MIN, TURN_TIME_MAX, UNUSED_TIME_MIN};
use std::time::Duration;

/// In so many turns the server must have done what is due: a yielding connection begins to count at its turn.
const OVERDUE_TURNS_MAX: u32 = 12;

impl Client {
    /// Since when a request is in hand that is not whole, and how long that may take.
    pub(super) fn in_hand(&self, limits: &Limits) -> Option<(Mark, Duration)> {
        let ask = self.next_ask()?;
        let since = |begun: Mark| if begun.turn > self.answered_at.turn { begun } else { self.answered_at };
        if self.read > ask.lead && self.read < ask.head_end && self.read != ask.begin {
            return Some((since(self.begun_at), limits.head_time_max));
        }
        (self.read >= ask.head_end && self.read < ask.end).then(|| (since(self.head_done_at), limits.body_time_max))
    }

    /// Requests that the server has read whole and has yet to answer.
    pub(super) fn unanswered(&self) -> usize {
        if self.closing && !self.reply_begun {
            return 0;
        }
        self.asks[self.answered.min(self.asks.len())..].iter().take_while(|ask| ask.end <= self.read).count()
    }

    /// The author's reader has ended the reply in hand before its time.
    fn stream_failed(&self) -> bool {
        let fails = |ask: &Ask| match ask.what {
            What::Call(Does::Stream { end, .. }) => match end {
                StreamEnd::Whole => None,
                StreamEnd::Fails(at) | StreamEnd::Panics(at) | StreamEnd::Short(at) => Some(at),
            },
            _ => None,
        };
        self.next_ask().and_then(fails).is_some_and(|at| self.body_seen <= at && self.reply_begun)
    }

    /// It has not brought a single whole head.
    fn is_unused(&self) -> bool {
        self.answered == 0 && !self.reply_begun && self.asks.first().is_none_or(|ask| self.read < ask.head_end)
    }

    pub(super) fn waited_since(&self, tells_queue: bool) -> Mark {
        if tells_queue && self.taken_at.turn > self.wrote_at.turn { self.taken_at } else { self.wrote_at }
    }
}

impl Sim {
    /// A connection waits in the backlog, and there is no slot or no descriptor for it. `closed`: connections that the
    /// server has closed for it.
    pub(super) fn is_short_of_slots(&self, closed: usize) -> bool {
        let open = self.clients.iter().filter(|client| client.open).count() + closed;
        let full = open >= self.limits.connections_max && !self.queue.is_empty();
        full || self.exhausted_at == Some(self.turn.turn)
    }

    /// A connection is closed for another one, that is evicted.
    fn evicted(&mut self, index: usize, since: Mark, time: Duration) -> Option<(&'static str, String)> {
        self.seen.count(Kind::Evicted);
        if self.clients[index].arrived() > 0 {
            return Some(("an eviction cuts no request", "bytes of the client wait to be read".to_owned()));
        }
        let early = !since.may_be_over(self.turn, time);
        early.then(|| ("no time limit too early", format!("evicted, used or accepted at {since:?}")))
    }

    /// The server has closed a connection.
    pub(super) fn closed(&mut self, index: usize) {
        self.note(|| format!("client {index} is closed"));
        self.progress += 1;
        self.end_until_close(index);
        let (turn, limits) = (self.turn, self.limits.clone());
        let over = self.drain_is_over();
        let linger_time = self.linger_time();
        let client = &mut self.clients[index];
        client.open = false;
        client.watched = None;
        client.capacity = 0;
        let client = &self.clients[index];
        let mid_reply = !client.reader.is_between();
        let lacks = client.unanswered() > 0 || mid_reply;
        // After an error nothing more is owed.
        if client.saw_error || client.watch_failed {
            if mid_reply && matches!(client.next_ask().map(|ask| ask.what), Some(What::Call(Does::Stream { .. }))) {
                self.seen.count(Kind::StreamCut);
            }
            return;
        }
        if client.saw_end {
            if lacks {
                self.fail("one reply for each request", format!("client {index} has left and is not answered"));
            }
            return;
        }
        if client.closing && !lacks {
            return self.closed_in_order(index, over, linger_time);
        }
        let (until_close, is_reset) = (client.reader.is_until_close(), client.reset_on_close);
        let since = if is_reset { client.stalled_since } else { client.waited_since(self.tells_queue) };
        let rule = if client.stream_failed() && !client.blocked {
            let kind = match client.next_ask().map(|ask| ask.what) {
                Some(What::Call(Does::Stream { end: StreamEnd::Panics(_), .. })) => Kind::StreamPanics,
                Some(What::Call(Does::Stream { end: StreamEnd::Short(_), .. })) => Kind::StreamShort,
                _ => Kind::StreamFails,
            };
            self.seen.count(kind);
            (!is_reset).then_some(("what is cut is reset", "a failed stream".to_owned()))
        } else if over {
            self.seen.count(Kind::DrainCutShort);
            (until_close && !is_reset).then_some(("what is cut is reset", "at the drain's end".to_owned()))
        } else if client.blocked || lacks {
            self.seen.count(Kind::StallCut);
            // Where memory is short, a reply has that time in all, however it is taken.
            let given_up = self.is_short_of_memory() && client.head_done_at.may_be_over(turn, limits.stall_time_max);
            let early = !given_up && !since.may_be_over(turn, limits.stall_time_max);
            let unfair = ("no time limit too early", format!("stalled since {since:?}, now {turn:?}"));
            early.then_some(unfair).or((!is_reset).then_some(("what is cut is reset", "a stalled reply".to_owned())))
        } else if self.stop.is_some() && !lacks && client.in_hand(&limits).is_none() {
            let cut = (!limits.linger_time_max.is_zero() && self.is_under_way(index))
                .then_some(("what is sent arrives", "closed at once".to_owned()));
            cut.or(self.owes_at_stop(index))
        } else if client.is_unused() && self.is_short_of_slots(1) {
            self.evicted(index, client.accepted_at, UNUSED_TIME_MIN)
        } else if client.in_hand(&limits).is_none() && self.is_short_of_slots(1) {
            self.evicted(index, client.answered_at, KEEP_ALIVE_TIME_MIN)
        } else {
            Some(("no connection is closed without reason", format!("lacks {lacks}, at {turn:?}")))
        };
        if let Some((rule, details)) = rule {
            self.fail(rule, format!("client {index}: {details}"));
        }
    }

    /// The rule that is broken if a stopping server ends this idle connection: a request of it had arrived.
    fn owes_at_stop(&self, index: usize) -> Option<(&'static str, String)> {
        let client = &self.clients[index];
        // An empty line alone is no request yet, and a short read may bring no more.
        let begun = client.next_ask().is_none_or(|ask| ask.begin == ask.lead || client.read != ask.begin);
        let owed = (client.owed && begun).then_some(("what had arrived is served", "nothing came".to_owned()));
        owed.or((client.arrived() > 0 && self.stop.is_some_and(|stop| !stop.known))
            .then_some(("what had arrived is served", "the stop was not seen".to_owned())))
    }

    /// The server ends its side: behind the last reply, or of an idle connection because it stops.
    pub(super) fn ended(&mut self, index: usize) {
        let (turn, over) = (self.turn, self.drain_is_over());
        let client = &mut self.clients[index];
        client.ended_at = turn;
        let again = std::mem::replace(&mut client.server_ended, true);
        if !client.reader.is_between() || again {
            return self.fail("one reply for each request", "the end before the last reply is whole");
        }
        // At the drain's end everything ends.
        if std::mem::replace(&mut client.closing, true) || over {
            return;
        }
        let idle = client.unanswered() == 0 && client.in_hand(&self.limits).is_none();
        let rule = if idle && self.stop.is_some() {
            self.owes_at_stop(index)
        } else {
            Some(("no connection is closed without reason", "ended".to_owned()))
        };
        if let Some((rule, details)) = rule {
            self.fail(rule, format!("client {index}: {details}"));
        }
    }

    /// The client's kernel has not taken everything, and the server's kernel can tell.
    fn is_under_way(&self, index: usize) -> bool {
        self.tells_queue && self.clients[index].unacked_bytes() > 0
    }

    /// Behind the last reply.
    fn closed_in_order(&mut self, index: usize, over: bool, linger_time: Duration) {
        let client = &self.clients[index];
        let last = client.answered.checked_sub(1).and_then(|last| client.asks.get(last));
        let refused = last.is_some_and(|ask| !ask.refused.is_empty()) || client.rejected;
        let announced = last.is_some_and(|ask| !ask.keeps && client.read == ask.end && !ask.is_ended_by_close());
        let announced = announced && !refused;
        if !client.server_ended {
            let must_linger = (!announced || self.is_under_way(index)) && !self.limits.linger_time_max.is_zero();
            // Its turn was to come, and its socket took nothing more for as long as a stall may last.
            let stalled =
                client.reset_on_close && client.stalled_since.may_be_over(self.turn, self.limits.stall_time_max);
            if must_linger && !over && !stalled {
                self.fail("refused clients are read out", format!("client {index} is closed at once"));
            }
            return;
        }
        let due = client.ended_at.may_be_over(self.turn, linger_time);
        self.seen.count(Kind::LingerTimeout);
        if !due && !over {
            self.fail("no time limit too early", format!("client {index} lingers since {:?}", client.ended_at));
        }
    }

    /// Before each wait: whatever is due by the documented count of time has been done.
    pub(super) fn check_times(&mut self) {
        let turn = self.turn;
        let linger_time = self.linger_time();
        let (limits, tells_queue) = (self.limits.clone(), self.tells_queue);
        let stopped = self.stop.filter(|stop| stop.known).map(|stop| stop.known_at);
        let mut late = None;
        for (index, client) in self.clients.iter_mut().enumerate().filter(|(_, client)| client.open) {
            let counted = |since: Mark, limit: Duration| turn.counted >= since.counted + limit;
            let in_hand = client.in_hand(&limits).filter(|_| !client.closing && !client.blocked);
            let due = if client.server_ended {
                // A stop cuts it short only once it is seen.
                counted(client.ended_at, limits.linger_time_max)
                    || stopped.is_some_and(|stopped| {
                        let since = if stopped.turn > client.ended_at.turn { stopped } else { client.ended_at };
                        // Once every connection was looked at.
                        counted(since, linger_time + TURN_TIME_MAX * 2)
                    })
            } else if client.blocked {
                // Spared for what an earlier look had seen; each look can come a turn late.
                let waited = client.waited_since(tells_queue);
                let since = if client.blocked_at.turn > waited.turn { client.blocked_at } else { waited };
                counted(since, limits.stall_time_max * 4 + TURN_TIME_MAX * 5)
            } else {
                in_hand.is_some_and(|(since, limit)| counted(since, limit))
            };
            client.overdue = if due { client.overdue + 1 } else { 0 };
            if client.overdue > OVERDUE_TURNS_MAX {
                late = Some((index, client.server_ended, client.blocked));
            }
        }
        if let Some((index, ended, blocked)) = late {
            self.fail("no time limit too late", format!("client {index}: lingers {ended}, blocked {blocked}"));
        }
        let overran = self.stop.is_some_and(|stop| {
            stop.known
                && self.freezes == stop.freezes
                && turn.awake.saturating_sub(stop.awake + stop.forgiven) >= self.limits.drain_time_max + TURN_TIME_MAX
        });
        if overran {
            self.fail(
                "a stop is bounded",
                format!("still waiting, {turn:?}, {:?}, {:?}", self.stop, self.limits.drain_time_max),
            );
        }
    }
}
