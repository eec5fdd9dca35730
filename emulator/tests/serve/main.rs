//! `fc-emulator serve` with the faulty server, which is correct without its faults, and with real freezes.

#![cfg(feature = "serve")]

#[path = "../common/mod.rs"]
mod common;

mod asynchronous;
mod browser;
mod disturbed;
mod hostile;
mod image;
mod sessions;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A state that does not come within this time never comes.
const LONGEST: Duration = Duration::from_secs(60);

/// Between two looks at a state. Each costs a connection.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Reads a message of HTTP, and returns its JSON.
fn read_json(reader: &mut impl BufRead) -> Value {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    serde_json::from_slice(&body).expect("the body is JSON")
}

/// One emulator that serves.
struct Served {
    child: Child,
    addr: String,
}

impl Served {
    fn start(options: &[&str], target: &str) -> Self {
        Self::start_words(&[&["--memory"], options, &["--", target]].concat())
    }

    /// With the function of `targets/calls.py`, which notes its calls in this file.
    fn calls(options: &[&str], file: &Path) -> Self {
        Self::calls_with(options, file, &[])
    }

    /// The same, with these variables for the emulator itself.
    fn calls_with(options: &[&str], file: &Path, own_env: &[(&str, &Path)]) -> Self {
        let env = format!("--env=CALLS_FILE={}", file.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/calls.py");
        let script = script.to_str().expect("the path is UTF-8");
        Self::start_with(&[options, &[&env, "--", "python3", script]].concat(), own_env)
    }

    fn start_words(words: &[&str]) -> Self {
        Self::start_with(words, &[])
    }

    fn start_with(words: &[&str], own_env: &[(&str, &Path)]) -> Self {
        let words = [&["serve", "--listen=127.0.0.1:0", "--quiet"], words].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        command.args(words).envs(own_env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("fc-emulator starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints a line");
        let addr = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let addr = addr.expect("the ready line has the address").to_owned();
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

    fn later(&self, extra: &str, event: &[u8]) -> (u16, String, Vec<u8>) {
        self.invoke(&format!("\r\nX-Fc-Invocation-Type: Async{extra}"), event)
    }

    /// The JSON below the async tasks of the function.
    fn tasks(&self, path: &str) -> Value {
        let path = format!("GET /2023-03-30/functions/function/async-tasks{path} HTTP/1.1");
        serde_json::from_slice(&self.request(&path, b"").2).expect("it is JSON")
    }

    /// Waits until an asynchronous call has this status.
    fn wait_for_task(&self, id: &str, status: &str) -> Value {
        let until = Instant::now() + LONGEST;
        loop {
            let task = self.tasks(&format!("/{id}"));
            if task["status"] == status {
                return task;
            }
            assert!(Instant::now() < until, "{task} did not become {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every asynchronous call has ended.
    fn wait_until_no_task_is_open(&self) {
        let until = Instant::now() + LONGEST;
        while self.function()["tasks"] != 0 {
            assert!(Instant::now() < until, "asynchronous calls do not end: {}", self.function());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn order(&self, instance: u64, wish: &str) -> u16 {
        let path = format!("/_fc/functions/function/instances/{instance}/{wish}");
        self.request(&format!("POST {path} HTTP/1.1\r\nX-Emulator-Order: 1"), b"").0
    }

    /// The state of the first function.
    fn function(&self) -> Value {
        let (_, _, body) = self.request("GET /_fc/state?since=9999999999 HTTP/1.1", b"");
        let state: Value = serde_json::from_slice(&body).expect("the state is JSON");
        state["functions"][0].clone()
    }

    /// The instances of the first function.
    fn instances(&self) -> Vec<Value> {
        self.function()["instances"].as_array().expect("a list").clone()
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
            std::thread::sleep(LOOK_PAUSE);
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

#[test]
fn several_functions_come_from_a_file_and_a_fault_in_it_is_named() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/calls.py");
    std::fs::create_dir(folder.path().join("code")).expect("a folder");
    std::fs::copy(script, folder.path().join("code/calls.py")).expect("it is copied");
    let file = folder.path().join("s.yaml");
    const PAD: &str = "      ";
    let function = |name: &str| {
        format!(
            "  {name}:\n    component: fc3\n    props:\n      functionName: {name}\n      runtime: custom.debian12\n\
             {PAD}region: cn-hangzhou\n{PAD}code: ./code\n\
             {PAD}customRuntimeConfig: {{command: [python3, calls.py]}}\n"
        )
    };
    let text = format!("edition: 3.0.0\nname: demo\nresources:\n{}{}", function("one"), function("two"));
    std::fs::write(&file, &text).expect("it is written");
    let config = format!("--config={}", file.display());
    let served = Served::start_words(&["--memory", &config]);
    for name in ["one", "two"] {
        let (status, head, body) = served.request(&format!("POST /{name}/path HTTP/1.1"), b"hello");
        assert_eq!((status, body.as_slice()), (200, &b"hello"[..]), "{head}");
        let call = format!("POST /2023-03-30/functions/{name}/invocations HTTP/1.1");
        assert_eq!(served.request(&call, b"event").2, b"event");
    }
    let (status, _, body) = served.request("GET /three HTTP/1.1", b"");
    assert!(status == 404 && String::from_utf8_lossy(&body).contains("one, two"));
    drop(served);

    std::fs::write(&file, text.replace("functionName: two", "functionNam: two")).expect("it is written");
    let ran = Command::new(env!("CARGO_BIN_EXE_fc-emulator")).args(["serve", "--memory", &config]).output();
    let ran = ran.expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2));
    let told = "s.yaml, line 15: unknown field `functionNam` in the function: did you mean `functionName`?";
    assert!(said.contains(told), "{said}");
}
