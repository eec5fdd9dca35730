//! Requests per second and latency.
//!
//! Rounds of short runs: in each round every contender, in shuffled order, is started once on a processor of its own
//! and then gets all patterns of load. A contender with log markers runs once without and once with them.
//!
//! The modules: `patterns` lists the loads, `server` starts the server, `client` is the event loop, `open` opens its
//! connections, `traffic` decides which connection sends when, by a `schedule` if the rate is fixed, `reply` recognises
//! a good reply, and `counters` counts. `counts` says what one request takes.

mod client;
mod counters;
mod counts;
mod open;
mod patterns;
mod reply;
mod schedule;
mod server;
mod traffic;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args as Arguments;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::patterns::{Request, Requests, Shape};
pub use self::server::Server;
use crate::harness::{Contender, Descriptors, Plan, Processors, Progress, pin_self, shuffled};
use crate::results::{Cell, Kind, Load, LoadRun, Pattern, RequestKind, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{DURATION, duration};
use fc_emulator::platform::{Platform, Settings};

/// Nanoseconds of a clock, or between two readings of it.
type Nanos = u64;

/// Many short runs instead of few long ones: a disturbance of some milliseconds changes one run and its 99th
/// percentile, but not the median of six. Three minutes allow six rounds.
const ROUNDS: u32 = 6;
const LENGTH: Duration = Duration::from_millis(250);
const LENGTH_QUICK: Duration = Duration::from_millis(300);

/// Some thousand requests, which is enough for servers without just-in-time compilation.
const WARM_UP: Duration = Duration::from_millis(50);

/// Options of the measure.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Rounds of the load [default: 6, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    load_rounds: Option<u32>,

    /// Length of each run under load, without its warm-up [default: 250ms, or 300ms with --quick]
    #[arg(long, value_name = DURATION, value_parser = run_length)]
    load_for: Option<Duration>,

    /// Run only the patterns with these numbers of connections, 1 to 1024 [default: 1,16,200,1024, or 16,200 with
    /// --quick]
    #[arg(long, visible_alias = "connections", value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = patterns::parse_connections)]
    load_connections: Vec<u32>,

    /// Do not count what one request takes: system calls, instructions, time in user space and in the kernel
    #[arg(long)]
    no_request_counts: bool,

    /// The requests of the load
    #[arg(long, value_name = "KIND", value_enum, default_value_t = RequestKind::Real)]
    requests: RequestKind,
}

/// One run of the client.
struct Task<'a> {
    request: &'a Request,
    connections: usize,
    reconnect: bool,
    rate: Option<f64>,
    warm_up: Duration,
    length: Duration,
}

/// Loads what listens at `address` with an event on kept connections, each request after a reply. `cpu` reads the clock
/// of the processor time that counts.
///
/// # Errors
/// If it could not be loaded at all, or if a request failed.
pub fn closed(
    address: SocketAddr,
    connections: usize,
    (warm_up, length): (Duration, Duration),
    cpu: &dyn Fn() -> Result<u64>,
) -> Result<LoadRun> {
    let pattern = Pattern { connections: connections as u32, reconnect: false, rate: None, markers: None };
    let requests = Requests::new(&Platform::new(Settings::default()), RequestKind::Real);
    let request = requests.of(&pattern);
    let outcome =
        client::run(address, &Task { request, connections, reconnect: false, rate: None, warm_up, length }, cpu)?;
    let run = outcome.counters.run();
    if let (true, Some(note)) = (run.errors + run.unanswered > 0, &run.note) {
        return Err(Error::new(note));
    }
    let server_cpu_us = outcome.server_cpu as f64 / 1e3 / run.requests.max(1) as f64;
    Ok(LoadRun { seconds: outcome.seconds, client_busy: outcome.client_busy, server_cpu_us, ..run })
}

/// A contender and its setting of log markers.
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

/// Measures all contenders. `skipped` receives everything that cannot be measured.
///
/// # Errors
/// If nothing at all can be measured.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Load> {
    let setting = Setting::new(plan, args)?;
    let _pinned = Pinned::to(&setting.processors.client)?;
    let rounds = args.load_rounds.unwrap_or(if plan.quick { 1 } else { ROUNDS });
    let mut shapes = patterns::shapes(plan.quick, &args.load_connections);
    // Servers inherit the limit, and need a descriptor for each connection, too.
    let most = shapes.iter().map(|shape| u64::from(shape.connections)).max();
    let descriptors = Descriptors::for_more(most.unwrap_or_default());
    let mut why = "no number of connections is asked for".to_owned();
    shapes.retain(|shape| {
        let Some(reason) = descriptors.lacks_room(shape.connections) else { return true };
        why.clone_from(&reason);
        let missing = Skipped { what: format!("load on {} connections", shape.connections), reason };
        if !skipped.contains(&missing) {
            skipped.push(missing);
        }
        false
    });
    if shapes.is_empty() {
        return Err(Error::failed("load", "any contender", why));
    }
    let entries: Vec<Entry<'_>> = plan.contenders.iter().flat_map(Entry::of).collect();
    let runs = entries.len() * shapes.len();
    let has_half = shapes.iter().any(Shape::is_half);
    progress.begin("load", u64::from(rounds) * (u64::from(has_half) + runs as u64));

    let reference = has_half.then(|| reference(&setting, plan, rounds, progress, skipped)).transpose()?;
    let half = reference.as_ref().map_or(0.0, |reference| reference.rate);
    let mut cells: Vec<Cell> = Vec::with_capacity(runs);
    for entry in &entries {
        cells.extend(shapes.iter().map(|shape| entry.cell(shape.pattern(half, entry.markers))));
    }
    for round in 0..rounds {
        for number in shuffled(entries.len(), plan.seed, round) {
            let cells = &mut cells[number * shapes.len()..][..shapes.len()];
            setting.round(entries[number], round, cells, progress);
        }
    }
    if cells.iter().all(|cell| cell.runs.is_empty()) {
        let first = cells.iter().flat_map(|cell| &cell.failures).next();
        return Err(Error::failed("load", "any contender", first.map_or("there are no contenders", String::as_str)));
    }
    let counts = match args.no_request_counts {
        true => Vec::new(),
        false => counts::measure(plan, &setting, (args.load_rounds, args.load_for), progress, skipped),
    };
    let Processors { client, server } = setting.processors;
    Ok(Load {
        client_processors: client,
        server_processors: server,
        requests: args.requests,
        rate_from: reference.map(|reference| reference.name),
        cells,
        counts,
    })
}

/// The contender whose maximum decides the higher fixed rate, and that maximum.
struct Reference {
    name: String,
    rate: f64,
}

/// Half of the baseline's maximum on as many connections. Without a baseline it is half of the maximum of the first
/// contender that can be loaded, and the results say so.
fn reference(
    setting: &Setting,
    plan: &Plan,
    rounds: u32,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Reference> {
    let pattern = Shape::MAXIMUM.pattern(0.0, None);
    let mut why = "there are no contenders".to_owned();
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
    Err(Error::failed("load", "any contender", why))
}

impl Setting {
    fn new(plan: &Plan, args: &Args) -> Result<Self> {
        let platform = Platform::new(Settings::default());
        Ok(Self {
            processors: Processors::split()?,
            requests: Requests::new(&platform, args.requests),
            platform,
            warm_up: WARM_UP,
            length: args.load_for.unwrap_or(if plan.quick { LENGTH_QUICK } else { LENGTH }),
        })
    }

    /// Starts a contender and runs these cells on it. Failures are written into the cells.
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
    /// A contender with log markers takes part twice: with markers off and on.
    fn of(contender: &'a Contender) -> Vec<Self> {
        let markers: &[Option<bool>] = if contender.has_markers { &[Some(false), Some(true)] } else { &[None] };
        markers.iter().map(|&markers| Self { contender, markers }).collect()
    }

    fn cell(&self, pattern: Pattern) -> Cell {
        let pattern = Pattern { markers: self.markers, ..pattern };
        Cell { name: self.contender.name().to_owned(), pattern, runs: Vec::new(), failures: Vec::new() }
    }
}

/// Keeps this thread on the client's processors until it is dropped.
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
        // The thread had these processors before. If they are gone, it keeps the present ones.
        let _ = sched_setaffinity(None, &self.0);
    }
}

fn run_length(text: &str) -> std::result::Result<Duration, String> {
    let length = duration(text)?;
    let is_usable = (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&length);
    is_usable.then_some(length).ok_or_else(|| "expected 100ms to 10m".to_owned())
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
        assert_eq!(run_length("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["0s", "-1s", "0.25", "99ms", "11m", "x", ""] {
            assert!(run_length(wrong).is_err(), "{wrong}");
        }
    }
}
