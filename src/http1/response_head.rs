//! The bytes of response heads, and the framing of streamed bodies.
//!
//! Everything is appended to a buffer and cannot fail: [`Reply`](crate::Reply) has checked what goes on the wire. Must
//! not know callbacks, sockets or the platform.

/// A whole `100 Continue` response.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The end of a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the client learns the end of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection closes (a streamed body for HTTP/1.0).
    Close,
    /// There is no framing header: the status has no body (204, 304), or the reply to HEAD stands for a stream.
    NoBody,
}

/// The parts of a head that are not the author's headers.
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Header lines that stand first, each with a CRLF in front of it. They are written as they are.
    pub(crate) extra_lines: &'static [u8],
    pub(crate) end: BodyEnd,
    pub(crate) connection: ConnectionHeader,
}

/// The `connection` header. HTTP/1.1 keeps a connection open without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionHeader {
    Omit,
    KeepAlive,
    Close,
}

/// Appends a whole head. Each line begins with the CRLF that ends the line before it: that makes the fewest pieces.
pub(crate) fn write_head<'a>(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    content_type: Option<&str>,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) {
    if head.status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(out, u64::from(head.status));
        out.push(b' ');
        out.extend_from_slice(reason(head.status));
    }
    out.extend_from_slice(head.extra_lines);
    if let Some(content_type) = content_type {
        out.extend_from_slice(b"\r\ncontent-type: ");
        out.extend_from_slice(content_type.as_bytes());
    }
    for (name, value) in headers {
        for part in ["\r\n", name, ": ", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    match head.connection {
        ConnectionHeader::Omit => {}
        ConnectionHeader::KeepAlive => out.extend_from_slice(b"\r\nconnection: keep-alive"),
        ConnectionHeader::Close => out.extend_from_slice(b"\r\nconnection: close"),
    }
    match head.end {
        BodyEnd::Length(bytes) => {
            out.extend_from_slice(b"\r\ncontent-length: ");
            decimal(out, bytes);
        }
        BodyEnd::Chunked => out.extend_from_slice(b"\r\ntransfer-encoding: chunked"),
        BodyEnd::Close | BodyEnd::NoBody => {}
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the size line of a chunk. Its data and a CRLF follow.
pub(crate) fn chunk_size(out: &mut Vec<u8>, bytes: usize) {
    hexadecimal(out, bytes);
    out.extend_from_slice(b"\r\n");
}

/// A loop over a buffer of digits would be unrolled to a kilobyte. So would `decimal`.
fn hexadecimal(out: &mut Vec<u8>, number: usize) {
    if number >= 16 {
        hexadecimal(out, number / 16);
    }
    out.push(b"0123456789abcdef"[number % 16]);
}

/// `core::fmt` would take ten times the instructions, once or twice for each response.
fn decimal(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        decimal(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// Makes one text of all phrases, and a table of codes and lengths: a `match` would take twice the bytes.
macro_rules! phrases {
    ($($code:literal $phrase:literal)*) => {
        const PHRASES: &[u8] = concat!($($phrase),*).as_bytes();
        const CODES: &[(u16, u8)] = &[$(($code, $phrase.len() as u8)),*];
    };
}

phrases! {
    200 "OK"
    201 "Created"
    202 "Accepted"
    203 "Non-Authoritative Information"
    204 "No Content"
    205 "Reset Content"
    206 "Partial Content"
    300 "Multiple Choices"
    301 "Moved Permanently"
    302 "Found"
    303 "See Other"
    304 "Not Modified"
    305 "Use Proxy"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    402 "Payment Required"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    407 "Proxy Authentication Required"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    411 "Length Required"
    412 "Precondition Failed"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    416 "Range Not Satisfiable"
    417 "Expectation Failed"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    426 "Upgrade Required"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
}

/// The reason phrase of RFC 9110 §15; empty for other codes, as RFC 9112 §4 allows.
fn reason(status: u16) -> &'static [u8] {
    let mut rest = PHRASES;
    for (code, bytes) in CODES {
        let (phrase, others) = rest.split_at(usize::from(*bytes));
        if *code == status {
            return phrase;
        }
        rest = others;
    }
    b""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(build: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        build(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn heads() {
        let cases = [
            (BodyEnd::Length(0), ConnectionHeader::Omit, "content-length: 0\r\n"),
            (BodyEnd::Length(u64::MAX), ConnectionHeader::Omit, "content-length: 18446744073709551615\r\n"),
            (BodyEnd::Chunked, ConnectionHeader::KeepAlive, "connection: keep-alive\r\ntransfer-encoding: chunked\r\n"),
            (BodyEnd::Close, ConnectionHeader::Close, "connection: close\r\n"),
            (BodyEnd::NoBody, ConnectionHeader::Omit, ""),
        ];
        for (end, connection, tail) in cases {
            let head = ResponseHead { status: 200, extra_lines: b"\r\nx-extra: 1", end, connection };
            let seen = text(|out| write_head(out, &head, Some("text/plain"), [("a", "b"), ("c", "")].into_iter()));
            let expected = "HTTP/1.1 200 OK\r\nx-extra: 1\r\ncontent-type: text/plain\r\na: b\r\nc: \r\n";
            assert_eq!(seen, format!("{expected}{tail}\r\n"));
        }
    }

    /// RFC 9112 §4: the space stands there without a reason phrase too.
    #[test]
    fn status_lines() {
        let cases = [(204, "204 No Content"), (299, "299 "), (404, "404 Not Found"), (503, "503 Service Unavailable")];
        for (status, expected) in cases {
            let connection = ConnectionHeader::Omit;
            let head = ResponseHead { status, extra_lines: b"", end: BodyEnd::NoBody, connection };
            let seen = text(|out| write_head(out, &head, None, std::iter::empty()));
            assert_eq!(seen, format!("HTTP/1.1 {expected}\r\n\r\n"));
        }
    }

    /// RFC 9110 §15 has a phrase for each of these; §15.4.7 and §15.5.19 say that 306 and 418 are unused.
    #[test]
    fn every_status_of_the_standard_has_its_phrase() {
        let codes = [200..=206, 300..=308, 400..=417, 421..=422, 426..=426, 500..=505].into_iter().flatten();
        for status in codes.filter(|status| *status != 306) {
            assert!(!reason(status).is_empty(), "{status}");
        }
        let phrases = [200, 205, 306, 418, 505].map(|status| std::str::from_utf8(reason(status)).unwrap());
        assert_eq!(phrases, ["OK", "Reset Content", "", "", "HTTP Version Not Supported"]);
    }

    #[test]
    fn chunk_sizes() {
        for (bytes, expected) in [(0, "0\r\n"), (9, "9\r\n"), (16, "10\r\n"), (16384, "4000\r\n")] {
            assert_eq!(text(|out| chunk_size(out, bytes)), expected);
        }
    }
}
