//! Shows results: tables for the terminal and for the README, a page with plots, and the progress of a run.
//!
//! [`crate::stats::figures`] computes the figures; nothing here does.

mod markdown;
mod page;
mod plot;
mod progress;
mod summary;
mod tables;
mod text;
mod units;

pub use markdown::markdown;
pub use page::{page as html, page_with_history as html_with_history, svg};
pub use progress::TerminalProgress;
pub use text::text as table;
