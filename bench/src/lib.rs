//! The other half of fc-hooks: a double of the Function Compute platform.
//!
//! It drives any container or server through its whole life as the platform would (`run`), and
//! checks it against the platform's contract (`check`). The subject may be written in any
//! language; it is only ever seen from outside: its port, its output, its signals, its exit.
//!
//! What it is not: a gateway that serves real callers, an emulator of triggers or of the
//! platform's API, or part of any image.
//!
//! From the outside in: [`cli`] turns arguments into plans; [`life`] and [`check`] carry them out
//! with a [`subject`], a [`freezer`], the [`platform`]'s requests and the [`http`] client;
//! [`report`] shows what came. [`cleanup`] sees to it that nothing stays behind.

pub mod attack;
pub mod check;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod coldstart;
pub mod contest;
pub mod density;
pub mod endure;
pub mod error;
pub mod freezer;
pub mod freezes;
pub mod http;
pub mod instance;
pub mod life;
pub mod load;
pub mod measure;
pub mod output;
pub mod platform;
pub mod random;
pub mod report;
pub mod results;
pub mod stats;
pub mod subject;
pub mod thaw;
