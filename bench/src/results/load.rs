//! The requests of a load, and what one of them takes.

use serde::{Deserialize, Serialize};

/// The requests of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A small event with the platform's headers and a token of 1 kB, each request with an id of its own
    Real,
    /// The same, but the same bytes each time. Results without a kind are of this one
    #[default]
    Canned,
    /// A small event with two of the platform's headers, the same bytes each time
    Small,
}

/// What one request takes of one contender, on kept connections and without log markers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// The name of the contender.
    pub name: String,
    /// System calls on one connection, by name. Empty if they could not be counted.
    pub system_calls: Vec<(String, f64)>,
    /// Instructions in user space on one connection.
    pub instructions: Option<f64>,
    /// How the instructions were counted.
    pub instructions_by: Option<String>,
    /// Processor time under load on 16 connections, one sample for each round. Rounds interleave all contenders.
    pub times: Vec<RequestTime>,
    /// Rounds that failed, and why.
    pub failures: Vec<String>,
}

/// The processor time of one request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestTime {
    /// The round.
    pub round: u32,
    /// In user space and in the kernel.
    pub cpu_us: f64,
    /// In user space.
    pub user_us: f64,
    /// How often it was looked whether the server is in user space. The fewer, the less exact is the split.
    pub looks: u64,
    /// Whether perf looked, or the ticks of the kernel's clock stand in.
    pub by_perf: bool,
}
