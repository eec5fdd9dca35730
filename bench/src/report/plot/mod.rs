//! Plots as SVG, drawn here: only what the page and the README need.
//!
//! Knows values, labels and kinds of contenders, and nothing of measures. A value beyond an axis is marked and counted
//! at its end, never left out.

mod bars;
mod curves;
mod distribution;
mod scale;
mod svg;

pub use bars::{Bar, Bars};
pub use curves::{Curve, curves};
pub use distribution::{Distribution, Distributions};
pub use svg::{Anchor, Svg};

use super::units::cut;
use crate::results::Kind;

/// The style with colours and sizes, for light and dark.
pub const STYLE: &str = include_str!("plot.css");

/// The class of a kind of contender, which sets its colour.
pub fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Baseline => "baseline",
        Kind::Ours => "ours",
        Kind::Peer => "peer",
        Kind::Custom => "custom",
    }
}

/// As much of the text as fits into this many pixels. Fonts differ, so this assumes a wide average.
fn fitting(label: &str, pixels: f64) -> String {
    const CHAR: f64 = 6.7;
    cut(label, (pixels / CHAR) as usize)
}
