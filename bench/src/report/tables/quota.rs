//! The tables of cold starts on a share of a processor, one for each share.

use super::{Table, decimals, estimate, ratio, row};
use crate::report::units::number;
use crate::results::Results;
use crate::stats::figures::{self, QuotaFigures, QuotaRow};

const MS: f64 = 1e3;

pub fn tables(results: &Results) -> Vec<Table> {
    let Some(quota) = &results.quota else { return Vec::new() };
    let period_ms = number(quota.period_us / MS, 0);
    let process = figures::quota(results, &quota.process);
    let container = figures::quota(results, &quota.container);
    let of_process = |figures: &QuotaFigures| {
        let says = format!(
            "Milliseconds from the exec until the first POST /initialize was answered, while the process gets {} ms of \
             processor time in every {period_ms} ms, by {}.",
            number(figures.vcpu * quota.period_us / MS, 0),
            quota.limited_by
        );
        table(figures, format!("Cold start of a process at {} vCPU", figures.vcpu), &says)
    };
    let of_container = |figures: &QuotaFigures| {
        let says = "Milliseconds from docker run of a scratch image until the first POST /initialize was answered. \
                    The engine's own start of the container takes a part of the share, too.";
        table(figures, format!("Cold start of a container at {} vCPU", figures.vcpu), says)
    };
    process.iter().map(of_process).chain(container.iter().map(of_container)).collect()
}

fn table(figures: &QuotaFigures, title: String, says: &str) -> Table {
    let exact = decimals(figures.rows.iter().filter_map(|row| row.initialize.median()).map(|us| us / MS));
    let cells = |figures: &QuotaRow| {
        let percent = figures.throttled.map(|share| share * 100.0);
        let cells = [
            number(figures.initialize.count() as f64, 0),
            estimate(figures.initialize.estimate(), MS, exact),
            number(figures.initialize.percentile(0.9).map(|us| us / MS), exact),
            ratio(figures.contender, figures.ratio),
            number(figures.ours.map(|ratio| ratio.median), figures.ours.map_or(0, |ratio| decimals([ratio.median]))),
            percent.map_or_else(|| number(None, 0), |percent| format!("{} %", number(percent, 0))),
            number(figures.throttled_us.map(|us| us / MS), 0),
            number(figures.cpu_us.map(|us| us / MS), 2),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    Table {
        title,
        says: format!(
            "{says} Ten lines ÷ it: the time of fc-hooks with a function of ten lines, as a ratio within each round. \
             Throttled: the share of starts that used up a period's processor time, and the median time for which \
             they stood still."
        ),
        columns: vec![
            "contender",
            "starts",
            "/initialize\n[95 %]",
            "p90",
            "× baseline\n[95 %]",
            "ten lines\n÷ it",
            "throt-\ntled",
            "stood\nms",
            "CPU\nms",
        ],
        rows: figures.rows.iter().map(cells).collect(),
        notes: figures.rows.iter().flat_map(notes).collect(),
    }
}

/// A contender without a reply has a row of dashes, and a note with the reason.
fn notes(row: &QuotaRow) -> Vec<String> {
    let label = row.contender.label;
    let first = row.failures.first();
    let failed = first.map(|first| format!("{label}: failed starts: {}; the first: {first}", row.failures.len()));
    let stopped = row.stopped_by.map(|why| format!("{label}: {why}"));
    failed.into_iter().chain(stopped).collect()
}
