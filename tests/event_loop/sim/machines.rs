//! Both state machines of the server, checked before every wait: each state against the data that come with it and
//! against the kernel's side of it, each transition against its table.

use super::invariants::Facts;
use super::world::Sim;
use crate::server::accept::{self, Accept};
use crate::server::connection::{self, Name, State, Transfer};
use crate::server::system::Interest;
use crate::tuning::LINGER_BYTES_MAX;
use std::time::Duration;

const RULE: &str = "a state agrees with what it stands for";

/// The machines as the simulation last saw them.
pub(super) struct Machines {
    /// Connections in each state.
    connections: [usize; Name::Closed as usize + 1],
    accept: accept::Name,
}

impl Machines {
    /// Drops the transitions that an earlier world of this thread has left.
    pub(super) fn new() -> Machines {
        connection::TAKEN.take();
        accept::TAKEN.take();
        Machines { connections: [0; Name::Closed as usize + 1], accept: accept::Name::Open }
    }
}

/// The transitions since the last look: each is in its table, and they lead from the states of then to those of now.
/// So no state changes in another way.
pub(super) fn check_transitions(sim: &mut Sim, facts: &[Facts], accept: Accept) {
    let (was, mut expected) = (sim.machines.accept, sim.machines.connections);
    expected[Name::New as usize] += std::mem::take(&mut sim.accepted);
    for row in connection::TAKEN.take() {
        match connection::TRANSITIONS.iter().position(|known| *known == row) {
            Some(at) => sim.seen.connection_row(at),
            None => sim.fail("every transition is in the table", format!("{row:?}")),
        }
        let (from, _, to) = row;
        expected[to as usize] += 1;
        expected[from as usize] = expected[from as usize].wrapping_sub(1);
    }
    expected[Name::Closed as usize] = 0;
    let mut connections = [0; Name::Closed as usize + 1];
    for facts in facts {
        connections[facts.state.name() as usize] += 1;
    }
    if connections != expected {
        sim.fail("every transition passes the door", format!("{connections:?} instead of {expected:?} in each state"));
    }
    let mut at = was;
    for row in accept::TAKEN.take() {
        match accept::TRANSITIONS.iter().position(|known| *known == row) {
            Some(index) => sim.seen.accept_row(index),
            None => sim.fail("every transition is in the table", format!("{row:?}")),
        }
        let (from, _, to) = row;
        if from != at {
            sim.fail("every transition passes the door", format!("{row:?} from {at:?}"));
        }
        at = to;
    }
    if accept.name() != at {
        sim.fail("every transition passes the door", format!("{accept:?} instead of {at:?}"));
    }
    sim.machines = Machines { connections, accept: at };
}

/// Whether connections are accepted, against the kernel's listener, the table and the drain. `now` is awake time.
pub(super) fn check_accept(sim: &mut Sim, accept: Accept, is_draining: bool, now: Duration) {
    let open = sim.clients.iter().filter(|client| client.open).count();
    let is_stopped = sim.stop.is_some_and(|stop| stop.known);
    let (listening, watched) = match accept {
        Accept::Open => (true, true),
        Accept::Full { .. } | Accept::Paused { .. } | Accept::Draining { .. } => (true, false),
        Accept::Closed => (false, false),
    };
    let data_agree = match accept {
        Accept::Open | Accept::Closed => true,
        Accept::Full { evictable_at } => {
            open == sim.limits.connections_max && !sim.queue.is_empty() && evictable_at.is_none_or(|at| at > now)
        }
        Accept::Paused { until } => until > now,
        Accept::Draining { paused_until } => paused_until.is_some() || open == sim.limits.connections_max,
    };
    let drains = matches!(accept, Accept::Draining { .. } | Accept::Closed);
    if (sim.listening, sim.listener_watched) != (listening, watched) || drains != is_stopped || drains != is_draining {
        let kernel = (sim.listening, sim.listener_watched);
        sim.fail(RULE, format!("{accept:?}, but listening and watched are {kernel:?}, stopped {is_stopped}"));
    }
    if !data_agree {
        sim.fail(RULE, format!("{accept:?} at {now:?} with {open} connections, {} wait", sim.queue.len()));
    }
}

/// One connection's state, against its data, its decoder, its response, and what the client has seen.
pub(super) fn check_connection(sim: &mut Sim, facts: &Facts, now: Duration) {
    let client = &sim.clients[facts.index];
    let Facts { response_empty, idle_input, before_body, deadline, .. } = *facts;
    let has_begun = !idle_input;
    let sending = |transfer: Transfer| {
        let in_order = transfer.begun_at <= transfer.progress_at && transfer.progress_at <= now;
        // Blocked and yielding exclude each other; only where the kernel cannot tell is nothing known of the queue.
        let unacked = transfer.unacked_bytes.is_some() == (sim.tells_queue && !transfer.yields);
        in_order && !response_empty && deadline.is_some() && transfer.yields != client.blocked && unacked
    };
    let agrees = match facts.state {
        State::New { since } => {
            let is_unused = client.answered == 0 && before_body;
            since <= now && response_empty && is_unused && deadline.is_some() == has_begun
        }
        State::Idle { since } => {
            since <= now && response_empty && idle_input && client.answered > 0 && deadline.is_none()
        }
        State::Receiving => response_empty && has_begun && deadline.is_some(),
        State::Continuing(transfer) => sending(transfer) && client.next_ask().is_some_and(|ask| ask.waits),
        State::Sending(transfer) => sending(transfer) && !client.server_ended,
        State::SendingLast(transfer, _) => sending(transfer) && !client.server_ended,
        State::Yielding { since } => since <= now && response_empty && has_begun && deadline.is_some(),
        State::Lingering { until, bytes_left } => {
            let in_time = until > now && until <= now + sim.limits.linger_time_max && deadline == Some(until);
            response_empty && in_time && (1..=LINGER_BYTES_MAX).contains(&bytes_left)
        }
        State::Closed => false,
    };
    let reads = matches!(facts.state.name(), Name::New | Name::Idle | Name::Receiving | Name::Lingering);
    let ended = (facts.state.name() == Name::Lingering) == client.server_ended;
    let (client, details) = (facts.index, format!("{:?}", facts.state));
    if !agrees || !ended || reads != (facts.interest == Interest::Read) {
        sim.fail(RULE, format!("client {client}: {details} at {now:?}"));
    }
}
