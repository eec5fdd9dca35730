//! The tables of restores, one for each way.

use super::{Table, decimals, estimate, ratio, row};
use crate::report::units::number;
use crate::results::Results;
use crate::stats::Estimate;
use crate::stats::figures::{self, RestoreFigures, RestoreRow};

const MS: f64 = 1e3;
const MB: f64 = 1e6;

pub fn tables(results: &Results) -> Vec<Table> {
    let tools = results.restore.as_ref().map_or("", |restore| &restore.tools);
    figures::restores(results).iter().map(|figures| table(figures, tools)).collect()
}

fn table(figures: &RestoreFigures, tools: &str) -> Table {
    let exact = decimals(figures.rows.iter().filter_map(|row| row.call_us).map(|us| us / MS)).min(1);
    let short = |ratio: Option<Estimate>| {
        number(ratio.map(|ratio| ratio.median), ratio.map_or(0, |ratio| decimals([ratio.median])))
    };
    let cells = |figures: &RestoreRow| {
        let cells = [
            number(figures.reply.count() as f64, 0),
            number(figures.saved_bytes.map(|bytes| bytes as f64 / MB), 2),
            number(figures.above_bytes.map(|bytes| bytes as f64 / MB), 2),
            estimate(figures.reply.estimate(), MS, 0),
            ratio(figures.contender, figures.ratio),
            short(figures.ours),
            number(figures.call_us.map(|us| us / MS), exact),
            short(figures.ours_call),
            number(figures.faults, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let failed = |figures: &RestoreRow| {
        let first = figures.failures.first()?;
        Some(format!("{}: failures: {}; the first: {first}", figures.contender.label, figures.failures.len()))
    };
    let (what, saved) = match figures.way {
        "criu" => ("of a process by CRIU", "the process; page faults are its own, in the guest"),
        _ => ("of a virtual machine", "the whole guest; page faults are those of the virtual machine, on the host"),
    };
    Table {
        title: format!("Restore {what}"),
        says: format!(
            "Milliseconds from the beginning of the restore until a call was answered, and call: from when it ran. \
             Saved: megabytes of {saved}. Ten lines ÷ it: the time of fc-hooks with a function of ten lines, as a \
             ratio within each round."
        ),
        columns: vec![
            "contender",
            "re-\nstores",
            "saved\nMB",
            "above\nbase",
            "reply\n[95 %]",
            "× baseline\n[95 %]",
            "ten lines\n÷ it",
            "call\nms",
            "ten lines\n÷ it",
            "faults",
        ],
        rows: figures.rows.iter().map(cells).collect(),
        notes: figures.rows.iter().filter_map(failed).chain([format!("of {tools}")]).collect(),
    }
}
