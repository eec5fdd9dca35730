//! How a world is made: limits, rates of mishaps, clients. Each kind of mishap is absent from some worlds, so that
//! none hides another.

use super::client::{Client, Leaves, Manner};
use super::coverage::Kind;
use super::requests;
use super::rng::Rng;
use super::world::{Rates, Sim};
use crate::limits::Limits;
use std::time::Duration;

pub(super) fn limits(chance: &mut Rng) -> Limits {
    let time = |chance: &mut Rng| {
        Duration::from_millis(chance.pick(&[1, 100, 1_000, 3_000, 10_000, 30_000]) * (1 + chance.below(2)) as u64)
    };
    let mut limits = Limits {
        head_bytes_max: chance.pick(&[256, 400, 2_000, 32_768, 32_768]),
        headers_max: chance.pick(&[4, 8, 50, 128, 128, 256]),
        target_bytes_max: chance.pick(&[16, 100, 8_192, 8_192]),
        body_bytes_max: chance.pick(&[0, 100, 5_000, 100_000, 100_000, 100_000]),
        buffered_bytes_max: chance.pick(&[0, 5_000, 50_000, 1 << 28]),
        connections_max: 1 + chance.below(6),
        head_time_max: time(chance),
        body_time_max: time(chance),
        stall_time_max: time(chance),
        linger_time_max: if chance.one_in(8) { Duration::ZERO } else { time(chance) },
        drain_time_max: if chance.one_in(12) { Duration::ZERO } else { time(chance) },
        ..Limits::default()
    };
    // The memory budget is never less than one largest request, so that must be small for the budget to matter.
    if limits.buffered_bytes_max < 1 << 20 && chance.one_in(2) {
        (limits.head_bytes_max, limits.body_bytes_max) = (2_000, 5_000);
    }
    limits
}

pub(super) fn rates(chance: &mut Rng) -> Rates {
    let rate = |chance: &mut Rng, often: usize| chance.pick(&[0, 0, often / 4, often]);
    Rates {
        act: chance.pick(&[20, 200, 500]),
        jump: rate(chance, 40),
        freeze: rate(chance, 40),
        spurious: rate(chance, 100),
        accept: rate(chance, 300),
        watch: rate(chance, 60),
        interrupt: rate(chance, 60),
        short: rate(chance, 900),
        error: rate(chance, 8),
    }
}

pub(super) fn people(sim: &mut Sim) {
    let crowd = sim.chance.one_in(60);
    if crowd {
        sim.seen.count(Kind::Crowd);
        sim.limits.connections_max = 200;
    }
    let count = if crowd { 66 + sim.chance.below(60) } else { 1 + sim.chance.below(7) };
    for index in 0..count {
        let client = client(&mut sim.chance, &sim.limits, index, crowd);
        sim.clients.push(client);
    }
    // More clients have sent a request than one wait reports, and then the stop comes.
    if crowd && sim.chance.one_in(2) {
        while sim.somebody_acts() {}
        sim.stop_at_tick = Some(sim.chance.below(8) as u64);
    }
}

fn client(chance: &mut Rng, limits: &Limits, index: usize, crowd: bool) -> Client {
    let mut client = Client { sndbuf: chance.pick(&[64, 300, 5_000, 20_000]), ..Client::default() };
    client.rcvbuf = chance.pick(&[64, 300, 5_000, 20_000]);
    let asks = match (crowd, chance.below(12)) {
        (true, _) => chance.below(2),
        (_, 0) => 0,
        (_, 1) => 20 + chance.below(30),
        (_, few) => 1 + few / 3,
    };
    let many = asks >= 20;
    for number in 0..asks {
        let mark = (index as u64) << 8 | number as u64;
        let ask = requests::ask(chance, limits, mark, crowd || many, &mut client.script);
        client.asks.push(ask);
    }
    let whole = client.script.len();
    let at = 1 + chance.below(whole + 1);
    client.manner = Manner {
        pipelines: many || chance.one_in(2),
        deaf_from: if chance.one_in(10) { chance.size(20_000) } else { usize::MAX },
        stops_at: if chance.one_in(8) { chance.below(whole + 1) } else { usize::MAX },
        leaves: chance.pick(&[
            Leaves::Never,
            Leaves::Never,
            Leaves::WhenServed,
            Leaves::WhenServed,
            Leaves::HalfWhenSent,
            Leaves::HalfWhenSent,
            Leaves::At(at),
            Leaves::ResetsAt(at),
        ]),
        clings: chance.one_in(10),
        naps: if chance.one_in(3) { chance.pick(&[20, 300]) } else { 0 },
        nap: chance.pick(&[5, 200, 2_000, 30_000]),
        ..client.manner
    };
    if !crowd && chance.one_in(8) {
        // Takes its replies in sips.
        (client.sndbuf, client.rcvbuf) = (chance.pick(&[300, 5_000]), 64);
        (client.manner.naps, client.manner.nap) = (700, 1_500);
    }
    if !crowd && chance.one_in(3) {
        client.asleep_until = Duration::from_millis(chance.size(30_000) as u64);
    }
    client
}
