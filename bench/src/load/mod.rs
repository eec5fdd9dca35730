//! Requests per second and latency.
//!
//! Rounds of short runs: in each round every contender, in shuffled order, is started once, on a processor of its own,
//! and lives through all patterns of load; those with log markers once without and once with them.
//!
//! From the outside in: `patterns` says which loads there are, `server` starts who is loaded, `client` is the
//! loop that loads, `open` makes its connections, `traffic` decides who sends when, by a `schedule` if the rate
//! is fixed, `reply` knows a good reply, and `counters` keeps the books.

mod client;
mod counters;
mod open;
mod patterns;
mod reply;
mod schedule;
mod server;
mod traffic;

use std::time::Duration;

use clap::Args as Arguments;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::patterns::{Requests, Shape};
use self::server::Server;
use crate::harness::{Contender, Plan, Processors, Progress, pin_self, shuffled};
use crate::results::{Cell, Kind, Load, LoadRun, Pattern, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::platform::{Platform, Settings};

/// Nanoseconds of a clock, or between two readings of it.
type Nanos = u64;

/// Many short runs rather than few long ones: what else the machine does for some milliseconds spoils a run and its
/// 99th percentile, but not the median of six. As many as three minutes allow.
const ROUNDS: u32 = 6;
const LENGTH: Duration = Duration::from_millis(250);
const LENGTH_QUICK: Duration = Duration::from_millis(300);

/// Some thousand requests, which is enough for a server that compiles nothing while it runs.
const WARM_UP: Duration = Duration::from_millis(50);

/// What can be set.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Rounds of the load (default: 6, or 1 with --quick)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    load_rounds: Option<u32>,

    /// Length of each run under load, its warm-up not counted (default: 0.25, or 0.3 with --quick)
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    load_seconds: Option<Duration>,

    /// Only patterns of so many connections: any of 1, 16, 200
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = patterns::parse_connections)]
    load_connections: Vec<u32>,
}

/// One run for the client.
struct Task<'a> {
    request: &'a [u8],
    connections: usize,
    reconnect: bool,
    rate: Option<f64>,
    warm_up: Duration,
    length: Duration,
}

/// A contender as it is loaded.
#[derive(Clone, Copy)]
struct Entry<'a> {
    contender: &'a Contender,
    markers: Option<bool>,
}

/// What all runs have in common.
struct Setting {
    processors: Processors,
    platform: Platform,
    requests: Requests,
    warm_up: Duration,
    length: Duration,
}

/// Measures all contenders. Whom or what it cannot measure goes into `skipped`.
///
/// # Errors
/// When nothing at all can be measured.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Load> {
    let setting = Setting::new(plan, args)?;
    let _pinned = Pinned::to(&setting.processors.client)?;
    let rounds = args.load_rounds.unwrap_or(if plan.quick { 1 } else { ROUNDS });
    let entries: Vec<Entry<'_>> = plan.contenders.iter().flat_map(Entry::of).collect();
    let shapes = patterns::shapes(plan.quick, &args.load_connections);
    let runs = entries.len() * shapes.len();
    progress.begin("load", u64::from(rounds) * (1 + runs as u64));

    let reference = reference(&setting, plan, rounds, progress, skipped)?;
    let mut cells: Vec<Cell> = Vec::with_capacity(runs);
    for entry in &entries {
        cells.extend(shapes.iter().map(|shape| entry.cell(shape.pattern(reference.rate, entry.markers))));
    }
    for round in 0..rounds {
        for number in shuffled(entries.len(), plan.seed, round) {
            let cells = &mut cells[number * shapes.len()..][..shapes.len()];
            setting.round(entries[number], round, cells, progress);
        }
    }
    if cells.iter().all(|cell| cell.runs.is_empty()) {
        let first = cells.iter().flat_map(|cell| &cell.failures).next();
        return Err(Error::failed("load", "anybody", first.map_or("there is nobody", String::as_str)));
    }
    let Processors { client, server } = setting.processors;
    Ok(Load { client_processors: client, server_processors: server, rate_from: Some(reference.name), cells })
}

/// Whose maximum decides the higher fixed rate, and what came of it.
struct Reference {
    name: String,
    rate: f64,
}

/// Half of what the baseline does at most on as many connections; of the first that can be loaded if there is no
/// baseline, which is said.
fn reference(
    setting: &Setting,
    plan: &Plan,
    rounds: u32,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Reference> {
    let pattern = Shape::MAXIMUM.pattern(0.0, None);
    let mut why = "there is no contender".to_owned();
    for contender in &plan.contenders {
        let entry = Entry { contender, markers: contender.has_markers.then_some(false) };
        let mut cell = entry.cell(pattern.clone());
        for round in 0..rounds {
            setting.round(entry, round, std::slice::from_mut(&mut cell), progress);
        }
        let mut rates: Vec<f64> = cell.runs.iter().map(|run| run.requests as f64 / run.seconds).collect();
        rates.sort_by(f64::total_cmp);
        let Some(median) = rates.get(rates.len() / 2).filter(|rate| **rate >= 1.0) else {
            let notes = cell.runs.into_iter().filter_map(|run| run.note);
            let causes: Vec<String> = cell.failures.into_iter().chain(notes).collect();
            let cause = if causes.is_empty() { "no request was answered".into() } else { causes.join("; ") };
            why = format!("{}: {cause}", contender.name());
            continue;
        };
        if contender.described.kind != Kind::Baseline {
            let what = "load: half of the baseline's maximum".to_owned();
            let reason =
                format!("no baseline could be loaded; the rate is half of the maximum of {}", contender.name());
            skipped.push(Skipped { what, reason });
        }
        return Ok(Reference { name: contender.name().to_owned(), rate: patterns::round(median / 2.0) });
    }
    Err(Error::failed("load", "anybody", why))
}

impl Setting {
    fn new(plan: &Plan, args: &Args) -> Result<Self> {
        let platform = Platform::new(Settings::default());
        Ok(Self {
            processors: Processors::split()?,
            requests: Requests::new(&platform),
            platform,
            warm_up: WARM_UP,
            length: args.load_seconds.unwrap_or(if plan.quick { LENGTH_QUICK } else { LENGTH }),
        })
    }

    /// One life of a contender: a run for each of these cells. What goes wrong is written into them.
    fn round(&self, entry: Entry<'_>, round: u32, cells: &mut [Cell], progress: &mut dyn Progress) {
        let server = Server::start(entry.contender, entry.markers, &self.processors.server, &self.platform);
        for cell in cells {
            let done = server.as_ref().map_err(Error::clone).and_then(|server| self.once(server, &cell.pattern));
            match done {
                Ok(run) => cell.runs.push(LoadRun { round, ..run }),
                Err(cause) => cell.failures.push(format!("round {round}: {cause}")),
            }
            progress.step(&format!("{}: {}", cell.name, cell.pattern));
        }
    }

    fn once(&self, server: &Server, pattern: &Pattern) -> Result<LoadRun> {
        let task = Task {
            request: self.requests.of(pattern),
            connections: pattern.connections as usize,
            reconnect: pattern.reconnect,
            rate: pattern.rate,
            warm_up: self.warm_up,
            length: self.length,
        };
        let outcome = client::run(server.address(), &task, &|| server.cpu())?;
        let run = outcome.counters.run();
        let server_cpu_us = outcome.server_cpu as f64 / 1e3 / run.requests.max(1) as f64;
        Ok(LoadRun { seconds: outcome.seconds, client_busy: outcome.client_busy, server_cpu_us, ..run })
    }
}

impl<'a> Entry<'a> {
    /// A contender with log markers takes part twice: off and on.
    fn of(contender: &'a Contender) -> Vec<Self> {
        let markers: &[Option<bool>] = if contender.has_markers { &[Some(false), Some(true)] } else { &[None] };
        markers.iter().map(|&markers| Self { contender, markers }).collect()
    }

    fn cell(&self, pattern: Pattern) -> Cell {
        let pattern = Pattern { markers: self.markers, ..pattern };
        Cell { name: self.contender.name().to_owned(), pattern, runs: Vec::new(), failures: Vec::new() }
    }
}

/// Keeps this thread on the client's processors while it lives.
struct Pinned(CpuSet);

impl Pinned {
    fn to(processors: &[usize]) -> Result<Self> {
        let before = sched_getaffinity(None).map_err(|cause| Error::failed("read", "the processors to use", cause))?;
        pin_self(processors)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // They were ours a moment ago; if they are not any more, what we have is all there is.
        let _ = sched_setaffinity(None, &self.0);
    }
}

fn parse_seconds(text: &str) -> std::result::Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(secs) if (0.1..=600.0).contains(&secs) => Ok(Duration::from_secs_f64(secs)),
        _ => Err("it must be a number of seconds, 0.1 to 600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_are_given_back() {
        let of_this_thread = || sched_getaffinity(None).unwrap();
        let before = of_this_thread();
        let client = Processors::split().unwrap().client;
        let pinned = Pinned::to(&client).unwrap();
        assert_eq!(of_this_thread().count(), 1);
        drop(pinned);
        assert_eq!(of_this_thread(), before);
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "NaN", "inf", "1000", "x", ""] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
