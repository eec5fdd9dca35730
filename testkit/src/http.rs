//! A strict reader of HTTP/1 responses, without I/O.
//!
//! [`Head::parse`] finds the end of a head and the framing of its body, and allocates nothing. [`Decoder`] takes bytes
//! as they arrive and returns whole responses. Both refuse what a client could misread: two lengths, a length beside a
//! transfer coding, a coding other than `chunked`, a chunk that is longer than its size (RFC 9112 §6.1, §6.3, §7.1).

use httparse::{EMPTY_HEADER, Status};

/// Responses may have this many headers.
const HEADERS_MAX: usize = 64;

/// How a receiver finds the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// The body has this many bytes.
    Length(usize),
    /// The body comes in chunks.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// What the head of a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The size of the head.
    pub bytes: usize,
    /// Whether the server closes the connection after this response.
    pub closes: bool,
    /// How the body ends.
    pub framing: BodyFraming,
}

impl Head {
    /// Parses the head at the start of `bytes`. `None` means that more bytes are needed.
    ///
    /// # Errors
    /// If no further byte could make `bytes` a sound response; the text says why.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(Status::Complete(size)) => Self::new(&response, size).map(Some),
            Ok(Status::Partial) => Ok(None),
            Err(_) => Err("not an HTTP/1 response"),
        }
    }

    fn new(response: &httparse::Response<'_, '_>, bytes: usize) -> Result<Self, &'static str> {
        let mut length = None;
        let mut chunked = false;
        let mut closes = response.version == Some(0);
        for header in &*response.headers {
            // No two of these names have the same length, and most headers have another.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let value = number(header.value).ok_or("the Content-Length is not a number")?;
                    if length.replace(value).is_some() {
                        return Err("the response has two Content-Length headers");
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                        return Err("the Transfer-Encoding is not exactly one `chunked`");
                    }
                    chunked = true;
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    closes = !header.value.eq_ignore_ascii_case(b"keep-alive")
                        && (closes || header.value.eq_ignore_ascii_case(b"close"));
                }
                _ => {}
            }
        }
        let status = response.code.unwrap_or_default();
        let framing = match (length, chunked, has_no_body(status)) {
            (Some(_), true, _) => return Err("the response has a Content-Length beside a Transfer-Encoding"),
            (None, false, true) => BodyFraming::Length(0),
            (_, _, true) => return Err("a response without a body has framing headers"),
            (Some(length), false, false) => BodyFraming::Length(length),
            (None, true, false) => BodyFraming::Chunked,
            (None, false, false) => BodyFraming::UntilClose,
        };
        Ok(Self { status, bytes, closes, framing })
    }
}

/// RFC 9110 §6.4.1.
fn has_no_body(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

/// Digits and nothing else; at most what can be added to a head's size without overflow.
fn number(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse::<u32>().ok().map(|number| number as usize)
}

/// One whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names and values in the order in which they arrived.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether the server closes the connection after this response.
    pub closes: bool,
}

impl Response {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Turns bytes into responses.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What arrived and belongs to no returned response.
    unread: Vec<u8>,
    /// A response whose head is complete, and how its body ends.
    begun: Option<(BodyFraming, Response)>,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Bytes behind the last response that was returned.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// How the body ends of the response whose head arrived and whose end did not.
    pub fn framing(&self) -> Option<BodyFraming> {
        self.begun.as_ref().map(|(framing, _)| *framing)
    }

    /// Forgets everything that arrived.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next whole response. `None` means that more bytes are needed.
    ///
    /// # Errors
    /// If what arrived is no sound response.
    pub fn response(&mut self) -> Result<Option<Response>, String> {
        if self.begun.is_none() {
            self.begin()?;
        }
        let Some((framing, response)) = &mut self.begun else { return Ok(None) };
        let (taken, done) = match *framing {
            BodyFraming::Length(length) => {
                let taken = self.unread.len().min(length - response.body.len());
                response.body.extend_from_slice(&self.unread[..taken]);
                (taken, response.body.len() == length)
            }
            BodyFraming::Chunked => take_chunks(&self.unread, &mut response.body)?,
            BodyFraming::UntilClose => {
                response.body.extend_from_slice(&self.unread);
                (self.unread.len(), false)
            }
        };
        self.unread.drain(..taken);
        Ok(if done { self.begun.take().map(|(_, response)| response) } else { None })
    }

    /// The next response to HEAD: its head alone, because no body follows (RFC 9110 §9.3.2). `None` means that more
    /// bytes are needed.
    ///
    /// # Errors
    /// If what arrived is no sound response.
    pub fn response_to_head(&mut self) -> Result<Option<Response>, String> {
        if self.begun.is_none() {
            self.begin()?;
        }
        Ok(self.begun.take().map(|(_, response)| response))
    }

    /// The response that the end of the connection completes.
    ///
    /// # Errors
    /// If the connection ended within a response, or if bytes are left that belong to none.
    pub fn end(&mut self) -> Result<Option<Response>, String> {
        match self.begun.take() {
            Some((BodyFraming::UntilClose, mut response)) => {
                response.body.append(&mut self.unread);
                Ok(Some(response))
            }
            None if self.unread.is_empty() => Ok(None),
            _ => Err("the connection ended within a response".to_owned()),
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let size = match parsed.parse(&self.unread) {
            Ok(Status::Complete(size)) => size,
            Ok(Status::Partial) => return Ok(()),
            Err(cause) => return Err(format!("not an HTTP/1 response: {cause}")),
        };
        let head = Head::new(&parsed, size)?;
        let pair = |header: &httparse::Header<'_>| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
        };
        let response = Response {
            status: head.status,
            reason: parsed.reason.unwrap_or_default().to_owned(),
            headers: parsed.headers.iter().map(pair).collect(),
            body: Vec::new(),
            closes: head.closes,
        };
        self.begun = Some((head.framing, response));
        self.unread.drain(..size);
        Ok(())
    }
}

/// Takes whole chunks from the front: how many bytes they had, and whether the last chunk was among them.
fn take_chunks(bytes: &[u8], body: &mut Vec<u8>) -> Result<(usize, bool), String> {
    let mut at = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| "a malformed chunk size")?;
        let Status::Complete((line, size)) = parsed else { return Ok((at, false)) };
        let size = usize::try_from(size).map_err(|_| "a chunk is too large")?;
        let start = at + line;
        let Some(frame) = start.checked_add(size + 2).and_then(|end| bytes.get(start..end)) else {
            return Ok((at, false));
        };
        let (data, line_end) = frame.split_at(size);
        if line_end != b"\r\n" {
            return Err("a chunk is longer than its size".into());
        }
        body.extend_from_slice(data);
        at = start + size + 2;
        if size == 0 {
            return Ok((at, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole responses: status, body, whether the server closes.
    const SOUND: &[(&[u8], u16, &[u8], bool)] = &[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", false),
        (b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404, b"", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", 200, b"abcd", false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", true),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, b"x", false),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", false),
    ];

    #[test]
    fn responses_are_whole_at_their_last_byte_wherever_they_are_split() {
        for (bytes, status, body, closes) in SOUND {
            for cut in 0..bytes.len() {
                let mut decoder = Decoder::default();
                decoder.feed(&bytes[..cut]);
                assert_eq!(decoder.response(), Ok(None), "{cut} bytes of {}", bytes.escape_ascii());
                decoder.feed(&bytes[cut..]);
                decoder.feed(b"HTTP");
                let response = decoder.response().unwrap().expect("it is whole");
                assert_eq!((response.status, response.body.as_slice(), response.closes), (*status, *body, *closes));
                assert_eq!(decoder.unread(), b"HTTP");
            }
        }
    }

    #[test]
    fn a_response_to_head_ends_with_its_head() {
        let mut decoder = Decoder::default();
        decoder.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n");
        assert_eq!(decoder.response_to_head(), Ok(None));
        decoder.feed(b"\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nrest");
        for status in [200, 404] {
            assert_eq!(decoder.response_to_head().unwrap().map(|response| response.status), Some(status));
        }
        assert_eq!(decoder.unread(), b"rest");
    }

    #[test]
    fn unsound_responses_are_refused() {
        for (bytes, why) in [
            (&b"SSH-2.0\r\n\r\n"[..], "not an HTTP/1 response"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "not a number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", "not a number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "two Content-Length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not exactly one"),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx", "without a body"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "longer"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "malformed"),
        ] {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            let error = decoder.response().expect_err("it is unsound");
            assert!(error.contains(why), "{}: {error}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_end_of_the_connection_completes_only_a_body_without_a_length() {
        let mut decoder = Decoder::default();
        decoder.feed(b"HTTP/1.1 200 OK\r\n\r\nto the ");
        assert_eq!((decoder.response(), decoder.framing()), (Ok(None), Some(BodyFraming::UntilClose)));
        decoder.feed(b"end");
        assert_eq!(decoder.end().unwrap().expect("it is whole").body, b"to the end");
        assert_eq!(decoder.end(), Ok(None));
        decoder.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
        assert_eq!(decoder.response(), Ok(None));
        assert!(decoder.end().is_err());
    }
}
