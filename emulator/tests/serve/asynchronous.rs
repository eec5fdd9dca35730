//! Asynchronous calls: retries, destinations, stops, and a restart of the emulator.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{LONGEST, LOOK_PAUSE, Served, common, read_json};

/// Takes one POST, and answers it. Returns its JSON.
fn take_post(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().expect("it is told");
    stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
    let message = read_json(&mut BufReader::new(stream.try_clone().expect("it is duplicated")));
    stream.write_all(b"HTTP/1.1 204 .\r\n\r\n").expect("it reads the answer");
    message
}

/// A listener that is told of the ends of calls, and its URL.
fn destination() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/told", listener.local_addr().expect("it has an address"));
    (listener, url)
}

#[test]
fn asynchronous_calls_are_tried_again_and_their_end_is_told() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let (listener, url) = destination();
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
    // A call counts as running while it still waits for its instance.
    let until = Instant::now() + LONGEST;
    while !std::fs::read_to_string(&file).is_ok_and(|calls| calls.contains("600")) {
        assert!(Instant::now() < until, "the function does not see the call");
        std::thread::sleep(LOOK_PAUSE);
    }
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

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A destination that speaks TLS with a certificate of its own, which the environment names as one to trust.
#[test]
fn a_destination_of_https_is_told_and_a_stranger_is_not() {
    let is_there =
        |name: &str, argument: &str| Command::new(name).arg(argument).output().is_ok_and(|ran| ran.status.success());
    for (name, argument) in [("python3", "--version"), ("openssl", "version"), ("curl", "--version")] {
        if !is_there(name, argument) {
            fc_testkit::skip(format!("there is no {name} here: destinations of https are not told"));
            return;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    assert!(made.is_ok_and(|ran| ran.status.success()), "a certificate");
    let server = "import http.server, ssl, sys\n\
                  class Told(http.server.BaseHTTPRequestHandler):\n  \
                  def do_POST(self):\n    \
                  body = self.rfile.read(int(self.headers['content-length']))\n    \
                  print(body.decode(), flush=True)\n    \
                  self.send_response(204)\n    self.end_headers()\n\
                  server = http.server.HTTPServer(('127.0.0.1', 0), Told)\n\
                  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
                  context.load_cert_chain(sys.argv[1], sys.argv[2])\n\
                  server.socket = context.wrap_socket(server.socket, server_side=True)\n\
                  print(server.server_address[1], flush=True)\nserver.serve_forever()";
    let mut command = Command::new("python3");
    command.args(["-c", server]).args([&certificate, &key]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut told = Ended(command.spawn().expect("it starts"));
    let mut lines = BufReader::new(told.0.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let url = format!("--on-success=https://127.0.0.1:{}/told", lines.next().expect("its port"));
    let file = folder.path().join("calls");
    for (trusted, delivery) in [(true, "Succeeded"), (false, "Failed")] {
        let trust = if trusted { certificate.as_path() } else { std::path::Path::new("/dev/null") };
        let served = Served::calls_with(&["--memory", &url], &file, &[("CURL_CA_BUNDLE", trust)]);
        assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: one", br#"{"a": 1}"#).0, 202);
        if trusted {
            let message: Value = serde_json::from_str(&lines.next().expect("it is told")).expect("JSON");
            assert_eq!(message["requestPayload"], r#"{"a": 1}"#, "{message}");
        }
        let until = Instant::now() + LONGEST;
        while served.tasks("/one")["destinationStatus"] != delivery {
            assert!(Instant::now() < until, "{}", served.tasks("/one"));
            std::thread::sleep(LOOK_PAUSE);
        }
    }
}

#[test]
fn a_configuration_is_put_read_and_deleted_by_the_api() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let (listener, url) = destination();
    let served = Served::calls(&["--memory", "--async-backoff=10ms", "--async-retries=0"], &file);
    let config = |method: &str, body: &Value| {
        let path = format!("{method} /2023-03-30/functions/function/async-invoke-config HTTP/1.1");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, _, body) = served.request(&path, &body);
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let (status, none) = config("GET", &Value::Null);
    assert_eq!((status, &none["Code"]), (404, &"AsyncConfigNotExists".into()), "{none}");
    for wrong in [
        serde_json::json!({"maxAsyncRetryAttempts": 9}),
        serde_json::json!({"maxAsyncEventAgeInSeconds": 0}),
        serde_json::json!({"destinationConfig": {"onFailure": {"destination": "acs:mns:::q"}}}),
        serde_json::json!("x"),
    ] {
        let (status, body) = config("PUT", &wrong);
        assert_eq!((status, &body["Code"]), (400, &"InvalidArgument".into()), "{wrong}: {body}");
    }
    let wanted = serde_json::json!({
        "asyncTask": true, "maxAsyncRetryAttempts": 1, "maxAsyncEventAgeInSeconds": 600,
        "destinationConfig": {"onFailure": {"destination": url}},
    });
    let (status, put) = config("PUT", &wanted);
    assert_eq!((status, &put["maxAsyncRetryAttempts"], &put["asyncTask"]), (200, &1.into(), &true.into()), "{put}");
    assert_eq!(put["destinationConfig"]["onFailure"]["destination"], url.as_str());
    assert_eq!(config("GET", &Value::Null), (200, put));
    let (_, _, list) = served.request("GET /2023-03-30/async-invoke-configs HTTP/1.1", b"");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(list["configs"].as_array().map(Vec::len), Some(1), "{list}");
    // It holds at once, in place of the options.
    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: one", br#"{"fails": 9}"#).0, 202);
    let told = take_post(&listener);
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 2, "{told}");
    assert_eq!(config("DELETE", &Value::Null).0, 204);
    assert_eq!(served.later("\r\nX-Fc-Async-Task-Id: two", br#"{"fails": 9}"#).0, 202);
    assert_eq!(served.wait_for_task("two", "Failed")["alreadyRetriedTimes"], 0, "the option holds again");
}

#[test]
fn an_http_trigger_takes_calls_for_later_and_keeps_their_requests() {
    if !common::has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let served = Served::calls(&["--memory", "--async-backoff=10ms"], &file);
    let call = |extra: &str, body: &[u8]| {
        served.request(&format!("PUT /some/path?a=b HTTP/1.1\r\nX-Fc-Invocation-Type: {extra}"), body)
    };
    let (status, head, body) = call("Async\r\nX-Fc-Async-Task-Id: web\r\nX-Own: 1", br#"{"fails": 1}"#);
    assert!(status == 202 && body.is_empty() && head.contains("x-fc-async-task-id: web"), "{status} {head}");
    let task = served.wait_for_task("web", "Succeeded");
    assert_eq!((&task["alreadyRetriedTimes"], &task["returnPayload"]), (&1.into(), &r#"{"fails": 1}"#.into()));
    let state: Value = serde_json::from_slice(&served.request("GET /_fc/state HTTP/1.1", b"").2).expect("JSON");
    let calls = state["calls"].as_array().expect("a list");
    assert!(calls.len() == 2 && calls.iter().all(|call| call["line"] == "PUT /some/path?a=b"), "{calls:?}");
    let calls = std::fs::read_to_string(&file).expect("the function noted its calls");
    assert_eq!(calls, "0 {\"fails\": 1}\n1 {\"fails\": 1}\n", "x-fc-retry-count counts");
    assert_eq!(call("Sync", b"{}").0, 200);
    assert_eq!(call("Later", b"{}").0, 400);
    assert_eq!(call("Async", &vec![b'x'; 128 * 1024 + 1]).0, 400);
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
    let http = "POST /web HTTP/1.1\r\nX-Fc-Invocation-Type: Async\r\nX-Fc-Async-Task-Id: d";
    assert_eq!(served.request(http, br#"{"sleep": 1}"#).0, 202);
    served.wait_for_task("a", "Running");
    served.child.kill().expect("it runs");
    served.child.wait().expect("it ends");

    let served = Served::calls(&[&store_option], &file);
    for id in ["a", "b", "c", "d"] {
        let task = served.wait_for_task(id, "Succeeded");
        assert_eq!(task["alreadyRetriedTimes"], 0, "{task}");
    }
    let state: Value = serde_json::from_slice(&served.request("GET /_fc/state HTTP/1.1", b"").2).expect("JSON");
    assert!(state["calls"].as_array().is_some_and(|calls| calls.iter().any(|call| call["line"] == "POST /web")));
    drop(served);
    // A damaged file is kept under another name. Its log would mend it.
    std::fs::remove_file(folder.path().join("store.db-wal")).expect("the log is there");
    std::fs::write(&store, b"damage").expect("it can be written");
    let served = Served::calls(&[&store_option], &file);
    assert_eq!(served.tasks("")["tasks"], serde_json::json!([]));
    assert_eq!(std::fs::read(folder.path().join("store.db.damaged-1")).expect("it is kept"), b"damage");
}
