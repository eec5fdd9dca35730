//! Proxies before one program: processor time, requests per second, added time, system calls, memory.
//!
//! The program behind is the minimal server of `bench/peers/baseline`, so that the proxy is the thing that is measured.
//! Client and program share a processor, and the proxy has one of its own; without a proxy, client and program are
//! where they are behind one. `peers` knows the proxies, `stage` runs one, `once` counts what needs no rounds, and
//! `program` is the other program, for bodies and streams.

mod once;
mod peers;
pub mod program;
mod stage;

use std::path::Path;
use std::time::Duration;

use clap::Args as Arguments;

use self::peers::{Proxy, Role};
use self::stage::Stage;
use crate::harness::{BODY, Pinned, Processors, Progress, shuffled};
use crate::load;
use crate::results::{Proxies, ProxyRow, ProxyRun, Results, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::platform::{Caller, Platform, Request, Settings};

const ROUNDS: u32 = 9;
const ROUNDS_QUICK: u32 = 2;
const CONNECTIONS: usize = 16;

/// Starts in a round, of which the median counts.
const STARTS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(100);
const LENGTH: Duration = Duration::from_millis(500);

/// What the target of memory is stated for.
const BODY_BYTES: u64 = 32 << 20;

/// Many streams, each half read. The kernel's buffers can hold the other half: a thousand times more would be more than
/// the kernel gives to all connections together, and it would slow down every one of them.
const STREAMS: (u32, u64) = (1_000, 2 << 20);
const STREAMS_QUICK: (u32, u64) = (100, 2 << 20);

/// Fewer streams, each longer than what the kernel can hold of it: only the proxy can still stop the program.
const LONG_STREAMS: (u32, u64) = (200, 32 << 20);
const LONG_STREAMS_QUICK: (u32, u64) = (50, 32 << 20);
const STALLED_AT: u64 = 1 << 20;
const IDLE: Duration = Duration::from_secs(5);
const IDLE_QUICK: Duration = Duration::from_secs(1);

/// Options of the measure.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Rounds of the load [default: 9, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    proxy_rounds: Option<u32>,
}

/// What all runs have in common.
struct Setting {
    processors: Processors,
    event: Request,
    /// The command of the minimal server.
    program: Vec<String>,
    /// The command of the program for bodies and streams.
    streamer: Vec<String>,
    quick: bool,
}

/// Measures all proxies that are there, and describes them in `results`.
///
/// # Errors
/// If the minimal server is missing, a chosen name is unknown, or nothing could be measured.
pub fn run(
    (root, only, quick, seed): (&Path, &[String], bool, u64),
    args: &Args,
    progress: &mut dyn Progress,
    results: &mut Results,
) -> Result<()> {
    let baseline = root.join("target/peers/baseline");
    let (mut proxies, mut skipped) = peers::find(root, &baseline);
    choose(only, &mut proxies, &mut skipped)?;
    if !baseline.is_file() {
        return Err(Error::new("the program behind the proxies is missing; `bench/peers/build baseline` builds it"));
    }
    let own = std::env::current_exe().map_err(|cause| Error::failed("find", "this program", cause))?;
    let platform = Platform::new(Settings::default());
    let headers = [("Content-Type", "application/octet-stream")];
    let setting = Setting {
        processors: Processors::split()?,
        event: platform.request(Caller::Event, "POST", "/invoke", &headers, BODY.as_bytes().to_vec()),
        program: vec![baseline.display().to_string()],
        streamer: vec![own.display().to_string(), "program".to_owned()],
        quick,
    };
    let _pinned = Pinned::to(&setting.processors.client)?;
    let rounds = args.proxy_rounds.unwrap_or(if quick { ROUNDS_QUICK } else { ROUNDS });
    progress.begin("proxy", (u64::from(rounds) + 1) * proxies.len() as u64);
    let row = |proxy: &Proxy| ProxyRow { name: proxy.described.name.clone(), ..ProxyRow::default() };
    let mut rows: Vec<ProxyRow> = proxies.iter().map(row).collect();
    for round in 0..rounds {
        for number in shuffled(proxies.len(), seed, round) {
            let done = setting.round(&proxies[number], round, &mut rows[number]);
            done.unwrap_or_else(|cause| rows[number].failures.push(format!("round {round}: {cause}")));
            progress.step(&format!("{}, round {round}", rows[number].name));
        }
    }
    for (proxy, row) in proxies.iter().zip(&mut rows) {
        setting.once(proxy, row);
        progress.step(&format!("{}: memory, system calls, streams", row.name));
    }
    if let (true, Some(first)) =
        (rows.iter().all(|it| it.runs.is_empty()), rows.iter().find_map(|it| it.failures.first()))
    {
        return Err(Error::failed("measure", "any proxy", first));
    }
    results.contenders = proxies.into_iter().map(|it| it.described).collect();
    for row in &rows {
        skipped.extend(row.failures.iter().map(|reason| Skipped { what: row.name.clone(), reason: reason.clone() }));
    }
    results.skipped = skipped;
    results.proxy = Some(Proxies {
        client_processors: setting.processors.client,
        proxy_processors: setting.processors.server,
        idle_secs: if quick { IDLE_QUICK } else { IDLE }.as_secs_f64(),
        body_bytes: BODY_BYTES,
        streams: if quick { STREAMS_QUICK } else { STREAMS },
        long_streams: if quick { LONG_STREAMS_QUICK } else { LONG_STREAMS },
        stalled_at_bytes: STALLED_AT,
        rows,
    });
    Ok(())
}

/// Keeps the chosen proxies, and the program alone, from which added times count.
fn choose(only: &[String], proxies: &mut Vec<Proxy>, skipped: &mut Vec<Skipped>) -> Result<()> {
    let known = |name: &String| {
        proxies.iter().any(|it| it.described.name == *name) || skipped.iter().any(|it| it.what == *name)
    };
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let all: Vec<&str> = proxies.iter().map(|it| it.described.name.as_str()).collect();
        return Err(Error::new(format!("unknown proxy `{unknown}`; known are {}", all.join(", "))));
    }
    if !only.is_empty() {
        proxies.retain(|it| it.role == Role::Direct || only.contains(&it.described.name));
        skipped.retain(|it| only.contains(&it.what));
    }
    Ok(())
}

impl Setting {
    fn round(&self, proxy: &Proxy, round: u32, row: &mut ProxyRow) -> Result<()> {
        // What was started before the proxy is warm, so its time to the first reply says nothing.
        if !matches!(proxy.role, Role::Connects | Role::Relays) {
            let first = || Stage::start(proxy, &self.program, &self.processors)?.first_reply(&self.event);
            let mut starts = (0..STARTS).map(|_| first()).collect::<Result<Vec<f64>>>()?;
            starts.sort_unstable_by(f64::total_cmp);
            row.starts_us.push((round, starts[starts.len() / 2]));
        }
        if proxy.role == Role::ForkExec {
            return Ok(());
        }
        let stage = Stage::start(proxy, &self.program, &self.processors)?;
        stage.first_reply(&self.event)?;
        stage.settle(&self.processors)?;
        let cpu = || stage.cpu();
        let one = load::closed(stage.address(), 1, (WARM_UP, LENGTH), &cpu)?;
        let many = load::closed(stage.address(), CONNECTIONS, (WARM_UP, LENGTH), &cpu)?;
        row.runs.push(ProxyRun {
            round,
            per_second: many.requests as f64 / many.seconds,
            cpu_us: many.server_cpu_us,
            one_us: one.percentiles_us[0],
        });
        Ok(())
    }

    /// What needs no rounds: each figure on a fresh proxy. Without a proxy there is nothing to count.
    fn once(&self, proxy: &Proxy, row: &mut ProxyRow) {
        if matches!(proxy.role, Role::Direct | Role::ForkExec) {
            return;
        }
        let mut failures = Vec::new();
        let mut note = |what: &str, cause: Error| failures.push(format!("{what}: {cause}"));
        let start = |program: &[String]| {
            let stage = Stage::start(proxy, program, &self.processors)?;
            stage.first_reply(&self.event)?;
            stage.settle(&self.processors)?;
            Ok(stage)
        };
        match start(&self.program).and_then(|stage| {
            row.resident_kb = Some(once::resident_kb(&stage)?);
            row.system_calls = once::system_calls(&stage, &self.event)?;
            Ok(())
        }) {
            Ok(()) => {}
            Err(cause) => note("system calls", cause),
        }
        if proxy.role == Role::Relays {
            row.failures.extend(failures);
            return;
        }
        let idle = if self.quick { IDLE_QUICK } else { IDLE };
        match start(&self.program).and_then(|stage| once::idle_switches(&stage, &self.event, idle)) {
            Ok(count) => row.idle_switches = Some(count),
            Err(cause) => note("idle time", cause),
        }
        match start(&self.program).and_then(|stage| once::request_body(&stage, BODY_BYTES)) {
            Ok(peak) => row.request_body_peak_kb = Some(peak),
            Err(cause) => note("a body to the program", cause),
        }
        match start(&self.streamer).and_then(|stage| once::reply_body(&stage, BODY_BYTES)) {
            Ok(peak) => row.reply_body_peak_kb = Some(peak),
            Err(cause) => note("a body from the program", cause),
        }
        let streams = if self.quick { STREAMS_QUICK } else { STREAMS };
        match start(&self.streamer).and_then(|stage| once::stalled(&stage, &self.event, streams, STALLED_AT)) {
            Ok(stalled) => {
                row.stalled_kb = Some(stalled.resident_kb);
                row.unharmed_us = Some(stalled.before);
                row.healthy_us = Some(stalled.beside);
            }
            Err(cause) => note("streams that stand still", cause),
        }
        let long = if self.quick { LONG_STREAMS_QUICK } else { LONG_STREAMS };
        match start(&self.streamer).and_then(|stage| once::stalled(&stage, &self.event, long, STALLED_AT)) {
            Ok(stalled) => row.long_stalled_kb = Some(stalled.resident_kb),
            Err(cause) => note("long streams that stand still", cause),
        }
        row.failures.extend(failures);
    }
}
