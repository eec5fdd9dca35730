//! What the loop does for a client when its socket is ready or its deadline has passed.
//!
//! Every handler looks at the state, makes one bounded step, and leaves a state from which follows what the loop waits
//! for. An error is the reason to close the connection. [`Proxy::sync`] brings poller, buffers and counts in line.

use super::peers::Client;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, Event, State};
use crate::adapter::relay::ROOM_BEFORE;
use crate::adapter::upstream;
use crate::http1::error::ProtocolError;
use crate::server::system::{Interest, Ready, Token};
use crate::tuning::{DRAIN_LINGER_TIME_MAX, LINGER_BYTES_MAX, RELAY_BYTES};
use rustix::io::Errno;
use std::ops::Range;
use std::time::Duration;

/// What became of a step; an error closes the connection.
pub(super) type Outcome = Result<(), CloseReason>;

impl<O: AdapterSystem> Proxy<O> {
    pub(super) fn step_client(&mut self, event: &Ready) {
        let token = event.token;
        // It may have been closed earlier in this turn.
        let Some(client) = self.clients.get(token) else { return };
        let Some(noted) = client.noted else { return };
        let wanted = client.interest();
        // A broken connection is reported as ready for what nobody has asked for.
        let is_unasked = (event.writable && noted == Interest::Read) || (event.readable && noted == Interest::Write);
        let is_broken = is_unasked && client.noted_in_turn != self.turn;
        let outcome = if event.writable && !client.output.is_empty() {
            self.flush(token)
        } else if event.readable && matches!(wanted, Some(Interest::Read | Interest::Both)) {
            self.on_client_readable(token)
        } else if is_broken && client.machine.is_in_call() {
            Err(CloseReason::ClientLeftEarly)
        } else {
            // It is readable although nothing of it is wanted now.
            return self.note_interest(token, true);
        };
        self.sync(token, outcome);
    }

    fn on_client_readable(&mut self, token: Token) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        match client.state() {
            State::New | State::Idle | State::Receiving => self.serve(token, true),
            State::Forwarding | State::Relaying => self.relay_upload(token),
            State::Tunnelling => self.relay_tunnel_up(token),
            State::Lingering => self.drop_input(token),
            _ => Ok(()),
        }
    }

    /// Reads from the client into the scratch buffer, behind `from` bytes. None if nothing is there.
    pub(super) fn read_client(&mut self, token: Token, from: usize, max: usize) -> Result<Option<usize>, CloseReason> {
        let Some(client) = self.clients.get(token) else { return Ok(None) };
        let room = &mut self.scratch[ROOM_BEFORE + from..ROOM_BEFORE + max.max(from + 1)];
        match self.system.read_into(&client.socket, room) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::AGAIN) => Ok(None),
            Err(_) if client.machine.is_between_calls() => Err(CloseReason::ClientLeft),
            Err(_) => Err(CloseReason::Broken),
        }
    }

    /// Puts the client's unused bytes at the beginning of the scratch buffer. Returns their number.
    pub(super) fn take_input(&mut self, token: Token) -> usize {
        let Some(client) = self.clients.get(token) else { return 0 };
        let bytes = client.input.len();
        self.scratch[ROOM_BEFORE..ROOM_BEFORE + bytes].copy_from_slice(&client.input);
        client.input.clear();
        client.repeatable_bytes = 0;
        bytes
    }

    /// Keeps bytes of the scratch buffer until more come, or until it is their turn.
    pub(super) fn keep_input(&mut self, token: Token, piece: Range<usize>) {
        let Some(client) = self.clients.get(token) else { return };
        self.pool.fill(&mut client.input);
        client.input.extend_from_slice(&self.scratch[piece]);
    }

    /// Writes to the client; what its socket does not take waits.
    pub(super) fn write_client(&mut self, token: Token, piece: Range<usize>) -> Outcome {
        let now = self.clock.reading();
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        let (head, body) = (&self.head[..], &self.scratch[piece]);
        let whole = head.len() + body.len();
        let written = if !client.output.is_empty() || whole == 0 {
            0
        } else {
            match self.system.write(&client.socket, head, body) {
                Ok(bytes) => bytes,
                Err(Errno::AGAIN) => 0,
                Err(_) => return Err(CloseReason::Broken),
            }
        };
        if written < whole {
            let of_head = written.min(head.len());
            if client.output.is_empty() {
                client.deadline = Some(now + self.config.limits.stall_time_max);
                client.unacked_bytes = None;
            }
            self.pool.fill(&mut client.output.bytes);
            client.output.bytes.extend_from_slice(&head[of_head..]);
            client.output.bytes.extend_from_slice(&body[written - of_head..]);
        }
        Ok(())
    }

    /// Writes on. Once all is written, the other side may go on.
    pub(super) fn flush(&mut self, token: Token) -> Outcome {
        let now = self.clock.reading();
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        match self.system.write(&client.socket, client.output.unsent(), &[]) {
            Ok(bytes) => client.output.advance(bytes),
            Err(Errno::AGAIN) => return Ok(()),
            Err(_) => return Err(CloseReason::Broken),
        }
        client.unacked_bytes = None;
        client.deadline = (!client.output.is_empty()).then_some(now + self.config.limits.stall_time_max);
        if !client.output.is_empty() {
            return Ok(());
        }
        let upstream = client.program;
        if let Some(upstream) = upstream {
            self.note_upstream_interest(upstream, false);
        }
        self.sent(token)
    }

    /// Nothing waits to be written.
    pub(super) fn sent(&mut self, token: Token) -> Outcome {
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        match client.state() {
            State::Sending => {
                client.machine.enter(Event::Sent, State::Idle);
                client.since = self.clock.reading();
                if !client.input.is_empty() {
                    self.again.push(token);
                }
                Ok(())
            }
            State::SendingLast => self.linger(token, Event::Sent),
            _ => Ok(()),
        }
    }

    /// Ends our side, and reads on for a while: a close with unread input would reset the connection, and the client's
    /// kernel would drop the reply.
    #[cold]
    #[inline(never)]
    pub(super) fn linger(&mut self, token: Token, event: Event) -> Outcome {
        let max = if self.drain.is_some() { DRAIN_LINGER_TIME_MAX } else { Duration::MAX };
        let until = self.clock.reading() + self.config.limits.linger_time_max.min(max);
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        if self.config.limits.linger_time_max.is_zero() || client.has_ended {
            return Err(CloseReason::Done);
        }
        self.system.shutdown_write(&client.socket);
        client.machine.enter(event, State::Lingering);
        (client.deadline, client.linger_bytes_left) = (Some(until), LINGER_BYTES_MAX);
        client.input.clear();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn drop_input(&mut self, token: Token) -> Outcome {
        match self.read_client(token, 0, RELAY_BYTES)? {
            None => Ok(()),
            Some(0) => Err(CloseReason::Done),
            Some(bytes) => {
                let Some(client) = self.clients.get(token) else { return Ok(()) };
                client.linger_bytes_left = client.linger_bytes_left.saturating_sub(bytes);
                if client.linger_bytes_left == 0 { Err(CloseReason::Done) } else { Ok(()) }
            }
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn on_deadline(&mut self, token: Token) -> Outcome {
        let now = self.clock.reading();
        let Some(client) = self.clients.get(token) else { return Ok(()) };
        match client.state() {
            State::Lingering => return Err(CloseReason::Done),
            State::Receiving => return self.reject(token, ProtocolError::HeadTimeout),
            _ if !client.output.is_empty() => {
                let unacked_bytes = self.system.unacked_bytes(&client.socket);
                let is_slow = match (unacked_bytes, client.unacked_bytes) {
                    (Some(now), Some(before)) => now < before,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if is_slow {
                    client.unacked_bytes = unacked_bytes;
                    client.deadline = Some(now + self.config.limits.stall_time_max);
                    return Ok(());
                }
                self.system.set_reset_on_close(&client.socket);
                return Err(CloseReason::Stalled);
            }
            _ => {}
        }
        // The body of a request does not come. Where the reply has begun, there is no other answer.
        client.deadline = None;
        if client.state() == State::Forwarding {
            self.drop_upstream(token, upstream::CloseReason::ClientLeft);
            return self.reject(token, ProtocolError::BodyTimeout);
        }
        Err(CloseReason::ClientLeftEarly)
    }

    /// Brings everything around a client in line with its state.
    pub(super) fn sync(&mut self, token: Token, outcome: Outcome) {
        if let Err(reason) = outcome {
            return self.close(token, reason);
        }
        self.note_interest(token, false);
        let Some(client) = self.clients.get(token) else { return };
        self.pool.take_back(&mut client.input);
        self.pool.take_back(&mut client.output.bytes);
        let held_bytes = client.input.len() + client.output.bytes.len();
        self.held_bytes = self.held_bytes + held_bytes - client.held_bytes;
        client.held_bytes = held_bytes;
        let is_timed = client.deadline.is_some();
        self.timed = self.timed + usize::from(is_timed) - usize::from(client.is_timed);
        client.is_timed = is_timed;
        if let Some(deadline) = client.deadline {
            self.earliest_deadline = self.earliest_deadline.min(deadline);
        }
    }

    /// Tells the poller what to report. To ask for less costs a call, so it waits until something unwanted was
    /// reported, which most calls never see.
    fn note_interest(&mut self, token: Token, is_exact: bool) {
        let Some(client) = self.clients.get(token) else { return };
        let wanted = client.interest();
        if wanted == client.noted || (!is_exact && is_covered(wanted, client.noted)) {
            return;
        }
        match (client.noted, wanted) {
            (_, None) => self.system.park(&client.socket),
            (Some(_), Some(interest)) => self.system.reregister(&client.socket, token, interest),
            (None, Some(interest)) => {
                if self.system.register(&client.socket, token, interest).is_err() {
                    return self.close(token, CloseReason::NotRegistered);
                }
            }
        }
        (client.noted, client.noted_in_turn) = (wanted, self.turn);
    }

    pub(super) fn close(&mut self, token: Token, reason: CloseReason) {
        self.drop_upstream(token, upstream::CloseReason::ClientLeft);
        if reason == CloseReason::ReplyCut
            && let Some(client) = self.clients.get(token)
        {
            client.call.failed = true;
        }
        self.end_call(token);
        self.leave_task(token);
        let Some(mut client) = self.clients.remove(token) else { return };
        let is_usual = matches!(reason, CloseReason::Done | CloseReason::ClientLeft);
        let level = if is_usual { log::Level::Trace } else { log::Level::Debug };
        log::log!(level, "closed {}: {reason}", client.peer);
        let has_more = client.state() == State::Relaying || !client.output.is_empty();
        if reason == CloseReason::ReplyCut || (!is_usual && has_more) {
            // The client must see that the reply is not whole.
            self.system.set_reset_on_close(&client.socket);
        }
        client.machine.enter(Event::Close(reason), State::Closed);
        client.input.clear();
        client.output.clear();
        self.pool.take_back(&mut client.input);
        self.pool.take_back(&mut client.output.bytes);
        self.timed -= usize::from(client.is_timed);
        self.held_bytes -= client.held_bytes;
        self.waiting.retain(|waiting| *waiting != token);
        if client.noted.is_some() {
            self.system.deregister(&client.socket);
        }
        self.accept.freed();
    }
}

/// Whether what is wanted is reported, and nothing but readability beside it.
pub(super) fn is_covered(wanted: Option<Interest>, noted: Option<Interest>) -> bool {
    matches!((wanted, noted), (None, None | Some(Interest::Read)) | (Some(Interest::Write), Some(Interest::Both)))
}

impl<K> Client<K> {
    /// What the loop waits for.
    pub(super) fn interest(&self) -> Option<Interest> {
        let reads = match self.state() {
            State::New | State::Idle | State::Receiving | State::Lingering => true,
            State::Forwarding | State::Relaying => self.wants_upload && !self.upload.is_done(),
            State::Tunnelling => self.wants_upload && !self.has_ended,
            State::Waiting | State::Sending | State::SendingLast | State::Closed => false,
        };
        match (reads, !self.output.is_empty()) {
            (true, true) => Some(Interest::Both),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) => None,
        }
    }
}
