//! The system calls of the loop, over a [`Sim`]. Before each of them the world goes on.

use super::coverage::Kind;
use super::requests::REPLY_BYTES_MAX;
use super::world::{Shared, Sim};
use crate::function::lifecycle::ClockReading;
use crate::function::request::Peer;
use crate::server::system::{EVENTS_PER_WAIT, Interest, Ready, Signals, System, Token};
use crate::tuning::{REPLY_HEAD_BYTES_MAX, TURN_TIME_MAX};
use rustix::io::Errno;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

/// Breaks off the loop before a wait, so that its data can be checked; `run` is then called again, and goes on there.
pub(super) struct BrokenOff(pub(super) Option<Duration>);

pub(super) struct Kernel {
    pub(super) sim: Shared,
    pub(super) looked_at: bool,
    pub(super) waits: usize,
    pub(super) idle_waits: usize,
    pub(super) progress_before: u64,
}

/// The server's end of a connection.
pub(super) struct Socket {
    pub(super) index: usize,
    sim: Shared,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.sim.borrow_mut().closed(self.index);
    }
}

/// How many bytes a send buffer takes beyond its size.
const OVERSHOOT: usize = 20_000;
/// No world takes more; a thousandth of it is usual.
const WAITS_MAX: usize = 60_000;
/// Waits in a row in which neither time passed nor anything else happened.
const IDLE_WAITS_MAX: usize = 3;

impl Sim {
    fn collect(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            let Some((token, interest)) = client.watched.filter(|_| client.open) else { continue };
            let room = client.sndbuf.saturating_sub(client.unacked_bytes());
            // Linux reports a socket as writable only once a third of its buffer is free.
            let writable = if self.hysteresis { room * 3 > client.sndbuf } else { room > 0 };
            let broken = client.reset || (client.fin && client.server_ended);
            let event = Ready {
                token,
                readable: broken || (interest == Interest::Read && (client.arrived() > 0 || client.fin)),
                writable: broken || (interest == Interest::Write && writable),
            };
            if event.readable || event.writable {
                ready.push(event);
            }
        }
        if self.listening && self.listener_watched && !self.queue.is_empty() {
            ready.push(Ready { token: Token::LISTENER, readable: true, writable: false });
        }
        if self.wake_pending {
            ready.push(Ready { token: Token::WAKE, readable: true, writable: false });
        }
        ready
    }

    /// The events that one wait reports, beginning anywhere in the kernel's list.
    fn report(&mut self) -> Vec<Ready> {
        let mut ready = self.collect();
        if !ready.is_empty() {
            let first = self.chance.below(ready.len());
            ready.rotate_left(first);
            ready.truncate(EVENTS_PER_WAIT);
        }
        if ready.iter().any(|event| event.token == Token::WAKE) {
            self.seen.count(Kind::WakeEvent);
            self.wake_pending = false;
            self.progress += 1;
        }
        if self.chance.permille(self.rates.spurious)
            && ready.len() < EVENTS_PER_WAIT - 1
            && let Some(client) = self.clients.iter().find(|client| client.open)
            && let Some((token, _)) = client.watched
            && ready.iter().all(|event| event.token != token)
        {
            self.seen.count(Kind::SpuriousReady);
            self.progress += 1;
            ready.push(Ready { token, readable: true, writable: true });
        }
        ready
    }

    /// Waits; true if interrupted.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> bool {
        let began = self.clocks.monotonic;
        if self.chance.permille(self.rates.interrupt) {
            self.seen.count(Kind::Interrupted);
            self.progress += 1;
            return true;
        }
        loop {
            self.tick();
            if self.signals_new && self.chance.one_in(2) {
                self.seen.count(Kind::InterruptedBySignal);
                return true;
            }
            *ready = self.report();
            if !ready.is_empty() || limit == Some(Duration::ZERO) {
                return false;
            }
            if self.freezes_left > 0 && self.chance.one_in(3) {
                self.seen.count(Kind::FreezeInWait);
                if self.freeze(true) {
                    return true;
                }
                continue;
            }
            if self.somebody_acts() {
                continue;
            }
            let until = limit.map(|limit| began + limit);
            if until.is_some_and(|until| until <= self.clocks.monotonic) {
                return false;
            }
            let waking = self.next_waking().map(|at| at.saturating_sub(self.world));
            let left = until.map(|until| until.saturating_sub(self.clocks.monotonic));
            match (waking, left) {
                (None, None) if self.stop.is_some() => {
                    self.fail("a stop is bounded", "waits for ever");
                    return false;
                }
                (None, None) => {
                    self.seen.count(Kind::StopAtRest);
                    self.signal_stop();
                }
                (waking, left) => {
                    let time = waking.into_iter().chain(left).min().unwrap_or_default();
                    // Never before its time, but a little behind it.
                    let late = Duration::from_micros(self.chance.below(2_000) as u64);
                    self.pass(time + late);
                    if self.stop_in_wait && self.stop.is_none() && self.chance.one_in(200) {
                        self.seen.count(Kind::StopInWait);
                        self.signal_stop();
                    }
                }
            }
        }
    }

    fn failure(&mut self, index: usize) -> Option<Errno> {
        let state = (self.clients[index].reset, self.clients[index].fin, self.clients[index].arrived());
        self.note(|| format!("client {index} is read or written: reset, fin and arrived {state:?}"));
        if self.chance.permille(self.rates.error) {
            self.clients[index].reset = true;
        }
        let client = &mut self.clients[index];
        if client.reset {
            client.saw_error = true;
            return Some(self.chance.pick(&[Errno::CONNRESET, Errno::PIPE, Errno::TIMEDOUT]));
        }
        None
    }

    fn accept_failure(&mut self) -> Option<Errno> {
        let open = self.clients.iter().filter(|client| client.open).count();
        self.exhausted_at = None;
        if open >= self.descriptors_max {
            self.exhausted_at = Some(self.turn.turn);
            self.seen.count(Kind::AcceptExhausted);
            return Some(Errno::MFILE);
        }
        if !self.chance.permille(self.rates.accept) {
            return None;
        }
        if self.chance.one_in(2) {
            self.exhausted_at = Some(self.turn.turn);
            self.seen.count(Kind::AcceptExhausted);
            return Some(self.chance.pick(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]));
        }
        self.seen.count(Kind::AcceptAborted);
        self.progress += 1;
        Some(self.chance.pick(&[Errno::CONNABORTED, Errno::INTR, Errno::PROTO]))
    }
}

impl System for Kernel {
    type Socket = Socket;

    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        if !std::mem::replace(&mut self.looked_at, true) {
            resume_unwind(Box::new(BrokenOff(limit)));
        }
        self.looked_at = false;
        ready.clear();
        let sim = &mut *self.sim.borrow_mut();
        sim.note(|| format!("waits for {limit:?}"));
        if limit.is_some_and(|limit| limit > TURN_TIME_MAX) {
            sim.fail("a wait is a turn at most", format!("{limit:?}"));
        }
        if limit.is_none() {
            sim.seen.count(Kind::InfiniteWait);
        }
        self.waits += 1;
        self.idle_waits = if sim.progress == self.progress_before { self.idle_waits + 1 } else { 0 };
        self.progress_before = sim.progress;
        if self.waits > WAITS_MAX || self.idle_waits > IDLE_WAITS_MAX {
            let (waits, idle) = (self.waits, self.idle_waits);
            sim.fail("no busy loop", format!("{waits} waits, {idle} idle ones, limit {limit:?}"));
        }
        sim.waiting = Some((sim.wait_began, limit));
        let interrupted = sim.wait(ready, limit);
        sim.interrupted = interrupted;
        sim.note(|| format!("wait ends: interrupted {interrupted}, {} events", ready.len()));
        Ok(interrupted)
    }

    fn now(&mut self) -> ClockReading {
        self.sim.borrow_mut().look()
    }

    fn monotonic(&mut self) -> Instant {
        self.sim.borrow_mut().look_before_wait()
    }

    fn signals(&mut self) -> Signals {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let any = std::mem::take(&mut sim.signals_new);
        let continued = std::mem::take(&mut sim.continued);
        let unexplained = std::mem::take(&mut sim.interrupted) && !any;
        sim.life.signs.sigcont |= continued;
        sim.life.signs.interrupted |= unexplained;
        let (now, took, looked) = (sim.clocks.monotonic, sim.turn_took, sim.loop_looked.monotonic);
        let looks_frozen = continued || unexplained || sim.overslept;
        sim.looks_frozen = looks_frozen;
        let turn = sim.turn;
        let stop_age = sim.stop.as_mut().map(|stop| {
            if !stop.known {
                (stop.known_at, stop.gap) = (turn, now - looked);
            }
            stop.forgiven += if looks_frozen && stop.known { took } else { Duration::ZERO };
            stop.known = true;
            now - stop.at
        });
        Signals { stop_age, continued, any }
    }

    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno> {
        let sim = &mut *self.sim.borrow_mut();
        if !sim.listening || sim.listener_watched == wanted {
            return Ok(());
        }
        if wanted && sim.chance.permille(sim.rates.watch) {
            sim.seen.count(Kind::ListenerWatchFailed);
            return Err(Errno::NOSPC);
        }
        let open = sim.clients.iter().filter(|client| client.open).count();
        if !wanted && open >= sim.limits.connections_max {
            sim.seen.count(Kind::SlotsFull);
        }
        sim.listener_watched = wanted;
        Ok(())
    }

    fn stop_listening(&mut self) {
        let sim = &mut *self.sim.borrow_mut();
        sim.listening = false;
        if !sim.queue.is_empty() {
            sim.fail("what had arrived is served", format!("{} connections wait to be accepted", sim.queue.len()));
        }
        while let Some(index) = sim.queue.pop_front() {
            sim.clients[index].reset = true;
            sim.clients[index].gone = true;
        }
    }

    fn accept(&mut self) -> Result<(Socket, Peer), Errno> {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        if !sim.listening {
            return Err(Errno::AGAIN);
        }
        // Linux looks for a free descriptor first.
        if let Some(error) = sim.accept_failure() {
            sim.note(|| format!("accept fails: {error}"));
            return Err(error);
        }
        let Some(index) = sim.queue.pop_front() else { return Err(Errno::AGAIN) };
        sim.note(|| format!("client {index} is accepted"));
        sim.progress += 1;
        let turn = sim.turn;
        let client = &mut sim.clients[index];
        (client.accepted, client.open, client.accepted_at) = (true, true, turn);
        sim.accepted += 1;
        Ok((Socket { index, sim: self.sim.clone() }, Peer::Unix))
    }

    fn register(&mut self, socket: &Socket, token: Token, interest: Interest) -> Result<(), Errno> {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        if sim.chance.permille(sim.rates.watch) {
            sim.seen.count(Kind::WatchFailed);
            sim.clients[socket.index].watch_failed = true;
            return Err(Errno::NOMEM);
        }
        if sim.tokens.contains(&token.0) || token == Token::LISTENER || token == Token::WAKE {
            sim.fail("names are not used twice", format!("{token:?}"));
        }
        sim.tokens.push(token.0);
        sim.clients[socket.index].watched = Some((token, interest));
        Ok(())
    }

    fn reregister(&mut self, socket: &Socket, token: Token, interest: Interest) {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let before = sim.clients[socket.index].watched.replace((token, interest));
        if before.is_none_or(|(known, before)| known != token || before == interest) {
            sim.fail("sockets are used as they are", format!("{before:?} becomes {token:?}, {interest:?}"));
        }
        let yields = interest == Interest::Write && !sim.clients[socket.index].blocked;
        if yields && sim.stop_on_yield && sim.stop.is_none() {
            sim.seen.count(Kind::StopBetweenCalls);
            sim.signal_stop();
        }
    }

    fn deregister(&mut self, socket: &Socket) {
        let sim = &mut *self.sim.borrow_mut();
        if sim.clients[socket.index].watched.take().is_none() {
            sim.fail("sockets are used as they are", "unwatched without being watched");
        }
    }

    fn read(&mut self, socket: &Socket, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let index = socket.index;
        sim.holds(index, buffer.capacity(), buffer.capacity() - buffer.len());
        if let Some(error) = sim.failure(index) {
            sim.seen.count(Kind::ReadError);
            return Err(error);
        }
        let client = &sim.clients[index];
        let (arrived, room) = (client.arrived(), buffer.capacity() - buffer.len());
        if arrived == 0 {
            if client.fin {
                sim.read_the_end(index);
                return Ok(0);
            }
            sim.seen.count(Kind::NothingToRead);
            return Err(Errno::AGAIN);
        }
        let mut portion = arrived.min(room);
        if sim.chance.permille(sim.rates.short) {
            sim.seen.count(Kind::ShortRead);
            portion = 1 + sim.chance.below(portion);
        }
        let from = sim.clients[index].read;
        buffer.extend_from_slice(&sim.clients[index].script[from..from + portion]);
        sim.has_read(index, portion);
        Ok(portion)
    }

    fn write(&mut self, socket: &Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let index = socket.index;
        let whole = head.len() + body.len();
        let most = REPLY_BYTES_MAX.max(sim.limits.body_bytes_max) + REPLY_HEAD_BYTES_MAX;
        if sim.clients[index].server_ended || whole == 0 || whole > most {
            sim.fail("sockets are used as they are", format!("client {index}: a write of {whole} bytes"));
        }
        // The server has decided about the reply when it first tries to write it.
        if !sim.clients[index].blocked {
            sim.clients[index].others_buffered = sim.others_buffer(index);
        }
        if let Some(error) = sim.failure(index) {
            sim.seen.count(Kind::WriteError);
            return Err(error);
        }
        let client = &sim.clients[index];
        let mut room = client.sndbuf.saturating_sub(client.unacked_bytes());
        if sim.hysteresis && room > 0 {
            // Linux takes a whole write as long as any of the buffer is free.
            room += OVERSHOOT;
        }
        let mut portion = room.min(whole);
        if portion > 0 && sim.chance.permille(sim.rates.short) {
            portion = 1 + sim.chance.below(portion);
        }
        if !sim.clients[index].blocked && portion < whole {
            sim.clients[index].blocked_at = sim.turn;
        }
        sim.clients[index].blocked = portion < whole;
        if portion == 0 {
            sim.seen.count(Kind::BlockedWrite);
            return Err(Errno::AGAIN);
        }
        if portion < whole {
            sim.seen.count(Kind::ShortWrite);
        }
        sim.note(|| format!("client {index} is written {portion} of {whole} bytes"));
        sim.progress += 1;
        let of_head = portion.min(head.len());
        let turn = sim.turn;
        sim.clients[index].wrote_at = turn;
        sim.wrote(index, &head[..of_head]);
        sim.wrote(index, &body[..portion - of_head]);
        Ok(portion)
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        sim.end_until_close(socket.index);
        sim.ended(socket.index);
    }

    fn set_reset_on_close(&mut self, socket: &Socket) {
        let sim = &mut *self.sim.borrow_mut();
        let tells_queue = sim.tells_queue;
        let client = &mut sim.clients[socket.index];
        // Bytes that the client takes from now on come too late.
        if !std::mem::replace(&mut client.reset_on_close, true) {
            client.stalled_since = client.waited_since(tells_queue);
        }
    }

    fn set_nodelay(&mut self, _: &Socket) {
        self.sim.borrow_mut().tick();
    }

    fn unacked_bytes(&mut self, socket: &Socket) -> Option<usize> {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let client = &sim.clients[socket.index];
        let unacked_bytes = client.unacked_bytes();
        if client.taken_at.turn > client.wrote_at.turn {
            sim.seen.count(Kind::StallSpared);
        }
        sim.tells_queue.then_some(unacked_bytes)
    }

    fn has_unread(&mut self, socket: &Socket) -> bool {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        if !sim.is_short_of_slots(0) {
            sim.fail("eviction only where it is needed", format!("client {} is looked at", socket.index));
        }
        let has_unread = sim.clients[socket.index].arrived() > 0;
        if has_unread {
            sim.seen.count(Kind::EvictionSpared);
        }
        has_unread
    }

    fn print(&mut self, line: &[u8]) {
        let sim = &mut *self.sim.borrow_mut();
        sim.tick();
        let line = String::from_utf8_lossy(line);
        if !line.ends_with('\n') || line.matches('\n').count() != 1 {
            sim.fail("log", format!("{line:?} is not one line"));
        }
        sim.printed(&line);
    }

    fn flush_output(&mut self) {
        self.sim.borrow_mut().tick();
    }
}
