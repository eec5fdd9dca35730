//! What measures found, for people: tables in the terminal and the README, a page with plots, progress meanwhile.
//!
//! Figures come from [`crate::stats::figures`]; nothing here computes one.

mod markdown;
mod page;
mod plot;
mod progress;
mod summary;
mod tables;
mod text;
mod units;

pub use markdown::markdown;
pub use page::{html, svg};
pub use progress::TerminalProgress;
pub use text::text as table;
