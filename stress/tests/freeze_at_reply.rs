//! `fc-stress freeze-at-reply` against the inspector.

#![cfg(target_os = "linux")] // freezers and /proc

mod common;

use common::{can_freeze_by, fc_stress, new_file};
use serde_json::Value;

/// The exit code, the report, and the output.
fn trial(method: &str, options: &[&str]) -> (i32, Value, String) {
    let (server, json) = (fc_testkit::build::server(), new_file());
    let mut words =
        vec!["freeze-at-reply", "--export-json", json.to_str().expect("a name in UTF-8"), "--freeze-with", method];
    words.extend(options);
    words.extend(["--", server.to_str().expect("a name in UTF-8")]);
    let output = fc_stress(&words);
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|cause| panic!("{words:?}: {cause}: {told}"));
    std::fs::remove_file(&json).expect("it was there");
    (output.status.code().expect("it ends by itself"), serde_json::from_str(&text).expect("a report"), told)
}

/// The methods that work here, for a process that may also raise its priority.
fn methods() -> impl Iterator<Item = &'static str> {
    if !fc_testkit::is_root() {
        fc_testkit::skip("freezes at the moment of a reply: real-time priority needs root");
    }
    ["cgroup-v1", "cgroup-v2"].into_iter().filter(|method| fc_testkit::is_root() && can_freeze_by(method))
}

/// No server can notice a freeze of milliseconds that interrupts no wait. On a busy machine some of these freezes come
/// late and do interrupt one.
#[test]
fn a_short_freeze_at_the_reply_or_in_a_call_is_missed() {
    for method in methods() {
        for options in
            [&["--count=4", "--freeze-for=20ms"][..], &["--count=4", "--freeze-for=20ms", "--in-call=200000"]]
        {
            let (code, report, told) = trial(method, options);
            let missed = report["missed"].as_u64().expect("a number");
            assert!(code == 1 && missed > 0, "{method} {options:?}: {told}");
            let trials = report["trials"].as_array().expect("a list");
            let (never, others): (Vec<_>, Vec<_>) = trials.iter().partition(|trial| trial["noticed"] == "never");
            assert_eq!((never.len() as u64, trials.len()), (missed, 4), "{told}");
            let interrupted = |trial: &Value| trial["noticed"] == "inTime" && trial["evidence"][0] == "interrupted";
            assert!(others.into_iter().all(interrupted), "{method} {options:?}: {told}");
            assert!(trials.iter().all(|trial| trial["frozenMs"].as_u64() >= Some(20)), "{told}");
            assert!(told.contains(&format!("{missed} of 4")), "{told}");
        }
    }
}

/// A wait that the freeze interrupts is noticed at once.
#[test]
fn a_freeze_after_the_server_went_to_sleep_is_noticed() {
    for method in methods() {
        let options = ["--count=4", "--freeze-for=20ms", "--delay=300ms", "--instances=2", "--format=tap"];
        let (code, report, told) = trial(method, &options);
        assert_eq!((code, &report["missed"]), (0, &Value::from(0)), "{method}: {told}");
        assert!(told.contains("\nok 4 - ") && !told.contains("not ok"), "{method}: {told}");
        for trial in report["trials"].as_array().expect("a list") {
            assert_eq!((&trial["noticed"], &trial["evidence"][0]), (&"inTime".into(), &"interrupted".into()), "{told}");
        }
    }
}

#[test]
fn another_server_and_another_freezer_are_refused() {
    for (words, wanted) in [
        (&["freeze-at-reply"][..], "<COMMAND>"),
        (&["freeze-at-reply", "--freeze-with=sigstop", "--", "true"], "cgroup-v1 or cgroup-v2"),
        (&["freeze-at-reply", "--freeze-for=soon", "--", "true"], "--freeze-for"),
    ] {
        let output = fc_stress(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(wanted), "{words:?}: {told}");
    }
}
