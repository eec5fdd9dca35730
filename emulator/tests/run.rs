//! `fc-emulator run`: one life, its table, its document, its exit code, and nothing left behind.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{can_freeze_by, faulty, fc_emulator};
use serde_json::Value;

/// A life with a short freeze.
const RUN: &[&str] = &["run", "--freeze-secs=0.2", "--call-secs=4", "--term-secs=2"];

fn run(options: &[&str], target: &[&str]) -> (Option<i32>, Value) {
    let output = fc_emulator(&[RUN, &["--json"], options, &["--"], target].concat());
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
fn a_whole_life() {
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
    assert_eq!(step(&timeline, "SIGTERM")["note"], "exited with code 0");
}

#[test]
fn every_way_to_freeze_that_works_here() {
    let ways: &[(&str, &str)] =
        &[("sigstop", "SIGSTOP"), ("cgroup-v1", "the cgroup v1 freezer"), ("cgroup-v2", "the cgroup v2 freezer")];
    for (way, name) in ways.iter().filter(|(way, _)| can_freeze_by(way)) {
        let output = fc_emulator(&[RUN, &["--freeze-by", way, "--json", "--", faulty()]].concat());
        assert_eq!(output.status.code(), Some(0), "{way}");
        let timeline: Value = serde_json::from_slice(&output.stdout).unwrap();
        let note = step(&timeline, "freeze for 0.2 s")["note"].as_str().unwrap();
        assert!(note.starts_with(name), "{way}: {note}");
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
    assert_eq!((code, &step(&timeline, "40 calls, 4 at once")["status"]), (Some(0), &Value::from(200)));
}

#[test]
fn violations_and_misuse_have_their_exit_codes() {
    let fails_at = |fault, at| {
        let (code, timeline) = run(&["--ready-secs=2"], &[faulty(), "--fault", fault]);
        assert_eq!((code, &step(&timeline, at)["ok"]), (Some(1), &Value::Bool(false)), "{fault}: {timeline:#}");
    };
    fails_at("never-listens", "start-up check (TCP)");
    fails_at("exits-at-start", "start-up check (TCP)");
    fails_at("initialize-missing", "POST /initialize");
    fails_at("pre-stop-misspelt", "GET /pre-stop");
    fails_at("sigterm-ignored", "SIGTERM");
    for misuse in [&["run"][..], &["run", "--addr", "nowhere"], &["run", "--", "./no-such-program"], &["walk"]] {
        let output = fc_emulator(misuse);
        assert_eq!(output.status.code(), Some(2), "{misuse:?}");
        assert!(!output.stderr.is_empty(), "{misuse:?}");
    }
}

#[test]
fn the_table_shows_steps_and_log_lines() {
    let output = fc_emulator(&[RUN, &["--", faulty()]].concat());
    let (table, timeline) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for part in ["POST /initialize", "initialized", "FC PreStop Start RequestId: ", "as the contract says"] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    assert!(timeline.contains("✓ thaw: POST /invoke → 200"), "{timeline}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fc-emulator"))
        .args(["run", "--freeze-secs=60", "--", faulty()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = child.id();
    let mut timeline = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let warned = timeline.find(|line| line.contains("GET /pre-freeze"));
    assert!(warned.is_some());
    // Frozen or about to be: every instant must be safe. Its only child is the target.
    let target = wait(|| children(own).first().copied()).expect("there is a target");
    interrupt(own);
    let status = wait(|| child.try_wait().unwrap()).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(wait(|| (!Path::new(&format!("/proc/{target}")).exists()).then_some(())).is_some());
    assert_eq!(groups_of(own), Vec::<String>::new());
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
        assert_eq!(groups_of(own), Vec::<String>::new());
    }
}

fn interrupt(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// Control groups that this process made and left, in either hierarchy.
fn groups_of(pid: u32) -> Vec<String> {
    let ours = format!("fc-emulator-{pid}-");
    let hierarchies = ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let entries = hierarchies.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&ours)).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
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
