//! The program is killed at every moment of a call: each caller gets the whole reply, a 502 or a visible cut, and the
//! instance ends with a line that says how.
//!
//! One instance has a caller for each moment, and one SIGKILL meets all of them.

#![cfg(all(not(fc_hooks_poll), target_os = "linux"))]

mod support;

use fc_testkit::http::{BodyFraming, Decoder, Head};
use fc_testkit::proc;
use support::client::{Client, End, request};
use support::process::{Server, Setup};
use support::{subject, sys, wait_until};

const WORDS: &str = "was killed by SIGKILL; often because of too little memory";

/// The adapter before the puppet.
fn start(adapt: impl Fn(Setup) -> Setup) -> Server {
    let setup =
        Setup::program(env!("CARGO_BIN_EXE_fc-hooks")).env("SUBJECT", "puppet").env("FC_HOOKS_LOG_MARKERS", "off");
    adapt(setup.expect_stderr().arg("--").arg(subject::path())).start()
}

fn program_of(server: &Server) -> u32 {
    let family = proc::family(server.pid());
    let program: Vec<u32> = family.into_iter().filter(|pid| *pid != server.pid()).collect();
    assert_eq!(program.len(), 1, "{program:?}");
    program[0]
}

fn kill_program(server: &Server) {
    sys::kill(program_of(server), libc::SIGKILL);
}

/// The target that makes the puppet take so many bytes of a body, send this and wait.
fn hold(take: usize, reply: &[u8]) -> String {
    format!("/hold/{take}/{}", reply.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Waits until this many calls are held, and everything has gone through the adapter.
fn wait_until_held(server: &Server, calls: usize) {
    server.process.stdout.wait_for("held calls", |text| text.lines().filter(|line| *line == "held").count() == calls);
    server.wait_until_read();
}

/// The instance must have ended because of the kill, and say so.
fn assert_ended(server: Server) {
    let ended = server.process.ended();
    assert_eq!(ended.code, 137, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(WORDS).count(), 1, "{}", ended.stderr);
}

fn assert_bad_gateway(client: &mut Client, what: &str) {
    let (bytes, end) = client.rest();
    let shown = || format!("{what}: {end:?} after {}", bytes.escape_ascii());
    let mut decoder = Decoder::default();
    decoder.feed(&bytes);
    let reply = decoder.response().ok().flatten().unwrap_or_else(|| panic!("{}", shown()));
    assert_eq!((reply.status, reply.header("x-fc-status"), end), (502, Some("404"), End::Closed), "{}", shown());
    assert!(decoder.unread().is_empty(), "{}", shown());
}

/// At every byte of a reply, sized and in chunks.
#[test]
fn in_the_reply() {
    let replies = [
        "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 9\r\n\r\nwhole now",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nwhole\r\n4\r\n now\r\n0\r\nT: u\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
    ];
    for reply in replies {
        let last = reply.rfind("HTTP/1.1").expect("a head");
        let head_bytes = last + reply[last..].find("\r\n\r\n").expect("a head") + 4;
        let interim_bytes = if last > 0 { last } else { usize::MAX };
        let server = start(|setup| setup);
        let mut clients: Vec<Client> = (0..=reply.len())
            .map(|sent| {
                let mut client = server.connect();
                client.send(request("GET", &hold(0, &reply.as_bytes()[..sent]), &[], b""));
                client
            })
            .collect();
        wait_until_held(&server, clients.len());
        kill_program(&server);
        for (sent, client) in clients.iter_mut().enumerate() {
            let what = format!("{sent} bytes of {reply:?}");
            if sent < head_bytes && sent < interim_bytes {
                assert_bad_gateway(client, &what);
                continue;
            }
            if sent >= interim_bytes {
                assert_eq!(client.take(interim_bytes), &reply.as_bytes()[..interim_bytes], "{what}");
            }
            if sent < head_bytes {
                assert_bad_gateway(client, &what);
                continue;
            }
            let (bytes, end) = client.rest();
            let shown = || format!("{what}: {end:?} after {}", bytes.escape_ascii());
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            match decoder.response().ok().flatten() {
                Some(whole) => {
                    assert_eq!(sent, reply.len(), "whole too early: {}", shown());
                    assert!(["whole now", "no"].contains(&&*String::from_utf8_lossy(&whole.body)), "{}", shown());
                }
                None => {
                    let head = Head::parse(&bytes).ok().flatten().unwrap_or_else(|| panic!("no head: {}", shown()));
                    assert_ne!(head.framing, BodyFraming::UntilClose, "{}", shown());
                    assert!(sent < reply.len() && end == End::Reset, "{}", shown());
                }
            }
        }
        assert_ended(server);
    }
}

/// At every byte of a request, sized and in chunks, while the program waits for the rest.
#[test]
fn in_the_request() {
    let chunked = "5\r\nhello\r\n3;x\r\nyou\r\n0\r\n\r\n";
    for (framing, body) in [("content-length: 8", "helloyou"), ("transfer-encoding: chunked", chunked)] {
        let server = start(|setup| setup);
        // The puppet waits for more bytes than ever come, so what it has got is in its hands or on the way.
        let mut clients: Vec<Client> = (0..=body.len())
            .map(|sent| {
                let mut client = server.connect();
                let target = hold(1000, b"");
                client.send(format!("PUT {target} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{}", &body[..sent]));
                client
            })
            .collect();
        server.wait_until_read();
        kill_program(&server);
        for (sent, client) in clients.iter_mut().enumerate() {
            assert_bad_gateway(client, &format!("{sent} bytes of {body:?}"));
        }
        assert_ended(server);
    }
}

/// The program has accepted no connection yet, and has read nothing of what was sent on kept ones.
#[test]
fn before_it_accepts() {
    let server = start(|setup| setup);
    let mut kept = server.connect();
    assert_eq!(kept.get("/").text(), "ok");
    let program = program_of(&server);
    sys::kill(program, libc::SIGSTOP);
    // On a busy machine it goes on for a while.
    wait_until("the program is stopped", || proc::all_stopped(program).expect("it lives"));
    let calls = [request("GET", "/", &[], b""), request("POST", "/invoke", &[], b"event")];
    let mut clients: Vec<Client> = calls.iter().cycle().take(20).map(|_| server.connect()).collect();
    for (client, call) in clients.iter_mut().zip(calls.iter().cycle()) {
        client.send(call);
    }
    kept.send(&calls[1]);
    clients.push(kept);
    server.wait_until_read();
    kill_program(&server);
    for client in &mut clients {
        assert_bad_gateway(client, "nothing was read");
    }
    assert_ended(server);
}

/// Nothing is in progress: clients see the end of their connections and no byte.
#[test]
fn while_idle() {
    let server = start(|setup| setup);
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients[1..] {
        assert_eq!(client.get("/").text(), "ok");
    }
    server.wait_until_read();
    kill_program(&server);
    clients.iter_mut().for_each(Client::expect_close);
    assert_ended(server);
}

/// The platform gets its answer about a hook, and calls that wait for the hook a 502.
#[test]
fn in_a_hook() {
    for reply in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"] {
        let server = start(|setup| setup.env("FC_HOOKS_INITIALIZE", format!("POST {}", hold(0, reply.as_bytes()))));
        let mut platform = server.connect();
        platform.send(request("POST", "/initialize", &[], b""));
        wait_until_held(&server, 1);
        let mut caller = server.connect();
        caller.send(request("POST", "/invoke", &[], b"event"));
        server.wait_until_read();
        kill_program(&server);
        let answer = platform.reply();
        assert_eq!((answer.status, answer.header("x-fc-status")), (404, Some("404")), "{answer:?}");
        platform.expect_close();
        assert_bad_gateway(&mut caller, "behind a hook");
        assert_ended(server);
    }
}
