//! What the integration tests share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use fc_emulator::freezer::{FreezeGroup, FreezeWith};

/// Whether targets can be frozen by this method here. If not, it prints the reason.
pub fn can_freeze_by(name: &str) -> bool {
    let method = match name {
        "cgroup-v1" => FreezeWith::CgroupV1,
        "cgroup-v2" => FreezeWith::CgroupV2,
        _ => FreezeWith::Sigstop,
    };
    let group = FreezeGroup::new(method);
    group.inspect_err(|why| fc_testkit::skip(format!("freezes by {name}: {why}"))).is_ok()
}

/// The path of a report, which no other test uses.
pub fn new_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("report-{}-{}.json", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs `fc-stress` with these arguments to its end.
pub fn fc_stress(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fc-stress")).args(words).output().expect("fc-stress starts")
}
