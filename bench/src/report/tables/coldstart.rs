//! The tables of cold starts, and of their counts.

use super::{Row, Table, decimals, estimate, ratio, row};
use crate::report::units::{NONE, number, whole};
use crate::results::{Coldstart, Counts, Kind, Results};
use crate::stats::Sorted;
use crate::stats::figures::{self, CountFigures, StartFigures};

const MS: f64 = 1e3;

pub fn tables(results: &Results) -> Vec<Table> {
    let Some(coldstart) = &results.coldstart else { return Vec::new() };
    vec![
        process(coldstart, &figures::starts(results, &coldstart.process)),
        counts(&figures::counts(results)),
        container(&figures::starts(results, &coldstart.container)),
    ]
}

fn process(coldstart: &Coldstart, rows: &[StartFigures]) -> Table {
    let exact = exactness(rows);
    let cells = |figures: &StartFigures| {
        let cells = [
            whole(figures.contender.binary_bytes),
            middle(&figures.port_open, exact),
            estimate(figures.initialize.estimate(), MS, exact),
            ratio(figures.contender, figures.ratio),
            middle(&figures.invoke, exact),
            p99(&figures.initialize, exact),
            number(figures.initialize.outliers() as f64, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    Table {
        title: "Cold start of a process".to_owned(),
        says: format!(
            "Milliseconds from the exec until a connection was accepted, the first POST /initialize and the first \
             POST /invoke were answered. Rounds: {}, after {} to warm up, with all contenders in each, in shuffled \
             order. The client sleeps between attempts to connect, {} µs in the median, {} at most.",
            rounds(rows),
            coldstart.warm_up,
            number(coldstart.attempt_pause_median_us, 0),
            number(coldstart.attempt_pause_us, 0)
        ),
        columns: vec![
            "contender",
            "bytes",
            "port\nopen",
            "/initialize\n[95 %]",
            "× baseline\n[95 %]",
            "/invoke",
            "p99\n/init.",
            "out-\nliers",
        ],
        rows: rows.iter().map(cells).collect(),
        notes: failures(rows),
    }
}

fn container(rows: &[StartFigures]) -> Table {
    let exact = exactness(rows);
    let cells = |figures: &StartFigures| {
        let above = match figures.contender.kind {
            Kind::Baseline => "0".to_owned(),
            _ => estimate(figures.above, MS, exact.max(1)),
        };
        let cells = [
            whole(figures.image_bytes),
            middle(&figures.port_open, exact),
            estimate(figures.initialize.estimate(), MS, exact),
            above,
            ratio(figures.contender, figures.ratio),
            middle(&figures.invoke, exact),
            number(figures.initialize.outliers() as f64, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    Table {
        title: "Cold start of a container".to_owned(),
        says: format!(
            "Milliseconds from docker run of a scratch image; rounds: {}. The baseline's row shows the engine's own \
             time. The difference to it, round by round, is the time that a server adds.",
            rounds(rows)
        ),
        columns: vec![
            "contender",
            "image\nbytes",
            "port\nopen",
            "/initialize\n[95 %]",
            "above baseline\n[95 %]",
            "× baseline\n[95 %]",
            "/invoke",
            "out-\nliers",
        ],
        rows: rows.iter().map(cells).collect(),
        notes: failures(rows),
    }
}

fn counts(rows: &[CountFigures]) -> Table {
    let mut ways: Vec<&str> = rows.iter().filter_map(|row| row.counts.instructions_by.as_deref()).collect();
    ways.sort_unstable();
    ways.dedup();
    Table {
        title: "Counts of a cold start".to_owned(),
        says:
            "Counts from the exec until the server waits for connections (ready) and until the first POST /initialize \
               was answered; memory when ready, in kilobytes. They do not depend on time."
                .to_owned(),
        columns: vec![
            "contender",
            "calls\nready",
            "calls\n/init.",
            "faults\nready",
            "× baseline",
            "faults\n/init.",
            "major",
            "thousand\ninstructions",
            "RSS\nkB",
            "private\nkB",
            "threads",
        ],
        rows: rows.iter().map(count_row).collect(),
        notes: ways.iter().map(|way| format!("instructions: in user space, by {way}")).collect(),
    }
}

fn count_row(figures: &CountFigures) -> Row {
    let Counts {
        name: _,
        calls_to_ready,
        calls_to_initialize,
        minor_faults_to_ready,
        minor_faults_to_initialize,
        major_faults_to_initialize,
        instructions,
        instructions_by: _,
        resident_kb,
        private_kb,
        threads,
    } = figures.counts;
    let cells = [
        whole(*calls_to_ready),
        whole(*calls_to_initialize),
        whole(*minor_faults_to_ready),
        number(figures.faults_ratio, 2),
        whole(*minor_faults_to_initialize),
        whole(*major_faults_to_initialize),
        whole(instructions.map(|count| count.div_ceil(1_000))),
        whole(*resident_kb),
        whole(*private_kb),
        whole(*threads),
    ];
    row(figures.contender, figures.contender.label, cells)
}

fn middle(times: &Sorted, exact: usize) -> String {
    number(times.median().map(|us| us / MS), exact)
}

fn p99(times: &Sorted, exact: usize) -> String {
    number(times.percentile(0.99).map(|us| us / MS), exact)
}

fn exactness(rows: &[StartFigures]) -> usize {
    decimals(rows.iter().filter_map(|row| row.initialize.median()).map(|us| us / MS))
}

fn rounds(rows: &[StartFigures]) -> String {
    let most = rows.iter().map(|row| row.initialize.count() + row.failures.len()).max();
    most.map_or_else(|| NONE.to_owned(), |most| most.to_string())
}

fn failures(rows: &[StartFigures]) -> Vec<String> {
    let failed = rows.iter().filter(|row| !row.failures.is_empty());
    failed.map(|row| format!("{}: failed starts: {}", row.contender.label, row.failures.len())).collect()
}
