//! Figures of images.

use super::{ContenderInfo, baseline, contender, in_order, sorted};
use crate::results::{Image, Results};
use crate::stats::order::Sorted;

/// The image of one contender. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct ImageFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// The image.
    pub image: &'a Image,
    /// The bytes to pull, as a ratio to the baseline's.
    pub gzip_ratio: Option<f64>,
    /// The time to load it.
    pub load: Sorted,
    /// The time to make a container of it.
    pub create: Sorted,
}

/// All images.
pub fn images<'a>(results: &'a Results) -> Vec<ImageFigures<'a>> {
    let all = results.image.as_ref().map_or(&[][..], |images| &images.contenders);
    let to = all.iter().find(|image| Some(image.name.as_str()) == baseline(results));
    let to = to.and_then(|image| image.gzip_bytes).filter(|bytes| *bytes > 0);
    let figures = |image: &'a Image| {
        let Image { name, gzip_bytes, load_us, create_us, .. } = image;
        let gzip_ratio = gzip_bytes.zip(to).map(|(of, to)| of as f64 / to as f64);
        let (load, create) = (sorted(load_us), sorted(create_us));
        ImageFigures { contender: contender(results, name), image, gzip_ratio, load, create }
    };
    let mut rows: Vec<ImageFigures> = all.iter().map(figures).collect();
    in_order(results, &mut rows, |row| row.contender.name);
    rows
}
