//! HTTP/1.1 without I/O: bytes and the awake time come in; requests, bytes and the next deadline come out.
//!
//! Nothing here reads a clock, knows a socket, or knows what a hook or a platform is. Incomplete input is never taken
//! for wrong input; a wrong head may be detected only at its end.
//!
//! The decoder is strict where two readers could disagree about the end of a message, because such disagreements allow
//! request smuggling: CRLF only, no obsolete folding, one length and none beside a transfer coding, no coding but
//! `chunked`. Tables in the tests of [`head`] and [`chunked`] list what is rejected, and with which status.

pub(crate) mod chunked;
pub(crate) mod decoder;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod response_head;

/// `tchar` of RFC 9110 §5.6.2: a byte of a field's name.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
