//! Measures fc-hooks and other servers, all with the same requests in interleaved rounds.
//!
//! The modules: [`cli`] and [`measure`] choose contenders and measures. [`coldstart`], [`burst`], [`load`],
//! [`thaw`], [`density`], [`payload`], [`restore`], [`image`] and [`proxy`] measure, with the [`harness`] that they
//! share. [`results`] holds every sample, [`stats`] computes figures from samples, and [`report`] shows the figures.
//! Freezers, the HTTP client and the clean-up are those of `fc-emulator`.

pub mod burst;
pub mod cli;
pub mod coldstart;
pub mod density;
pub mod harness;
pub mod history;
pub mod image;
pub mod load;
pub mod measure;
pub mod payload;
pub mod proxy;
pub mod report;
pub mod restore;
pub mod results;
pub mod stats;
pub mod thaw;
