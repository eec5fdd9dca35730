//! Bursts of cold starts.

use serde::{Deserialize, Serialize};

/// Many cold starts at once. Rounds interleave all contenders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Burst {
    /// Every combination of contender and size.
    pub bursts: Vec<Bursts>,
}

/// The bursts of one contender and size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bursts {
    /// The name of the contender.
    pub name: String,
    /// How many start at once.
    pub instances: u32,
    /// One sample for each round.
    pub samples: Vec<BurstSample>,
    /// The reasons of bursts in which not all answered. They count as failures, never as samples.
    pub failures: Vec<String>,
    /// Why there were fewer bursts than rounds, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

/// One burst. Times count from the moment at which all were let go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstSample {
    /// The round.
    pub round: u32,
    /// When the whole reply to `POST /initialize` had arrived, for each instance.
    pub ready_us: Vec<f64>,
    /// The processor time of all instances together until the last had answered, from their way to the exec on.
    pub cpu_us: f64,
    /// The share of its processor's time that the client used.
    pub client_busy: f64,
    /// The longest time between two looks of the client for ports that are open.
    pub attempt_pause_us: f64,
}
