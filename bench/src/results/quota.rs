//! Cold starts on a share of a processor.

use serde::{Deserialize, Serialize};

/// From the start to the first reply on a share of a processor. Rounds interleave all contenders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Quota {
    /// How the share of processes is limited.
    pub limited_by: String,
    /// The length of a period: in each, the processes get the share of it as processor time.
    pub period_us: f64,
    /// Starts as a process, which enters its control group before its exec. The clock starts at the exec.
    pub process: Vec<QuotaStarts>,
    /// Starts as a container, by `docker run --cpus`. The clock starts at `docker run`.
    pub container: Vec<QuotaStarts>,
}

/// The starts of one contender on one share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuotaStarts {
    /// The name of the contender.
    pub name: String,
    /// The share, in processors.
    pub vcpu: f64,
    /// One sample for each round.
    pub samples: Vec<QuotaStart>,
    /// The reasons of starts that got no reply.
    pub failures: Vec<String>,
    /// Why there were fewer starts than rounds, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

/// One start on a share of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuotaStart {
    /// The round.
    pub round: u32,
    /// When the whole reply to `POST /initialize` had arrived.
    pub initialize_us: f64,
    /// The periods until then in which the share was used up (`nr_throttled`).
    pub throttled_periods: u64,
    /// How long its processes had to wait for the next period, of all processors together.
    pub throttled_us: f64,
    /// The processor time of its processes until then, if the kernel tells. Not of containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
}
