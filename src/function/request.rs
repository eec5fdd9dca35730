//! A request as callbacks see it, borrowed from the connection's buffer.

use crate::function::error::Error;
use crate::function::query;
use crate::http1::fields::Header;
use crate::platform::headers;
use crate::tuning::LOGGED_ID_BYTES_MAX;
use serde_core::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

/// A request id for log lines: visible ASCII of bounded length. It stays bytes, because few requests need its text.
#[derive(Clone, Copy)]
pub(crate) struct LoggedId<'a>(&'a [u8]);

impl<'a> LoggedId<'a> {
    /// Stands for the request id in log lines if there is none.
    pub(crate) const NONE: LoggedId<'static> = LoggedId(b"-");

    /// Cut at the first character that is not visible ASCII, because the rest could look like another part of the line
    /// (C-LOG-1).
    pub(crate) fn new(id: &'a [u8]) -> LoggedId<'a> {
        let most = id.len().min(LOGGED_ID_BYTES_MAX);
        let shown = visible_bytes(&id[..most]);
        if shown == 0 { LoggedId::NONE } else { LoggedId(&id[..shown]) }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    #[cold]
    pub(crate) fn text(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl fmt::Display for LoggedId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// One whole request, head and body. It borrows from the connection's buffer while the callback runs.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: Headers<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) peer: Peer,
}

impl<'a> Request<'a> {
    /// The method as the client sent it. Methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The path as the client sent it, neither decoded nor normalised. It begins with `/`, or is `*` (OPTIONS).
    #[inline(always)]
    pub fn path(&self) -> &'a str {
        &self.path_and_query[..self.query_mark().unwrap_or(self.path_and_query.len())]
    }

    /// The text after the first `?`, as the client sent it.
    pub fn query(&self) -> Option<&'a str> {
        self.query_mark().map(|mark| &self.path_and_query[mark + 1..])
    }

    /// Name and value of each pair of the query, decoded: `+` is a blank, `%c3%a4` is `ä`. Bytes that are not UTF-8
    /// become U+FFFD. A name can occur more than once.
    ///
    /// ```
    /// # use fc_hooks::{Reply, Request, Result};
    /// fn find(request: &Request) -> Result {
    ///     let Some((_, name)) = request.query_pairs().find(|(name, _)| name == "item") else {
    ///         return Ok(Reply::text("which item?").with_status(400)?);
    ///     };
    ///     Ok(format!("looking for {name}").into())
    /// }
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        query::pairs(self.query().unwrap_or_default())
    }

    /// The value of the first header with that name, as [`Headers::get`].
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)
    }

    /// The body as a value, from JSON.
    ///
    /// # Errors
    /// The body is no JSON, or JSON of another shape. The mistake is the client's: with `?`, an HTTP call answers 400
    /// and says in which line and column it is.
    pub fn json<T: Deserialize<'a>>(&self) -> crate::Result<T> {
        serde_json::from_slice(self.body).map_err(|error| Error::new(error).of_client())
    }

    /// `str::split_once` would cost as much as the rest of finding a route.
    fn query_mark(&self) -> Option<usize> {
        self.path_and_query.bytes().position(|byte| byte == b'?')
    }

    pub(crate) fn logged_id(&self) -> LoggedId<'a> {
        LoggedId::new(self.headers.find(headers::REQUEST_ID).unwrap_or_default())
    }

    /// Every header, including the platform's.
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The decoded body. For an event it is the event, byte for byte (C-INV-1).
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The other end of the connection. On the platform that is the gateway; the client's own address is
    /// [`Context::client_ip`](crate::Context::client_ip).
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .field("peer", &format_args!("{}", self.peer))
            .finish_non_exhaustive()
    }
}

/// The number of bytes before the first one that is not visible ASCII. Eight at a time: every call's id is looked at.
fn visible_bytes(bytes: &[u8]) -> usize {
    const LOW: u64 = u64::MAX / 0xff;
    let (eights, _) = bytes.as_chunks::<8>();
    let is_visible = |eight: &&[u8; 8]| {
        let eight = u64::from_ne_bytes(**eight);
        // A byte has its high bit set in one of the three unless it is between `!` and `~`.
        (eight | eight.wrapping_add(LOW) | eight.wrapping_sub(LOW * 0x21)) & (LOW << 7) == 0
    };
    let known = 8 * eights.iter().take_while(is_visible).count();
    let rest = bytes[known..].iter().position(|byte| !byte.is_ascii_graphic());
    rest.map_or(bytes.len(), |more| known + more)
}

/// The headers of a request, in the order in which they came. `Debug` withholds the values of secret ones.
#[derive(Clone, Copy)]
pub struct Headers<'a>(pub(crate) &'a [Header<'a>]);

impl<'a> Headers<'a> {
    /// The value of the first header with that name, whose case does not matter. None if it is absent or not UTF-8.
    #[inline(always)]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.get_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// As [`Headers::get`], also for values that are not UTF-8.
    pub fn get_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|header| header.is_any_case(name)).map(|header| header.value)
    }

    /// [`Headers::get_bytes`] of a known name in small letters, which each request asks for.
    #[inline(always)]
    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|header| header.is(name)).map(|header| header.value)
    }

    /// The name and the value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.0.iter().map(|header| (header.name(), header.value))
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a header of this name holds a secret: the function's credentials (C-LOG-5), the tracing endpoint, or the
    /// client's authentication.
    pub fn is_secret(name: &str) -> bool {
        const OF_CLIENTS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
        headers::SECRET.iter().chain(&OF_CLIENTS).any(|secret| name.eq_ignore_ascii_case(secret))
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| {
            let value = if Headers::is_secret(name) { WITHHELD.into() } else { value.escape_ascii().to_string() };
            (name, value)
        });
        f.debug_map().entries(shown).finish()
    }
}

/// Stands in the place of a secret.
pub(crate) const WITHHELD: &str = "[withheld]";

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP peer.
    Ip(SocketAddr),
    /// A peer on a Unix socket, which has no address.
    Unix,
    /// No peer: the event came from the environment (C-JOB-2).
    None,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(path_and_query: &'a str, headers: &'a [Header<'a>]) -> Request<'a> {
        Request { method: "GET", path_and_query, headers: Headers(headers), body: b"", peer: Peer::Unix }
    }

    /// Any byte at any place ends what is visible, or does not.
    #[test]
    fn visible_bytes_are_counted() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let expected = if byte.is_ascii_graphic() { length } else { place };
                    assert_eq!(visible_bytes(&bytes), expected, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn path_and_query() {
        let cases = [("/", "/", None), ("/a?", "/a", Some("")), ("/a?b?c", "/a", Some("b?c")), ("*", "*", None)];
        for (target, path, query) in cases {
            let request = request(target, &[]);
            assert_eq!((request.path(), request.query()), (path, query));
        }
    }

    #[test]
    fn bodies_of_json() {
        let with = |body| Request { body, ..request("/?a=b+c", &[]) };
        assert_eq!(with(b"[1, 2]").json::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(with(br#"["a"]"#).json::<Vec<&str>>().unwrap(), ["a"]);
        let error = with(b"[1,").json::<Vec<u8>>().unwrap_err();
        assert_eq!((error.status(), error.error_type()), (400, "serde_json::Error"));
        assert!(error.to_string().contains("line 1 column 3"), "{error}");
        assert_eq!(with(b"").query_pairs().next(), Some(("a".into(), "b c".into())));
    }

    /// C-LOG-1: an id cannot look like a failure, another id or a line.
    #[test]
    fn ids_in_the_log_are_plain() {
        let long = "x".repeat(200);
        let cases: [(&[u8], &str); 8] = [
            (b"1-2-3", "1-2-3"),
            (b"", "-"),
            (b" 1", "-"),
            (b"1, Error: Unhandled function error", "1,"),
            (b"1\t2", "1"),
            ("1\u{85}FC".as_bytes(), "1"),
            ("1\u{202e}2".as_bytes(), "1"),
            (long.as_bytes(), &long[..LOGGED_ID_BYTES_MAX]),
        ];
        for (value, shown) in cases {
            let headers = [Header::new("x-fc-request-id", value)];
            assert_eq!(request("/", &headers).logged_id().text(), shown);
        }
        assert_eq!(request("/", &[]).logged_id().text(), "-");
    }

    #[test]
    fn headers_ignore_case_and_debug_withholds() {
        let headers = [
            Header::new("X-Fc-Security-Token", b"S3CRET"),
            Header::new("Authorization", b"S3CRET"),
            Header::new("a", b"\xff"),
            Header::new("A", b"second"),
        ];
        let request = request("/", &headers);
        assert_eq!(request.headers().get("x-fc-security-token"), Some("S3CRET"));
        assert_eq!((request.headers().get("A"), request.headers().get_bytes("A")), (None, Some(&b"\xff"[..])));
        let shown = format!("{request:?}");
        assert!(!shown.contains("S3CRET") && shown.contains("second") && shown.contains(WITHHELD), "{shown}");
    }
}
