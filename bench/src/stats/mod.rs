//! From samples to figures: medians, intervals, ratios, doubts. Pure.
//!
//! Nothing here assumes a shape of distribution, and no sample is ever left out: what is far out is counted and stays.
//! What the terms mean is said once, where each is made:
//!
//! - [`Sorted`]: median, percentile, interval, spread, far out;
//! - [`ratio`] and [`difference`]: two contenders compared round by round;
//! - [`Histogram`]: latencies merged over rounds;
//! - [`figures`]: the same for each measure of a run;
//! - [`doubts`]: why somebody might not believe the figures.

mod doubt;
pub mod figures;
mod histogram;
mod order;
mod paired;

pub use doubt::{Doubt, doubts};
pub use histogram::Histogram;
pub use order::{CONFIDENCE, Estimate, Interval, Sorted};
pub use paired::{difference, ratio};
