//! What must hold of the server's own data, checked before every wait and at every read.

use super::coverage::Kind;
use super::function::Function;
use super::kernel::Kernel;
use super::machines;
use super::requests::{REPLY_BYTES_MAX, What};
use super::world::Sim;
use crate::function::lifecycle::Phase;
use crate::limits::Limits;
use crate::server::connection::{Name, State};
use crate::server::event_loop::Loop;
use crate::server::system::{Interest, Token};
use crate::tuning::{COALESCE_BYTES_MAX, FIRST_READ_BYTES, READ_BYTES, READ_BYTES_MAX, SPARE_BYTES_MAX};
use std::time::Duration;

/// The most that one connection's input takes: a request, and the most that a buffer grows by beyond what is in it.
fn input_bytes_max(limits: &Limits) -> usize {
    let held = limits.head_bytes_max + limits.body_bytes_max + READ_BYTES + FIRST_READ_BYTES;
    held + (3 * held).min(READ_BYTES_MAX)
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
            self.fail("sockets are used as they are", "a read into a full buffer looks like the client's end");
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

/// One connection of the server, as far as the checks need it.
pub(super) struct Facts {
    pub(super) index: usize,
    pub(super) token: Token,
    pub(super) state: State,
    pub(super) interest: Interest,
    registered: Interest,
    pub(super) idle_input: bool,
    pub(super) before_body: bool,
    pub(super) response_empty: bool,
    holds_input: bool,
    input_held: usize,
    holds_output: bool,
    pub(super) deadline: Option<Duration>,
    buffered_bytes: usize,
}

fn facts(server: &mut Loop<Function, Kernel>) -> Vec<Facts> {
    let stall_time_max = server.limits.stall_time_max;
    let tokens = server.connections.pick(|_| true);
    let facts = tokens.into_iter().filter_map(|token| {
        let connection = server.connections.get(token)?;
        Some(Facts {
            index: connection.socket.index,
            token,
            state: connection.state(),
            interest: connection.interest(),
            registered: connection.noted.interest,
            idle_input: connection.input.is_idle(),
            before_body: connection.input.is_before_body(),
            response_empty: connection.exchange.response.is_empty(),
            holds_input: !connection.input.wants_buffer(),
            input_held: connection.input.held(),
            holds_output: !connection.exchange.response.wants_buffer(),
            deadline: connection.deadline(stall_time_max),
            buffered_bytes: connection.buffered_bytes(),
        })
    });
    facts.collect()
}

/// Everything that must hold whenever the loop goes to wait.
pub(super) fn audit(server: &mut Loop<Function, Kernel>, limit: Option<Duration>) {
    let facts = facts(server);
    let shared = server.system.sim.clone();
    let sim = &mut *shared.borrow_mut();
    sim.call_ends();
    let open = sim.clients.iter().filter(|client| client.open).count();
    if facts.len() != open || server.connections.open() != open || open > sim.limits.connections_max {
        sim.fail(
            "connections are bounded and none leaks",
            format!("{} in the table, {} counted, {open} open", facts.len(), server.connections.open()),
        );
    }
    if facts.iter().any(|facts| facts.deadline.is_some()) != server.connections.any_timed() {
        sim.fail("deadlines are counted", format!("any: {}", server.connections.any_timed()));
    }
    check_memory(server, sim, &facts);
    for facts in &facts {
        let registered = Some((facts.token, facts.interest));
        if sim.clients[facts.index].watched != registered || facts.registered != facts.interest {
            sim.fail("interest follows from the state", format!("client {}: {registered:?}", facts.index));
        }
        examine(sim, facts, limit);
        machines::check_connection(sim, facts, server.clock.reading());
    }
    machines::check_transitions(sim, &facts, server.accept.state());
    machines::check_accept(sim, server.accept.state(), server.drain.is_some(), server.clock.reading());
    sim.check_times();
    if limit.is_none() && sim.listening && !sim.listener_watched && open < sim.limits.connections_max {
        sim.fail("an endless wait owes nothing", "there is a free slot, and the listener is not watched");
    }
    if limit.is_none() && sim.stop.is_some_and(|stop| stop.known) {
        sim.fail("a stop is bounded", "no limit to its wait");
    }
}

/// The memory of all connections together, and of the buffer pool.
fn check_memory(server: &Loop<Function, Kernel>, sim: &mut Sim, facts: &[Facts]) {
    // What was noted at the last read may be more: the buffer shrinks when a request is answered.
    for facts in facts {
        let capacity = if facts.holds_input { SPARE_BYTES_MAX + facts.input_held } else { 0 };
        let client = &mut sim.clients[facts.index];
        client.capacity = client.capacity.min(capacity);
    }
    let held: usize = facts.iter().map(|facts| facts.buffered_bytes).sum();
    // The call whose reply passes the bound is the last, but hooks are always served. What is read whole grows by
    // doubling.
    let hooks =
        sim.clients.iter().filter(|client| client.open && matches!(client.next_ask(), Some(ask) if ask.is_hook()));
    let replies = 2 * REPLY_BYTES_MAX * (1 + hooks.count());
    let counted = server.connections.buffered_bytes();
    if held != counted || held > server.limits.buffered_bytes_allowed() + replies {
        let each: Vec<_> =
            facts.iter().map(|facts| (facts.index, facts.buffered_bytes, sim.marker_of(facts.index))).collect();
        sim.fail("memory is bounded", format!("{held} bytes are held, {counted} counted: {each:?}"));
    }
    let inputs: usize = sim.clients.iter().map(|client| client.capacity.saturating_sub(SPARE_BYTES_MAX)).sum();
    if inputs > server.limits.buffered_bytes_allowed() {
        sim.fail("memory is bounded", format!("{inputs} bytes of input are held"));
    }
    let pool = &server.buffers;
    let fits = pool.input.capacity() <= SPARE_BYTES_MAX && pool.output.capacity() <= SPARE_BYTES_MAX;
    if !fits || pool.last_body.capacity() > COALESCE_BYTES_MAX || !pool.input.is_empty() || !pool.output.is_empty() {
        sim.fail("memory is bounded", "the buffer pool");
    }
    let announced = server.dispatcher.lifecycle().phase() == Phase::Frozen;
    if announced && pool.input.capacity() + pool.output.capacity() + pool.last_body.capacity() > 0 {
        sim.fail("a frozen instance holds no buffer", "the buffer pool");
    }
}

fn examine(sim: &mut Sim, facts: &Facts, limit: Option<Duration>) {
    let index = facts.index;
    let name = facts.state.name();
    let (lingers, yields) = (name == Name::Lingering, name == Name::Yielding);
    if (facts.holds_input && (facts.idle_input || lingers)) || (facts.holds_output && facts.response_empty) {
        sim.fail("idle connections hold no buffer", format!("client {index}"));
    }
    let client = &sim.clients[index];
    let rests = facts.interest == Interest::Read && !lingers;
    let lacks = client.unanswered() > 0 || !client.reader.is_between();
    if rests && (lacks || !facts.response_empty) {
        let details = format!("client {index} waits for {:?}", sim.marker_of(index));
        return sim.fail("after a reply nothing is pending", details);
    }
    let waits = client.next_ask().is_some_and(|ask| ask.waits && client.read == ask.head_end && ask.refused.is_empty());
    if rests && waits && client.next_ask().is_some_and(|ask| !ask.continued) {
        sim.fail("100 Continue once, where it is waited for", format!("client {index} waits for it"));
    }
    let client = &sim.clients[index];
    let in_hand = client.in_hand(&sim.limits).is_some() && !client.closing;
    if limit.is_none() && (lingers || yields || in_hand || lacks || !facts.response_empty || client.blocked) {
        sim.fail("an endless wait owes nothing", format!("client {index}: in hand {in_hand}, lacks {lacks}"));
    }
}
