//! `fc-emulator serve` with the faulty server, which is correct without its faults, and with real freezes.

#![cfg(feature = "serve")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A state that does not come within this time never comes.
const LONGEST: Duration = Duration::from_secs(60);

/// One emulator that serves.
struct Served {
    child: Child,
    addr: String,
}

impl Served {
    fn start(options: &[&str], target: &str) -> Self {
        let words = [&["serve", "--listen=127.0.0.1:0", "--quiet"], options, &["--", target]].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("fc-emulator starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints a line");
        let addr = line.trim().split("http://").nth(1).expect("the ready line has the address").to_owned();
        Self { child, addr }
    }

    /// The status, the head and the body of the answer to one request.
    fn request(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
        let length = body.len();
        let head = format!("{head}\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), answer[end + 4..].to_vec())
    }

    fn invoke(&self, extra: &str, event: &[u8]) -> (u16, String, Vec<u8>) {
        self.request(&format!("POST /2023-03-30/functions/function/invocations HTTP/1.1{extra}"), event)
    }

    fn order(&self, instance: u64, wish: &str) -> u16 {
        let path = format!("/_fc/functions/function/instances/{instance}/{wish}");
        self.request(&format!("POST {path} HTTP/1.1\r\nX-Emulator-Order: 1"), b"").0
    }

    /// The instances of the first function.
    fn instances(&self) -> Vec<Value> {
        let (_, _, body) = self.request("GET /_fc/state HTTP/1.1", b"");
        let state: Value = serde_json::from_slice(&body).expect("the state is JSON");
        state["functions"][0]["instances"].as_array().expect("a list").clone()
    }

    /// Waits until the instances are in these phases.
    fn wait_for(&self, phases: &[&str]) -> Vec<u64> {
        let until = Instant::now() + LONGEST;
        loop {
            let instances = self.instances();
            let seen: Vec<&str> = instances.iter().filter_map(|one| one["phase"].as_str()).collect();
            if seen == phases {
                return instances.iter().filter_map(|one| one["id"].as_u64()).collect();
            }
            assert!(Instant::now() < until, "{seen:?} did not become {phases:?}");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // SIGTERM lets it remove its instances.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn from_zero_frozen_and_thawed_by_a_call() {
    for generation in ["--fc2", "--fc3"] {
        let served = Served::start(&[generation], common::faulty());
        served.wait_for(&[]);
        let (status, head, body) = served.invoke("\r\nX-Fc-Log-Type: Tail", b"{\"a\":1}");
        assert_eq!((status, body.as_slice()), (200, &b"{\"a\":1}"[..]), "{head}");
        assert!(head.contains("x-fc-log-result: ") && head.contains("x-fc-request-id: "), "{head}");
        served.wait_for(&["frozen"]);
        assert_eq!(served.invoke("", b"again").2, b"again");
        let first = served.wait_for(&["frozen"]);
        assert_eq!(first, [1], "the call thawed the instance and started none");
        assert_eq!(served.order(1, "reclaim"), 200);
        served.wait_for(&[]);
        assert_eq!(served.invoke("", b"anew").2, b"anew");
        assert_eq!(served.wait_for(&["frozen"]), [2]);
        assert_eq!(served.order(2, "kill"), 200);
        served.wait_for(&[]);
        assert_eq!(served.order(2, "kill"), 404);
    }
}

#[test]
fn nothing_stays_after_an_interrupt_or_a_kill() {
    for signal in ["-INT", "-TERM", "-KILL"] {
        let mut served = Served::start(&[], common::faulty());
        served.invoke("", b"x");
        served.wait_for(&["frozen"]);
        let pid = served.instances()[0]["pid"].as_u64().expect("the state has the id of the process");
        let there = || std::path::Path::new("/proc").join(pid.to_string()).exists();
        assert!(there() || cfg!(not(target_os = "linux")));
        let killed = Command::new("kill").args([signal, &served.child.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        served.child.wait().expect("it ends");
        let until = Instant::now() + LONGEST;
        while there() {
            assert!(Instant::now() < until, "kill {signal} left the frozen process {pid}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn limits_and_errors_are_those_of_the_platform() {
    let served = Served::start(&[], common::faulty());
    let long = "a".repeat(5000);
    for (head, status, code) in [
        (format!("GET /{long} HTTP/1.1"), 400, "InvalidArgument"),
        (format!("GET / HTTP/1.1\r\nA: {long}\r\nB: {long}"), 400, "InvalidArgument"),
        ("POST /2023-03-30/functions/none/invocations HTTP/1.1".to_owned(), 404, "FunctionNotFound"),
        ("GET /2023-03-30/functions/function/invocations HTTP/1.1".to_owned(), 405, "MethodNotAllowed"),
        ("GET /2023-03-30/layers HTTP/1.1".to_owned(), 501, "NotSupportedByEmulator"),
    ] {
        let (seen, _, body) = served.request(&head, b"");
        let json: Value = serde_json::from_slice(&body).expect("every error is JSON");
        assert_eq!((seen, json["Code"].as_str()), (status, Some(code)), "{json}");
        assert!(json["Message"].is_string() && json["RequestId"].is_string(), "{json}");
    }
    served.wait_for(&[]);
}

#[test]
fn a_function_that_does_not_start_says_why() {
    let served = Served::start(&[], "false");
    let (status, _, body) = served.invoke("", b"x");
    let json: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, json["Code"].as_str()), (502, Some("FunctionNotStarted")), "{json}");
    assert!(json["Message"].as_str().is_some_and(|text| text.contains("exited with code 1")), "{json}");
}
