//! From start to stop: log lines, signals, freezes in a reply, and the end of tiny_http itself.

use crate::subject;
use crate::support::client::{End, request};
use crate::support::process::Setup;
use crate::support::{is_linux, pattern, state_of, sys, users, wait_until};
use fc_testkit::proc;
use std::net::TcpStream;
use std::time::Duration;

/// C-START-1, C-LOG-4, C-STOP-3: the engine prints the same lines as the default server for a whole lifecycle, and
/// exits with 0.
#[test]
fn a_whole_life() {
    for user in users() {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let server = subject("full").user(user).env("FC_FUNCTION_NAME", "shop").start();
            let mut client = server.connect();
            for (method, path) in [("POST", "/initialize"), ("POST", "/invoke"), ("GET", "/pre-freeze")] {
                assert_eq!(client.call(method, path, &[("x-fc-request-id", "r")], b"").status, 200, "{path}");
            }
            server.process.signal(signal);
            let expected = "FunctionCompute fc-hooks runtime inited.\n\
                FC Initialize Start RequestId: r\nFC Initialize End RequestId: r\n\
                FC Invoke Start RequestId: r\nFC Invoke End RequestId: r\n\
                FC PreFreeze Start RequestId: r\nFC PreFreeze End RequestId: r\n\
                FC PreStop Start RequestId: -\nFC PreStop End RequestId: -\n";
            assert_eq!(server.ended(), expected, "signal {signal}");
            client.expect_close();
        }
    }
}

/// Requests that tiny_http had read when the signal came are answered. Their replies say that the connection closes.
#[test]
fn requests_read_before_the_signal_are_answered() {
    let server = subject("full").start();
    let mut busy = server.connect();
    busy.send(request("GET", "/do/spin", &[], b""));
    server.process.stdout.wait_for("the callback", |text| text.contains("subject: spinning"));
    let mut waiting = server.connect();
    waiting.send(request("GET", "/thing", &[], b""));
    server.wait_until_read();
    server.process.signal(libc::SIGTERM);
    for (client, body) in [(&mut busy, "cancelled"), (&mut waiting, "GET thing")] {
        let reply = client.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), (body, Some("close")));
    }
    server.ended();
}

/// A second signal ends the process at once, in a callback and in pre-stop. The exit code is 128 and the signal's
/// number.
#[test]
fn a_second_signal_exits_at_once() {
    if !is_linux("the delivery of signals") {
        return;
    }
    let stops = [libc::SIGTERM, libc::SIGINT];
    for (first, second) in stops.into_iter().flat_map(|first| stops.map(|second| (first, second))) {
        for in_callback in [true, false] {
            let hooks = if in_callback { "static" } else { "stuck" };
            let server = subject("full").env("SUBJECT_HOOKS", hooks).start();
            let mut client = server.connect();
            let is_stuck = |text: &str| text.contains("subject: stuck\n");
            if in_callback {
                client.send(request("GET", "/do/stuck", &[], b""));
                server.process.stdout.wait_for("the callback", is_stuck);
            }
            server.process.deliver_signal(first);
            if !in_callback {
                server.process.stdout.wait_for("pre-stop", is_stuck);
            }
            wait_until("every thread sleeps", || proc::all_asleep(server.pid()).expect("it lives"));
            server.process.signal(second);
            assert_eq!(server.process.ended().code, 128 + second, "{first} then {second}");
        }
    }
}

/// tiny_http accepts no more connections after its first failure, so the instance stops in order and says why. A
/// connection takes two descriptors. If one is left, tiny_http panics instead of returning an error.
#[test]
fn the_end_of_accepting_ends_the_process() {
    if !is_linux("limits of descriptors") {
        return;
    }
    let mut servers =
        [24, 25].map(|limit| (subject("full").descriptors(limit).expect_stderr().start(), limit)).into_iter();
    let has_pairs = |pid: u32, limit| proc::free_descriptors(pid, limit).expect("it lives").len().is_multiple_of(2);
    let (server, _) = servers.find(|(server, limit)| has_pairs(server.pid(), *limit)).expect("one of two numbers");
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.tcp()) {
        clients.push(client);
        assert!(clients.len() < 1000, "it goes on accepting");
    }
    let ended = server.process.ended();
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.ends_with("FC PreStop End RequestId: -\n"), "{}", ended.stdout);
    let reason = "fc-hooks: cannot accept connections: Too many open files";
    assert!(ended.stderr.contains(reason), "{}", ended.stderr);
}

/// The server resets the connection of a client that takes no byte of its reply, so that others get their turn.
#[test]
fn a_reader_that_stalls_is_cut() {
    let server = subject("full").limits("stall_ms_max=50").start();
    for target in ["/do/big?30000000", "/do/stream?30000000"] {
        let mut client = server.connect();
        client.send(request("GET", target, &[], b""));
        // The reply has begun, so the next call cannot come before this one.
        client.take(1);
        assert_eq!(server.connect().get("/thing").status, 200, "after {target}");
        assert_eq!(client.rest().1, End::Reset, "{target}");
    }
    server.finish();
}

/// C-CONN-3: a reply that waited for its client when the freeze came still has time after it.
#[test]
fn a_freeze_does_not_cut_a_reply() {
    if !is_linux("freezes") {
        return;
    }
    let stall_max = Duration::from_millis(1000);
    let server = subject("full").limits("stall_ms_max=1000").start();
    for target in ["/do/big?30000000", "/do/stream?30000000"] {
        let mut client = server.connect();
        client.send(request("GET", target, &[], b""));
        server.wait_until_stuck_on(&client);
        server.process.signal(libc::SIGSTOP);
        server.process.wait_for_state('T');
        std::thread::sleep(stall_max + stall_max / 4);
        sys::kill(server.pid(), libc::SIGCONT);
        assert!(client.reply().body == pattern(30_000_000), "{target}");
    }
    let state = state_of(&server);
    assert_eq!(state["thaw"]["why"], "sigcont", "{state}");
    server.finish();
}

/// At start the engine rejects settings that it does not support or that are wrong.
#[test]
fn configurations_that_cannot_be_served() {
    let cases = [
        (
            "unix:/tmp/socket",
            "",
            1,
            "fc-hooks: cannot listen on unix:/tmp/socket: the tiny_http engine serves TCP only\n",
        ),
        ("192.0.2.1:0", "", 1, "fc-hooks: cannot listen on 192.0.2.1:0: address not available\n"),
        ("127.0.0.1:0", "x=1", 2, "fc-hooks: FC_HOOKS_LIMITS: unknown limit 'x'\n"),
    ];
    for (listen, limits, code, message) in cases {
        let setup: Setup = subject("full").env("FC_HOOKS_LISTEN", listen).limits(limits).expect_stderr();
        let ended = setup.run().ended();
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (code, "", message));
    }
}
