//! A chart of distributions, one row for each contender: a dot for every sample, a line for the median, a band for its
//! interval.

use super::scale::Scale;
use super::svg::{Anchor, Svg};
use super::{class, fitting};
use crate::report::units::{duration, short};
use crate::results::Kind;
use crate::stats::{Estimate, Sorted};

const LABELS: f64 = 178.0;
const VALUES: f64 = 158.0;
const MEDIAN: f64 = 66.0;
const BEYOND: f64 = 102.0;
const ROW: f64 = 36.0;
const HEAD: f64 = 30.0;
const FOOT: f64 = 44.0;
const RADIUS: f64 = 2.1;

/// A row that is further out than this many times the median row would compress all others, so it does not set the
/// axis.
const CLIP: f64 = 8.0;

/// A row. Times are in microseconds.
pub struct Distribution {
    /// The label.
    pub label: String,
    /// The kind of the contender, which has a colour.
    pub kind: Kind,
    /// The samples.
    pub samples: Sorted,
    /// The text beside the median.
    pub aside: String,
    /// The text that appears when the row is pointed at.
    pub words: String,
    /// A time to compare with, drawn as a mark.
    pub mark: Option<f64>,
}

/// Rows on one axis.
pub struct Distributions {
    /// The rows, from the top.
    pub rows: Vec<Distribution>,
    /// The name of the axis.
    pub axis: String,
    /// The title above the numbers beside the medians.
    pub aside: &'static str,
}

/// The positions of the parts of a chart.
struct Frame {
    scale: Scale,
    end: f64,
    bottom: f64,
    values: f64,
    /// The largest value on the axis.
    high: f64,
}

impl Distributions {
    /// The height of the chart.
    pub fn height(&self) -> f64 {
        HEAD + ROW * self.rows.len() as f64 + FOOT
    }

    /// Draws the chart with its upper left corner at `(left, top)`.
    pub fn draw(&self, svg: &mut Svg, left: f64, top: f64, width: f64) {
        let frame = self.frame(left, top, width);
        self.grid(svg, &frame, top + HEAD, left + width);
        for (index, row) in self.rows.iter().enumerate() {
            let middle = top + HEAD + ROW * (index as f64 + 0.5);
            let words = if row.words.is_empty() { &row.label } else { &row.words };
            svg.group(class(row.kind), words, |svg| {
                if row.kind == Kind::Ours {
                    svg.rect((left, middle - ROW / 2.0 + 1.0), (width, ROW - 2.0), 6.0, "band");
                }
                let weight = if row.kind == Kind::Peer { "label" } else { "label strong own" };
                svg.text((left + 8.0, middle + 4.0), Anchor::Start, weight, &fitting(&row.label, LABELS - 10.0));
                draw_row(svg, row, &frame, middle);
                let aside = (left + width - 8.0, middle + 4.0);
                svg.text(aside, Anchor::End, "minor", &row.aside);
            });
        }
    }

    fn frame(&self, left: f64, top: f64, width: f64) -> Frame {
        let (low, high) = self.domain();
        let beyond = self.rows.iter().any(|row| row.samples.largest().is_some_and(|largest| largest > high));
        let values = left + width - VALUES;
        let end = values - if beyond { BEYOND } else { 14.0 };
        let scale = Scale::log(low, high, left + LABELS, end);
        Frame { scale, end, bottom: top + HEAD + ROW * self.rows.len() as f64, values, high }
    }

    /// The axis reaches from the least sample to the largest one that is no outlier, of the rows that are not far from
    /// the others.
    fn domain(&self) -> (f64, f64) {
        let medians = Sorted::new(self.rows.iter().filter_map(|row| row.samples.median()));
        let limit = medians.median().unwrap_or(1.0) * CLIP;
        let near = |row: &&Distribution| row.samples.median().is_some_and(|median| median <= limit);
        let near: Vec<&Distribution> = self.rows.iter().filter(near).collect();
        let all = near.iter().flat_map(|row| row.samples.samples()).copied();
        let low =
            all.chain(near.iter().filter_map(|row| row.mark)).filter(|us| *us > 0.0).fold(f64::INFINITY, f64::min);
        let high = near.iter().filter_map(|row| row.samples.largest_near()).fold(0.0, f64::max);
        (low * 0.96, high * 1.04)
    }

    fn grid(&self, svg: &mut Svg, frame: &Frame, top: f64, right: f64) {
        let (unit, per) = if frame.high >= 1e6 {
            ("s", 1e6)
        } else if frame.high >= 2e3 {
            ("ms", 1e3)
        } else {
            ("µs", 1.0)
        };
        for tick in frame.scale.ticks(46.0) {
            let x = frame.scale.at(tick);
            svg.line((x, top), (x, frame.bottom), "grid");
            svg.text((x, frame.bottom + 17.0), Anchor::Middle, "axis", &trimmed(tick / per));
        }
        svg.line((frame.scale.at(0.0), frame.bottom), (frame.end, frame.bottom), "base");
        let middle = f64::midpoint(frame.scale.at(0.0), frame.end);
        let axis = format!("{}, {unit}, log scale", self.axis);
        svg.text((middle, frame.bottom + 36.0), Anchor::Middle, "axis", &axis);
        let above = top - 10.0;
        svg.text((frame.values + MEDIAN, above), Anchor::End, "axis", "median");
        svg.text((right - 8.0, above), Anchor::End, "axis", self.aside);
        if frame.end < frame.values - 20.0 {
            svg.text((frame.end + 4.0, above), Anchor::Start, "axis", "beyond");
        }
        let baseline = self.rows.iter().find(|row| row.kind == Kind::Baseline).and_then(|row| row.samples.median());
        if let Some(x) = baseline.map(|us| frame.scale.at(us)) {
            svg.line((x, top), (x, frame.bottom), "reference");
        }
    }
}

fn draw_row(svg: &mut Svg, row: &Distribution, frame: &Frame, middle: f64) {
    for (x, y) in stacked(row.samples.samples().iter().filter(|us| **us <= frame.high).map(|us| frame.scale.at(*us))) {
        svg.dot((x, middle + y), RADIUS, "dot");
    }
    let beyond: Vec<f64> = row.samples.samples().iter().copied().filter(|us| *us > frame.high).collect();
    if let Some(largest) = beyond.last() {
        let many = if beyond.len() == row.samples.count() { "all".to_owned() } else { beyond.len().to_string() };
        let text = format!("▸ {many}, to {}", duration(*largest));
        svg.text((frame.end + 4.0, middle + 4.0), Anchor::Start, "minor", &text);
    }
    let Some(Estimate { median, interval, .. }) = row.samples.estimate() else {
        svg.text((frame.values + MEDIAN, middle + 4.0), Anchor::End, "minor", "no sample");
        return;
    };
    if median <= frame.high {
        let (from, to) = (frame.scale.at(interval.low), frame.scale.at(interval.high));
        svg.rect((from, middle - 15.0), (to - from, 30.0), 1.0, "sure");
        let x = frame.scale.at(median);
        svg.line((x, middle - 15.0), (x, middle + 15.0), "halo");
        svg.line((x, middle - 15.0), (x, middle + 15.0), "median");
    }
    if let Some(x) = row.mark.filter(|us| *us <= frame.high).map(|us| frame.scale.at(us)) {
        svg.path(&[(x, middle + 9.0), (x - 5.0, middle + 16.0), (x + 5.0, middle + 16.0), (x, middle + 9.0)], "own");
    }
    svg.text((frame.values + MEDIAN, middle + 4.0), Anchor::End, "strong", &duration(median));
}

/// Moves dots up and down that would cover each other, so that the shape shows how many there are.
fn stacked(all: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    const BIN: f64 = 2.0 * RADIUS;
    const HALF: f64 = 13.0;
    let mut dots = Vec::new();
    let all: Vec<f64> = all.collect();
    for bin in all.chunk_by(|left, right| (left / BIN).floor() == (right / BIN).floor()) {
        let step = (BIN * 0.95).min(2.0 * HALF / (bin.len() as f64 - 1.0).max(1.0));
        // From the middle outwards: 0, 1, -1, 2, -2.
        let place = |index: usize| (index.div_ceil(2) as f64) * if index % 2 == 1 { 1.0 } else { -1.0 };
        dots.extend(bin.iter().enumerate().map(|(index, x)| (*x, place(index) * step)));
    }
    dots
}

/// A number without trailing zeros.
fn trimmed(value: f64) -> String {
    let text = short(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
