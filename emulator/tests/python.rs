//! A target in another language: the sample of the documentation in Python, as people deploy it and corrected.

mod common;

use std::collections::BTreeSet;

use common::{check, has_python};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/sample.py");

#[test]
#[ignore = "a quarter of a minute: make test-all"]
fn the_fixed_sample_passes() {
    if !has_python() {
        return;
    }
    let report =
        check(&["--ready-timeout=20s", "--jobs=12", "--large-bytes=8388608"], &["--", "python3", SAMPLE, "--fixed"]);
    for outcome in ["failed", "untested", "blocked"] {
        assert_eq!(report.details(outcome), Vec::<String>::new(), "{outcome}");
    }
    assert_eq!(report.code, Some(0));
}

#[test]
#[ignore = "a quarter of a minute: make test-all"]
fn the_sample_as_deployed_has_known_faults() {
    if !has_python() {
        return;
    }
    let report = check(&["--ready-timeout=20s", "--jobs=12", "--large-bytes=8388608"], &["--", "python3", SAMPLE]);
    let mut expected = BTreeSet::from([
        // It answers with HTTP/1.0, and so it keeps no connection.
        "http-1-1",
        "keepalive",
        // Python buffers print() into a pipe.
        "output-unbuffered",
        // Every caller of the path runs the hook.
        "outside-callers",
        "status-header",
        "probe-silent",
    ]);
    if fc_testkit::is_root() {
        // The kernel ignores SIGTERM for process 1 if it has no handler.
        expected.insert("pid-1");
    }
    let failed = report.ids("failed");
    expected.retain(|id| *id != "probe-silent" || failed.contains(id));
    assert_eq!(failed, expected, "{:#?}", report.details("failed"));
    assert_eq!(report.ids("untested"), BTreeSet::new(), "{:?}", report.details("untested"));
    assert_eq!(report.code, Some(1));
}
