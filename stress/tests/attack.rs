//! `fc-stress attack` as a command: what it finds, and that it leaves nothing behind.

#![cfg(target_os = "linux")] // descriptors and memory are read from /proc

mod common;

use common::fc_stress;
use serde_json::Value;

/// A server that is not fc-hooks.
fn uneven() -> String {
    fc_testkit::build::helper("uneven").display().to_string()
}

/// A short attack on another server: the exit code, the outcome, and the output.
fn attack(name: &str, what: &str) -> (Option<i32>, Value, String) {
    let json = std::env::temp_dir().join(format!("fc-stress-attack-{}-{what}.json", std::process::id()));
    let words =
        ["attack", "--quick", "--peer", "--only", name, "--export-json", json.to_str().unwrap(), "--", &uneven(), what];
    let output = fc_stress(&words);
    let text = std::fs::read_to_string(&json).unwrap_or_default();
    let _ = std::fs::remove_file(&json);
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_str(&text).unwrap_or_default();
    (output.status.code(), report["attacks"][0].clone(), told)
}

#[test]
fn the_list_shows_every_attack_and_others_there_are_none() {
    let list = String::from_utf8(fc_stress(&["attack", "--list"]).stdout).unwrap();
    for name in ["slow-heads", "big-bodies", "rst-storm", "hooks-by-outsiders", "stop"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} in {list}");
    }
    for words in [&["attack", "--only=none", "--", &uneven()][..], &["attack", "--", "./no-such-program"]] {
        assert_eq!(fc_stress(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_server_that_loses_healthy_calls_is_found_out() {
    let (code, outcome, told) = attack("rst-storm", "resets");
    assert_eq!(code, Some(1), "{told}");
    assert!(outcome["kept"]["lost"].as_u64() > Some(0) && told.contains("FAIL rst-storm: "), "{told}");
    assert!(outcome["stats"]["connected"].as_u64() >= Some(64), "{outcome}");
}

#[test]
#[ignore = "takes seconds of load: make test-all"]
fn a_sound_stranger_passes() {
    for name in ["rst-storm", "garbage", "half-open"] {
        let (code, outcome, told) = attack(name, "plain");
        assert_eq!((code, &outcome["faults"]), (Some(0), &Value::Array(vec![])), "{told}");
        assert_eq!(outcome["descriptors"]["before"], outcome["descriptors"]["after"], "{told}");
    }
}
