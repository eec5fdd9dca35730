use super::*;
use crate::tuning::HEADERS_CAPACITY;

use ProtocolError::*;

fn parse_whole<R>(bytes: &[u8], limits: &Limits, look: impl FnOnce(&Head<'_>) -> R) -> Result<R, ProtocolError> {
    let end = HeadEndFinder::default().find(bytes)?;
    assert_eq!(end, Some(bytes.len()), "the case must be one whole head: {:?}", bytes.escape_ascii().to_string());
    let mut room = Vec::new();
    let (head, head_bytes) = parse(bytes, &mut room, limits)?;
    assert_eq!(head_bytes, bytes.len());
    Ok(look(&head))
}

fn framed(framing: Framing) -> RequestMeta {
    RequestMeta { framing, keep_alive: true, expects_continue: false, http10: false }
}

/// Heads that are fine, and what they mean.
#[test]
fn accepted() {
    let plain = framed(Framing::Sized(0));
    let cases: [(&str, &str, RequestMeta); 21] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", plain),
        ("GET /a?b=c HTTP/1.1\r\nhOsT: a\r\n\r\n", "/a?b=c", plain),
        ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "/b?c", plain),
        ("GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n", "/", plain),
        ("GET http://[::1]:80/b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/b", plain),
        ("GET / HTTP/1.1\r\nHost: a-b.c_d~e:8080\r\n\r\n", "/", plain),
        ("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "/", plain),
        ("GET / HTTP/1.1\r\nHost: %41.b:\r\n\r\n", "/", plain),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "/", plain),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", plain),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", plain),
        ("PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", "/", plain),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "/", RequestMeta { keep_alive: false, ..plain }),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, ClOsE\r\n\r\n", "/", RequestMeta { keep_alive: false, ..plain }),
        ("GET / HTTP/1.0\r\n\r\n", "/", RequestMeta { keep_alive: false, http10: true, ..plain }),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", RequestMeta { http10: true, ..plain }),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "/", framed(Framing::Sized(5))),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\n", "/", framed(Framing::Sized(5))),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", "/", framed(Framing::Chunked)),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
            "/",
            RequestMeta { expects_continue: true, ..framed(Framing::Sized(1)) },
        ),
        (
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            "/",
            RequestMeta { framing: Framing::Sized(1), keep_alive: false, expects_continue: false, http10: true },
        ),
    ];
    for (head, path, meta) in cases {
        let seen = parse_whole(head.as_bytes(), &Limits::default(), |head| (head.path_and_query.to_owned(), head.meta));
        assert_eq!(seen, Ok((path.to_owned(), meta)), "{head:?}");
    }
}

/// Heads that are refused. The ones about framing are how requests are smuggled past a proxy that reads them
/// differently; each row is a disagreement that some pair of servers had.
#[test]
fn refused() {
    let cases: [(&str, ProtocolError); 39] = [
        // Grammar (RFC 9112 §2.2, §3, §5).
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", MalformedHead),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedHead),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", MalformedHead),
        ("GET /\r\nHost: a\r\n\r\n", MalformedHead),
        ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", MalformedHead),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n", MalformedHead),
        ("GET /\x07 HTTP/1.1\r\nHost: a\r\n\r\n", MalformedHead),
        // Version: ours is 1.x.
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\n", Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", MalformedHead),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", MalformedHead),
        // Length (RFC 9112 §6.3).
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", BodyTooLarge),
        // Coding (RFC 9112 §6.1; CVE-2026-66752 took any value for chunked).
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", LengthAndCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", UnknownCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x-gzip, chunked\r\n\r\n", UnknownCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x-gzip\r\n\r\n", UnknownCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", UnknownCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", TransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", TransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", MalformedHead),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", Expectation),
    ];
    are_refused(&cases);
}

/// Where a request goes is said once, in a form and with a host that all readers understand alike.
#[test]
fn refused_targets_and_hosts() {
    let cases: [(&str, ProtocolError); 32] = [
        // Target (RFC 9112 §3.2).
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://:80/a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://@/a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://u:p@h/a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://a,b/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://[::1/a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://a:b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://a/b#c HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        // Host (RFC 9112 §3.2).
        ("GET / HTTP/1.1\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: [\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a]\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: %zz\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", Host),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Host),
    ];
    are_refused(&cases);
}

fn are_refused(cases: &[(&str, ProtocolError)]) {
    for (head, expected) in cases {
        let seen = parse_whole(head.as_bytes(), &Limits::default(), |head| head.meta);
        assert_eq!(seen, Err(*expected), "{head:?}");
    }
}

#[test]
fn limits_are_exact() {
    let mut limits = Limits { target_bytes_max: 4, headers_max: 2, body_bytes_max: 3, ..Limits::default() };
    let cases: [(&str, Option<ProtocolError>); 6] = [
        ("GET /abc HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /abcd HTTP/1.1\r\nHost: a\r\n\r\n", Some(TargetTooLong)),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n", Some(TooManyHeaders)),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", Some(BodyTooLarge)),
    ];
    for (head, expected) in cases {
        assert_eq!(parse_whole(head.as_bytes(), &limits, |_| ()).err(), expected, "{head:?}");
    }
    limits.headers_max = HEADERS_CAPACITY;
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_CAPACITY - 1));
    assert_eq!(parse_whole(many.as_bytes(), &limits, |head| head.headers.len()), Ok(HEADERS_CAPACITY));
}

#[test]
fn an_oversized_head_blames_the_right_part() {
    let limits = Limits { target_bytes_max: 4, ..Limits::default() };
    assert_eq!(oversized_error(b"GET /12345", &limits), TargetTooLong);
    assert_eq!(oversized_error(b"GET /12345 HTTP/1.1\r\nA: b", &limits), TargetTooLong);
    assert_eq!(oversized_error(b"GET / HTTP/1.1\r\nA: /12345678 x", &limits), HeadTooLarge);
    assert_eq!(oversized_error(b"GETTTTTTTTTTTT", &limits), HeadTooLarge);
}

/// The scan gives the same answer however the bytes are cut.
#[test]
fn the_end_is_found_at_every_split() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for first in 0..head.len() {
        for second in first..head.len() {
            let mut scan = HeadEndFinder::default();
            assert_eq!(scan.find(&head[..first]), Ok(None));
            assert_eq!(scan.find(&head[..second]), Ok(None));
            assert_eq!(scan.find(&[head.as_slice(), b"GET"].concat()), Ok(Some(head.len())));
        }
    }
}
