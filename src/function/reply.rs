//! The reply of a callback, and the conversions into it.
//!
//! Every header is checked when it is set, so the encoder can write any reply as it is and has no error to report. Must
//! not know connections.

use crate::function::panic::drop_catching_panic;
use crate::function::reply_error::ReplyError;
use crate::http1::is_token_byte;
use crate::platform::headers;
use crate::tuning::{COALESCE_BYTES_MAX, REPLY_HEAD_BYTES_MAX, STREAM_CHUNK_BYTES};
use serde_core::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

/// A status, headers and a body.
///
/// Most callbacks never name this type: `()`, `&'static str`, `String`, `Vec<u8>`, `&'static [u8]` and
/// [`serde_json::Value`] convert into it and set `content-type`.
///
/// ```
/// use fc_hooks::Reply;
///
/// let plain: Reply = "hello".into();
/// let json = Reply::json(&["hello", "world"])?;
/// let moved = Reply::new().with_status(303)?.with_header("location", "/elsewhere")?;
/// # Ok::<(), fc_hooks::Error>(())
/// ```
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Body,
    header_bytes: usize,
}

pub(crate) enum Body {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    /// With its length, if the author knows it.
    Stream(Source, Option<u64>),
    /// The body of the request that the reply answers, of this many bytes once the request is known.
    OfRequest(usize),
}

impl Reply {
    /// An empty reply with status 200.
    pub const fn new() -> Reply {
        Reply { status: 200, content_type: None, headers: Vec::new(), body: Body::Static(b""), header_bytes: 0 }
    }

    /// An empty reply with this status, 200 to 599: `Reply::from_status(404)?`. [`Reply::status`] reads it.
    ///
    /// # Errors
    /// [`ReplyError::Status`]: the status is outside that range.
    pub fn from_status(status: u16) -> Result<Reply, ReplyError> {
        Reply::new().with_status(status)
    }

    /// A reply with this text, as `text/plain; charset=utf-8`.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Reply {
        text.into().into()
    }

    /// A reply with these bytes, as `application/octet-stream`.
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Reply {
        match bytes.into() {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }

    /// A reply with this value, as `application/json`. The value is written at once, without a
    /// [`serde_json::Value`] between.
    ///
    /// # Errors
    /// The value cannot be JSON, for example a map whose keys are no text; its own `Serialize` fails.
    pub fn json(value: &(impl Serialize + ?Sized)) -> crate::Result {
        Ok(Reply::from_json(serde_json::to_vec(value)?))
    }

    /// A reply with the body of the request that it answers, byte for byte, as `application/octet-stream`.
    ///
    /// The server sends it from the memory that it has received it in, so an event of 32 MB takes 32 MB and not 64.
    /// In a hook the reply is empty, because a hook has no event.
    ///
    /// ```
    /// use fc_hooks::{App, Reply, Route};
    ///
    /// static APP: App<()> = App::new(&[Route::invoke(|_, _, _| Ok(Reply::echo()))]);
    /// ```
    pub fn echo() -> Reply {
        Reply { body: Body::OfRequest(0), ..Reply::new().of_type(OCTETS) }
    }

    /// A reply whose body the server reads from `reader` while the client receives it, at most 16 KiB at a time.
    ///
    /// HTTP calls get it with `Transfer-Encoding: chunked` (C-INV-6). The server reads the reply of a hook or an event
    /// whole before it sends it.
    ///
    /// The reader runs on the server's only thread: if it blocks, it delays every other call. If it fails, the server
    /// resets the connection, so that the client can tell that the reply is not whole.
    pub fn stream(reader: impl Read + 'static) -> Reply {
        Reply { body: Body::Stream(Source::new(reader), None), ..Reply::new().of_type(OCTETS) }
    }

    /// As [`Reply::stream`], for a body whose length is known: `Content-Length` instead of chunks. The server sends no
    /// more bytes than that. If the reader ends early, the server resets the connection.
    pub fn stream_sized(reader: impl Read + 'static, bytes: u64) -> Reply {
        Reply { body: Body::Stream(Source::new(reader), Some(bytes)), ..Reply::new().of_type(OCTETS) }
    }

    /// Sets the status, 200 to 599. Hooks and events ignore it and answer 200 or 404 (C-STAT-1).
    ///
    /// # Errors
    /// [`ReplyError::Status`]: the status is outside that range.
    pub fn with_status(mut self, status: u16) -> Result<Reply, ReplyError> {
        if !(200..=599).contains(&status) {
            return Err(ReplyError::Status);
        }
        self.status = status;
        Ok(self)
    }

    /// Adds a header. `content-type` replaces an earlier one; any other header can occur more than once.
    ///
    /// # Errors
    /// - [`ReplyError::HeaderName`]: the name is not a token (RFC 9110 §5.1).
    /// - [`ReplyError::HeaderValue`]: the value holds CR, LF, NUL or another control character (CVE-2026-66753).
    /// - [`ReplyError::OwnedByServer`]: the server writes `connection`, `content-length`, `keep-alive`, `trailer`,
    ///   `transfer-encoding`, `upgrade` and every `x-fc-…` itself.
    /// - [`ReplyError::HeadersTooLarge`]: the headers would pass 8 KiB, beyond which the platform answers 502.
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<Reply, ReplyError> {
        self.push_header(name.into(), value.into())?;
        Ok(self)
    }

    /// The status of an HTTP call. Hooks and events answer 200 whatever it is.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Name and value of each header that the author has set, `content-type` first if the body has set it.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.content_type.map(|known| ("content-type", known)).into_iter().chain(self.header_lines())
    }

    /// The value of the first header with that name, whose case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body; none if it is a stream.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.bytes()
    }

    fn push_header(&mut self, name: Cow<'static, str>, value: Cow<'static, str>) -> Result<(), ReplyError> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(ReplyError::HeaderName);
        }
        if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(ReplyError::HeaderValue);
        }
        if is_owned_by_server(&name) {
            return Err(ReplyError::OwnedByServer);
        }
        self.header_bytes += name.len() + value.len() + ": \r\n".len();
        if self.header_bytes > REPLY_HEAD_BYTES_MAX - SERVER_HEAD_BYTES_MAX {
            return Err(ReplyError::HeadersTooLarge);
        }
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = None;
            self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case("content-type"));
        }
        self.headers.push((name, value));
        Ok(())
    }

    const fn of_type(mut self, content_type: &'static str) -> Reply {
        self.content_type = Some(content_type);
        self
    }

    /// Replaces a streamed body by its bytes. Events and hooks are answered at once (C-INV-6).
    pub(crate) fn read_whole(&mut self) -> io::Result<()> {
        if matches!(self.body, Body::Stream(..)) { self.read_stream() } else { Ok(()) }
    }

    /// The request is known that the reply has the body of. A small body is copied. Whether a larger one must be handed
    /// over.
    #[inline(always)]
    pub(crate) fn adopt(&mut self, body: &[u8], method: &str) -> bool {
        if !matches!(self.body, Body::OfRequest(_)) {
            return false;
        }
        let is_large = body.len() > COALESCE_BYTES_MAX;
        self.body = if is_large { Body::OfRequest(body.len()) } else { Body::Owned(body.to_vec()) };
        is_large && self.has_content(method)
    }

    /// Leaves the request's body out.
    pub(crate) fn forget_request(&mut self) {
        if let Body::OfRequest(_) = self.body {
            self.body = Body::Static(b"");
        }
    }

    /// A function of its own, because reading takes two pages of the stack.
    #[inline(never)]
    fn read_stream(&mut self) -> io::Result<()> {
        if let Body::Stream(source, length) = &mut self.body {
            let mut bytes = Vec::new();
            source.read_to_end(*length, &mut bytes)?;
            self.body = Body::Owned(bytes);
        }
        Ok(())
    }

    /// A copy; the body of a stream is left out.
    pub(crate) fn duplicate(&self) -> Reply {
        let body = match &self.body {
            Body::Static(bytes) => Body::Static(bytes),
            Body::Owned(bytes) => Body::Owned(bytes.clone()),
            Body::Stream(..) | Body::OfRequest(_) => Body::Static(b""),
        };
        Reply { headers: self.headers.clone(), body, ..*self }
    }

    /// Whether a request with this method gets the body (RFC 9110 §9.3.2, §15.3.5, §15.3.6, §15.4.5).
    pub(crate) fn has_content(&self, method: &str) -> bool {
        method != "HEAD" && !matches!(self.status, 204 | 205 | 304)
    }

    /// The bytes that would count against [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    pub(crate) fn held(&self, method: &str) -> usize {
        match &self.body {
            Body::Owned(bytes) if self.has_content(method) && bytes.len() > COALESCE_BYTES_MAX => held(bytes),
            _ => 0,
        }
    }

    /// A reply from JSON text.
    pub(crate) fn from_json(json: Vec<u8>) -> Reply {
        Reply { body: Body::Owned(json), ..Reply::new().of_type(JSON) }
    }

    pub(crate) fn header_lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Default for Reply {
    fn default() -> Reply {
        Reply::new()
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// The most that the server itself adds to a head: the status line, the platform's status header, a default type,
/// framing, connection.
const SERVER_HEAD_BYTES_MAX: usize = 256;

impl From<()> for Reply {
    fn from((): ()) -> Reply {
        Reply::new()
    }
}

impl From<&'static str> for Reply {
    fn from(text: &'static str) -> Reply {
        Reply { body: Body::Static(text.as_bytes()), ..Reply::new().of_type(TEXT) }
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Reply {
        Reply { body: Body::Owned(text.into_bytes()), ..Reply::new().of_type(TEXT) }
    }
}

impl From<&'static [u8]> for Reply {
    fn from(bytes: &'static [u8]) -> Reply {
        Reply { body: Body::Static(bytes), ..Reply::new().of_type(OCTETS) }
    }
}

impl<const N: usize> From<&'static [u8; N]> for Reply {
    fn from(bytes: &'static [u8; N]) -> Reply {
        bytes.as_slice().into()
    }
}

impl From<Cow<'static, str>> for Reply {
    fn from(text: Cow<'static, str>) -> Reply {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Reply {
        Reply { body: Body::Owned(bytes), ..Reply::new().of_type(OCTETS) }
    }
}

impl From<serde_json::Value> for Reply {
    fn from(value: serde_json::Value) -> Reply {
        Reply::from_json(value.to_string().into_bytes())
    }
}

impl Body {
    /// The bytes, unless the body is a stream.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Body::Static(bytes) => Some(bytes),
            Body::Owned(bytes) => Some(bytes),
            Body::Stream(..) | Body::OfRequest(_) => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Stream(_, length) => write!(f, "Stream({length:?})"),
            Body::OfRequest(_) => f.write_str("the request's body"),
            known => write!(f, "{} bytes", known.bytes().unwrap_or_default().len()),
        }
    }
}

/// The author's reader. A panic in it or in its destructor becomes an I/O error.
pub(crate) struct Source(Option<Box<dyn Read>>);

/// The bytes of a body that count against [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max) until they
/// are sent.
pub(crate) fn held(owned: &Vec<u8>) -> usize {
    owned.capacity().saturating_sub(STREAM_CHUNK_BYTES)
}

impl Source {
    fn new(reader: impl Read + 'static) -> Source {
        Source(Some(Box::new(reader)))
    }

    /// As [`Read::read`]. After an error it only returns errors.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.0 else { return Err(io::Error::other("the stream has failed before")) };
        let outcome = loop {
            match crate::function::panic::catch_panic(|| reader.read(buffer)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A reader that claims more bytes than the buffer holds must not make us send bytes that it did not
                // write.
                Ok(Ok(bytes)) if bytes > buffer.len() => {
                    break Err(io::Error::other("the stream claims more bytes than its buffer holds"));
                }
                Ok(Ok(bytes)) => break Ok(bytes),
                Ok(Err(error)) => break Err(io::Error::other(crate::function::panic::render(error.into()).message)),
                Err(panic) => break Err(io::Error::other(panic.message)),
            }
        };
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    fn read_to_end(&mut self, length: Option<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let mut left = length.unwrap_or(u64::MAX);
        let mut buffer = [0; 4096];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match self.read(&mut buffer[..wanted])? {
                0 if length.is_some() => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => break,
                bytes => {
                    out.extend_from_slice(&buffer[..bytes]);
                    left -= bytes as u64;
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(reader) = self.0.take() {
            drop_catching_panic(reader);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_owned_by_server(name: &str) -> bool {
    const OWNED: [&str; 6] = ["connection", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"];
    OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned))
        || name.get(..headers::PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(headers::PREFIX))
}

#[cfg(test)]
mod tests;
