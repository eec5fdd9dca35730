//! Figures of payloads: one block for each size.

use super::{CLIENT_BUSY_MAX, ContenderInfo, median, sorted};
use crate::results::{Echoing, Kind, Payload, PayloadCell, PayloadRun, Results};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

/// The server that stands for the project: the function of ten lines that hands the event back.
pub const OURS: &str = "echo";

/// The server of another kind that it is compared with: it reads all before it answers, too.
pub const COLLECTS: &str = "hyper_collect";

/// A megabyte.
const MB: f64 = 1_048_576.0;

/// Page granularity, and what the kernel counts later than it happens, hide what a smaller body takes.
const PEAK_BYTES_MIN: u64 = 1 << 20;

/// All servers with events of one size.
#[derive(Clone, Debug)]
pub struct PayloadFigures<'a> {
    /// The length of the body in each direction.
    pub body_bytes: u64,
    /// The client was busy in at least one round, so the ratios that count are those of processor time.
    pub client_limits: bool,
    /// The largest share of its processor's time that the client used.
    pub client_busy: Option<f64>,
    /// The baseline first.
    pub rows: Vec<PayloadRow<'a>>,
}

/// One server with events of one size. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct PayloadRow<'a> {
    /// The server.
    pub contender: ContenderInfo<'a>,
    /// The contender that it belongs to.
    pub of: &'a str,
    /// Whether it answers while it still reads.
    pub streams: bool,
    /// The medians of the rounds.
    pub time: Sorted,
    /// The median of the rounds' 90th percentiles.
    pub p90_us: Option<f64>,
    /// The longest call of all rounds.
    pub longest_us: Option<f64>,
    /// The time, as a ratio to the baseline's.
    pub ratio: Option<Estimate>,
    /// The time of the project's own echo, as a ratio to this one's. Not of its own.
    pub ours: Option<Estimate>,
    /// The same of processor time.
    pub ours_cpu: Option<Estimate>,
    /// The median processor time of a call.
    pub cpu_us: Option<f64>,
    /// The same for each megabyte of the body.
    pub cpu_us_per_mb: Option<f64>,
    /// The share of user time in it, over all rounds.
    pub user: Option<f64>,
    /// What the memory grew by, divided by the body's length. Not of small bodies.
    pub peak: Option<f64>,
    /// Page faults of the first call.
    pub faults: Option<f64>,
    /// System calls for one call.
    pub calls: Option<f64>,
    /// What could not be measured, and why.
    pub failures: &'a [String],
}

/// Every size, in the order of the run.
pub fn payloads(results: &Results) -> Vec<PayloadFigures<'_>> {
    let Some(payload) = &results.payload else { return Vec::new() };
    let mut sizes: Vec<u64> = Vec::new();
    for cell in &payload.cells {
        if !sizes.contains(&cell.body_bytes) {
            sizes.push(cell.body_bytes);
        }
    }
    sizes.into_iter().map(|size| block(payload, size)).collect()
}

fn block(payload: &Payload, body_bytes: u64) -> PayloadFigures<'_> {
    let cells: Vec<&PayloadCell> = payload.cells.iter().filter(|cell| cell.body_bytes == body_bytes).collect();
    let of = |name: &str| cells.iter().find(|cell| cell.name == name).copied();
    let described = |cell: &PayloadCell| payload.echoes.iter().find(|echo| echo.described.name == cell.name);
    let is_baseline = |cell: &PayloadCell| described(cell).is_some_and(|echo| echo.described.kind == Kind::Baseline);
    let baseline = cells.iter().copied().find(|cell| is_baseline(cell));
    let mut rows: Vec<PayloadRow> = cells.iter().map(|cell| row(described(cell), cell, baseline, of(OURS))).collect();
    rows.sort_by_key(|row| row.contender.kind != Kind::Baseline);
    let client_busy = Sorted::new(cells.iter().flat_map(|cell| &cell.runs).map(|run| run.client_busy)).largest();
    let client_limits = client_busy.is_some_and(|busy| busy > CLIENT_BUSY_MAX);
    PayloadFigures { body_bytes, client_limits, client_busy, rows }
}

fn row<'a>(
    echo: Option<&'a Echoing>,
    cell: &'a PayloadCell,
    baseline: Option<&PayloadCell>,
    ours: Option<&PayloadCell>,
) -> PayloadRow<'a> {
    let contender = match echo.map(|echo| &echo.described) {
        Some(it) => ContenderInfo { name: &it.name, label: &it.label, kind: it.kind, binary_bytes: it.binary_bytes },
        None => ContenderInfo { name: &cell.name, label: &cell.name, kind: Kind::Custom, binary_bytes: None },
    };
    let (runs, bytes) = (&cell.runs, cell.body_bytes as f64);
    let own = by_round(cell, time);
    let ours = ours.filter(|ours| ours.name != cell.name);
    let cpu_us = median(runs.iter().map(cpu));
    let (user, system): (f64, f64) =
        (runs.iter().map(|run| run.user_us).sum(), runs.iter().map(|run| run.system_us).sum());
    let growth = |kb: u64| kb as f64 * 1024.0 / bytes;
    let peaks = cell.memory.iter().map(|memory| growth(memory.peak_kb.saturating_sub(memory.idle_kb)));
    PayloadRow {
        contender,
        of: echo.map_or("", |echo| &echo.of),
        streams: echo.is_some_and(|echo| echo.streams),
        time: sorted(&own),
        p90_us: median(runs.iter().map(|run| run.percentiles_us[1])),
        longest_us: Sorted::new(runs.iter().map(|run| run.percentiles_us[2])).largest(),
        ratio: baseline.and_then(|baseline| ratio(&own, &by_round(baseline, time))),
        ours: ours.and_then(|ours| ratio(&by_round(ours, time), &own)),
        ours_cpu: ours.and_then(|ours| ratio(&by_round(ours, cpu), &by_round(cell, cpu))),
        cpu_us,
        cpu_us_per_mb: cpu_us.map(|us| us * MB / bytes),
        user: (user + system > 0.0).then(|| user / (user + system)),
        peak: median(peaks).filter(|_| cell.body_bytes >= PEAK_BYTES_MIN),
        faults: median(cell.memory.iter().map(|memory| memory.minor_faults as f64)),
        calls: (!cell.system_calls.is_empty()).then(|| cell.system_calls.iter().map(|(_, calls)| calls).sum()),
        failures: &cell.failures,
    }
}

fn time(run: &PayloadRun) -> f64 {
    run.percentiles_us[0]
}

fn cpu(run: &PayloadRun) -> f64 {
    run.server_cpu_us
}

fn by_round(cell: &PayloadCell, value: fn(&PayloadRun) -> f64) -> Vec<InRound> {
    cell.runs.iter().map(|run| (run.round, value(run))).collect()
}
