//! Finds the end of a reply, and checks that it is a good one: status 200, and a body with a Content-Length.
//!
//! Pure and without allocation, because it runs once for each of millions of requests. [`fc_emulator::http`] is the
//! client for everything else.

use fc_testkit::http::{BodyFraming, Head};

/// The largest reply that is assembled from pieces.
const BYTES_MAX: usize = 1024 * 1024;

/// A good reply at the start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The size of head and body.
    pub bytes: usize,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

/// The reply at the start of `bytes`, or `None` if more bytes are needed.
///
/// # Errors
/// If no further byte could make it a good reply; the text says why.
pub fn parse(bytes: &[u8]) -> Result<Option<Reply>, &'static str> {
    let Some(head) = Head::parse(bytes)? else { return Ok(None) };
    if head.status != 200 {
        return Err("the status of a reply is not 200");
    }
    let body_bytes = match head.framing {
        BodyFraming::Length(length) => length,
        BodyFraming::Chunked => return Err("a reply has a Transfer-Encoding; the load needs a Content-Length"),
        BodyFraming::UntilClose => return Err("a reply has no Content-Length"),
    };
    let whole = head.bytes + body_bytes;
    Ok((bytes.len() >= whole).then_some(Reply { bytes: whole, closes: head.closes }))
}

/// The bytes of a reply that is not whole. It is empty nearly always.
#[derive(Debug, Default)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// The reply that ends with these bytes, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are no good reply, or if more bytes follow the reply.
    pub fn add(&mut self, bytes: &[u8]) -> Result<Option<Reply>, &'static str> {
        let is_first = self.0.is_empty();
        if !is_first {
            self.0.extend_from_slice(bytes);
        }
        let all: &[u8] = if is_first { bytes } else { &self.0 };
        let length = all.len();
        match parse(all)? {
            Some(reply) if reply.bytes < length => Err("more bytes came than the reply"),
            Some(reply) => {
                self.0.clear();
                Ok(Some(reply))
            }
            None if length > BYTES_MAX => Err("a reply does not end"),
            None => {
                if is_first {
                    self.0.extend_from_slice(bytes);
                }
                Ok(None)
            }
        }
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: &[u8] = b"HTTP/1.1 200 OK\r\nx-fc-status: 200\r\ncontent-length: 5\r\n\r\nready";

    /// Good replies, and whether the server closes the connection after each.
    const GOOD: &[(&[u8], bool)] = &[
        (KEEP, false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nconnection: Close\r\n\r\nx", true),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", true),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", false),
    ];

    const BAD: &[(&[u8], &str)] = &[
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not 200"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "not 200"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", "not a number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
        (b"SSH-2.0-x\r\n", "not an HTTP/1 response"),
    ];

    #[test]
    fn good_replies_are_seen_when_they_are_whole_and_not_before() {
        for (bytes, closes) in GOOD {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} bytes of {}", bytes.escape_ascii());
            }
            let whole = Ok(Some(Reply { bytes: bytes.len(), closes: *closes }));
            assert_eq!(parse(bytes), whole, "{}", bytes.escape_ascii());
            assert_eq!(parse(&[bytes, KEEP].concat()), whole, "{} and another", bytes.escape_ascii());
        }
    }

    #[test]
    fn pieces_are_put_together_at_every_split() {
        let mut pieces = Pieces::default();
        for (bytes, closes) in GOOD {
            let whole = Ok(Some(Reply { bytes: bytes.len(), closes: *closes }));
            for cut in 1..bytes.len() {
                assert_eq!(pieces.add(&bytes[..cut]), Ok(None));
                assert_eq!(pieces.add(&bytes[cut..]), whole, "{cut} bytes of {}", bytes.escape_ascii());
            }
            for byte in &bytes[..bytes.len() - 1] {
                assert_eq!(pieces.add(&[*byte]), Ok(None));
            }
            assert_eq!(pieces.add(&bytes[bytes.len() - 1..]), whole);
        }
        assert_eq!(pieces.add(&[KEEP, b"H"].concat()), Err("more bytes came than the reply"));
        pieces.clear();
        assert_eq!(pieces.add(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"), Ok(None));
        assert_eq!(pieces.add(&vec![b'x'; BYTES_MAX]), Err("a reply does not end"));
    }

    #[test]
    fn bad_replies_are_never_taken_for_good_ones() {
        for (bytes, why) in BAD {
            for cut in 0..bytes.len() {
                assert!(!matches!(parse(&bytes[..cut]), Ok(Some(_))), "{cut} bytes of {}", bytes.escape_ascii());
            }
            let error = parse(bytes).expect_err("it is bad");
            assert!(error.contains(why), "{}: {error}", bytes.escape_ascii());
        }
    }
}
