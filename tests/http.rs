//! HTTP/1.1 as clients see it: framing, connections, limits and rejections, on the real binary over real sockets.

mod support;

use support::client::{Client, End, request};
use support::process::Setup;
use support::{pattern, state_of, users};

/// C-CONN-1, C-CONN-4, RFC 9112 §9.3. Each case has the head of a request without its end, the header `connection` of
/// the reply, and whether the connection stays open.
#[test]
fn which_requests_keep_the_connection() {
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
                client.expect_close();
            }
        }
        server.finish();
    }
}

/// One write with more requests than the server takes from one connection in a row, with bodies of every framing.
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

/// The server serves no request after one that closes the connection.
#[test]
fn nothing_after_the_last_request_is_served() {
    let server = Setup::subject("full").start();
    for last in ["GET /thing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "BAD\r\n\r\n"] {
        let mut client = server.connect();
        client.send(format!("{last}POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"));
        client.reply();
        client.half_close();
        client.expect_close();
    }
    assert_eq!(state_of(&server)["events"], serde_json::json!([]));
    server.finish();
}

/// RFC 9110 §9.3.2: HEAD gets the head of GET's reply without the body, and the connection stays usable.
#[test]
fn head_has_no_body() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    let cases = [
        ("/thing", Some("10"), None),
        ("/do/big?100000", Some("100000"), None),
        ("/do/sized?100000", Some("100000"), None),
        ("/do/stream?100000", None, None),
        ("/do/status?204", None, None),
    ];
    for (target, length, coding) in cases {
        let reply = client.call("HEAD", target, &[], b"");
        let framing = (reply.header("content-length"), reply.header("transfer-encoding"));
        assert_eq!(framing, (length, coding), "{target}");
        assert_eq!(reply.header("connection"), None, "{target}");
        assert_eq!(client.get("/thing").text(), "GET thing", "after HEAD {target}");
    }
    server.finish();
}

/// RFC 9110 §6.4.1: replies of some statuses have no body, even if the callback gave one.
#[test]
fn statuses_without_a_body() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    for (status, length) in [(204, None), (205, Some("0")), (304, None)] {
        let reply = client.get(&format!("/do/status?{status}"));
        assert_eq!((reply.status, reply.header("content-length"), &*reply.text()), (status, length, ""));
        assert_eq!(reply.header("content-type"), None, "{status} describes no body");
        assert_eq!(client.get("/thing").text(), "GET thing", "after {status}");
    }
    server.finish();
}

/// A request with a chunked body, which ends in trailers, and with these headers.
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

/// The callback gets the whole body, however it is framed and cut, and no trailers.
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
                server.wait_until_read();
                client.send(&bytes[cut..]);
                assert!(client.reply().body == body, "{} bytes cut at {cut}", bytes.len());
            }
        }
    }
    // Byte by byte; the server reads each alone.
    for byte in chunked("/invoke", &[("x", "y")], &[b"hello", b" world"]) {
        client.send([byte]);
        server.wait_until_read();
    }
    assert_eq!(client.reply().text(), "hello world");
    server.finish();
}

/// RFC 9110 §10.1.1: a client that waits gets `100 Continue`. One that does not wait gets none, nor does one whose
/// request the server rejects by its head.
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
        // The body comes along, so the first reply is the final one.
        client.send([&head("1.1", framing), body.as_bytes()].concat());
        assert_eq!(client.reply().summary(), (200, Some("200"), "hello".to_owned()), "{framing}");
    }
    client.send(head("1.1", "content-length: 0"));
    assert_eq!(client.reply().status, 200, "there is no body to wait for");
    let mut old = server.connect();
    old.send(head("1.0", "content-length: 5"));
    server.wait_until_read();
    assert!(old.has_received_nothing(), "HTTP/1.0 knows no interim replies");
    old.send("hello");
    assert_eq!(old.reply().text(), "hello");
    client.send(head("1.1", "content-length: 1001"));
    assert_eq!(client.reply().status, 413);
    client.half_close();
    client.expect_close();
    let mut client = server.connect();
    client.send(b"POST /invoke HTTP/1.1\r\nhost: a\r\nexpect: magic\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.reply().status, 417);
    server.finish();
}

/// C-INV-6: a stream is sent in chunks to HTTP/1.1, with its length if that is known, and up to the close to HTTP/1.0.
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
            assert!(reply.body == pattern(bytes), "{name} {bytes}: {} bytes arrived", reply.body.len());
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

/// The server resets a connection whose reply it cannot complete, so that the client sees that the reply is not whole.
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
            assert!(!whole, "{name}, HTTP/{version}: the reply looks whole");
            let logged = format!("the reply's stream failed: {failure}, request r");
            server.process.stderr.wait_for(&logged, |text| text.contains(&logged));
            assert_eq!(server.connect().get("/thing").status, 200, "the process lives");
            server.finish();
        }
    }
}

/// Limits that a test can exceed with few bytes.
const SMALL: &str = "head_bytes_max=1000,headers_max=8,target_bytes_max=100,body_bytes_max=1000,linger_ms_max=60000";

/// A client that sends all its bytes before it reads still gets the reply, however many they are. The reply is the last
/// on its connection.
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
        client.expect_close();
    }
    server.finish();
}

/// Requests exactly at a limit are served.
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

/// A head or a body that does not arrive in time is answered with 408, and the connection closes.
#[test]
fn heads_and_bodies_have_time_limits() {
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
        client.expect_close();
    }
    server.finish();
}

/// The server does not wait forever for a rejected client that does not close.
#[test]
fn lingering_has_an_end() {
    let server = Setup::inspector().limits("linger_ms_max=100").start();
    let mut client = server.connect();
    client.send("BAD\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    client.expect_close();
    server.wait_for_no_connection();
    server.finish();
}

/// The server bounds the bytes that a rejected client may still send, not only the time.
#[test]
fn a_rejected_client_cannot_send_forever() {
    let server = Setup::inspector().limits("linger_ms_max=86400000").start();
    let mut client = server.connect();
    client.send("BAD\r\n\r\n");
    let piece = pattern(1 << 20);
    let sent = (0..256).take_while(|_| client.try_send(&piece).is_ok()).count();
    assert!((64..256).contains(&sent), "{sent} MiB");
    server.finish();
}

/// The server resets the connection of a client that takes no byte of its reply for too long.
#[test]
fn a_reader_that_stalls_is_cut() {
    let server = Setup::subject("full").limits("stall_ms_max=100").start();
    for target in ["/do/big?30000000", "/do/stream?30000000"] {
        let mut client = server.connect();
        client.shrink_receive_buffer();
        client.send(request("GET", target, &[], b""));
        server.wait_until_stuck_on(&client);
        server.wait_for_no_connection();
        assert_eq!(client.rest().1, End::Reset, "{target}");
    }
    server.finish();
}

/// A request that breaks the rules is answered with a status of its own, and is the last on its connection.
#[test]
fn malformed_requests_are_rejected_and_closed() {
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
        // A valid request follows, which the server must not read.
        client.send(format!("{bytes}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{bytes:?}");
        assert_eq!((reply.header("x-fc-status"), &*reply.error().0), (Some("404"), "ProtocolError"), "{bytes:?}");
        client.half_close();
        client.expect_close();
    }
    assert_eq!(server.connect().get("/").json()["lifecycle"]["calls"], 1, "none of these requests was a call");
    server.finish();
}

/// A client that has closed its sending side still gets its replies.
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
        client.expect_close();
    }
    server.finish();
}

/// C-START-3: a probe connects and disconnects, by FIN or RST, at once or in the middle of a request. It is no call,
/// and the server prints and logs nothing.
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
        for leave in hang_up {
            leave(server.connect());
        }
        assert_eq!(server.connect().get("/").json()["lifecycle"]["calls"], round + 1, "only this one is a call");
    }
    server.wait_for_no_connection();
    let printed = server.finish();
    assert_eq!(printed.lines().count(), 50 + 2, "only the markers of the calls and of pre-stop: {printed}");
}

/// A client that leaves in the middle of its reply does no harm to others.
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
    server.wait_for_no_connection();
    assert_eq!(server.connect().get("/thing").status, 200);
    server.finish();
}
