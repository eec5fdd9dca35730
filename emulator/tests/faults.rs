//! The checks find faults. For each check there is at least one server that breaks exactly its rule, and then this
//! check fails and no other.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use common::{FAIL_EVENT, check, faulty, work_through};

/// Each fault and the one check that must find it.
const TABLE: &[(&str, &str)] = &[
    ("never-listens", "ready"),
    ("exits-at-start", "ready"),
    ("legacy-port", "port-from-environment"),
    ("loopback-only", "listen-all-interfaces"),
    ("dies-on-probe", "probe-hangup"),
    ("logs-probes", "probe-silent"),
    ("logs-resets", "probe-silent"),
    ("health-503", "health-url"),
    ("health-ends", "health-for-life"),
    ("health-markers", "health-is-no-call"),
    ("framing-plus", "response-framing"),
    ("framing-two-lengths", "response-framing"),
    ("framing-length-list", "response-framing"),
    ("framing-length-and-chunked", "response-framing"),
    ("framing-chunked-1-0", "response-framing"),
    ("framing-coding", "response-framing"),
    ("framing-chunk-plus", "response-framing"),
    ("framing-chunk-blank", "response-framing"),
    ("framing-chunk-end", "response-framing"),
    ("framing-trailer", "response-framing"),
    ("framing-bare-lf", "response-framing"),
    ("framing-lf-in-value", "response-framing"),
    ("framing-cr-in-value", "response-framing"),
    ("framing-control-in-name", "response-framing"),
    ("framing-blank-in-name", "response-framing"),
    ("framing-folded", "response-framing"),
    ("framing-status-line", "response-framing"),
    ("framing-204-body", "response-framing"),
    ("framing-304-body", "response-framing"),
    ("framing-long-body", "response-framing"),
    ("answers-any-path", "hooks-recognised"),
    ("initialize-missing", "initialize"),
    ("initialize-slow", "initialize"),
    ("initialize-once", "initialize-again"),
    ("initialize-poisoned", "initialize-abandoned"),
    ("requires-length", "initialize-without-length"),
    ("early-call-dropped", "call-before-initialize"),
    ("early-call-refused", "call-without-initialize"),
    ("invoke-missing", "invoke"),
    ("empty-event-dropped", "invoke-empty"),
    ("event-as-text", "invoke-binary"),
    ("body-limit", "invoke-large"),
    ("retry-refused", "retried-call"),
    ("retry-replayed", "retried-call"),
    ("http-500", "http-call"),
    ("head-with-body", "head-without-body"),
    ("session-header-refused", "session-header"),
    ("no-status-header", "status-header"),
    ("status-header-always-200", "status-header-truthful"),
    ("status-header-always-404", "status-header-truthful"),
    ("error-text", "error-body"),
    ("refuses-parallel", "concurrent-calls"),
    ("fat-headers", "response-headers"),
    ("head-limit", "request-headers"),
    ("target-limit", "request-target"),
    ("case-sensitive", "header-case"),
    ("http-1-0", "http-1-1"),
    ("connection-close", "keepalive"),
    ("idle-timeout", "keepalive-idle"),
    ("idle-limit-advertised", "keepalive-idle"),
    ("pipelining-dropped", "pipelining"),
    ("one-connection", "other-connection"),
    ("buffers-output", "output-unbuffered"),
    ("buffers-output-without-ids", "output-unbuffered"),
    ("markers-wrong-case", "log-invoke"),
    ("markers-indented", "log-invoke"),
    ("markers-wrong-id", "log-invoke"),
    ("markers-on-stderr", "log-invoke"),
    ("markers-without-error", "log-failed-call"),
    ("no-initialize-markers", "log-initialize"),
    ("no-hook-markers", "log-hooks"),
    ("logs-event", "log-line-length"),
    ("logs-secret", "secrets-silent"),
    ("logs-environment", "secrets-silent"),
    ("logs-broken-requests", "secrets-silent"),
    ("needs-control-path", "without-control-path"),
    ("outside-pre-stop", "outside-callers"),
    ("outside-initialize", "outside-callers"),
    ("any-method", "wrong-method"),
    ("needs-credentials", "no-credentials"),
    ("needs-credentials-in-environment", "no-credentials"),
    ("pre-freeze-missing", "pre-freeze"),
    ("pre-freeze-once", "pre-freeze-twice"),
    ("pre-freeze-locks", "call-during-pre-freeze"),
    ("watchdog-on-thaw", "thaw-call"),
    ("needs-pre-freeze", "thaw-without-pre-freeze"),
    ("stale-before-first-call", "freeze-after-initialize"),
    ("initialize-once-after-thaw", "initialize-after-thaw"),
    ("idle-timer-first", "call-while-frozen"),
    ("idle-since-reply", "freeze-at-reply"),
    ("idle-close-after-freeze", "keepalive-over-freeze"),
    ("head-timeout", "freeze-in-head"),
    ("kept-head-timeout", "freeze-in-kept-head"),
    ("body-timeout", "freeze-in-body"),
    ("write-timeout", "freeze-in-reply"),
    ("pre-stop-misspelt", "pre-stop"),
    ("pre-stop-once", "pre-stop-twice"),
    ("pre-stop-is-final", "call-after-pre-stop"),
    ("pre-stop-closes", "call-after-pre-stop"),
    ("initialize-once-after-pre-stop", "initialize-after-pre-stop"),
    ("pre-stop-after-thaw-fails", "pre-stop-after-freeze"),
    ("sigterm-ignored", "sigterm"),
    ("sigterm-exit-1", "sigterm-code"),
    ("sigterm-default", "pid-1"),
    ("sigterm-after-pre-stop-hangs", "pre-stop-then-sigterm"),
    ("hook-500", "hook-never-500"),
    ("hook-500-without-headers", "hook-odd-headers"),
    ("hook-204", "hook-status-exact"),
    ("job-serves", "job"),
    ("job-always-0", "job-failure"),
];

/// The check of images. Its faulty target is in `own.rs`.
const ELSEWHERE: &[&str] = &["image-platform"];

/// With these options no check is skipped.
const EVERYTHING: &[&str] = &["--http-beside-events=GET /", "--health=/health", "--concurrency=8", "--job"];

/// More than the socket buffers and the limit of `body-limit` let through, and little enough for the memory of many
/// targets at a time. The server without a fault gets the full 32 MB.
const LARGE: &str = "--large-bytes=8388608";

#[test]
fn without_a_fault_every_check_passes() {
    // Nothing here runs into a time limit, and 32 MB take a while on a busy machine.
    let report = check(&[EVERYTHING, &[FAIL_EVENT, "--call-timeout=60s"]].concat(), &["--", faulty()]);
    for outcome in ["failed", "untested", "blocked"] {
        assert_eq!(report.details(outcome), Vec::<String>::new(), "{outcome}");
    }
    let not_here = if fc_testkit::is_root() { &["image-platform"][..] } else { &["image-platform", "pid-1"] };
    assert_eq!(report.ids("skipped"), not_here.iter().copied().collect(), "{:?}", report.details("skipped"));
    assert_eq!(report.code, Some(0));
}

/// Every tenth row, which is quick enough for every run of the tests. The variable says with which row it begins.
#[test]
fn a_tenth_of_the_faults_is_found_by_exactly_their_checks() {
    let first = std::env::var("FC_EMULATOR_FAULTS_FROM").map_or(0, |text| text.parse().expect("a number below 10"));
    are_found_by_exactly_their_checks(TABLE.iter().skip(first).step_by(10));
}

#[test]
#[ignore = "takes eight minutes"]
fn each_fault_is_found_by_exactly_its_check() {
    are_found_by_exactly_their_checks(TABLE.iter());
}

fn are_found_by_exactly_their_checks(rows: impl Iterator<Item = &'static (&'static str, &'static str)>) {
    let options = [EVERYTHING, &[LARGE, FAIL_EVENT]].concat();
    let wrong = Mutex::new(BTreeMap::new());
    let rows: Vec<_> = rows.filter(|(_, check)| fc_testkit::is_root() || *check != "pid-1").collect();
    work_through(&rows, |(fault, check_id)| {
        // A row that comes to no report must not hide the others.
        let Ok(report) = std::panic::catch_unwind(|| check(&options, &["--", faulty(), "--fault", fault])) else {
            wrong.lock().unwrap().insert(*fault, "no report".to_owned());
            return;
        };
        if report.ids("failed") != BTreeSet::from([*check_id]) || !report.ids("untested").is_empty() {
            let told = format!("{:?}, untested {:?}", report.details("failed"), report.details("untested"));
            wrong.lock().unwrap().insert(*fault, told);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
}

/// A hook that does not work shows nothing about its markers.
#[test]
fn no_markers_are_praised_where_no_hook_works() {
    let options = ["--hooks=pre-stop", "--only=pre-stop,log-hooks"];
    let report = check(&options, &["--", faulty(), "--fault", "pre-stop-misspelt"]);
    assert_eq!(report.ids("failed"), BTreeSet::from(["pre-stop"]), "{:?}", report.details("failed"));
    assert_eq!(report.ids("blocked"), BTreeSet::from(["log-hooks"]), "{:?}", report.details("passed"));
}

#[test]
fn every_check_has_its_faulty_target() {
    let caught: BTreeSet<_> = TABLE.iter().map(|(_, check)| *check).chain(ELSEWHERE.iter().copied()).collect();
    let all: BTreeSet<_> = fc_emulator::check::all().iter().map(|check| check.id).collect();
    assert_eq!(caught, all);
    let names: BTreeSet<_> = TABLE.iter().map(|(fault, _)| *fault).collect();
    let known: BTreeSet<_> = include_str!("../../testkit/programs/faulty/names.txt").lines().collect();
    assert_eq!(names, known);
}

/// An answer that the socket buffers hold cannot be frozen half sent, and the rule is not judged by it.
#[test]
fn a_short_answer_leaves_the_freeze_in_a_reply_untested() {
    let report = check(&["--only=freeze-in-reply", "--large-bytes=1000"], &["--", faulty()]);
    assert_eq!(report.ids("untested"), BTreeSet::from(["freeze-in-reply"]));
    assert!(report.actual("freeze-in-reply").contains("complete before the freeze"), "{:?}", report.json);
    assert_eq!(report.code, Some(2));
}

/// A freeze that never finds the target waiting cannot show what its timers do, so it does not pass by it.
#[test]
#[cfg(target_os = "linux")]
fn a_target_that_never_waits_does_not_pass_by_a_freeze() {
    let command = format!("while :; do :; done & exec {}", faulty());
    let report = check(&["--only=call-while-frozen,freeze-in-reply"], &["--", "sh", "-c", &command]);
    let never_idle = ["call-while-frozen", "freeze-in-reply"];
    assert_eq!(report.ids("untested"), BTreeSet::from(never_idle), "{:?}", report.json);
    assert!(never_idle.iter().all(|id| report.actual(id).contains("at work")), "{:?}", report.json);
    assert_eq!(report.code, Some(2));
}

/// The verdict of a check that waits says how long it waited.
#[test]
fn an_idle_time_shorter_than_the_rule_says_so() {
    let report = check(&["--only=keepalive-idle"], &["--", faulty()]);
    let actual = report.actual("keepalive-idle");
    assert!(actual.contains(" s of idle time") && actual.contains("to 900 s would not show"), "{actual}");
}
