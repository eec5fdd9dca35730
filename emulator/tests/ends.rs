//! A target that ends by itself: the verdict of the check says how, with its last words. A target whose output comes
//! only at its end, or never.

mod common;

use common::{check, faulty, fc_emulator, has_python};
use serde_json::Value;

/// The checks before a death pass, and the check that meets it says what the connection alone cannot say.
#[test]
fn a_check_names_the_end_of_the_target() {
    for (path, id) in [("/initialize", "initialize"), ("/invoke", "invoke"), ("/pre-stop", "pre-stop")] {
        let options = ["--only=ready,initialize,invoke,pre-stop", "--env", &format!("DIE_AT={path}")];
        let report = check(&options, &["--", faulty()]);
        assert!(report.ids("failed").contains(id), "{path}: {:?}", report.details("failed"));
        let actual = report.actual(id);
        assert!(actual.contains("; the target exited with code 3 by itself; "), "{path}: {actual}");
        let words = if path == "/initialize" { "it printed nothing" } else { "`FC Initialize End RequestId: " };
        assert!(actual.contains(words), "{path}: {actual}");
    }
}

#[test]
fn a_signal_that_ended_the_target_is_named() {
    let script = format!("DIE_AT=/pre-stop {}; echo the last word; kill -KILL $$", faulty());
    let report = check(&["--only=ready,invoke,pre-stop"], &["--", "sh", "-c", &script]);
    assert_eq!(report.ids("failed").into_iter().collect::<Vec<_>>(), ["pre-stop"], "{:?}", report.details("failed"));
    let actual = report.actual("pre-stop");
    assert!(actual.contains("the target was ended by signal 9 by itself"), "{actual}");
    assert!(actual.ends_with("`the last word`"), "{actual}");
}

/// A target that does not answer and lives is not said to have ended. One that we end ourselves is not, either.
#[test]
fn an_end_that_we_caused_is_not_told() {
    let report = check(&["--only=sigterm-code,invoke"], &["--", faulty(), "--fault", "invoke-missing"]);
    assert!(!report.actual("invoke").contains("the target"), "{}", report.actual("invoke"));
    let report = check(&["--only=sigterm-code"], &["--", faulty(), "--fault", "sigterm-exit-1"]);
    assert!(!report.actual("sigterm-code").contains("by itself"), "{}", report.actual("sigterm-code"));
}

/// After a crash at the start: one line says why, with the last words, and another one counts what was not tried.
#[test]
fn a_crash_at_the_start_is_one_line_with_the_last_words() {
    let script = "for n in 1 2 3 4 5 6 7; do echo line $n; done; exit 3";
    let words = ["check", "--skip=image-platform", "--", "sh", "-c", script];
    let output = fc_emulator(&words).assert().code(1).get_output().clone();
    let report = String::from_utf8(output.stdout).unwrap();
    let of = |word: &str| report.lines().filter(|line| line.starts_with(word)).collect::<Vec<_>>();
    let failed = of("FAIL");
    assert!(failed.len() == 1 && failed[0].contains("exited with code 3 before it listened"), "{report}");
    assert!(failed[0].ends_with("its last lines of output: `line 3` `line 4` `line 5` `line 6` `line 7`"), "{report}");
    assert_eq!(of("blocked").len(), 1, "{report}");
}

/// The older variable names another port, and nobody waits an hour for the newer one.
#[test]
fn another_port_that_is_open_ends_the_wait() {
    let report =
        check(&["--only=port-from-environment", "--ready-timeout=1h"], &["--", faulty(), "--fault", "legacy-port"]);
    assert_eq!(report.actual("port-from-environment"), "the port in FC_SERVER_PORT is open in its place");
}

fn last_warning(options: &[&str], target: &[&str]) -> (Option<i32>, String) {
    let words = [&["run", "--freeze-for=200ms", "--format=json"], options, &["--"], target].concat();
    let output = fc_emulator(&words).output().unwrap();
    let timeline: Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = timeline["steps"].as_array().and_then(|steps| steps.last()).unwrap().clone();
    assert_eq!(last["name"], "SIGTERM", "{timeline:#}");
    (output.status.code(), last["warning"].as_str().unwrap().to_owned())
}

#[test]
fn output_that_comes_only_at_the_end_is_warned_of() {
    let (code, warning) = last_warning(&[], &[faulty(), "--fault", "buffers-output-without-ids"]);
    assert_eq!(code, Some(0));
    assert!(warning.contains("only when it ended") && warning.contains("stdbuf"), "{warning}");
    assert_eq!(last_warning(&[], &[faulty()]), (Some(0), String::new()));
}

/// Python ended by SIGTERM loses what its buffer holds, so nothing ever shows.
#[test]
fn output_that_never_comes_is_warned_of() {
    if !has_python() {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/any_path.py");
    let (_, warning) = last_warning(&[], &["python3", script]);
    assert!(warning.contains("set PYTHONUNBUFFERED=1"), "{warning}");
    assert_eq!(last_warning(&["--env=PYTHONUNBUFFERED=1"], &["python3", script]).1, "");
    assert_eq!(last_warning(&[], &["python3", "-u", script]).1, "");
}

/// What answers any path alike runs no hook.
#[test]
fn hooks_of_a_server_that_answers_any_path_are_a_finding() {
    if !has_python() {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/any_path.py");
    let report = check(&["--only=hooks-recognised", "--ready-timeout=20s"], &["--", "python3", script]);
    assert_eq!(report.ids("failed").len(), 1, "{}", report.json);
    for part in ["POST /initialize: 200", "GET /pre-freeze", "GET /pre-stop", "the same way"] {
        assert!(report.actual("hooks-recognised").contains(part), "{}", report.actual("hooks-recognised"));
    }
}

/// C-STAT-1: older pages know no success but 200.
#[test]
fn a_success_other_than_200_is_warned_of() {
    let words = ["run", "--freezes=0", "--format=json", "--", faulty(), "--fault", "hook-204"];
    let output = fc_emulator(&words).assert().success().get_output().clone();
    let timeline: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = timeline["steps"].as_array().unwrap();
    let warning = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap()["warning"].to_string();
    assert!(warning("GET /pre-stop").contains("answer 200 in place of 204"), "{timeline:#}");
    assert_eq!(warning("POST /initialize"), "\"\"");
}
