//! The tables of payloads, one for each size.

use super::{Table, decimals, estimate, row};
use crate::report::units::{bytes, number};
use crate::results::Results;
use crate::stats::Estimate;
use crate::stats::figures::{self, PayloadFigures, PayloadRow};

const MS: f64 = 1e3;

pub fn tables(results: &Results) -> Vec<Table> {
    figures::payloads(results).iter().map(table).collect()
}

fn table(figures: &PayloadFigures) -> Table {
    let of_all =
        |value: fn(&PayloadRow) -> Option<f64>| decimals(figures.rows.iter().filter_map(value).map(|us| us / MS));
    let (exact, exact_cpu) = (of_all(|row| row.time.median()), of_all(|row| row.cpu_us));
    let short = |ratio: Option<Estimate>| number(ratio.map(|ratio| ratio.median), 2);
    let cells = |figures: &PayloadRow| {
        let cells = [
            number(figures.time.median().map(|us| us / MS), exact),
            number(figures.p90_us.map(|us| us / MS), exact),
            number(figures.longest_us.map(|us| us / MS), exact),
            estimate(figures.ours, 1.0, 2),
            number(figures.cpu_us.map(|us| us / MS), exact_cpu),
            number(figures.cpu_us_per_mb, 0),
            figures.user.map_or_else(|| number(None, 0), |user| format!("{} %", number(user * 100.0, 0))),
            short(figures.ours_cpu),
            number(figures.peak, 2),
            number(figures.faults, 0),
            number(figures.calls, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let busy = figures.client_busy.map(|busy| format!("{} %", number(busy * 100.0, 0)));
    Table {
        title: format!("Payload of {}", bytes(figures.body_bytes)),
        says: format!(
            "{}Milliseconds from the first byte of an event to the last byte of the reply, which is the event. Echo ÷ \
             it: the figure of fc-hooks with Reply::echo, as a ratio within each round. CPU: of the server for each \
             call, for each MB of the body, and the share of user time in it. Peak ÷ body: what the memory of a fresh \
             process grew by in its first call; faults and system calls: those of one call.",
            if figures.client_limits { CLIENT_LIMITS } else { "" }
        ),
        columns: vec![
            "contender",
            "time\nms",
            "p90",
            "longest",
            "echo ÷ it\n[95 %]",
            "CPU\nms",
            "µs/\nMB",
            "user",
            "echo\n÷ it",
            "peak\n÷ body",
            "faults",
            "system\ncalls",
        ],
        rows: figures.rows.iter().map(cells).collect(),
        notes: notes(figures, busy),
    }
}

const CLIENT_LIMITS: &str = "The client was busy for more than 70 % of its processor's time, and may be the limit: the \
    ratios that count are those of processor time. ";

fn notes(figures: &PayloadFigures, busy: Option<String>) -> Vec<String> {
    let streaming: Vec<&str> = figures.rows.iter().filter(|row| row.streams).map(|row| row.contender.label).collect();
    let streams = (!streaming.is_empty()).then(|| {
        let names = streaming.join("; ");
        format!("It answers while it still reads, which a function that looks at its event cannot do: {names}.")
    });
    let busy = busy.map(|busy| format!("The client used at most {busy} of its processor's time."));
    let failed = figures.rows.iter().filter_map(|row| {
        let first = row.failures.first()?;
        Some(format!("{}: failures: {}; the first: {first}", row.contender.label, row.failures.len()))
    });
    streams.into_iter().chain(busy).chain(failed).collect()
}
