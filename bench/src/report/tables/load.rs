//! The tables of load, one for each pattern.

use super::{Table, ratio, row};
use crate::report::units::number;
use crate::results::{RequestKind, Results};
use crate::stats::figures::{self, LoadBlock, LoadFigures};

pub fn tables(results: &Results) -> Vec<Table> {
    let table = |block: &LoadBlock| match block.pattern.rate {
        Some(_) => open(block, results),
        None => closed(block, results),
    };
    figures::load(results).iter().map(table).collect()
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
