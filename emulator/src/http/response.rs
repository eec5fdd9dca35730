//! One response as the checks see it.

use super::body::{Body, Held};

/// One whole response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `1` for HTTP/1.1, `0` for HTTP/1.0.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// Names as they were sent, and values without the blanks around them, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing. Where the bodies of all answers together are too large, the end of it is missing.
    pub body: Vec<u8>,
    /// The number of bytes of the body, those that are missing in `body` included.
    pub body_bytes: usize,
    /// The size of the status line and the headers, with the empty line that ends them.
    pub head_bytes: usize,
    held: Held,
}

impl Response {
    /// A response with this version and status, and nothing else.
    pub fn new(minor_version: u8, status: u16) -> Self {
        Self { minor_version, status, ..Self::default() }
    }

    /// The same response with this body.
    pub(super) fn with_body(self, body: Body) -> Self {
        let body_bytes = body.bytes_total;
        let (body, held) = body.finish();
        Self { body, body_bytes, held, ..self }
    }

    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all headers of this name, in any case.
    pub fn headers_named<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the body is the same as these bytes. `None` if a part of the body was not kept.
    pub fn body_is(&self, bytes: &[u8]) -> Option<bool> {
        if self.body_bytes != bytes.len() || !bytes.starts_with(&self.body) {
            return Some(false);
        }
        (self.body.len() == bytes.len()).then_some(true)
    }

    /// Whether the status is a success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server promises to keep the connection open.
    pub fn keeps_alive(&self) -> bool {
        let says = |word: &str| {
            let mut tokens = self.headers_named("connection").flat_map(|value| value.split(','));
            tokens.any(|token| token.trim().eq_ignore_ascii_case(word))
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_by_version_and_header() {
        for (minor_version, connection, keeps) in
            [(1, None, true), (1, Some("Close"), false), (0, None, false), (0, Some("keep-alive"), true)]
        {
            let headers = connection.map(|value| ("Connection".to_owned(), value.to_owned())).into_iter().collect();
            let response = Response { minor_version, headers, ..Response::default() };
            assert_eq!(response.keeps_alive(), keeps, "HTTP/1.{minor_version} {connection:?}");
        }
    }

    #[test]
    fn a_body_that_was_not_kept_whole_is_neither_equal_nor_different() {
        let answer = |body: &str, body_bytes| Response { body: body.into(), body_bytes, ..Response::default() };
        assert_eq!(answer("abc", 3).body_is(b"abc"), Some(true));
        assert_eq!(answer("abd", 3).body_is(b"abc"), Some(false));
        assert_eq!(answer("ab", 3).body_is(b"abc"), None);
        assert_eq!(answer("ab", 4).body_is(b"abc"), Some(false));
        assert_eq!(answer("xb", 3).body_is(b"abc"), Some(false));
    }

    #[test]
    fn bodies_for_people() {
        assert_eq!(cut("one\ntwo  \n", 20), "one two");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
