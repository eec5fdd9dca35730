//! Freezes: no time limit counts them, no byte is lost, and the server notices their end (C-FRZ, C-CONN-3).

mod support;

use fc_testkit::cgroup::Version;
use fc_testkit::{Rng, say, skip};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::client::{Client, request};
use support::freezer::{Freezer, stopped_for};
use support::process::{Server, Setup};
use support::{is_linux, pattern, seeded, state_of};

/// Every time limit, far shorter than the freezes here, and far longer than a busy machine needs.
const SHORT: &str = "head_ms_max=2000,body_ms_max=2000,stall_ms_max=2000,linger_ms_max=2000,drain_ms_max=2000";
const LONGER: Duration = Duration::from_millis(4500);
/// More bytes than the kernel buffers for a client that does not read.
const LARGE: usize = 8_000_000;

/// C-CONN-1, C-CONN-3: a freeze longer than every limit, in the middle of heads, bodies and replies. After it each goes
/// on from the same byte.
#[test]
fn a_freeze_longer_than_every_limit_closes_nothing() {
    if !is_linux("freezes") {
        return;
    }
    let server = Setup::subject("full").limits(SHORT).expect_stderr().start();
    let post = |body: &str| format!("POST /do/echo HTTP/1.1\r\nhost: a\r\n{body}");
    // Bytes sent before the freeze, bytes sent after it, and the body of the reply.
    let halves = [
        ("\r", "\nGET /thing HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "GET thing"),
        ("GET /thi", "ng HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "GET thing"),
        (&post("content-length: 5\r\n\r\n"), "hello".to_owned(), "hello"),
        (&post("content-length: 5\r\n\r\nhel"), "lo".to_owned(), "hello"),
        (&post("transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2"), "\r\nlo\r\n0\r\n\r\n".to_owned(), "hello"),
        ("", "GET /thing HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "GET thing"),
    ];
    let mut idle = server.connect();
    assert_eq!(idle.get("/thing").status, 200);
    let readers = ["big", "stream", "sized"].map(|name| {
        let mut client = server.connect();
        client.send(request("GET", &format!("/do/{name}?{LARGE}"), &[], b""));
        server.wait_until_stuck_on(&client);
        (name, client)
    });
    let mut senders = halves.each_ref().map(|(sent, ..)| {
        let mut client = server.connect();
        client.send(sent);
        client
    });
    let mut rejected = server.connect();
    rejected.send("BAD\r\n\r\n");
    server.wait_until_read();
    let mut called_meanwhile = server.connect();

    stopped_for(&server, LONGER, || called_meanwhile.send(request("GET", "/thing", &[], b"")));

    // Each client reads in a thread of its own: none may wait for another while its own time runs.
    let readers = readers.map(|(name, mut client)| {
        std::thread::spawn(move || {
            assert!(client.reply().body == pattern(LARGE), "{name}");
            assert_eq!(client.get("/thing").text(), "GET thing", "after {name}");
        })
    });
    for (client, (sent, rest, body)) in senders.iter_mut().zip(&halves) {
        client.send(rest);
        assert_eq!(client.reply().text(), *body, "cut after {sent:?}");
    }
    rejected.send("more");
    assert_eq!(rejected.reply().status, 400);
    assert_eq!(called_meanwhile.reply().text(), "GET thing");
    assert_eq!(idle.get("/thing").text(), "GET thing", "an idle connection survives");
    for reader in readers {
        reader.join().expect("the whole reply arrives");
    }
    assert_eq!(server.process.stderr.so_far(), "");
    server.finish();
}

/// The time limit of the drain does not count a freeze either: a request in progress is finished after it.
#[test]
fn a_freeze_does_not_cut_an_orderly_stop_short() {
    if !is_linux("freezes") {
        return;
    }
    let server = Setup::subject("full").limits(SHORT).start();
    let mut client = server.connect();
    client.send("POST /do/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel");
    server.wait_until_read();
    server.process.signal(libc::SIGTERM);
    server.wait_until_not_listening();
    stopped_for(&server, LONGER, || ());
    client.send("lo");
    assert_eq!(client.reply().text(), "hello");
    server.ended();
}

fn stop_and_continue(server: &Server) {
    stopped_for(server, Duration::ZERO, || ());
}

fn events(server: &Server) -> Value {
    state_of(server)["events"].clone()
}

/// C-FRZ-5, C-FRZ-6: on_thaw runs once, before the request that thawed the instance, with the evidence for the freeze.
#[test]
fn the_thaw_callback_runs_once_before_the_request() {
    if !is_linux("freezes") {
        return;
    }
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    // C-INIT-4: a freeze between the initializer and the first call.
    client.call("POST", "/initialize", &[], b"");
    stop_and_continue(&server);
    client.call("POST", "/invoke", &[], b"");
    client.call("POST", "/invoke", &[], b"");
    assert_eq!(events(&server), json!(["initialize", "thaw sigcont", "event", "event"]));
    // Two stops without a request between them are one thaw. A pre-freeze call is evidence of its own.
    client.call("GET", "/pre-freeze", &[], b"");
    stop_and_continue(&server);
    stop_and_continue(&server);
    client.get("/do/static");
    let expected = ["pre-freeze", "thaw pre-freeze+sigcont", "call static"];
    assert_eq!(events(&server).as_array().expect("a list")[4..], expected);
    // C-FRZ-2: without pre-freeze and without a signal there is no evidence.
    client.get("/do/static");
    assert_eq!(state_of(&server)["thawed"], 2);
    // C-STOP-2: pre-stop thaws the instance as well.
    client.call("GET", "/pre-freeze", &[], b"");
    stop_and_continue(&server);
    client.call("GET", "/pre-stop", &[], b"");
    let expected = ["call static", "pre-freeze", "thaw pre-freeze+sigcont", "pre-stop"];
    assert_eq!(events(&server).as_array().expect("a list")[7..], expected);
    server.finish();
}

/// C-FRZ-4: without a hook for it, pre-freeze is answered with 404. The platform freezes the instance nevertheless.
#[test]
fn a_pre_freeze_call_without_a_hook_is_evidence() {
    let server = Setup::subject("thaw").start();
    assert_eq!(server.connect().call("GET", "/pre-freeze", &[], b"").status, 404);
    server.connect().get("/do/static");
    assert_eq!(events(&server), json!(["thaw pre-freeze", "call static"]));
    server.finish();
}

/// The failure of a thaw callback is logged, and the request is served.
#[test]
fn a_thaw_callback_that_fails_fails_no_request() {
    if !is_linux("freezes") {
        return;
    }
    let cases =
        [("thaw-error", "on_thaw failed: ThawError: still cold"), ("thaw-panic", "on_thaw failed: Panic: ice age")];
    for (directive, logged) in cases {
        for (method, path) in [("GET", "/thing"), ("POST", "/invoke"), ("POST", "/initialize"), ("GET", "/pre-stop")] {
            let server = Setup::subject("full").expect_stderr().start();
            stop_and_continue(&server);
            let headers = [("x-fc-function-handler", directive), ("x-fc-request-id", "r")];
            let reply = server.connect().call(method, path, &headers, b"");
            assert_eq!((reply.status, reply.header("x-fc-status")), (200, Some("200")), "{directive} {path}");
            server.process.stderr.wait_for(logged, |text| text.contains(&format!("{logged}, request r")));
            assert_eq!(events(&server)[0], "thaw sigcont", "{directive} {path}");
            server.finish();
        }
    }
}

/// C-START-3, C-HLT-5: a probe or a health check does not count as the request that thaws the instance.
#[test]
fn probes_do_not_use_up_the_evidence() {
    if !is_linux("freezes") {
        return;
    }
    let server = Setup::subject("health").start();
    stop_and_continue(&server);
    for _ in 0..3 {
        assert_eq!(server.connect().get("/healthz").text(), "ok");
        server.connect().reset();
    }
    server.connect().get("/do/static");
    assert_eq!(events(&server), json!(["thaw sigcont", "call static"]));
    server.finish();
}

/// C-FRZ-6: the freezer of a control group sends no signal. A call sent meanwhile is answered after the thaw, and the
/// event loop notices that its wait was interrupted.
#[test]
fn a_frozen_control_group() {
    if !is_linux("freezes") {
        return;
    }
    for version in Version::ALL {
        let server = Setup::inspector().limits(SHORT).start();
        let freezer = match Freezer::new(version, server.pid()) {
            Ok(freezer) => freezer,
            Err(reason) => {
                skip(format_args!("the freezer of control groups {version:?}: {reason}"));
                continue;
            }
        };
        let mut client = server.connect();
        assert_eq!(client.get("/").json()["lifecycle"]["thawed"], 0);
        server.process.wait_for_state('S');
        freezer.freeze();
        client.send(request("GET", "/meanwhile", &[], b""));
        assert!(client.has_received_nothing(), "{version:?}: a frozen server cannot answer");
        freezer.thaw();
        let document = client.reply().json();
        assert_eq!(document["request"]["path"], "/meanwhile", "{version:?}");
        if cfg!(fc_hooks_poll) {
            // The kernel restarts poll(2) by itself, but not epoll_wait(2) (signal(7)).
            skip("evidence of a control group's freeze, which the poll backend does not see");
            drop(freezer);
            server.finish();
            continue;
        }
        let (life, evidence) = (&document["lifecycle"], &document["lifecycle"]["lastThaw"]["evidence"]);
        assert_eq!((&life["thawed"], &evidence["interrupted"]), (&json!(1), &json!(true)), "{version:?}: {life}");
        assert_eq!((&evidence["sigcont"], &evidence["preFreeze"]), (&json!(false), &json!(false)), "{version:?}");
        assert_eq!(client.get("/").json()["lifecycle"]["thawed"], 1, "{version:?}: one freeze is one thaw");
        drop(freezer);
        server.finish();
    }
}

/// The same, in the middle of a body.
#[test]
fn a_control_group_frozen_longer_than_every_limit() {
    if !is_linux("freezes") {
        return;
    }
    let server = Setup::subject("full").limits(SHORT).start();
    let freezer = Version::ALL.into_iter().find_map(|version| Freezer::new(version, server.pid()).ok());
    let Some(freezer) = freezer else { return skip("there is no freezer of control groups here") };
    let mut client = server.connect();
    client.send("POST /do/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel");
    server.wait_until_read();
    freezer.freeze();
    std::thread::sleep(LONGER);
    freezer.thaw();
    client.send("lo");
    assert_eq!(client.reply().text(), "hello");
    // The freeze came during a wait with a time limit: the wait lasted too long, or it was interrupted.
    assert_eq!(state_of(&server)["thawed"], 1);
    drop(freezer);
    server.finish();
}

/// Makes one call of the load and checks its reply. Returns the number of requests.
fn one_call(client: &mut Client, random: &mut Rng) -> u64 {
    let bytes = random.below(300_000);
    match random.below(6) {
        0 => assert_eq!(client.get("/thing").text(), "GET thing"),
        1 => assert!(client.get(&format!("/do/stream?{bytes}")).body == pattern(bytes), "stream of {bytes}"),
        2 => assert!(client.get(&format!("/do/big?{bytes}")).body == pattern(bytes), "{bytes} at once"),
        3 => {
            let body = pattern(bytes);
            let whole = request("POST", "/do/echo", &[], &body);
            let cut = random.below(whole.len());
            client.send(&whole[..cut]);
            client.send(&whole[cut..]);
            assert!(client.reply().body == body, "echo of {bytes}");
        }
        4 => {
            let count = random.within(1, 20);
            client.send(request("GET", "/thing", &[], b"").repeat(count as usize));
            (0..count).for_each(|_| assert_eq!(client.reply().text(), "GET thing"));
            return count;
        }
        _ => assert_eq!(client.call("HEAD", "/do/stream?9", &[], b"").status, 200),
    }
    1
}

/// Stops the server again and again at random instants while clients keep it busy. Every reply is right, and no request
/// is lost: the server counts as many as the clients have sent.
fn random_freezes(test: &str, time: Duration) {
    let server = Setup::subject("full").limits(SHORT).env("FC_HOOKS_LOG_MARKERS", "off").start();
    let mut random = seeded(test);
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut freezes = 0;
    std::thread::scope(|scope| {
        // Even if this thread panics, the clients must not wait for a stopped server.
        let over = Over(&over, &server);
        for number in 0..3 {
            let mut random = random.fork(number);
            let (server, over, calls) = (&server, over.0, &calls);
            scope.spawn(move || {
                let mut client = server.connect();
                while !over.load(Ordering::Relaxed) {
                    if random.one_in(20) {
                        client = server.connect();
                    }
                    calls.fetch_add(one_call(&mut client, &mut random), Ordering::Relaxed);
                }
            });
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::thread::sleep(random.millis(0, 3));
            server.process.signal(libc::SIGSTOP);
            if random.one_in(2) {
                server.process.wait_for_state('T');
                std::thread::sleep(random.millis(0, 5));
            }
            server.process.signal(libc::SIGCONT);
            freezes += 1;
        }
    });
    let calls = calls.into_inner();
    let state = state_of(&server);
    say(format_args!("{test}: {freezes} freezes, {calls} calls, {} thaws noticed", state["thawed"]));
    assert_eq!(state["calls"], calls + 1, "the server counted as many calls as were made");
    assert!(state["thawed"].as_u64() > Some(0) && calls > 0, "{calls} calls, {state}");
    server.finish();
}

/// Dropped, it lets the server and its clients go on and end.
struct Over<'a>(&'a AtomicBool, &'a Server);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.process.signal(libc::SIGCONT);
    }
}

#[test]
fn freezes_at_random_instants() {
    if is_linux("freezes") {
        random_freezes("freezes_at_random_instants", Duration::from_secs(3));
    }
}

/// The same for longer: `cargo test --test freeze -- --ignored`.
#[test]
#[ignore = "two minutes: make test-all"]
fn freezes_at_random_instants_for_long() {
    random_freezes("freezes_at_random_instants_for_long", Duration::from_secs(120));
}
