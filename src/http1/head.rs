//! The head of a request: its end, its content, and the framing of the body.
//!
//! [`fields`] reads the header lines. This file reads the request line, and knows the form of the target, `Host`, and
//! the framing headers. Must not know connections or buffers.

use crate::http1::error::ProtocolError;
use crate::http1::fields::{self, FieldError, Header};
use crate::limits::Limits;
use crate::tuning::HEADERS_USUAL;

/// Memory for the headers of a head, kept from one to the next.
#[derive(Default)]
pub(crate) struct HeaderStorage(Vec<Header<'static>>);

impl HeaderStorage {
    #[inline(always)]
    pub(crate) fn lend<'a>(&mut self) -> Vec<Header<'a>> {
        if self.0.capacity() == 0 { Vec::with_capacity(HEADERS_USUAL) } else { std::mem::take(&mut self.0) }
    }

    /// Nothing is copied or allocated: an empty vector of one type becomes one of the other in place.
    #[inline(always)]
    pub(crate) fn take_back(&mut self, mut headers: Vec<Header<'_>>) {
        headers.clear();
        self.0 = headers.into_iter().map(|_| Header::EMPTY).collect();
    }
}

/// Finds the end of a head whose bytes arrive piece by piece. It looks at each byte once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadEndFinder {
    position: usize,
    line_start: usize,
}

impl HeadEndFinder {
    /// The length of the head with its final empty line, if that is there. The bytes before `position` must be the same
    /// as in the last call.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        while let Some(found) = bytes[self.position..].iter().position(|&byte| byte == b'\n') {
            let line_feed = self.position + found;
            if line_feed == 0 || bytes[line_feed - 1] != b'\r' {
                return Err(ProtocolError::BareLineFeed);
            }
            if line_feed == self.line_start + 1 {
                return Ok(Some(line_feed + 1));
            }
            self.position = line_feed + 1;
            self.line_start = self.position;
        }
        self.position = bytes.len();
        Ok(None)
    }
}

/// A parsed head. It borrows from the connection's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// The request target without scheme and authority. It begins with `/`, or is `*`.
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: &'a [Header<'a>],
    pub(crate) meta: RequestMeta,
}

/// The parts of a head that decide about the body and the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestMeta {
    pub(crate) framing: Framing,
    /// The client is ready for another exchange on this connection (RFC 9112 §9.3).
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    /// HTTP/1.0: replies cannot be chunked, and keep-alive must be confirmed.
    pub(crate) http10: bool,
}

/// The end of a request's body (RFC 9112 §6.3). A response has more ways to end: [`BodyEnd`].
///
/// [`BodyEnd`]: crate::http1::response_head::BodyEnd
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The body has this many bytes; 0 if the head announces no body.
    Sized(usize),
    Chunked,
}

/// Parses the head at the beginning of `bytes`, including its final empty line, and returns its length too.
pub(crate) fn parse<'s, 'a: 's>(
    bytes: &'a [u8],
    headers: &'s mut Vec<Header<'a>>,
    limits: &Limits,
) -> Result<(Head<'s>, usize), ProtocolError> {
    let (method, target, http10, line_end) = request_line(bytes)?;
    let head_bytes = fields::parse(bytes, line_end, headers, limits.headers_max)?;
    if target.len() > limits.target_bytes_max {
        return Err(ProtocolError::TargetTooLong);
    }
    let path_and_query = path_and_query(method, target).ok_or(ProtocolError::TargetForm)?;
    let meta = meta(headers, http10, limits)?;
    Ok((Head { method, path_and_query, headers, meta }, head_bytes))
}

impl From<FieldError> for ProtocolError {
    fn from(error: FieldError) -> ProtocolError {
        match error {
            FieldError::Partial | FieldError::Malformed => ProtocolError::MalformedHead,
            FieldError::BareLineFeed => ProtocolError::BareLineFeed,
            FieldError::TooMany => ProtocolError::TooManyHeaders,
        }
    }
}

/// Method, target, whether the version is 1.0, and where the next line begins (RFC 9112 §3).
fn request_line(bytes: &[u8]) -> Result<(&str, &str, bool, usize), ProtocolError> {
    if bytes.first() == Some(&b'\n') {
        return Err(ProtocolError::BareLineFeed);
    }
    // Unlike patterns, comparisons of arrays are one instruction each.
    let (method, target_start) = if bytes.first_chunk() == Some(b"GET ") {
        ("GET", 4)
    } else if bytes.first_chunk() == Some(b"POST") && bytes.get(4) == Some(&b' ') {
        ("POST", 5)
    } else {
        until_blank(bytes, 0, super::is_token_byte).ok_or(ProtocolError::MalformedHead)?
    };
    let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
    let (target, version_start) = until_blank(bytes, target_start, is_visible).ok_or(ProtocolError::MalformedHead)?;
    let version = bytes[version_start..].first_chunk();
    let http10 = version == Some(b"HTTP/1.0");
    if !http10 && version != Some(b"HTTP/1.1") {
        let is_other = names_other_version(bytes);
        return Err(if is_other { ProtocolError::Version } else { ProtocolError::MalformedHead });
    }
    Ok((method, target, http10, fields::line_end(bytes, version_start + 8)?))
}

/// The word that begins at `from`, which a blank ends, and where the next one begins.
#[inline(always)]
fn until_blank(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> Option<(&str, usize)> {
    let length = bytes[from..].iter().position(|byte| !belongs(*byte)).filter(|length| *length > 0)?;
    let word = std::str::from_utf8(&bytes[from..from + length]).ok()?;
    (bytes[from + length] == b' ').then_some((word, from + length + 1))
}

/// The error for a head that is larger than `head_bytes_max`: the target or the whole head is too large.
pub(crate) fn oversized_error(bytes: &[u8], limits: &Limits) -> ProtocolError {
    let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes, |end| &bytes[..end]);
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target.len() > limits.target_bytes_max { ProtocolError::TargetTooLong } else { ProtocolError::HeadTooLarge }
}

/// Distinguishes `GET / HTTP/2.0` (another version: 505) from `GET / FOO` (malformed: 400).
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(_), Some(_), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version else { return false };
    major.is_ascii_digit() && minor.is_ascii_digit()
}

/// The path and query of a target in origin form, in absolute form (RFC 9112 §3.2.2: servers must accept it), or `*`
/// for OPTIONS.
///
/// An absolute URI without a path means `/`. With a query but no path it is rejected, because no path could match, and
/// so is one without a host (RFC 9110 §4.2.1). No form has a fragment: some readers cut it off, others take it for a
/// part of the path. CONNECT has a form of its own (RFC 9112 §3.2.3), and a 2xx answer to it would begin a tunnel.
fn path_and_query<'a>(method: &str, target: &'a str) -> Option<&'a str> {
    if target.contains('#') || method == "CONNECT" {
        return None;
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some(target);
    }
    let after = |prefix: &str| {
        let start = target.get(..prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| &target[prefix.len()..])
    };
    let rest = after("http://").or_else(|| after("https://"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let has_host = !authority.is_empty() && !authority.starts_with(':') && is_host_and_port(authority.as_bytes());
    match path {
        _ if !has_host => None,
        "" => Some("/"),
        path => Some(path).filter(|path| path.starts_with('/')),
    }
}

fn meta(headers: &[Header<'_>], http10: bool, limits: &Limits) -> Result<RequestMeta, ProtocolError> {
    let mut length = None;
    let mut chunked = false;
    let mut hosts = 0;
    let mut close = false;
    let mut keep_alive = false;
    let mut expects_continue = false;
    for header in headers {
        let is = |name: &str| header.is(name);
        // The platform's headers are most of all, and none of the five that matter here.
        if let [b'x' | b'X', ..] = header.name {
            continue;
        }
        match header.name.len() {
            4 if is("host") => {
                if !is_host_and_port(header.value) {
                    return Err(ProtocolError::Host);
                }
                hosts += 1;
            }
            6 if is("expect") => {
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ProtocolError::Expectation);
                }
                expects_continue = !http10;
            }
            10 if is("connection") => {
                for option in header.value.split(|&byte| byte == b',') {
                    close |= option.trim_ascii().eq_ignore_ascii_case(b"close");
                    keep_alive |= option.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("content-length") => {
                let number = whole_number(header.value).filter(|_| length.is_none());
                length = Some(number.ok_or(ProtocolError::ContentLength)?);
            }
            17 if is("transfer-encoding") => {
                if chunked || http10 {
                    return Err(ProtocolError::TransferEncoding);
                }
                chunked = only_chunked(header.value)?;
            }
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && !http10) {
        return Err(ProtocolError::Host);
    }
    let framing = match (chunked, length) {
        (true, Some(_)) => return Err(ProtocolError::LengthAndCoding),
        (true, None) => Framing::Chunked,
        (false, length) => Framing::Sized(within_body_limit(length.unwrap_or(0), limits)?),
    };
    let keep_alive = !close && (!http10 || keep_alive);
    Ok(RequestMeta { framing, keep_alive, expects_continue, http10 })
}

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2) without the comma. In anything else, such as a user or a
/// comma, some readers see another host.
fn is_host_and_port(value: &[u8]) -> bool {
    let name_bytes = value.iter().position(|byte| !super::is_host_byte(*byte)).unwrap_or(value.len());
    let port = match value.split_at(name_bytes) {
        ([], [b'[', rest @ ..]) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) if end > 0 && is_host(&rest[..end], b":") => &rest[end + 1..],
            _ => return false,
        },
        (_, port @ ([] | [b':', ..])) => port,
        // Perhaps with escapes.
        _ => {
            let (host, port) = value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len()));
            if !is_host(host, b"") {
                return false;
            }
            port
        }
    };
    matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit)
}

/// Whether all bytes are those of hosts, or among `more`, or belong to whole escapes.
#[cold]
fn is_host(text: &[u8], more: &[u8]) -> bool {
    let is_plain = |byte: &u8| super::is_host_byte(*byte) || more.contains(byte);
    text.iter().all(|byte| is_plain(byte) || *byte == b'%') && has_whole_escapes(text)
}

fn has_whole_escapes(text: &[u8]) -> bool {
    let is_whole = |behind: &[u8]| behind.len() >= 2 && behind[..2].iter().all(u8::is_ascii_hexdigit);
    text.split(|&byte| byte == b'%').skip(1).all(is_whole)
}

fn within_body_limit(length: u64, limits: &Limits) -> Result<usize, ProtocolError> {
    usize::try_from(length).ok().filter(|&length| length <= limits.body_bytes_max).ok_or(ProtocolError::BodyTooLarge)
}

/// `1*DIGIT` (RFC 9110 §8.6), without a sign and not a list. A number of more than 64 bits is too large, not malformed.
fn whole_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// RFC 9112 §6.1: an unknown coding gets 501, also if a final `chunked` follows it. Everything else that is not
/// `chunked` alone gets 400, because two readers could see two framings in it.
fn only_chunked(value: &[u8]) -> Result<bool, ProtocolError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let codings = || value.split(|&byte| byte == b',').map(|coding| coding.trim_ascii());
    let known_token = |coding: &[u8]| !coding.is_empty() && coding.iter().all(|&byte| super::is_token_byte(byte));
    let chunked_count = codings().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    let chunked_last = codings().next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    if codings().all(known_token) && chunked_count <= 1 && (chunked_count == 0 || chunked_last) {
        return Err(ProtocolError::UnknownCoding);
    }
    Err(ProtocolError::TransferEncoding)
}

#[cfg(test)]
mod tests;
