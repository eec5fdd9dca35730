//! Rejected requests, and the end of their connections.

use crate::subject;
use crate::support::client::{Client, End, request};
use crate::support::process::Server;
use crate::support::{is_linux, pattern, state_of};
use serde_json::json;

/// Bytes that the server must not read after a rejected request.
const SMUGGLED: &str =
    "POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nxGET /pre-stop HTTP/1.1\r\nhost: a\r\n\r\n";

/// No request so far has reached a callback.
fn nothing_ran(server: &Server) {
    let state = state_of(server);
    assert_eq!((&state["events"], &state["calls"]), (&json!([]), &json!(1)), "only this question: {state}");
}

/// CVE-2026-66752: a request that leaves open where it ends is rejected, and is the last on its connection.
#[test]
fn an_ambiguous_request_is_rejected_and_closed() {
    let framing: [(&str, u16); 23] = [
        ("transfer-encoding: gzip", 501),
        ("transfer-encoding: identity", 501),
        ("transfer-encoding: xchunked", 501),
        ("transfer-encoding: gzip, chunked", 501),
        ("transfer-encoding: chunked, gzip", 400),
        ("transfer-encoding: chunked, chunked", 400),
        ("transfer-encoding: chunked,", 400),
        ("transfer-encoding: chunked;q=1", 400),
        ("transfer-encoding: \"chunked\"", 400),
        ("transfer-encoding:", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 501),
        ("transfer-encoding: chunked\r\ncontent-length: 5", 400),
        ("content-length: 5\r\ntransfer-encoding: chunked", 400),
        ("content-length: 0\r\ncontent-length: 5", 400),
        ("content-length: 5\r\ncontent-length: 5", 400),
        ("content-length: 0, 5", 400),
        ("content-length: +0", 400),
        ("content-length: -1", 400),
        ("content-length: 0x0", 400),
        ("content-length:", 400),
        ("x: y\ncontent-length: 5", 400),
        ("connection: upgrade\r\ntransfer-encoding: chunked", 501),
    ];
    let server = subject("fallback").start();
    for (headers, status) in framing {
        expect_rejection(&server, &format!("POST /invoke HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{SMUGGLED}"), status);
    }
    let others = [
        ("POST /invoke HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/0.9\r\nhost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET nowhere HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n(x): y\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: y\0z\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\nx", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: x\r\n\r\n", 400),
    ];
    for (bytes, status) in others {
        expect_rejection(&server, &format!("{bytes}{SMUGGLED}"), status);
    }
    nothing_ran(&server);
    server.finish();
}

fn expect_rejection(server: &Server, bytes: &str, status: u16) {
    let mut client = server.connect();
    client.send(bytes);
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{bytes:?}");
    assert_eq!((reply.header("x-fc-status"), &*reply.error().0), (Some("404"), "ProtocolError"), "{bytes:?}");
    // The server has closed its side without waiting for the client.
    client.expect_close();
}

/// Requests that tiny_http rejects before fc-hooks sees them, and the status, if it sends one.
#[test]
fn requests_that_tiny_http_rejects_itself() {
    let cases: [(&str, Option<u16>); 10] = [
        ("GET\r\n\r\n", Some(400)),
        ("GET / FOO\r\n\r\n", Some(400)),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", Some(400)),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Some(400)),
        ("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(400)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n", Some(400)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n", Some(400)),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: magic\r\n\r\n", Some(417)),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: ä\r\n\r\n", None),
        ("PUT /ä HTTP/1.1\r\nhost: a\r\n\r\n", None),
    ];
    let server = subject("fallback").start();
    for (bytes, status) in cases {
        let mut client = server.connect();
        client.send(format!("{bytes}{SMUGGLED}"));
        let (answer, end) = client.rest();
        let answer = String::from_utf8(answer).expect("text");
        let expected = status.map_or(String::new(), |status| format!("HTTP/1.1 {status} "));
        assert!(answer.starts_with(&expected), "{bytes:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), status.iter().count(), "{bytes:?}: {answer}");
        assert_eq!(end, End::Closed, "{bytes:?}");
    }
    // tiny_http waits for the rest of this request.
    let mut client = server.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    server.wait_until_read();
    assert!(client.has_received_nothing());
    nothing_ran(&server);
    server.finish();
}

/// tiny_http takes the end of the connection for the end of a chunked body. No callback may get half a body.
#[test]
fn a_chunked_body_that_ends_with_its_connection_is_rejected() {
    if !is_linux("bytes that arrive together with the close") {
        return;
    }
    let server = subject("fallback").start();
    for body in ["5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n2", "5\r\nhello\r\n0\r\n\r\n"] {
        // The last body is whole. The server cannot tell if the end of the connection comes with it.
        server.process.signal(libc::SIGSTOP);
        server.process.wait_for_state('T');
        let mut client = server.connect();
        client.send(format!("POST /invoke HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}"));
        client.half_close();
        server.process.signal(libc::SIGCONT);
        assert_eq!(client.reply().status, 400, "{body:?}");
        client.expect_close();
    }
    for (length, sent) in [(5, 3), (100_000, 0), (100_000, 99_999)] {
        let mut client = server.connect();
        client.send(format!("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"));
        client.send(pattern(sent));
        client.half_close();
        assert_eq!(client.rest().0, b"", "{sent} of {length} bytes");
    }
    nothing_ran(&server);
    server.finish();
}

fn chunked(chunks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"POST /invoke HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n".to_vec();
    for chunk in chunks {
        bytes.extend(format!("{:x};extension\r\n", chunk.len()).bytes());
        bytes.extend([chunk, &b"\r\n"[..]].concat());
    }
    [&bytes, &b"0\r\n\r\n"[..]].concat()
}

/// The callback gets the whole body, however it is framed and cut. Many requests in one write are answered in order.
#[test]
fn bodies_and_pipelines() {
    let server = subject("full").start();
    let large = pattern(100_000);
    let bodies: [&[&[u8]]; 4] = [&[b"x"], &[b"hello", b" world"], &[&large[..1024]], &[&large, b"end", &large]];
    let mut client = server.connect();
    for chunks in bodies {
        let body = chunks.concat();
        for bytes in [request("POST", "/invoke", &[], &body), chunked(chunks)] {
            let (before, behind) = bytes.split_at(bytes.len() / 2);
            client.send(before);
            server.wait_until_read();
            client.send(behind);
            assert!(client.reply().body == body, "{} bytes", bytes.len());
        }
        assert_eq!(client.call("POST", "/invoke", &[], b"").body, b"");
        let mut last = server.connect();
        let reply = last.call("POST", "/invoke", &[("connection", "upgrade")], &body);
        assert!(
            reply.body == body && reply.header("connection") == Some("close"),
            "tiny_http reads no more requests after this one"
        );
        last.expect_close();
    }
    let bodies: Vec<String> = (1..100).map(|number: usize| number.to_string().repeat(number)).collect();
    let both = |body: &String| [request("POST", "/invoke", &[], body.as_bytes()), chunked(&[body.as_bytes()])].concat();
    client.send(bodies.iter().flat_map(both).collect::<Vec<u8>>());
    for body in bodies {
        assert_eq!([client.reply().text(), client.reply().text()], [body.clone(), body]);
    }
    server.finish();
}

const SMALL: &str = "head_bytes_max=1000,headers_max=8,target_bytes_max=100,body_bytes_max=1500,linger_ms_max=60000";

/// Requests exactly at a limit are served. Beyond it, a client that sends all its bytes before it reads still gets the
/// reply.
#[test]
fn limits() {
    let server = subject("full").limits(SMALL).start();
    let head = |padding: usize| request("POST", "/invoke", &[("x", &"a".repeat(padding))], b"");
    let padding = 1000 - head(0).len();
    let (body, many, letters) = (pattern(1500), pattern(8 << 20), "a".repeat(4 << 20));
    let cases: [(&str, u16, Vec<u8>); 13] = [
        ("head", 200, head(padding)),
        ("head", 431, head(padding + 1)),
        ("a huge head", 431, head(letters.len())),
        ("headers", 200, request("POST", "/invoke", &[("x", ""); 6], b"")),
        ("headers", 431, request("POST", "/invoke", &[("x", ""); 7], &many)),
        ("target", 200, request("GET", &format!("/do/echo?{}", "a".repeat(91)), &[], b"")),
        ("target", 414, request("GET", &format!("/do/echo?{}", "a".repeat(92)), &[], &many)),
        ("a huge target", 414, request("POST", &format!("/{letters}"), &[], b"")),
        ("sized body", 200, request("POST", "/invoke", &[], &body)),
        ("sized body", 413, request("POST", "/invoke", &[], &many)),
        ("chunked body", 200, chunked(&[&body[..1499], &body[1499..]])),
        ("chunked body", 413, chunked(&[&many])),
        ("many chunks", 413, chunked(&vec![&b"123456789"[..]; 100_000])),
    ];
    for (name, status, bytes) in cases {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.reply().status, status, "{name}");
        if status != 200 {
            client.expect_close();
        }
    }
    server.finish();
}

/// To skip the unread rest of a body, tiny_http allocates as many bytes. That must not end the process.
#[test]
fn a_length_beyond_all_memory() {
    if !is_linux("requests for more memory than there is") {
        return;
    }
    let server = subject("full").expect_stderr().start();
    for length in [u64::MAX, i64::MAX as u64, 1 << 46, 1 << 30] {
        let head = format!("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nx");
        expect_rejection(&server, &head, 413);
        let mut client = server.connect();
        client.send(head);
        // The server has read the request before its client leaves.
        server.wait_until_read();
        drop(client);
    }
    nothing_ran(&server);
    server.finish();
}

/// RFC 9110 §10.1.1: tiny_http sends the interim reply, even if the body came along.
#[test]
fn expect_100_continue() {
    let server = subject("full").limits("body_bytes_max=1000").start();
    let head = |length: usize| {
        format!("POST /invoke HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut client = server.connect();
    for body in ["", "hello"] {
        client.send(head(5) + body);
        expect_interim_reply(&mut client);
        client.send(&"hello"[body.len()..]);
        assert_eq!(client.reply().text(), "hello");
    }
    client.send(head(0));
    assert_eq!(client.reply().status, 200, "there is no body to wait for");
    client.send(head(1001));
    assert_eq!(client.reply().status, 413);
    client.expect_close();
    drop(client);
    server.finish();
}

/// tiny_http sends this reply with a `Content-Length`. RFC 9110 §8.6 forbids that, so the strict reader rejects it.
fn expect_interim_reply(client: &mut Client) {
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.extend(client.take(1));
    }
    assert!(reply.starts_with(b"HTTP/1.1 100 Continue\r\n"), "{}", reply.escape_ascii());
}

/// The server bounds the time and the bytes of a rejected client that goes on sending.
#[test]
fn lingering_has_an_end() {
    let server = subject("full").limits("linger_ms_max=100").start();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    server.wait_for_no_connection();
    server.finish();
    let server = subject("full").limits("linger_ms_max=86400000").start();
    let mut client = server.connect();
    client.send("POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n");
    let piece = pattern(1 << 20);
    let sent = (0..256).take_while(|_| client.try_send(&piece).is_ok()).count();
    assert!((64..256).contains(&sent), "{sent} MiB");
    assert_eq!(server.connect().get("/thing").status, 200);
    server.finish();
}

/// A client may use the address of a closed connection again. The server keeps the two apart.
#[test]
fn an_address_that_was_rejected_is_served_again() {
    let server = subject("full").start();
    let (mut client, port) = connect_from(&server, 0);
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(client.reply().status, 400);
        client.expect_close();
        drop(client);
        client = connect_from(&server, port).0;
        assert_eq!(client.get("/thing").text(), "GET thing");
    }
    server.finish();
}

/// A client with this port of its own; 0 takes a free one.
fn connect_from(server: &Server, port: u16) -> (Client, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let own = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("a socket");
    bind(&socket, &own).expect("the port");
    connect(&socket, &server.tcp()).expect("a connection");
    let client = Client::tcp(socket.into(), Default::default());
    let port = client.local().port();
    (client, port)
}

/// CVE-2026-66753: neither a callback nor a caller can add a line to the head of a reply.
#[test]
fn no_line_end_gets_into_a_head() {
    let server = subject("full").expect_stderr().start();
    let mut client = server.connect();
    let split = [("x-fc-control-path", "/initialize"), ("x-fc-function-handler", "split")];
    let header = [("x-fc-control-path", "/initialize"), ("x-fc-function-handler", "header")];
    let calls = [("/", &split), ("/", &header), ("/", &split)].map(|(target, headers)| ("POST", target, &headers[..]));
    let others =
        [("GET", "/do/split", &[][..]), ("GET", "/do/%0d%0aset-cookie:x", &[]), ("DELETE", "/thing?%0d%0a", &[])];
    for (method, target, headers) in calls.into_iter().chain(others) {
        let reply = client.call(method, target, headers, b"");
        let known = ["x-fc-status", "content-type", "content-length", "allow", "a"];
        for (name, value) in &reply.headers {
            assert!(known.contains(&name.as_str()) && !value.contains(['\r', '\n']), "{method} {target}: {reply:?}");
        }
    }
    server.finish();
}
