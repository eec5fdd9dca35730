//! Helpers of the integration tests: the built commands, and their reports.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use assert_cmd::Command;
use clap::ValueEnum;
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use serde_json::Value;

/// How many targets are checked at the same time, for each processor. Most of the time passes in freezes.
const TARGETS_AT_ONCE: usize = 4;

/// A command that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(300);

/// The path of the faulty server.
pub fn faulty() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| fc_testkit::build::helper("faulty").display().to_string());
    &PATH
}

/// Time limits that are long enough for a busy machine, and short where a fault makes them pass. The times of the
/// faulty server fit to this freeze and this idle time.
pub const QUICK: &[&str] = &[
    "--ready-timeout=4s",
    "--initialize-timeout=4s",
    "--call-timeout=6s",
    "--pre-freeze-timeout=4s",
    "--pre-stop-timeout=4s",
    "--term-timeout=3s",
    "--freeze-for=1.6s",
    "--idle-for=900ms",
];

/// Whether this method, a value of `--freeze-with`, can freeze targets here. If not, says so.
pub fn can_freeze_with(name: &str) -> bool {
    let group = FreezeGroup::new(FreezeWith::from_str(name, false).expect("the name is a value"));
    group.inspect_err(|why| fc_testkit::skip(format!("freezes with {name}: {why}"))).is_ok()
}

/// Whether there is Python for a target. If not, says so.
pub fn has_python() -> bool {
    let there = std::process::Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !there {
        fc_testkit::skip("there is no python3 here");
    }
    there
}

/// The report of one `fc-emulator check`.
pub struct Report {
    pub code: Option<i32>,
    pub json: Value,
    pub stderr: String,
}

/// `fc-emulator` with these arguments.
pub fn fc_emulator(words: &[&str]) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("fc-emulator");
    // Targets inherit the environment, and this variable hides a fault of Python programs.
    command.args(words).env_remove("PYTHONUNBUFFERED").timeout(LONGEST);
    command
}

/// The standard output of `fc-emulator` with these arguments, which must exit with this status.
pub fn stdout(words: &[&str], status: i32) -> String {
    let output = fc_emulator(words).assert().code(status).get_output().clone();
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Runs `fc-emulator check --strict` with these options on this target.
pub fn check(options: &[&str], target: &[&str]) -> Report {
    let words = [&["check", "--strict", "--format=json"], QUICK, options, target].concat();
    let output = fc_emulator(&words).output().expect("fc-emulator can be started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{words:?}: {cause}: {stderr}"));
    Report { code: output.status.code(), json, stderr }
}

/// The faulty server fails an event with this content.
pub const FAIL_EVENT: &str = concat!("--fail-event=", env!("CARGO_MANIFEST_DIR"), "/tests/targets/fail-event");

impl Report {
    /// The names of the checks with this outcome.
    pub fn ids<'a>(&'a self, outcome: &'a str) -> BTreeSet<&'a str> {
        self.with_outcome(outcome).map(|finding| finding["id"].as_str().unwrap_or_default()).collect()
    }

    /// The same, each with the actual behaviour of the target.
    pub fn details(&self, outcome: &str) -> Vec<String> {
        self.with_outcome(outcome).map(|finding| format!("{}: {}", finding["id"], finding["actual"])).collect()
    }

    /// The actual behaviour that one check saw.
    pub fn actual(&self, id: &str) -> &str {
        let finding = self.findings().find(|finding| finding["id"] == id);
        finding.and_then(|finding| finding["actual"].as_str()).unwrap_or_default()
    }

    fn with_outcome<'a>(&'a self, outcome: &'a str) -> impl Iterator<Item = &'a Value> {
        self.findings().filter(move |finding| finding["outcome"] == outcome)
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.json["findings"].as_array().into_iter().flatten()
    }
}

/// Does `work` for every row, for several at the same time.
pub fn work_through<T: Sync>(rows: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..(TARGETS_AT_ONCE * processors).min(12) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(row);
                }
            });
        }
    });
}
