//! A chart of latency by percentile: to the right, each step is ten times rarer.

use super::fitting;
use super::scale::Scale;
use super::svg::{Anchor, Point, Svg};
use crate::report::units::duration;
use crate::stats::Sorted;

const LEFT: f64 = 62.0;
const LABELS: f64 = 196.0;
const TOP: f64 = 14.0;
const FOOT: f64 = 44.0;
const HEIGHT: f64 = 420.0;

/// The smallest distance between two labels.
const APART: f64 = 15.0;

/// The rarest share that is shown: one in ten thousand.
const RAREST: f64 = 4.0;

/// A curve that ends this many times higher than the median curve would flatten all others, so it leaves the chart.
const CLIP: f64 = 12.0;

/// The shares that the axis names.
const NAMED: [(f64, &str); 6] =
    [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"), (0.75, "75 %")];

/// A curve.
pub struct Curve {
    /// The label.
    pub label: String,
    /// The classes for its colour and stroke.
    pub class: String,
    /// The text that appears when the curve is pointed at.
    pub words: String,
    /// Latencies in microseconds, and the share of all latencies that each is not exceeded by.
    pub points: Vec<(f64, f64)>,
}

/// The place of a label, and the end of its curve; `None` for a curve that leaves the chart.
struct End<'a> {
    y: f64,
    curve: &'a Curve,
    from: Option<Point>,
}

/// Draws the chart.
pub fn curves(all: &[Curve], width: f64, words: &str) -> String {
    let drawn: Vec<(&Curve, Vec<(f64, f64)>)> = all.iter().map(|curve| (curve, shown(&curve.points))).collect();
    let high = high(&drawn);
    let values = drawn.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us));
    let low = values.filter(|us| *us > 0.0).fold(f64::INFINITY, f64::min);
    let rarest = drawn.iter().flat_map(|(_, points)| points.last()).map(|(x, _)| *x).fold(1.0, f64::max);
    let (end, bottom) = (width - LABELS, HEIGHT - FOOT);
    let across = |rarity: f64| {
        let first = rarity_of(0.5);
        LEFT + (rarity - first) / (rarest - first) * (end - LEFT)
    };
    let up = Scale::log(low * 0.9, high * 1.1, bottom, TOP);
    let mut svg = Svg::default();
    for tick in up.ticks(30.0) {
        svg.line((LEFT, up.at(tick)), (end, up.at(tick)), "grid");
        svg.text((LEFT - 8.0, up.at(tick) + 4.0), Anchor::End, "axis", &tick_text(tick));
    }
    for (share, name) in NAMED.iter().filter(|(share, _)| rarity_of(*share) <= rarest + 0.01) {
        let x = across(rarity_of(*share));
        svg.line((x, TOP), (x, bottom), "grid");
        svg.text((x, bottom + 17.0), Anchor::Middle, "axis", name);
    }
    let middle = f64::midpoint(LEFT, end);
    svg.text((middle, bottom + 36.0), Anchor::Middle, "axis", "share of requests that were at least as quick");
    let mut ends: Vec<End> = Vec::new();
    for (curve, points) in drawn.iter().filter(|(_, points)| !points.is_empty()) {
        let inside = points.iter().take_while(|(_, us)| *us <= high).count();
        // The first point beyond the chart stands at the upper edge, where the curve leaves.
        let path = points.iter().take(inside + 1).map(|(rarity, us)| (across(*rarity), up.at(*us)));
        let path: Vec<Point> = path.collect();
        let from = path.last().copied().filter(|_| inside == points.len());
        ends.push(End { y: from.map_or(TOP, |(_, y)| y), curve, from });
        svg.group(&curve.class, &curve.words, |svg| svg.path(&path, &format!("curve {}", curve.class)));
    }
    labels(&mut svg, ends, end, bottom);
    svg.inline(width, HEIGHT, words)
}

/// The largest value of the curves that are not far above the others.
fn high(drawn: &[(&Curve, Vec<(f64, f64)>)]) -> f64 {
    let ends = Sorted::new(drawn.iter().filter_map(|(_, points)| points.last()).map(|(_, us)| *us));
    let limit = ends.median().unwrap_or(1.0) * CLIP;
    ends.samples().iter().copied().filter(|us| *us <= limit).fold(0.0, f64::max)
}

/// Labels at the ends of curves, moved apart where they would cover each other.
fn labels(svg: &mut Svg, mut ends: Vec<End>, right: f64, bottom: f64) {
    ends.sort_by(|left, right| left.y.total_cmp(&right.y));
    let mut last = f64::NEG_INFINITY;
    for end in &mut ends {
        end.y = end.y.max(last + APART);
        last = end.y;
    }
    let mut next = bottom + APART;
    for end in ends.iter_mut().rev() {
        end.y = end.y.min(next - APART);
        next = end.y;
    }
    for End { y, curve, from } in ends {
        svg.group(&curve.class, &curve.words, |svg| {
            let label = match from {
                Some((x, from)) => {
                    svg.path(&[(x, from), (right + 4.0, from), (right + 14.0, y), (right + 18.0, y)], "leader");
                    curve.label.clone()
                }
                None => format!("▴ {}", curve.label),
            };
            svg.text((right + 22.0, y + 4.0), Anchor::Start, "own", &fitting(&label, LABELS - 24.0));
        });
    }
}

/// The points from the median on, by rarity: of every ten, hundred, thousand … requests one is slower.
fn shown(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut shown: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<f64> = None;
    for (us, share) in points {
        let rarity = rarity_of(*share).min(RAREST);
        if *share >= 0.5 {
            if shown.is_empty() {
                shown.push((rarity_of(0.5), *us));
            }
            // The bound of a bucket holds from the share before it on, so the curve rises before the step.
            if let Some(from) = before.filter(|from| *from > rarity_of(0.5)) {
                shown.push((from, *us));
            }
            shown.push((rarity, *us));
        }
        before = Some(rarity);
        if rarity >= RAREST {
            break;
        }
    }
    shown
}

fn rarity_of(share: f64) -> f64 {
    -(1.0 - share).max(1e-12).log10()
}

fn tick_text(us: f64) -> String {
    let text = duration(us);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}
