//! Request lines: methods, targets, versions, and the bytes around them (RFC 9112 §2, §3).

use super::{Corpus, message};

const TARGETS: [&str; 66] = [
    "/",
    "/a?b=c",
    "/a?",
    "/?b",
    "//",
    "//host/a",
    "///",
    "/.",
    "/..",
    "/../a",
    "/a/./b/../c",
    "/a//b",
    "/a;b=c",
    "/a,b",
    "/%41",
    "/%2e",
    "/%2F",
    "/%00",
    "/%0d%0a",
    "/%",
    "/%4",
    "/%zz",
    "/a#b",
    "/#",
    "/a?b#c",
    "/a|b",
    "/a\"b",
    "/a<b>",
    "/a\\b",
    "\\a",
    "/a^`b",
    "/{a}",
    "/[a]",
    "/a:b",
    "/a@b",
    "/*",
    "*",
    "**",
    "a",
    "a/b",
    "a:80",
    "test:80",
    "host",
    "?a",
    "#a",
    ".",
    "..",
    "./a",
    "http://host/a",
    "HTTP://host/a",
    "http://host",
    "http://host?a",
    "http://host/?a",
    "http://host#a",
    "http://host:80/a",
    "http://user@host/a",
    "http://user:pass@host/a",
    "http://",
    "http:///a",
    "http:/a",
    "http:a",
    "https://host/a",
    "ftp://host/a",
    "http://[::1]/a",
    "http://ho st/a",
    "://host/a",
];

const METHODS: [&str; 40] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "CONNECT",
    "PURGE",
    "PRI",
    "get",
    "Get",
    "gET",
    "G",
    "GETT",
    "GE",
    "M-SEARCH",
    "A.B",
    "A!#$%&'*+-.^_`|~Z",
    "123",
    "GET:",
    "GET,",
    "GET;",
    "GET/",
    "GET\\",
    "\"GET\"",
    "(GET)",
    "{GET}",
    "GET@",
    "GET=",
    "GET?",
    "[GET]",
    "G ET",
    "G\tET",
    "\u{e9}",
    "GET\u{a0}",
    "",
    "HTTP/1.1",
    "AVERYLONGMETHODTHATNOBODYHASEVERHEARDOF",
];

const VERSIONS: [&str; 48] = [
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/1.9",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/2",
    "HTTP/3.0",
    "HTTP/9.9",
    "HTTP/0.0",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
    "HTTP/1.10",
    "HTTP/1.01",
    "HTTP/01.1",
    "HTTP/1.1.1",
    "HTTP/11",
    "HTTP/1,1",
    "HTTP/1 .1",
    "HTTP/ 1.1",
    "HTTP /1.1",
    "HTTP/+1.1",
    "HTTP/1.+1",
    "HTTP/-1.1",
    "HTTP/1.1a",
    "HTTP/a.b",
    "HTTP/1.x",
    "HTTP/0x1.1",
    "http/1.1",
    "Http/1.1",
    "hTTP/1.1",
    "HTTPS/1.1",
    "HTTP\\1.1",
    "HTTP1.1",
    "HTP/1.1",
    "HTTPX/1.1",
    "ICY/1.1",
    "RTSP/1.0",
    "ICE/1.0",
    "SHTTP/1.1",
    "1.1",
    "HTTP",
    "HTTP/",
    "",
    "HTTP/1.1 HTTP/1.1",
    "HTTP/\u{ff11}.1",
    "HTTP/1.1\u{a0}",
];

/// Whole request lines without their line end.
const LINES: [&str; 40] = [
    "GET  /a HTTP/1.1",
    "GET   /a HTTP/1.1",
    "GET /a  HTTP/1.1",
    "GET\t/a HTTP/1.1",
    "GET /a\tHTTP/1.1",
    "GET\t/a\tHTTP/1.1",
    "GET \t/a HTTP/1.1",
    "GET\x0b/a HTTP/1.1",
    "GET /a\x0bHTTP/1.1",
    "GET\x0c/a HTTP/1.1",
    "GET\0/a HTTP/1.1",
    "GET\r/a HTTP/1.1",
    "GET /a\rHTTP/1.1",
    "GET\u{a0}/a HTTP/1.1",
    " GET /a HTTP/1.1",
    "\tGET /a HTTP/1.1",
    "\0GET /a HTTP/1.1",
    "\x0bGET /a HTTP/1.1",
    "\u{feff}GET /a HTTP/1.1",
    "GET /a HTTP/1.1 ",
    "GET /a HTTP/1.1  ",
    "GET /a HTTP/1.1\t",
    "GET /a HTTP/1.1\x0b",
    "GET /a HTTP/1.1\0",
    "GET /a HTTP/1.1\r",
    "GET /a HTTP/1.1 x",
    "GET /a b HTTP/1.1",
    "GET /a\tb HTTP/1.1",
    "GET /a\u{a0}b HTTP/1.1",
    "GET /a HTTP/1.1 HTTP/1.0",
    "GET /a HTTP/1.0 HTTP/1.1",
    "GET/a HTTP/1.1",
    "GET /aHTTP/1.1",
    "GET HTTP/1.1",
    "GET  HTTP/1.1",
    "GET /a",
    "GET /a ",
    "GET",
    "/a",
    "HTTP/1.1 200 OK",
];

const LINE_ENDS: [&str; 13] = [
    "\r\n",
    "\n",
    "\r",
    "\r\r\n",
    "\n\r",
    "\r\n\r\n",
    "\r\n \r\n",
    "\n\n",
    " \r\n",
    "\t\r\n",
    "\0\r\n",
    "\x0b\r\n",
    "\u{85}",
];

/// Bytes before a request.
const BEFORE: [&str; 16] = [
    "\r\n",
    "\r\n\r\n",
    "\r\n\r\n\r\n\r\n\r\n\r\n",
    "\n",
    "\n\n",
    "\r\n\n",
    "\n\r\n",
    "\r",
    "\r\r\n",
    "\r\r",
    " \r\n",
    "\t\r\n",
    "\0",
    "\x16\x03\x01\x02\x00\x01",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
];

pub(super) fn add(corpus: &mut Corpus) {
    for target in TARGETS {
        for method in ["GET", "OPTIONS"] {
            let line = format!("{method} {target} HTTP/1.1");
            corpus.add(&[b"target", method.as_bytes(), target.as_bytes()], message(line.as_bytes(), &[], b""));
        }
    }
    for target in ["test:80", "test", "/a", "*", "http://test/a"] {
        let line = format!("CONNECT {target} HTTP/1.1");
        corpus.add(&[b"target", b"CONNECT", target.as_bytes()], message(line.as_bytes(), &[], b""));
    }
    corpus.add(&[b"target", b"GET", b"nothing-one-space"], message(b"GET HTTP/1.1", &[b"X: y\r\n"], b""));
    for bytes in [1000, 4000, 6000] {
        let line = format!("GET /{} HTTP/1.1", "a".repeat(bytes));
        corpus.add(&[b"target", b"long", bytes.to_string().as_bytes()], message(line.as_bytes(), &[], b""));
    }
    for method in METHODS {
        let line = format!("{method} /a HTTP/1.1");
        corpus.add(&[b"method", b"bare", method.as_bytes()], message(line.as_bytes(), &[], b""));
        let body = message(line.as_bytes(), &[super::CL], super::SIZED);
        corpus.add(&[b"method", b"sized", method.as_bytes()], body);
        let body = message(line.as_bytes(), &[super::TE], super::CHUNKED);
        corpus.add(&[b"method", b"chunked", method.as_bytes()], body);
    }
    for version in VERSIONS {
        let line = format!("POST /a {version}");
        let keep: &[u8] = b"Connection: keep-alive\r\n";
        corpus.add(&[b"version", b"bare", version.as_bytes()], message(line.as_bytes(), &[keep], b""));
        corpus.add(
            &[b"version", b"sized", version.as_bytes()],
            message(line.as_bytes(), &[keep, super::CL], super::SIZED),
        );
        let body = message(line.as_bytes(), &[keep, super::TE], super::CHUNKED);
        corpus.add(&[b"version", b"chunked", version.as_bytes()], body);
    }
    for line in LINES {
        corpus.add(&[b"line", line.as_bytes()], message(line.as_bytes(), &[], b""));
    }
    corpus.add(&[b"line", b"http09"], b"GET /a\r\n".to_vec());
    corpus.add(&[b"line", b"http09-bare"], b"GET /a\n".to_vec());
    for end in LINE_ENDS {
        let name = end.as_bytes();
        corpus.add(&[b"line-end", b"first", name], format!("GET /a HTTP/1.1{end}Host: test\r\n\r\n").into_bytes());
        corpus.add(&[b"line-end", b"field", name], format!("GET /a HTTP/1.1\r\nHost: test{end}\r\n").into_bytes());
        corpus.add(
            &[b"line-end", b"between", name],
            format!("GET /a HTTP/1.1\r\nHost: test{end}A: b\r\n\r\n").into_bytes(),
        );
        corpus.add(&[b"line-end", b"final", name], format!("GET /a HTTP/1.1\r\nHost: test\r\n{end}").into_bytes());
        let all = ["GET /a HTTP/1.1", "Host: test", "A: b", "", ""].join(end);
        corpus.add(&[b"line-end", b"all", name], all.into_bytes());
        let sized = ["POST /a HTTP/1.1", "Host: test", "Content-Length: 5", "", "hello"].join(end);
        corpus.add(&[b"line-end", b"all-sized", name], sized.into_bytes());
    }
    for before in BEFORE {
        let request = message(b"GET /a HTTP/1.1", &[], b"");
        corpus.add(&[b"before", before.as_bytes()], [before.as_bytes(), &request].concat());
        let body = message(b"POST /a HTTP/1.1", &[super::CL], super::SIZED);
        corpus.add(&[b"behind-body", before.as_bytes()], [&body, before.as_bytes()].concat());
    }
}
