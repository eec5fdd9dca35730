//! HTTP/1.1 without I/O: bytes and the awake time come in; requests, bytes and the next deadline come out.
//!
//! Nothing here reads a clock, knows a socket, or knows what a hook is. Input that is merely incomplete is told apart
//! from input that is wrong; a head that is wrong may be told only at its end.
//!
//! Strict where peers could disagree about where a message ends, because that is how requests are smuggled: CRLF only,
//! no obsolete folding, one length and never beside a transfer coding, no coding but `chunked`.
//! What is refused, and with which status, is one table each in the tests of [`head`] and [`chunked`].

pub(crate) mod chunked;
pub(crate) mod decoder;
pub(crate) mod error;
pub(crate) mod head;
pub(crate) mod response_head;

/// `tchar` of RFC 9110 §5.6.2: what names of fields are made of.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
