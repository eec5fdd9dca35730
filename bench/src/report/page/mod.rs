//! The page: one file that needs no other file and no script. It is well-formed as XML, too.
//!
//! `templates/page.html` is the template, and askama escapes its values. [`super::plot`] draws the plots, and
//! [`super::tables`] fills the tables.

mod amounts;
mod headline;
mod history;
mod plots;
mod spreads;

use askama::Template;

use super::plot::STYLE;
use super::tables::{Table, tables};
use super::text::machine;
use super::units::{date, duration, number};
use crate::history::History;
use crate::results::{Described, Results};
use crate::stats::warnings;
use fc_emulator::error::{Error, Result};
use headline::Headline;

pub use plots::svg;

/// The values of the template.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    results: &'a Results,
    began: String,
    style: String,
    title: String,
    machine: String,
    length: String,
    headline: Option<Headline>,
    sections: Vec<Section>,
    tables: Vec<Table>,
    lists: Vec<List>,
}

/// A list with a heading.
struct List {
    title: &'static str,
    items: Vec<(String, String)>,
}

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
///
/// # Errors
/// If the template cannot be filled.
pub fn page(results: &Results) -> Result<String> {
    page_with_history(results, None)
}

/// The page as HTML, with the plots of earlier runs.
///
/// # Errors
/// If the template cannot be filled.
pub fn page_with_history(results: &Results, earlier: Option<&History>) -> Result<String> {
    let mut sections = plots::sections(results);
    sections.extend(earlier.map(history::section));
    sections.retain(|section| !section.figures.is_empty());
    let skipped = results.skipped.iter().map(|it| (it.what.clone(), it.reason.clone())).collect();
    let warnings = warnings(results).into_iter().map(|it| (it.about.to_owned(), it.text)).collect();
    let echoes = results.payload.iter().flat_map(|payload| &payload.echoes).map(|echo| &echo.described);
    let contenders = results.contenders.iter().chain(echoes).map(contender).collect();
    let terms = TERMS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut lists = vec![
        List { title: "Not measured", items: skipped },
        List { title: "Warnings", items: warnings },
        List { title: "Contenders", items: contenders },
        List { title: "Terms", items: terms },
    ];
    lists.retain(|list| !list.items.is_empty());
    let page = Page {
        results,
        began: date(results.began),
        style: format!("{}{STYLE}", include_str!("page.css")),
        title: title(results),
        machine: machine(&results.machine),
        length: length(results.seconds),
        headline: headline::headline(results),
        sections,
        tables: tables(results),
        lists,
    };
    let page = page.render().map_err(|cause| Error::failed("make", "the page", cause))?;
    // Names come from files and arguments, and XML does not allow control characters.
    let is_forbidden = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}');
    Ok(page.replace(is_forbidden, " "))
}

/// The measures, as a title.
fn title(results: &Results) -> String {
    let measures = [
        (results.coldstart.is_some(), "cold start"),
        (results.quota.is_some(), "shares of a processor"),
        (results.burst.is_some(), "bursts"),
        (results.thaw.is_some(), "thaw"),
        (results.load.is_some(), "load"),
        (results.density.is_some(), "density"),
        (results.restore.is_some(), "restores"),
        (results.payload.is_some(), "payloads"),
        (results.image.is_some(), "images"),
        (results.proxy.is_some(), "proxies"),
    ];
    let names: Vec<&str> = measures.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
    match names.split_last() {
        None => "Benchmark".to_owned(),
        Some((last, [])) => capitalized(last),
        Some((last, before)) => capitalized(&format!("{} and {last}", before.join(", "))),
    }
}

fn length(seconds: f64) -> String {
    if seconds < 120.0 { duration(seconds * 1e6) } else { format!("{} minutes", number(seconds / 60.0, 0)) }
}

fn capitalized(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn contender(it: &Described) -> (String, String) {
    let started = format!("({}), started as {}", it.name, it.command.join(" "));
    (it.label.clone(), if it.note.is_empty() { started } else { format!("{started}. {}", it.note) })
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
