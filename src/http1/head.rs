//! Where a head ends, what it says, and how its body is framed.
//!
//! `httparse` knows the grammar. Around it stand the rules it leaves to its users: line ends (it accepts a bare LF),
//! the form of the target, `Host`, and the framing headers. Must not know connections or buffers.

use crate::http1::error::ProtocolError;
use crate::limits::Limits;
use crate::tuning::{HEADERS_CAPACITY, HEADERS_USUAL};
use httparse::Status;
use std::mem::MaybeUninit;

/// Room for the headers of one head, untouched until headers fill it.
pub(crate) type HeaderStorage<'a> = [MaybeUninit<httparse::Header<'a>>];

/// As much as usual requests take. Lives on the stack of whoever parses.
pub(crate) fn small_header_storage<'a>() -> [MaybeUninit<httparse::Header<'a>>; HEADERS_USUAL] {
    [const { MaybeUninit::uninit() }; HEADERS_USUAL]
}

/// As much as any request may take.
#[cold]
pub(crate) fn large_header_storage<'a>() -> Vec<MaybeUninit<httparse::Header<'a>>> {
    let mut room = Vec::new();
    room.resize_with(HEADERS_CAPACITY, MaybeUninit::uninit);
    room
}

/// Looks for the end of a head in bytes that arrive piece by piece, each byte looked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadEndFinder {
    position: usize,
    line_start: usize,
}

impl HeadEndFinder {
    /// The length of the head with its final empty line, once it is there. The bytes before `position` must be those of
    /// the call before.
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

/// A parsed head, borrowed from the bytes it came in.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// The request target without scheme and authority: begins with `/`, or is `*`.
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: &'a [httparse::Header<'a>],
    pub(crate) meta: RequestMeta,
}

/// What the connection must remember of a head while its body arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestMeta {
    pub(crate) framing: Framing,
    /// The client is ready for another exchange on this connection (RFC 9112 §9.3).
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub(crate) expects_continue: bool,
    /// HTTP/1.0: no chunked replies, and keep-alive must be confirmed.
    pub(crate) http10: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As many bytes follow; none where the head announces no body.
    Sized(usize),
    Chunked,
}

/// Parses a head, its final empty line included, at the beginning of `bytes`; also says where it ends. Headers beyond
/// `room` are too many, as those beyond the limit are.
pub(crate) fn parse<'a>(
    bytes: &'a [u8],
    room: &'a mut HeaderStorage<'a>,
    limits: &Limits,
) -> Result<(Head<'a>, usize), ProtocolError> {
    let mut request = httparse::Request::new(&mut []);
    let room_max = limits.headers_max.min(room.len());
    let head_bytes = match request.parse_with_uninit_headers(bytes, &mut room[..room_max]) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) => return Err(ProtocolError::MalformedHead),
        Err(httparse::Error::TooManyHeaders) => return Err(ProtocolError::TooManyHeaders),
        Err(httparse::Error::Version) if names_other_version(bytes) => return Err(ProtocolError::Version),
        Err(_) => return Err(ProtocolError::MalformedHead),
    };
    if !has_strict_line_ends(&bytes[..head_bytes], request.headers) {
        return Err(ProtocolError::BareLineFeed);
    }
    // A complete parse has filled all three.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(ProtocolError::MalformedHead);
    };
    if target.len() > limits.target_bytes_max {
        return Err(ProtocolError::TargetTooLong);
    }
    let path_and_query = path_and_query(method, target).ok_or(ProtocolError::TargetForm)?;
    let headers: &'a [httparse::Header<'a>] = request.headers;
    let meta = meta(headers, minor == 0, limits)?;
    Ok((Head { method, path_and_query, headers, meta }, head_bytes))
}

/// Whether every line of a parsed head ends with CRLF. Its lines end where the next header's name begins, so nothing
/// has to be searched for.
fn has_strict_line_ends(head: &[u8], headers: &[httparse::Header<'_>]) -> bool {
    let begins_behind_crlf = |header: &httparse::Header<'_>| {
        let position = header.name.as_ptr().addr() - head.as_ptr().addr();
        head[..position].ends_with(b"\r\n")
    };
    // httparse skips line feeds in front of the request.
    head[0] != b'\n' && head.ends_with(b"\r\n\r\n") && headers.iter().all(begins_behind_crlf)
}

/// A head that has outgrown `head_bytes_max` without ending: says which part is to blame.
pub(crate) fn oversized_error(bytes: &[u8], limits: &Limits) -> ProtocolError {
    let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes, |end| &bytes[..end]);
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target.len() > limits.target_bytes_max { ProtocolError::TargetTooLong } else { ProtocolError::HeadTooLarge }
}

/// Tells `GET / HTTP/2.0` (well formed, not ours: 505) from `GET / FOO` (malformed: 400).
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(_), Some(_), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version else { return false };
    major.is_ascii_digit() && minor.is_ascii_digit()
}

/// Origin form, absolute form (RFC 9112 §3.2.2: servers must accept it), or `*` for OPTIONS. An absolute URI without a
/// path means `/`; with a query but no path it has no path to match and is refused, as is one without a host
/// (RFC 9110 §4.2.1). No form has a fragment: some readers cut it off, others take it for part of the path. CONNECT
/// knows no such form (RFC 9112 §3.2.3), and 2xx to it would begin a tunnel.
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

fn meta(headers: &[httparse::Header<'_>], http10: bool, limits: &Limits) -> Result<RequestMeta, ProtocolError> {
    let mut length = None;
    let mut chunked = false;
    let mut hosts = 0;
    let mut close = false;
    let mut keep_alive = false;
    let mut expects_continue = false;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        // The length tells most headers apart from the five that matter here before any byte is compared.
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

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2). More than that, a user or a comma say, is another host to
/// some readers. The comma is the one byte of the grammar that is left out.
fn is_host_and_port(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|&byte| byte == b']') {
            Some(end) if end > 0 => (&rest[..end], &rest[end + 1..]),
            _ => return false,
        },
        _ => value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len())),
    };
    let in_brackets = value.starts_with(b"[");
    let is_plain = |byte: &u8| is_name_byte(*byte) || (in_brackets && *byte == b':');
    let is_host = host.iter().all(is_plain)
        || (host.iter().all(|byte| is_plain(byte) || *byte == b'%') && has_whole_escapes(host));
    is_host && matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'=')
}

fn has_whole_escapes(text: &[u8]) -> bool {
    let is_whole = |behind: &[u8]| behind.len() >= 2 && behind[..2].iter().all(u8::is_ascii_hexdigit);
    text.split(|&byte| byte == b'%').skip(1).all(is_whole)
}

fn within_body_limit(length: u64, limits: &Limits) -> Result<usize, ProtocolError> {
    usize::try_from(length).ok().filter(|&length| length <= limits.body_bytes_max).ok_or(ProtocolError::BodyTooLarge)
}

/// `1*DIGIT` (RFC 9110 §8.6) and nothing around it: no sign, no list. What exceeds 64 bits is too large, not malformed.
fn whole_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// RFC 9112 §6.1: a coding that is not understood is 501; what names `chunked` in any other shape than alone is 400,
/// because two readers could see two framings in it.
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
