//! The tables of load, one for each pattern.

use super::{Table, decimals, estimate, ratio, row};
use crate::report::units::number;
use crate::results::{RequestKind, Results};
use crate::stats::figures::{self, LoadBlock, LoadFigures, RequestFigures};

pub fn tables(results: &Results) -> Vec<Table> {
    let table = |block: &LoadBlock| match block.pattern.rate {
        Some(_) => open(block, results),
        None => closed(block, results),
    };
    figures::load(results).iter().map(table).chain(std::iter::once(of_one(results))).collect()
}

/// What one request takes.
fn of_one(results: &Results) -> Table {
    let rows = figures::requests(results);
    let exact = |value: Option<f64>| number(value, value.map_or(0, |value| decimals([value]).min(2)));
    let cells = |figures: &RequestFigures| {
        let cells = [
            number(figures.calls, 1),
            number(figures.instructions, 0),
            exact(figures.ours_instructions),
            estimate(figures.user.estimate(), 1.0, 2),
            number(figures.kernel_us, 1),
            exact(figures.user_ratio.map(|ratio| ratio.median)),
            estimate(figures.ours_user, 1.0, 2),
            number(figures.looks as f64, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let mut ways: Vec<&str> = rows.iter().filter_map(|row| row.instructions_by).collect();
    ways.sort_unstable();
    ways.dedup();
    let failed = |row: &RequestFigures| {
        let first = row.failures.first()?;
        Some(format!("{}: failed rounds: {}; the first: {first}", row.contender.label, row.failures.len()))
    };
    let failed = rows.iter().filter_map(failed);
    Table {
        title: "Load: one request".to_owned(),
        says: format!(
            "System calls and instructions in user space of one request on one kept connection, which noise cannot \
             touch; microseconds of processor time in user space and in the kernel on 16 connections, medians of the \
             rounds. Log markers are off. Ten lines ÷ it: the figure of fc-hooks with a function of ten lines, as a \
             ratio to this one's; of times within each round. Looks: how often the server was looked at, to split its \
             time. {}",
            sent(results)
        ),
        columns: vec![
            "contender",
            "system\ncalls",
            "instruc-\ntions",
            "ten lines\n÷ it",
            "user µs\n[range]",
            "kernel\nµs",
            "user ×\nbaseline",
            "ten lines\n÷ it, user",
            "looks",
        ],
        rows: rows.iter().map(cells).collect(),
        notes: ways.iter().map(|way| format!("instructions by {way}")).chain(failed).collect(),
    }
}

fn closed(block: &LoadBlock, results: &Results) -> Table {
    let cells = |figures: &LoadFigures| {
        let [p50, _, p99, p999, _] = figures.percentiles_us.map(|us| number(us, 0));
        let cells = [
            markers(figures),
            number(figures.per_second.median(), 0),
            ratio(figures.contender, figures.ratio),
            p50,
            p99,
            p999,
            number(figures.server_cpu_us, 1),
            percent(figures.client_busy),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    Table {
        title: format!("Load: {}", block.pattern),
        says: format!(
            "{}Requests per second, the median of all rounds ({}); latency of all rounds, in microseconds. {}",
            if block.client_limits { CLIENT_LIMITS } else { "" },
            rounds(block),
            sent(results)
        ),
        columns: vec![
            "contender",
            "log\nmarkers",
            "requests/s",
            "× baseline\n[range]",
            "p50\nµs",
            "p99",
            "p99.9",
            "CPU\nµs",
            "client\nbusy",
        ],
        rows: block.rows.iter().map(cells).collect(),
        notes: Vec::new(),
    }
}

const CLIENT_LIMITS: &str = "The client was busy for more than 70 % of its processor's time, and may be the limit: \
    the ratios are those of the server's processor time for each request. ";

fn open(block: &LoadBlock, results: &Results) -> Table {
    let cells = |figures: &LoadFigures| {
        let [p50, _, p99, p999, largest] = figures.percentiles_us.map(|us| number(us, 0));
        let cells = [
            markers(figures),
            percent(figures.kept),
            p50,
            p99,
            ratio(figures.contender, figures.p99_ratio),
            p999,
            largest,
            number(figures.server_cpu_us, 1),
            percent(figures.client_busy),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    Table {
        title: format!("Load: {}", block.pattern),
        says: format!(
            "Latency in microseconds since each request was due by the clock, whether or not the server had answered \
             the requests before: none is left out because the server was slow. Rounds: {}. {}",
            rounds(block),
            sent(results)
        ),
        columns: vec![
            "contender",
            "log\nmarkers",
            "kept",
            "p50\nµs",
            "p99",
            "p99 × baseline\n[range]",
            "p99.9",
            "largest",
            "CPU\nµs",
            "client\nbusy",
        ],
        rows: block.rows.iter().map(cells).collect(),
        notes: half_of(block, results).into_iter().collect(),
    }
}

/// The requests that were sent.
fn sent(results: &Results) -> &'static str {
    match results.load.as_ref().map(|load| load.requests) {
        Some(RequestKind::Real) => "Requests: small events with the platform's headers, each with an id of its own.",
        Some(RequestKind::Canned) => "Requests: small events with the platform's headers, the same bytes each time.",
        Some(RequestKind::Small) => "Requests: small events with two of the platform's headers.",
        None => "",
    }
}

/// The origin of a rate that was measured first.
fn half_of(block: &LoadBlock, results: &Results) -> Option<String> {
    let from = results.load.as_ref()?.rate_from.as_ref().filter(|_| block.pattern.connections == 200)?;
    Some(format!("The rate is half of the maximum of {}.", figures::contender(results, from).label))
}

fn markers(figures: &LoadFigures) -> String {
    match figures.markers {
        Some(true) => "on",
        Some(false) => "off",
        None => "",
    }
    .to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| number(None, 0), |share| format!("{} %", number(share * 100.0, 0)))
}

fn rounds(block: &LoadBlock) -> usize {
    block.rows.iter().map(|row| row.per_second.count() + row.failures.len()).max().unwrap_or(0)
}
