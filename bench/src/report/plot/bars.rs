//! A chart of horizontal bars, one row for each contender, with their ranges.

use super::scale::Scale;
use super::svg::{Anchor, Svg};
use super::{class, fitting};
use crate::report::units::count;
use crate::results::Kind;
use crate::stats::Sorted;

const ROW: f64 = 26.0;
const THICK: f64 = 15.0;
const HEAD: f64 = 24.0;
const FOOT: f64 = 24.0;

/// A bar that is longer than this many times the median bar is broken, and its end is marked.
const CLIP: f64 = 5.0;

/// A row.
#[derive(Default)]
pub struct Bar {
    /// The label.
    pub label: String,
    /// The kind of the contender, which has a colour.
    pub kind: Option<Kind>,
    /// The length of the bar.
    pub value: Option<f64>,
    /// How far a paler bar continues.
    pub more: Option<f64>,
    /// The range of the value.
    pub range: Option<(f64, f64)>,
    /// The texts behind the bar, one for each column.
    pub texts: Vec<String>,
    /// The text that appears when the row is pointed at.
    pub words: String,
}

/// Rows on one axis.
pub struct Bars {
    /// The rows, from the top.
    pub rows: Vec<Bar>,
    /// A value with which all are compared.
    pub reference: Option<f64>,
    /// The width of the labels in pixels.
    pub labels: f64,
    /// The titles of the columns behind the bars, and the width of each in pixels.
    pub columns: Vec<(&'static str, f64)>,
}

impl Bars {
    /// Draws the chart.
    pub fn svg(&self, width: f64, words: &str) -> String {
        let height = HEAD + ROW * self.rows.len() as f64 + FOOT;
        let texts: f64 = self.columns.iter().map(|(_, pixels)| pixels).sum();
        let (end, bottom) = (width - texts - 16.0, height - FOOT);
        let scale = Scale::linear(self.high(), self.labels, end);
        let mut svg = Svg::default();
        for tick in scale.ticks(46.0) {
            let x = scale.at(tick);
            svg.line((x, HEAD), (x, bottom), "grid");
            svg.text((x, bottom + 16.0), Anchor::Middle, "axis", &tick_text(tick));
        }
        svg.group("heads", "", |svg| self.behind(svg, self.columns.iter().map(|(title, _)| *title), width, HEAD - 8.0));
        for (index, row) in self.rows.iter().enumerate() {
            let middle = HEAD + ROW * (index as f64 + 0.5);
            let kind = row.kind.unwrap_or(Kind::Custom);
            let title = if row.words.is_empty() { &row.label } else { &row.words };
            svg.group(class(kind), title, |svg| {
                let weight = if kind == Kind::Peer { "label" } else { "label strong own" };
                svg.text((0.0, middle + 4.0), Anchor::Start, weight, &fitting(&row.label, self.labels - 8.0));
                self.bar(svg, row, &scale, (end, middle));
                self.behind(svg, row.texts.iter().map(String::as_str), width, middle + 4.0);
            });
        }
        svg.line((self.labels, HEAD), (self.labels, bottom), "base");
        if let Some(x) = self.reference.map(|value| scale.at(value)) {
            svg.line((x, HEAD), (x, bottom), "reference");
        }
        svg.inline(width, height, words)
    }

    fn bar(&self, svg: &mut Svg, row: &Bar, scale: &Scale, (end, middle): (f64, f64)) {
        let high = self.high();
        let upper = middle - THICK / 2.0;
        let from = scale.at(0.0);
        let value = row.value.unwrap_or(0.0);
        if let Some(more) = row.more.filter(|more| *more > value) {
            svg.rect((from, upper), (scale.at(more) - from, THICK), 2.0, "more");
        }
        if row.value.is_some() {
            svg.rect((from, upper), (scale.at(value) - from, THICK), 2.0, "bar");
        }
        if value.max(row.more.unwrap_or(0.0)) > high {
            // The bar is broken, because it is longer than the axis.
            for x in [end - 16.0, end - 10.0] {
                svg.line((x - 3.0, upper + THICK + 2.0), (x + 3.0, upper - 2.0), "gap");
            }
            svg.text((end + 2.0, middle + 4.0), Anchor::Start, "minor", "▸");
        }
        if let Some((low, up)) = row.range.filter(|(low, up)| *low <= high && up > low) {
            let (low, up) = (scale.at(low), scale.at(up));
            svg.line((low, middle), (up, middle), "whisker");
            svg.line((low, middle - 4.0), (low, middle + 4.0), "whisker");
            svg.line((up, middle - 4.0), (up, middle + 4.0), "whisker");
        }
    }

    /// Draws the texts in the columns behind the bars.
    fn behind<'a>(&self, svg: &mut Svg, texts: impl Iterator<Item = &'a str>, width: f64, y: f64) {
        let all: f64 = self.columns.iter().map(|(_, pixels)| pixels).sum();
        let mut x = width - all;
        for (index, (text, (_, pixels))) in texts.zip(&self.columns).enumerate() {
            x += pixels;
            svg.text((x, y), Anchor::End, if index == 0 { "value" } else { "minor" }, text);
        }
    }

    /// The end of the longest bar that is not far from the others.
    fn high(&self) -> f64 {
        let ends = Sorted::new(self.rows.iter().filter_map(|row| {
            let ends = [row.value, row.more].into_iter().flatten();
            ends.reduce(f64::max)
        }));
        let limit = ends.median().unwrap_or(1.0) * CLIP;
        let near = |row: &&Bar| row.value.unwrap_or(0.0).max(row.more.unwrap_or(0.0)) <= limit;
        let reach =
            |row: &Bar| [row.value, row.more, row.range.map(|(_, up)| up)].into_iter().flatten().fold(0.0, f64::max);
        let high = self.rows.iter().filter(near).map(reach).fold(0.0, f64::max);
        if high > 0.0 { high } else { 1.0 }
    }
}

fn tick_text(value: f64) -> String {
    if value > 0.0 && value < 10.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let text = count(value);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}
