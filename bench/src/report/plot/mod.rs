//! Plots, as SVG written by hand: what a page and a README need, and no more.
//!
//! Knows values, labels and kinds of contenders, and nothing of measures. What does not fit on an axis is marked and
//! counted at its end, never left out.

mod bars;
mod curves;
mod distribution;
mod scale;
mod svg;

pub use bars::{Bar, Bars};
pub use curves::{Curve, curves};
pub use distribution::{Distribution, Distributions};
pub use svg::{Anchor, Svg, escape};

use super::units::cut;
use crate::results::Kind;

/// Colours and sizes, for light and dark.
pub const STYLE: &str = include_str!("plot.css");

/// The class of a kind, which has its colour.
pub fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Baseline => "baseline",
        Kind::Ours => "ours",
        Kind::Peer => "peer",
        Kind::Custom => "custom",
    }
}

/// What fits into so many pixels. Fonts differ; this is the average of the common ones, and a little.
fn fitting(label: &str, pixels: f64) -> String {
    const CHAR: f64 = 6.7;
    cut(label, (pixels / CHAR) as usize)
}
