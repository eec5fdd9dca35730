//! From the freeze to the first reply.
//!
//! In each round every contender is started, warmed up by a few calls on a connection that stays open, and frozen, all
//! at the same time. Then, one by one and in shuffled order, each gets a call while it is still frozen, is thawed, and
//! is timed until the whole reply is there. The contenders that are still frozen use no processor time. The client
//! blocks and does not spin, and client and contenders have separate processors.

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
use fc_emulator::options::{DURATION, duration};
use fc_testkit::proc::Faults;

/// Calls before the freeze, so that the server has touched all memory that a call needs.
const WARM_CALLS: usize = 5;

/// From the start to the last call before the freeze.
const WARM_WAIT: Duration = Duration::from_secs(10);

/// From the thaw to the last reply.
const REPLY_WAIT: Duration = Duration::from_secs(5);

/// A contender that failed this many times and never succeeded is not tried again.
const FAILURES_MAX: usize = 3;

/// Options of the measure.
#[derive(Clone, Debug, Arguments)]
#[group(skip)]
pub struct Args {
    /// Freezes of each contender [default: 20, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    thaw_rounds: Option<u32>,

    /// Length of a freeze
    #[arg(long, default_value = "500ms", value_name = DURATION, value_parser = duration)]
    freeze_for: Duration,
}

/// Measures all contenders. A failure of a contender is written beside its samples.
///
/// # Errors
/// If no contender can be frozen by this method, or none answered after a thaw.
pub fn run(
    plan: &Plan,
    args: &Args,
    freeze_with: FreezeWith,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Thaw> {
    let bench = Bench {
        plan,
        freeze_with,
        frozen: args.freeze_for,
        processors: Processors::split()?,
        client: Client::default(),
    };
    if !bench.processors.apart() {
        let reason = "there is only one processor; the figures include time of the client".to_owned();
        skipped.push(Skipped { what: "thaw: processors of their own".to_owned(), reason });
    }
    let _pinned = Pinned::to(&bench.processors.client)?;
    let rounds = args.thaw_rounds.unwrap_or(if plan.quick { 3 } else { 20 });
    let freezer = FreezeGroup::new(bench.freeze_with)?.name().to_owned();
    progress.begin("thaw", u64::from(rounds) * plan.contenders.len() as u64);

    let names = plan.contenders.iter().map(|contender| contender.name().to_owned());
    let mut contenders: Vec<Thaws> =
        names.map(|name| Thaws { name, samples: Vec::new(), failures: Vec::new() }).collect();
    for round in 0..rounds {
        bench.round(round, &mut contenders, progress);
    }
    if contenders.iter().all(|thaws| thaws.samples.is_empty()) {
        let first = contenders.iter().flat_map(|thaws| &thaws.failures).next();
        return Err(Error::failed("thaw", "any contender", first.map_or("there are no contenders", String::as_str)));
    }
    Ok(Thaw { freezer, frozen_secs: args.freeze_for.as_secs_f64(), contenders })
}

/// What all rounds have in common.
struct Bench<'a> {
    plan: &'a Plan,
    freeze_with: FreezeWith,
    frozen: Duration,
    processors: Processors,
    client: Client,
}

/// A contender that has answered on a connection that stays open.
struct WarmContender<'a> {
    instance: Instance,
    conn: Conn<'a>,
}

impl Bench<'_> {
    /// Freezes and thaws all contenders that still take part.
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
        let guests: Vec<(usize, Result<WarmContender<'_>>)> = started.into_iter().map(warm).collect();
        let instances: Vec<&Instance> =
            guests.iter().filter_map(|(_, guest)| guest.as_ref().ok()).map(|guest| &guest.instance).collect();
        let (_, frozen) = freeze_all(&instances);
        std::thread::sleep(self.frozen);

        let mut frozen = frozen.into_iter();
        let thaw = |(number, guest): (usize, Result<WarmContender<'_>>)| {
            // The contenders that reached the freeze are in both lists, in the same order.
            let guest = guest.and_then(|guest| frozen.next().unwrap_or(Ok(())).map(|()| guest));
            let sample = guest.and_then(|mut guest| guest.thaw());
            progress.step(contender(number).name());
            (number, sample)
        };
        guests.into_iter().map(thaw).collect()
    }

    fn start(&self, contender: &Contender) -> Result<Instance> {
        let group = Some(Arc::new(FreezeGroup::new(self.freeze_with)?));
        Instance::start(contender, &Start { processors: &self.processors.server, group, ..Start::default() })
    }

    fn warm(&self, contender: &Contender, instance: Instance) -> Result<WarmContender<'_>> {
        let deadline = Deadline::after(WARM_WAIT);
        let mut conn = self.client.connect(contender, &instance, deadline)?;
        conn.call(Call::Initialize, deadline)?;
        for _ in 0..WARM_CALLS {
            conn.call(Call::Invoke, deadline)?;
        }
        conn.call(Call::PreFreeze, deadline)?;
        Ok(WarmContender { instance, conn })
    }
}

impl WarmContender<'_> {
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
