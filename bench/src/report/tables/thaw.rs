//! The table of thaws.

use super::{Table, decimals, estimate, ratio, row};
use crate::report::units::number;
use crate::results::Results;
use crate::stats::figures::{self, ThawFigures};

pub fn tables(results: &Results) -> Vec<Table> {
    let Some(thaw) = &results.thaw else { return Vec::new() };
    let rows = figures::thaw(results);
    let exact = decimals(rows.iter().filter_map(|row| row.reply.median()));
    let exact_warm = decimals(rows.iter().filter_map(|row| row.warm.median()));
    let cells = |figures: &ThawFigures| {
        let cells = [
            estimate(figures.reply.estimate(), 1.0, exact),
            ratio(figures.contender, figures.ratio),
            number(figures.warm.median(), exact_warm),
            estimate(figures.above_warm, 1.0, exact),
            number(figures.reply.percentile(0.99), exact),
            number(figures.minor_faults, 0),
            number(figures.major_faults, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let freezes = rows.iter().map(|row| row.reply.count() + row.failures.len()).max().unwrap_or(0);
    vec![Table {
        title: "Thaw".to_owned(),
        says: format!(
            "Microseconds from the thaw to the reply to a call that was sent during the freeze, on a connection from \
             before; warm is the same call again. Frozen for {} s by {}; thaws of each: {freezes}.",
            number(thaw.frozen_secs, 1),
            thaw.freezer
        ),
        columns: vec![
            "contender",
            "reply\n[95 %]",
            "× baseline\n[95 %]",
            "warm",
            "above warm\n[95 %]",
            "p99",
            "faults",
            "major",
        ],
        rows: rows.iter().map(cells).collect(),
        notes: Vec::new(),
    }]
}
