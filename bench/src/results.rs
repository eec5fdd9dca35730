//! What the measures found: every sample, and what is needed to understand it later.
//!
//! The form of `--json`, and all that reports are made of. Holds what was seen and judges nothing: medians, ratios
//! and warnings are made from it by [`crate::stats`], so whoever reads the file can make their own.
//!
//! Times are in microseconds, memory in kilobytes of 1,024 bytes, as the kernel gives it; sizes in bytes.

use serde::{Deserialize, Serialize};

/// The form of this document. A reader of another number should not guess.
pub const SCHEMA: u32 = 2;

/// One run of one or several measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the program that measured.
    pub version: String,
    /// When it began: seconds since 1970, UTC.
    pub began: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The arguments it was called with.
    pub command: Vec<String>,
    /// What it ran on.
    pub machine: Machine,
    /// Who was measured, in the order of reports. The first with [`Kind::Baseline`] is what ratios refer to.
    pub contenders: Vec<Described>,
    /// Who or what could not be measured, and why.
    pub skipped: Vec<Skipped>,
    /// Start to first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coldstart: Option<Coldstart>,
    /// Requests per second and latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Freeze to first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw: Option<Thaw>,
    /// Many instances at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<Density>,
}

/// The machine, as far as it matters to the figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Logical processors that may be used.
    pub processors: usize,
    /// Memory in kilobytes.
    pub memory_kb: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Load average of the last minute before the run.
    pub load: f64,
}

/// What a contender is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The least that can answer; ratios refer to it.
    Baseline,
    /// Built from this project.
    Ours,
    /// Another server.
    Peer,
    /// Named on the command line.
    Custom,
}

/// One contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    /// A short name without spaces, by which samples refer to it.
    pub name: String,
    /// What reports call it.
    pub label: String,
    /// What it is to the comparison.
    pub kind: Kind,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables set beside the platform's.
    pub env: Vec<(String, String)>,
    /// Size of the program's own file.
    pub binary_bytes: Option<u64>,
    /// What one must know to judge it.
    pub note: String,
}

/// Something that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Whom or what it concerns.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Start to first answer. Rounds interleave all contenders, in an order that is shuffled for each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Coldstart {
    /// Rounds before the first that counts.
    pub warm_up: u32,
    /// Longest pause of the client from one attempt to connect to the next, as a process.
    pub attempt_pause_us: f64,
    /// Median of these pauses: no port is seen open more exactly.
    #[serde(default)]
    pub attempt_pause_median_us: f64,
    /// As a process.
    pub process: Vec<Starts>,
    /// As a container from a scratch image; the clock starts at `docker run`.
    pub container: Vec<Starts>,
    /// What noise cannot touch.
    pub counts: Vec<Counts>,
}

/// The starts of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Starts {
    /// Whose.
    pub name: String,
    /// One per round.
    pub samples: Vec<Start>,
    /// Size of the image, for containers.
    pub image_bytes: Option<u64>,
    /// Starts that did not come to an answer, and why. They count as failures, never as samples.
    pub failures: Vec<String>,
}

/// One start. Each time is since the exec.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Which round.
    pub round: u32,
    /// A connection was accepted.
    pub port_open_us: f64,
    /// The reply to `POST /initialize` was there, whole.
    pub initialize_us: f64,
    /// The reply to the first `POST /invoke` was there, whole.
    pub invoke_us: f64,
}

/// What one start does, in counts. Each is the median of several starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Whose.
    pub name: String,
    /// System calls from the exec (counted) until it waits for connections; the wait is the last.
    pub calls_to_ready: Option<u64>,
    /// System calls from the exec until the first `/initialize` was answered.
    pub calls_to_initialize: Option<u64>,
    /// Minor page faults from the exec until ready.
    pub minor_faults_to_ready: Option<u64>,
    /// Minor page faults from the exec until the first `/initialize` was answered.
    pub minor_faults_to_initialize: Option<u64>,
    /// Major page faults from the exec until the first `/initialize` was answered.
    pub major_faults_to_initialize: Option<u64>,
    /// Instructions in user space from the exec until the first `/initialize` was answered and it slept again.
    pub instructions: Option<u64>,
    /// How instructions were counted.
    pub instructions_by: Option<String>,
    /// Resident memory when ready.
    pub resident_kb: Option<u64>,
    /// Private memory when ready.
    pub private_kb: Option<u64>,
    /// Threads after the first answer.
    pub threads: Option<u64>,
}

/// Requests per second and latency.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// Processors of the client.
    pub client_processors: Vec<usize>,
    /// Processors of the server; the same as the client's if there is only one.
    pub server_processors: Vec<usize>,
    /// Whose requests per second on 200 connections the higher fixed rate is half of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_from: Option<String>,
    /// Every combination of contender and pattern.
    pub cells: Vec<Cell>,
}

/// One contender under one pattern of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Whose.
    pub name: String,
    /// The pattern.
    pub pattern: Pattern,
    /// One per round.
    pub runs: Vec<LoadRun>,
    /// Runs that failed, and why.
    pub failures: Vec<String>,
}

/// How a client loads a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// Connections at once.
    pub connections: u32,
    /// Each request has a connection of its own.
    pub reconnect: bool,
    /// Requests per second over all connections, sent by the clock whether or not replies came; none: the next
    /// request follows the reply.
    pub rate: Option<f64>,
    /// Log markers; none for those that have no such thing.
    pub markers: Option<bool>,
}

/// One run of one contender under one pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRun {
    /// Which round.
    pub round: u32,
    /// How long was measured.
    pub seconds: f64,
    /// Requests answered with 200 and the whole body.
    pub requests: u64,
    /// Requests that failed: refused, reset, another status.
    pub errors: u64,
    /// Requests that were neither answered nor failed when the run was over. The latencies have them with their age.
    #[serde(default)]
    pub unanswered: u64,
    /// Latencies since the request was due (fixed rate) or sent, as a histogram: the upper bound of each bucket and how
    /// many fell into it.
    pub latency_us: Vec<(f64, u64)>,
    /// Percentiles of the same, for readers without a histogram: 50, 90, 99, 99.9, largest.
    pub percentiles_us: [f64; 5],
    /// How late the client itself sent, although a connection was free: the 99th percentile. A part of the latencies
    /// that is not the server's. Only at a fixed rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_late_us: Option<f64>,
    /// Share of its processor's time that the client used; near 1 it measures itself.
    pub client_busy: f64,
    /// Processor time of the server for each request, user and system.
    pub server_cpu_us: f64,
    /// What went wrong in it, in words. It counts all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Freeze to first answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Thaw {
    /// How it was frozen.
    pub freezer: String,
    /// For how long, in seconds.
    pub frozen_secs: f64,
    /// The thaws of each contender.
    pub contenders: Vec<Thaws>,
}

/// The thaws of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thaws {
    /// Whose.
    pub name: String,
    /// One per freeze.
    pub samples: Vec<ThawSample>,
    /// Thaws without an answer, and why.
    pub failures: Vec<String>,
}

/// One thaw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThawSample {
    /// Which round.
    pub round: u32,
    /// From the thaw to the reply to a call that was sent while it was frozen, on a connection from before.
    pub reply_us: f64,
    /// The same call once more, thawed: what the thaw is to be compared with.
    pub warm_us: f64,
    /// Minor page faults on the way.
    pub minor_faults: u64,
    /// Major page faults on the way.
    pub major_faults: u64,
}

/// Many instances at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Density {
    /// How they were frozen.
    #[serde(default)]
    pub freezer: String,
    /// Every combination of contender and number of instances.
    pub fleets: Vec<Fleet>,
}

/// A number of instances of one contender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Whose.
    pub name: String,
    /// How many were asked for.
    pub wanted: u32,
    /// How many were started.
    #[serde(default)]
    pub started: u32,
    /// How many answered.
    pub answered: u32,
    /// What kept the others out, if any.
    pub stopped_by: Option<String>,
    /// From the first start until the last was started.
    pub started_us: f64,
    /// From the first start until every one had answered `/initialize` and one `/invoke`.
    pub all_answered_us: f64,
    /// From the first freeze until all were frozen.
    pub all_frozen_us: Option<f64>,
    /// From the first thaw until every one, thawed one by one, had answered again.
    pub all_thawed_us: Option<f64>,
    /// From the thaw of each instance to its reply to a call that was sent while it was frozen.
    #[serde(default)]
    pub thaws_us: Vec<f64>,
    /// Proportional share of memory (PSS) of each instance.
    pub proportional_kb: Vec<f64>,
    /// Private memory of each instance.
    pub private_kb: Vec<f64>,
    /// Resident memory of each instance.
    pub resident_kb: Vec<f64>,
    /// What the machine's free memory fell by, divided by the instances: kernel memory included.
    pub machine_kb: Option<f64>,
    /// What went wrong after all had answered, and why.
    #[serde(default)]
    pub failures: Vec<String>,
}
