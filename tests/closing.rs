//! How connections end: the client gets every byte of its reply, and no content that it could not read.

mod support;

use support::client::End;
use support::pattern;
use support::process::Setup;

/// RFC 9110 §9.3.2: a rejected HEAD request gets no content either.
#[test]
fn a_rejected_head_request_gets_no_content() {
    let server = Setup::inspector().limits("head_ms_max=100").start();
    for (bad, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("\r\nHEAD / HTTP/1.1\r\nhost: a\r\nexpect: a-miracle\r\n\r\n", 417),
        ("HEAD / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n", 413),
        ("HEAD / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", 400),
        ("HEAD / HTTP/1.1\r\nho", 408),
    ] {
        let mut client = server.connect();
        client.send(bad);
        assert_eq!(client.reply_without_body().status, status, "{bad:?}");
        client.expect_close();
    }
    server.finish();
}

/// RFC 9112 §9.6: bytes after the last request, even an empty line (§2.2), must not turn the close into a reset, which
/// would discard the rest of the reply.
#[test]
fn late_bytes_cost_no_reply() {
    let server = Setup::inspector().start();
    let body = pattern(8 << 20);
    for (version, late) in [("1.1", "\r\n"), ("1.0", "\r\n"), ("1.1", "GET /late HTTP/1.1\r\nhost: a\r\n\r\n")] {
        let mut client = server.connect();
        let length = body.len();
        let head =
            format!("POST /invoke HTTP/{version}\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        client.send([head.as_bytes(), &body].concat());
        // The server is sending the reply when they arrive.
        client.take(1);
        client.send(late);
        let (rest, end) = client.rest();
        assert!(rest.ends_with(&body), "HTTP/{version}, {late:?}: {} bytes, then {end:?}", rest.len());
    }
    server.finish();
}

/// RFC 9112 §6.3: if only the close shows that a reply is whole, the connection ends without a reset, whatever arrives
/// late.
#[test]
fn a_body_that_ends_with_the_close_is_not_reset() {
    let server = Setup::subject("full").start();
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /do/stream?1000000 HTTP/1.0\r\n\r\n");
        client.take(1);
        client.send("\r\n");
        let (rest, end) = client.rest();
        assert!(rest.ends_with(&pattern(1_000_000)) && end == End::Closed, "{} bytes, then {end:?}", rest.len());
    }
    server.finish();
}
