//! Measures fc-hooks beside other servers, all with the same requests in interleaved rounds.
//!
//! From the outside in: [`cli`] and [`measure`] choose contenders and measures; [`coldstart`], [`load`], [`thaw`] and
//! [`density`] measure, with what the [`harness`] gives all of them; [`results`] holds every sample; [`stats`] turns
//! samples into figures, and [`report`] shows these. Freezers, the HTTP client and cleaning up are those of
//! `fc-emulator`.

pub mod cli;
pub mod coldstart;
pub mod density;
pub mod harness;
pub mod load;
pub mod measure;
pub mod report;
pub mod results;
pub mod stats;
pub mod thaw;
