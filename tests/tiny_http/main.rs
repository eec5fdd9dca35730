//! The `tiny_http` engine, where it differs from the default server: requests that it rejects itself, its stop, and
//! single requests in a server of the caller. `make test-tiny-http` runs the other process tests on this engine.

mod embedded;
mod life;
mod rejections;
#[path = "../support/mod.rs"]
mod support;

use support::process::Setup;

fn subject(table: &str) -> Setup {
    Setup::subject(table).on_tiny_http()
}

/// The list of tests that `make test-tiny-http` leaves out names existing tests, each with a reason.
#[test]
fn the_table_of_differences_is_true() {
    let rows = include_str!("differences.txt").lines().filter(|line| !line.starts_with('#'));
    for row in rows {
        let (name, reason) = row.split_once(' ').expect("a name and a reason");
        let (file, test) = name.split_once("::").expect("FILE::TEST");
        let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(source.contains(&format!("\n#[test]\nfn {test}() {{")), "no such test: {name}");
        assert!(!reason.trim().is_empty(), "no reason: {name}");
    }
}
