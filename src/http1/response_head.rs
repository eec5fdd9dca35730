//! Heads of replies, and the framing of streamed ones, as bytes.
//!
//! Appends to a buffer and never fails: what could not be written on the wire was refused when the
//! [`Reply`](crate::Reply) was built. Must not know callbacks or sockets.

use crate::http1::error::ProtocolError;

/// `100 Continue`, whole.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The end of a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the end of a reply's body is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection closes (a streamed reply to HTTP/1.0).
    Close,
    /// A status that has no body (204, 304): no framing header at all.
    NoBody,
}

/// What a head says beside the author's own headers.
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// `x-fc-status: 404` instead of `200` (C-INV-3).
    pub(crate) failed: bool,
    pub(crate) end: BodyEnd,
    pub(crate) connection: ConnectionHeader,
}

/// What is said about the connection's future; HTTP/1.1 stays open without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionHeader {
    Omit,
    KeepAlive,
    Close,
}

/// Appends a whole head.
pub(crate) fn write_head<'a>(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    content_type: Option<&str>,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) {
    if head.status == 200 && !head.failed {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\nx-fc-status: 200\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(out, u64::from(head.status));
        out.push(b' ');
        out.extend_from_slice(reason(head.status).as_bytes());
        out.extend_from_slice(if head.failed { b"\r\nx-fc-status: 404\r\n" } else { b"\r\nx-fc-status: 200\r\n" });
    }
    if let Some(content_type) = content_type {
        line(out, "content-type", content_type);
    }
    for (name, value) in headers {
        line(out, name, value);
    }
    match head.connection {
        ConnectionHeader::Omit => {}
        ConnectionHeader::KeepAlive => line(out, "connection", "keep-alive"),
        ConnectionHeader::Close => line(out, "connection", "close"),
    }
    match head.end {
        BodyEnd::Length(bytes) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        BodyEnd::Chunked => line(out, "transfer-encoding", "chunked"),
        BodyEnd::Close | BodyEnd::NoBody => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the whole answer to a request that was refused, without content if that is not asked for; the connection
/// closes behind it.
pub(crate) fn write_rejection(out: &mut Vec<u8>, error: ProtocolError, with_content: bool) {
    write_rejection_of(out, error.status(), error.message(), with_content);
}

/// As [`write_rejection`], for a rule of the engine's own; the message is plain ASCII without quotes.
pub(crate) fn write_rejection_of(out: &mut Vec<u8>, status: u16, message: &str, with_content: bool) {
    let (before, after) = (br#"{"errorMessage":""#, br#"","errorType":"ProtocolError"}"#);
    let message = message.as_bytes();
    let body_bytes = before.len() + message.len() + after.len();
    let head = ResponseHead {
        status,
        failed: true,
        end: BodyEnd::Length(body_bytes as u64),
        connection: ConnectionHeader::Close,
    };
    write_head(out, &head, Some("application/json"), std::iter::empty());
    if with_content {
        for part in [&before[..], message, &after[..]] {
            out.extend_from_slice(part);
        }
    }
}

/// Appends the size line of a chunk; its data and a CRLF follow.
pub(crate) fn chunk_size(out: &mut Vec<u8>, bytes: usize) {
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut at = digits.len();
    let mut rest = bytes;
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `core::fmt` would do the same in ten times the instructions, once or twice for each reply.
fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The reason phrase of RFC 9110 §15; empty for codes it does not name, as RFC 9112 §4 allows.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Dispatcher Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
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
            let head = ResponseHead { status: 200, failed: false, end, connection };
            let seen = text(|out| write_head(out, &head, Some("text/plain"), [("a", "b"), ("c", "")].into_iter()));
            let expected = "HTTP/1.1 200 OK\r\nx-fc-status: 200\r\ncontent-type: text/plain\r\na: b\r\nc: \r\n";
            assert_eq!(seen, format!("{expected}{tail}\r\n"));
        }
    }

    #[test]
    fn a_status_without_a_phrase_keeps_its_space() {
        let head = ResponseHead { status: 299, failed: true, end: BodyEnd::NoBody, connection: ConnectionHeader::Omit };
        let seen = text(|out| write_head(out, &head, None, std::iter::empty()));
        assert_eq!(seen, "HTTP/1.1 299 \r\nx-fc-status: 404\r\n\r\n");
    }

    /// The length is right and the body is JSON, for every refusal there is.
    #[test]
    fn refusals_are_whole() {
        use ProtocolError::*;
        for error in [BareLineFeed, TargetTooLong, HeadTooLarge, BodyTooLarge, UnknownCoding, Version, BodyTimeout] {
            let seen = text(|out| write_rejection(out, error, true));
            let (head, body) = seen.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", error.status())), "{head}");
            assert!(head.contains("\r\nx-fc-status: 404\r\n") && head.contains("\r\nconnection: close\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["errorMessage"], error.message());
            assert_eq!(text(|out| write_rejection(out, error, false)), format!("{head}\r\n\r\n"));
        }
    }

    #[test]
    fn chunk_sizes() {
        for (bytes, expected) in [(0, "0\r\n"), (9, "9\r\n"), (16, "10\r\n"), (16384, "4000\r\n")] {
            assert_eq!(text(|out| chunk_size(out, bytes)), expected);
        }
    }
}
