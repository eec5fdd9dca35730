//! The rules for hooks, on the real binary over real sockets: their answers, how often they run, and which callers may
//! run them.

mod support;

use serde_json::{Value, json};
use support::client::{Client, Reply};
use support::process::{Server, Setup, is_on_tiny_http};
use support::{state_of, users};

const HOOKS: [(&str, &str); 3] = [("POST", "/initialize"), ("GET", "/pre-freeze"), ("GET", "/pre-stop")];

/// Headers that tell the subject's callback what to do.
fn told(directive: &str) -> [(&str, &str); 2] {
    [("x-fc-request-id", "told"), ("x-fc-function-handler", directive)]
}

/// Calls a hook, tells it what to do, and returns its reply.
fn hook(server: &Server, path: &str, directive: Option<&str>) -> Reply {
    let (method, _) = HOOKS.iter().find(|(_, known)| *known == path).expect("a hook");
    let headers = directive.map(told);
    server.connect().call(method, path, headers.as_ref().map_or(&[], |headers| headers), b"")
}

/// The callbacks that have run, in order, without thaws: the request for this list would itself be a thaw.
fn events(server: &Server) -> Value {
    let mut events = state_of(server)["events"].clone();
    events.as_array_mut().expect("a list").retain(|event| !event.as_str().is_some_and(|it| it.starts_with("thaw")));
    events
}

/// C-STAT-1, C-STAT-2, C-INV-3: a hook's return value is the body, and the status is 200 whatever status it chose.
#[test]
fn hooks_that_succeed_answer_200_and_their_value() {
    let cases: [(&str, &[u8]); 8] = [
        ("static", b"static"),
        ("empty", b""),
        ("json", br#"{"a":[1,null]}"#),
        ("bytes", b"\0\xff\r\n"),
        ("header", b"x"),
        ("status-500", b"body"),
        ("stream", b""),
        ("sized", b""),
    ];
    for user in users() {
        for (_, path) in HOOKS {
            for (directive, body) in cases {
                let server = Setup::subject("full").user(user).start();
                let reply = hook(&server, path, Some(directive));
                assert_eq!((reply.status, &*reply.body), (200, body), "{path} {directive}: {reply:?}");
                assert_eq!(reply.header("x-fc-status"), Some("200"), "{path} {directive}");
                assert_eq!(reply.header("a"), (directive == "header").then_some("b"), "{path} {directive}");
                assert_eq!(reply.header("transfer-encoding"), None, "{path} {directive}");
                assert_eq!(events(&server), json!([&path[1..]]), "{path} {directive}");
                server.finish();
            }
        }
    }
}

/// C-STAT-1, C-FRZ-4, C-INV-5: a hook that fails is answered with 404 and the error as JSON, never with 500, and the
/// process lives on.
#[test]
fn hooks_that_fail_answer_404_and_the_process_lives() {
    let cases = [
        ("error", "NoStock", "sold out"),
        ("parse", "ParseIntError", "invalid digit found in string"),
        ("panic", "Panic", "pulled the plug"),
        ("panic-any", "Panic", "panicked with a value that is not text"),
        ("split", "ReplyError", "the header's value holds a control character"),
        ("broken", "StreamFailed", "asked to fail"),
        ("panicking", "StreamFailed", "asked to collapse"),
    ];
    for user in users() {
        for (_, path) in HOOKS {
            for (directive, error_type, message) in cases {
                let server = Setup::subject("full").user(user).expect_stderr().start();
                let reply = hook(&server, path, Some(directive));
                assert_eq!((reply.status, reply.header("x-fc-status")), (404, Some("404")), "{path} {directive}");
                assert_eq!(reply.error(), (error_type.to_owned(), message.to_owned()), "{path} {directive}");
                assert_eq!(events(&server), json!([&path[1..]]), "{path} {directive}");
                let logged = format!("{path} failed: {error_type}: {message}, request told");
                server.process.stderr.wait_for(&logged, |text| text.contains(&logged));
                server.finish();
            }
        }
    }
}

/// Without a route for a hook, or for events, the server answers 404 and says why.
#[test]
fn hooks_without_a_route_answer_404() {
    let server = Setup::subject("bare").start();
    for (method, path) in HOOKS {
        let reply = server.connect().call(method, path, &[], b"");
        let message = format!("{path} is not implemented by this function");
        assert_eq!((reply.status, reply.header("x-fc-status")), (404, Some("404")), "{path}");
        assert_eq!(reply.error(), ("HookNotImplemented".to_owned(), message));
    }
    let reply = server.connect().call("POST", "/invoke", &[], b"event");
    assert_eq!((reply.status, reply.header("x-fc-status")), (404, Some("404")));
    assert_eq!(reply.error().0, "NotImplemented");
    server.finish();
}

/// RFC 9110 §15.5.6: a known path with another method is answered with 405, and `allow` lists the methods.
#[test]
fn another_method_answers_405_with_allow() {
    let cases = [
        ("GET", "/initialize", "POST"),
        ("POST", "/pre-freeze", "GET"),
        ("PUT", "/pre-stop", "GET"),
        ("HEAD", "/pre-stop", "GET"),
        ("get", "/pre-stop", "GET"),
        ("GET", "/invoke", "POST"),
        ("DELETE", "/thing", "GET, POST, HEAD"),
    ];
    for table in ["full", "fallback", "bare"] {
        let server = Setup::subject(table).start();
        for (method, path, allow) in cases.into_iter().filter(|case| table == "full" || case.1 != "/thing") {
            let reply = server.connect().call(method, path, &[], b"");
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{table}: {method} {path}");
            assert_eq!(
                reply.header("x-fc-status"),
                Some("200"),
                "this is a mistake of the client; {table}: {method} {path}"
            );
        }
        assert_eq!(events(&server), json!([]), "{table}");
        server.finish();
    }
}

/// A call: its headers, method and target, the body of the reply if the table has a fallback route, and the callback
/// that ran.
type Caller = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static str, &'static str);

/// C-DISP-2: calls of outside clients for the path of a hook. The platform marks them by a header, whose name ignores
/// case.
const OUTSIDE: [Caller; 10] = [
    (&[("x-fc-control-path", "/http-invoke")], "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
    (&[("x-fc-control-path", "/http-invoke")], "GET", "/pre-freeze?x", "fallback GET /pre-freeze", "fallback"),
    (&[("x-fc-control-path", "/http-invoke")], "POST", "/initialize", "fallback POST /initialize", "fallback"),
    (&[("x-fc-control-path", "/http-invoke")], "POST", "/invoke", "fallback POST /invoke", "fallback"),
    (&[("X-Fc-Control-Path", "/http-invoke")], "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
    (&[("x-fc-control-path", "/http-invoke")], "GET", "http://a/pre-stop", "fallback GET /pre-stop", "fallback"),
    // An unknown value is no hook either.
    (&[("x-fc-control-path", "/Pre-Stop")], "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
    (&[("x-fc-control-path", "pre-stop")], "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
    // Two values, in either order: the platform sends only one (C-DISP-3).
    (&TWICE, "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
    (&[TWICE[1], TWICE[0]], "GET", "/pre-stop", "fallback GET /pre-stop", "fallback"),
];
const TWICE: [(&str, &str); 2] = [("x-fc-control-path", "/http-invoke"), ("x-fc-control-path", "/pre-stop")];

/// C-DISP-1, C-DISP-4: the header decides if it is there. Method and path decide only if it is absent or empty.
const PLATFORM: [Caller; 9] = [
    (&[("x-fc-control-path", "/initialize")], "POST", "/initialize", "initialize, run 1", "initialize"),
    (&[("x-fc-control-path", "/initialize")], "GET", "/", "initialize, run 1", "initialize"),
    (&[("x-fc-control-path", "/pre-freeze")], "GET", "/pre-stop", "pre-freeze, run 1", "pre-freeze"),
    (&[("x-fc-control-path", "/pre-stop")], "GET", "/pre-stop", "pre-stop, run 1", "pre-stop"),
    (&[("x-fc-control-path", "/invoke")], "POST", "/any/path", "", "event"),
    (&[("x-fc-control-path", "")], "GET", "/pre-stop", "pre-stop, run 1", "pre-stop"),
    (&[], "GET", "/pre-stop?query", "pre-stop, run 1", "pre-stop"),
    (&[], "POST", "/initialize", "initialize, run 1", "initialize"),
    (&[], "POST", "/invoke", "", "event"),
];

#[test]
fn an_outside_client_never_runs_a_hook() {
    for (headers, method, target, body, ran) in OUTSIDE {
        let server = Setup::subject("fallback").start();
        let reply = server.connect().call(method, target, headers, b"");
        assert_eq!(reply.summary(), (200, Some("200"), body.to_owned()), "{headers:?} {method} {target}");
        assert_eq!(events(&server), json!([ran]), "{headers:?} {method} {target}");
        server.finish();
        // Without a fallback route the path is not found.
        let server = Setup::subject("full").start();
        let reply = server.connect().call(method, target, headers, b"");
        assert_eq!((reply.status, reply.error().0.as_str()), (404, "NotFound"), "{headers:?} {method} {target}");
        assert_eq!(events(&server), json!([]), "{headers:?} {method} {target}");
        server.finish();
    }
}

#[test]
fn the_control_path_decides_before_method_and_path() {
    for table in ["fallback", "full"] {
        for (headers, method, target, body, ran) in PLATFORM {
            let server = Setup::subject(table).start();
            let reply = server.connect().call(method, target, headers, b"");
            assert_eq!(reply.summary(), (200, Some("200"), body.to_owned()), "{headers:?} {method} {target}");
            assert_eq!(events(&server), json!([ran]), "{headers:?} {method} {target}");
            server.finish();
        }
    }
}

/// A control path that is no text runs no hook.
#[test]
fn a_control_path_that_is_no_text_runs_no_hook() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    client.send(b"GET /pre-stop HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /pre-stop\xff\r\n\r\n");
    if is_on_tiny_http() {
        // tiny_http closes the connection without a reply.
        client.expect_close();
    } else {
        assert_eq!(client.reply().status, 404);
    }
    assert_eq!(events(&server), json!([]));
    server.finish();
}

/// With the option, whichever setting gave it, no hook runs without the header. Other calls are served.
#[test]
fn hooks_can_require_the_control_path() {
    let setups: [fn() -> Setup; 3] = [
        || Setup::subject("required"),
        || Setup::subject("full").env("FC_HOOKS_REQUIRE_CONTROL_PATH", "on"),
        || Setup::inspector().arg("--require-control-path"),
    ];
    for setup in setups {
        let server = setup().start();
        for (method, path) in HOOKS {
            let rejected = server.connect().call(method, path, &[], b"");
            assert_eq!((rejected.status, rejected.header("x-fc-status")), (404, Some("404")), "{path}");
            assert_eq!(rejected.error(), ("HookRefused".to_owned(), "x-fc-control-path is absent".to_owned()));
            let served = server.connect().call(method, path, &[("x-fc-control-path", path)], b"");
            assert_eq!(served.status, 200, "{path}: {}", served.text());
        }
        assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
        server.finish();
    }
}

/// A call of a hook: its path, the directive, the status, and the body of the reply or its `errorMessage`.
type Turn = (&'static str, Option<&'static str>, u16, &'static str);

/// Calls hooks one after the other. The path `call` stands for an HTTP call between them.
fn live(turns: &[Turn]) -> Server {
    let server = Setup::subject("full").expect_stderr().start();
    for (number, (path, directive, status, expected)) in turns.iter().enumerate() {
        if *path == "call" {
            assert_eq!(server.connect().get("/thing").text(), "GET thing");
            continue;
        }
        let reply = hook(&server, path, *directive);
        let text = if reply.status == 200 { reply.text() } else { reply.error().1 };
        assert_eq!((reply.status, &*text), (*status, *expected), "turn {number}, {path}");
        assert_eq!(reply.header("x-fc-status"), Some(if *status == 200 { "200" } else { "404" }));
    }
    server
}

/// C-INIT-2: the hook runs again after a failure, until it succeeds. From then on the server answers from store.
#[test]
fn initialize_runs_until_it_succeeds_once() {
    let server = live(&[
        ("/initialize", Some("error"), 404, "sold out"),
        ("/initialize", Some("panic"), 404, "pulled the plug"),
        ("call", None, 200, ""),
        ("/initialize", None, 200, "initialize, run 3"),
        ("/initialize", None, 200, "initialize, run 3"),
        ("call", None, 200, ""),
        ("/initialize", Some("error"), 200, "initialize, run 3"),
    ]);
    let state = state_of(&server);
    assert_eq!(state["events"], json!(["initialize", "initialize", "initialize"]));
    let counts = ["initialized", "initializeFailed", "replayed"].map(|name| state[name].as_u64());
    assert_eq!(counts, [Some(1), Some(2), Some(2)]);
    server.finish();
}

/// C-FRZ-2, C-STOP-4: the hook runs once for each freeze, whatever it answered. A repeated call is answered from store.
#[test]
fn pre_freeze_runs_once_for_each_freeze() {
    let server = live(&[
        ("/pre-freeze", None, 200, "pre-freeze, run 1"),
        ("/pre-freeze", None, 200, "pre-freeze, run 1"),
        ("/pre-freeze", Some("error"), 200, "pre-freeze, run 1"),
        ("call", None, 200, ""),
        ("/pre-freeze", Some("error"), 404, "sold out"),
        ("/pre-freeze", None, 404, "sold out"),
        ("call", None, 200, ""),
        ("/pre-freeze", None, 200, "pre-freeze, run 3"),
    ]);
    let state = state_of(&server);
    let expected = ["pre-freeze", "thaw pre-freeze", "pre-freeze", "thaw pre-freeze", "pre-freeze", "thaw pre-freeze"];
    assert_eq!(state["events"], json!(expected));
    let counts = ["frozen", "thawed", "replayed"].map(|name| state[name].as_u64());
    assert_eq!(counts, [Some(3), Some(3), Some(3)]);
    server.finish();
}

/// C-STOP-1, C-STOP-4: pre-stop runs once as long as no call comes, and not again at SIGTERM.
#[test]
fn pre_stop_runs_once_as_long_as_no_call_comes() {
    let refused = "/pre-freeze refused: the instance is stopped";
    let server = live(&[
        ("/initialize", None, 200, "initialize, run 1"),
        ("/pre-stop", Some("error"), 404, "sold out"),
        ("/pre-stop", None, 404, "sold out"),
        ("/pre-freeze", None, 404, refused),
    ]);
    let printed = server.finish();
    assert_eq!(printed.matches("FC PreStop Start").count(), 2, "pre-stop does not run again at SIGTERM: {printed}");
}

/// C-STOP-5, C-INIT-5: a call brings a stopped instance back. Its connection stays open, a thaw is reported, the hooks
/// are owed again, and SIGTERM runs pre-stop.
#[test]
fn a_call_after_pre_stop_brings_the_instance_back() {
    let server = live(&[("/initialize", None, 200, "initialize, run 1"), ("/pre-stop", None, 200, "pre-stop, run 1")]);
    support::freezer::stopped_for(&server, std::time::Duration::ZERO, || ());
    let mut client = server.connect();
    for event in [&b"late"[..], b"later"] {
        let reply = client.call("POST", "/invoke", &[], event);
        let text = String::from_utf8_lossy(event).into_owned();
        assert_eq!((reply.summary(), reply.header("connection")), ((200, Some("200"), text), None));
    }
    let state = state_of(&server);
    assert_eq!(state["events"], json!(["initialize", "pre-stop", "thaw sigcont", "event", "event"]));
    assert_eq!(state["phase"], "ready");
    for (path, method) in [("/initialize", "POST"), ("/pre-stop", "GET")] {
        let reply = client.call(method, path, &[], b"");
        assert_eq!(reply.text(), format!("{}, run 2", &path[1..]));
    }
    assert_eq!(client.call("POST", "/invoke", &[], b"").status, 200);
    let printed = server.finish();
    assert_eq!(printed.matches("FC PreStop Start").count(), 3, "SIGTERM ends a life that went on: {printed}");
}

/// C-FRZ-3: a request that arrives while pre-freeze runs is served after it, and is the thaw.
#[test]
fn a_request_after_pre_freeze_is_served() {
    let server = Setup::subject("full").start();
    let mut client: Client = server.connect();
    let both =
        [support::client::request("GET", "/pre-freeze", &[], b""), support::client::request("GET", "/thing", &[], b"")];
    client.send(both.concat());
    assert_eq!(client.reply().text(), "pre-freeze, run 1");
    assert_eq!(client.reply().text(), "GET thing");
    assert_eq!(state_of(&server)["phase"], "ready");
    server.finish();
}

/// Where others than the platform reach the port, they could set its headers. So a setting says who may call hooks.
#[test]
fn hooks_can_be_limited_to_some_peers() {
    let with_and_without_path = |path: &'static str| [vec![], vec![("x-fc-control-path", path)]];
    for (allowed, status) in [("loopback", 200), ("192.0.2.0/24,127.0.0.1", 200), ("192.0.2.0/24,::1", 404)] {
        let setups: [fn() -> Setup; 2] = [|| Setup::subject("full"), || Setup::subject("required")];
        for setup in setups {
            let server = setup().env("FC_HOOKS_HOOKS_FROM", allowed).start();
            let mut client = server.connect();
            for (method, path) in HOOKS {
                for headers in with_and_without_path(path).into_iter().skip(usize::from(status == 200)) {
                    let reply = client.call(method, path, &headers, b"");
                    assert_eq!(reply.status, status, "{allowed}: {path} {headers:?}");
                    if status == 404 {
                        let cause = "the peer may not call hooks".to_owned();
                        assert_eq!(reply.error(), ("HookRefused".to_owned(), cause), "{path} {headers:?}");
                    }
                }
            }
            assert_eq!(client.call("POST", "/invoke", &[], b"event").text(), "event", "events come from anywhere");
            let ran = events(&server).as_array().expect("a list").len();
            assert_eq!(ran, if status == 200 { 4 } else { 1 }, "{allowed}: the refused ran");
            server.finish();
        }
    }
    if is_on_tiny_http() {
        return;
    }
    let directory = support::temp_dir();
    let listen = format!("unix:{}", directory.path().join("socket").display());
    let setup = Setup::subject("full").env("FC_HOOKS_LISTEN", listen).env("FC_HOOKS_HOOKS_FROM", "192.0.2.1");
    let server = setup.start_as_configured();
    assert_eq!(hook(&server, "/initialize", Some("static")).text(), "static", "a Unix socket has its own permissions");
    server.finish();
}
