//! What the server holds, looked at before every wait, and what it has read.

use super::coverage::Kind;
use super::function::Function;
use super::kernel::Kernel;
use super::requests::{REPLY_BYTES_MAX, What};
use super::world::Sim;
use crate::limits::Limits;
use crate::server::connection_table::Mode;
use crate::server::event_loop::Loop;
use crate::server::system::Interest;
use crate::tuning::{COALESCE_BYTES_MAX, FIRST_READ_BYTES, READ_BYTES, SPARE_BYTES_MAX};
use std::cell::RefCell;
use std::time::Duration;

/// The most that one connection's input takes: a request, and as much again because buffers grow by doubling.
fn input_bytes_max(limits: &Limits) -> usize {
    2 * (limits.head_bytes_max + limits.body_bytes_max + READ_BYTES + FIRST_READ_BYTES)
}

impl Sim {
    /// Before a read: what the input buffer takes, and how much of it is free.
    pub(super) fn holds(&mut self, index: usize, capacity: usize, room: usize) {
        self.clients[index].capacity = capacity;
        let client = &self.clients[index];
        if client.saw_end || client.watched.is_none() {
            self.fail("sockets are used as they are", format!("client {index} is read behind its end"));
        }
        if room == 0 {
            self.fail("sockets are used as they are", "a read into no room looks like the peer's end");
        }
        if capacity > input_bytes_max(&self.limits) {
            self.fail("memory is bounded", format!("client {index} has {capacity} bytes"));
        }
    }

    pub(super) fn read_the_end(&mut self, index: usize) {
        self.progress += 1;
        self.clients[index].saw_end = true;
        let ended = self.clients[index].server_ended;
        self.seen.count(if ended { Kind::LingerToTheEnd } else { Kind::EndOfInput });
    }

    /// So many bytes went to the server.
    pub(super) fn has_read(&mut self, index: usize, bytes: usize) {
        self.note(|| format!("client {index} is read {bytes} bytes"));
        self.progress += 1;
        let turn = self.turn;
        let client = &mut self.clients[index];
        let (from, to) = (client.read, client.read + bytes);
        client.read = to;
        let lacks = client.unanswered() > 0 && !client.server_ended;
        if let Some(ask) = client.asks.get(client.answered) {
            // Behind an empty line nothing is begun yet.
            if (from <= ask.lead && ask.lead < to) || from == ask.begin {
                client.begun_at = turn;
            }
            if from < ask.head_end && ask.head_end <= to {
                client.head_done_at = turn;
            }
        }
        // Requests behind the next begin no earlier than it is answered.
        let read_before = client.asks.get(client.answered).is_some_and(|ask| ask.end <= from);
        if lacks && read_before && !client.closing {
            self.fail("one reply for each request", format!("client {index} is read on before it is answered"));
        }
    }

    fn marker_of(&self, index: usize) -> Option<What> {
        self.clients[index].next_ask().map(|ask| ask.what)
    }
}

/// What a slot shows of itself.
struct Facts {
    index: usize,
    watched: Interest,
    wanted: Interest,
    mode: Mode,
    idle_input: bool,
    holds_input: bool,
    outbox_empty: bool,
    holds_output: bool,
    timed: bool,
    held: usize,
    wants_turn: bool,
}

/// Everything that must hold whenever the loop goes to wait.
pub(super) fn audit(server: &mut Loop<Function, Kernel>, limit: Option<Duration>) {
    let head = RefCell::new(Vec::new());
    let stall_time_max = server.limits.stall_time_max;
    let tokens = server.connections.pick(|connection| {
        head.borrow_mut().push(Facts {
            index: connection.socket.index,
            watched: connection.watched,
            wanted: connection.interest(),
            mode: connection.mode,
            idle_input: connection.input.is_idle(),
            holds_input: !connection.input.wants_buffer(),
            outbox_empty: connection.response.is_empty(),
            holds_output: !connection.response.wants_buffer(),
            timed: connection.deadline(stall_time_max).is_some(),
            held: connection.input.held() + connection.response.held(),
            wants_turn: connection.wants_turn,
        });
        true
    });
    let head = head.into_inner();
    let shared = server.os.sim.clone();
    let mut sim = shared.borrow_mut();
    sim.call_ends();
    let open = sim.clients.iter().filter(|client| client.open).count();
    if head.len() != open || server.connections.open() != open || open > sim.limits.connections_max {
        sim.fail(
            "connections are bounded and none leaks",
            format!("{} connections, {open} connections", server.connections.open()),
        );
    }
    if head.iter().any(|head| head.timed) != server.connections.any_timed() {
        sim.fail("deadlines are counted", format!("any: {}", server.connections.any_timed()));
    }
    for head in head.iter().filter(|head| !head.holds_input) {
        sim.clients[head.index].capacity = 0;
    }
    let held: usize = head.iter().map(|head| head.held).sum();
    // The call whose reply passes the bound is the last, but hooks are always served. What is read whole grows by
    // doubling.
    let hooks =
        sim.clients.iter().filter(|client| client.open && matches!(client.next_ask(), Some(ask) if ask.is_hook()));
    let replies = 2 * REPLY_BYTES_MAX * (1 + hooks.count());
    if held != server.connections.held() || held > server.limits.buffered_bytes_allowed() + replies {
        let each: Vec<_> = head.iter().map(|head| (head.index, head.held, sim.marker_of(head.index))).collect();
        sim.fail(
            "memory is bounded",
            format!("{held} bytes are held, {} counted: {each:?}", server.connections.held()),
        );
    }
    let inputs: usize = sim.clients.iter().map(|client| client.capacity.saturating_sub(SPARE_BYTES_MAX)).sum();
    if inputs > server.limits.buffered_bytes_allowed() {
        sim.fail("memory is bounded", format!("{inputs} bytes of input are held"));
    }
    let spare = &server.spare;
    let fits = spare.input.capacity() <= SPARE_BYTES_MAX && spare.output.capacity() <= SPARE_BYTES_MAX;
    if !fits || spare.last_body.capacity() > COALESCE_BYTES_MAX || !spare.input.is_empty() || !spare.output.is_empty() {
        sim.fail("memory is bounded", "the spare buffers");
    }
    for (head, token) in head.iter().zip(tokens) {
        let watched = Some((token, head.wanted));
        if sim.clients[head.index].watched != watched || head.watched != head.wanted {
            sim.fail("interest follows from the state", format!("client {}: {watched:?}", head.index));
        }
        examine(&mut sim, head, limit);
    }
    sim.check_times();
    if limit.is_none() && sim.listening && !sim.listener_watched && open < sim.limits.connections_max {
        sim.fail("an endless wait owes nothing", "there is room, and the listener is not watched");
    }
    if limit.is_none() && sim.stop.is_some_and(|stop| stop.known) {
        sim.fail("a stop is bounded", "no limit to its wait");
    }
}

fn examine(sim: &mut Sim, head: &Facts, limit: Option<Duration>) {
    let index = head.index;
    let lingers = matches!(head.mode, Mode::Lingering { .. });
    if (head.holds_input && (head.idle_input || lingers)) || (head.holds_output && head.outbox_empty) {
        sim.fail("idle connections hold no buffer", format!("client {index}"));
    }
    let client = &sim.clients[index];
    let rests = head.wanted == Interest::Read && !lingers;
    let lacks = client.unanswered() > 0 || !client.reader.is_between();
    if rests && (lacks || !head.outbox_empty || head.wants_turn) {
        let details = format!("client {index} waits for {:?}", sim.marker_of(index));
        return sim.fail("after a reply nothing is pending", details);
    }
    let waits = client.next_ask().is_some_and(|ask| ask.waits && client.read == ask.head_end && ask.refused.is_empty());
    if rests && head.mode == Mode::Serving && waits && client.next_ask().is_some_and(|ask| !ask.continued) {
        sim.fail("100 Continue once, where it is waited for", format!("client {index} waits for it"));
    }
    let client = &sim.clients[index];
    let in_hand = client.in_hand(&sim.limits).is_some() && !client.closing;
    if limit.is_none() && (lingers || in_hand || lacks || !head.outbox_empty || head.wants_turn || client.blocked) {
        sim.fail("an endless wait owes nothing", format!("client {index}: in hand {in_hand}, lacks {lacks}"));
    }
}
