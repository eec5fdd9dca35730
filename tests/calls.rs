//! The rules for calls, on the real binary over real sockets: events, HTTP calls, the context that callbacks get, log
//! lines, and secrets.

mod support;

use serde_json::{Value, json};
use support::client::{Reply, request};
use support::process::{Server, Setup};
use support::{pattern, state_of, users};

/// Sends an event that tells the subject what to do.
fn event(server: &Server, directive: &str) -> Reply {
    let headers = [("x-fc-control-path", "/invoke"), ("x-fc-function-handler", directive)];
    server.connect().call("POST", "/invoke", &headers, b"event")
}

/// C-INV-1: the callback gets the bytes of the event as they were sent, and the caller gets its answer.
#[test]
fn events_are_verbatim() {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let cases = [vec![], vec![0], all_bytes, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), pattern(1 << 20)];
    for user in users() {
        let server = Setup::inspector().user(user).start();
        let mut client = server.connect();
        for body in &cases {
            let headers = [("x-fc-control-path", "/invoke"), ("content-type", "application/octet-stream")];
            let reply = client.call("POST", "/invoke", &headers, body);
            assert_eq!((reply.status, reply.header("x-fc-status")), (200, Some("200")), "{} bytes", body.len());
            assert!(reply.body == *body, "{} bytes were sent, {} came back", body.len(), reply.body.len());
        }
        server.finish();
    }
}

/// C-LIM-3: the platform sends at most 32 MiB. The server rejects one byte more.
#[test]
fn events_of_32_mib_and_one_byte_more() {
    let server = Setup::inspector().start();
    let largest = pattern(32 << 20);
    let reply = server.connect().call("POST", "/invoke", &[], &largest);
    assert!(reply.status == 200 && reply.body == largest, "{} with {} bytes", reply.status, reply.body.len());
    let mut client = server.connect();
    let reply = client.call("POST", "/invoke", &[], &pattern((32 << 20) + 1));
    assert_eq!((reply.status, reply.error().1.as_str()), (413, "the body is too large"));
    client.half_close();
    client.expect_close();
    server.finish();
}

/// C-LIM-1, C-LIM-2: the server accepts the largest head that the platform lets through, with all headers that the
/// platform adds.
#[test]
fn the_largest_head_of_the_platform() {
    let server = Setup::inspector().start();
    let path = format!("/{}", "p".repeat(4095));
    let names: Vec<String> = (0..8).map(|number| format!("client-{number}")).collect();
    let value = "v".repeat(1024 - names[0].len());
    let token = "t".repeat(1024);
    let own: Vec<String> = (0..25).map(|number| format!("x-fc-own-{number}")).collect();
    let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>(), 8192);
    headers.push(("x-fc-security-token", &token));
    headers.extend(own.iter().map(|name| (name.as_str(), "01234567-89ab-cdef-0123-456789abcdef")));
    let reply = server.connect().call("GET", &path, &headers, b"");
    assert_eq!((reply.status, reply.json()["request"]["path"].as_str()), (200, Some(path.as_str())));
    server.finish();
}

/// C-LIM-5: the platform rejects a reply with more than 8 KB of headers. The server answers such a call with an error
/// that says why.
#[test]
fn replies_have_no_larger_head_than_the_platform_takes() {
    let server = Setup::subject("full").expect_stderr().start();
    let reply = server.connect().get("/do/wide?8193");
    assert_eq!((reply.status, reply.error().0.as_str(), reply.header("a")), (500, "ReplyError", None));
    let reply = server.connect().get("/do/wide?7000");
    assert_eq!((reply.status, reply.header("a").map(str::len)), (200, Some(7000)));
    server.finish();
}

/// C-INV-3, C-INV-5, C-INV-6: an event is answered with 200 or 404, whatever status the callback chose. The server
/// reads a stream to its end before it answers.
#[test]
fn events_that_succeed_and_fail() {
    let server = Setup::subject("full").expect_stderr().start();
    for (directive, body) in [("static", "static"), ("empty", ""), ("status-500", "body"), ("json", "{\"a\":[1,null]}")]
    {
        assert_eq!(event(&server, directive).summary(), (200, Some("200"), body.to_owned()), "{directive}");
    }
    for directive in ["stream", "sized", "big"] {
        let reply = event(&server, directive);
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("100000")), "{directive}");
        assert!(reply.body == pattern(100_000), "{directive}");
    }
    let failures = [
        ("error", "NoStock", "sold out"),
        ("parse", "ParseIntError", "invalid digit found in string"),
        ("panic", "Panic", "pulled the plug"),
        ("broken", "StreamFailed", "asked to fail"),
        ("panicking", "StreamFailed", "asked to collapse"),
        ("short", "StreamFailed", "unexpected end of file"),
    ];
    for (directive, error_type, message) in failures {
        let reply = event(&server, directive);
        assert_eq!((reply.status, reply.header("x-fc-status")), (404, Some("404")), "{directive}");
        assert_eq!(reply.error(), (error_type.to_owned(), message.to_owned()), "{directive}");
    }
    assert_eq!(event(&server, "static").status, 200, "the process lives");
    server.finish();
}

/// C-INV-2, C-INV-3: an HTTP call gets the status that the callback chose. An error or a panic is 500 for the client
/// and 404 for the platform. A mistake of the client is no failure of the function. C-CMD-5: no initializer has run
/// before these calls.
#[test]
fn http_calls_that_succeed_and_fail() {
    let server = Setup::subject("full").expect_stderr().start();
    let cases = [
        ("GET", "/do/static", 200, "200", "static"),
        ("GET", "/do/status?201", 201, "200", "body"),
        ("GET", "/do/status?404", 404, "200", "body"),
        ("GET", "/do/status?503", 503, "404", "body"),
        ("BREW", "/any", 200, "200", "BREW any"),
        ("POST", "/thing?x=/pre-stop", 200, "200", "POST thing"),
    ];
    let mut client = server.connect();
    for (method, target, status, fc_status, body) in cases {
        let reply = client.call(method, target, &[("x-fc-control-path", "/http-invoke")], b"");
        assert_eq!(reply.summary(), (status, Some(fc_status), body.to_owned()), "{method} {target}");
    }
    let failures = [
        ("/do/error", 500, "404", "NoStock", "internal error"),
        ("/do/panic", 500, "404", "Panic", "internal error"),
        ("/do/panic-any", 500, "404", "Panic", "internal error"),
        ("/do/split", 500, "404", "ReplyError", "internal error"),
        ("/nowhere", 404, "200", "NotFound", "no route has this path"),
        ("/thing/", 404, "200", "NotFound", "no route has this path"),
    ];
    for (target, status, fc_status, error_type, message) in failures {
        let reply = client.get(target);
        assert_eq!((reply.status, reply.header("x-fc-status")), (status, Some(fc_status)), "{target}");
        assert_eq!(reply.error(), (error_type.to_owned(), message.to_owned()), "{target}");
    }
    server.finish();
}

/// C-HDR-1, C-HDR-2, C-HDR-3, C-HDR-4: the context has a field for every common request header, also for those that
/// FC 3.0 does not list. Names of headers ignore case. An empty header counts as absent, and no header is required.
/// C-ENV-1: absent credentials are no error.
#[test]
fn the_context_has_every_header() {
    let pairs = [
        ("x-fc-request-id", "requestId", json!("1-2-3")),
        ("X-FC-Control-Path", "controlPath", json!("/http-invoke")),
        ("x-fc-function-name", "name", json!("shop")),
        ("x-fc-function-handler", "handler", json!("index.handler")),
        ("x-fc-function-initializer", "initializer", json!("index.init")),
        ("x-fc-instance-lifecycle-pre-stop-handler", "preStop", json!("index.stop")),
        ("x-fc-instance-lifecycle-pre-freeze-handler", "preFreeze", json!("index.freeze")),
        ("x-fc-region", "region", json!("cn-hangzhou")),
        ("x-fc-account-id", "account", json!("123")),
        ("x-fc-qualifier", "qualifier", json!("LATEST")),
        ("x-fc-version-id", "version", json!("7")),
        ("x-fc-service-name", "service", json!("svc")),
        ("x-fc-service-logproject", "logProject", json!("project")),
        ("x-fc-service-logstore", "logStore", json!("store")),
        ("x-fc-base-path", "basePath", json!("/base")),
        ("x-fc-client-ip", "clientIp", json!("10.0.0.1")),
        ("x-fc-api-server-ip", "apiServerIp", json!("10.0.0.2")),
        ("x-fc-tracing-opentracing-span-context", "spanContext", json!("a:b:c:1")),
        ("x-fc-tracing-opentracing-span-baggages", "spanBaggages", json!("e30=")),
        ("x-fc-function-memory", "memoryMb", json!(512)),
        ("x-fc-function-timeout", "timeoutS", json!(3000)),
        ("x-fc-initialization-timeout", "initializationTimeoutS", json!(30)),
        ("x-fc-retry-count", "retries", json!(2)),
    ];
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let values: Vec<String> = pairs.iter().map(|(_, _, value)| text(value)).collect();
    let mut headers: Vec<_> = pairs.iter().zip(&values).map(|((name, ..), value)| (*name, value.as_str())).collect();
    headers.extend([("x-fc-eagleeye-traceid", "t"), ("x-fc-eagleeye-rpcid", "")]);
    let secrets = ["access-key-id", "access-key-secret", "security-token", "tracing-jaeger-endpoint"];
    let secrets = secrets.map(|name| format!("x-fc-{name}"));
    headers.extend(secrets.iter().map(|name| (name.as_str(), "12345")));

    let server = Setup::subject("full").start();
    let seen = server.connect().call("GET", "/do/context", &headers, b"").json();
    for (name, field, value) in &pairs {
        assert_eq!(seen[field], *value, "{name}");
    }
    assert_eq!(seen["eagleeye"], json!([["x-fc-eagleeye-traceid", "t"]]));
    assert_eq!(seen["secretBytes"], json!([5, 5, 5, 5]));
    let left = seen["timeLeft"].as_f64().expect("a time limit");
    assert!(left <= 3000.0 && left > 2900.0, "{left}");
    assert_eq!(seen["cancelled"], false);

    // In real calls half of them are empty; here all are.
    let empty: Vec<_> = headers.iter().map(|(name, _)| (*name, "")).collect();
    let seen = server.connect().call("GET", "/do/context", &empty, b"").json();
    for (_, field, _) in &pairs {
        assert_eq!(seen[field], Value::Null, "{field}");
    }
    assert_eq!((&seen["timeLeft"], &seen["eagleeye"]), (&Value::Null, &json!([])));
    assert_eq!(seen["secretBytes"], json!([null, null, null, null]));
    server.finish();
}

/// The time left is that of the initializer's limit in the initializer, and that of the function's limit in calls.
/// Other hooks have no limit.
#[test]
fn time_left_is_that_of_the_call() {
    let server = Setup::subject("full").start();
    let headers = [
        ("x-fc-function-handler", "time-left"),
        ("x-fc-function-timeout", "60000"),
        ("x-fc-initialization-timeout", "30000"),
    ];
    let cases = [
        ("POST", "/initialize", "30000"),
        ("POST", "/invoke", "60000"),
        ("GET", "/do/time-left", "60000"),
        ("GET", "/pre-freeze", "none"),
        ("GET", "/pre-stop", "none"),
    ];
    for (method, path, left) in cases {
        assert_eq!(server.connect().call(method, path, &headers, b"").text(), left, "{path}");
    }
    server.finish();
}

const SECRETS: [(&str, &str); 7] = [
    ("x-fc-access-key-id", "S3CRET-ID"),
    ("x-fc-access-key-secret", "S3CRET-KEY"),
    ("X-Fc-Security-Token", "S3CRET-TOKEN"),
    ("x-fc-tracing-jaeger-endpoint", "http://user:S3CRET@host"),
    ("authorization", "Bearer S3CRET"),
    ("proxy-authorization", "Basic S3CRET"),
    ("cookie", "session=S3CRET"),
];

/// C-LOG-5: no output shows a secret that a call carries, whatever happens to the call, even at log level `trace`.
#[test]
fn secrets_are_never_shown() {
    let calls = [
        ("POST", "/initialize"),
        ("GET", "/pre-freeze"),
        ("POST", "/invoke"),
        ("GET", "/"),
        ("GET", "/do/print"),
        ("GET", "/do/context"),
        ("GET", "/do/error"),
        ("GET", "/do/panic"),
        ("GET", "/do/broken?9"),
        ("DELETE", "/thing"),
        ("PUT", "/initialize"),
        ("GET", "/nowhere"),
        ("GET", "http:///bad target"),
        ("GET", "/pre-stop"),
        ("GET", "/"),
    ];
    for setup in [Setup::inspector(), Setup::subject("full"), Setup::subject("fallback"), Setup::subject("required")] {
        let setup = setup.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").limits("headers_max=16").expect_stderr();
        let setup =
            setup.env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "S3CRET").env("ALIBABA_CLOUD_SECURITY_TOKEN", "S3CRET");
        let server = setup.start();
        let mut answers = Vec::new();
        for (method, path) in calls {
            let mut headers = SECRETS.to_vec();
            headers.extend([("connection", "close"), ("x-fc-request-id", "known")]);
            let plain = request(method, path, &headers, b"");
            // The same with too many headers, with a bare line feed, and cut short.
            headers.extend([("x", "y"); 9]);
            let crowded = request(method, path, &headers, b"");
            let bare = [&plain[..plain.len() - 2], b"\n"].concat();
            for bytes in [&plain[..], &crowded, &bare, &plain[..plain.len() - 2]] {
                let mut client = server.connect();
                client.send(bytes);
                client.half_close();
                answers.extend(client.rest().0);
            }
        }
        server.process.signal(libc::SIGTERM);
        let ended = server.process.ended();
        assert!(
            ended.stderr.contains("TRACE") && ended.stderr.contains("DEBUG"),
            "the log level is trace: {}",
            ended.stderr
        );
        for text in [String::from_utf8_lossy(&answers).into_owned(), ended.stdout, ended.stderr] {
            assert!(text.contains("known") || text.contains("errorMessage"), "this text is of no call: {text}");
            assert!(!text.contains("S3CRET"), "{text}");
        }
    }
}

/// C-LOG-1, C-LOG-2, C-LOG-3, C-LIM-6: the server prints exactly these lines. Each is whole, begins at column 0, and
/// has a bounded length.
#[test]
fn log_markers() {
    let long_id = "i".repeat(200);
    let turns: [(&str, &str, &str, &str); 12] = [
        ("POST", "/initialize", "a-1", "error"),
        ("POST", "/initialize", "a-2", "static"),
        ("POST", "/invoke", "b-1", "static"),
        ("POST", "/invoke", "b-2", "error"),
        ("GET", "/thing", "c-1", ""),
        ("GET", "/do/panic", "c-2", ""),
        ("GET", "/do/stream?50000", "c-3", ""),
        ("GET", "/do/broken?50000", "c-4", ""),
        ("GET", "/pre-freeze", "d-1", "static"),
        ("GET", "/nowhere", "", ""),
        ("GET", "/thing", &long_id, ""),
        ("GET", "/pre-stop", "e-1", "panic"),
    ];
    for markers in ["on", "off"] {
        let server = Setup::subject("full").env("FC_HOOKS_LOG_MARKERS", markers).expect_stderr().start();
        for (method, target, id, directive) in turns {
            let mut client = server.connect();
            let headers = [("x-fc-request-id", id), ("x-fc-function-handler", directive), ("connection", "close")];
            client.send(request(method, target, &headers, b""));
            client.rest();
        }
        let printed = server.finish();
        let failed = ", Error: Unhandled function error";
        let cut_id = &long_id[..128];
        let expected = [
            ("Initialize", "a-1", failed),
            ("Initialize", "a-2", ""),
            ("Invoke", "b-1", ""),
            ("Invoke", "b-2", failed),
            ("Invoke", "c-1", ""),
            ("Invoke", "c-2", failed),
            ("Invoke", "c-3", ""),
            ("Invoke", "c-4", failed),
            ("PreFreeze", "d-1", ""),
            ("Invoke", "-", ""),
            ("Invoke", cut_id, ""),
            ("PreStop", "e-1", failed),
        ];
        let expected = expected.iter().filter(|(word, ..)| markers == "on" || *word != "Invoke");
        let lines: String = expected
            .map(|(word, id, end)| format!("FC {word} Start RequestId: {id}\nFC {word} End RequestId: {id}{end}\n"))
            .collect();
        assert_eq!(printed, lines, "markers {markers}");
    }
}

/// C-START-4, C-HLT-2, C-HLT-5: the server answers health checks, whichever setting gave their path. A health check is
/// neither a call nor a thaw.
#[test]
fn health_checks_are_neither_calls_nor_thaws() {
    let setups: [fn() -> Setup; 3] = [
        || Setup::subject("health"),
        || Setup::subject("full").env("FC_HOOKS_HEALTH_PATH", "/healthz"),
        || Setup::subject("health").env("FC_HOOKS_HEALTH_PATH", "/other"),
    ];
    for (setup, path) in setups.into_iter().zip(["/healthz?x", "/healthz", "/other"]) {
        let server = setup().start();
        let mut client = server.connect();
        client.call("GET", "/pre-freeze", &[], b"");
        for _ in 0..3 {
            assert_eq!(client.get(path).summary(), (200, Some("200"), "ok".to_owned()), "{path}");
            assert_eq!(client.call("HEAD", path, &[], b"").status, 200);
            assert_eq!(client.call("OPTIONS", path, &[], b"").status, 200);
        }
        // The instance still counts as frozen, so the server answers a repeated hook from store.
        client.call("GET", "/pre-freeze", &[], b"");
        let state = state_of(&server);
        let counts = ["calls", "frozen", "thawed", "replayed"].map(|name| state[name].as_u64());
        assert_eq!(counts, [Some(1), Some(1), Some(1), Some(1)], "only the request for this state is a call: {state}");
        assert_eq!(client.call("POST", path, &[], b"").status, 404, "another method is an ordinary call");
        assert_eq!(server.finish().matches("Invoke Start").count(), 2);
    }
    let server = Setup::inspector().arg("--health-path").arg("/healthz").start();
    assert_eq!(server.connect().get("/healthz").text(), "ok");
    assert_eq!(server.connect().get("/").json()["lifecycle"]["calls"], 1);
    server.finish();
}

/// C-HLT-3: the server answers health checks at every point of the lifecycle, also after a failed hook and pre-stop.
#[test]
fn the_health_check_is_answered_for_a_whole_life() {
    let server = Setup::subject("full").env("FC_HOOKS_HEALTH_PATH", "/healthz").expect_stderr().start();
    let mut probe = server.connect();
    let mut healthy = |when: &str| assert_eq!(probe.get("/healthz").status, 200, "{when}");
    healthy("at the start");
    let turns = [
        ("POST", "/initialize", "error", 404),
        ("POST", "/initialize", "static", 200),
        ("POST", "/invoke", "static", 200),
        ("GET", "/pre-freeze", "static", 200),
        ("GET", "/thing", "", 200),
        ("GET", "/pre-stop", "static", 200),
    ];
    for (method, path, directive, status) in turns {
        let reply = server.connect().call(method, path, &[("x-fc-function-handler", directive)], b"");
        assert_eq!(reply.status, status, "{path}");
        healthy(path);
    }
    server.finish();
}

/// The inspector's document shows the request and the lifecycle so far, without secrets.
#[test]
fn the_inspectors_document() {
    let server = Setup::inspector().start();
    let mut client = server.connect();
    client.call("POST", "/initialize", &[("x-fc-request-id", "i"), ("x-fc-access-key-id", "S3CRET")], b"");
    client.call("GET", "/pre-freeze", &[("x-fc-request-id", "f")], b"");
    let mut headers = SECRETS.to_vec();
    headers.extend([("x-fc-request-id", "r"), ("x-fc-control-path", "/http-invoke"), ("x-fc-region", "")]);
    let reply = client.call("PUT", "/a/b?c=d", &headers, b"body");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    let expected = json!({"method": "PUT", "path": "/a/b", "query": "c=d", "bodyBytes": 4});
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(document["request"][name], *value, "{name}");
    }
    assert_eq!(document["request"]["peer"], client.local().to_string());
    let shown = &document["request"]["headers"];
    assert_eq!((&shown["host"], &shown["x-fc-region"]), (&json!("test"), &json!("")));
    for (name, _) in SECRETS {
        assert_eq!(shown[name], "[withheld]", "{name}");
    }
    let context = &document["context"];
    assert_eq!(
        [&context["requestId"], &context["controlPath"], &context["credentials"]],
        ["r", "/http-invoke", "[withheld]"]
    );
    let life = &document["lifecycle"];
    let counts = ["calls", "initialized", "initializeFailed", "frozen", "thawed", "replayed"];
    assert_eq!(counts.map(|name| life[name].as_u64().expect(name)), [1, 1, 0, 1, 1, 0]);
    assert_eq!((&life["phase"], &life["lastThaw"]["evidence"]["preFreeze"]), (&json!("ready"), &json!(true)));
    for name in ["uptimeMs", "startedAtMs", "idleMs"] {
        assert!(life[name].is_u64(), "{name}: {life}");
    }
    let hooks = document["hookCalls"].as_array().expect("a list");
    let seen: Vec<_> = hooks.iter().map(|call| (call["hook"].as_str(), call["ran"].as_bool())).collect();
    assert_eq!(seen, [(Some("initialize"), Some(true)), (Some("pre-freeze"), Some(true))]);
    assert_eq!(hooks[0]["request"]["headers"]["x-fc-access-key-id"], "[withheld]");
    server.finish();
}

/// The inspector remembers the last 16 hook calls and no more.
#[test]
fn the_inspector_remembers_16_hook_calls() {
    let server = Setup::inspector().start();
    let mut client = server.connect();
    for number in 0..40 {
        client.call("POST", "/initialize", &[("x-fc-request-id", &number.to_string())], b"");
    }
    let document = client.get("/").json();
    let calls = document["hookCalls"].as_array().expect("a list");
    let ids: Vec<_> = calls.iter().map(|call| call["request"]["headers"]["x-fc-request-id"].clone()).collect();
    assert_eq!(ids, (24..40).map(|number| json!(number.to_string())).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| call["ran"] == json!(false)));
    server.finish();
}
