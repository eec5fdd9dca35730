//! The adapter, with the test as the program behind it: what each side sends is what the other gets.

#![cfg(not(fc_hooks_poll))]

mod support;

use support::client::{End, request};
use support::pattern;
use support::program::{Program, started};

/// Method, path, query, headers and body arrive as they were sent; what concerns the connection does not.
#[test]
fn a_call_passes_through() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send(
        "PUT /a/b?c=d%20e HTTP/1.1\r\nHost: test\r\nX-Fc-Request-Id: 1-2\r\nConnection: keep-alive, X-Hop\r\n\
         Keep-Alive: timeout=5\r\nX-Hop: 1\r\nTE: trailers\r\nTrailer: X-T\r\nProxy-Connection: keep-alive\r\n\
         Cookie: a=b\r\nX-Two:  2 \r\nX-Two: 3\r\nContent-Length: 5\r\n\r\nhello",
    );
    let (mut conn, got) = program.get();
    assert_eq!(
        got.head,
        "PUT /a/b?c=d%20e HTTP/1.1\r\nHost: test\r\nX-Fc-Request-Id: 1-2\r\nCookie: a=b\r\nX-Two:  2 \r\nX-Two: 3\r\n\
         Content-Length: 5\r\n\r\n"
    );
    assert_eq!(got.body, b"hello");
    conn.send("HTTP/1.1 201 Fine\r\nX-A: 1\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let reply = client.reply();
    assert_eq!((reply.status, reply.reason.as_str(), reply.header("x-a")), (201, "Fine", Some("1")));
    assert_eq!((reply.summary(), reply.header("connection")), ((201, Some("200"), "ok".into()), None));

    // Both connections are used again.
    client.send(request("GET", "/next", &[], b""));
    assert_eq!(conn.get().line(), "GET /next HTTP/1.1");
    conn.send("HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy");
    assert_eq!(client.reply().summary(), (503, Some("404"), "busy".into()));
    server.finish();
}

/// Every framing of a request and of a reply, in one piece and byte by byte, with the next request behind it.
#[test]
fn framing_is_made_anew() {
    let program = Program::new();
    let server = program.start();
    let requests: [(&str, &str, &str); 4] = [
        ("POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody", "body", "content-length"),
        (
            "POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             1;x=y\r\nb\r\n3\r\nody\r\n0\r\nT: 1\r\n\r\n",
            "body",
            "transfer-encoding",
        ),
        ("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n", "", ""),
        ("\r\nDELETE /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "", "transfer-encoding"),
    ];
    let replies: [(&str, &str, bool); 5] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nT: 1\r\n\r\n", "abc", false),
        ("HTTP/1.1 200 OK\r\n\r\nabc", "abc", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc", true),
        ("HTTP/1.1 204 No\r\n\r\n", "", false),
    ];
    for (sent, body, framing) in requests {
        for (answer, content, closes) in replies {
            for byte_by_byte in [false, true] {
                let mut client = server.connect();
                if byte_by_byte {
                    sent.bytes().for_each(|byte| client.send([byte]));
                } else {
                    client.send([sent, "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
                }
                let mut conn = program.accept();
                let got = conn.get();
                assert_eq!((got.header(framing).is_some(), &*got.body), (!framing.is_empty(), body.as_bytes()));
                if byte_by_byte {
                    answer.bytes().for_each(|byte| conn.send([byte]));
                    client.send(request("GET", "/2", &[], b""));
                } else {
                    conn.send(answer);
                }
                if closes {
                    drop(conn);
                    conn = program.accept();
                }
                let reply = client.reply();
                assert_eq!(reply.text(), content, "{sent:?} {answer:?}");
                assert_eq!(conn.get().line(), "GET /2 HTTP/1.1", "{sent:?} {answer:?}");
                conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                assert_eq!(client.reply().status, 200);
            }
        }
    }
    server.finish();
}

/// Heads of requests that two readers could read differently never reach the program.
#[test]
fn nothing_is_smuggled() {
    let program = Program::new();
    let server = program.start();
    let refused = [
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    ];
    for (sent, status) in refused {
        let mut client = server.connect();
        client.send(sent);
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{sent:?}");
    }
    // The program has got nothing of all that: its first request is this one.
    let mut client = server.connect();
    client.send(request("GET", "/good", &[], b""));
    let (mut conn, got) = program.get();
    assert_eq!(got.line(), "GET /good HTTP/1.1");
    conn.reply("");
    assert_eq!(client.reply().status, 200);
    server.finish();
}

/// A reply that cannot be trusted is a 502, and the client's connection lives on.
#[test]
fn a_broken_reply_is_a_bad_gateway() {
    let program = Program::new();
    let server = started(program.setup().env("FC_HOOKS_LOG_MARKERS", "off").expect_stderr());
    let mut client = server.connect();
    let broken = [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1",
        "HTTP/1.1 200 OK\ncontent-length: 1\n\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ];
    for reply in broken {
        client.send(request("POST", "/", &[], b"a"));
        let (mut conn, _) = program.get();
        conn.send(reply);
        drop(conn);
        let answer = client.reply();
        assert_eq!((answer.status, answer.header("x-fc-status")), (502, Some("404")), "{reply:?}");
        assert_eq!(answer.error().0, "BadGateway");
    }
    server.finish();
}

/// Where a part of the reply has left already, the client must see that it is not whole.
#[test]
fn a_reply_that_breaks_off_is_cut() {
    let program = Program::new();
    let server = started(program.setup().env("FC_HOOKS_LOG_MARKERS", "off").expect_stderr());
    let cut = [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nx",
    ];
    for reply in cut {
        let mut client = server.connect();
        client.send(request("GET", "/", &[], b""));
        let (mut conn, _) = program.get();
        conn.send(reply);
        drop(conn);
        let (seen, end) = client.rest();
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(end == End::Reset && !seen.ends_with("0\r\n\r\n"), "{reply:?}: {end:?} after {seen}");
    }
    // A body that the close would end is not whole if the connection breaks.
    let mut client = server.connect();
    client.send(request("GET", "/", &[], b""));
    let (mut conn, _) = program.get();
    conn.send("HTTP/1.1 200 OK\r\n\r\nab");
    server.wait_until_read();
    conn.reset();
    let (seen, end) = client.rest();
    assert!(end == End::Reset && !seen.ends_with(b"0\r\n\r\n"), "{end:?} after {}", seen.escape_ascii());
    server.finish();
}

/// A kept connection that the program has closed is not used; one that it closes under way costs no call that can be
/// repeated, and no other call is sent twice.
#[test]
fn connections_that_the_program_closes() {
    let program = Program::new();
    let server = started(program.setup().env("FC_HOOKS_LOG_MARKERS", "off").expect_stderr());
    let mut client = server.connect();
    let serve = |client: &mut support::client::Client| {
        client.send(request("GET", "/", &[], b""));
        let (mut conn, _) = program.get();
        conn.reply("");
        client.reply();
        conn
    };
    let conn = serve(&mut client);
    drop(conn);
    client.send(request("POST", "/idle", &[], b"x"));
    let (mut conn, got) = program.get();
    assert_eq!((got.line(), &*got.body), ("POST /idle HTTP/1.1", &b"x"[..]));
    conn.reply("");
    assert_eq!(client.reply().status, 200);

    client.send(request("GET", "/under-way", &[], b""));
    assert_eq!(conn.get().line(), "GET /under-way HTTP/1.1");
    conn.reset();
    let (mut conn, got) = program.get();
    assert_eq!(got.line(), "GET /under-way HTTP/1.1");
    conn.reply("again");
    assert_eq!(client.reply().text(), "again");

    client.send(request("POST", "/once", &[], b"x"));
    assert_eq!(conn.get().line(), "POST /once HTTP/1.1");
    conn.reset();
    assert_eq!(client.reply().status, 502);

    // Not more than once more.
    let mut conn = serve(&mut client);
    client.send(request("GET", "/twice", &[], b""));
    conn.get();
    conn.reset();
    let (conn, _) = program.get();
    conn.reset();
    assert_eq!(client.reply().status, 502);
    server.finish();
}

/// The client waits for the adapter's 100; interim replies of the program pass, except to HTTP/1.0.
#[test]
fn interim_replies() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(client.take(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let (mut conn, got) = program.get();
    assert_eq!((got.header("expect"), &*got.body), (None, &b"body"[..]));
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    conn.send(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(client.take(hints.len()), hints.as_bytes());
    assert_eq!(client.reply().status, 200);

    let mut old = server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let got = conn.get();
    assert_eq!((got.line(), got.header("host")), ("GET / HTTP/1.1", Some("localhost")));
    conn.send(format!("{hints}HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"));
    let reply = old.reply();
    let seen = (reply.text(), reply.header("connection"), reply.header("transfer-encoding"));
    assert_eq!(seen, ("ab".into(), Some("close"), None));
    server.finish();
}

/// A program may answer before it has read the request; a client may end its side before it has read the reply.
#[test]
fn early_replies_and_half_closed_clients() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc");
    let mut conn = program.accept();
    conn.head();
    conn.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection"), reply.text()), (413, Some("close"), "no".into()));
    let _ = client.try_send(vec![b'x'; 900_000]);
    client.half_close();
    client.expect_close();

    let mut client = server.connect();
    client.send(request("GET", "/half", &[], b""));
    client.half_close();
    let (mut conn, _) = program.get();
    server.wait_until_read();
    conn.reply("whole");
    assert_eq!(client.reply().text(), "whole");
    client.expect_close();

    // HEAD has a length and no body.
    let mut client = server.connect();
    client.send(request("HEAD", "/", &[], b""));
    conn.get();
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n");
    assert_eq!(client.reply_without_body().header("content-length"), Some("99"));
    client.send(request("GET", "/", &[], b""));
    conn.get();
    conn.reply("");
    assert_eq!(client.reply().status, 200);
    server.finish();
}

/// What follows a HEAD request is no HEAD request, so its refusal has content.
#[test]
fn a_refusal_behind_a_head_request() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send(request("HEAD", "/", &[], b""));
    program.get().0.reply("");
    assert_eq!(client.reply_without_body().status, 200);
    client.send(b"\x16\x03\x01");
    let reply = client.reply();
    assert!(reply.status == 400 && reply.text().contains("errorMessage"), "{} {:?}", reply.status, reply.text());
    server.finish();
}

/// A client that leaves takes its request along.
#[test]
fn a_client_that_leaves_ends_its_request() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send(request("GET", "/", &[], b""));
    let (conn, _) = program.get();
    client.reset();
    conn.expect_close();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    let mut conn = program.accept();
    conn.head();
    assert_eq!(conn.take(3), b"abc");
    drop(client);
    conn.expect_close();
    server.finish();
}

/// WebSocket and other protocols are tunnelled once the program has agreed, but no other HTTP.
#[test]
fn upgrades() {
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")];
    client.send([request("GET", "/ws", &upgrade, b""), b"early".to_vec()].concat());
    let (mut conn, got) = program.get();
    assert_eq!((got.header("connection"), got.header("upgrade")), (Some("upgrade"), Some("websocket")));
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    conn.send([switch.as_bytes(), b"hi"].concat());
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi";
    assert_eq!(String::from_utf8(client.take(head.len())).unwrap(), head);
    assert_eq!(conn.take(5), b"early");
    let large = pattern(3_000_000);
    std::thread::scope(|scope| {
        let back = large.clone();
        scope.spawn(|| client.send(&large));
        assert!(conn.take(back.len()) == back);
    });
    conn.send("bye");
    assert_eq!(client.take(3), b"bye");
    conn.half_close();
    client.expect_close();
    conn.expect_close();

    for other in ["h2c", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
        let mut client = server.connect();
        client.send(request("GET", "/", &[("connection", "upgrade, http2-settings"), ("upgrade", other)], b""));
        let (mut conn, got) = program.get();
        assert_eq!((got.header("upgrade"), got.header("connection")), (None, None), "{other}");
        conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.reply().status, 200);
    }
    // A program may decline.
    let mut client = server.connect();
    client.send(request("GET", "/ws", &upgrade, b""));
    let (mut conn, _) = program.get();
    conn.send("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection")), (426, Some("close")));
    client.half_close();
    client.expect_close();
    server.finish();
}

/// Large bodies pass in both directions, whole, whatever sizes the kernel takes; nobody's memory grows with them.
#[test]
fn bodies_of_many_megabytes() {
    let program = Program::new();
    let server = program.start();
    let large = pattern(20_000_000);
    let mut client = server.connect();
    let resident_before = server.resident_kb();
    for chunked in [false, true] {
        let mut conn = None;
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let framing = if chunked {
                    "transfer-encoding: chunked".into()
                } else {
                    format!("content-length: {}", large.len())
                };
                client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
                if chunked {
                    for piece in large.chunks(70_001) {
                        client.send(format!("{:x}\r\n", piece.len()));
                        client.send(piece);
                        client.send("\r\n");
                    }
                    client.send("0\r\n\r\n");
                } else {
                    client.send(&large);
                }
                client.reply()
            });
            let (mut accepted, got) = program.get();
            assert!(got.body == large, "the body has {} bytes", got.body.len());
            accepted.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", large.len()));
            accepted.send(&large);
            conn = Some(accepted);
            assert!(sender.join().expect("no panic").body == large);
        });
    }
    let grown = server.resident_kb().saturating_sub(resident_before);
    assert!(grown < 1_000, "{grown} kB more");
    server.finish();
}

/// A client that reads nothing stops the program; a program that reads nothing stops the client. Others go on.
#[test]
fn back_pressure_in_both_directions() {
    let program = Program::new();
    let server = program.start();
    let mut slow = server.connect();
    slow.shrink_receive_buffer();
    slow.send(request("GET", "/large", &[], b""));
    let (mut conn, _) = program.get();
    let sender = std::thread::spawn(move || {
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n");
        while conn.try_send([b'x'; 10_000]) {}
    });
    server.wait_until_stuck_on(&slow);
    let stuck_kb = server.resident_kb();
    let mut healthy = server.connect();
    healthy.send(request("GET", "/small", &[], b""));
    let (mut other, _) = program.get();
    other.reply("fine");
    assert_eq!(healthy.reply().text(), "fine");
    assert!(stuck_kb < 4_000, "{stuck_kb} kB");
    drop(slow);
    sender.join().expect("no panic");
    server.finish();
}

/// A client that takes too long sees that its reply is not whole, also where only the close would end it.
#[test]
fn a_reply_that_stalls_is_cut() {
    let program = Program::new();
    let setup = program.setup().limits("stall_ms_max=100").env("FC_HOOKS_LOG_MARKERS", "off");
    let server = setup.expect_stderr().start();
    let mut slow = server.connect();
    slow.shrink_receive_buffer();
    slow.send("GET / HTTP/1.0\r\n\r\n");
    let (mut conn, _) = program.get();
    conn.send("HTTP/1.1 200 OK\r\n\r\n");
    while conn.try_send([b'x'; 10_000]) {}
    assert_eq!(slow.rest().1, End::Reset);
    server.finish();
}
