//! The tables of density, one for each number of instances.

use super::{Table, decimals, row};
use crate::report::units::number;
use crate::results::Results;
use crate::stats::figures::{self, FleetFigures, Fleets};

pub fn tables(results: &Results) -> Vec<Table> {
    let freezer = results.density.as_ref().map_or("", |density| &density.freezer);
    figures::fleets(results).iter().map(|fleets| table(fleets, freezer)).collect()
}

fn table(fleets: &Fleets, freezer: &str) -> Table {
    let memory = decimals(fleets.rows.iter().filter_map(|row| row.private_kb)).min(1);
    let cells = |figures: &FleetFigures| {
        let fleet = figures.fleet;
        let ms = |us: Option<f64>| number(us.map(|us| us / 1e3), 0);
        let cells = [
            number(f64::from(fleet.answered), 0),
            number(figures.private_kb, memory),
            number(figures.proportional_kb, memory),
            number(figures.resident_kb, 0),
            number(fleet.machine_kb, 0),
            number(figures.starts_per_second, 0),
            ms(Some(fleet.started_us)),
            ms(Some(fleet.all_answered_us)),
            ms(fleet.all_frozen_us),
            ms(fleet.all_thawed_us),
            number(figures.thaw_us, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let stopped = |figures: &FleetFigures| {
        figures
            .fleet
            .stopped_by
            .as_ref()
            .map(|why| format!("{}: no further instance was started: {why}", figures.contender.label))
    };
    Table {
        title: format!("Density: {} instances at once", fleets.wanted),
        says: format!(
            "Kilobytes of each instance, medians; machine: the decrease of the machine's free memory for each. Cold \
             starts per second, and milliseconds until all were started, had answered twice, were frozen{}, and had \
             answered again, thawed one after the other; each: median from its thaw to its reply.",
            if freezer.is_empty() { String::new() } else { format!(" by {freezer}") }
        ),
        columns: vec![
            "contender",
            "in-\nstances",
            "private\nkB",
            "PSS\nkB",
            "RSS\nkB",
            "machine\nkB",
            "starts\n/s",
            "started\nms",
            "answered\nms",
            "frozen\nms",
            "thawed\nms",
            "each\nµs",
        ],
        rows: fleets.rows.iter().map(cells).collect(),
        notes: fleets.rows.iter().filter_map(stopped).collect(),
    }
}
