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
mod scan;

/// `tchar` of RFC 9110 §5.6.2: a byte of a field's name.
#[inline(always)]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// A byte of a host's name or address without its colons and escapes: `unreserved` and `sub-delims` of RFC 3986 §2, but
/// no comma.
#[inline(always)]
pub(crate) fn is_host_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & HOST != 0
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;

/// The classes that each byte belongs to. A look costs less than the comparisons.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        let is_letter = byte.is_ascii_alphanumeric();
        if is_letter
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            classes[byte as usize] |= TOKEN;
        }
        if is_letter || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'=') {
            classes[byte as usize] |= HOST;
        }
        byte += 1;
    }
    classes
};
