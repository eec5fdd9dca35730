//! The plots of images and of one request: bars.

use super::plots::{HALF, bar_picture};
use super::{Figure, Section};
use crate::report::plot::Bar;
use crate::report::units::{count, number};
use crate::results::Results;
use crate::stats::Estimate;
use crate::stats::figures::{self, ContenderInfo, ImageFigures, RequestFigures};

fn bar(contender: ContenderInfo, value: Option<f64>, more: Option<f64>, texts: Vec<String>) -> Bar {
    Bar { label: contender.label.into(), kind: Some(contender.kind), value, more, texts, ..Bar::default() }
}

fn figure(title: &str, caption: &str, bars: Vec<Bar>, columns: &[(&'static str, f64)]) -> Option<Figure> {
    let bars = bars.into_iter().filter(|bar| bar.value.or(bar.more).is_some()).collect();
    let picture = bar_picture(bars, None, HALF, columns, title)?;
    Some(Figure { title: title.to_owned(), caption: caption.to_owned(), picture, wide: false })
}

pub(super) fn images(results: &Results) -> Section {
    let rows = figures::images(results);
    let bytes = |row: &ImageFigures| {
        let [gzip, unpacked] = [row.image.gzip_bytes, Some(row.image.unpacked_bytes).filter(|bytes| *bytes > 0)]
            .map(|bytes| bytes.map(|bytes| bytes as f64));
        let texts = [gzip, unpacked].map(|bytes| bytes.map_or_else(|| number(None, 0), count)).to_vec();
        bar(row.contender, gzip, unpacked, texts)
    };
    let time = |row: &ImageFigures| {
        let [create, load] = [row.create.median(), row.load.median()].map(|us| us.map(|us| us / 1e3));
        // The engine does one after the other.
        let both = create.zip(load).map(|(create, load)| create + load).or(load);
        bar(row.contender, create, both, [create, load].map(|ms| number(ms, 0)).to_vec())
    };
    let engine = results.image.as_ref().and_then(|images| images.engine.as_deref()).unwrap_or("an engine");
    let figures = [
        figure(
            "Bytes of an image",
            "Of one layer with the files that the contender looks at: by gzip, which an instance pulls; paler, \
             unpacked.",
            rows.iter().map(bytes).collect(),
            &[("gzip", 60.0), ("unpacked", 62.0)],
        ),
        figure(
            "Time of an image",
            &format!("Milliseconds until {engine} has made a container of the image; paler: and has loaded it before."),
            rows.iter().map(time).collect(),
            &[("create", 52.0), ("load", 52.0)],
        ),
    ];
    Section { title: "Images", figures: figures.into_iter().flatten().collect() }
}

/// What one request takes.
pub(super) fn requests(results: &Results) -> Vec<Figure> {
    let rows = figures::requests(results);
    let range = |estimate: Estimate| (estimate.interval.low, estimate.interval.high);
    let instructions = |row: &RequestFigures| {
        let texts = vec![row.instructions.map_or_else(|| number(None, 0), count), number(row.calls, 1)];
        bar(row.contender, row.instructions, None, texts)
    };
    let time = |row: &RequestFigures| {
        let (user, kernel) = (row.user.median(), row.kernel_us);
        let whole = user.zip(kernel).map(|(user, kernel)| user + kernel);
        let texts = [user, kernel].map(|us| number(us, 1)).to_vec();
        Bar { range: row.user.estimate().map(range), ..bar(row.contender, user, whole, texts) }
    };
    let figures = [
        figure(
            "Instructions of one request",
            "In user space, on one kept connection; beside them the number of system calls. Noise cannot touch either.",
            rows.iter().map(instructions).collect(),
            &[("instructions", 78.0), ("calls", 44.0)],
        ),
        figure(
            "Processor time of one request",
            "Microseconds in user space on 16 connections, with the range of the rounds; paler: and in the kernel.",
            rows.iter().map(time).collect(),
            &[("user", 52.0), ("kernel", 52.0)],
        ),
    ];
    figures.into_iter().flatten().collect()
}
