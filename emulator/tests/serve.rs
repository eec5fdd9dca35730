//! `fc-emulator serve` with the faulty server, which is correct without its faults, and with real freezes.

#![cfg(feature = "serve")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
        Self::start_words(&[&["--memory"], options, &["--", target]].concat())
    }

    /// With the function of `targets/calls.py`, which notes its calls in this file.
    fn calls(options: &[&str], file: &Path) -> Self {
        let env = format!("--env=CALLS_FILE={}", file.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/calls.py");
        let script = script.to_str().expect("the path is UTF-8");
        Self::start_words(&[options, &[&env, "--", "python3", script]].concat())
    }

    fn start_words(words: &[&str]) -> Self {
        let words = [&["serve", "--listen=127.0.0.1:0", "--quiet"], words].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::null());
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

    fn order(&self, instance: u64, wish: &str) -> u16 {
        let path = format!("/_fc/functions/function/instances/{instance}/{wish}");
        self.request(&format!("POST {path} HTTP/1.1\r\nX-Emulator-Order: 1"), b"").0
    }

    /// The instances of the first function.
    fn instances(&self) -> Vec<Value> {
        let (_, _, body) = self.request("GET /_fc/state?since=9999999999 HTTP/1.1", b"");
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

/// Takes one POST, and answers it. Returns its JSON.
fn take_post(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().expect("it is told");
    stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
    let mut reader = BufReader::new(stream.try_clone().expect("it is duplicated"));
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
    stream.write_all(b"HTTP/1.1 204 .\r\n\r\n").expect("it reads the answer");
    serde_json::from_slice(&body).expect("the message is JSON")
}

#[test]
fn asynchronous_calls_are_tried_again_and_their_end_is_told() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/told", listener.local_addr().expect("it has an address"));
    let (success, failure) = (format!("--on-success={url}"), format!("--on-failure={url}"));
    let options = ["--memory", "--async-backoff=10ms", "--async-retries=2", &success, &failure];
    let served = Served::calls(&options, &file);

    let (status, head, body) = served.later("", br#"{"fails": 2}"#);
    assert!(status == 202 && body.is_empty() && head.contains("x-fc-async-task-id: "), "{status} {head}");
    let told = take_post(&listener);
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 3, "{told}");
    assert_eq!(told["responsePayload"], r#"{"fails": 2}"#);
    let id = told["requestContext"]["taskId"].as_str().expect("the id").to_owned();
    assert!(head.contains(&format!("x-fc-request-id: {id}")), "{head}");
    let task = served.wait_for_task(&id, "Succeeded");
    assert_eq!((&task["alreadyRetriedTimes"], &task["taskPayload"]), (&2.into(), &r#"{"fails": 2}"#.into()));
    let calls = std::fs::read_to_string(&file).expect("the function noted its calls");
    assert_eq!(calls, "0 {\"fails\": 2}\n1 {\"fails\": 2}\n2 {\"fails\": 2}\n", "x-fc-retry-count counts");

    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: mine", br#"{"fails": 9}"#).0, 202);
    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: mine", b"").0, 409, "an id names one call");
    let told = take_post(&listener);
    assert_eq!(told["requestContext"]["condition"], "RetriesExhausted", "{told}");
    let task = served.wait_for_task("mine", "Failed");
    assert!(task["returnPayload"].as_str().is_some_and(|text| text.contains("not yet")), "{task}");
    assert_eq!((task["alreadyRetriedTimes"].as_u64(), task["events"].as_array().map(Vec::len)), (Some(2), Some(7)));

    // A call that runs is broken off with its instance; one that waits never runs.
    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: long", br#"{"sleep": 600}"#).0, 202);
    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: late\r\nX-Fc-Async-Delay: 600", b"{}").0, 202);
    served.wait_for_task("long", "Running");
    let stop =
        |id: &str| served.request(&format!("PUT /2023-03-30/functions/function/async-tasks/{id}/stop HTTP/1.1"), b"").0;
    assert_eq!((stop("long"), stop("late"), stop("none")), (200, 200, 404));
    served.wait_for_task("long", "Stopped");
    served.wait_for_task("late", "Stopped");
    assert_eq!(stop("late"), 409);

    let list = served.tasks("?status=Stopped&limit=1");
    assert_eq!((list["tasks"].as_array().map(Vec::len), &list["nextToken"]), (Some(1), &"1".into()), "{list}");
    assert_eq!(served.tasks("?prefix=mi")["tasks"][0]["taskId"], "mine");
    let large = vec![b'x'; 128 * 1024 + 1];
    for (extra, event) in [("", &large[..]), ("\r\nX-Fc-Async-Delay: 3601", b""), ("\r\nX-Fc-Async-Task-Id: a b", b"")]
    {
        assert_eq!(served.later(extra, event).0, 400, "{extra}");
    }
    served.wait_for(&[]);
}

#[cfg(feature = "store")]
#[test]
fn asynchronous_calls_outlive_a_kill_of_the_emulator() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (file, store) = (folder.path().join("calls"), folder.path().join("store.db"));
    let store_option = format!("--store={}", store.display());
    let mut served = Served::calls(&[&store_option, "--instances-max=1"], &file);
    let second = Command::new(env!("CARGO_BIN_EXE_fc-emulator"))
        .args(["serve", "--listen=127.0.0.1:0", &store_option, "--", "true"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(2) && said.contains("another fc-emulator uses the store"), "{said}");
    served.invoke("", b"{}");
    for id in ["a", "b", "c"] {
        assert_eq!(served.later(&format!("\r\nX-Fc-Async-Task-Id: {id}"), br#"{"sleep": 2}"#).0, 202);
    }
    served.wait_for_task("a", "Running");
    served.child.kill().expect("it runs");
    served.child.wait().expect("it ends");

    let served = Served::calls(&[&store_option], &file);
    for id in ["a", "b", "c"] {
        let task = served.wait_for_task(id, "Succeeded");
        assert_eq!(task["alreadyRetriedTimes"], 0, "{task}");
    }
    drop(served);
    // A damaged file is kept under another name. Its log would mend it.
    std::fs::remove_file(folder.path().join("store.db-wal")).expect("the log is there");
    std::fs::write(&store, b"damage").expect("it can be written");
    let served = Served::calls(&[&store_option], &file);
    assert_eq!(served.tasks("")["tasks"], serde_json::json!([]));
    assert_eq!(std::fs::read(folder.path().join("store.db.damaged-1")).expect("it is kept"), b"damage");
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
    let function = |name: &str| {
        format!(
            "  {name}:\n    component: fc3\n    props:\n      functionName: {name}\n      runtime: custom.debian12\n      \
             region: cn-hangzhou\n      code: ./code\n      customRuntimeConfig: {{command: [python3, calls.py]}}\n"
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

/// Orders random changes of instances until `done`. Returns how many were killed.
fn disturb(served: &Served, seed: u64, done: &AtomicBool) -> usize {
    let (mut rng, mut killed) = (fc_testkit::Rng::new(seed), 0);
    while !done.load(Ordering::SeqCst) {
        let instances = served.instances();
        if instances.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let id = instances[rng.below(instances.len())]["id"].as_u64().expect("a number");
        // Starts take long, so most orders cost none.
        let wish = match rng.below(40) {
            0 => "kill",
            1 => "reclaim",
            number => ["freeze", "thaw"][number % 2],
        };
        let known = served.order(id, wish) == 200;
        killed += usize::from(known && wish == "kill");
        std::thread::sleep(Duration::from_millis(rng.below(20) as u64));
    }
    killed
}

/// `SERVE_CALLS=10000` makes so many calls; `make serve-calls` does. An answer of 200 means that the function saw the
/// call once. Only a kill of its instance may cost a call, whose caller reads that; it was seen once or not at all.
#[test]
fn no_call_is_lost_or_doubled_while_instances_come_and_go() {
    if !common::has_python() {
        return;
    }
    let count: usize = std::env::var("SERVE_CALLS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(15);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let options = ["--memory", "--instances-max=6", "--async-backoff=10ms", "--async-retries=8"];
    let served = Served::calls(&options, &file);
    let (done, next, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let killed = std::thread::scope(|scope| {
        let killer = scope.spawn(|| disturb(&served, seed, &done));
        let callers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            return;
                        }
                        let event = format!("{{\"n\": {number}}}").into_bytes();
                        if number % 4 == 3 {
                            assert_eq!(served.later(&format!("\r\nX-Fc-Async-Task-Id: n{number}"), &event).0, 202);
                            continue;
                        }
                        let (status, _, body) = match number % 4 {
                            0 => served.request("POST /x HTTP/1.1", &event),
                            _ => served.invoke("", &event),
                        };
                        match status {
                            200 => assert_eq!(body, event, "an answer belongs to its call"),
                            502 => drop(refused.fetch_add(1, Ordering::SeqCst)),
                            _ => panic!("{status} {}", String::from_utf8_lossy(&body)),
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("every call has its answer");
        }
        for number in (0..count).filter(|number| number % 4 == 3).rev() {
            served.wait_for_task(&format!("n{number}"), "Succeeded");
        }
        done.store(true, Ordering::SeqCst);
        killer.join().expect("the orders are taken")
    });
    let refused = refused.into_inner();
    let calls = std::fs::read_to_string(&file).expect("the function noted its calls");
    let (mut seen, mut tries) = (vec![0usize; count], 0);
    for line in calls.lines() {
        let (_, event) = line.split_once(' ').expect("the retries and the event");
        let event: Value = serde_json::from_str(event).expect("the event is JSON");
        let number = event["n"].as_u64().expect("a number") as usize;
        seen[number] += 1;
        tries += 1;
    }
    let missed = (0..count).filter(|number| seen[*number] == 0).count();
    let doubled: Vec<usize> = (0..count).filter(|number| number % 4 != 3 && seen[*number] > 1).collect();
    println!("{count} calls, {tries} tries, {killed} kills, {refused} calls lost to a kill and told so");
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert!(missed <= refused, "{missed} calls were never seen, but only {refused} callers read an error");
    assert!(refused <= killed, "{refused} callers read an error after {killed} kills");
}

/// A browser that is driven over HTTP (W3C WebDriver).
struct Browser {
    driver: Child,
    addr: String,
    session: String,
}

impl Browser {
    /// `None` if there is no browser here, which is said.
    fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.spawn() else {
            fc_testkit::skip("there is no chromedriver here, which drives a browser: the page is not looked at");
            return None;
        };
        let stdout = BufReader::new(driver.stdout.take().expect("it is piped"));
        let ready = stdout.lines().map_while(Result::ok).any(|line| line.contains("started successfully"));
        assert!(ready, "chromedriver starts");
        let mut browser = Self { driver, addr: format!("127.0.0.1:{port}"), session: String::new() };
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"];
        let wanted = serde_json::json!({"alwaysMatch": {"goog:chromeOptions": {"args": args}}});
        let session = browser.order("POST", "/session", &serde_json::json!({"capabilities": wanted}));
        browser.session = session["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {session}")).to_owned();
        Some(browser)
    }

    fn order(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
        let body = body.to_string();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n", self.addr);
        stream.write_all(format!("{head}Content-Type: application/json\r\n\r\n{body}").as_bytes()).expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut answered = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                answered = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; answered];
        reader.read_exact(&mut body).expect("a body");
        let answer: Value = serde_json::from_slice(&body).expect("it answers with JSON");
        answer["value"].clone()
    }

    fn open(&self, url: &str) {
        self.order("POST", &format!("/session/{}/url", self.session), &serde_json::json!({"url": url}));
    }

    fn run(&self, script: &str) -> Value {
        let order = serde_json::json!({"script": script, "args": []});
        self.order("POST", &format!("/session/{}/execute/sync", self.session), &order)
    }

    fn wait_for(&self, script: &str) {
        let until = Instant::now() + LONGEST;
        while self.run(script) != true {
            let shown = || self.run("return document.body.innerText");
            assert!(Instant::now() < until, "`{script}` does not become true: {}", shown());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its session, the browser ends.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.order("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = Command::new("kill").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
    }
}

#[test]
fn the_page_shows_instances_calls_and_logs_and_its_buttons_work() {
    let served = Served::start(&[], common::faulty());
    let (status, head, body) = served.request("GET /_fc/ HTTP/1.1", b"");
    let page = String::from_utf8(body).expect("it is text");
    assert!(status == 200 && head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(!page.contains("https://") && !page.contains("src="), "the page asks for nothing from elsewhere");
    assert_eq!(served.request("GET /_fc HTTP/1.1", b"").0, 308);
    let Some(browser) = Browser::start() else { return };
    browser.open(&format!("http://{}/_fc/", served.addr));
    let has = |text: &str| browser.wait_for(&format!("return document.body.innerText.includes('{text}')"));
    has("live");
    has("the next call starts one");
    let (_, head, _) = served.invoke("", b"hello");
    let id = head.split("x-fc-request-id: ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an id");
    for text in ["1 call: 1 cold", "#1", "FC Invoke Start RequestId"] {
        has(text);
    }
    let phase = "document.querySelector('.lane .phase').textContent";
    browser.wait_for(&format!("return {phase} === 'frozen'"));
    let find_call =
        format!("[...document.querySelectorAll('#calls button')].find((one) => one.textContent === '{id}')");
    browser.wait_for(&format!("const call = {find_call}; if (call) call.click(); return !!call"));
    has(&format!("of the call {id}"));
    // The lane is painted: more than one colour is in it.
    browser.wait_for(
        "const lane = document.querySelector('canvas'), data = lane.getContext('2d').getImageData(0, 2, lane.width, 1);
         return new Set(new Uint32Array(data.data.buffer)).size > 2",
    );
    // Nothing is wider than a narrow window, except for what scrolls by itself.
    browser.wait_for("return document.documentElement.scrollWidth <= document.documentElement.clientWidth");
    browser.run("[...document.querySelectorAll('.lane button')].find((one) => one.textContent === 'reclaim').click()");
    browser.wait_for(&format!("return {phase} === 'removed'"));
    served.wait_for(&[]);
}
