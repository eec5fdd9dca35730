//! The results of the measures: every sample, and the facts that are needed to understand the samples later.
//!
//! This is the format of `--export-json`, and the input of all reports. It holds what was measured and judges nothing.
//! [`crate::stats`] computes medians, ratios and warnings from it, so a reader of the file can compute others.
//!
//! Times are in microseconds, memory in kilobytes of 1,024 bytes, as the kernel reports it; sizes are in bytes.

mod burst;
mod image;
mod load;
mod payload;
mod quota;
mod restore;

use serde::{Deserialize, Serialize};

pub use burst::{Burst, BurstSample, Bursts};
pub use image::{Image, Images};
pub use load::{RequestCounts, RequestKind, RequestTime};
pub use payload::{Echoing, Payload, PayloadCell, PayloadMemory, PayloadRun};
pub use quota::{Quota, QuotaStart, QuotaStarts};
pub use restore::{Restore, RestoreSample, Restores};

/// The version of this format. A reader should reject a document with another number.
pub const SCHEMA: u32 = 2;

/// One run of one or several measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The version of the format, [`SCHEMA`].
    pub schema: u32,
    /// The version of the program that measured.
    pub version: String,
    /// When the run began: seconds since 1970, UTC.
    pub began: u64,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// The arguments of the program.
    pub command: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// The contenders, in the order of reports. The first one with [`Kind::Baseline`] is the baseline of all ratios.
    pub contenders: Vec<Described>,
    /// Everything that could not be measured, and why.
    pub skipped: Vec<Skipped>,
    /// From the start to the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coldstart: Option<Coldstart>,
    /// From the start to the first reply on a share of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Many starts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// Requests per second and latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// From the freeze to the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw: Option<Thaw>,
    /// Many instances at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<Density>,
    /// From the restore of a saved instance to its first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// Events of several sizes, each answered with its own bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The image of each contender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Images>,
    /// Proxies before one program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxies>,
}

/// The machine, as far as it matters to the figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// The number of logical processors that may be used.
    pub processors: usize,
    /// Memory in kilobytes.
    pub memory_kb: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// The load average of the last minute before the run.
    pub load: f64,
}

/// The role of a contender in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A minimal server that can answer; ratios refer to it.
    Baseline,
    /// Built from this project.
    Ours,
    /// Another server.
    Peer,
    /// A server that was given on the command line.
    Custom,
}

/// One contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    /// A short name without spaces, by which samples refer to it.
    pub name: String,
    /// Its name in reports.
    pub label: String,
    /// Its role in the comparison.
    pub kind: Kind,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables, in addition to those of the platform.
    pub env: Vec<(String, String)>,
    /// The size of the program's own file.
    pub binary_bytes: Option<u64>,
    /// A note that helps to judge its figures.
    pub note: String,
}

/// A measure that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The contender or the measure.
    pub what: String,
    /// The reason.
    pub reason: String,
}

/// From the start to the first reply. Rounds interleave all contenders, in an order that is shuffled for each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Coldstart {
    /// Rounds before the first one that counts.
    pub warm_up: u32,
    /// The longest time between two attempts of the client to connect, for processes.
    pub attempt_pause_us: f64,
    /// The median of these times. No opening of a port can be measured more exactly.
    #[serde(default)]
    pub attempt_pause_median_us: f64,
    /// Starts as a process.
    pub process: Vec<Starts>,
    /// Starts as a container from a scratch image. The clock starts at `docker run`.
    pub container: Vec<Starts>,
    /// Counts, which do not depend on time.
    pub counts: Vec<Counts>,
}

/// The starts of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Starts {
    /// The name of the contender.
    pub name: String,
    /// One sample for each round.
    pub samples: Vec<Start>,
    /// The size of the image, for containers.
    pub image_bytes: Option<u64>,
    /// The reasons of starts that got no reply. They count as failures, never as samples.
    pub failures: Vec<String>,
}

/// One start. Each time counts from the exec.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The round.
    pub round: u32,
    /// When a connection was accepted.
    pub port_open_us: f64,
    /// When the whole reply to `POST /initialize` had arrived.
    pub initialize_us: f64,
    /// When the whole reply to the first `POST /invoke` had arrived.
    pub invoke_us: f64,
}

/// Counts of one start. Each is the median of several starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The name of the contender.
    pub name: String,
    /// System calls from the exec, which counts, until the server waits for connections. The wait is the last one.
    pub calls_to_ready: Option<u64>,
    /// System calls from the exec until the first `/initialize` was answered.
    pub calls_to_initialize: Option<u64>,
    /// Minor page faults from the exec until ready.
    pub minor_faults_to_ready: Option<u64>,
    /// Minor page faults from the exec until the first `/initialize` was answered.
    pub minor_faults_to_initialize: Option<u64>,
    /// Major page faults from the exec until the first `/initialize` was answered.
    pub major_faults_to_initialize: Option<u64>,
    /// Instructions in user space from the exec until the first `/initialize` was answered and the server slept again.
    pub instructions: Option<u64>,
    /// How the instructions were counted.
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
    /// The processors of the client.
    pub client_processors: Vec<usize>,
    /// The processors of the server; the same as the client's if there is only one.
    pub server_processors: Vec<usize>,
    /// The requests that were sent.
    #[serde(default)]
    pub requests: RequestKind,
    /// The contender whose maximum on 200 connections decides the higher fixed rate, which is half of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_from: Option<String>,
    /// Every combination of contender and pattern.
    pub cells: Vec<Cell>,
    /// What one request takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<RequestCounts>,
}

/// One contender under one pattern of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The name of the contender.
    pub name: String,
    /// The pattern.
    pub pattern: Pattern,
    /// One run for each round.
    pub runs: Vec<LoadRun>,
    /// Runs that failed, and why.
    pub failures: Vec<String>,
}

/// How a client loads a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// Connections at once.
    pub connections: u32,
    /// Each request opens a connection of its own.
    pub reconnect: bool,
    /// The rate of all connections together in requests per second. The clock decides when requests are sent, whether
    /// or not replies came. `None`: each request follows a reply.
    pub rate: Option<f64>,
    /// Whether log markers are on; `None` for contenders without log markers.
    pub markers: Option<bool>,
}

/// One run of one contender under one pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRun {
    /// The round.
    pub round: u32,
    /// The length of the measured window.
    pub seconds: f64,
    /// Requests that were answered with 200 and the whole body.
    pub requests: u64,
    /// Requests that failed: refused, reset, or answered with another status.
    pub errors: u64,
    /// Requests that were neither answered nor failed when the run ended. The latencies include them with their age.
    #[serde(default)]
    pub unanswered: u64,
    /// Latencies since the request was due (fixed rate) or sent, as a histogram: the upper bound of each bucket, and
    /// the number of latencies in the bucket.
    pub latency_us: Vec<(f64, u64)>,
    /// Percentiles of these latencies, for readers without a histogram: 50, 90, 99, 99.9, and the largest.
    pub percentiles_us: [f64; 5],
    /// How late the client sent although a connection was free: the 99th percentile. It is the part of the latencies
    /// that the client causes. Only at a fixed rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_late_us: Option<f64>,
    /// The share of its processor's time that the client used. Near 1, the client limits the result.
    pub client_busy: f64,
    /// The server's processor time for each request, user and system.
    pub server_cpu_us: f64,
    /// A description of what went wrong in the run. The run counts nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// From the freeze to the first reply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Thaw {
    /// The name of the freezer.
    pub freezer: String,
    /// The length of each freeze, in seconds.
    pub frozen_secs: f64,
    /// The thaws of each contender.
    pub contenders: Vec<Thaws>,
}

/// The thaws of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thaws {
    /// The name of the contender.
    pub name: String,
    /// One sample for each freeze.
    pub samples: Vec<ThawSample>,
    /// The reasons of thaws without a reply.
    pub failures: Vec<String>,
}

/// One thaw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThawSample {
    /// The round.
    pub round: u32,
    /// From the thaw to the reply to a call that was sent while the server was frozen, on a connection from before.
    pub reply_us: f64,
    /// The same call once more, after the thaw. It is the comparison for the first one.
    pub warm_us: f64,
    /// Minor page faults between the thaw and the reply.
    pub minor_faults: u64,
    /// Major page faults between the thaw and the reply.
    pub major_faults: u64,
}

/// Many instances at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Density {
    /// The name of the freezer.
    #[serde(default)]
    pub freezer: String,
    /// Every combination of contender and number of instances.
    pub fleets: Vec<Fleet>,
}

/// Several instances of one contender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// The name of the contender.
    pub name: String,
    /// The number of instances that were requested.
    pub wanted: u32,
    /// The number of instances that were started.
    #[serde(default)]
    pub started: u32,
    /// The number of instances that answered.
    pub answered: u32,
    /// The reason why there were not more, if any.
    pub stopped_by: Option<String>,
    /// From the first start until the last was started.
    pub started_us: f64,
    /// From the first start until every one had answered `/initialize` and one `/invoke`.
    pub all_answered_us: f64,
    /// From the first freeze until all were frozen.
    pub all_frozen_us: Option<f64>,
    /// From the first thaw until every instance had answered again. They are thawed one by one.
    pub all_thawed_us: Option<f64>,
    /// From the thaw of each instance to its reply to a call that was sent while it was frozen.
    #[serde(default)]
    pub thaws_us: Vec<f64>,
    /// The proportional share of memory (PSS) of each instance.
    pub proportional_kb: Vec<f64>,
    /// The private memory of each instance.
    pub private_kb: Vec<f64>,
    /// The resident memory of each instance.
    pub resident_kb: Vec<f64>,
    /// The decrease of the machine's free memory, divided by the number of instances. It includes kernel memory.
    pub machine_kb: Option<f64>,
    /// The reasons of failures after all had answered.
    #[serde(default)]
    pub failures: Vec<String>,
}

/// Proxies before one program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proxies {
    /// The processors of the client and of the program behind.
    pub client_processors: Vec<usize>,
    /// The processors of the proxy.
    pub proxy_processors: Vec<usize>,
    /// The length of the idle time in which context switches are counted, in seconds.
    pub idle_secs: f64,
    /// The length of each body that passes.
    pub body_bytes: u64,
    /// The number of streams at once, and the length of each.
    pub streams: (u32, u64),
    /// The same of streams that are longer than what the kernel can hold.
    pub long_streams: (u32, u64),
    /// How much each client of a stream reads before it stops reading.
    pub stalled_at_bytes: u64,
    /// Every proxy, and the program alone.
    pub rows: Vec<ProxyRow>,
}

/// One proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyRow {
    /// The name of the contender.
    pub name: String,
    /// One run under load for each round.
    pub runs: Vec<ProxyRun>,
    /// The round, and the time from the exec to the first reply. Only of those that start the program themselves.
    pub starts_us: Vec<(u32, f64)>,
    /// System calls of the proxy for one call on kept connections, by name.
    pub system_calls: Vec<(String, f64)>,
    /// Context switches of all its threads in the idle time.
    pub idle_switches: Option<u64>,
    /// Resident memory after a few calls.
    pub resident_kb: Option<u64>,
    /// The most resident memory after a body has passed to the program.
    pub request_body_peak_kb: Option<u64>,
    /// The most resident memory after a body has passed from the program.
    pub reply_body_peak_kb: Option<u64>,
    /// Resident memory while all streams stand still.
    pub stalled_kb: Option<u64>,
    /// Resident memory while all long streams stand still.
    pub long_stalled_kb: Option<u64>,
    /// A call before there is a stream: median and longest time.
    pub unharmed_us: Option<(f64, f64)>,
    /// A call beside the streams that stand still: median and longest time.
    pub healthy_us: Option<(f64, f64)>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

/// One proxy under load in one round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyRun {
    /// The round.
    pub round: u32,
    /// Requests per second on 16 connections.
    pub per_second: f64,
    /// The processor time of the proxy for each of these requests, without that of the program.
    pub cpu_us: f64,
    /// The median time of a call on one connection.
    pub one_us: f64,
}
