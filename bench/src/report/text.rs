//! The tables for the terminal.

use super::tables::{Table, tables};
use super::units::{cut, date, number};
use crate::results::{Machine, Results};
use crate::stats::warnings;

/// As many columns as fit a terminal and are easy to read.
const COLUMNS_MAX: usize = 116;

/// Longer names of contenders are cut.
const LABEL_MAX: usize = 24;

/// All results. The warnings come last, because a reader sees the end first.
pub fn text(results: &Results) -> String {
    let mut text = String::new();
    for table in tables(results) {
        text.push_str(&block(&table));
        text.push('\n');
    }
    if text.is_empty() {
        text.push_str("nothing was measured\n\n");
    }
    section(&mut text, "Not measured", results.skipped.iter().map(|it| format!("{}: {}", it.what, it.reason)));
    section(
        &mut text,
        "Warnings",
        warnings(results).into_iter().map(|warning| format!("{}: {}", warning.about, warning.text)),
    );
    let echoes = results.payload.iter().flat_map(|payload| &payload.echoes).map(|echo| &echo.described);
    let names = results.contenders.iter().chain(echoes).map(|it| format!("{} = {}", it.name, it.label));
    let names: Vec<String> = names.collect();
    section(&mut text, "Names", std::iter::once(names.join("; ")).filter(|names| !names.is_empty()));
    let Results { command, seconds, began, version, machine, .. } = results;
    text.push_str(&format!("machine   {}\n", self::machine(machine)));
    text.push_str(&format!("run       {}, {} s, fc-bench {version}\n", date(*began), number(*seconds, 0)));
    text.push_str(&format!("command   fc-bench {}\n", command.join(" ")));
    // Names come from files and arguments, and control characters in them could control the terminal.
    text.replace(|c: char| c.is_control() && c != '\n', " ")
}

/// The machine in one line.
pub fn machine(machine: &Machine) -> String {
    let Machine { processor, processors, memory_kb, kernel, load } = machine;
    let named = if processor.is_empty() { "unnamed processor" } else { processor };
    let memory = number(*memory_kb as f64 / 1_048_576.0, 1);
    format!("{processors} × {named}, {memory} GB, {kernel}, load {} before", number(*load, 2))
}

fn block(table: &Table) -> String {
    let mut lines = heads(&table.columns);
    lines.extend(table.rows.iter().map(|row| {
        let mut cells = row.cells.clone();
        if let Some(label) = cells.first_mut() {
            *label = cut(label, LABEL_MAX);
        }
        cells
    }));
    let width = |column: usize| lines.iter().filter_map(|cells| cells.get(column)).map(|cell| chars(cell)).max();
    let widths: Vec<usize> = (0..table.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = format!("{}\n", table.title);
    wrap(&mut text, "  ", &table.says);
    text.push('\n');
    for cells in lines {
        let mut line = String::from("  ");
        for (index, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - chars(cell));
            line.push_str(&if index == 0 { format!("{cell}{space}") } else { format!("  {space}{cell}") });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for note in &table.notes {
        wrap(&mut text, "  ", note);
    }
    text
}

/// The titles of the columns in lines. The last words of all titles stand in the last line.
fn heads(columns: &[&str]) -> Vec<Vec<String>> {
    let height = columns.iter().map(|title| title.lines().count()).max().unwrap_or(0);
    let line = |index: usize| {
        let of = |title: &&str| {
            let above = height - title.lines().count();
            index.checked_sub(above).and_then(|index| title.lines().nth(index)).unwrap_or_default().to_owned()
        };
        columns.iter().map(of).collect()
    };
    (0..height).map(line).collect()
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        text.push_str(&format!("{title}\n"));
        lines.for_each(|line| wrap(text, "    ", &line));
        text.push('\n');
    }
}

/// Breaks lines between words. The first line begins two columns from the edge, and the others after `indent`.
fn wrap(text: &mut String, indent: &str, words: &str) {
    let mut line = "  ".to_owned();
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && chars(&line) + 1 + chars(word) > COLUMNS_MAX {
            text.push_str(&line);
            text.push('\n');
            line = indent.to_owned();
            empty = true;
        }
        line.push_str(if empty { "" } else { " " });
        line.push_str(word);
        empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}
