//! The plots of the history: one small picture for each figure, a dot for each run.

use super::{Figure, Section};
use crate::history::{History, Series};
use crate::report::plot::{Anchor, Svg};
use crate::report::units::number;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 130.0;
const LEFT: f64 = 12.0;
const RIGHT: f64 = WIDTH - 90.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = HEIGHT - 26.0;

pub(super) fn section(history: &History) -> Section {
    Section { title: "History of the ten lines", figures: history.series().iter().map(figure).collect() }
}

fn figure(series: &Series) -> Figure {
    let values = series.points.iter().map(|(_, value)| *value);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    // The axis does not begin at zero, because the question is what changed. Equal values lie in the middle.
    let span = if high > low { high - low } else { 1.0 };
    let base = if high > low { low } else { low - 0.5 };
    let steps = series.points.len().saturating_sub(1).max(1) as f64;
    let place = |(index, (_, value)): (usize, &(String, f64))| {
        (LEFT + (RIGHT - LEFT) * index as f64 / steps, BOTTOM - (BOTTOM - TOP) * (value - base) / span)
    };
    let places: Vec<_> = series.points.iter().enumerate().map(place).collect();
    let mut picture = Svg::default();
    picture.line((LEFT, BOTTOM + 8.0), (RIGHT, BOTTOM + 8.0), "base");
    picture.group("ours", "", |picture| {
        picture.path(&places, "curve");
        for (at, (commit, value)) in places.iter().zip(&series.points) {
            picture.group("", &format!("{commit}: {}", shown(*value)), |picture| picture.dot(*at, 3.5, "dot"));
        }
    });
    if let (Some((first, _)), Some((last, value)), Some(at)) =
        (series.points.first(), series.points.last(), places.last())
    {
        picture.text((RIGHT + 10.0, at.1 + 4.0), Anchor::Start, "strong", &shown(*value));
        picture.text((LEFT, HEIGHT - 4.0), Anchor::Start, "minor", first);
        if series.points.len() > 1 {
            picture.text((RIGHT, HEIGHT - 4.0), Anchor::End, "minor", last);
        }
    }
    let title = series.column.replace('_', " ");
    let runs = if series.points.len() == 1 { "one run".to_owned() } else { format!("{} runs", series.points.len()) };
    Figure {
        caption: format!("{runs}, from {} to {}. The axis does not begin at zero.", shown(low), shown(high)),
        picture: picture.inline(WIDTH, HEIGHT, &title),
        title,
        wide: false,
    }
}

fn shown(value: f64) -> String {
    number(Some(value), if value.fract() == 0.0 { 0 } else { 3 })
}
