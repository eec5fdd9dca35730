//! Helpers that the tests of this workspace share. `fc-bench` and `fc-stress` use some of them at run time as well.
//!
//! Nothing here knows the server under test or the platform, so every package can take this one as a dev-dependency.
//!
//! - [`Rng`]: random numbers that a seed brings back.
//! - [`http`]: a strict reader of HTTP/1 responses.
//! - [`proc`] and [`cgroup`]: what the kernel tells of processes and of control groups.
//! - [`build`]: builds programs of this workspace for a test.

pub mod build;
pub mod cgroup;
pub mod http;
pub mod proc;
mod rng;

pub use rng::Rng;

use std::fmt::Display;
use std::io::Write;

/// Prints a line on standard error. The test runner captures what `eprintln!` prints and drops it when the test passes;
/// this line shows even then.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says on standard error what a test leaves out and why, even when the test passes.
pub fn skip(reason: impl Display) {
    say(format_args!("SKIPPED: {reason}"));
}

/// Whether this process runs as root, which is mostly needed for process namespaces and control groups.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
