//! From the bytes of a request to what becomes of it: the program, a hook, or an answer of the adapter's own.

use super::client_side::Outcome;
use super::peers::CallInHand;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, Event, State};
use crate::adapter::gate::{Arrival, HookAnswer, Task, Verdict};
use crate::adapter::head::{RequestChanges, write_request};
use crate::adapter::relay::{ROOM_BEFORE, ROOM_BEHIND, Reader, Relay, Writer};
use crate::adapter::reply;
use crate::function::call::{Call, classify};
use crate::function::caller_clock::CallerTime;
use crate::function::dispatch::{CallLog, LogMarker};
use crate::function::marker_log::MarkerWriter;
use crate::function::rejection::write_rejection;
use crate::function::request::{Headers, LoggedId, Peer, Request};
use crate::http1::error::ProtocolError;
use crate::http1::head::{self, Framing, Head, HeadEndFinder};
use crate::http1::response_head;
use crate::platform::hooks::Hook;
use crate::platform::request_id;
use crate::server::system::Token;
use crate::tuning::RELAY_BYTES_CROWDED;
use std::ops::Range;

/// What the adapter answers itself.
pub(super) enum Own<'a> {
    Rejection(ProtocolError),
    /// A failure: status, type, cause.
    Failure(u16, &'static str, &'a str),
    Hook(&'a HookAnswer),
}

impl<O: AdapterSystem> Proxy<O> {
    /// Looks at the client's bytes for a request, after one read if `reads`.
    pub(super) fn serve(&mut self, token: Token, reads: bool) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        // A call that is a hook itself is answered by its task.
        let waits = client.state() == State::Waiting && client.waits_for_gate;
        if !client.machine.awaits_head() && !waits {
            return Ok(());
        }
        let before = self.take_input(token);
        let (mut end, mut has_ended) = (before, false);
        if reads {
            let most = self.relay_bytes().max(before + RELAY_BYTES_CROWDED);
            let most = most.min(self.scratch.len() - ROOM_BEFORE - ROOM_BEHIND);
            match self.read_client(token, before, most)? {
                Some(0) if before == 0 => return Err(CloseReason::ClientLeft),
                // The client has ended its side behind its last request, which may be among these bytes.
                Some(0) => has_ended = true,
                Some(bytes) => end += bytes,
                None => {}
            }
        }
        // The buffer is put aside, so that a head can be borrowed from it.
        let scratch = std::mem::take(&mut self.scratch);
        let outcome = self.look_for_request(token, &scratch, ROOM_BEFORE..ROOM_BEFORE + end);
        self.scratch = scratch;
        match outcome? {
            Found::Nothing(_) if has_ended => Err(CloseReason::ClientLeftEarly),
            Found::Nothing(start) => {
                self.keep_input(token, start..ROOM_BEFORE + end);
                Ok(())
            }
            Found::Rejected(error) => self.reject(token, error),
            Found::Forward { body, raw } => self.forward(token, body, raw, ROOM_BEFORE + end),
            Found::Waits { start, state } => {
                self.keep_input(token, start..ROOM_BEFORE + end);
                let Some(client) = self.clients.get(token) else { return Ok(()) };
                client.deadline = None;
                if client.state() != State::Waiting {
                    client.machine.enter(Event::Held, State::Waiting);
                }
                client.waits_for_gate = state == Wait::ForGate;
                if client.waits_for_gate {
                    self.waiting.push(token);
                }
                self.start_task();
                Ok(())
            }
            Found::Own { body, answer } => {
                self.take_body(token, body, ROOM_BEFORE + end);
                self.answer_found(token, answer)
            }
        }
    }

    fn look_for_request(&mut self, token: Token, bytes: &[u8], piece: Range<usize>) -> Result<Found, CloseReason> {
        let Range { mut start, end } = piece;
        while bytes[start..end].starts_with(b"\r\n") {
            start += 2;
        }
        let now = self.clock.reading();
        let Some(client) = self.clients.get(token) else { return Ok(Found::Nothing(start)) };
        match &bytes[start..end] {
            [] => {
                client.deadline = None;
                if client.state() == State::Receiving {
                    client.machine.enter(Event::BlankLine, State::Idle);
                }
                return Ok(Found::Nothing(start));
            }
            [first, ..] if !first.is_ascii_graphic() && !matches!(first, b'\r' | b'\n') => {
                // Not the request before.
                client.call.is_head = false;
                return Ok(Found::Rejected(ProtocolError::MalformedHead));
            }
            _ => {}
        }
        let pending = &bytes[start..end];
        let limits = &self.config.limits;
        let mut headers = self.headers.lend();
        let found = match head::parse(pending, &mut headers, limits) {
            Ok((head, head_bytes)) if head_bytes <= limits.head_bytes_max => {
                client.finder = HeadEndFinder::default();
                client.deadline = None;
                let request = start..start + head_bytes;
                Ok(self.decide(token, &head, &bytes[request.clone()], request))
            }
            Ok((head, head_bytes)) => {
                client.call.is_head = head.method == "HEAD";
                Ok(Found::Rejected(head::oversized_error(&pending[..head_bytes], limits)))
            }
            // Perhaps only the rest of it is missing.
            Err(error) => {
                client.call.is_head = pending.starts_with(b"HEAD ");
                Ok(match client.finder.find(pending) {
                    Ok(Some(_)) => Found::Rejected(error),
                    Err(error) => Found::Rejected(error),
                    Ok(None) if pending.len() >= limits.head_bytes_max => {
                        Found::Rejected(head::oversized_error(pending, limits))
                    }
                    Ok(None) => {
                        client.deadline.get_or_insert(now + limits.head_time_max);
                        client.machine.enter(Event::Partial, State::Receiving);
                        Found::Nothing(start)
                    }
                })
            }
        };
        self.headers.take_back(headers);
        found
    }

    /// A whole head: decides what becomes of its request.
    fn decide(&mut self, token: Token, head: &Head<'_>, bytes: &[u8], place: Range<usize>) -> Found {
        let Some(client) = self.clients.get(token) else { return Found::Nothing(place.end) };
        let peer = client.peer;
        let request = Request {
            method: head.method,
            path_and_query: head.path_and_query,
            headers: Headers(head.headers),
            body: b"",
            peer,
        };
        client.call.keep = head.meta.keep_alive && self.drain.is_none();
        client.call.http10 = head.meta.http10;
        client.call.is_head = head.method == "HEAD";
        let body = Body::of(head, place.end, self.config.limits.body_bytes_max);
        let mut call = classify(&request, self.config.health_path.as_deref(), self.config.control_path_required);
        if let Call::Hook(hook) = call
            && self.is_stranger(peer)
        {
            call = Call::Unauthorised(hook);
        }
        let own = |answer| Found::Own { body: body.clone(), answer };
        match call {
            Call::Health => return self.pass(token, head, bytes, body, place, &call),
            Call::WrongMethod(_) => return own(Answer::WrongMethod),
            Call::Unauthorised(_) => return own(Answer::Stranger),
            Call::Http if self.own_paths.contain(head.path_and_query) => return own(Answer::OwnPath),
            _ => {}
        }
        let id = request.logged_id();
        let caller = request_id::unix_time(id.bytes()).map(CallerTime::from);
        let arrival = Arrival { now: self.now, caller, machine: self.system.machine() };
        let verdict = self.gate.admit(&call, arrival);
        if self.gate.take_thawed() {
            self.drop_kept();
        }
        match verdict {
            Verdict::Pass => {
                self.begin_call(token, id);
                self.pass(token, head, bytes, body, place, &call)
            }
            Verdict::Wait => Found::Waits { start: place.start, state: Wait::ForGate },
            Verdict::Run(task @ Task::Thaw(_)) => {
                self.prepare_task(task, None, Some((head, bytes)), id);
                Found::Waits { start: place.start, state: Wait::ForGate }
            }
            Verdict::Run(task @ Task::Hook(_)) => {
                if let Some(client) = self.clients.get(token) {
                    client.call.hook_body = Some(body.reader);
                }
                self.prepare_task(task, Some(token), Some((head, bytes)), id);
                Found::Waits { start: place.end, state: Wait::ForOwnHook }
            }
            Verdict::Replay(hook) => own(Answer::Stored(hook)),
            Verdict::NotSet(hook) => {
                let markers = &mut MarkerWriter::new(&mut self.system, &mut self.marker_log);
                markers.start(LogMarker::Hook(hook), id);
                markers.end(LogMarker::Hook(hook), id, false);
                own(Answer::NotSet)
            }
            Verdict::Refused(hook) => own(Answer::Refused(hook)),
        }
    }

    /// Writes the head that the program gets.
    fn pass(
        &mut self,
        token: Token,
        head: &Head<'_>,
        bytes: &[u8],
        body: Body,
        place: Range<usize>,
        call: &Call,
    ) -> Found {
        let is_event = matches!(call, Call::Event);
        self.write_request_head(token, head, bytes, is_event);
        // RFC 9110 §9.2.2: safe methods, and those two that can be repeated.
        let is_idempotent = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        Found::Forward { body, raw: (is_idempotent && !is_event, place.start) }
    }

    pub(super) fn write_request_head(&mut self, token: Token, head: &Head<'_>, bytes: &[u8], is_event: bool) {
        let target = if is_event { self.settings.event_path.as_deref() } else { None };
        let withhold_secrets = self.settings.withhold_secrets;
        let changes = RequestChanges { target, withhold_secrets, ..RequestChanges::default() };
        self.head.clear();
        let upgrades = write_request(&mut self.head, bytes, head, changes);
        if let Some(client) = self.clients.get(token) {
            client.call.upgrades = upgrades;
            // Where the program declines, what the client has sent for the tunnel must not be taken for a request.
            client.call.keep &= !upgrades;
        }
    }

    pub(super) fn is_stranger(&self, peer: Peer) -> bool {
        let Some(networks) = &self.config.hooks_from else { return false };
        matches!(peer, Peer::Ip(address) if !networks.contains(address.ip()))
    }

    fn begin_call(&mut self, token: Token, id: LoggedId<'_>) {
        let Some(client) = self.clients.get(token) else { return };
        client.call.is_counted = true;
        client.call.failed = false;
        if self.config.call_markers {
            client.call.is_logged = true;
            client.call.request_id.clear();
            client.call.request_id.extend_from_slice(id.bytes());
            MarkerWriter::new(&mut self.system, &mut self.marker_log).start(LogMarker::Invoke, id);
        }
    }

    /// The call of a client is over.
    pub(super) fn end_call(&mut self, token: Token) {
        self.log_end(token);
        let Some(client) = self.clients.get(token) else { return };
        if std::mem::take(&mut client.call.is_counted) {
            // The time at which the loop looked last: a call ends in the turn of its last byte.
            self.gate.call_ended(self.now);
            self.owes_settling_in |= !std::mem::replace(&mut self.has_served, true);
        }
    }

    /// Writes the end of the call's log, if it has begun.
    pub(super) fn log_end(&mut self, token: Token) {
        let Some(client) = self.clients.get(token) else { return };
        let CallInHand { is_logged, request_id, failed, .. } = &mut client.call;
        if std::mem::take(is_logged) {
            let id = LoggedId::new(request_id);
            MarkerWriter::new(&mut self.system, &mut self.marker_log).end(LogMarker::Invoke, id, *failed);
        }
    }

    /// Takes note of a body that no program gets: the client may be about to send more of it.
    #[cold]
    #[inline(never)]
    pub(super) fn take_body(&mut self, token: Token, body: Body, end: usize) {
        let Some(client) = self.clients.get(token) else { return };
        client.upload = Relay::new(body.reader, Writer::Nothing);
        self.pool.fill(&mut client.input);
        if client.upload.is_done() {
            client.input.extend_from_slice(&self.scratch[body.start..end]);
        } else if client.upload.pass(&mut self.scratch, body.start..end, &mut client.input).is_err() {
            client.call.keep = false;
        }
    }

    /// Answers a request that broke HTTP or a limit.
    #[cold]
    #[inline(never)]
    pub(super) fn reject(&mut self, token: Token, error: ProtocolError) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        log::debug!("rejected {}: {error}", client.peer);
        client.call.keep = false;
        self.answer(token, &Own::Rejection(error))
    }

    #[cold]
    #[inline(never)]
    fn answer_found(&mut self, token: Token, answer: Answer) -> Outcome {
        match answer {
            Answer::Stored(hook) => {
                let stored = self.gate.stored(hook).cloned().unwrap_or_default();
                self.answer(token, &Own::Hook(&stored))
            }
            // Nothing is to be done, and that has succeeded: the platform asks because its own settings say so.
            Answer::NotSet => self.answer(token, &Own::Hook(&HookAnswer { succeeded: true, body: Vec::new() })),
            Answer::Refused(hook) => {
                let message = format!("{} refused: the instance is {}", hook.path(), self.gate.lifecycle().phase());
                self.answer(token, &Own::Failure(404, "HookRefused", &message))
            }
            Answer::Stranger => self.answer(token, &Own::Failure(404, "HookRefused", "the caller may not call hooks")),
            Answer::OwnPath => self.answer(token, &Own::Failure(403, "Forbidden", "this path belongs to a hook")),
            Answer::WrongMethod => {
                self.answer(token, &Own::Failure(405, "MethodNotAllowed", "this path allows another method"))
            }
        }
    }

    /// Sends an answer of the adapter's own.
    #[cold]
    #[inline(never)]
    pub(super) fn answer(&mut self, token: Token, own: &Own<'_>) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        let keep = client.call.keep && client.upload.is_done() && self.drain.is_none();
        client.call.keep = keep;
        let connection = reply::connection(keep, client.call.http10);
        let with_body = !client.call.is_head;
        let failed = !matches!(own, Own::Hook(answer) if answer.succeeded);
        self.head.clear();
        match own {
            Own::Rejection(error) => write_rejection(&mut self.head, *error, with_body),
            Own::Failure(status, kind, cause) => {
                reply::write_failure(&mut self.head, *status, kind, cause, connection, with_body);
            }
            Own::Hook(answer) => reply::write_hook_answer(&mut self.head, answer, connection, with_body),
        }
        if let Some(client) = self.clients.get(token) {
            client.call.failed = failed;
        }
        self.end_call(token);
        self.write_client(token, 0..0)?;
        self.finish_reply(token)
    }

    /// All of a reply is written or waits to be.
    pub(super) fn finish_reply(&mut self, token: Token) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        if client.repeatable_bytes > 0 {
            client.input.drain(..client.repeatable_bytes);
            client.repeatable_bytes = 0;
        }
        client.wants_upload = false;
        if client.output.is_empty() {
            client.deadline = None;
        }
        if client.call.keep {
            client.machine.enter(Event::Answered, State::Sending);
        } else {
            client.machine.enter(Event::AnsweredLast, State::SendingLast);
        }
        if client.output.is_empty() { self.sent(token) } else { Ok(()) }
    }

    /// Tells a client that waits for it to send the body.
    #[cold]
    #[inline(never)]
    pub(super) fn send_continue(&mut self, token: Token) -> Outcome {
        self.head.clear();
        self.head.extend_from_slice(response_head::CONTINUE);
        self.write_client(token, 0..0)
    }
}

/// What a look at a client's bytes has found. Places are those in the scratch buffer.
enum Found {
    /// No whole head; unused bytes begin there.
    Nothing(usize),
    Rejected(ProtocolError),
    /// The head for the program is written. `raw`: whether the request can be repeated, and where it begins.
    Forward {
        body: Body,
        raw: (bool, usize),
    },
    Waits {
        start: usize,
        state: Wait,
    },
    Own {
        body: Body,
        answer: Answer,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Another task runs; the call is looked at once more behind it.
    ForGate,
    /// The call is a hook, which its task answers.
    ForOwnHook,
}

#[derive(Clone, Copy)]
enum Answer {
    Stored(Hook),
    NotSet,
    Refused(Hook),
    Stranger,
    OwnPath,
    WrongMethod,
}

/// Where a request's body begins, and how it is framed.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) start: usize,
    pub(super) reader: Reader,
    pub(super) is_chunked: bool,
    pub(super) expects_continue: bool,
}

impl Body {
    pub(super) fn of(head: &Head<'_>, start: usize, bytes_max: usize) -> Body {
        let (reader, is_chunked) = match head.meta.framing {
            Framing::Sized(bytes) => (Reader::Sized(bytes as u64), false),
            Framing::Chunked => (Relay::chunked(bytes_max), true),
        };
        Body { start, reader, is_chunked, expects_continue: head.meta.expects_continue }
    }
}
