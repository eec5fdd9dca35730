//! What measures found, for people: tables in the terminal and the README, a page with plots, progress meanwhile.
//!
//! Figures come from [`crate::stats::figures`]; nothing here computes one.

mod bar;
mod digest;
mod markdown;
mod page;
mod plot;
mod tables;
mod text;
mod units;

pub use bar::Bar;
pub use markdown::markdown;
pub use page::{html, svg};
pub(super) use plot::escape;
pub use text::text as table;
