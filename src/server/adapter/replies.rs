//! The head of a program's reply, on its way to the client or to the task that has asked.

use super::client_side::Outcome;
use super::peers::Owner;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, Event, State};
use crate::adapter::head::{After, Lines, ReplyChanges, write_reply};
use crate::adapter::plan::{ClientFacts, plan};
use crate::adapter::relay::{Relay, Writer};
use crate::adapter::reply_head::{self, BrokenReply, ReplyHead};
use crate::adapter::upstream;
use crate::server::system::Token;

/// What a look at a program's bytes has found.
enum Found {
    /// The head is not whole; it begins there.
    Partial(usize),
    /// An interim reply ended there. If it is for the client, it is written.
    Interim(usize),
    /// Both sides change the protocol; what follows there belongs to the tunnel.
    Switch(usize),
    /// The client's head is written; the body begins there.
    Reply(usize),
    Broken(BrokenReply),
}

impl<O: AdapterSystem> Proxy<O> {
    /// Bytes have come on a connection whose reply has not begun.
    pub(super) fn read_reply(&mut self, token: Token, mut start: usize, end: usize) {
        let Some(owner) = self.upstreams.get(token).map(|upstream| upstream.owner) else { return };
        loop {
            let scratch = std::mem::take(&mut self.scratch);
            let found = self.look_for_reply(token, owner, &scratch[..end], start);
            self.scratch = scratch;
            let outcome = match (found, owner) {
                (Found::Partial(from), owner) => {
                    if let Some(upstream) = self.upstreams.get(token)
                        && from < end
                    {
                        self.pool.fill(&mut upstream.input);
                        upstream.input.extend_from_slice(&self.scratch[from..end]);
                    }
                    // An interim reply may wait for the client to take it.
                    if let Owner::Client(client) = owner {
                        self.sync(client, Ok(()));
                    }
                    return;
                }
                (Found::Broken(broken), _) => return self.broken_reply(token, owner, broken),
                (Found::Interim(next), owner) => {
                    start = next;
                    match owner {
                        Owner::Client(client) if !self.head.is_empty() => self.write_client(client, 0..0),
                        _ => Ok(()),
                    }
                }
                (Found::Switch(from), Owner::Client(client)) => {
                    let outcome = self.begin_tunnel(token, client, from, end);
                    return self.sync(client, outcome);
                }
                (Found::Reply(from), Owner::Client(client)) => {
                    let outcome = self.pass_down(token, client, from, end);
                    return self.sync(client, outcome);
                }
                (Found::Reply(from) | Found::Switch(from), _) => return self.read_task_reply(token, from, end),
            };
            if let (Err(_), Owner::Client(client)) = (outcome, owner) {
                return self.sync(client, outcome);
            }
        }
    }

    fn look_for_reply(&mut self, token: Token, owner: Owner, bytes: &[u8], start: usize) -> Found {
        if bytes.len() == start {
            return Found::Partial(start);
        }
        let pending = &bytes[start..];
        let mut headers = self.headers.lend();
        let found = match reply_head::parse(pending, &mut headers, &self.config.limits) {
            Ok(None) => Found::Partial(start),
            Err(broken) => Found::Broken(broken),
            Ok(Some(head)) => self.found_reply(token, owner, pending, &head, start + head.bytes),
        };
        self.headers.take_back(headers);
        found
    }

    #[inline(always)]
    fn found_reply(&mut self, token: Token, owner: Owner, bytes: &[u8], head: &ReplyHead<'_>, next: usize) -> Found {
        let lines = Lines { head: &bytes[..head.bytes], headers: head.headers };
        match owner {
            Owner::Client(client) => self.take_reply(token, client, head, &lines, next),
            Owner::Task | Owner::Ready | Owner::Nobody => match head.status {
                100..=199 => Found::Interim(next),
                _ => {
                    self.begin_task_reply(token, head);
                    Found::Reply(next)
                }
            },
        }
    }

    fn take_reply(
        &mut self,
        token: Token,
        client_token: Token,
        head: &ReplyHead<'_>,
        lines: &Lines<'_>,
        next: usize,
    ) -> Found {
        let Some(client) = self.clients.get(client_token) else { return Found::Interim(next) };
        self.head.clear();
        match head.status {
            101 if client.call.upgrades && lines.get("upgrade").is_some() => {
                let changes = ReplyChanges { failed: None, after: After::Upgrade, chunked: false, drop_length: true };
                self.head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
                write_reply(&mut self.head, lines, &changes);
                return Found::Switch(next);
            }
            101 => return Found::Broken(BrokenReply::Upgrade),
            // The adapter has sent its own 100, and a client of HTTP/1.0 knows no interim replies.
            100 => return Found::Interim(next),
            102..=199 if client.call.http10 => return Found::Interim(next),
            _ => {}
        }
        self.write_status_line(head);
        let Some(client) = self.clients.get(client_token) else { return Found::Interim(next) };
        if head.status < 200 {
            let changes = ReplyChanges { failed: None, after: After::Keep, chunked: false, drop_length: true };
            write_reply(&mut self.head, lines, &changes);
            return Found::Interim(next);
        }
        let facts = ClientFacts {
            keep: client.call.keep && self.drain.is_none(),
            http10: client.call.http10,
            is_head: client.call.is_head,
            is_uploaded: client.upload.is_done(),
        };
        let plan = plan(head, facts, &self.settings.fail_on);
        write_reply(&mut self.head, lines, &plan.changes);
        (client.call.keep, client.call.failed) = (plan.keep, plan.failed);
        client.machine.enter(Event::ReplyBegun, State::Relaying);
        if let Some(upstream) = self.upstreams.get(token) {
            upstream.machine.enter(upstream::Event::ReplyBegun, upstream::State::Replying);
            upstream.download = plan.relay;
            upstream.keeps = plan.program_keeps;
            upstream.idle_max = Proxy::<O>::idle_time_max(head.idle_seconds_max);
        }
        Found::Reply(next)
    }

    fn write_status_line(&mut self, head: &ReplyHead<'_>) {
        if head.status == 200 && head.reason == "OK" {
            return self.head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        let digits = [100, 10, 1].map(|place| b'0' + (head.status / place % 10) as u8);
        for part in [&b"HTTP/1.1 "[..], &digits, b" ", head.reason.as_bytes(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
    }

    /// The head for the client is written: from here on both sides exchange bytes.
    #[cold]
    #[inline(never)]
    fn begin_tunnel(&mut self, token: Token, client_token: Token, from: usize, end: usize) -> Outcome {
        let Some(client) = self.clients.get(client_token) else { return Ok(()) };
        client.machine.enter(Event::Switched, State::Tunnelling);
        client.deadline = None;
        client.call.keep = false;
        let early = client.input.split_off(client.repeatable_bytes.min(client.input.len()));
        client.input.clear();
        client.repeatable_bytes = 0;
        if let Some(upstream) = self.upstreams.get(token) {
            upstream.machine.enter(upstream::Event::Switched, upstream::State::Tunnelling);
            upstream.download = Relay::NONE;
        }
        self.write_client(client_token, from..end)?;
        if !early.is_empty() {
            // What the client has sent behind its request belongs to the tunnel.
            self.head.clear();
            self.head.extend_from_slice(&early);
            if self.write_upstream(token, 0..0).is_err() {
                return Err(CloseReason::Broken);
            }
        }
        self.note_upload(client_token);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn broken_reply(&mut self, token: Token, owner: Owner, broken: BrokenReply) {
        match owner {
            Owner::Client(client) => {
                self.drop_upstream(client, upstream::CloseReason::BrokenReply);
                let outcome = self.bad_gateway(client, &format!("the program's reply is broken: {broken}"));
                self.sync(client, outcome);
            }
            Owner::Task | Owner::Ready | Owner::Nobody => {
                log::warn!("the program's reply is broken: {broken}");
                self.task_connection_ended(token, false);
            }
        }
    }

    /// The head of the reply that a hook has asked for.
    #[cold]
    #[inline(never)]
    fn begin_task_reply(&mut self, token: Token, head: &ReplyHead<'_>) {
        let is_bodiless = head.is_bodiless(self.task_asks_by_head());
        let Some(upstream) = self.upstreams.get(token) else { return };
        upstream.download = if is_bodiless { Relay::NONE } else { Relay::new(head.body, Writer::Plain) };
        upstream.machine.enter(upstream::Event::ReplyBegun, upstream::State::Replying);
        let owner = upstream.owner;
        self.note_task_status(owner, head.status);
    }
}
