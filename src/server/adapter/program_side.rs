//! Connections to the program: taking one for a request, and what the program sends on it.

use super::calls::{Body, Own};
use super::client_side::{Outcome, is_covered};
use super::peers::{Owner, Upstream};
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, Event, State};
use crate::adapter::relay::{CutShort, ROOM_BEFORE, ROOM_BEHIND, Relay, Writer};
use crate::adapter::upstream;
use crate::http1::head::{self};
use crate::server::system::{Interest, Ready, Token};
use crate::tuning::{COALESCE_BYTES_MAX, RELAY_BYTES_CROWDED};
use rustix::io::Errno;
use std::ops::Range;

impl<O: AdapterSystem> Proxy<O> {
    /// Sends a request whose head is written to a connection to the program.
    pub(super) fn forward(&mut self, token: Token, body: Body, raw: (bool, usize), end: usize) -> Outcome {
        let writer = if body.is_chunked { Writer::Chunked } else { Writer::Plain };
        let mut upload = Relay::new(body.reader, writer);
        let is_repeatable = raw.0 && upload.is_done();
        let kept = self.take_kept(is_repeatable);
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        self.pool.fill(&mut client.input);
        if kept.is_some() && is_repeatable {
            client.input.extend_from_slice(&self.scratch[raw.1..body.start]);
            client.repeatable_bytes = client.input.len();
        }
        let mut piece = 0..0;
        if upload.is_done() {
            client.input.extend_from_slice(&self.scratch[body.start..end]);
        } else {
            match upload.pass(&mut self.scratch, body.start..end, &mut client.input) {
                Ok(place) => piece = place,
                Err(error) => {
                    self.give_back(kept);
                    return self.reject(token, error);
                }
            }
        }
        client.upload = upload;
        if piece.len() <= COALESCE_BYTES_MAX {
            self.head.extend_from_slice(&self.scratch[piece]);
            piece = 0..0;
        }
        let sent = self.send_on(Owner::Client(token), kept, piece);
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        let upstream = match sent {
            Ok(upstream) => upstream,
            Err(error) => return self.bad_gateway(token, &format!("cannot connect to the program: {error}")),
        };
        client.program = Some(upstream);
        client.machine.enter(Event::Forwarded, State::Forwarding);
        self.note_upload(token);
        if body.expects_continue && body.start == end {
            let Some(client) = self.clients.get(token) else { return Ok(()) };
            if !client.upload.is_done() {
                return self.send_continue(token);
            }
        }
        Ok(())
    }

    /// Sends the head that is written, and a piece of the scratch buffer, on a kept connection or on a new one. Where a
    /// kept one takes no byte, the program has seen nothing of the request.
    pub(super) fn send_on(&mut self, owner: Owner, kept: Option<Token>, piece: Range<usize>) -> Result<Token, Errno> {
        if let Some(token) = kept {
            if let Some(upstream) = self.upstreams.get(token) {
                upstream.machine.enter(upstream::Event::Reused, upstream::State::Asking);
                (upstream.owner, upstream.was_kept, upstream.has_replied) = (owner, true, false);
            }
            if self.write_upstream(token, piece.clone()).is_ok() {
                self.note_upstream_interest(token, false);
                return Ok(token);
            }
            self.close_upstream(token, upstream::CloseReason::ProgramLeft);
        }
        let socket = loop {
            match self.system.connect() {
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) if self.evict_for_call() => {}
                outcome => break outcome?,
            }
        };
        let token = self.upstreams.insert(Upstream::new(socket, owner, self.now.instant));
        let outcome = self.write_upstream(token, piece);
        let Some(upstream) = self.upstreams.get(token) else { return Err(Errno::BADF) };
        let interest = if upstream.output.is_empty() { Interest::Read } else { Interest::Both };
        let outcome = outcome.and_then(|()| self.system.register(&upstream.socket, token, interest));
        if let Err(error) = outcome {
            self.upstreams.remove(token);
            return Err(error);
        }
        upstream.noted = Some(interest);
        Ok(token)
    }

    /// Writes to the program; what its socket does not take waits.
    pub(super) fn write_upstream(&mut self, token: Token, piece: Range<usize>) -> Result<(), Errno> {
        let Some(upstream) = self.upstreams.get(token) else { return Ok(()) };
        let (head, body) = (&self.head[..], &self.scratch[piece]);
        let whole = head.len() + body.len();
        let written = if !upstream.output.is_empty() || whole == 0 {
            0
        } else {
            match self.system.write(&upstream.socket, head, body) {
                Ok(bytes) => bytes,
                // NOTCONN: the connection is still being made.
                Err(Errno::AGAIN | Errno::NOTCONN) => 0,
                Err(error) => return Err(error),
            }
        };
        if written < whole {
            let of_head = written.min(head.len());
            self.pool.fill(&mut upstream.output.bytes);
            upstream.output.bytes.extend_from_slice(&head[of_head..]);
            upstream.output.bytes.extend_from_slice(&body[written - of_head..]);
        }
        Ok(())
    }

    /// The client's body goes on as the program takes it.
    pub(super) fn note_upload(&mut self, token: Token) {
        let now = self.clock.reading();
        let Some(client) = self.clients.get(token) else { return };
        let upstream = client.program.and_then(|upstream| self.upstreams.get(upstream));
        client.wants_upload = upstream.is_some_and(|upstream| upstream.output.is_empty() && !upstream.is_deaf);
        if client.output.is_empty() && client.state() != State::Tunnelling {
            let waits = client.wants_upload && !client.upload.is_done();
            client.deadline = waits.then_some(now + self.config.limits.body_time_max);
        }
    }

    /// The next piece of a request's body.
    pub(super) fn relay_upload(&mut self, token: Token) -> Outcome {
        let Some(bytes) = self.read_client(token, 0, self.relay_bytes())? else { return Ok(()) };
        if bytes == 0 {
            return Err(CloseReason::ClientLeftEarly);
        }
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        self.pool.fill(&mut client.input);
        let piece = match client.upload.pass(&mut self.scratch, ROOM_BEFORE..ROOM_BEFORE + bytes, &mut client.input) {
            Ok(piece) => piece,
            Err(error) => {
                let has_begun = client.state() == State::Relaying;
                self.drop_upstream(token, upstream::CloseReason::ClientLeft);
                return if has_begun { Err(CloseReason::ReplyCut) } else { self.reject(token, error) };
            }
        };
        self.pass_up(token, piece);
        Ok(())
    }

    fn pass_up(&mut self, token: Token, piece: Range<usize>) {
        let Some(upstream) = self.clients.get(token).and_then(|client| client.program) else { return };
        self.head.clear();
        if self.write_upstream(upstream, piece).is_err() {
            self.deafen(upstream);
        }
        self.note_upstream_interest(upstream, false);
        self.note_upload(token);
    }

    /// The program takes nothing more, and may have replied nevertheless.
    #[cold]
    #[inline(never)]
    fn deafen(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get(token) else { return };
        upstream.is_deaf = true;
        upstream.output.clear();
    }

    #[cold]
    #[inline(never)]
    pub(super) fn relay_tunnel_up(&mut self, token: Token) -> Outcome {
        let Some(bytes) = self.read_client(token, 0, self.relay_bytes())? else { return Ok(()) };
        if bytes > 0 {
            self.pass_up(token, ROOM_BEFORE..ROOM_BEFORE + bytes);
            return Ok(());
        }
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        client.has_ended = true;
        if let Some(upstream) = client.program.and_then(|upstream| self.upstreams.get(upstream)) {
            // Nothing waits to be written: otherwise the client would not have been read.
            self.system.shutdown_write(&upstream.socket);
        }
        Ok(())
    }

    pub(super) fn step_upstream(&mut self, event: &Ready) {
        let token = event.token;
        let Some(upstream) = self.upstreams.get(token) else { return };
        if event.writable && !upstream.output.is_empty() {
            match self.system.write(&upstream.socket, upstream.output.unsent(), &[]) {
                Ok(bytes) => upstream.output.advance(bytes),
                Err(Errno::AGAIN) => {}
                Err(_) => self.deafen(token),
            }
            self.written_upstream(token);
        }
        if event.readable {
            if matches!(self.upstream_interest(token), Some(Interest::Read | Interest::Both)) {
                return self.on_upstream_readable(token);
            }
            return self.note_upstream_interest(token, true);
        }
        self.note_upstream_interest(token, false);
    }

    /// Where the program has taken all that waited, the client may go on.
    fn written_upstream(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get(token) else { return };
        if !upstream.output.is_empty() {
            return;
        }
        self.pool.take_back(&mut upstream.output.bytes);
        if let Owner::Client(client) = upstream.owner {
            self.note_upload(client);
            self.sync(client, Ok(()));
        }
    }

    #[inline(always)]
    fn upstream_interest(&mut self, token: Token) -> Option<Interest> {
        let upstream = self.upstreams.get(token)?;
        let reads = match upstream.owner {
            Owner::Client(client) => self.clients.get(client).is_some_and(|client| client.output.is_empty()),
            Owner::Task | Owner::Ready | Owner::Nobody => true,
        };
        match (reads, !upstream.output.is_empty()) {
            (true, true) => Some(Interest::Both),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) => None,
        }
    }

    /// As with clients: less is asked for once something unwanted was reported.
    pub(super) fn note_upstream_interest(&mut self, token: Token, is_exact: bool) {
        let wanted = self.upstream_interest(token);
        let Some(upstream) = self.upstreams.get(token) else { return };
        let held_bytes = upstream.input.len() + upstream.output.bytes.len();
        self.held_bytes = self.held_bytes + held_bytes - upstream.held_bytes;
        upstream.held_bytes = held_bytes;
        if wanted == upstream.noted || (!is_exact && is_covered(wanted, upstream.noted)) {
            return;
        }
        let noted = std::mem::replace(&mut upstream.noted, wanted);
        match (noted, wanted) {
            (_, None) => self.system.park(&upstream.socket),
            (Some(_), Some(interest)) => self.system.reregister(&upstream.socket, token, interest),
            (None, Some(interest)) => {
                if let Err(error) = self.system.register(&upstream.socket, token, interest) {
                    upstream.noted = None;
                    self.upstream_ended(token, Some(error));
                }
            }
        }
    }

    fn on_upstream_readable(&mut self, token: Token) {
        let usual = self.relay_bytes();
        let Some(upstream) = self.upstreams.get(token) else { return };
        let before = upstream.input.len();
        self.scratch[ROOM_BEFORE..ROOM_BEFORE + before].copy_from_slice(&upstream.input);
        let most = usual.max(before + RELAY_BYTES_CROWDED).min(self.scratch.len() - ROOM_BEFORE - ROOM_BEHIND);
        let room = &mut self.scratch[ROOM_BEFORE + before..ROOM_BEFORE + most];
        let bytes = match self.system.read_into(&upstream.socket, room) {
            Ok(bytes) if bytes > 0 => bytes,
            Err(Errno::AGAIN) => return,
            Ok(_) => return self.upstream_ended(token, None),
            Err(error) => return self.upstream_ended(token, Some(error)),
        };
        upstream.input.clear();
        self.pool.take_back(&mut upstream.input);
        upstream.has_replied = true;
        let (state, owner, end) = (upstream.machine.state(), upstream.owner, ROOM_BEFORE + before + bytes);
        match (state, owner) {
            (upstream::State::Asking, _) => self.read_reply(token, ROOM_BEFORE, end),
            (upstream::State::Replying, Owner::Client(client)) => self.relay_download(token, client, ROOM_BEFORE, end),
            (upstream::State::Replying, _) => self.read_task_reply(token, ROOM_BEFORE, end),
            (upstream::State::Tunnelling, Owner::Client(client)) => {
                self.head.clear();
                let outcome = self.write_client(client, ROOM_BEFORE..end);
                self.sync(client, outcome);
            }
            // Bytes that nobody has asked for.
            _ => self.close_upstream(token, upstream::CloseReason::BrokenReply),
        }
        self.note_upstream_interest(token, false);
    }

    /// The next piece of a reply's body.
    pub(super) fn relay_download(&mut self, token: Token, client: Token, start: usize, end: usize) {
        self.head.clear();
        let outcome = self.pass_down(token, client, start, end);
        self.sync(client, outcome);
    }

    /// Passes on the head that is written and a piece of the body.
    pub(super) fn pass_down(&mut self, token: Token, client: Token, start: usize, end: usize) -> Outcome {
        let Some(upstream) = self.upstreams.get(token) else { return Ok(()) };
        let mut surplus = Vec::new();
        let passed = if upstream.download.is_done() {
            surplus.extend_from_slice(&self.scratch[start..end]);
            Ok(start..start)
        } else {
            upstream.download.pass(&mut self.scratch, start..end, &mut surplus)
        };
        let Ok(mut piece) = passed else {
            log::warn!("the program's reply is broken: {}", crate::adapter::reply_head::BrokenReply::Chunk);
            self.close_upstream(token, upstream::CloseReason::BrokenReply);
            return Err(CloseReason::ReplyCut);
        };
        upstream.keeps &= surplus.is_empty();
        let is_done = upstream.download.is_done();
        if !self.head.is_empty() && piece.len() <= COALESCE_BYTES_MAX {
            self.head.extend_from_slice(&self.scratch[piece]);
            piece = 0..0;
        }
        if !is_done {
            return self.write_client(client, piece);
        }
        // The log of a call ends before its client can have the reply whole: a freeze may follow at once.
        self.log_end(client);
        self.write_client(client, piece)?;
        self.finish_exchange(token, client)
    }

    /// Request and reply are done with.
    pub(super) fn finish_exchange(&mut self, token: Token, client_token: Token) -> Outcome {
        let Some(client) = self.clients.get(client_token) else { return Ok(()) };
        client.program = None;
        let is_uploaded = client.upload.is_done();
        if !is_uploaded {
            client.call.keep = false;
        }
        self.keep_upstream(token, is_uploaded);
        self.end_call(client_token);
        self.finish_reply(client_token)
    }

    /// The program sends nothing more on this connection, or it broke.
    #[cold]
    #[inline(never)]
    pub(super) fn upstream_ended(&mut self, token: Token, error: Option<Errno>) {
        let Some(upstream) = self.upstreams.get(token) else { return };
        let (state, owner, was_kept) = (upstream.machine.state(), upstream.owner, upstream.was_kept);
        let is_silent = !upstream.has_replied;
        let error = error.or_else(|| self.system.take_error(&upstream.socket).err());
        // A connection that broke ends no body.
        let tail = if error.is_some() { Err(CutShort) } else { upstream.download.end_of_input() };
        match owner {
            Owner::Nobody => {
                self.kept.retain(|kept| *kept != token);
                self.close_upstream(token, upstream::CloseReason::ProgramLeft);
            }
            Owner::Task | Owner::Ready => {
                let is_whole = tail.is_ok() && state == upstream::State::Replying;
                self.task_connection_ended(token, is_whole);
            }
            Owner::Client(client) => {
                let outcome = match (state, tail) {
                    (upstream::State::Replying, Ok(tail)) => {
                        self.head.clear();
                        self.head.extend_from_slice(tail);
                        self.log_end(client);
                        let written = self.write_client(client, 0..0);
                        if let Some(upstream) = self.upstreams.get(token) {
                            upstream.keeps = false;
                        }
                        written.and_then(|()| self.finish_exchange(token, client))
                    }
                    (upstream::State::Replying, Err(_)) => {
                        log::warn!("the program's reply broke off");
                        Err(CloseReason::ReplyCut)
                    }
                    (upstream::State::Tunnelling, _) => self.end_tunnel(token, client),
                    _ => {
                        self.close_upstream(token, upstream::CloseReason::ProgramLeft);
                        self.no_reply(client, was_kept && is_silent, error)
                    }
                };
                self.sync(client, outcome);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn end_tunnel(&mut self, token: Token, client_token: Token) -> Outcome {
        self.close_upstream(token, upstream::CloseReason::ProgramLeft);
        let Some(client) = self.clients.get(client_token) else { return Ok(()) };
        client.machine.enter(Event::Ended, State::SendingLast);
        let is_sent = client.output.is_empty();
        self.end_call(client_token);
        if is_sent { self.sent(client_token) } else { Ok(()) }
    }

    /// The program has closed the connection before its reply began.
    #[cold]
    #[inline(never)]
    fn no_reply(&mut self, token: Token, may_repeat: bool, error: Option<Errno>) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        client.program = None;
        if may_repeat && client.repeatable_bytes > 0 {
            return self.repeat(token);
        }
        let cause = match error {
            Some(error) => format!("the program gave no reply: {error}"),
            None => "the program closed the connection without a reply".to_owned(),
        };
        self.bad_gateway(token, &cause)
    }

    /// Sends a request once more, on a new connection: the kept one was closed under way.
    #[cold]
    #[inline(never)]
    fn repeat(&mut self, token: Token) -> Outcome {
        let end = ROOM_BEFORE + self.take_input(token);
        let scratch = std::mem::take(&mut self.scratch);
        let mut storage = Vec::new();
        let parsed = head::parse(&scratch[ROOM_BEFORE..end], &mut storage, &self.config.limits);
        let found = parsed.map(|(head, bytes)| {
            let place = ROOM_BEFORE..ROOM_BEFORE + bytes;
            // An event is never repeated.
            self.write_request_head(token, &head, &scratch[place.clone()], false);
            Body::of(&head, place.end, self.config.limits.body_bytes_max)
        });
        self.scratch = scratch;
        match found {
            Ok(body) => {
                self.drop_kept();
                self.forward(token, body, (false, 0), end)
            }
            Err(error) => self.reject(token, error),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn bad_gateway(&mut self, token: Token, cause: &str) -> Outcome {
        log::warn!("{cause}");
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        client.program = None;
        self.answer(token, &Own::Failure(502, "BadGateway", cause))
    }

    /// The client needs the connection to the program no more.
    pub(super) fn drop_upstream(&mut self, token: Token, reason: upstream::CloseReason) {
        let Some(client) = self.clients.get(token) else { return };
        if let Some(upstream) = client.program.take() {
            self.close_upstream(upstream, reason);
        }
    }

    pub(super) fn close_upstream(&mut self, token: Token, reason: upstream::CloseReason) {
        let Some(mut upstream) = self.upstreams.remove(token) else { return };
        self.held_bytes -= upstream.held_bytes;
        log::trace!("closed a connection to the program: {reason:?}");
        upstream.machine.enter(upstream::Event::Closed(reason), upstream::State::Closed);
        upstream.input.clear();
        upstream.output.clear();
        self.pool.take_back(&mut upstream.input);
        self.pool.take_back(&mut upstream.output.bytes);
        if upstream.noted.is_some() {
            self.system.deregister(&upstream.socket);
        }
    }
}
