//! Cold starts of many instances at once: from the moment that all are let go until each has answered `/initialize`.
//!
//! The instances of a burst are one contender's. `crowd` starts each under a shell that stops itself, lets all go by
//! SIGCONT in one pass, and is the client of all in one thread. All instances share one processor, as an instance does
//! in the other measures, and the client has another one. So the last reply tells how many starts a processor can
//! carry, whatever the machine. The shell's way to its exec is part of every time, and the same for all.
//!
//! Rounds interleave the contenders. Slow ones get fewer bursts, and one whose instances cannot fit into memory gets
//! none of that size; the results say so.

mod crowd;

use std::time::{Duration, Instant};

use clap::Args as Arguments;

use self::crowd::Crowd;
use crate::harness::{Contender, Listening, Pinned, Plan, Processors, Progress, distinct, shuffled};
use crate::results::{Burst, BurstSample, Bursts, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{DURATION, duration};

/// How many start at once.
const SIZES: [u32; 3] = [1, 10, 100];
const SIZES_QUICK: [u32; 1] = [100];

/// Contenders get at least this many bursts, however long these take.
const BURSTS_MIN: usize = 2;

/// After this many failures in a row a contender gets no more bursts of a size. Each may last until the time limit.
const FAILURES_MAX: u32 = 2;

/// Options of the measure.
#[derive(Clone, Debug, Arguments)]
#[group(skip)]
pub struct Args {
    /// Instances that start at once, a list for several sizes [default: 1,10,100, or 100 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u32).range(1..=1000))]
    burst_sizes: Vec<u32>,

    /// Bursts of each contender and size; 0 for none [default: 10, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=10_000))]
    burst_rounds: Option<u32>,

    /// Time limit for all instances of a burst to answer
    #[arg(long, default_value = "60s", value_name = DURATION, value_parser = duration)]
    burst_timeout: Duration,

    /// A contender whose bursts of one size have taken this long gets no more of them, after two
    #[arg(long, default_value = "6s", value_name = DURATION, value_parser = duration)]
    burst_budget: Duration,
}

/// Measures all contenders in all sizes. A failure of a contender is written beside its samples.
///
/// # Errors
/// If no burst was answered.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Burst> {
    let rounds = args.burst_rounds.unwrap_or(if plan.quick { 2 } else { 10 });
    let sizes = match args.burst_sizes.is_empty() {
        false => distinct(&args.burst_sizes),
        true if plan.quick => SIZES_QUICK.into(),
        true => SIZES.into(),
    };
    let processors = Processors::split()?;
    if !processors.apart() {
        let reason = "there is only one processor, so the times of bursts include time of the client".to_owned();
        skipped.push(Skipped { what: "a processor for the client beside bursts".to_owned(), reason });
    }
    if let Err(cause) = Listening::open() {
        skipped.push(Skipped { what: "bursts".to_owned(), reason: cause.to_string() });
        return Ok(Burst::default());
    }
    let _pinned = Pinned::to(&processors.client)?;
    let crowd = Crowd::new(processors.server, args.burst_timeout);
    // One start of each brings its files into memory, and tells how much memory an instance needs.
    let needs_kb: Vec<Option<u64>> = plan.contenders.iter().map(|contender| crowd.private_kb(contender)).collect();
    let mut found = Burst::default();
    for size in sizes {
        let steps = u64::from(rounds) * plan.contenders.len() as u64;
        progress.begin(&format!("burst of {size}"), steps);
        let bursts = of_size(plan, args, (size, rounds), &needs_kb, progress, |contender, each_kb| {
            crowd.burst(contender, size, each_kb)
        });
        found.bursts.extend(bursts);
    }
    let any = found.bursts.iter().any(|bursts| !bursts.samples.is_empty());
    if !any {
        let why = found.bursts.iter().flat_map(|bursts| bursts.failures.iter().chain(&bursts.stopped_by)).next();
        return Err(Error::failed("measure", "bursts", why.map_or("no burst was requested", String::as_str)));
    }
    Ok(found)
}

/// One burst that did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    /// There is no room for it, now or later.
    NoRoom(String),
    /// It failed.
    Failed(String),
}

/// Bursts of one size, until a contender has used up its time, has failed too often or has no room.
fn of_size(
    plan: &Plan,
    args: &Args,
    (size, rounds): (u32, u32),
    needs_kb: &[Option<u64>],
    progress: &mut dyn Progress,
    mut burst: impl FnMut(&Contender, Option<u64>) -> std::result::Result<BurstSample, Missing>,
) -> Vec<Bursts> {
    let empty = |it: &Contender| Bursts { name: it.name().to_owned(), instances: size, ..Bursts::default() };
    let mut all: Vec<Bursts> = plan.contenders.iter().map(empty).collect();
    let mut spent = vec![Duration::ZERO; all.len()];
    let mut in_a_row = vec![0; all.len()];
    for round in 0..rounds {
        for index in shuffled(all.len(), plan.seed, round) {
            let (contender, bursts) = (&plan.contenders[index], &mut all[index]);
            if bursts.stopped_by.is_none() {
                let began = Instant::now();
                match burst(contender, needs_kb[index]) {
                    Ok(sample) => {
                        in_a_row[index] = 0;
                        bursts.samples.push(BurstSample { round, ..sample });
                    }
                    Err(Missing::NoRoom(why)) => bursts.stopped_by = Some(format!("not started: {why}")),
                    Err(Missing::Failed(why)) => {
                        in_a_row[index] += 1;
                        bursts.failures.push(format!("round {round}: {why}"));
                    }
                }
                spent[index] += began.elapsed();
                let count = bursts.samples.len();
                if in_a_row[index] == FAILURES_MAX {
                    bursts.stopped_by = Some(format!("given up after {FAILURES_MAX} failures in a row"));
                } else if spent[index] > args.burst_budget && count >= BURSTS_MIN && round + 1 < rounds {
                    bursts.stopped_by = Some(format!("{count} bursts, which took the time of this measure"));
                }
            }
            progress.step(contender.name());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;

    struct Silent;

    impl Progress for Silent {
        fn begin(&mut self, _: &str, _: u64) {}

        fn step(&mut self, _: &str) {}
    }

    #[test]
    fn every_burst_is_a_sample_or_has_a_reason() {
        let names = ["well", "sometimes", "never", "large", "slow"];
        let contenders = names.map(|name| Contender::of_command(name, Kind::Custom, vec![])).to_vec();
        let plan = Plan { contenders, echoes: Vec::new(), quick: true, seed: 1 };
        let budget = Duration::from_millis(20);
        let args = Args { burst_sizes: vec![], burst_rounds: None, burst_timeout: budget, burst_budget: budget };
        let mut count = [0; 5];
        let all = of_size(&plan, &args, (7, 6), &[None; 5], &mut Silent, |contender, _| {
            let index = names.iter().position(|name| *name == contender.name()).unwrap();
            count[index] += 1;
            match index {
                1 if count[1] % 2 == 0 => Err(Missing::Failed("no".to_owned())),
                2 => Err(Missing::Failed("never".to_owned())),
                3 => Err(Missing::NoRoom("memory".to_owned())),
                4 => {
                    std::thread::sleep(budget);
                    Ok(BurstSample::default())
                }
                _ => Ok(BurstSample::default()),
            }
        });
        let told: Vec<_> =
            all.iter().map(|it| (it.samples.len(), it.failures.len(), it.stopped_by.as_deref())).collect();
        let expected = [
            (6, 0, None),
            (3, 3, None),
            (0, 2, Some("given up after 2 failures in a row")),
            (0, 0, Some("not started: memory")),
            (2, 0, Some("2 bursts, which took the time of this measure")),
        ];
        assert_eq!(told, expected);
        assert!(all.iter().all(|bursts| bursts.instances == 7));
    }
}
