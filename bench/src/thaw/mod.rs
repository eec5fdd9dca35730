//! Freeze to first answer.
//!
//! In each round every contender is started, warmed by a few calls on a connection that is kept, and frozen, all at the
//! same time. Then, one by one and in shuffled order, each is sent a call while it is still frozen, thawed, and timed
//! until the whole reply is there; whoever is not yet thawed takes nobody's time. The client blocks and does not spin;
//! client and contenders have processors of their own.

use std::sync::Arc;
use std::time::Duration;

use clap::Args as Arguments;

use crate::harness::{
    Call, Client, Conn, Contender, Instance, Pinned, Plan, Processors, Progress, Start, freeze_all, micros, now,
    shuffled,
};
use crate::results::{Skipped, Thaw, ThawSample, Thaws};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use fc_testkit::proc::Faults;

/// Calls before the freeze: what is touched only once has been touched.
const WARM_CALLS: usize = 5;

/// From the start to the last warm call.
const WARM_WAIT: Duration = Duration::from_secs(10);

/// From the thaw to the last reply.
const REPLY_WAIT: Duration = Duration::from_secs(5);

/// Whoever fails so often, and never succeeded, is not tried again.
const FAILURES_MAX: usize = 3;

/// What can be set.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// How often each contender is frozen (default: 20, or 3 with --quick)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    thaw_rounds: Option<u32>,

    /// How long it stays frozen (default: 0.5)
    #[arg(long, value_name = "SECS")]
    frozen_secs: Option<f64>,

    /// How it is frozen
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    thaw_freeze_by: FreezeWith,
}

/// Measures all contenders. What goes wrong with one of them is written beside its samples.
///
/// # Errors
/// When nobody can be frozen in the wanted way, or nobody answered after a thaw.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Thaw> {
    let frozen_secs = args.frozen_secs.unwrap_or(0.5);
    let bad = |cause| Error::failed("freeze for", format!("{frozen_secs} s"), cause);
    let bench = Bench {
        plan,
        method: args.thaw_freeze_by,
        frozen: Duration::try_from_secs_f64(frozen_secs).map_err(bad)?,
        processors: Processors::split()?,
        client: Client::default(),
    };
    if !bench.processors.apart() {
        let reason = "there is only one; the client's time is in the figures".to_owned();
        skipped.push(Skipped { what: "thaw: processors of their own".to_owned(), reason });
    }
    let _pinned = Pinned::to(&bench.processors.client)?;
    let rounds = args.thaw_rounds.unwrap_or(if plan.quick { 3 } else { 20 });
    let freezer = FreezeGroup::new(bench.method)?.name().to_owned();
    progress.begin("thaw", u64::from(rounds) * plan.contenders.len() as u64);

    let names = plan.contenders.iter().map(|contender| contender.name().to_owned());
    let mut contenders: Vec<Thaws> =
        names.map(|name| Thaws { name, samples: Vec::new(), failures: Vec::new() }).collect();
    for round in 0..rounds {
        bench.round(round, &mut contenders, progress);
    }
    if contenders.iter().all(|thaws| thaws.samples.is_empty()) {
        let first = contenders.iter().flat_map(|thaws| &thaws.failures).next();
        return Err(Error::failed("thaw", "anybody", first.map_or("there is nobody", String::as_str)));
    }
    Ok(Thaw { freezer, frozen_secs, contenders })
}

/// What all rounds have in common.
struct Bench<'a> {
    plan: &'a Plan,
    method: FreezeWith,
    frozen: Duration,
    processors: Processors,
    client: Client,
}

/// A contender that is warm: it has answered on a connection that stays.
struct Guest<'a> {
    instance: Instance,
    conn: Conn<'a>,
}

impl Bench<'_> {
    /// One freeze of everybody who is still in.
    fn round(&self, round: u32, thaws: &mut [Thaws], progress: &mut dyn Progress) {
        let order = shuffled(self.plan.contenders.len(), self.plan.seed, round);
        let (out, order): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|number| is_out(&thaws[*number]));
        for number in out {
            progress.step(&format!("{}: given up", thaws[number].name));
        }
        for (number, outcome) in self.freeze_and_thaw(&order, progress) {
            match outcome {
                Ok(sample) => thaws[number].samples.push(ThawSample { round, ..sample }),
                Err(cause) => thaws[number].failures.push(format!("round {round}: {cause}")),
            }
        }
    }

    fn freeze_and_thaw(&self, order: &[usize], progress: &mut dyn Progress) -> Vec<(usize, Result<ThawSample>)> {
        let contender = |number: usize| &self.plan.contenders[number];
        let started: Vec<_> = order.iter().map(|&number| (number, self.start(contender(number)))).collect();
        let warm = |(number, instance): (usize, Result<Instance>)| {
            (number, instance.and_then(|instance| self.warm(contender(number), instance)))
        };
        let guests: Vec<(usize, Result<Guest<'_>>)> = started.into_iter().map(warm).collect();
        let instances: Vec<&Instance> =
            guests.iter().filter_map(|(_, guest)| guest.as_ref().ok()).map(|guest| &guest.instance).collect();
        let (_, frozen) = freeze_all(&instances);
        std::thread::sleep(self.frozen);

        let mut frozen = frozen.into_iter();
        let thaw = |(number, guest): (usize, Result<Guest<'_>>)| {
            // Those that got as far as the freeze are in both lists, in the same order.
            let guest = guest.and_then(|guest| frozen.next().unwrap_or(Ok(())).map(|()| guest));
            let sample = guest.and_then(|mut guest| guest.thaw());
            progress.step(contender(number).name());
            (number, sample)
        };
        guests.into_iter().map(thaw).collect()
    }

    fn start(&self, contender: &Contender) -> Result<Instance> {
        let group = Some(Arc::new(FreezeGroup::of_descendants(self.method)?));
        Instance::start(contender, &Start { processors: &self.processors.server, group, ..Start::default() })
    }

    fn warm(&self, contender: &Contender, instance: Instance) -> Result<Guest<'_>> {
        let deadline = Deadline::after(WARM_WAIT);
        let mut conn = self.client.connect(contender, &instance, deadline)?;
        conn.call(Call::Initialize, deadline)?;
        for _ in 0..WARM_CALLS {
            conn.call(Call::Invoke, deadline)?;
        }
        Ok(Guest { instance, conn })
    }
}

impl Guest<'_> {
    /// A call while frozen, the thaw, the reply, and the same call once more.
    fn thaw(&mut self) -> Result<ThawSample> {
        let deadline = Deadline::after(REPLY_WAIT);
        let before = Faults::of_family(self.instance.pid())?;
        self.conn.send(Call::Invoke, deadline)?;
        let thawed = now();
        self.instance.thaw()?;
        self.conn.reply(Call::Invoke, deadline)?;
        let reply_us = micros(thawed, now());
        let faults = Faults::of_family(self.instance.pid())?.since(before);
        let asked = now();
        self.conn.call(Call::Invoke, deadline)?;
        let warm_us = micros(asked, now());
        Ok(ThawSample { round: 0, reply_us, warm_us, minor_faults: faults.minor, major_faults: faults.major })
    }
}

fn is_out(thaws: &Thaws) -> bool {
    thaws.samples.is_empty() && thaws.failures.len() >= FAILURES_MAX
}
