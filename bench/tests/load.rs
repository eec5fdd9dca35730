//! `fc-bench load` against servers with known faults: what it counts, and that it ends.
//!
//! The tests run one after the other, because all pin their clients and servers to the same two processors.

mod common;

use std::sync::{Mutex, PoisonError};

use common::fc_bench;
use fc_bench::results::{Cell, Load, LoadRun, Results};
use tempfile::TempDir;

/// A checkout without builds, and a place for results.
fn checkout() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("bench/peers")).expect("the folder is ours");
    std::fs::write(folder.path().join("bench/peers/peers.json"), "[]").expect("the folder is ours");
    folder
}

/// The results of `fc-bench load` with each of `uneven WHAT`. The words are also the names.
fn load(whats: &[&str], options: &[&str]) -> Load {
    try_load(whats, options).unwrap_or_else(|stderr| panic!("{whats:?}: {stderr}"))
}

/// The same, or the error.
fn try_load(whats: &[&str], options: &[&str]) -> Result<Load, String> {
    static CALLS: Mutex<u32> = Mutex::new(0);
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    *calls += 1;
    let tag = format!("load-{}-{calls}", std::process::id());
    let folder = checkout();
    let [root, json] = ["", "results.json"].map(|name| folder.path().join(name).display().to_string());
    let uneven = fc_testkit::build::helper("uneven").display().to_string();
    let contenders: Vec<String> =
        whats.iter().map(|what| format!("--contender={what}={uneven} {what} {tag}")).collect();
    let words = ["load", "--root", &root, "--export-json", &json, "--seed=1", "--no-request-counts"];
    let contenders: Vec<&str> = contenders.iter().map(String::as_str).collect();
    let output = fc_bench(&[&words, &contenders[..], options].concat());
    assert!(no_process_has(&tag), "a server was left behind");
    // Exit status 1 says that a contender has no figure, and the others' are there.
    if !output.status.success() && (output.status.code() != Some(1) || !std::path::Path::new(&json).exists()) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = std::fs::read_to_string(&json).expect("there are results");
    let results: Results = serde_json::from_str(&text).expect("they can be read");
    Ok(results.load.expect("it was measured"))
}

/// Whether no process, apart from zombies, has this word in its command line.
fn no_process_has(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("there is /proc").flatten();
    !processes.into_iter().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|of_line| of_line == word.as_bytes())
    })
}

/// Every run adds up, whatever its results.
fn runs(load: &Load) -> impl Iterator<Item = (&Cell, &LoadRun)> {
    let all = load.cells.iter().flat_map(|cell| cell.runs.iter().map(move |run| (cell, run)));
    all.inspect(|(cell, run)| {
        let told = told(cell);
        let counted: u64 = run.latency_us.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, run.requests + run.unanswered, "{told}");
        assert!(run.latency_us.is_sorted_by(|one, next| one.0 < next.0), "{told}");
        assert!(run.percentiles_us.is_sorted(), "{told}");
        assert_eq!(run.client_late_us.is_some(), cell.pattern.rate.is_some(), "{told}");
        assert!(run.seconds > 0.0 && run.client_busy > 0.0, "{told}");
    })
}

fn cell<'a>(load: &'a Load, name: &str, connections: u32, reconnect: bool, fixed: bool) -> &'a Cell {
    let is_it = |cell: &&Cell| {
        let pattern = (cell.pattern.connections, cell.pattern.reconnect, cell.pattern.rate.is_some());
        cell.name == name && pattern == (connections, reconnect, fixed)
    };
    load.cells.iter().find(is_it).expect("there is such a pattern")
}

fn told(cell: &Cell) -> String {
    let notes: Vec<&str> = cell.runs.iter().filter_map(|run| run.note.as_deref()).collect();
    format!("{} under {:?}: {:?} {notes:?}", cell.name, cell.pattern, cell.failures)
}

#[test]
fn a_sound_server_answers_under_every_pattern() {
    let load = load(&["plain"], &["--load-rounds=1", "--load-for=500ms", "--load-connections=1,16,200"]);
    assert_eq!((load.cells.len(), load.rate_from.as_deref()), (6, Some("plain")));
    assert_eq!(runs(&load).count(), 6);
    for (cell, run) in runs(&load) {
        assert!(cell.failures.is_empty() && run.errors == 0, "{}", told(cell));
        assert!(run.requests > 0 && run.server_cpu_us > 0.0, "{}", told(cell));
        if let Some(rate) = cell.pattern.rate {
            let due = (run.requests + run.unanswered) as f64;
            assert!((due - rate * 0.5).abs() <= 1.0, "{due} at {rate}/s");
        }
    }
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn a_quick_look_is_a_part_of_it() {
    let load = load(&["plain"], &["--quick", "--load-rounds=2", "--load-for=400ms"]);
    assert_eq!(load.cells.len(), 2);
    assert_eq!(runs(&load).map(|(_, run)| run.round).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn a_stall_is_felt_by_all_that_were_due_meanwhile() {
    let load = load(&["stalls"], &["--load-rounds=1", "--load-connections=16", "--load-for=700ms"]);
    assert!(runs(&load).all(|(_, run)| run.errors == 0));
    // It stalls for half of each 400 ms; a quarter of the requests that are due in a stall wait for 150 ms and more.
    let [fixed, closed] = [true, false].map(|fixed| cell(&load, "stalls", 16, false, fixed).runs[0].percentiles_us);
    assert!(fixed[2] >= 150_000.0, "{fixed:?}");
    // Even if the next request waits for the reply, the stall itself shows.
    assert!(closed[4] >= 150_000.0, "{closed:?}");
}

#[test]
fn resets_are_errors_and_the_others_are_answered() {
    let load = load(&["resets"], &["--quick", "--load-for=700ms"]);
    let (cell, run) = runs(&load).next().expect("there is a run");
    assert!(run.requests > 0 && run.errors > 0 && run.errors < run.requests, "{}", told(cell));
    assert!(run.note.as_ref().is_some_and(|note| note.contains("failed")), "{}", told(cell));
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn a_server_that_breaks_for_good_ends_the_run() {
    // Ten minutes each if nothing ended them. It breaks in the warm-up or later, depending on the machine.
    match try_load(&["breaks"], &["--quick", "--load-for=600000ms"]) {
        Err(stderr) => {
            let is_known = ["nothing but failures", "requests failed"].iter().any(|words| stderr.contains(words));
            assert!(is_known, "{stderr}");
        }
        Ok(load) => {
            assert!(runs(&load).all(|(_, run)| run.errors > 0 && run.seconds < 600.0));
            let failures = load.cells.iter().flat_map(|cell| &cell.failures);
            assert!(failures.into_iter().all(|why| why.contains("failures") || why.contains("reset")));
        }
    }
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn requests_that_are_never_answered_are_entered_with_their_age() {
    let load = load(&["plain", "hangs"], &["--quick", "--load-for=500ms"]);
    assert!(runs(&load).count() >= 3);
    let hangs = cell(&load, "hangs", 16, false, false);
    let run = &hangs.runs[0];
    assert_eq!((run.unanswered, run.errors), (16, 0), "{}", told(hangs));
    assert!(run.percentiles_us[4] >= 1_000_000.0, "{:?}", run.percentiles_us);
    assert!(run.note.as_ref().is_some_and(|note| note.contains("had no answer")), "{}", told(hangs));
    // Its 200 connections cannot be opened, because none gets a reply.
    let failures = &cell(&load, "hangs", 200, false, true).failures;
    assert!(failures[0].contains("could not be used"), "{failures:?}");
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn connections_that_end_otherwise_than_asked_are_noted() {
    let notes = |load: &Load, name: &str, reconnect| {
        let cell = cell(load, name, 16, reconnect, false);
        cell.runs.iter().filter_map(|run| run.note.as_deref()).collect::<String>()
    };
    let quick = load(&["plain", "closes"], &["--quick", "--load-for=700ms"]);
    assert!(notes(&quick, "closes", false).contains("closed"), "{}", notes(&quick, "closes", false));
    assert_eq!(notes(&quick, "plain", false), "");
    let whole = load(&["keeps"], &["--load-rounds=1", "--load-connections=16", "--load-for=700ms"]);
    assert!(notes(&whole, "keeps", true).contains("kept"), "{}", notes(&whole, "keeps", true));
    assert_eq!(notes(&whole, "keeps", false), "");
}
