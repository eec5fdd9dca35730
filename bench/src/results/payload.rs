//! Payloads.

use serde::{Deserialize, Serialize};

use super::Described;

/// Events of several sizes, each answered with its own bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Payload {
    /// The processors of the client.
    pub client_processors: Vec<usize>,
    /// The processors of the server; the same as the client's if there is only one.
    pub server_processors: Vec<usize>,
    /// The servers, in the order of reports.
    pub echoes: Vec<Echoing>,
    /// Every combination of server and size.
    pub cells: Vec<PayloadCell>,
}

/// A server that answers with the request's body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Echoing {
    /// Its description, with a name of its own.
    #[serde(flatten)]
    pub described: Described,
    /// The contender that it belongs to.
    pub of: String,
    /// Whether it answers while it still reads.
    #[serde(default)]
    pub streams: bool,
}

/// One server and one size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PayloadCell {
    /// The name of the server.
    pub name: String,
    /// The length of the body in each direction.
    pub body_bytes: u64,
    /// One run for each round.
    pub runs: Vec<PayloadRun>,
    /// What the first body of this size costs fresh processes.
    #[serde(default)]
    pub memory: Vec<PayloadMemory>,
    /// System calls for one call, by name.
    #[serde(default)]
    pub system_calls: Vec<(String, f64)>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<String>,
}

/// One run: calls one after the other on one connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PayloadRun {
    /// The round.
    pub round: u32,
    /// The number of calls.
    pub calls: u64,
    /// From the first byte sent to the last byte of the reply, as a histogram: the upper bound of each bucket, and the
    /// number of calls in the bucket.
    pub time_us: Vec<(f64, u64)>,
    /// Percentiles of these times: 50, 90, and the largest.
    pub percentiles_us: [f64; 3],
    /// The share of its processor's time that the client used. Near 1, the client limits the result.
    pub client_busy: f64,
    /// The server's processor time for each call, user and system.
    pub server_cpu_us: f64,
    /// The server's user time in all calls of the run, as the kernel counts it: in steps of some milliseconds.
    pub user_us: f64,
    /// The same of its system time.
    pub system_us: f64,
}

/// What the first body of a size costs a fresh process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PayloadMemory {
    /// Resident memory before.
    pub idle_kb: u64,
    /// The most resident memory since then.
    pub peak_kb: u64,
    /// Minor page faults in the call.
    pub minor_faults: u64,
}
