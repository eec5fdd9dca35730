//! Other fields than those of framing: `Host`, folding, `Connection`, `Expect`, `Upgrade`, and the grammar of all
//! (RFC 9112 §3.2, §5, RFC 9110 §5.5, §7.6.1, §7.8, §10.1.1).

use super::{CHUNKED, CL, Corpus, SIZED, TE, field, message, post};

/// All fields of a request, `Host` included.
const HOSTS: [&str; 34] = [
    "",
    "Host: a\r\n",
    "Host:\r\n",
    "Host: \r\n",
    "Host:a\r\n",
    "hOsT: a\r\n",
    "Host: a\r\nHost: a\r\n",
    "Host: a\r\nHost: b\r\n",
    "Host: a\r\nhost: a\r\n",
    "Host:\r\nHost: a\r\n",
    "Host: a\r\nHost:\r\n",
    "Host: a, b\r\n",
    "Host: a,b\r\n",
    "Host: a b\r\n",
    "Host: a\tb\r\n",
    "Host: a:80\r\n",
    "Host: a:\r\n",
    "Host: a:x\r\n",
    "Host: a:99999\r\n",
    "Host: [::1]\r\n",
    "Host: [::1]:80\r\n",
    "Host: user@a\r\n",
    "Host: a/b\r\n",
    "Host: a?b\r\n",
    "Host: a#b\r\n",
    "Host: http://a\r\n",
    "Host: \u{e9}\r\n",
    "Host: a\0b\r\n",
    "Host : a\r\n",
    " Host: a\r\n",
    "Host: a\r\n b\r\n",
    "X: y\r\n Host: a\r\n",
    "Ho\u{17f}t: a\r\n",
    "X-Host: a\r\n",
];

/// Lines that stand between Host and a framing field.
const ODD: [&str; 58] = [
    "A: b\r\n",
    "A:b\r\n",
    "A:\r\n",
    "A: \r\n",
    "A:\tb\r\n",
    "A: b \t\r\n",
    "A: b\r\n c\r\n",
    "A: b\r\n\tc\r\n",
    "A: b\r\n  \r\n",
    "A:\r\n b\r\n",
    "A: b\r\n \r\n c\r\n",
    " A: b\r\n",
    "\tA: b\r\n",
    " \r\n",
    "\t\r\n",
    "A\r\n",
    "A b\r\n",
    "AB: c\r\n",
    "A B: c\r\n",
    "A : b\r\n",
    "A\t: b\r\n",
    ": b\r\n",
    ":\r\n",
    "::\r\n",
    "A:: b\r\n",
    "A: :b\r\n",
    "A=b\r\n",
    "A;b\r\n",
    "(A): b\r\n",
    "\"A\": b\r\n",
    "A/B: c\r\n",
    "A@B: c\r\n",
    "A[B]: c\r\n",
    "{A}: b\r\n",
    "A\\B: c\r\n",
    "A,B: c\r\n",
    "A!#$%&'*+-.^_`|~0: b\r\n",
    "\u{e9}: b\r\n",
    "A: \u{e9}\r\n",
    "A: \u{1f600}\r\n",
    "A: b\0c\r\n",
    "A\0: b\r\n",
    "A: b\x07c\r\n",
    "A: b\x7fc\r\n",
    "A: b\x1b[0m\r\n",
    "A: b\rc\r\n",
    "A: b\r\r\n",
    "A: b\nC: d\r\n",
    "A: b\n\r",
    "A: b\n",
    "A: \"b\r\n",
    "A: \"b\\\r\n",
    "A: (b\r\n",
    "GET /inside HTTP/1.1\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "--boundary\r\n",
    "X-Fc-Request-Id: 1\r\n",
];

const CONNECTIONS: [&str; 32] = [
    "close",
    "Close",
    "CLOSE",
    "close ",
    " close",
    "close,",
    ",close",
    "close, keep-alive",
    "keep-alive, close",
    "close,close",
    "close;q=1",
    "\"close\"",
    "closed",
    "close x",
    "keep-alive",
    "Keep-Alive",
    "keep-alive, keep-alive",
    "Content-Length",
    "close, Content-Length",
    "keep-alive, Transfer-Encoding",
    "Transfer-Encoding",
    "TE",
    "Host",
    "host, content-length, transfer-encoding",
    "Connection",
    "Upgrade",
    "upgrade, keep-alive",
    "Upgrade, HTTP2-Settings",
    "",
    ",",
    "x",
    "Expect",
];

const EXPECTATIONS: [&str; 20] = [
    "100-continue",
    "100-Continue",
    "100-CONTINUE",
    " 100-continue ",
    "100-continue\t",
    "\"100-continue\"",
    "100-continue;a=b",
    "100-continue, 100-continue",
    "100-continue,",
    ",100-continue",
    "100-continue, x",
    "x, 100-continue",
    "100 continue",
    "100continue",
    "100-continu",
    "100-continuee",
    "x",
    "y 100-continue",
    "",
    "200-ok",
];

const UPGRADES: [&str; 8] = [
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "Upgrade: h2c\r\n",
    "Upgrade: h2c\r\nConnection: upgrade\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 777\r\n",
    "Upgrade: HTTP/2.0\r\nConnection: Upgrade\r\n",
    "Upgrade:\r\nConnection: Upgrade\r\n",
    "Upgrade: TLS/1.0\r\nConnection: close, Upgrade\r\n",
];

const METHOD_OVERRIDES: [&str; 12] = [
    "X-HTTP-Method-Override: DELETE",
    "X-Original-URL: /other",
    "X-Rewrite-URL: /other",
    "X-Forwarded-Host: other",
    "Forwarded: host=other",
    "TE: trailers",
    "TE: chunked",
    "Trailer: Content-Length",
    "Keep-Alive: timeout=5, max=1",
    "Proxy-Connection: close",
    "Content-Encoding: chunked",
    "Content-Type: multipart/byteranges; boundary=5",
];

pub(super) fn add(corpus: &mut Corpus) {
    for hosts in HOSTS {
        for (version, group) in [("1.1", &b"host"[..]), ("1.0", b"host10")] {
            let keep = if version == "1.0" { "Connection: keep-alive\r\n" } else { "" };
            let request = format!("GET /a HTTP/{version}\r\n{keep}{hosts}\r\n");
            corpus.add(&[group, hosts.as_bytes()], request.into_bytes());
            let request = format!("GET http://a/a HTTP/{version}\r\n{keep}{hosts}\r\n");
            corpus.add(&[group, b"absolute", hosts.as_bytes()], request.into_bytes());
        }
    }
    for odd in ODD.map(str::as_bytes) {
        corpus.add(&[b"field", b"bare", odd], message(b"GET /a HTTP/1.1", &[odd], b""));
        corpus.add(&[b"field", b"first", odd], [b"GET /a HTTP/1.1\r\n", odd, b"Host: test\r\n\r\n"].concat());
        corpus.add(&[b"field", b"sized", odd], post(&[odd, CL], SIZED));
        corpus.add(&[b"field", b"chunked", odd], post(&[odd, TE], CHUNKED));
    }
    for value in CONNECTIONS.map(str::as_bytes) {
        let it = field(b"Connection", value);
        corpus.add(&[b"connection", b"bare", value], message(b"GET /a HTTP/1.1", &[&it], b""));
        corpus.add(&[b"connection", b"http10", value], message(b"GET /a HTTP/1.0", &[&it], b""));
        corpus.add(&[b"connection", b"sized", value], post(&[&it, CL], SIZED));
        corpus.add(&[b"connection", b"chunked", value], post(&[TE, &it], CHUNKED));
        let twice = field(b"Connection", b"keep-alive");
        corpus.add(&[b"connection", b"twice", value], message(b"GET /a HTTP/1.0", &[&it, &twice], b""));
    }
    for value in EXPECTATIONS.map(str::as_bytes) {
        let it = field(b"Expect", value);
        corpus.add(&[b"expect", b"bare", value], message(b"GET /a HTTP/1.1", &[&it], b""));
        corpus.add(&[b"expect", b"sized", value], post(&[&it, CL], SIZED));
        corpus.add(&[b"expect", b"chunked", value], post(&[&it, TE], CHUNKED));
        let old = message(b"POST /a HTTP/1.0", &[b"Connection: keep-alive\r\n", &it, CL], SIZED);
        corpus.add(&[b"expect", b"http10", value], old);
        let twice = field(b"Expect", b"100-continue");
        corpus.add(&[b"expect", b"twice", value], post(&[&it, &twice, CL], SIZED));
    }
    for upgrade in UPGRADES.map(str::as_bytes) {
        corpus.add(&[b"upgrade", b"bare", upgrade], message(b"GET /a HTTP/1.1", &[upgrade], b""));
        corpus.add(&[b"upgrade", b"sized", upgrade], post(&[upgrade, CL], SIZED));
        corpus.add(&[b"upgrade", b"chunked", upgrade], post(&[upgrade, TE], CHUNKED));
    }
    for misleading in METHOD_OVERRIDES.map(str::as_bytes) {
        let it = [misleading, b"\r\n"].concat();
        corpus.add(&[b"misleading", b"bare", misleading], message(b"GET /a HTTP/1.1", &[&it], b""));
        corpus.add(&[b"misleading", b"sized", misleading], post(&[&it, CL], SIZED));
        corpus.add(&[b"misleading", b"chunked", misleading], post(&[&it, TE], CHUNKED));
    }
    many_and_long(corpus);
}

fn many_and_long(corpus: &mut Corpus) {
    for count in [50usize, 97, 120] {
        let fields: Vec<u8> = (0..count).flat_map(|number| format!("X-{number}: y\r\n").into_bytes()).collect();
        corpus.add(&[b"many", count.to_string().as_bytes()], post(&[&fields, CL], SIZED));
    }
    for bytes in [255usize, 256, 257, 4000, 20000] {
        let (long, name) = ("a".repeat(bytes), bytes.to_string());
        corpus.add(&[b"long", b"value", name.as_bytes()], post(&[&field(b"X", long.as_bytes()), CL], SIZED));
        corpus.add(&[b"long", b"name", name.as_bytes()], post(&[&field(long.as_bytes(), b"y"), CL], SIZED));
        let spaces = [b"Content-Length:", " ".repeat(bytes).as_bytes(), b"5\r\n"].concat();
        corpus.add(&[b"long", b"space", name.as_bytes()], post(&[&spaces], SIZED));
    }
}
