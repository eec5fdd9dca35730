//! `fc-emulator run`: one lifecycle, its table, its document, its exit status, and that nothing stays behind.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use common::{can_freeze_with, faulty, fc_emulator, has_python, stdout};
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use fc_testkit::{cgroup, proc};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

/// A lifecycle with a short freeze.
const RUN: &[&str] = &["run", "--freeze-for=200ms", "--call-timeout=4s", "--term-timeout=2s"];

fn run(options: &[&str], target: &[&str]) -> (Option<i32>, Value) {
    let words = [RUN, &["--format=json"], options, &["--"], target].concat();
    let output = fc_emulator(&words).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{options:?}: {cause}: {stderr}"));
    (output.status.code(), json)
}

fn names(timeline: &Value) -> Vec<&str> {
    timeline["steps"].as_array().into_iter().flatten().filter_map(|step| step["name"].as_str()).collect()
}

fn step<'a>(timeline: &'a Value, name: &str) -> &'a Value {
    let mut steps = timeline["steps"].as_array().into_iter().flatten();
    steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {:?}", names(timeline)))
}

#[test]
fn a_whole_lifecycle() {
    let (code, timeline) = run(&["--calls=2", "--freezes=2"], &[faulty()]);
    let thaw = ["GET /pre-freeze", "freeze for 0.2 s", "thaw: POST /invoke"];
    let expected = [
        &["start-up check (TCP)", "POST /initialize", "POST /invoke", "POST /invoke"][..],
        &thaw,
        &thaw,
        &["GET /pre-stop", "SIGTERM"],
    ]
    .concat();
    assert_eq!(names(&timeline), expected);
    assert_eq!((code, &timeline["conforms"]), (Some(0), &Value::Bool(true)), "{timeline:#}");

    let id = step(&timeline, "POST /initialize")["request_id"].as_str().unwrap();
    let log = step(&timeline, "POST /initialize")["log"].to_string();
    assert!(log.contains(&format!("FC Initialize Start RequestId: {id}")), "{log}");
    let note = step(&timeline, "freeze for 0.2 s")["note"].as_str().unwrap();
    assert!(note.contains("did not run for"), "{note}");
    assert_eq!(step(&timeline, "SIGTERM")["note"], "the target exited with code 0");
}

#[test]
fn every_method_that_freezes_here() {
    let methods: &[(&str, &str)] =
        &[("sigstop", "SIGSTOP"), ("cgroup-v1", "the cgroup v1 freezer"), ("cgroup-v2", "the cgroup v2 freezer")];
    for (method, name) in methods.iter().filter(|(method, _)| can_freeze_with(method)) {
        let (status, timeline) = run(&["--freeze-with", method], &[faulty()]);
        assert_eq!(status, Some(0), "{method}");
        let note = step(&timeline, "freeze for 0.2 s")["note"].as_str().unwrap();
        assert!(note.starts_with(name), "{method}: {note}");
    }
}

/// A method that cannot work ends the command before anything is started, and the message names a way out.
#[test]
fn a_method_that_cannot_freeze_here_is_an_error() {
    let refused = fc_emulator(&["run", "--freeze-with=docker-pause", "--", faulty()]).assert().code(2);
    refused.stdout("").stderr(contains("give the target as `--image NAME`"));
    for method in ["cgroup-v1", "cgroup-v2"] {
        if let Err(why) = FreezeGroup::new(FreezeWith::from_str(method, false).unwrap()) {
            let refused = fc_emulator(&["check", "--freeze-with", method, "--", faulty()]).assert().code(2);
            refused.stdout("").stderr(contains(why.to_string()).and(contains("--freeze-with")));
        }
    }
}

#[test]
fn generations_hooks_and_kinds_of_calls() {
    let (code, timeline) = run(&["--fc3"], &[faulty()]);
    assert_eq!(code, Some(0));
    assert!(!names(&timeline).contains(&"GET /pre-freeze"), "FC 3.0 never calls it");
    let id = step(&timeline, "POST /invoke")["request_id"].as_str().unwrap();
    assert!(id.starts_with("1-"), "{id}");

    let (code, timeline) = run(&["--hooks=none", "--http=GET /", "--freezes=0"], &[faulty()]);
    assert_eq!((code, names(&timeline)), (Some(0), vec!["start-up check (TCP)", "GET /", "GET /", "SIGTERM"]));

    let (code, timeline) = run(&["--calls=40", "--concurrency=4", "--freezes=0", "--no-control-path"], &[faulty()]);
    assert_eq!((code, &step(&timeline, "40 calls, 4 at a time")["status"]), (Some(0), &Value::from(200)));
}

#[test]
fn violations_and_misuse_have_their_exit_codes() {
    let fails_at = |fault, at| {
        let (code, timeline) = run(&["--ready-timeout=2s"], &[faulty(), "--fault", fault]);
        assert_eq!((code, &step(&timeline, at)["ok"]), (Some(1), &Value::Bool(false)), "{fault}: {timeline:#}");
    };
    fails_at("never-listens", "start-up check (TCP)");
    fails_at("exits-at-start", "start-up check (TCP)");
    fails_at("loopback-only", "start-up check (TCP)");
    fails_at("framing-plus", "POST /initialize");
    fails_at("initialize-missing", "POST /initialize");
    fails_at("pre-stop-misspelt", "GET /pre-stop");
    fails_at("sigterm-ignored", "SIGTERM");
    fails_at("buffers-output", "SIGTERM");
    for misuse in [&["run"][..], &["run", "--addr", "nowhere"], &["run", "--", "./no-such-program"], &["walk"]] {
        fc_emulator(misuse).assert().code(2).stdout("").stderr(predicate::str::is_empty().not());
    }
}

/// A server that answers every path alike has no hooks, although each of them is answered 200.
#[test]
fn a_server_that_answers_any_path_like_a_hook_is_warned_of() {
    if !has_python() {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/any_path.py");
    let (code, timeline) = run(&[], &["python3", script]);
    assert_eq!(code, Some(0), "{timeline:#}");
    for hook in ["POST /initialize", "GET /pre-freeze", "GET /pre-stop"] {
        let warning = step(&timeline, hook)["warning"].as_str().unwrap();
        assert!(warning.contains("it answers /no-such-path the same way"), "{hook}: {timeline:#}");
    }
    let (_, timeline) = run(&[], &[faulty()]);
    assert_eq!(step(&timeline, "GET /pre-stop")["warning"], "");
}

#[test]
fn the_table_shows_steps_and_log_lines() {
    let shown = fc_emulator(&[RUN, &["--", faulty()]].concat()).assert().success();
    let table = contains("POST /initialize")
        .and(contains("initialized"))
        .and(contains("FC PreStop Start RequestId: "))
        .and(contains("the target keeps the contract"));
    shown.stdout(table).stderr(contains("✓ thaw: POST /invoke → 200"));
}

#[test]
fn machines_read_a_lifecycle_in_every_format() {
    let run = |format: &str| stdout(&[RUN, &["--freezes=0", "--format", format, "--", faulty()]].concat(), 0);
    let tap = run("tap");
    assert!(tap.starts_with("TAP version 13\n1..6\nok 1 - run start-up check (TCP)\n"), "{tap}");
    let junit = run("junit");
    assert!(
        junit.contains("<testsuites ") && junit.contains(r#"tests="6" skipped="0" errors="0" failures="0""#),
        "{junit}"
    );
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fc-emulator"))
        .args(["run", "--freeze-for=60s", "--", faulty()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = child.id();
    let mut timeline = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let warned = timeline.find(|line| line.contains("GET /pre-freeze"));
    assert!(warned.is_some());
    // The target is frozen, or is about to be frozen: an interrupt must be safe at any moment.
    let target = wait(|| children(own).first().copied()).expect("there is a target");
    interrupt(own);
    let status = wait(|| child.try_wait().unwrap()).expect("the command ends");
    assert_eq!(status.code(), Some(130));
    assert!(wait(|| (!Path::new(&format!("/proc/{target}")).exists()).then_some(())).is_some());
    assert!(cgroup::groups_named(&format!("fc-emulator-{own}-")).is_empty());
}

#[test]
fn an_interrupt_in_the_middle_of_many_checks_leaves_nothing_behind() {
    for _ in 0..3 {
        let words = ["check", "--jobs=8", "--large-bytes=1000", "--", faulty()];
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        let mut child = command.args(words).stdout(Stdio::null()).spawn().unwrap();
        let own = child.id();
        let targets = wait(|| Some(children(own)).filter(|targets| targets.len() > 3)).expect("there are targets");
        interrupt(own);
        assert_eq!(wait(|| child.try_wait().unwrap()).expect("it ends").code(), Some(130));
        let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        assert!(wait(|| targets.iter().all(gone).then_some(())).is_some(), "{targets:?}");
        assert!(cgroup::groups_named(&format!("fc-emulator-{own}-")).is_empty());
    }
}

fn interrupt(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

fn children(pid: u32) -> Vec<u32> {
    proc::family(pid).split_off(1)
}

fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
