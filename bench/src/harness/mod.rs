//! Who is measured, and the manners all measures share: interleaved rounds, pinned processors, progress.
//!
//! Owns the list of contenders, the processors, and the instances with their freeze groups. Knows
//! nothing of what is measured.

mod client;
mod contenders;
mod freeze;
mod instance;
mod pin;
mod rounds;
mod staged_binaries;

pub use client::{Call, Client, Conn};
pub use contenders::{Contender, Contenders};
pub use freeze::freeze_all;
pub use instance::{Instance, Start, micros, now};
pub use pin::{Pinned, Processors, RealTime, pin_self};
pub use rounds::shuffled;
pub use staged_binaries::StagedBinaries;

/// The event that is sent, and the body of every reply: an echo and a canned reply are then the same bytes.
pub const BODY: &str = "ready";

/// Shows how far a measure is.
pub trait Progress {
    /// A measure of so many steps begins.
    fn begin(&mut self, measure: &str, steps: u64);

    /// One step has ended; what it was.
    fn step(&mut self, what: &str);
}

/// What every measure is given.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// A short run, for a first look: fewer rounds, the same figures.
    pub quick: bool,
    /// Decides the order within rounds.
    pub seed: u64,
}
