//! The tables of bursts of cold starts, one for each size.

use super::{Table, decimals, ratio, row};
use crate::report::units::{duration, number};
use crate::results::Results;
use crate::stats::figures::{self, BurstFigures, BurstRow};

const MS: f64 = 1e3;

const CLIENT_LIMITS: &str = "The client was busy for more than 70 % of its processor's time, and may be the limit: \
    the ratios are those of the instances' processor time. ";

pub fn tables(results: &Results) -> Vec<Table> {
    figures::bursts(results).iter().map(table).collect()
}

fn table(figures: &BurstFigures) -> Table {
    let exact = decimals(figures.rows.iter().filter_map(|row| row.middle.median()).map(|us| us / MS));
    let cells = |figures: &BurstRow| {
        let busy = figures.client_busy.map(|share| format!("{} %", number(share * 100.0, 0)));
        let cells = [
            number(figures.last.count() as f64, 0),
            number(figures.middle.median().map(|us| us / MS), exact),
            number(figures.p90.median().map(|us| us / MS), exact),
            number(figures.last.median().map(|us| us / MS), exact),
            ratio(figures.contender, figures.ratio),
            number(figures.ours.map(|ratio| ratio.median), figures.ours.map_or(0, |ratio| decimals([ratio.median]))),
            number(figures.cpu.median().map(|us| us / MS), exact),
            ratio(figures.contender, figures.cpu_ratio),
            busy.unwrap_or_else(|| number(None, 0)),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let pause = figures.attempt_pause_us.map(duration).unwrap_or_default();
    let (title, all) = match figures.instances {
        1 => ("Burst: one cold start".to_owned(), "it was let go until its"),
        many => (format!("Burst: {many} cold starts at once"), "all were let go on one processor until the"),
    };
    Table {
        title,
        says: format!(
            "{}Milliseconds from when {all} first POST /initialize was answered: for half of the instances, for nine \
             of ten, and for the last. Medians of the bursts. CPU: processor time of all together, which noise changes \
             least. Ten lines ÷ it: the time of fc-hooks with a function of ten lines until the last, as a ratio \
             within each round. The client looked for open ports at least every {pause} in the median burst.",
            if figures.client_limits { CLIENT_LIMITS } else { "" },
        ),
        columns: vec![
            "contender",
            "bursts",
            "half\nready",
            "p90",
            "last\nready",
            "× baseline\n[95 %]",
            "ten lines\n÷ it",
            "CPU\nms",
            "× baseline\n[95 %]",
            "client\nbusy",
        ],
        rows: figures.rows.iter().map(cells).collect(),
        notes: figures.rows.iter().flat_map(notes).collect(),
    }
}

/// A contender without a whole burst has a row of dashes, and a note with the reason.
fn notes(row: &BurstRow) -> Vec<String> {
    let label = row.contender.label;
    let first = row.failures.first();
    let failed = first.map(|first| format!("{label}: failed bursts: {}; the first: {first}", row.failures.len()));
    let stopped = row.stopped_by.map(|why| format!("{label}: {why}"));
    failed.into_iter().chain(stopped).collect()
}
