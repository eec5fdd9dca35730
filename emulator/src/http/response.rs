//! Responses, parsed strictly enough to notice a broken one.
//!
//! Parsing takes bytes and does no I/O. It has three outcomes: a response, "more bytes are needed", or an error that no
//! further byte could repair.

use httparse::{EMPTY_HEADER, Status};

/// A head may have this many headers; the platform allows 8 KB of them (C-LIM-5).
const HEADERS_MAX: usize = 256;

/// One whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `1` for HTTP/1.1, `0` for HTTP/1.0.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// Names as they were sent, and values without the blanks around them, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The size of the status line and the headers, with the empty line that ends them.
    pub head_bytes: usize,
}

impl Response {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Whether the status is a success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server promises to keep the connection open.
    pub fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        let says = |word: &str| connection.split(',').any(|token| token.trim() == word);
        !says("close") && (self.minor_version > 0 || says("keep-alive"))
    }

    /// The body as text: cut after `chars_max` characters, and without control characters.
    pub fn body_text(&self, chars_max: usize) -> String {
        cut(&String::from_utf8_lossy(&self.body[..self.body.len().min(chars_max * 4)]), chars_max)
    }
}

/// The text on one line, cut after `chars_max` characters.
pub fn cut(text: &str, chars_max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.trim_end().chars().take(chars_max).map(clean).collect();
    if text.trim_end().chars().nth(chars_max).is_some() {
        short.push('…');
    }
    short
}

/// How a client finds the end of a body.
enum Framing {
    None,
    Sized(usize),
    Chunked,
    UntilClose,
}

/// Parses the response at the start of `bytes`: the response and its size in bytes, or `None` if more bytes are needed.
/// `closed` means that no more bytes will come; `bodiless` means that the request was HEAD.
///
/// # Errors
/// If the bytes are no response, or end before the response does; the text says where.
pub fn parse(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    let parsed = parse_open(bytes, closed, bodiless)?;
    if parsed.is_none() && closed {
        return Err(match bytes.is_empty() {
            true => "the target closed the connection without an answer".into(),
            false => format!("the target closed the connection within an answer, after {} bytes", bytes.len()),
        });
    }
    Ok(parsed)
}

/// The most interim responses (1xx) that are skipped before the final one. A target may send one or two, but not
/// thousands.
const INTERIM_MAX: usize = 100;

fn parse_open(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    let mut at = 0;
    for _ in 0..=INTERIM_MAX {
        match parse_one(&bytes[at..], closed, bodiless)? {
            None => return Ok(None),
            Some((response, used)) if is_interim(response.status) => at += used,
            Some((response, used)) => return Ok(Some((response, at + used))),
        }
    }
    Err(format!("the target sent more than {INTERIM_MAX} interim answers (1xx) and no final one"))
}

/// 101 is final: what follows is another protocol (RFC 9110 §15.2.2).
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// Parses one response, which may be an interim one.
fn parse_one(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    let Some(response) = parse_head(bytes)? else { return Ok(None) };
    let head_bytes = response.head_bytes;
    if is_interim(response.status) {
        return Ok(Some((response, head_bytes)));
    }
    let rest = &bytes[head_bytes..];
    let body = match framing(&response, bodiless)? {
        Framing::None => Some((Vec::new(), 0)),
        Framing::Sized(size) => rest.get(..size).map(|body| (body.to_vec(), size)),
        Framing::Chunked => decode_chunks(rest)?,
        Framing::UntilClose => closed.then(|| (rest.to_vec(), rest.len())),
    };
    Ok(body.map(|(body, used)| (Response { body, ..response }, head_bytes + used)))
}

fn parse_head(bytes: &[u8]) -> Result<Option<Response>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(Status::Complete(size)) => size,
        Ok(Status::Partial) => return Ok(None),
        Err(cause) => return Err(format!("the head is malformed ({cause}): `{}`", malformed_line(bytes))),
    };
    let status = head.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return Err(format!("the status {status} is not between 100 and 599"));
    }
    let text = |header: &httparse::Header<'_>| {
        (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let headers = head.headers.iter().map(text).collect();
    let minor_version = head.version.unwrap_or_default();
    Ok(Some(Response { minor_version, status, headers, body: Vec::new(), head_bytes }))
}

/// The first line that the parser refuses, cut for a message.
fn malformed_line(bytes: &[u8]) -> String {
    let refused = |end: &usize| {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        httparse::Response::new(&mut headers).parse(&bytes[..*end]).is_err()
    };
    let line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let end = line_ends.chain([bytes.len()]).find(refused).unwrap_or(bytes.len());
    let line = bytes[..end].trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    cut(&String::from_utf8_lossy(line), 60)
}

fn framing(response: &Response, bodiless: bool) -> Result<Framing, String> {
    if bodiless || matches!(response.status, 101 | 204 | 304) {
        return Ok(Framing::None);
    }
    if let Some(coding) = response.header("transfer-encoding") {
        return match coding.eq_ignore_ascii_case("chunked") {
            true => Ok(Framing::Chunked),
            false => Err(format!("unknown Transfer-Encoding `{}`", cut(coding, 40))),
        };
    }
    match response.header("content-length") {
        Some(length) => {
            length.parse().map(Framing::Sized).map_err(|_| format!("malformed Content-Length `{}`", cut(length, 40)))
        }
        None => Ok(Framing::UntilClose),
    }
}

/// Decodes a chunked body at the start of `bytes` and drops its trailers. It copies nothing before the body is whole,
/// so that asking again after each read stays cheap.
fn decode_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut chunks = Vec::new();
    let mut at = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| {
            let line = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 60)]);
            format!("malformed chunk size `{}`", cut(line.lines().next().unwrap_or_default(), 40))
        })?;
        let Status::Complete((line_bytes, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| "a chunk is too large".to_owned())?;
        at += line_bytes;
        if size == 0 {
            return Ok(end_of_trailers(&bytes[at..]).map(|used| (chunks.concat(), at + used)));
        }
        let Some(chunk) = bytes.get(at..at.saturating_add(size)) else { return Ok(None) };
        chunks.push(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("a chunk is longer than its size says".into()),
            None => return Ok(None),
        }
    }
}

fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") { Some(2) } else { find(bytes, b"\r\n\r\n").map(|at| at + 4) }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each response, with its status and its body, which must not depend on how it arrives.
    const WHOLE: &[(&str, u16, &str)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.0 404 \r\ncontent-length:0\r\n\r\n", 404, ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", 200, "ok!"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 200, "a"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
    ];

    #[test]
    fn whole_responses_at_every_split_and_with_more_behind() {
        for (text, status, body) in WHOLE {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false, false), Ok(None), "{text:?} cut at {end}");
                assert!(parse(&text.as_bytes()[..end], true, false).is_err(), "{text:?} closed at {end}");
            }
            let longer = format!("{text}HTTP/1.1 5");
            let (response, used) = parse(longer.as_bytes(), false, false).unwrap().unwrap();
            assert_eq!((response.status, response.body.as_slice(), used), (*status, body.as_bytes(), text.len()));
        }
    }

    /// Neither the stack nor the work grows without bound.
    #[test]
    fn interim_responses_without_end() {
        let interim = "HTTP/1.1 100 C\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let some = interim.repeat(INTERIM_MAX) + last;
        assert_eq!(parse(some.as_bytes(), false, false).unwrap().unwrap().1, some.len());
        let many = interim.repeat(1_000_000);
        assert!(parse(many.as_bytes(), false, false).unwrap_err().contains("interim"));
    }

    #[test]
    fn malformed_responses() {
        for text in [
            "SSH-2.0-x",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 700 ?\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(parse(text.as_bytes(), false, false).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_message_shows_the_malformed_line() {
        for (text, line) in [
            ("SSH-2.0-x\r\n", "`SSH-2.0-x`"),
            ("HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\nC: d\r\n\r\n", "`no colon`"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n", "`zz`"),
        ] {
            let error = parse(text.as_bytes(), false, false).unwrap_err();
            assert!(error.ends_with(line), "{error}");
        }
    }

    /// What real servers send and RFC 9112 §2.2, §4 and §5 let a client accept.
    #[test]
    fn lenient_where_a_client_may_be() {
        for text in [
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 \u{fc}\r\nContent-Length:\t0 \r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "HTTP/1.1 200 OK\r\nX: \u{fc}\u{fc}\r\nContent-Length: 0\r\n\r\n",
        ] {
            let parsed = parse(text.as_bytes(), false, false);
            assert!(parsed.as_ref().is_ok_and(|parsed| parsed.is_some()), "{text:?}: {parsed:?}");
        }
    }

    #[test]
    fn without_a_length_the_close_ends_the_body() {
        let text = b"HTTP/1.0 200 OK\r\n\r\nall";
        assert_eq!(parse(text, false, false), Ok(None));
        let (response, _) = parse(text, true, false).unwrap().unwrap();
        assert_eq!(response.body, b"all");
        assert!(!response.keeps_alive());
    }

    #[test]
    fn keep_alive_by_version_and_header() {
        for (head, keeps) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        ] {
            let text = format!("{head}Content-Length: 0\r\n\r\n");
            let (response, _) = parse(text.as_bytes(), false, false).unwrap().unwrap();
            assert_eq!(response.keeps_alive(), keeps, "{head:?}");
        }
    }

    #[test]
    fn bodies_for_people() {
        assert_eq!(cut("one\ntwo  \n", 20), "one two");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
