//! How connections end: nothing that was sent is lost, and nothing is sent that nobody can read.

mod support;

use support::client::End;
use support::pattern;
use support::process::Setup;

/// RFC 9110 §9.3.2: what is refused has no content either, if it was asked for by HEAD.
#[test]
fn a_refused_head_has_no_content() {
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
        client.is_closed();
    }
    server.finish();
}

/// RFC 9112 §9.6: bytes behind the last request, be it an empty line (§2.2), must not turn the close into a reset that
/// takes the rest of the reply along.
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
        // The reply is on its way when they come.
        client.take(1);
        client.send(late);
        let (rest, end) = client.rest();
        assert!(rest.ends_with(&body), "HTTP/{version}, {late:?}: {} bytes, then {end:?}", rest.len());
    }
    server.finish();
}

/// RFC 9112 §6.3: where only the close tells that a reply is whole, it is no reset, whatever comes late.
#[test]
fn what_the_close_ends_is_closed() {
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
