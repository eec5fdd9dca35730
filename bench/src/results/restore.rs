//! Restores.

use serde::{Deserialize, Serialize};

/// From the restore of a saved instance to its first reply. Rounds interleave all contenders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Restore {
    /// The guest and the programs of the virtual machines, with their versions.
    pub tools: String,
    /// Every combination of contender and way.
    pub restores: Vec<Restores>,
}

/// The restores of one contender in one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restores {
    /// The name of the contender.
    pub name: String,
    /// `vm-snapshot` or `criu`.
    pub way: String,
    /// The bytes that were saved: of the whole guest, or of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_bytes: Option<u64>,
    /// One sample for each round.
    pub samples: Vec<RestoreSample>,
    /// Page faults from the restore to the reply: of the virtual machine on the host for a snapshot, in each round; of
    /// the process in the guest for CRIU, in one further restore, because asking takes time.
    #[serde(default)]
    pub faults: Vec<u64>,
    /// The reasons of restores without a reply.
    pub failures: Vec<String>,
}

/// One restore. Times count from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreSample {
    /// The round.
    pub round: u32,
    /// When the instance ran again.
    pub restored_us: f64,
    /// When the whole reply to a call had arrived, which was sent on a connection of its own as soon as it ran.
    pub reply_us: f64,
}
