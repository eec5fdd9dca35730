//! The contenders, and the rules that all measures share: interleaved rounds, pinned processors, progress.
//!
//! Holds the list of contenders, the processors, and the instances with their freeze groups. It does not know what is
//! measured.

mod callgrind;
mod capacity;
mod client;
mod contenders;
mod cpu_limit;
mod echoes;
mod fine_timer;
mod folder;
mod freeze;
mod instance;
mod leftovers;
mod listening;
mod pin;
mod rounds;
mod run_folder;
mod socket;
mod staged_binaries;
pub mod strace;
mod tree;
mod user_time;

pub use callgrind::Callgrind;
pub use capacity::{Capacity, Descriptors};
pub use client::{Call, Client, Conn};
pub use contenders::{Contender, Contenders};
pub use cpu_limit::{CpuLimit, PERIOD_US, Throttling};
pub use echoes::{Echo, Echoes};
pub use fine_timer::FineTimer;
pub use folder::Folder;
pub use freeze::freeze_all;
pub use instance::{Instance, Start, micros, now};
pub use leftovers::{Watcher, end as end_leftovers, watch};
pub use listening::Listening;
pub use pin::{Pinned, Processors, RealTime, pin_self, set_of};
pub use rounds::{distinct, shuffled};
pub use run_folder::RunFolder;
pub use socket::{connect_soon, reset};
pub use staged_binaries::StagedBinaries;
pub use tree::{Archive, Tree};
pub use user_time::{Looking, Looks};

/// The event that is sent, and the body of every reply. An echo and a constant reply are then the same bytes.
pub const BODY: &str = "ready";

/// Shows the progress of a measure.
pub trait Progress {
    /// A measure with this many steps begins.
    fn begin(&mut self, measure: &str, steps: u64);

    /// One step has ended; `what` names it.
    fn step(&mut self, what: &str);
}

/// The input of every measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The contenders that take part.
    pub contenders: Vec<Contender>,
    /// Those that answer with the request's body.
    pub echoes: Vec<Echo>,
    /// A short run for a first look: fewer rounds, the same figures.
    pub quick: bool,
    /// The seed of the order within rounds.
    pub seed: u64,
}

impl Plan {
    /// The plan of a measure that starts contenders often: a quick run leaves out the heavy ones.
    #[must_use]
    pub fn without_heavy(&self) -> Self {
        let mut plan = self.clone();
        plan.contenders.retain(|contender| !(contender.is_heavy && plan.quick));
        plan
    }
}
