//! Payloads: events of several sizes, each answered with its own bytes.
//!
//! Rounds of short runs: in each round every server that echoes, in shuffled order, is started on a processor of its
//! own and gets all sizes, one call at a time on one connection. Memory is that of fresh processes, because the first
//! large body decides how much a process keeps, and system calls are counted by strace.

mod client;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args as Arguments;
use hdrhistogram::Histogram;
use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};

use self::client::{Conn, Event, Pattern};
use crate::harness::{Echo, Pinned, Plan, Processors, Progress, distinct, micros, now, shuffled, strace};
use crate::load::Server;
use crate::results::{Echoing, Payload, PayloadCell, PayloadMemory, PayloadRun, Skipped};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::platform::{Platform, Settings};
use fc_testkit::proc::{Faults, peak_kb};

const KB: usize = 1024;
const MB: usize = 1024 * KB;

/// Sizes of events: a small one, what one of the platform's asynchronous calls takes, what one takes that waits for its
/// reply (6 MB), and the largest of an HTTP call (32 MB).
const SIZES: [usize; 5] = [KB, 100 * KB, MB, 6 * MB, 32 * MB];

/// The ends and the middle, for a first look.
const SIZES_QUICK: [usize; 3] = [KB, MB, 32 * MB];

const ROUNDS: u32 = 8;
const ROUNDS_QUICK: u32 = 2;

/// Of each run, which has at least [`CALLS_MIN`] calls.
const LENGTH: Duration = Duration::from_millis(150);
const LENGTH_QUICK: Duration = Duration::from_millis(60);
const WARM_UP: Duration = Duration::from_millis(20);
const CALLS_MIN: u64 = 3;

/// Fresh processes for the memory of each size.
const FRESH: u32 = 3;
const FRESH_QUICK: u32 = 1;

/// Calls of each size whose system calls are counted. An attached strace interrupts one wait, which a few calls hide.
const COUNTED: u32 = 10;

/// The time limit of one call.
const CALL_WAIT: Duration = Duration::from_secs(60);

/// Longer than [`CALL_WAIT`], in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// The precision of buckets.
const DIGITS: u8 = 2;

/// Options of the measure.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Rounds of the payloads [default: 8, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    payload_rounds: Option<u32>,

    /// Bytes of each payload, such as 1kB,6MB; a kB has 1,024 bytes [default: 1kB,100kB,1MB,6MB,32MB, or
    /// 1kB,1MB,32MB with --quick]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = size)]
    payload_sizes: Vec<usize>,
}

/// What all runs have in common.
struct Setting {
    processors: Processors,
    platform: Platform,
    pattern: Pattern,
    events: Vec<Event>,
    length: Duration,
    fresh: u32,
    has_strace: bool,
}

/// Measures all servers that echo. `skipped` receives everything that cannot be measured.
///
/// # Errors
/// If nothing at all can be measured.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Payload> {
    let chosen = distinct(&args.payload_sizes);
    let sizes = match (&chosen[..], plan.quick) {
        ([], true) => &SIZES_QUICK[..],
        ([], false) => &SIZES,
        (chosen, _) => chosen,
    };
    let setting = Setting::new(plan.quick, sizes)?;
    if !setting.has_strace {
        let reason = "strace is not installed (Debian: strace)".to_owned();
        skipped.push(Skipped { what: "system calls of payloads".to_owned(), reason });
    }
    let _pinned = Pinned::to(&setting.processors.client)?;
    let rounds = args.payload_rounds.unwrap_or(if plan.quick { ROUNDS_QUICK } else { ROUNDS });
    let echoes = &plan.echoes;
    progress.begin("payload", u64::from(rounds + 1) * echoes.len() as u64);
    let cell = |echo: &Echo, size| PayloadCell {
        name: echo.contender.name().to_owned(),
        body_bytes: size,
        ..Default::default()
    };
    let mut cells: Vec<PayloadCell> =
        echoes.iter().flat_map(|echo| sizes.iter().map(move |size| cell(echo, *size as u64))).collect();
    for round in 0..rounds {
        for number in shuffled(echoes.len(), plan.seed, round) {
            setting.round(&echoes[number], round, &mut cells[number * sizes.len()..][..sizes.len()]);
            progress.step(&format!("{}, round {round}", echoes[number].contender.name()));
        }
    }
    for (number, echo) in echoes.iter().enumerate() {
        setting.once(echo, &mut cells[number * sizes.len()..][..sizes.len()]);
        progress.step(&format!("{}: memory, system calls", echo.contender.name()));
    }
    if cells.iter().all(|cell| cell.runs.is_empty()) {
        let first = cells.iter().flat_map(|cell| &cell.failures).next();
        let first = first.map_or("there is no server that echoes; `make bench-targets` builds them", String::as_str);
        return Err(Error::failed("measure", "any payload", first));
    }
    let Processors { client, server } = setting.processors;
    let echoing = |echo: &Echo| Echoing {
        described: echo.contender.described.clone(),
        of: echo.of.clone(),
        streams: echo.streams,
    };
    Ok(Payload {
        client_processors: client,
        server_processors: server,
        echoes: echoes.iter().map(echoing).collect(),
        cells,
    })
}

impl Setting {
    fn new(quick: bool, sizes: &[usize]) -> Result<Self> {
        let platform = Platform::new(Settings::default());
        let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(Self {
            processors: Processors::split()?,
            events: sizes.iter().map(|size| Event::new(&platform, *size)).collect(),
            platform,
            pattern: Pattern::default(),
            length: if quick { LENGTH_QUICK } else { LENGTH },
            fresh: if quick { FRESH_QUICK } else { FRESH },
            has_strace: strace.is_ok_and(|status| status.success()),
        })
    }

    fn start(&self, echo: &Echo) -> Result<(Server, Conn)> {
        let markers = echo.contender.has_markers.then_some(false);
        let server = Server::start(&echo.contender, markers, &self.processors.server, &self.platform)?;
        let conn = Conn::open(server.address(), CALL_WAIT)?;
        Ok((server, conn))
    }

    fn call(&self, conn: &mut Conn, event: &Event) -> Result<f64> {
        conn.call(event, &self.pattern, Deadline::after(CALL_WAIT))
    }

    /// Starts a server and sends all sizes. Failures are written into the cells; after one, the connection is not used
    /// again.
    fn round(&self, echo: &Echo, round: u32, cells: &mut [PayloadCell]) {
        let mut started = self.start(echo);
        for (event, cell) in self.events.iter().zip(cells) {
            let run = match &mut started {
                Ok((server, conn)) => self.timed(server, conn, event),
                Err(cause) => Err(cause.clone()),
            };
            match run {
                Ok(run) => cell.runs.push(PayloadRun { round, ..run }),
                Err(cause) => {
                    cell.failures.push(format!("round {round}: {cause}"));
                    if let Ok((server, conn)) = &mut started
                        && let Ok(fresh) = Conn::open(server.address(), CALL_WAIT)
                    {
                        *conn = fresh;
                    }
                }
            }
        }
    }

    fn timed(&self, server: &Server, conn: &mut Conn, event: &Event) -> Result<PayloadRun> {
        let clock = Instant::now();
        while clock.elapsed() < WARM_UP {
            self.call(conn, event)?;
        }
        let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST, DIGITS)
            .map_err(|cause| Error::failed("make", "a histogram", cause))?;
        let mut exact = Vec::new();
        let (cpu, ticks, client) = (server.cpu()?, ticks(server)?, clock_gettime(ClockId::ThreadCPUTime));
        let began = now();
        let clock = Instant::now();
        while clock.elapsed() < self.length || times.len() < CALLS_MIN {
            let us = self.call(conn, event)?;
            times.saturating_record((us * 1e3) as u64);
            exact.push(us);
        }
        let wall = micros(began, now());
        let client_busy = micros(client, clock_gettime(ClockId::ThreadCPUTime)) / wall;
        let (cpu, after) = (server.cpu()? - cpu, self::ticks(server)?);
        exact.sort_unstable_by(f64::total_cmp);
        let percentile = |share: f64| exact[(((exact.len() as f64 * share).ceil() as usize).max(1)) - 1];
        Ok(PayloadRun {
            round: 0,
            calls: times.len(),
            time_us: times
                .iter_recorded()
                .map(|it| (it.value_iterated_to() as f64 / 1e3, it.count_at_value()))
                .collect(),
            percentiles_us: [percentile(0.5), percentile(0.9), percentile(1.0)],
            client_busy,
            server_cpu_us: cpu as f64 / 1e3 / times.len() as f64,
            user_us: after.0 - ticks.0,
            system_us: after.1 - ticks.1,
        })
    }

    /// What needs no rounds: memory, each on a fresh process, and system calls.
    fn once(&self, echo: &Echo, cells: &mut [PayloadCell]) {
        for (event, cell) in self.events.iter().zip(&mut *cells) {
            for _ in 0..self.fresh {
                match self.start(echo).and_then(|(server, mut conn)| self.memory(&server, &mut conn, event)) {
                    Ok(memory) => cell.memory.push(memory),
                    Err(cause) => cell.failures.push(format!("memory: {cause}")),
                }
            }
        }
        if !self.has_strace {
            return;
        }
        let mut started = self.start(echo);
        for (event, cell) in self.events.iter().zip(cells) {
            let counted = started.as_mut().map_err(|cause| cause.clone()).and_then(|(server, conn)| {
                self.call(conn, event)?;
                strace::system_calls(server.pid(), COUNTED, || self.call(conn, event).map(drop))
            });
            match counted {
                Ok(calls) => cell.system_calls = calls,
                Err(cause) => cell.failures.push(format!("system calls: {cause}")),
            }
        }
    }

    fn memory(&self, server: &Server, conn: &mut Conn, event: &Event) -> Result<PayloadMemory> {
        let failed = |cause| Error::failed("read", "the server's memory", cause);
        let pid = server.pid();
        // 5 forgets the most so far (proc_pid_clear_refs(5)). Where that is forbidden, it is what the start took.
        let _ = std::fs::write(Path::new(&format!("/proc/{pid}/clear_refs")), "5");
        let (idle_kb, before) = (peak_kb(pid).map_err(failed)?, Faults::of(pid).map_err(failed)?);
        self.call(conn, event)?;
        let faults = Faults::of(pid).map_err(failed)?.since(before);
        Ok(PayloadMemory { idle_kb, peak_kb: peak_kb(pid).map_err(failed)?, minor_faults: faults.minor })
    }
}

/// User and system time of a server so far, in microseconds.
fn ticks(server: &Server) -> Result<(f64, f64)> {
    let stat = Process::new(server.pid().cast_signed()).and_then(|process| process.stat());
    let stat = stat.map_err(|cause| Error::failed("read", "the server's processor time", cause))?;
    let micros = |ticks: u64| ticks as f64 * 1e6 / procfs::ticks_per_second() as f64;
    Ok((micros(stat.utime), micros(stat.stime)))
}

/// Bytes, such as `100kB`.
fn size(text: &str) -> std::result::Result<usize, String> {
    let (number, unit) = match (text.strip_suffix("kB"), text.strip_suffix("MB")) {
        (Some(number), _) => (number, KB),
        (_, Some(number)) => (number, MB),
        _ => (text, 1),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    let is_usable = |bytes: &usize| (1..=32 * MB).contains(bytes);
    bytes.filter(is_usable).ok_or_else(|| "expected a size such as 1000, 100kB or 6MB, and at most 32MB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_a_limit() {
        for (text, bytes) in [("1", 1), ("1kB", 1_024), ("100kB", 102_400), ("32MB", 33_554_432)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for wrong in ["", "0", "kB", "1 MB", "33MB", "-1", "1GB", "18446744073709551615MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
