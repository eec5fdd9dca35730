//! Decodes responses, and judges their framing strictly.
//!
//! A decoder takes bytes as they arrive and does no I/O. It has three outcomes: a response, "more bytes are needed", or
//! an error that no further byte could repair. It looks at each byte a fixed number of times, however the bytes are cut
//! into chunks and reads.
//!
//! The parsers of HTTP libraries forgive what RFC 9112 forbids senders, each library something else. Where two readers
//! can differ about the end of a response, a reused connection gives one caller the answer of another. So this parser
//! is our own, and forgives nothing: [`is_broken_framing`] tells such an error from all others.

use super::body::Body;
use super::response::{Response, cut};

/// A longer head is an error. The platform takes 8 KB (C-LIM-5).
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A longer line with the size of a chunk is an error.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;

/// The most interim responses (1xx) that are skipped before the final one. A target may send one or two, but not
/// thousands.
const INTERIM_MAX: usize = 100;

/// How errors about framing begin.
const BROKEN: &str = "broken framing: ";

/// Whether an error of a connection says that a response breaks the framing of RFC 9112.
pub fn is_broken_framing(error: &str) -> bool {
    error.starts_with(BROKEN)
}

/// An error about framing, with the section of RFC 9112 that forbids it.
fn broken<T>(section: &str, what: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("{BROKEN}{what} (RFC 9112 §{section})"))
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// A line of the head.
    Head,
    /// So many bytes of the body.
    Sized(usize),
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of the chunk.
    ChunkData(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// A line behind the last chunk.
    Trailers,
    /// The rest of the connection.
    UntilClose,
}

/// Decodes one response.
#[derive(Debug)]
pub struct Decoder {
    /// Whether the request was HEAD. The answer to it has no body, whatever its head says.
    bodiless: bool,
    stage: Stage,
    /// The begin of a line whose end has not arrived.
    line: Vec<u8>,
    /// The bytes of the head, or of the trailers, so far.
    section_bytes: usize,
    /// The response as far as it is known. `None` before its status line.
    response: Option<Response>,
    body: Body,
    interims: usize,
    /// The number of bytes of this response so far.
    pub taken: usize,
    /// How many times a byte was looked at.
    #[cfg(test)]
    examined: usize,
}

impl Decoder {
    /// A decoder for the response to a request; `bodiless` means that the request was HEAD.
    pub fn new(bodiless: bool) -> Self {
        Self {
            bodiless,
            stage: Stage::Head,
            line: Vec::new(),
            section_bytes: 0,
            response: None,
            body: Body::default(),
            interims: 0,
            taken: 0,
            #[cfg(test)]
            examined: 0,
        }
    }

    /// Whether only the end of the connection ends the response.
    pub fn ends_with_connection(&self) -> bool {
        self.stage == Stage::UntilClose
    }

    /// Takes bytes from the front of `bytes`: the number taken, and the response if it is whole.
    ///
    /// # Errors
    /// If the bytes are no response, or break its framing; the text says where.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Response>), String> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (used, whole) = match self.stage {
                Stage::Sized(left) | Stage::ChunkData(left) => self.data(rest, left),
                Stage::UntilClose => {
                    self.body.push(rest, usize::MAX);
                    (rest.len(), false)
                }
                _ => self.line(rest)?,
            };
            at += used;
            self.taken += used;
            if whole {
                return Ok((at, self.finish()));
            }
        }
        Ok((at, None))
    }

    /// The connection has ended, by a reset or orderly.
    ///
    /// # Errors
    /// If that is not the end of a response.
    pub fn end(&mut self, reset: bool) -> Result<Response, String> {
        let how = if reset { "reset" } else { "closed" };
        match (self.taken, self.ends_with_connection() && !reset) {
            (0, _) => Err(format!("the target {how} the connection without an answer")),
            (_, true) => self.finish().ok_or_else(|| "there is no answer".to_owned()),
            (taken, false) => Err(format!("the target {how} the connection within an answer, after {taken} bytes")),
        }
    }

    fn finish(&mut self) -> Option<Response> {
        let body = std::mem::take(&mut self.body);
        self.response.take().map(|response| response.with_body(body))
    }

    /// Takes a part of the body. Returns whether the response is whole.
    fn data(&mut self, bytes: &[u8], left: usize) -> (usize, bool) {
        let used = left.min(bytes.len());
        let left = left - used;
        let is_chunk = matches!(self.stage, Stage::ChunkData(_));
        self.body.push(&bytes[..used], if is_chunk { usize::MAX } else { left });
        self.stage = match (is_chunk, left) {
            (true, 0) => Stage::ChunkEnd,
            (true, left) => Stage::ChunkData(left),
            (false, left) => Stage::Sized(left),
        };
        (used, !is_chunk && left == 0)
    }

    /// Takes a line, or a part of one. Returns whether the response is whole.
    fn line(&mut self, bytes: &[u8]) -> Result<(usize, bool), String> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let used = end.unwrap_or(bytes.len());
        #[cfg(test)]
        {
            self.examined += used;
        }
        self.section_bytes += used;
        let mut line = std::mem::take(&mut self.line);
        let had = line.len();
        // Most lines arrive whole and are not copied.
        let whole = if had == 0 && end.is_some() {
            &bytes[..used]
        } else {
            line.extend_from_slice(&bytes[..used]);
            &line
        };
        self.could_begin_with(whole)?;
        self.fits(whole.len())?;
        if end.is_none() {
            self.line = line;
            return Ok((used, false));
        }
        #[cfg(test)]
        {
            self.examined += whole.len();
        }
        let Some(text) = whole.strip_suffix(b"\r\n") else {
            return broken("2.2", format_args!("a line ends with a bare LF: `{}`", shown(whole)));
        };
        Ok((used, self.whole_line(text)?))
    }

    /// Refuses the first bytes of a line that can be no such line, so that nobody waits for its end.
    fn could_begin_with(&self, line: &[u8]) -> Result<(), String> {
        let wanted: &[u8] = match (&self.stage, &self.response) {
            (Stage::Head, None) => b"HTTP/1.",
            (Stage::ChunkEnd, _) => b"\r\n",
            _ => return Ok(()),
        };
        let compared = line.len().min(wanted.len());
        match (line[..compared] == wanted[..compared], &self.stage) {
            (true, _) => Ok(()),
            (false, Stage::ChunkEnd) => {
                broken("7.1", format_args!("no CRLF follows a chunk of the announced size, but `{}`", shown(line)))
            }
            (false, _) => broken("4", format_args!("the status line is malformed: `{}`", shown(line))),
        }
    }

    fn fits(&self, line_bytes: usize) -> Result<(), String> {
        match self.stage {
            Stage::ChunkSize if line_bytes > CHUNK_LINE_BYTES_MAX => {
                broken("7.1", format_args!("the line with the size of a chunk has over {CHUNK_LINE_BYTES_MAX} bytes"))
            }
            Stage::Head | Stage::Trailers if self.section_bytes > HEAD_BYTES_MAX => {
                Err(format!("the headers of the answer have over {HEAD_BYTES_MAX} bytes"))
            }
            _ => Ok(()),
        }
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<bool, String> {
        match self.stage {
            Stage::ChunkSize => {
                let size = chunk_size(line)?;
                self.section_bytes = 0;
                self.stage = if size == 0 { Stage::Trailers } else { Stage::ChunkData(size) };
                Ok(false)
            }
            Stage::ChunkEnd => {
                self.stage = Stage::ChunkSize;
                Ok(false)
            }
            Stage::Trailers if line.is_empty() => Ok(true),
            Stage::Trailers => trailer(line).map(|()| false),
            _ => self.head_line(line),
        }
    }

    fn head_line(&mut self, line: &[u8]) -> Result<bool, String> {
        let Some(response) = &mut self.response else {
            self.response = Some(status_line(line)?);
            return Ok(false);
        };
        if !line.is_empty() {
            response.headers.push(field(line)?);
            return Ok(false);
        }
        response.head_bytes = std::mem::take(&mut self.section_bytes);
        // 101 is final: what follows is another protocol (RFC 9110 §15.2.2).
        let is_interim = (100..200).contains(&response.status) && response.status != 101;
        self.stage = framing(response, self.bodiless)?;
        if is_interim {
            self.response = None;
            self.stage = Stage::Head;
            self.interims += 1;
            if self.interims > INTERIM_MAX {
                return Err(format!("the target sent more than {INTERIM_MAX} interim answers (1xx) and no final one"));
            }
            return Ok(false);
        }
        Ok(self.stage == Stage::Sized(0))
    }
}

fn status_line(line: &[u8]) -> Result<Response, String> {
    let malformed = || format!("the status line is malformed: `{}`", shown(line));
    let (version, rest) = (line.get(..8), line.get(8..).unwrap_or_default());
    let minor_version = match version {
        Some(b"HTTP/1.1") => 1,
        Some(b"HTTP/1.0") => 0,
        _ => return broken("4", malformed()),
    };
    let [b' ', code @ .., b' '] = rest.get(..5).unwrap_or_default() else {
        return broken("4", malformed());
    };
    if !code.iter().all(u8::is_ascii_digit) {
        return broken("4", malformed());
    }
    let status = code.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return broken("4", format_args!("the status {status} is not between 100 and 599"));
    }
    if rest[5..].iter().any(|byte| is_control(*byte)) {
        return broken("4", format_args!("the status line has a control character: `{}`", shown(line)));
    }
    Ok(Response::new(minor_version, status))
}

fn field(line: &[u8]) -> Result<(String, String), String> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return broken("5.2", format_args!("a header goes on in a second line: `{}`", shown(line)));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return broken("5", format_args!("a header has no colon: `{}`", shown(line)));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return broken(
            "5.1",
            format_args!("the name of a header has a character that it cannot have: `{}`", shown(line)),
        );
    }
    if value.iter().any(|byte| is_control(*byte)) {
        return broken("5.5", format_args!("the value of a header has a control character: `{}`", shown(line)));
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(name), text(value).trim_matches([' ', '\t']).to_owned()))
}

/// A trailer must not carry what a reader needs before it (RFC 9110 §6.5.1).
fn trailer(line: &[u8]) -> Result<(), String> {
    let (name, _) = field(line)?;
    match ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        true => broken("7.1.2", format_args!("`{name}` stands behind the body")),
        false => Ok(()),
    }
}

/// How a reader finds the end of the body (RFC 9112 §6.3).
fn framing(response: &Response, bodiless: bool) -> Result<Stage, String> {
    let Response { status, minor_version, .. } = *response;
    let codings: Vec<&str> = response.headers_named("transfer-encoding").collect();
    let length = content_length(response)?;
    if !codings.is_empty() {
        let coding = codings.join(", ");
        if minor_version == 0 {
            return broken("6.1", format_args!("Transfer-Encoding `{}` in an HTTP/1.0 answer", cut(&coding, 40)));
        }
        if matches!(status, 100..200 | 204) {
            return broken("6.1", format_args!("Transfer-Encoding in an answer with status {status}"));
        }
        if !coding.eq_ignore_ascii_case("chunked") {
            // We sent no TE, so a target may not choose another coding.
            return broken("6.1", format_args!("Transfer-Encoding is `{}` and not one `chunked`", cut(&coding, 40)));
        }
        if length.is_some() {
            return broken("6.2", "Content-Length beside Transfer-Encoding");
        }
    }
    match status {
        // Every reader takes a length of 0 alike, and common servers send it.
        100..200 | 204 if length.is_some_and(|length| length > 0) => broken(
            "6.2",
            format_args!("Content-Length {} in an answer with status {status}", length.unwrap_or_default()),
        ),
        100..200 | 204 | 304 => Ok(Stage::Sized(0)),
        _ if bodiless => Ok(Stage::Sized(0)),
        _ if !codings.is_empty() => Ok(Stage::ChunkSize),
        _ => Ok(length.map_or(Stage::UntilClose, Stage::Sized)),
    }
}

fn content_length(response: &Response) -> Result<Option<usize>, String> {
    let lengths: Vec<&str> = response.headers_named("content-length").collect();
    match lengths[..] {
        [] => Ok(None),
        [length] if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let too_large = |_| format!("{BROKEN}Content-Length {} is too large (RFC 9112 §6.3)", cut(length, 40));
            length.parse().map(Some).map_err(too_large)
        }
        [length] => broken("6.3", format_args!("Content-Length `{}` is not one whole number", cut(length, 40))),
        _ => broken("6.3", format_args!("{} headers Content-Length: {}", lengths.len(), cut(&lengths.join(", "), 40))),
    }
}

/// The size in a line that begins a chunk. Extensions may follow it, without a blank (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Result<usize, String> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    let malformed = || format!("the size of a chunk is malformed: `{}`", shown(line));
    let sound = match extensions {
        [] => true,
        [b';', name, ..] => is_token(*name) && !extensions.iter().any(|byte| is_control(*byte)),
        _ => false,
    };
    let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    match size {
        Some(size) if sound => Ok(size),
        _ => broken("7.1", malformed()),
    }
}

/// A control character that no value and no reason may have. A tab is allowed.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The line for a message.
fn shown(line: &[u8]) -> String {
    cut(&String::from_utf8_lossy(&line[..line.len().min(256)]), 60)
}

#[cfg(test)]
mod tests;
