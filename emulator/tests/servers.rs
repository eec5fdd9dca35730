//! A failed check names the setting of the server that was recognised, and the report the limits that it cannot show.

mod common;

use common::{check, faulty};

/// The faulty server under the name of one that sends no header of its own.
#[test]
fn a_server_is_recognised_by_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let puma = folder.path().join("puma");
    // A link and not a copy: another test's fork could hold a copy open for writing.
    std::os::unix::fs::symlink(faulty(), &puma).unwrap();
    let report = check(
        &["--only=keepalive-idle,freeze-in-head"],
        &["--", puma.to_str().unwrap(), "--fault", "idle-limit-advertised"],
    );
    let finding = &report.json["findings"][0];
    assert_eq!(finding["outcome"], "failed", "{finding}");
    assert!(finding["actual"].as_str().unwrap().contains("timeout=65"), "{finding}");
    assert!(finding["server_fix"].as_str().unwrap().contains("persistent_timeout 900"), "{finding}");
    let circumstances = report.json["circumstances"].to_string();
    assert!(circumstances.contains("default limits of Puma are longer"), "{circumstances}");
}

#[test]
fn an_unknown_server_gets_no_advice_and_a_warning() {
    let report =
        check(&["--only=keepalive-idle,freeze-in-head"], &["--", faulty(), "--fault", "idle-limit-advertised"]);
    assert!(report.json["findings"][0].get("server_fix").is_none(), "{}", report.json);
    let circumstances = report.json["circumstances"].to_string();
    assert!(circumstances.contains("show is 1.6 s; other servers have 2 s to 120 s"), "{circumstances}");
}
