//! What the process tests share: programs under test, a client that takes nothing for granted, `/proc`, signals.
//!
//! No test sleeps to synchronise: it waits for a line, an answer or a state, each with a deadline that only a
//! failure reaches. Whatever is started here is ended here, by its own id, when its guard is dropped.
#![allow(dead_code)] // every test binary compiles this for itself and uses its own part of it

pub mod client;
pub mod freezer;
pub mod proc_fs;
pub mod process;
pub mod subject;
pub mod sys;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before it counts as never. Generous: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The user that owns nothing; servers are started as it where the tests run as root.
pub const NOBODY: u32 = 65534;

/// The users to run a core test as: oneself, and nobody where that is possible.
pub fn users() -> Vec<Option<u32>> {
    if !sys::is_root() {
        return vec![None];
    }
    for program in [Path::new(env!("CARGO_BIN_EXE_fc-hooks")), subject::path()] {
        // Root can run what lies in a directory that nobody else may enter.
        let trial = process::Setup::program(program).arg("--version").user(Some(NOBODY)).expect_stderr();
        if trial.try_run().is_err() {
            say(&format!("SKIPPED: as nobody; {} is out of its reach", program.display()));
            return vec![None];
        }
    }
    vec![None, Some(NOBODY)]
}

/// The life of a subject so far: what `/do/state` says.
pub fn state_of(server: &process::Server) -> serde_json::Value {
    server.connect().get("/do/state").json()
}

/// Waits for a condition, looking again and again.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says something past the capture of passing tests' output: a figure, or a check that cannot run here.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether this is Linux; elsewhere says what is not checked.
pub fn is_linux(check: &str) -> bool {
    if !cfg!(target_os = "linux") {
        say(&format!("SKIPPED (not Linux): {check}"));
    }
    cfg!(target_os = "linux")
}

/// A directory of its own that anyone may write to, removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        use std::os::unix::fs::PermissionsExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fc-hooks-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a fresh directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("open it to nobody");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Numbers from a seed, so that a failing run can be run again.
pub struct Random(u64);

impl Random {
    /// From `FC_HOOKS_TEST_SEED`, else from the clock; says which.
    pub fn seeded(test: &str) -> Random {
        let given = std::env::var("FC_HOOKS_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock).max(1);
        say(&format!("{test}: FC_HOOKS_TEST_SEED={seed}"));
        Random(seed)
    }

    pub fn fork(&mut self) -> Random {
        Random(self.next() | 1)
    }

    /// Xorshift; a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The bytes that the subject sends where a test asks for many.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}
