//! Clients that break rules, are slow or leave, and ends at bad moments.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{LONGEST, LOOK_PAUSE, Served, common};

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
        stream
    }

    /// Everything that comes back for these bytes, until the emulator closes the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The emulator may close before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The JSON of the only answer in this text.
fn only_error(request: &str, text: &str) -> Value {
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{request}: {text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: no answer: {text:?}"));
    serde_json::from_str(body).unwrap_or_else(|cause| panic!("{request}: {cause}: {text}"))
}

#[test]
fn what_is_no_request_is_refused_with_json_and_reaches_no_function() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let served = Served::calls(&["--memory"], &file);
    let large = "a".repeat(200 * 1024);
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for path in ["/x", "/2023-03-30/functions/function/invocations"] {
        for request in [
            "GARBAGE\r\n\r\n".to_owned(),
            format!("GET {path} HTTP/3.0\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nNo Name: a\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nA : b\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nA: b\0c\r\n\r\n"),
            format!("GET {path} HTTP/1.1\r\nA: {large}\r\n\r\n"),
            format!("GET {path}{large} HTTP/1.1\r\n\r\n"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{smuggled}"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n{smuggled}"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n{smuggled}"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n{smuggled}"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{smuggled}"),
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{smuggled}"),
        ] {
            let shown = &request[..request.len().min(120)];
            let error = only_error(shown, &served.raw(request.as_bytes()));
            assert_eq!(error["Code"], "InvalidArgument", "{shown}: {error}");
            assert!(error["Message"].is_string() && error["RequestId"].is_string(), "{shown}: {error}");
        }
    }
    let calls = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(calls, "", "no such request reaches the function");
    served.wait_for(&[]);
    // Chunks go before a length (RFC 9112 §6.3). What follows them is not looked at, because one of both is a lie.
    let both = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = served.raw(format!("{both}{smuggled}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert_eq!(std::fs::read_to_string(&file).expect("one call"), "0 \n");
}

#[test]
fn pipelined_requests_are_answered_one_by_one() {
    if !common::has_python() {
        return;
    }
    let served = Served::calls(&["--memory"], Path::new("/dev/null"));
    let one = |body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let last = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nthird";
    let answers = served.raw(format!("{}{}{last}", one("first"), one("second")).as_bytes());
    let bodies: Vec<&str> =
        answers.split("HTTP/1.1 200").skip(1).filter_map(|one| one.split("\r\n\r\n").nth(1)).collect();
    assert_eq!(bodies, ["first", "second", "third"], "{answers}");
}

#[test]
fn slow_clients_hold_no_instance() {
    if !common::has_python() {
        return;
    }
    let served = Served::calls(&["--memory", "--call-timeout=2s", "--instances-max=1"], Path::new("/dev/null"));
    // A head and a body that never end.
    let mut head = served.connect();
    head.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\n").expect("it is sent");
    let mut body = served.connect();
    body.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").expect("it is sent");
    // Neither has asked for an instance.
    assert_eq!(served.request("POST /x HTTP/1.1", b"hello").2, b"hello");
    served.wait_for(&["frozen"]);
    // An answer that is too large for every buffer, and a client that does not read it.
    let large = vec![b'x'; 24 * 1024 * 1024];
    let mut stalled = served.connect();
    let length = large.len();
    write!(stalled, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").expect("it is sent");
    stalled.write_all(&large).expect("it is sent");
    let mut first = [0; 16];
    stalled.read_exact(&mut first).expect("the answer begins");
    assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    // The time limit of the call gives the instance back: without it, this call would wait for the client.
    assert_eq!(served.request("POST /x HTTP/1.1", b"hello").2, b"hello");
    drop((head, body, stalled));
}

#[test]
fn a_client_that_leaves_during_a_cold_start_leaves_no_busy_instance() {
    let script = format!("sleep 1; exec {}", common::faulty());
    let served = Served::start_words(&["--memory", "--idle-timeout=1s", "--", "/bin/sh", "-c", &script]);
    let mut client = served.connect();
    client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    served.wait_for(&["starting"]);
    drop(client);
    served.wait_for(&["frozen"]);
    let function = served.function();
    assert_eq!((&function["waiting"], &function["counts"]["calls"]), (&0.into(), &0.into()), "{function}");
    served.wait_for(&[]);
}

/// Waits until no process has this text in its arguments.
pub fn wait_until_gone(text: &str) {
    let there = || {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = processes.filter_map(|one| std::fs::read(one.path().join("cmdline")).ok());
        let found: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect();
        found.into_iter().filter(|line| line.contains(text) && !line.contains("fc-emulator")).collect::<Vec<_>>()
    };
    let until = Instant::now() + LONGEST;
    while !there().is_empty() {
        assert!(Instant::now() < until, "still there: {:?}", there());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_during_a_start_or_a_freeze_leaves_nothing() {
    for (number, signal) in ["-INT", "-TERM", "-KILL"].into_iter().enumerate() {
        let mark = format!("98765.{}{number}", std::process::id());
        let mut served =
            Served::start_words(&["--memory", "--instances-min=3", "--", "/bin/sh", "-c", &format!("sleep {mark}")]);
        served.wait_for(&["starting", "starting", "starting"]);
        end(&mut served, signal);
        wait_until_gone(&mark);
    }
    // Instances that are frozen and thawed all the time, at the moment of the signal.
    for signal in ["-INT", "-TERM", "-KILL"] {
        let mut served = Served::start(&["--instances-min=2"], common::faulty());
        for _ in 0..20 {
            served.invoke("", b"x");
        }
        let pids: Vec<u64> = served.instances().iter().filter_map(|one| one["pid"].as_u64()).collect();
        end(&mut served, signal);
        let until = Instant::now() + LONGEST;
        while pids.iter().any(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
            assert!(Instant::now() < until, "kill {signal} left one of {pids:?}");
        }
    }
}

fn end(served: &mut Served, signal: &str) {
    let killed = Command::new("kill").args([signal, &served.child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    served.child.wait().expect("it ends");
}

#[test]
fn a_taken_port_is_named() {
    let served = Served::start(&[], common::faulty());
    let listen = format!("--listen={}", served.addr);
    let second = Command::new(env!("CARGO_BIN_EXE_fc-emulator"))
        .args(["serve", &listen, "--memory", "--", "true"])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(2) && said.contains(&served.addr) && said.contains("in use"), "{said}");
}

#[test]
fn a_full_queue_and_a_late_instance_answer_429() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let served = Served::calls(&["--memory", "--instances-max=1", "--queue=1", "--queue-timeout=30s"], &file);
    let send = || {
        let mut stream = served.connect();
        // Much longer than the test, however busy the machine is.
        let event = br#"{"sleep": 600}"#;
        write!(stream, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", event.len()).expect("it is sent");
        stream.write_all(event).expect("it is sent");
        stream
    };
    let until = Instant::now() + LONGEST;
    let wait = |what: &dyn Fn(&Value) -> bool| {
        while !what(&served.function()) {
            assert!(Instant::now() < until, "{}", served.function());
            std::thread::sleep(LOOK_PAUSE);
        }
    };
    let _running = send();
    wait(&|function| function["instances"][0]["running"] == 1);
    let _waiting = send();
    wait(&|function| function["waiting"] == 1);
    for path in ["/x", "/2023-03-30/functions/function/invocations"] {
        let (status, _, body) = served.request(&format!("POST {path} HTTP/1.1"), b"{}");
        let error: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((status, &error["Code"]), (429, &"ResourceExhausted".into()), "{error}");
    }
    let late = Served::calls(&["--memory", "--instances-max=1", "--queue-timeout=5s"], &file);
    let until = Instant::now() + LONGEST;
    // On a busy machine an instance may start later than a call may wait for it.
    while late.request("POST /x HTTP/1.1", b"{}").0 != 200 {
        assert!(Instant::now() < until, "{}", late.function());
    }
    let mut first = late.connect();
    first.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{\"sleep\": 600}").expect("it is sent");
    while late.function()["instances"][0]["running"] != 1 {
        assert!(Instant::now() < until, "{}", late.function());
        std::thread::sleep(LOOK_PAUSE);
    }
    assert_eq!(late.request("POST /x HTTP/1.1", b"{}").0, 429, "it waited as long as it may");
}

#[test]
fn a_function_that_never_listens_or_never_initializes_says_why_in_time() {
    let served = Served::start_words(&["--memory", "--ready-timeout=500ms", "--", "/bin/sh", "-c", "sleep 600"]);
    let (status, _, body) = served.invoke("", b"x");
    let error: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &error["Code"]), (502, &"FunctionNotStarted".into()), "{error}");
    assert!(error["Message"].as_str().is_some_and(|text| text.contains("nothing listens on port")), "{error}");
    if !common::has_python() {
        return;
    }
    let server = "import http.server, os, time\n\
                  class Slow(http.server.BaseHTTPRequestHandler):\n  def do_POST(self): time.sleep(600)\n\
                  http.server.HTTPServer(('0.0.0.0', int(os.environ['FC_CUSTOM_LISTEN_PORT'])), Slow).serve_forever()";
    let served = Served::start_words(&["--memory", "--initialize-timeout=500ms", "--", "python3", "-c", server]);
    let (status, head, body) = served.invoke("", b"x");
    let error: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(status == 200 && head.contains("x-fc-error-type: initializationerror"), "{status} {head}");
    assert!(error["errorMessage"].as_str().is_some_and(|text| text.contains("no answer within 0.5 s")), "{error}");
}
