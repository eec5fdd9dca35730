//! Helpers that the process tests share: programs under test, a strict client, freezers, signals.
//!
//! No test sleeps to synchronise: it waits for a line, an answer or a state, each with a deadline that only a
//! failure reaches. Each process that a test starts has a guard, which ends it by its id when it is dropped.
#![allow(dead_code)] // every test binary compiles this module and uses a part of it

pub mod client;
pub mod freezer;
pub mod process;
pub mod program;
pub mod subject;
pub mod sys;

use fc_testkit::{Rng, is_root, say, skip};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take before it counts as never. Generous: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The user that owns nothing. Where the tests run as root, they start servers as this user too.
pub const NOBODY: u32 = 65534;

/// The users to run a core test as: the one that runs the tests, and nobody where that is possible.
pub fn users() -> Vec<Option<u32>> {
    if !is_root() {
        return vec![None];
    }
    for program in [Path::new(env!("CARGO_BIN_EXE_fc-hooks")), subject::path()] {
        // Root can run a program in a directory that nobody else may enter.
        let trial = process::Setup::program(program).arg("--version").user(Some(NOBODY)).expect_stderr();
        if trial.try_run().is_err() {
            skip(format_args!("as nobody, which cannot reach {}", program.display()));
            return vec![None];
        }
    }
    vec![None, Some(NOBODY)]
}

/// What the subject says of its life so far, in reply to `/do/state`.
pub fn state_of(server: &process::Server) -> serde_json::Value {
    server.connect().get("/do/state").json()
}

/// Looks again and again until the condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether this is Linux; elsewhere says what is not checked.
pub fn is_linux(check: &str) -> bool {
    if !cfg!(target_os = "linux") {
        skip(format_args!("{check}: this is not Linux"));
    }
    cfg!(target_os = "linux")
}

/// A directory that anyone may write to, servers that run as nobody included. It is removed when dropped.
pub fn temp_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("fc-hooks-test-").tempdir().expect("a fresh directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).expect("open it to nobody");
    directory
}

/// Random numbers from the seed `FC_HOOKS_TEST_SEED`, else from a seed that the clock gives. Says which, so that a run
/// that failed can be repeated.
pub fn seeded(test: &str) -> Rng {
    let given = std::env::var("FC_HOOKS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64));
    say(format_args!("{test}: FC_HOOKS_TEST_SEED={seed}"));
    Rng::new(seed)
}

/// The bytes that the subject sends where a test asks for many.
pub fn pattern(bytes: usize) -> Vec<u8> {
    // In blocks, because tests ask for many megabytes, without optimisation.
    let mut pattern = (0..251).collect::<Vec<u8>>().repeat(bytes / 251 + 1);
    pattern.truncate(bytes);
    pattern
}
