//! HTTP/1.1 as clients see it: framing, connections, limits and refusals, on the real binary over real sockets.

mod support;

use support::client::{Client, End, request};
use support::process::Setup;
use support::{pattern, state_of, users};

/// C-CONN-1, C-CONN-4, RFC 9112 §9.3: who keeps the connection, and what is said about it. Request head without its
/// end, the reply's `connection`, whether the connection stays.
#[test]
fn who_keeps_the_connection() {
    let cases = [
        ("GET /thing HTTP/1.1\r\nhost: a", None, true),
        ("GET /thing HTTP/1.1\r\nhost: a\r\nconnection: keep-alive", None, true),
        ("GET /thing HTTP/1.1\r\nhost: a\r\nconnection: close", Some("close"), false),
        ("GET /thing HTTP/1.1\r\nhost: a\r\nconnection: x, CLOSE", Some("close"), false),
        ("GET /thing HTTP/1.1\r\nhost: a\r\nconnection: close, keep-alive", Some("close"), false),
        ("GET /thing HTTP/1.0", Some("close"), false),
        ("GET /thing HTTP/1.0\r\nconnection: keep-alive", Some("keep-alive"), true),
        ("GET /thing HTTP/1.0\r\nconnection: Keep-Alive, close", Some("close"), false),
    ];
    for user in users() {
        let server = Setup::subject("full").user(user).start();
        for (head, connection, stays) in cases {
            let mut client = server.connect();
            for _ in 0..if stays { 3 } else { 1 } {
                client.send(format!("{head}\r\n\r\n"));
                let reply = client.reply();
                assert_eq!((reply.text().as_str(), reply.header("connection")), ("GET thing", connection), "{head}");
            }
            if !stays {
                client.is_closed();
            }
        }
        server.finish();
    }
}

/// More requests than one connection is served in a row, in one write, with bodies of every framing: in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Setup::inspector().start();
    let mut client = server.connect();
    let mut all = Vec::new();
    for number in 0..100 {
        let body = number.to_string().repeat(number);
        all.extend(match number % 2 {
            0 => request("POST", "/invoke", &[], body.as_bytes()),
            _ => chunked("/invoke", &[], &[body.as_bytes()]),
        });
    }
    client.send(&all);
    for number in 0..100 {
        assert_eq!(client.reply().text(), number.to_string().repeat(number));
    }
    server.finish();
}

/// Nothing behind a request that closes is served.
#[test]
fn what_follows_the_last_request_is_not_served() {
    let server = Setup::subject("full").start();
    for last in ["GET /thing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "BAD\r\n\r\n"] {
        let mut client = server.connect();
        client.send(format!("{last}POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"));
        client.reply();
        client.half_close();
        client.is_closed();
    }
    assert_eq!(state_of(&server)["events"], serde_json::json!([]));
    server.finish();
}

/// RFC 9110 §9.3.2: HEAD answers what GET answers, without the body; the connection goes on behind it.
#[test]
fn head_has_no_body() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    let cases = [
        ("/thing", Some("10"), None),
        ("/do/big?100000", Some("100000"), None),
        ("/do/sized?100000", Some("100000"), None),
        ("/do/stream?100000", None, Some("chunked")),
        ("/do/status?204", None, None),
    ];
    for (target, length, coding) in cases {
        let reply = client.call("HEAD", target, &[], b"");
        let framing = (reply.header("content-length"), reply.header("transfer-encoding"));
        assert_eq!(framing, (length, coding), "{target}");
        assert_eq!(client.get("/thing").text(), "GET thing", "behind HEAD {target}");
    }
    server.finish();
}

/// RFC 9110 §6.4.1: statuses without a body have none, even if the reply had one.
#[test]
fn statuses_without_a_body() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    for (status, length) in [(204, None), (205, Some("0")), (304, None)] {
        let reply = client.get(&format!("/do/status?{status}"));
        assert_eq!((reply.status, reply.header("content-length"), &*reply.text()), (status, length, ""));
        assert_eq!(client.get("/thing").text(), "GET thing", "behind {status}");
    }
    server.finish();
}

/// A request with a chunked body, and any headers.
fn chunked(target: &str, headers: &[(&str, &str)], chunks: &[&[u8]]) -> Vec<u8> {
    let mut headers = headers.to_vec();
    headers.push(("transfer-encoding", "chunked"));
    let mut bytes = request("PUT", target, &headers, b"");
    bytes = String::from_utf8(bytes).expect("text").replacen("PUT", "POST", 1).into_bytes();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend(format!("{:x};extension=\"1\"\r\n", chunk.len()).bytes());
        bytes.extend([chunk, &b"\r\n"[..]].concat());
    }
    bytes.extend(b"0\r\ntrailer: dropped\r\nx-fc-control-path: /pre-stop\r\n\r\n");
    bytes
}

/// However a body is framed and cut, the callback gets it whole; trailers are dropped.
#[test]
fn bodies_sized_and_chunked_and_cut_anywhere() {
    let server = Setup::inspector().start();
    let large = pattern(1 << 20);
    let bodies: [&[&[u8]]; 4] = [&[b""], &[b"x"], &[b"hello", b" world"], &[&large, b"end", &large]];
    let mut client = server.connect();
    for chunks in bodies {
        let body = chunks.concat();
        for bytes in [request("POST", "/invoke", &[], &body), chunked("/invoke", &[], chunks)] {
            for cut in [1, bytes.len() / 2, bytes.len() - 1] {
                client.send(&bytes[..cut]);
                server.has_read_everything();
                client.send(&bytes[cut..]);
                assert!(client.reply().body == body, "{} bytes cut at {cut}", bytes.len());
            }
        }
    }
    // Byte by byte, each read alone.
    for byte in chunked("/invoke", &[("x", "y")], &[b"hello", b" world"]) {
        client.send([byte]);
        server.has_read_everything();
    }
    assert_eq!(client.reply().text(), "hello world");
    server.finish();
}

/// RFC 9110 §10.1.1: `100 Continue` for a client that waits; not for one that does not, nor where the answer is known.
#[test]
fn expect_100_continue() {
    let server = Setup::inspector().limits("body_bytes_max=1000").start();
    let head = |version: &str, headers: &str| {
        format!("POST /invoke HTTP/{version}\r\nhost: a\r\nexpect: 100-continue\r\n{headers}\r\n\r\n").into_bytes()
    };
    let mut client = server.connect();
    for (framing, body) in [("content-length: 5", "hello"), ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        client.send(head("1.1", framing));
        let interim = client.reply();
        assert_eq!((interim.status, interim.headers.len()), (100, 0), "{framing}");
        client.send(body);
        assert_eq!(client.reply().text(), "hello", "{framing}");
        // The body comes along: the first thing to be answered is the final status.
        client.send([&head("1.1", framing), body.as_bytes()].concat());
        assert_eq!(client.reply().summary(), (200, Some("200"), "hello".to_owned()), "{framing}");
    }
    client.send(head("1.1", "content-length: 0"));
    assert_eq!(client.reply().status, 200, "nothing to wait for");
    let mut old = server.connect();
    old.send(head("1.0", "content-length: 5"));
    server.has_read_everything();
    assert!(old.has_nothing(), "HTTP/1.0 knows no interim replies");
    old.send("hello");
    assert_eq!(old.reply().text(), "hello");
    client.send(head("1.1", "content-length: 1001"));
    assert_eq!(client.reply().status, 413);
    client.half_close();
    client.is_closed();
    let mut client = server.connect();
    client.send(b"POST /invoke HTTP/1.1\r\nhost: a\r\nexpect: magic\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.reply().status, 417);
    server.finish();
}

/// C-INV-6: chunked for HTTP/1.1, sized where the length is known, up to the close for HTTP/1.0.
#[test]
fn streamed_replies() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    for bytes in [0, 1, 16 * 1024, 16 * 1024 + 1, 1_000_000] {
        for (name, coding) in [("stream", Some("chunked")), ("sized", None)] {
            let reply = client.get(&format!("/do/{name}?{bytes}"));
            let length = (name == "sized").then(|| bytes.to_string());
            assert_eq!(reply.header("transfer-encoding"), coding, "{name} {bytes}");
            assert_eq!(reply.header("content-length"), length.as_deref(), "{name} {bytes}");
            assert!(reply.body == pattern(bytes), "{name} {bytes}: {} bytes came", reply.body.len());
        }
        for keep in ["", "connection: keep-alive\r\n"] {
            let mut old = server.connect();
            old.send(format!("GET /do/stream?{bytes} HTTP/1.0\r\n{keep}\r\n"));
            let reply = old.reply();
            assert_eq!((reply.header("transfer-encoding"), reply.header("connection")), (None, Some("close")));
            assert!(reply.body == pattern(bytes), "HTTP/1.0, {bytes}");
        }
    }
    server.finish();
}

/// A reply that cannot be completed is cut: the client can tell that it is not whole, whatever the framing.
#[test]
fn a_stream_that_fails_cuts_the_connection() {
    for version in ["1.1", "1.0"] {
        for (name, failure) in [
            ("broken", "asked to fail"),
            ("panicking", "asked to collapse"),
            ("short", "the stream ended before its length"),
        ] {
            let server = Setup::subject("full").expect_stderr().start();
            let mut client = server.connect();
            client.send(format!("GET /do/{name}?100000 HTTP/{version}\r\nhost: a\r\nx-fc-request-id: r\r\n\r\n"));
            let (bytes, end) = client.rest();
            assert_eq!(end, End::Reset, "{name}, HTTP/{version}");
            let whole = bytes.ends_with(b"0\r\n\r\n");
            assert!(!whole, "{name}, HTTP/{version}: looks whole");
            let logged = format!("the reply's stream failed: {failure}, request r");
            server.process.stderr.wait_for(&logged, |text| text.contains(&logged));
            assert_eq!(server.connect().get("/thing").status, 200, "the process lives");
            server.finish();
        }
    }
}

/// Small limits, so that every one of them is easily passed.
const SMALL: &str = "head_bytes_max=1000,headers_max=8,target_bytes_max=100,body_bytes_max=1000,linger_ms_max=60000";

/// A client that sends everything before it reads still sees the answer, however much it sends; the answer is the last
/// thing on the connection.
#[test]
fn beyond_a_limit_the_client_sees_the_answer() {
    let server = Setup::inspector().limits(SMALL).start();
    let many = pattern(8 << 20);
    let letters = "a".repeat(4 << 20);
    let trailers = b"a: b\r\n".repeat(100_000);
    let cases: [(&str, u16, Vec<u8>); 9] = [
        ("headers together", 431, request("POST", "/invoke", &[("x", &letters)], b"")),
        ("headers, many", 431, request("POST", "/invoke", &[("x", ""); 8], &many)),
        ("a head without end", 431, format!("GET / HTTP/1.1\r\nx: {letters}").into_bytes()),
        ("target", 414, request("POST", &format!("/{}", &letters[..100]), &[], &many)),
        ("target, larger than a head", 414, request("POST", &format!("/{letters}"), &[], b"")),
        ("sized body", 413, request("POST", "/invoke", &[], &many)),
        ("one chunk", 413, chunked("/invoke", &[], &[&many])),
        ("many chunks", 413, chunked("/invoke", &[], &vec![&b"123456789"[..]; 100_000])),
        (
            "trailers",
            400,
            [&b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"[..], &trailers].concat(),
        ),
    ];
    for (name, status, bytes) in cases {
        let mut client = server.connect();
        client.send(bytes);
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{name}");
        assert_eq!((reply.header("x-fc-status"), &*reply.error().0), (Some("404"), "ProtocolError"), "{name}");
        client.half_close();
        client.is_closed();
    }
    server.finish();
}

/// At the limit everything is still served.
#[test]
fn at_a_limit_everything_is_served() {
    let server = Setup::inspector().limits(SMALL).start();
    let head = |padding: usize| request("POST", "/invoke", &[("x", &"a".repeat(padding))], b"");
    let full_head = head(1000 - head(0).len());
    assert_eq!(full_head.len(), 1000);
    let body = pattern(1000);
    let cases = [
        ("head", full_head),
        ("headers", request("POST", "/invoke", &[("x", ""); 6], b"")),
        ("target", request("GET", &format!("/{}", "a".repeat(99)), &[], b"")),
        ("sized body", request("POST", "/invoke", &[], &body)),
        ("chunked body", chunked("/invoke", &[], &[&body[..999], &body[999..]])),
    ];
    let mut client = server.connect();
    for (name, bytes) in cases {
        client.send(bytes);
        assert_eq!(client.reply().status, 200, "{name}");
    }
    server.finish();
}

/// 408 where a head or a body does not arrive in time, and the connection closes.
#[test]
fn heads_and_bodies_that_do_not_arrive() {
    let server = Setup::inspector().limits("head_ms_max=100,body_ms_max=100").start();
    let cases = [
        ("\r", "the head took too long to arrive"),
        ("G", "the head took too long to arrive"),
        ("GET / HTTP/1.1\r\nhost: a\r\n", "the head took too long to arrive"),
        ("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", "the body took too long to arrive"),
        ("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n12345678", "the body took too long to arrive"),
        (
            "POST /invoke HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "the body took too long to arrive",
        ),
    ];
    for (sent, message) in cases {
        let mut client = server.connect();
        client.send(sent);
        let reply = client.reply();
        assert_eq!((reply.status, reply.error().1.as_str()), (408, message), "{sent:?}");
        client.half_close();
        client.is_closed();
    }
    server.finish();
}

/// A client that is refused and neither reads on nor closes is cut in the end.
#[test]
fn lingering_has_an_end() {
    let server = Setup::inspector().limits("linger_ms_max=100").start();
    let mut client = server.connect();
    client.send("BAD\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    client.is_closed();
    server.has_no_connection();
    server.finish();
}

/// What a refused client may still send is bounded by bytes as well as by time.
#[test]
fn a_refused_client_cannot_send_for_ever() {
    let server = Setup::inspector().limits("linger_ms_max=86400000").start();
    let mut client = server.connect();
    client.send("BAD\r\n\r\n");
    let piece = pattern(1 << 20);
    let sent = (0..256).take_while(|_| client.try_send(&piece).is_ok()).count();
    assert!((64..256).contains(&sent), "{sent} MiB");
    server.finish();
}

/// A reader that takes no byte of its reply is cut in the end.
#[test]
fn a_reader_that_stalls_is_cut() {
    let server = Setup::subject("full").limits("stall_ms_max=100").start();
    for target in ["/do/big?30000000", "/do/stream?30000000"] {
        let mut client = server.connect();
        client.receive_little();
        client.send(request("GET", target, &[], b""));
        server.is_stuck_on(&client);
        server.has_no_connection();
        assert_eq!(client.rest().1, End::Reset, "{target}");
    }
    server.finish();
}

/// Whatever breaks the rules is refused with a status, and is the last thing on its connection.
#[test]
fn what_is_malformed_is_refused_and_closed() {
    let body = "content-length: 1\r\n\r\nx";
    let cases: [(&str, u16); 24] = [
        ("GET\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / FOO\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: y\0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET thing HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx", 400),
        (&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n{body}"), 400),
        (&format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{body}"), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\nx", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n", 400),
    ];
    let server = Setup::inspector().start();
    for (bytes, status) in cases {
        let mut client = server.connect();
        // Behind it one that is fine: it must not be looked at.
        client.send(format!("{bytes}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{bytes:?}");
        assert_eq!((reply.header("x-fc-status"), &*reply.error().0), (Some("404"), "ProtocolError"), "{bytes:?}");
        client.half_close();
        client.is_closed();
    }
    assert_eq!(server.connect().get("/").json()["lifecycle"]["calls"], 1, "nothing of it was a call");
    server.finish();
}

/// A client that has sent all it will send still gets its answers.
#[test]
fn half_closed_clients_are_answered() {
    let server = Setup::subject("full").start();
    for target in ["/thing", "/do/big?3000000", "/do/stream?3000000"] {
        let mut client = server.connect();
        let twice = [request("GET", target, &[], b""), request("GET", "/thing", &[], b"")].concat();
        client.send(twice);
        client.half_close();
        assert_eq!(client.reply().status, 200, "{target}");
        assert_eq!(client.reply().text(), "GET thing", "{target}");
        client.is_closed();
    }
    server.finish();
}

/// C-START-3: probes that connect and hang up, with FIN or RST, at once or in the middle, are served nothing and leave
/// no trace.
#[test]
fn probes_are_silent() {
    let server = Setup::inspector().start();
    let hang_up: [fn(Client); 4] = [
        drop,
        Client::reset,
        |mut client| client.send("GET / HT"),
        |mut client| {
            client.send("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1234");
            client.reset();
        },
    ];
    for round in 0..25 {
        for way in hang_up {
            way(server.connect());
        }
        assert_eq!(server.connect().get("/").json()["lifecycle"]["calls"], round + 1, "only this one is a call");
    }
    server.has_no_connection();
    let printed = server.finish();
    assert_eq!(printed.lines().count(), 50 + 2, "the calls' markers and pre-stop's, nothing else: {printed}");
}

/// A client that goes away in the middle of its reply costs nothing but the reply.
#[test]
fn clients_that_leave_in_the_middle_of_a_reply() {
    let server = Setup::subject("full").start();
    for target in ["/do/big?30000000", "/do/stream?30000000", "/do/sized?30000000"] {
        for hang_up in [drop, Client::reset] {
            let mut client = server.connect();
            client.send(request("GET", target, &[], b""));
            client.take(100);
            hang_up(client);
        }
    }
    server.has_no_connection();
    assert_eq!(server.connect().get("/thing").status, 200);
    server.finish();
}
