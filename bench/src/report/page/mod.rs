//! The page: one file that needs no other, and no script. Well-formed as XML too, so that a test can read it.
//!
//! Owns the order and the words. Plots are drawn by [`super::plot`], tables filled by [`super::tables`].

mod headline;
mod plots;

use super::plot::{STYLE, class, escape};
use super::tables::{Table, tables};
use super::text::machine;
use super::units::{date, duration, number};
use crate::results::{Described, Results};
use crate::stats::warnings;

pub use plots::svg;

/// A plot and what is said about it.
struct Figure {
    title: String,
    /// What was measured and how, in a sentence.
    caption: String,
    /// As SVG.
    picture: String,
    /// Whether it takes the page's whole width.
    wide: bool,
}

/// Figures under a heading.
struct Section {
    title: &'static str,
    figures: Vec<Figure>,
}

/// The page.
pub fn html(results: &Results) -> String {
    let mut body = header(results);
    body.push_str(&headline::cards(results));
    for section in plots::sections(results).iter().filter(|section| !section.figures.is_empty()) {
        body.push_str(&format!("<h2>{}</h2>\n<div class=\"plots\">\n", escape(section.title)));
        section.figures.iter().for_each(|it| body.push_str(&figure(it)));
        body.push_str("</div>\n");
    }
    let tables = tables(results);
    if tables.is_empty() {
        body.push_str("<p>Nothing was measured.</p>\n");
    } else {
        body.push_str("<h2>All figures</h2>\n");
    }
    tables.iter().for_each(|it| body.push_str(&table(it)));
    body.push_str(&list("Not measured", results.skipped.iter().map(|it| (it.what.clone(), it.reason.clone()))));
    body.push_str(&list("Warnings", warnings(results).into_iter().map(|it| (it.about.to_owned(), it.text))));
    body.push_str(&contenders(results));
    body.push_str(&method());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>fc-bench, \
         {}</title>\n<style>\n{}{STYLE}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        date(results.began),
        include_str!("page.css")
    )
}

fn header(results: &Results) -> String {
    let measures = [
        (results.coldstart.is_some(), "cold start"),
        (results.thaw.is_some(), "thaw"),
        (results.load.is_some(), "load"),
        (results.density.is_some(), "density"),
    ];
    let names: Vec<&str> = measures.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
    let title = match names.split_last() {
        None => "Benchmark".to_owned(),
        Some((last, [])) => sentence(last),
        Some((last, before)) => sentence(&format!("{} and {last}", before.join(", "))),
    };
    format!(
        "<header>\n<p class=\"brand\">fc-bench {}</p>\n<h1>{title}</h1>\n<dl>\n<dt>machine</dt><dd>{}</dd>\n\
         <dt>run</dt><dd>{}, {}</dd>\n<dt>command</dt><dd><code>fc-bench {}</code></dd>\n</dl>\n</header>\n",
        escape(&results.version),
        escape(&machine(&results.machine)),
        date(results.began),
        length(results.seconds),
        escape(&results.command.join(" "))
    )
}

fn length(seconds: f64) -> String {
    if seconds < 120.0 { duration(seconds * 1e6) } else { format!("{} minutes", number(seconds / 60.0, 0)) }
}

fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn figure(figure: &Figure) -> String {
    format!(
        "<figure{}>\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n",
        if figure.wide { " class=\"wide\"" } else { "" },
        escape(&figure.title),
        figure.picture,
        escape(&figure.caption)
    )
}

fn table(table: &Table) -> String {
    let title = |title: &&str| {
        let lines: Vec<String> = title.lines().map(escape).collect();
        format!("<th>{}</th>", lines.join("<br/>"))
    };
    let titles: String = table.columns.iter().map(title).collect();
    let mut html = format!(
        "<h3>{}</h3>\n<p>{}</p>\n<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        escape(&table.title),
        escape(&table.says),
        titles
    );
    for row in &table.rows {
        let cells: String = row.cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        html.push_str(&format!("<tr class=\"{}\">{cells}</tr>\n", class(row.kind)));
    }
    html.push_str("</tbody></table></div>\n");
    table.notes.iter().for_each(|note| html.push_str(&format!("<p class=\"note\">{}</p>\n", escape(note))));
    html
}

fn list(title: &str, items: impl Iterator<Item = (String, String)>) -> String {
    let items: String =
        items.map(|(what, why)| format!("<li><b>{}</b> {}</li>\n", escape(&what), escape(&why))).collect();
    if items.is_empty() { String::new() } else { format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n") }
}

fn contenders(results: &Results) -> String {
    let item = |it: &Described| {
        let started = format!("({}), started as {}", it.name, it.command.join(" "));
        (it.label.clone(), if it.note.is_empty() { started } else { format!("{started}. {}", it.note) })
    };
    list("Contenders", results.contenders.iter().map(item))
}

fn method() -> String {
    let items = [
        ("Median", "The middle sample; of an even number, the mean of the two."),
        (
            "[95 %]",
            "An interval whose ends are samples, chosen by the binomial distribution so that it holds the true \
             median of any distribution with at least that confidence. With fewer than six rounds it is from the \
             least to the largest.",
        ),
        ("× baseline", "The median of the ratios within each round, because what disturbs a round disturbs both."),
        ("p99", "The least sample that 99 % do not exceed; of fewer than 100 samples, the largest."),
        ("Far out", "Further from the quartiles than three times their distance. Counted, and never left out."),
    ];
    list("What the words mean", items.iter().map(|(what, why)| ((*what).to_owned(), (*why).to_owned())))
}
