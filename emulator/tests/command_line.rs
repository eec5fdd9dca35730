//! `fc-emulator check` as a command: formats, choices, exit codes, and a target that runs already.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{check, faulty, fc_emulator};
use fc_emulator::target::Port;

/// Three checks that end soon, one of which finds the fault.
const SHORT: &[&str] = &["check", "--only=ready,initialize,pre-stop,C-INV-1", "--large-bytes=1000"];

fn text(words: &[&str]) -> (Option<i32>, String) {
    let output = fc_emulator(&[SHORT, words, &["--", faulty(), "--fault", "pre-stop-misspelt"]].concat());
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_format_tells_the_fault() {
    let (code, human) = text(&[]);
    assert_eq!(code, Some(1));
    for part in ["FAIL     must   C-STOP-1  pre-stop", "fix:      route GET /pre-stop", "1 failed (must)"] {
        assert!(human.contains(part), "{part:?} in {human}");
    }
    let (_, junit) = text(&["--format=junit"]);
    assert!(junit.contains("tests=\"6\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{junit}");
    let (_, tap) = text(&["--format=tap"]);
    assert!(tap.starts_with("TAP version 13\n1..6\n") && tap.contains("\nnot ok "), "{tap}");
    let (code, json) = text(&["--format=json"]);
    assert_eq!(code, Some(1));
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
}

#[test]
fn a_broken_should_violates_only_when_strict() {
    let words = ["check", "--only=ready,initialize,log-invoke", "--", faulty(), "--fault", "markers-indented"];
    assert_eq!(fc_emulator(&words).status.code(), Some(0));
    let strict = [&["check", "--strict"], &words[1..]].concat();
    assert_eq!(fc_emulator(&strict).status.code(), Some(1));
}

#[test]
fn what_cannot_be_tested_is_no_pass() {
    for words in [
        &["check", "--only=C-NONE-9", "--", faulty()][..],
        &["check", "--", "./no-such-program"],
        &["check"],
        &["check", "--only=job", "--", faulty()],
    ] {
        assert_eq!(fc_emulator(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn the_list_shows_every_check() {
    let list = String::from_utf8(fc_emulator(&["list"]).stdout).unwrap();
    for check in fc_emulator::check::all() {
        assert!(list.contains(check.id) && list.contains(check.rule), "{}", check.id);
    }
}

/// A target that somebody else started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_address_is_checked_as_far_as_it_goes() {
    let port = Port::free().unwrap();
    let addr = format!("127.0.0.1:{}", port.number());
    let child = Command::new(faulty())
        .env("FC_CUSTOM_LISTEN_PORT", port.number().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(&addr).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let report = check(&["--large-bytes=1000000"], &["--addr", &addr]);
    assert_eq!(report.told("failed"), Vec::<String>::new());
    assert_eq!(report.told("untested"), Vec::<String>::new());
    for id in ["thaw-call", "sigterm", "log-invoke", "call-before-initialize"] {
        assert!(report.ids("skipped").contains(id), "{id}");
    }
    for id in ["initialize", "invoke-large", "keepalive-idle", "pre-stop"] {
        assert!(report.ids("passed").contains(id), "{id}");
    }
    assert_eq!(report.code, Some(0));

    let timeline = fc_emulator(&["run", "--addr", &addr]);
    let table = String::from_utf8_lossy(&timeline.stdout);
    assert_eq!(timeline.status.code(), Some(0), "{table}");
    assert!(table.contains("a running address cannot be frozen"), "{table}");
}
