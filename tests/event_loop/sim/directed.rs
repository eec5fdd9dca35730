//! Worlds made for what chance alone hardly ever shows: rows of the tables, each taken by some of these worlds.
//!
//! One seed in [`DIRECTED`] is such a world. Within its scenario everything is still drawn from the seed.

use super::client::{Client, Leaves, Manner};
use super::requests::{self, Ask, Does, What};
use super::world::Sim;
use crate::tuning::UNUSED_TIME_MIN;
use std::time::Duration;

/// One seed in so many is directed.
pub(super) const DIRECTED: u64 = 8;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn people(sim: &mut Sim, seed: u64) {
    sim.limits.connections_max = 6;
    (sim.limits.head_bytes_max, sim.limits.body_bytes_max) = (32_768, 100_000);
    (sim.limits.headers_max, sim.limits.target_bytes_max) = (256, 8_192);
    (sim.rates.error, sim.rates.watch, sim.rates.accept) = (0, 0, 0);
    sim.stop_at_tick = None;
    match seed / DIRECTED % 6 {
        0 => long_pipeline(sim),
        1 => idle_for_a_quarter_of_an_hour(sim),
        2 => empty_lines(sim),
        3 => blocked_continue(sim),
        4 => memory_for_another(sim),
        _ => request_at_the_eviction(sim),
    }
}

/// A request that `wanted` accepts, at the end of a client's script.
fn add(sim: &mut Sim, client: &mut Client, wanted: impl Fn(&Ask) -> bool) {
    let mark = (sim.clients.len() as u64) << 8 | client.asks.len() as u64;
    loop {
        let whole = client.script.len();
        let ask = requests::ask(&mut sim.chance, &sim.limits, mark, false, &mut client.script);
        if ask.refused.is_empty() && ask.what != What::Malformed && wanted(&ask) {
            client.asks.push(ask);
            return;
        }
        client.script.truncate(whole);
    }
}

fn is_plain(ask: &Ask) -> bool {
    ask.keeps
        && !ask.waits
        && ask.body_bytes == 0
        && ask.busy.is_zero()
        && matches!(ask.what, What::Call(Does::Owned(..500)))
}

fn client(bytes: usize) -> Client {
    Client { sndbuf: bytes, rcvbuf: bytes, ..Client::default() }
}

/// More requests at once than a connection is served in a row; in some worlds the stop comes while it yields.
fn long_pipeline(sim: &mut Sim) {
    sim.rates.short = 0;
    sim.stop_on_yield = sim.chance.one_in(2);
    if sim.stop_on_yield {
        sim.limits.drain_time_max = Duration::ZERO;
    }
    let mut eager = client(60_000);
    (0..20 + sim.chance.below(40)).for_each(|_| add(sim, &mut eager, is_plain));
    sim.clients.push(eager);
    while sim.somebody_acts() {}
}

/// A used connection must give its slot to another one after 15 minutes (C-CONN-1).
fn idle_for_a_quarter_of_an_hour(sim: &mut Sim) {
    (sim.limits.connections_max, sim.stop_in_wait) = (1, false);
    let mut idle = client(20_000);
    add(sim, &mut idle, is_plain);
    sim.clients.push(idle);
    let mut other = client(20_000);
    add(sim, &mut other, is_plain);
    other.asleep_until = SECOND * sim.chance.below(60) as u32;
    sim.clients.push(other);
}

/// Byte by byte, with empty lines in front of requests.
fn empty_lines(sim: &mut Sim) {
    (sim.rates.act, sim.rates.short) = (20, 0);
    let mut slow = client(20_000);
    slow.manner = Manner { byte_by_byte: true, pipelines: false, ..slow.manner };
    (0..4).for_each(|_| add(sim, &mut slow, |ask| is_plain(ask) && ask.lead < ask.begin));
    sim.clients.push(slow);
}

/// A client that waits for `100 Continue`, and whose kernel does not take it.
fn blocked_continue(sim: &mut Sim) {
    sim.hysteresis = false;
    let mut deaf = Client { sndbuf: 10, rcvbuf: 1, ..Client::default() };
    add(sim, &mut deaf, |ask| ask.waits);
    deaf.manner = Manner { pipelines: false, deaf_from: 0, clings: true, ..deaf.manner };
    match sim.chance.below(3) {
        0 => deaf.manner.leaves = Leaves::ResetsAt(deaf.asks[0].head_end),
        1 => {
            sim.stop_at_tick = Some(40 + sim.chance.below(100) as u64);
            (sim.limits.drain_time_max, sim.limits.stall_time_max) = (SECOND / 10, SECOND * 10);
        }
        _ => sim.limits.stall_time_max = SECOND,
    }
    sim.clients.push(deaf);
}

/// Large responses that are taken in sips, and a call that needs their memory.
fn memory_for_another(sim: &mut Sim) {
    (sim.limits.buffered_bytes_max, sim.limits.head_bytes_max, sim.limits.body_bytes_max) = (0, 2_000, 5_000);
    (sim.limits.stall_time_max, sim.limits.body_time_max) = (SECOND, SECOND * 30);
    let large =
        |ask: &Ask| matches!(ask.what, What::Call(Does::Owned(50_000..))) && ask.method != "HEAD" && ask.busy.is_zero();
    for _ in 0..2 {
        let mut sips = Client { sndbuf: 300, rcvbuf: 64, ..Client::default() };
        sips.manner = Manner { naps: 700, nap: 900, ..sips.manner };
        add(sim, &mut sips, large);
        sim.clients.push(sips);
    }
    let mut other = client(20_000);
    add(sim, &mut other, large);
    other.asleep_until = SECOND * (2 + sim.chance.below(6) as u32);
    sim.clients.push(other);
}

/// A silent client sends its request at the moment in which another one needs its slot.
fn request_at_the_eviction(sim: &mut Sim) {
    sim.limits.connections_max = 1;
    (sim.rates.act, sim.rates.jump, sim.rates.freeze, sim.freezes_left) = (500, 0, 0, 0);
    let mut silent = client(20_000);
    add(sim, &mut silent, is_plain);
    let wakes = UNUSED_TIME_MIN + Duration::from_millis(sim.chance.below(4) as u64);
    silent.manner = Manner { byte_by_byte: true, silent_until: wakes, ..silent.manner };
    sim.clients.push(silent);
    let mut other = client(20_000);
    add(sim, &mut other, is_plain);
    other.asleep_until = UNUSED_TIME_MIN / 100;
    sim.clients.push(other);
}
