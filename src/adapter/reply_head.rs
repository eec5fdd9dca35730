//! The head of a program's reply: whether it can be trusted, and how its body ends (RFC 9112 §6.3).
//!
//! As strict as the parser of requests where two readers could disagree: CRLF only, no folding, one length and none
//! beside a transfer coding, no coding but `chunked`. Pure.

use crate::adapter::relay::{Reader, Relay};
use crate::http1::fields::{self, FieldError, Header};
use crate::limits::Limits;
use crate::platform::headers;
use crate::tuning::HEADERS_CAPACITY;
use std::fmt;

/// A reply's head, which borrows from the buffer that it arrived in.
pub(crate) struct ReplyHead<'a> {
    pub(crate) status: u16,
    /// The reason phrase, perhaps empty.
    pub(crate) reason: &'a str,
    pub(crate) headers: &'a [Header<'a>],
    /// The bytes of the head.
    pub(crate) bytes: usize,
    /// How a body would end; whether there is one depends on the request, too.
    pub(crate) body: Reader,
    /// The program keeps the connection open behind the reply.
    pub(crate) keeps: bool,
    /// The program says itself whether the call has failed.
    pub(crate) own_status: Option<bool>,
    /// After how much time without a request the program closes the connection, if it says so.
    pub(crate) idle_seconds_max: Option<u32>,
}

/// Why a reply is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokenReply {
    NotHttp,
    BareLineFeed,
    TooLarge,
    Length,
    Coding,
    LengthAndCoding,
    /// It changes the protocol although the request did not ask for that.
    Upgrade,
    Chunk,
}

impl fmt::Display for BrokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BrokenReply::NotHttp => "its head is not HTTP/1.1",
            BrokenReply::BareLineFeed => "a line of its head ends in LF without CR",
            BrokenReply::TooLarge => "its head is too large",
            BrokenReply::Length => "its Content-Length is not one whole number",
            BrokenReply::Coding => "its Transfer-Encoding is not chunked",
            BrokenReply::LengthAndCoding => "it has both Content-Length and Transfer-Encoding",
            BrokenReply::Upgrade => "it changes the protocol unasked",
            BrokenReply::Chunk => "a chunk of it is malformed",
        })
    }
}

/// Parses the head at the beginning of `bytes`; None if it is not whole yet.
pub(crate) fn parse<'s, 'a: 's>(
    bytes: &'a [u8],
    headers: &'s mut Vec<Header<'a>>,
    limits: &Limits,
) -> Result<Option<ReplyHead<'s>>, BrokenReply> {
    let (status, reason, minor, length) = match read(bytes, headers) {
        Ok(head) => head,
        Err(FieldError::Partial) if bytes.len() > limits.head_bytes_max => return Err(BrokenReply::TooLarge),
        Err(FieldError::Partial) => return Ok(None),
        Err(FieldError::TooMany) => return Err(BrokenReply::TooLarge),
        Err(FieldError::BareLineFeed) => return Err(BrokenReply::BareLineFeed),
        Err(FieldError::Malformed) => return Err(BrokenReply::NotHttp),
    };
    if length > limits.head_bytes_max {
        return Err(BrokenReply::TooLarge);
    }
    let mut head = ReplyHead {
        status,
        reason,
        headers,
        bytes: length,
        body: Reader::UntilClose,
        keeps: minor == 1,
        own_status: None,
        idle_seconds_max: None,
    };
    head.read_headers()?;
    Ok(Some(head))
}

impl ReplyHead<'_> {
    fn read_headers(&mut self) -> Result<(), BrokenReply> {
        let (mut length, mut is_chunked) = (None, false);
        // RFC 9112 §6.1: in HTTP/1.0 a coding means that the framing is faulty.
        let is_http10 = !self.keeps;
        for header in self.headers {
            let is = |name: &str| header.is(name);
            match header.name.len() {
                10 if is("connection") => {
                    for option in header.value.split(|byte| *byte == b',').map(|option| option.trim_ascii()) {
                        self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                        if option.eq_ignore_ascii_case(b"close") {
                            self.keeps = false;
                            break;
                        }
                    }
                }
                10 if is("keep-alive") => self.idle_seconds_max = timeout(header.value),
                14 if is("content-length") => {
                    let number = whole_number(header.value).filter(|_| length.is_none());
                    length = Some(number.ok_or(BrokenReply::Length)?);
                }
                17 if is("transfer-encoding") => {
                    if is_http10 || is_chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(BrokenReply::Coding);
                    }
                    is_chunked = true;
                }
                11 if is(headers::STATUS) => self.own_status = Some(header.value == headers::STATUS_FAILED.as_bytes()),
                _ => {}
            }
        }
        self.body = match (is_chunked, length) {
            (true, Some(_)) => return Err(BrokenReply::LengthAndCoding),
            (true, None) => Relay::chunked(usize::MAX),
            (false, Some(length)) => Reader::Sized(length),
            (false, None) => Reader::UntilClose,
        };
        Ok(())
    }

    /// The reply has no body, whatever its headers say.
    pub(crate) fn is_bodiless(&self, to_head: bool) -> bool {
        to_head || matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// Status, reason phrase, minor version and the bytes of the head (RFC 9112 §4).
fn read<'a>(bytes: &'a [u8], headers: &mut Vec<Header<'a>>) -> Result<(u16, &'a str, u8, usize), FieldError> {
    let minor = match bytes.first_chunk() {
        Some(b"HTTP/1.1") => 1,
        Some(b"HTTP/1.0") => 0,
        None if b"HTTP/1.".starts_with(bytes) => return Err(FieldError::Partial),
        _ if bytes.starts_with(b"\n") || bytes.starts_with(b"\r\n") => return Err(FieldError::BareLineFeed),
        _ => return Err(FieldError::Malformed),
    };
    let code = &bytes[8..];
    let fits = |(index, byte): (usize, &u8)| if index == 0 { *byte == b' ' } else { byte.is_ascii_digit() };
    if !code.iter().take(4).enumerate().all(fits) {
        return Err(FieldError::Malformed);
    }
    let Some([_, digits @ ..]) = code.first_chunk::<4>() else { return Err(FieldError::Partial) };
    let status = digits.iter().fold(0, |sum, digit| 10 * sum + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return Err(FieldError::Malformed);
    }
    let mut reason_end = 12;
    if bytes.get(12) == Some(&b' ') {
        reason_end = 13 + fields::text_bytes(&bytes[13..]);
    }
    let line_end = fields::line_end(bytes, reason_end)?;
    // A reason that is no ASCII is not passed on: nobody knows its encoding.
    let reason = bytes.get(13..reason_end).unwrap_or_default();
    let reason = std::str::from_utf8(reason).ok().filter(|reason| reason.is_ascii()).unwrap_or_default();
    let length = fields::parse(bytes, line_end, headers, HEADERS_CAPACITY)?;
    Ok((status, reason, minor, length))
}

/// `1*DIGIT`, of at most 64 bits: no body is longer.
fn whole_number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| value.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))))?
}

/// `timeout=5` of a `Keep-Alive` header.
fn timeout(value: &[u8]) -> Option<u32> {
    let parameters = value.split(|byte| *byte == b',').map(|parameter| parameter.trim_ascii());
    let seconds = parameters.filter_map(|parameter| parameter.strip_prefix(b"timeout=")).next()?;
    whole_number(seconds)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(bytes: &str, look: impl Fn(&ReplyHead<'_>) -> T) -> Result<Option<T>, BrokenReply> {
        let mut storage = Vec::new();
        parse(bytes.as_bytes(), &mut storage, &Limits::default()).map(|head| head.as_ref().map(&look))
    }

    #[test]
    fn bodies_and_connections() {
        let chunked = Relay::chunked(usize::MAX);
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\n", 200, Reader::UntilClose, true),
            ("HTTP/1.1 200\r\n\r\n", 200, Reader::UntilClose, true),
            ("HTTP/1.0 200 OK\r\n\r\n", 200, Reader::UntilClose, false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab", 200, Reader::Sized(2), true),
            ("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", 204, Reader::UntilClose, false),
            (
                "HTTP/1.1 200 OK\r\nconnection: keep-alive, Close\r\ncontent-length: 0\r\n\r\n",
                200,
                Reader::Sized(0),
                false,
            ),
            ("HTTP/1.1 500 \r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 500, chunked, true),
        ];
        for (bytes, status, body, keeps) in cases {
            let seen = with(bytes, |head| (head.status, head.body, head.keeps, head.bytes)).unwrap().unwrap();
            let head_bytes = bytes.find("\r\n\r\n").unwrap() + 4;
            assert_eq!(seen, (status, body, keeps, head_bytes), "{bytes:?}");
            for end in 0..head_bytes {
                assert_eq!(with(&bytes[..end], |head| head.status), Ok(None), "{end} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn broken_replies() {
        use BrokenReply::*;
        let line = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        let cases = [
            ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), NotHttp),
            ("hello\r\n".to_owned(), NotHttp),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), BareLineFeed),
            ("HTTP/1.1 99 OK\r\n\r\n".to_owned(), NotHttp),
            ("HTTP/1.1 099 OK\r\n\r\n".to_owned(), NotHttp),
            ("HTTP/1.1 600 OK\r\n\r\n".to_owned(), NotHttp),
            ("HTTP/1.1 200 OK\n\n".to_owned(), BareLineFeed),
            (line("a: b\nc: d"), BareLineFeed),
            (line("a: b\r\n folded"), NotHttp),
            (line("a b: c"), NotHttp),
            (line("a : c"), NotHttp),
            (line("content-length: +1"), Length),
            (line("content-length: 1, 1"), Length),
            (line("content-length: 1\r\ncontent-length: 1"), Length),
            (line("content-length:"), Length),
            (line("content-length: 18446744073709551616"), Length),
            (line("transfer-encoding: gzip, chunked"), Coding),
            (line("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), Coding),
            (line("transfer-encoding: identity"), Coding),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), Coding),
            (line("transfer-encoding: chunked\r\ncontent-length: 1"), LengthAndCoding),
            (line(&format!("a: {}", "b".repeat(40_000))), TooLarge),
            (format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(40_000)), TooLarge),
        ];
        for (bytes, expected) in cases {
            assert_eq!(with(&bytes, |_| ()), Err(expected), "{:?}", &bytes[..bytes.len().min(80)]);
        }
    }

    #[test]
    fn what_the_program_says_of_itself() {
        let own =
            |line: &str| with(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), |head| head.own_status).unwrap().unwrap();
        assert_eq!([own("x-fc-status: 404"), own("X-Fc-Status: 200"), own("a: b")], [Some(true), Some(false), None]);
        let idle = |value| {
            let reply = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\n\r\n");
            with(&reply, |head| head.idle_seconds_max).unwrap().unwrap()
        };
        assert_eq!([idle("timeout=5"), idle("max=3, timeout=72"), idle("x")], [Some(5), Some(72), None]);
    }
}
