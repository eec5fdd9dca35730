//! From samples to figures: medians, intervals, ratios, warnings. Pure.
//!
//! Nothing here assumes a shape of distribution, and no sample is ever left out: what is far out is counted and stays.
//! What the terms mean is said once, where each is made:
//!
//! - [`Sorted`]: median, percentile, interval, relative interquartile range, outliers;
//! - [`ratio`] and [`difference`]: two contenders compared round by round;
//! - [`Histogram`]: latencies merged over rounds;
//! - [`figures`]: the same for each measure of a run;
//! - [`warnings`]: why somebody might not believe the figures.

pub mod figures;
mod histogram;
mod order;
mod paired;
mod warnings;

pub use histogram::Histogram;
pub use order::{CONFIDENCE, Estimate, Interval, Sorted};
pub use paired::{difference, ratio};
pub use warnings::{Warning, warnings};
