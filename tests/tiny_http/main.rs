//! The `tiny_http` engine where it is not the default server: what it refuses itself, how it stops, and single requests
//! of a caller's own server. `make test-tiny-http` runs the tests of the contract on it.

mod embedded;
mod life;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use support::process::Setup;

fn subject(table: &str) -> Setup {
    Setup::subject(table).on_tiny_http()
}

/// The table of tests that `make test-tiny-http` leaves out names tests that there are, each with a reason.
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
