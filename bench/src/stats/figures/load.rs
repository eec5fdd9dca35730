//! Figures of load: one block for each pattern, so that only equal patterns are compared.

use std::fmt;

use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{Cell, LoadRun, Pattern, Results};
use crate::stats::histogram::Histogram;
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.connections == 1 { "" } else { "s" };
        write!(f, "{} connection{s}", self.connections)?;
        match (self.rate, self.reconnect) {
            (Some(rate), _) => write!(f, ", {rate:.0} requests/s by the clock")?,
            (None, false) => write!(f, ", kept alive")?,
            (None, true) => {}
        }
        f.write_str(if self.reconnect { ", a new one for each request" } else { "" })
    }
}

/// All contenders under one pattern.
#[derive(Clone, Debug)]
pub struct LoadBlock<'a> {
    /// The pattern, apart from log markers: rows can differ in them.
    pub pattern: Pattern,
    /// The client was busy in at least one round, so ratios are those of the servers' processor time.
    pub client_limits: bool,
    /// The baseline first.
    pub rows: Vec<LoadFigures<'a>>,
}

/// One contender under one pattern.
#[derive(Clone, Debug)]
pub struct LoadFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// Whether it wrote log markers; `None` if it has none.
    pub markers: Option<bool>,
    /// Requests per second, of each round.
    pub per_second: Sorted,
    /// The same with their rounds, for pairs.
    pub by_round: Vec<InRound>,
    /// Requests per second, as a ratio to the baseline's. Where the client limits, requests for each second of the
    /// server's processor.
    pub ratio: Option<Estimate>,
    /// Latencies of all rounds.
    pub latency: Histogram,
    /// 50, 90, 99, 99.9, largest: of the merged histogram, or without one the medians of the rounds' percentiles.
    pub percentiles_us: [Option<f64>; 5],
    /// The 99th percentile, as a ratio to the baseline's.
    pub p99_ratio: Option<Estimate>,
    /// The share of the due requests that were answered, at a fixed rate.
    pub kept: Option<f64>,
    /// The server's processor time for each request, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// The share of its processor's time that the client used; the largest of all rounds.
    pub client_busy: Option<f64>,
    /// Requests that failed, in all rounds.
    pub errors: u64,
    /// Requests that were neither answered nor failed when their run ended, in all rounds.
    pub unanswered: u64,
    /// Rounds in which nothing was answered although nothing failed.
    pub idle: usize,
    /// How late the client was, as a share of the 99th percentile; the largest of all rounds.
    pub client_late: Option<f64>,
    /// The notes of the rounds about what went wrong.
    pub notes: Vec<&'a str>,
    /// Runs that failed, and why.
    pub failures: &'a [String],
}

/// A client that is busy for a larger share of its processor's time may be what limits the servers.
pub const CLIENT_BUSY_MAX: f64 = 0.7;

/// At a fixed rate, a server that answers less than this share of the due requests has no steady latency.
const KEPT_MIN: f64 = 0.98;

impl LoadFigures<'_> {
    /// Whether it did not keep up with a fixed rate.
    pub fn fell_behind(&self) -> bool {
        self.kept.is_some_and(|kept| kept < KEPT_MIN)
    }

    /// The short name, with the markers if rows differ in them.
    pub fn name(&self) -> String {
        let more = if self.markers == Some(true) { "+markers" } else { "" };
        format!("{}{more}", self.contender.name)
    }

    /// The name in reports, with the markers if rows differ in them.
    pub fn title(&self) -> String {
        match self.markers {
            Some(true) => format!("{}, markers on", self.contender.label),
            Some(false) => format!("{}, markers off", self.contender.label),
            None => self.contender.label.to_owned(),
        }
    }
}

/// Every pattern, in the order in which they first appear.
pub fn load(results: &Results) -> Vec<LoadBlock<'_>> {
    let cells = results.load.as_ref().map_or(&[][..], |load| &load.cells);
    let mut patterns: Vec<Pattern> = Vec::new();
    for cell in cells {
        let pattern = Pattern { markers: None, ..cell.pattern.clone() };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns.into_iter().map(|pattern| block(results, cells, pattern)).collect()
}

fn block<'a>(results: &'a Results, cells: &'a [Cell], pattern: Pattern) -> LoadBlock<'a> {
    let mine: Vec<&Cell> =
        cells.iter().filter(|cell| Pattern { markers: None, ..cell.pattern.clone() } == pattern).collect();
    let to = mine.iter().find(|cell| Some(cell.name.as_str()) == baseline(results));
    let mut runs = mine.iter().flat_map(|cell| &cell.runs);
    let client_limits = pattern.rate.is_none() && runs.any(|run| run.client_busy > CLIENT_BUSY_MAX);
    let speed = if client_limits { per_server_second } else { per_second };
    let to_rate = to.map(|cell| by_round(cell, speed)).unwrap_or_default();
    let to_p99 = to.map(|cell| by_round(cell, |run| run.percentiles_us[2])).unwrap_or_default();
    let mut rows: Vec<LoadFigures> = mine
        .into_iter()
        .map(|cell| LoadFigures { ratio: ratio(&by_round(cell, speed), &to_rate), ..figures(results, cell, &to_p99) })
        .collect();
    in_order(results, &mut rows, |row| row.contender.name);
    LoadBlock { pattern, client_limits, rows }
}

fn figures<'a>(results: &'a Results, cell: &'a Cell, to_p99: &[InRound]) -> LoadFigures<'a> {
    let runs = &cell.runs;
    let rates = by_round(cell, per_second);
    let latency = Histogram::merge(runs.iter().map(|run| &run.latency_us[..]));
    // A round without an answer has no latency.
    let answered = || runs.iter().filter(|run| run.percentiles_us[4] > 0.0);
    let of_rounds = |index: usize| median(answered().map(|run| run.percentiles_us[index]));
    let of_all = |index: usize, share| latency.percentile(share).or_else(|| of_rounds(index));
    let largest = Sorted::new(answered().map(|run| run.percentiles_us[4])).largest();
    let kept = cell.pattern.rate.and_then(|rate| median(rates.iter().map(|(_, per_second)| per_second / rate)));
    LoadFigures {
        contender: contender(results, &cell.name),
        markers: cell.pattern.markers,
        per_second: sorted(&rates),
        ratio: None,
        by_round: rates,
        percentiles_us: [of_all(0, 0.5), of_all(1, 0.9), of_all(2, 0.99), of_all(3, 0.999), largest],
        latency,
        p99_ratio: ratio(&by_round(cell, |run| run.percentiles_us[2]), to_p99),
        kept,
        server_cpu_us: median(runs.iter().map(|run| run.server_cpu_us)),
        client_busy: Sorted::new(runs.iter().map(|run| run.client_busy)).largest(),
        errors: runs.iter().map(|run| run.errors).sum(),
        unanswered: runs.iter().map(|run| run.unanswered).sum(),
        idle: runs.iter().filter(|run| run.requests == 0 && run.errors + run.unanswered == 0).count(),
        client_late: Sorted::new(runs.iter().filter_map(lateness)).largest(),
        notes: runs.iter().filter_map(|run| run.note.as_deref()).collect(),
        failures: &cell.failures,
    }
}

fn per_second(run: &LoadRun) -> f64 {
    run.requests as f64 / run.seconds
}

/// Requests for each second of the server's processor. Without an answer there is no such time.
fn per_server_second(run: &LoadRun) -> f64 {
    if run.requests == 0 { 0.0 } else { 1e6 / run.server_cpu_us }
}

fn lateness(run: &LoadRun) -> Option<f64> {
    Some(run.client_late_us? / run.percentiles_us[2])
}

fn by_round(cell: &Cell, value: impl Fn(&LoadRun) -> f64) -> Vec<InRound> {
    cell.runs.iter().map(|run| (run.round, value(run))).collect()
}
