//! From the start to the first reply: as a process, as a container, and in counts that do not depend on time.
//!
//! Rounds interleave all contenders in an order that is shuffled for each round, so that other load on the machine
//! affects all contenders alike. Each start has an instance of its own. A start without a reply is recorded as a
//! failure with its reason. Contenders run as they are shipped, with their own log lines, which go to `/dev/null`.
//!
//! `client` sends requests and reads the clock; `process` and `container` start the servers. `counts` starts servers of
//! its own, because `trace` and `callgrind` slow them down.

mod callgrind;
mod client;
pub(crate) mod container;
mod counts;
mod process;
pub mod quota;
mod trace;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use clap::Args as Arguments;
use rustix::time::Timespec;

use crate::harness::{Contender, Plan, Progress, micros, shuffled};
use crate::results::{Coldstart, Skipped, Start, Starts};
use client::{Client, Timestamps};
use fc_emulator::error::{Error, Result};
use fc_emulator::target::Exit;

/// The outcome of a start. A failed start is a finding about its contender, in words, and not an error of ours.
pub(crate) type Outcome<T> = std::result::Result<T, String>;

/// Rounds before the first one that counts. They bring programs into memory and processors to their full speed.
const WARM_UP: u32 = 3;
const WARM_UP_QUICK: u32 = 1;

/// The most rounds that can be asked for: about a day of rounds.
const ROUNDS_MAX: i64 = 100_000;

/// After this many failures in a row a contender is not started again. Each failure may last until a deadline.
const FAILURES_MAX: u32 = 3;

/// Options of the measure.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Starts of each contender as a process; 0 for none [default: 100, or 15 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=ROUNDS_MAX))]
    start_rounds: Option<u32>,

    /// Starts of each contender as a container; 0 for none [default: 10, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=ROUNDS_MAX))]
    container_rounds: Option<u32>,

    /// Do not count system calls, page faults, memory and instructions of a start
    #[arg(long)]
    no_counts: bool,
}

/// Measures all contenders. `skipped` receives everything that cannot be measured.
///
/// # Errors
/// If nothing at all can be measured.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Coldstart> {
    let rounds = |set: Option<u32>, whole, quick| set.unwrap_or(if plan.quick { quick } else { whole });
    let mut client = Client::default();
    let mut found = Coldstart { warm_up: if plan.quick { WARM_UP_QUICK } else { WARM_UP }, ..Coldstart::default() };
    let process_rounds = rounds(args.start_rounds, 100, 15);
    if process_rounds > 0 {
        let series = Series { plan, warm_up: found.warm_up, rounds: process_rounds };
        found.process = process::measure(&series, &mut client, progress, skipped)?;
        (found.attempt_pause_median_us, found.attempt_pause_us) = client.pauses();
    }
    let container_rounds = rounds(args.container_rounds, 10, 3);
    if container_rounds > 0 {
        let series = Series { plan, warm_up: 1, rounds: container_rounds };
        found.container = container::measure(&series, &mut client, progress, skipped);
    }
    if !args.no_counts {
        found.counts = counts::measure(plan, &client, progress, skipped);
    }
    let starts = found.process.iter().chain(&found.container);
    if found.counts.is_empty() && starts.clone().all(|starts| starts.samples.is_empty()) {
        let why = starts.flat_map(|starts| &starts.failures).next();
        let why = why.or(skipped.last().map(|skipped| &skipped.reason));
        let why = why.map_or("no start was requested", String::as_str);
        return Err(Error::failed("measure", "cold starts", why));
    }
    Ok(found)
}

/// The number of rounds, and the plan.
struct Series<'a> {
    plan: &'a Plan,
    warm_up: u32,
    rounds: u32,
}

impl Series<'_> {
    /// Starts each of these contenders in every round, and returns the samples.
    fn run(
        &self,
        contenders: &[&Contender],
        progress: &mut dyn Progress,
        mut start: impl FnMut(&Contender) -> Outcome<(Timespec, Timestamps)>,
    ) -> Vec<Starts> {
        let empty = |it: &&Contender| Starts {
            name: it.name().to_owned(),
            samples: Vec::new(),
            image_bytes: None,
            failures: Vec::new(),
        };
        let mut all: Vec<Starts> = contenders.iter().map(empty).collect();
        let mut in_a_row = vec![0; contenders.len()];
        for round in 0..self.warm_up + self.rounds {
            for index in shuffled(contenders.len(), self.plan.seed, round) {
                let (contender, starts) = (contenders[index], &mut all[index]);
                if in_a_row[index] < FAILURES_MAX {
                    match start(contender) {
                        Ok((from, timestamps)) => {
                            in_a_row[index] = 0;
                            let counts = round.checked_sub(self.warm_up);
                            starts.samples.extend(counts.map(|round| sample(round, from, &timestamps)));
                        }
                        Err(why) => {
                            in_a_row[index] += 1;
                            starts.failures.push(failure(round, self.warm_up, &why));
                            if in_a_row[index] == FAILURES_MAX {
                                starts.failures.push(format!("given up after {FAILURES_MAX} failures in a row"));
                            }
                        }
                    }
                }
                progress.step(contender.name());
            }
        }
        all
    }

    /// The number of steps that [`Series::run`] reports.
    fn steps(&self, contenders: usize) -> u64 {
        u64::from(self.warm_up + self.rounds) * contenders as u64
    }
}

fn sample(round: u32, from: Timespec, timestamps: &Timestamps) -> Start {
    Start {
        round,
        port_open_us: micros(from, timestamps.port_open),
        initialize_us: micros(from, timestamps.initialized),
        invoke_us: micros(from, timestamps.invoked),
    }
}

fn failure(round: u32, warm_up: u32, why: &str) -> String {
    match round.checked_sub(warm_up) {
        Some(round) => format!("round {round}: {why}"),
        None => format!("warm-up: {why}"),
    }
}

/// How a process ended, in words.
fn ending(status: ExitStatus) -> String {
    let exit = match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or_default()),
    };
    format!("it {exit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::now;
    use crate::results::Kind;

    struct Silent(u64);

    impl Progress for Silent {
        fn begin(&mut self, _: &str, _: u64) {}

        fn step(&mut self, _: &str) {
            self.0 += 1;
        }
    }

    #[test]
    fn every_start_is_a_sample_or_a_failure_until_it_is_given_up() {
        let named = |name: &str| {
            let mut it = client::tests::contender(Kind::Custom);
            it.described.name = name.to_owned();
            it
        };
        let contenders = ["well", "sometimes", "never"].map(named);
        let plan = Plan { contenders: contenders.to_vec(), echoes: Vec::new(), quick: true, seed: 1 };
        let series = Series { plan: &plan, warm_up: 1, rounds: 6 };
        let mut starts = [0; 3];
        let mut progress = Silent(0);
        let all = series.run(&contenders.iter().collect::<Vec<_>>(), &mut progress, |contender| {
            let index = contenders.iter().position(|it| it.name() == contender.name()).unwrap();
            starts[index] += 1;
            let at = now();
            let timestamps = Timestamps { port_open: at, initialized: at, invoked: at };
            let well = index == 0 || index == 1 && starts[1] % 2 == 0;
            if well { Ok((at, timestamps)) } else { Err("no".to_owned()) }
        });
        assert_eq!((starts, progress.0), ([7, 7, 3], series.steps(3)));
        let rounds = |index: usize| all[index].samples.iter().map(|start| start.round).collect::<Vec<u32>>();
        assert_eq!((rounds(0), rounds(1), rounds(2)), (vec![0, 1, 2, 3, 4, 5], vec![0, 2, 4], vec![]));
        assert_eq!(all[1].failures, ["warm-up: no", "round 1: no", "round 3: no", "round 5: no"]);
        let given_up = ["warm-up: no", "round 0: no", "round 1: no", "given up after 3 failures in a row"];
        assert_eq!(all[2].failures, given_up);
    }
}
