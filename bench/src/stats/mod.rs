//! Computes figures from samples: medians, intervals, ratios, warnings. Pure.
//!
//! Nothing here assumes a shape of distribution, and no sample is left out: outliers are counted and stay. Each term is
//! defined once:
//!
//! - [`Sorted`]: median, percentile, interval, relative interquartile range, outliers;
//! - [`ratio`] and [`difference`]: two contenders compared round by round;
//! - [`Histogram`]: latencies merged over rounds;
//! - [`figures`]: these statistics for each measure of a run;
//! - [`warnings`]: reasons to doubt the figures;
//! - [`failed`]: contenders that have no figure although they were asked for.

mod failed;
pub mod figures;
mod histogram;
mod order;
mod paired;
mod warnings;

pub use failed::{Failed, failed};
pub use histogram::Histogram;
pub use order::{CONFIDENCE, Estimate, Interval, Sorted};
pub use paired::{difference, ratio};
pub use warnings::{Warning, warnings};
