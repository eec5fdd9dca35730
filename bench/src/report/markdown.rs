//! The table of the README, in GitHub's Markdown: one line for each contender.

use super::summary::{Summary, SummaryRow};
use super::text::machine;
use super::units::{NONE, bytes, date, number, whole};
use crate::results::{Kind, Results};
use crate::stats::Estimate;

/// The title of a column, and its cells.
type Column = (String, fn(&SummaryRow) -> String);

/// The table, and below it its origin. Empty columns are left out.
pub fn markdown(results: &Results) -> String {
    let summary = Summary::new(results);
    let lines: Vec<SummaryRow> = summary.lines().collect();
    let mut columns = columns(&summary);
    columns.retain(|(_, cell)| lines.iter().any(|line| cell(line) != NONE));
    let mut text = String::from("| |");
    columns.iter().for_each(|(title, _)| text.push_str(&format!(" {title} |")));
    text.push_str(&format!("\n|---|{}\n", "---:|".repeat(columns.len())));
    for line in &lines {
        let mark = if line.contender.kind == Kind::Ours { "**" } else { "" };
        text.push_str(&format!("| {mark}{}{mark} |", escaped(line.contender.label)));
        columns.iter().for_each(|(_, cell)| text.push_str(&format!(" {} |", cell(line))));
        text.push('\n');
    }
    let echoes: Vec<String> =
        lines.iter().filter_map(|line| line.echo).map(|echo| escaped(echo.contender.label)).collect();
    if !echoes.is_empty() {
        text.push_str(&format!("\nThe echoes: {}.\n", echoes.join("; ")));
    }
    let command = results.command.join(" ");
    text.push_str(&format!(
        "\nMedians; × baseline is the median of ratios within rounds. `fc-bench {}`, {}, {}.\n",
        command.replace('`', "'").replace(char::is_control, " "),
        date(results.began),
        escaped(&machine(&results.machine))
    ));
    text
}

fn columns(summary: &Summary) -> Vec<Column> {
    let connections = summary.closed.as_ref().map_or(0, |block| block.pattern.connections);
    let open = summary.open.as_ref().map(|block| (block.pattern.connections, block.pattern.rate));
    let (many, rate) = open.unwrap_or_default();
    let payload = summary.payload.as_ref().map_or_else(String::new, |block| bytes(block.body_bytes));
    let instances = summary.fleets.as_ref().map_or(0, |fleets| fleets.wanted);
    vec![
        ("bytes".to_owned(), |line| whole(line.contender.binary_bytes)),
        ("exec → first `/initialize`, ms".to_owned(), |line| {
            number(line.start.and_then(|start| start.initialize.median()).map(|us| us / 1e3), 2)
        }),
        ("× baseline".to_owned(), |line| ratio(line, line.start.and_then(|start| start.ratio))),
        ("system calls".to_owned(), |line| whole(line.counts.and_then(|it| it.counts.calls_to_initialize))),
        ("page faults".to_owned(), |line| whole(line.counts.and_then(|it| it.counts.minor_faults_to_initialize))),
        (format!("requests/s, {connections} connections"), |line| {
            number(line.closed.and_then(|load| load.per_second.median()), 0)
        }),
        ("× baseline".to_owned(), |line| ratio(line, line.closed.and_then(|load| load.ratio))),
        ("… with log markers".to_owned(), |line| {
            line.with_markers.map_or_else(|| NONE.to_owned(), |load| ratio(line, load.ratio))
        }),
        (format!("p99 at {} requests/s, {many} connections, µs", number(rate, 0)), |line| {
            number(line.open.and_then(|load| load.percentiles_us[2]), 0)
        }),
        ("thaw → reply, µs".to_owned(), |line| number(line.thaw.and_then(|thaw| thaw.reply.median()), 0)),
        (format!("{payload} echoed, ms"), |line| {
            number(line.echo.and_then(|echo| echo.time.median()).map(|us| us / 1e3), 1)
        }),
        ("peak memory ÷ body".to_owned(), |line| number(line.echo.and_then(|echo| echo.peak), 2)),
        (format!("private kB of each of {instances}"), |line| number(line.fleet.and_then(|it| it.private_kb), 0)),
    ]
}

/// The ratio of the baseline to itself is 1.
fn ratio(line: &SummaryRow, ratio: Option<Estimate>) -> String {
    number(ratio.map(|ratio| ratio.median), if line.contender.kind == Kind::Baseline { 0 } else { 2 })
}

/// Removes characters that would end a cell or that Markdown would interpret.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.replace(char::is_control, " ").chars() {
        if "\\`*_{}[]<>#|~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
