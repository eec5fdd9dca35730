//! Real clients before the adapter: curl, Node's fetch, Python's requests, and a WebSocket of Chromium.
//!
//! `make adapter-clients` installs what is missing; a client that is not here is skipped by name.

#![cfg(not(fc_hooks_poll))]

mod support;

use fc_testkit::skip;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::process::{Server, Setup};
use support::temp_dir;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Whether this client is here.
fn is_here(name: &str, command: &mut Command) -> bool {
    let answers = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !answers {
        skip(format_args!("{name}: it is not here (make adapter-clients)"));
    }
    answers
}

/// The adapter before the echo server.
fn start() -> Option<Server> {
    if !is_here("node, the program behind", Command::new("node").arg("--version")) {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let setup = Setup::program(env!("CARGO_BIN_EXE_fc-hooks")).env("PATH", path).env("FC_HOOKS_LOG_MARKERS", "off");
    Some(setup.arg("--").arg("node").arg(here("tests/clients/server.js")).start())
}

/// The output of a client, which must succeed.
fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn curl() {
    if !is_here("curl", Command::new("curl").arg("--version")) {
        return;
    }
    let Some(server) = start() else { return };
    let base = format!("http://{}", server.address);
    let folder = temp_dir();
    let large = folder.path().join("large");
    std::fs::write(&large, support::pattern(5_000_000)).expect("a file");
    let upload = format!("@{}", large.display());
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*"]).args(arguments);
        command
    };
    assert_eq!(output_of(&mut curl(&["-d", "event", &format!("{base}/invoke")])), "event");
    // Two calls on one connection; a large body, for which curl waits for a 100; a body of unknown length.
    assert_eq!(output_of(&mut curl(&[&format!("{base}/1"), &format!("{base}/2")])), "GET /1GET /2");
    for how in [&["--data-binary", &*upload, "-H", "Expect: 100-continue"][..], &["-T", "-"]] {
        let mut command = curl(how);
        command.arg(format!("{base}/echo"));
        let input = std::fs::File::open(&large).expect("the file");
        let output = command.stdin(input).output().expect("curl runs");
        assert!(output.status.success() && output.stdout == support::pattern(5_000_000), "{how:?}");
    }
    assert!(output_of(&mut curl(&["--head", &base])).contains("x-method: HEAD"));
    // curl asks for HTTP/2 by an upgrade, and goes on with HTTP/1.1.
    assert_eq!(output_of(&mut curl(&["--http2", &format!("{base}/3")])), "GET /3");
    assert_eq!(output_of(&mut curl(&["--http1.0", &format!("{base}/4")])), "GET /4");
    server.finish();
}

#[test]
fn fetch_of_node() {
    let Some(server) = start() else { return };
    let mut client = Command::new("node");
    client.arg(here("tests/clients/fetch.mjs")).arg(format!("http://{}", server.address));
    assert_eq!(output_of(&mut client), "all calls are right\n");
    server.finish();
}

#[test]
fn requests_of_python() {
    let own = here("target/adapter-clients/python/bin/python");
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    if !is_here("Python's requests", Command::new(&python).args(["-c", "import requests"])) {
        return;
    }
    let Some(server) = start() else { return };
    let mut client = Command::new(python);
    client.arg(here("tests/clients/calls.py")).arg(format!("http://{}", server.address)).env("NO_PROXY", "*");
    assert_eq!(output_of(&mut client), "all calls are right\n");
    server.finish();
}

/// Ends the browser.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its process group.
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "a browser: make adapter-clients"]
fn a_websocket_of_chromium() {
    use std::os::unix::process::CommandExt;
    if !is_here("chromium", Command::new("chromium").arg("--version")) {
        return;
    }
    let Some(server) = start() else { return };
    let profile = temp_dir();
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"]);
    command.arg("--disable-dev-shm-usage").arg("--remote-debugging-port=0");
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(format!("http://{}/page", server.address));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let browser = Browser(command.spawn().expect("chromium runs"));
    let output = server.process.stdout.wait_for("the verdict of the page", |text| text.contains("verdict: "));
    assert!(output.contains("verdict: all messages came back"), "{output}");
    drop(browser);
    server.finish();
}
