//! Every request against its reply, at the moment that the server writes it; every close against its reason.

use super::client::Client;
use super::coverage::Kind;
use super::function::Variant;
use super::reader::{Got, Reader, ReplyHead};
use super::requests::{self, Ask, Does, FIXED, HookAnswer, StreamEnd, What};
use super::world::Sim;
use crate::function::lifecycle::Hook;
use crate::tuning::{DRAIN_LINGER_TIME_MAX, SPARE_BYTES_MAX};
use std::time::Duration;

/// The reply that a request must get.
enum Expected {
    /// These bytes exactly.
    Text(u16, Vec<u8>),
    /// Such content of a number, so many bytes of it.
    Content(u16, usize),
    /// Some error's JSON.
    Refusal(u16),
}

fn error(message: &str, error_type: &str) -> Vec<u8> {
    format!(r#"{{"errorMessage":"{message}","errorType":"{error_type}"}}"#).into_bytes()
}

/// The reply that follows from a callback; `whole` for those whose streams are read before the reply.
fn outcome(number: u64, does: Does, failed: u16, whole: bool) -> Expected {
    match does {
        Does::Owned(bytes) => Expected::Content(200, bytes),
        // Of a hook, which has no event.
        Does::Echo => Expected::Content(200, 0),
        Does::Fixed => Expected::Text(200, FIXED.to_vec()),
        Does::Status(status) => Expected::Content(if whole { 200 } else { status }, 5),
        Does::Fails => Expected::Text(failed, error(&format!("fails {number:016x}"), "Simulated")),
        Does::Panics => Expected::Text(failed, error(&format!("panics {number:016x}"), "Panic")),
        Does::Stream { end, .. } if whole && end != StreamEnd::Whole => Expected::Refusal(404),
        Does::Stream { bytes, .. } => Expected::Content(200, bytes),
    }
}

impl Sim {
    fn expected(&self, ask: &Ask) -> Expected {
        match ask.what {
            What::Call(Does::Echo) | What::Event(Does::Echo) => Expected::Content(200, ask.body_bytes),
            What::Call(does) => outcome(ask.number, does, 500, false),
            What::Event(does) => outcome(ask.number, does, 404, true),
            What::Hook(..) if self.life.variant == Variant::Bare => Expected::Refusal(404),
            What::Hook(_, _, false) if self.life.variant == Variant::Strict => Expected::Refusal(404),
            What::Hook(..) => match ask.hook_answer {
                Some(HookAnswer::Of(number, does)) => outcome(number, does, 404, true),
                Some(HookAnswer::Refused) | None => Expected::Refusal(404),
            },
            What::Outside(_) | What::Missing => Expected::Refusal(404),
            What::WrongMethod => Expected::Refusal(405),
            What::Health => Expected::Text(200, b"ok".to_vec()),
            What::Malformed => Expected::Refusal(0),
        }
    }

    /// Bytes that the kernel took from the server.
    pub(super) fn wrote(&mut self, index: usize, mut bytes: &[u8]) {
        let mut reader = std::mem::take(&mut self.clients[index].reader);
        self.clients[index].written += bytes.len();
        loop {
            // Of what is refused the method counts too, where it had come.
            let client = &self.clients[index];
            let by_head = |ask: &Ask| client.script[ask.begin..client.read.max(ask.begin)].starts_with(b"HEAD ");
            let bodiless = client.next_ask().is_some_and(by_head);
            let (used, got) = match reader.step(bytes, |_| bodiless) {
                Ok(step) => step,
                Err(wrong) => return self.fail("replies are HTTP", format!("client {index}: {wrong}")),
            };
            bytes = &bytes[used..];
            self.clients[index].reply_begun |= used > 0;
            match got {
                Got::Nothing if bytes.is_empty() => break,
                Got::Nothing => {}
                Got::Head(head) if head.status == 100 => self.continues(index),
                Got::Head(head) => self.replies(index, &head),
                Got::Data(data) => self.body_goes_on(index, data),
                Got::End => self.reply_ends(index),
            }
        }
        self.clients[index].reader = reader;
    }

    fn continues(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.reply_begun = false;
        let read = client.read;
        let answered = client.answered;
        let ask = client.asks.get_mut(answered).filter(|ask| ask.waits && ask.head_end <= read && !ask.continued);
        match ask {
            Some(ask) => {
                ask.continued = true;
                self.seen.count(Kind::Continue);
            }
            None => self.fail("100 Continue once, where it is waited for", format!("client {index}")),
        }
    }

    fn replies(&mut self, index: usize, head: &ReplyHead) {
        self.note(|| format!("client {index} is answered: {head:?}"));
        let turn = self.turn;
        let client = &self.clients[index];
        let Some(ask) = client.next_ask() else {
            return self.fail("one reply for each request", format!("client {index}: one more: {head:?}"));
        };
        if client.closing {
            return self.fail("one reply for each request", format!("client {index}: behind the last: {head:?}"));
        }
        let whole = client.read >= ask.end;
        let early = head.status == 408 && !whole;
        let (mut refused, begun) = (!ask.refused.is_empty(), client.read > ask.lead);
        let mut stopping = self.stop.is_some();
        let mut rule = None;
        let mut dropped = false;
        if early {
            let in_head = client.read < ask.head_end;
            let (since, limit) = client.in_hand(&self.limits).unwrap_or((turn, Duration::ZERO));
            if !begun || !(whole || since.may_be_over(turn, limit)) {
                rule = Some(("no time limit too early", format!("408 after {since:?}, {limit:?}, head {in_head}")));
            }
            self.seen.count(if in_head { Kind::HeadTimeout } else { Kind::BodyTimeout });
            (refused, stopping) = (true, true);
        } else if head.status == 503 && head.close && !whole && self.may_lack_memory(index) {
            self.seen.count(Kind::Overloaded);
            refused = true;
        } else if head.status == 503 && head.number.is_none() && self.may_be_dropped(ask) {
            self.seen.count(Kind::Overloaded);
            dropped = true;
        } else if refused {
            if !ask.refused.contains(&head.status) || !begun {
                rule = Some(("refusals", format!("{} instead of one of {:?}", head.status, ask.refused)));
            }
        } else if !whole {
            rule = Some(("one reply for each request", format!("{head:?} before the request had arrived")));
        } else {
            rule = self.wrong_head(ask, head);
        }
        let client = &self.clients[index];
        let Some(ask) = client.next_ask() else { return };
        let may_close = refused || stopping || !ask.keeps || ask.is_ended_by_close();
        let must_close = refused || ask.stopped || !ask.keeps || ask.is_ended_by_close();
        if rule.is_none() && ((head.close && !may_close) || (!head.close && must_close)) {
            rule = Some(("connections stay open", format!("close {} but may {may_close}: {head:?}", head.close)));
        }
        if rule.is_none() && !head.close && ask.http10 && !head.keep_alive {
            rule = Some(("connections stay open", "HTTP/1.0 is not told".to_owned()));
        }
        let spared = head.status == 503 && refused;
        self.count_reply(index, refused && !early);
        if let Some((rule, details)) = rule {
            self.fail(rule, format!("client {index}: {details}"));
        }
        let client = &mut self.clients[index];
        client.closing = head.close;
        client.rejected = early || spared;
        client.dropped = dropped;
        client.body_seen = 0;
    }

    /// Whether others hold memory.
    pub(super) fn others_buffer(&self, index: usize) -> bool {
        let holds =
            |client: &Client| client.capacity > SPARE_BYTES_MAX || client.unanswered() > 0 || client.reply_begun;
        self.clients.iter().enumerate().any(|(other, client)| other != index && client.open && holds(client))
    }

    pub(super) fn is_short_of_memory(&self) -> bool {
        self.limits.buffered_bytes_max < 1 << 20
    }

    /// Whether it can be refused for what others hold.
    fn may_lack_memory(&self, index: usize) -> bool {
        self.is_short_of_memory() && self.clients[index].others_buffered
    }

    /// Whether its reply can be too large to be held beside those of others, which may be cut for it at once.
    fn may_be_dropped(&self, ask: &Ask) -> bool {
        let call = !matches!(ask.what, What::Hook(..) | What::Health);
        call && ask.ran == 1 && self.is_short_of_memory() && self.clients.len() > 1
    }

    fn wrong_head(&self, ask: &Ask, head: &ReplyHead) -> Option<(&'static str, String)> {
        let number = ask.number;
        let (status, length) = match self.expected(ask) {
            Expected::Text(status, text) => (status, Some(text.len())),
            Expected::Content(205, _) => (205, Some(0)),
            Expected::Content(status @ (204 | 304), _) => (status, None),
            Expected::Content(status, bytes) => (status, Some(bytes)),
            Expected::Refusal(status) => (status, head.length),
        };
        let streams = matches!(ask.what, What::Call(Does::Stream { sized: false, .. }));
        let length = if streams { None } else { length };
        let marked = match ask.what {
            What::Call(does) | What::Event(does) => !matches!(does, Does::Fails | Does::Panics) && head.status != 404,
            _ => false,
        };
        let ran = u32::from(matches!(ask.what, What::Call(_) | What::Event(_)));
        let chunked = streams && !ask.http10 && ask.method != "HEAD";
        let failed = head.status >= 500
            || (head.status == 404 && matches!(ask.what, What::Event(_) | What::Hook(..)))
            || matches!(self.expected(ask), Expected::Text(404 | 500, _));
        if head.status != status || head.length != length || head.chunked != chunked {
            return Some(("its own reply", format!("{head:?} for {number:016x}, {:?}, {length:?}", ask.what)));
        }
        if head.failed != Some(failed) || (marked && head.number != Some(number)) {
            return Some(("its own reply", format!("{head:?} for {number:016x}, failed {failed}")));
        }
        let hook = matches!(ask.what, What::Hook(..));
        if !hook && ask.ran != ran {
            return Some(("a callback once for each request", format!("{} for {number:016x}", ask.ran)));
        }
        None
    }

    fn body_goes_on(&mut self, index: usize, data: &[u8]) {
        let client = &self.clients[index];
        let (from, Some(ask)) = (client.body_seen, client.next_ask()) else { return };
        let number = match ask.hook_answer {
            Some(HookAnswer::Of(number, _)) => number,
            _ => ask.number,
        };
        let fine = match self.expected(ask) {
            _ if client.rejected || client.dropped || !ask.refused.is_empty() => true,
            Expected::Text(_, text) => text.get(from..from + data.len()) == Some(data),
            Expected::Refusal(_) => true,
            Expected::Content(_, bytes) => {
                from + data.len() <= bytes && requests::contents_from(number, from, data.len()) == data
            }
        };
        self.clients[index].body_seen += data.len();
        if !fine {
            self.fail("its own body", format!("client {index}: {number:016x} from byte {from}"));
        }
    }

    fn reply_ends(&mut self, index: usize) {
        let turn = self.turn;
        let client = &mut self.clients[index];
        let stream = client.next_ask().and_then(|ask| match ask.what {
            What::Call(Does::Stream { bytes, end, .. }) if ask.method != "HEAD" => Some((bytes, end)),
            _ => None,
        });
        let short = stream.is_some_and(|(bytes, end)| client.body_seen != bytes || end != StreamEnd::Whole)
            && !client.rejected
            && !client.dropped
            && client.next_ask().is_some_and(|ask| ask.refused.is_empty());
        client.answered += 1;
        client.reply_begun = false;
        client.answered_at = turn;
        client.reply_ends.push(client.written);
        client.overdue = 0;
        client.owed = false;
        if short {
            self.fail("its own body", format!("client {index}: the end of {stream:?} is missing"));
        } else if stream.is_some() {
            self.seen.count(Kind::StreamWhole);
        }
    }

    /// A reply that only the close ends is whole when all of it was written.
    pub(super) fn end_until_close(&mut self, index: usize) {
        let client = &self.clients[index];
        let whole = client.next_ask().is_some_and(|ask| match ask.what {
            What::Call(Does::Stream { bytes, end, .. }) => end == StreamEnd::Whole && client.body_seen == bytes,
            _ => false,
        });
        if whole && client.reader.is_until_close() && !client.blocked {
            self.clients[index].reader = Reader::default();
            self.reply_ends(index);
        }
    }

    fn count_reply(&mut self, index: usize, refused: bool) {
        let client = &self.clients[index];
        let Some(ask) = client.next_ask() else { return };
        let chunked = client.script[ask.begin..ask.head_end].windows(7).any(|seven| seven == b"chunked");
        let kind = match ask.what {
            What::Call(_) => Kind::Call,
            What::Event(_) => Kind::Event,
            What::Hook(Hook::Initialize | Hook::PreFreeze | Hook::PreStop, ..) => Kind::Call,
            What::Outside(_) => Kind::HookFromOutside,
            What::Health => Kind::Health,
            What::Missing => Kind::NotFound,
            What::WrongMethod => Kind::WrongMethod,
            What::Malformed => Kind::Malformed,
        };
        let conditions = [
            (true, kind),
            (ask.method == "HEAD", Kind::Head),
            (ask.http10 && !ask.keeps, Kind::Http10),
            (ask.http10 && ask.keeps, Kind::KeptHttp10),
            (!ask.keeps, Kind::AskedToClose),
            (chunked && ask.body_bytes > 0, Kind::Chunked),
            (!chunked && ask.body_bytes > 0, Kind::Sized),
            (client.read > ask.end, Kind::Pipelined),
            (refused && ask.refused.contains(&413) && ask.what != What::Malformed, Kind::BodyTooLarge),
            (refused && ask.refused.contains(&431) && ask.what != What::Malformed, Kind::OverLimit),
            (matches!(ask.what, What::Call(Does::Status(204 | 205 | 304))), Kind::NoContent),
            (matches!(ask.what, What::Call(Does::Fails)), Kind::CallbackFails),
            (matches!(ask.what, What::Call(Does::Panics)), Kind::CallbackPanics),
        ];
        for (_, kind) in conditions.into_iter().filter(|(met, _)| *met) {
            self.seen.count(kind);
        }
    }

    /// The time that a connection may linger.
    pub(super) fn linger_time(&self) -> Duration {
        let max = if self.stop.is_some() { DRAIN_LINGER_TIME_MAX } else { Duration::MAX };
        self.limits.linger_time_max.min(max)
    }
}
