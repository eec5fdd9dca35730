//! The table of images.

use super::{Table, estimate, row};
use crate::report::units::{number, whole};
use crate::results::Results;
use crate::stats::figures::{self, ImageFigures};

const MS: f64 = 1e3;

pub fn tables(results: &Results) -> Vec<Table> {
    let Some(images) = &results.image else { return Vec::new() };
    let rows = figures::images(results);
    let cells = |figures: &ImageFigures| {
        let image = figures.image;
        let there = |bytes: u64| (bytes > 0).then_some(bytes);
        let cells = [
            whole(there(image.files)),
            whole(there(image.unpacked_bytes)),
            whole(image.gzip_bytes),
            number(figures.gzip_ratio, 1),
            whole(image.zstd_bytes),
            whole(image.layers),
            estimate(figures.load.estimate(), MS, 0),
            estimate(figures.create.estimate(), MS, 0),
        ];
        row(figures.contender, figures.contender.label, cells)
    };
    let failed = |figures: &ImageFigures| {
        let first = figures.image.failures.first()?;
        Some(format!("{}: {first}", figures.contender.label))
    };
    let engine = images.engine.as_ref().map_or_else(
        || "No engine answered, so there are no times.".to_owned(),
        |engine| format!("Milliseconds to load the image and to make a container of it, by {engine}."),
    );
    vec![Table {
        title: "Image".to_owned(),
        says: format!(
            "Bytes of the files that the contender looks at until it has answered, and of one layer with them: by gzip \
             -6, as registries keep layers and instances pull them, and by zstd -3. {engine}"
        ),
        columns: vec![
            "contender",
            "files",
            "bytes\nunpacked",
            "gzip",
            "× base-\nline",
            "zstd",
            "layers",
            "load\n[95 %]",
            "create\n[95 %]",
        ],
        rows: rows.iter().map(cells).collect(),
        notes: rows.iter().filter_map(failed).collect(),
    }]
}
