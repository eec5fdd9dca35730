//! What the integration tests share: the built commands, and what they report.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fc_emulator::freezer::{FreezeGroup, FreezeMethod};
use serde_json::Value;

/// Targets checked at once. Most of the time is spent waiting for freezes to pass.
const TARGETS_AT_ONCE: usize = 12;

/// The path of the faulty helper.
pub fn faulty() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| fc_testkit::build::helper("faulty").display().to_string());
    &PATH
}

/// Limits that leave room for a busy machine and end soon where a fault makes them pass, and a
/// freeze and idle time to which the faulty helper's own times fit.
pub const QUICK: &[&str] = &[
    "--ready-secs=4",
    "--initialize-secs=4",
    "--call-secs=6",
    "--pre-freeze-secs=4",
    "--pre-stop-secs=4",
    "--term-secs=3",
    "--freeze-secs=1.3",
    "--idle-secs=0.5",
];

/// Whether targets can be frozen by this method here. If not, says so.
pub fn can_freeze_by(name: &str) -> bool {
    let method = match name {
        "cgroup-v1" => FreezeMethod::CgroupV1,
        "cgroup-v2" => FreezeMethod::CgroupV2,
        _ => FreezeMethod::Sigstop,
    };
    let group = FreezeGroup::new(method);
    group.inspect_err(|why| fc_testkit::skip(format!("freezes by {name}: {why}"))).is_ok()
}

/// What one check reported.
pub struct Report {
    pub code: Option<i32>,
    pub json: Value,
    pub stderr: String,
}

/// `fc-emulator` with these arguments, to its end.
pub fn fc_emulator(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
    // Targets inherit the environment, and this variable hides a fault of Python programs.
    command.args(words).env_remove("PYTHONUNBUFFERED");
    command.output().expect("fc-emulator can be started")
}

/// `fc-emulator check`, strict, with these options, of this target.
pub fn check(options: &[&str], target: &[&str]) -> Report {
    let words = [&["check", "--strict", "--format=json"], QUICK, options, target].concat();
    let output = fc_emulator(&words);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{words:?}: {cause}: {stderr}"));
    Report { code: output.status.code(), json, stderr }
}

/// With this file as its event the faulty helper fails.
pub const FAIL_EVENT: &str = concat!("--fail-event=", env!("CARGO_MANIFEST_DIR"), "/tests/targets/fail-event");

impl Report {
    /// The names of the checks that ended so.
    pub fn ids<'a>(&'a self, outcome: &'a str) -> BTreeSet<&'a str> {
        self.ended(outcome).map(|finding| finding["id"].as_str().unwrap_or_default()).collect()
    }

    /// The same, with what came.
    pub fn told(&self, outcome: &str) -> Vec<String> {
        self.ended(outcome).map(|finding| format!("{}: {}", finding["id"], finding["actual"])).collect()
    }

    /// What one check actually saw.
    pub fn actual(&self, id: &str) -> &str {
        let finding = self.findings().find(|finding| finding["id"] == id);
        finding.and_then(|finding| finding["actual"].as_str()).unwrap_or_default()
    }

    fn ended<'a>(&'a self, outcome: &'a str) -> impl Iterator<Item = &'a Value> {
        self.findings().filter(move |finding| finding["outcome"] == outcome)
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.json["findings"].as_array().into_iter().flatten()
    }
}

/// Does `work` for every row, several at once.
pub fn work_through<T: Sync>(rows: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..TARGETS_AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(row);
                }
            });
        }
    });
}
