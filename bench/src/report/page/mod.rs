//! The page: one file that needs no other file and no script.
//!
//! Decides the order and the wording. [`super::plot`] draws the plots, and [`super::tables`] fills the tables.

mod headline;
mod plots;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{STYLE, class};
use super::tables::{Table, tables};
use super::text::machine;
use super::units::{date, duration, number};
use crate::results::{Described, Results};
use crate::stats::warnings;

pub use plots::svg;

/// A plot with its title and caption.
struct Figure {
    title: String,
    /// A sentence about what was measured, and how.
    caption: String,
    /// As SVG.
    picture: String,
    /// Whether it takes the whole width of the page.
    wide: bool,
}

/// Figures under a heading.
struct Section {
    title: &'static str,
    figures: Vec<Figure>,
}

/// The page as HTML.
pub fn page(results: &Results) -> String {
    let tables = tables(results);
    let sections = plots::sections(results);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "fc-bench, " (date(results.began)) }
                style { (PreEscaped(include_str!("page.css"))) (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (header(results))
                    (headline::cards(results))
                    @for section in sections.iter().filter(|section| !section.figures.is_empty()) {
                        h2 { (section.title) }
                        div.plots { @for it in &section.figures { (figure(it)) } }
                    }
                    @if tables.is_empty() { p { "Nothing was measured." } } @else { h2 { "All figures" } }
                    @for it in &tables { (table(it)) }
                    (list("Not measured", results.skipped.iter().map(|it| (&it.what, &it.reason))))
                    (list("Warnings", warnings(results).into_iter().map(|it| (it.about, it.text))))
                    (list("Contenders", results.contenders.iter().map(contender)))
                    (list("Terms", TERMS.iter().copied()))
                }
            }
        }
    };
    // Names come from files and arguments, and control characters are not allowed in HTML.
    page.into_string().replace(|c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}'), " ")
}

fn header(results: &Results) -> Markup {
    let measures = [
        (results.coldstart.is_some(), "cold start"),
        (results.thaw.is_some(), "thaw"),
        (results.load.is_some(), "load"),
        (results.density.is_some(), "density"),
    ];
    let names: Vec<&str> = measures.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
    let title = match names.split_last() {
        None => "Benchmark".to_owned(),
        Some((last, [])) => capitalized(last),
        Some((last, before)) => capitalized(&format!("{} and {last}", before.join(", "))),
    };
    html! {
        header {
            p.brand { "fc-bench " (results.version) }
            h1 { (title) }
            dl {
                dt { "machine" }
                dd { (machine(&results.machine)) }
                dt { "run" }
                dd { (date(results.began)) ", " (length(results.seconds)) }
                dt { "command" }
                dd { code { "fc-bench " (results.command.join(" ")) } }
            }
        }
    }
}

fn length(seconds: f64) -> String {
    if seconds < 120.0 { duration(seconds * 1e6) } else { format!("{} minutes", number(seconds / 60.0, 0)) }
}

fn capitalized(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure.wide[figure.wide] {
            h3 { (figure.title) }
            (PreEscaped(&figure.picture))
            figcaption { (figure.caption) }
        }
    }
}

fn table(table: &Table) -> Markup {
    let title = |title: &str| {
        html! {
            th { @for (index, line) in title.lines().enumerate() { @if index > 0 { br; } (line) } }
        }
    };
    html! {
        h3 { (table.title) }
        p { (table.says) }
        div.scroll {
            table {
                thead { tr { @for it in &table.columns { (title(it)) } } }
                tbody {
                    @for row in &table.rows {
                        tr class=(class(row.kind)) { @for cell in &row.cells { td { (cell) } } }
                    }
                }
            }
        }
        @for note in &table.notes { p.note { (note) } }
    }
}

fn list<T: maud::Render, U: maud::Render>(title: &str, items: impl Iterator<Item = (T, U)>) -> Markup {
    let mut items = items.peekable();
    html! {
        @if items.peek().is_some() {
            h2 { (title) }
            ul { @for (name, text) in items { li { b { (name) } " " (text) } } }
        }
    }
}

fn contender(it: &Described) -> (&str, String) {
    let started = format!("({}), started as {}", it.name, it.command.join(" "));
    (&it.label, if it.note.is_empty() { started } else { format!("{started}. {}", it.note) })
}

const TERMS: [(&str, &str); 5] = [
    ("Median", "The middle sample; of an even number, the mean of the two."),
    (
        "[95 %]",
        "A confidence interval of the median. Its ends are samples, chosen by the binomial distribution so that the \
         interval contains the true median of any distribution with at least that probability. With fewer than six \
         rounds it reaches from the least sample to the largest.",
    ),
    ("× baseline", "The median of the ratios within each round, because a disturbance in a round affects both."),
    ("p99", "The least sample that 99 % do not exceed; of fewer than 100 samples, the largest."),
    (
        "Outlier",
        "A sample that is further from the quartiles than three times the interquartile range. Outliers are counted \
         and never left out.",
    ),
];
