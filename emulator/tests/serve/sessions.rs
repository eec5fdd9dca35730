//! Sessions: by header, by cookie, and in the API.

use std::time::Instant;

use serde_json::{Value, json};

use super::{LONGEST, Served, common};

impl Served {
    /// The instance that served the call with this answer.
    fn instance_of(&self, head: &str) -> u64 {
        let id = value_of(head, "x-fc-request-id").expect("the answer has the id of its request");
        let until = Instant::now() + LONGEST;
        loop {
            let state: Value = serde_json::from_slice(&self.request("GET /_fc/state HTTP/1.1", b"").2).expect("JSON");
            let calls = state["calls"].as_array().expect("a list");
            if let Some(call) = calls.iter().find(|call| call["request"] == id) {
                return call["instance"].as_u64().expect("an instance served it");
            }
            assert!(Instant::now() < until, "the call {id} is not recorded");
        }
    }

    fn session(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("{method} /2023-03-30/functions/function/sessions{path} HTTP/1.1");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, _, body) = self.request(&path, &body);
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") })
    }
}

/// The value of a header in the text of a head, which is in lower case.
fn value_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_session_finds_its_instance_by_header_and_by_cookie() {
    for by_cookie in [false, true] {
        let option = if by_cookie { "--session-cookie" } else { "--session-header=My-Session" };
        let served = Served::start(&[option, "--sessions-per-instance=1"], common::faulty());
        let names = |session: &str| match by_cookie {
            true => format!("Cookie: x=y; fc-session={session}"),
            false => format!("My-Session: {session}"),
        };
        let call = |extra: &str| {
            let (status, head, body) = served.request(&format!("GET / HTTP/1.1{extra}"), b"");
            assert_eq!(status, 200, "{head} {}", String::from_utf8_lossy(&body));
            head
        };
        // Who names no session gets one, and it is told.
        let head = call("");
        let first = match by_cookie {
            true => {
                value_of(&head, "set-cookie").and_then(|cookie| cookie.strip_prefix("fc-session=")?.split(';').next())
            }
            false => value_of(&head, "my-session"),
        };
        let first = first.unwrap_or_else(|| panic!("no session: {head}")).to_owned();
        assert_eq!(served.instance_of(&head), 1);
        let other = call(&format!("\r\n{}", names("other")));
        assert_eq!(served.instance_of(&other), 2, "another session has another instance");
        assert!(value_of(&other, "set-cookie").is_none() && value_of(&other, "my-session").is_none(), "{other}");
        for (session, instance) in [(first.as_str(), 1), ("other", 2), (first.as_str(), 1)] {
            let head = call(&format!("\r\n{}", names(session)));
            assert_eq!(served.instance_of(&head), instance, "{session}");
        }
        let list = served.session("GET", "", &Value::Null).1;
        let kind = if by_cookie { "GENERATED_COOKIE" } else { "HEADER_FIELD" };
        assert_eq!(list["sessions"].as_array().map(Vec::len), Some(2), "{list}");
        assert_eq!(list["sessions"][0]["sessionAffinityType"], kind, "{list}");
    }
}

#[test]
fn a_pause_freezes_the_instance_of_a_session_and_a_resume_thaws_it() {
    let options = ["--session-header=My-Session", "--session-isolation", "--no-freeze"];
    let served = Served::start(&options, common::faulty());
    let wanted = json!({"sessionId": "a", "sessionTTLInSeconds": 600, "sessionIdleTimeoutInSeconds": 60});
    let (status, session) = served.session("POST", "", &wanted);
    assert_eq!((status, &session["sessionStatus"]), (200, &"Active".into()), "{session}");
    assert_eq!((&session["sessionTTLInSeconds"], &session["containerId"]), (&600.into(), &Value::Null), "{session}");
    assert_eq!(served.session("POST", "", &wanted).0, 409);
    assert!(served.instances().is_empty(), "the first call of a session starts its instance");
    let call = || served.request("GET / HTTP/1.1\r\nMy-Session: a", b"");
    assert_eq!(call().0, 200);
    served.wait_for(&["serving"]);

    let (status, session) = served.session("PUT", "/a/pause", &Value::Null);
    assert_eq!((status, &session["sessionStatus"]), (200, &"Paused".into()), "{session}");
    served.wait_for(&["frozen"]);
    let (status, _, body) = call();
    let refused: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &refused["Code"]), (409, &"SessionPaused".into()));
    served.wait_for(&["frozen"]);
    assert_eq!(served.session("GET", "?sessionStatus=Paused", &Value::Null).1["sessions"][0]["sessionId"], "a");

    let (status, session) = served.session("PUT", "/a/resume", &Value::Null);
    assert_eq!((status, &session["sessionStatus"]), (200, &"Active".into()), "{session}");
    assert!(session["containerId"].as_str().is_some_and(|name| name.starts_with("c-")), "{session}");
    served.wait_for(&["serving"]);
    let (status, head, _) = call();
    assert_eq!((status, served.instance_of(&head)), (200, 1), "the instance is the same");

    // A call resumes a session that wants it.
    let (status, session) = served.session("PUT", "/a", &json!({"enableAutoResume": true}));
    assert_eq!(
        (status, &session["enableAutoResume"], &session["sessionTTLInSeconds"]),
        (200, &true.into(), &600.into())
    );
    assert_eq!(served.session("PUT", "/a/pause", &Value::Null).0, 200);
    served.wait_for(&["frozen"]);
    let (status, head, _) = call();
    assert_eq!((status, served.instance_of(&head)), (200, 1));

    assert_eq!(served.session("DELETE", "/a", &Value::Null), (204, Value::Null));
    served.wait_for(&[]);
    for (method, path, status, code) in [
        ("GET", "/a", 404, "SessionNotFound"),
        ("PUT", "/a/pause", 404, "SessionNotFound"),
        ("PUT", "/a/resume", 404, "SessionNotFound"),
        ("POST", "/a/pause", 405, "MethodNotAllowed"),
        ("PUT", "/a/stop", 501, "NotSupportedByEmulator"),
        ("GET", "?limit=0", 400, "InvalidArgument"),
    ] {
        let (seen, body) = served.session(method, path, &Value::Null);
        assert_eq!((seen, body["Code"].as_str()), (status, Some(code)), "{method} {path}: {body}");
    }
    for wrong in [json!({"sessionId": "a b"}), json!({"sessionTTLInSeconds": 21_601}), json!([1])] {
        assert_eq!(served.session("POST", "", &wrong).0, 400, "{wrong}");
    }
    let served = Served::start(&[], common::faulty());
    assert_eq!(served.session("POST", "", &json!({})).0, 400, "a function without affinity has no sessions");
}

/// The machine of a paused session is saved, and its QEMU ends. The restored one has the same memory.
#[test]
fn a_pause_saves_a_virtual_machine_and_a_resume_restores_it() {
    if let Err(missing) = fc_emulator::vm::requirements(None) {
        fc_testkit::skip(format!("pauses by snapshot: {missing}"));
        return;
    }
    let function = format!("../target/{}-unknown-linux-musl/release/fc-hooks", std::env::consts::ARCH);
    let function = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(function);
    if !function.exists() {
        fc_testkit::skip("pauses by snapshot: no static program is built, which a virtual machine needs: `make build`");
        return;
    }
    let options = ["--session-header=My-Session", "--resume", "--ready-timeout=120s"];
    let served = Served::start(&options, function.to_str().expect("the path is UTF-8"));
    let call = || served.request("GET / HTTP/1.1\r\nMy-Session: a", b"");
    let (status, _, body) = call();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    served.wait_for(&["serving"]);
    let machines = || {
        let family = fc_testkit::proc::family(served.child.id());
        let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        family.into_iter().filter(|pid| name(*pid).starts_with("qemu")).count()
    };
    assert_eq!(machines(), 1);
    assert_eq!(served.session("PUT", "/a/pause", &Value::Null).0, 200);
    served.wait_for(&["frozen"]);
    assert_eq!(machines(), 0, "the saved machine needs no QEMU");
    assert_eq!(call().0, 409);
    assert_eq!(served.session("PUT", "/a/resume", &Value::Null).0, 200);
    served.wait_for(&["serving"]);
    let (status, head, body) = call();
    assert_eq!((status, served.instance_of(&head)), (200, 1));
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["lifecycle"]["calls"], 2, "the memory is the same: {body}");
}
