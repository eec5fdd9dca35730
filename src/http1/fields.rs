//! The header lines of a head (RFC 9112 §5), read in one pass.
//!
//! A request on the platform has 26 headers and 2 kB of head, so most of the parser's work is here.
//!
//! Strict where two readers could disagree: CRLF only, no blank before the colon, no folding, no control byte.

use crate::http1::scan::{plain_bytes, usual_name_bytes};

/// One header line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// A token, as it was sent.
    pub(crate) name: &'a [u8],
    /// Without the blanks around it.
    pub(crate) value: &'a [u8],
}

impl<'a> Header<'a> {
    pub(crate) const EMPTY: Header<'static> = Header { name: b"", value: b"" };

    /// A header of a known name.
    pub(crate) const fn new(name: &'a str, value: &'a [u8]) -> Header<'a> {
        Header { name: name.as_bytes(), value }
    }

    /// Whether the header has this name, which is given in small letters, digits and `-`, in any case.
    #[inline(always)]
    pub(crate) fn is(&self, name: &str) -> bool {
        debug_assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{name}");
        self.name.len() == name.len() && is_same_name(self.name, name.as_bytes())
    }

    /// Whether the header has this name, in any case of both.
    pub(crate) fn is_any_case(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The name as text. A token is ASCII.
    pub(crate) fn name(&self) -> &'a str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }
}

/// Whether a token is a name of the same length in small letters, digits and `-`. Eight bytes at a time, the last ones
/// twice, which becomes a few instructions where the name is known.
#[inline(always)]
fn is_same_name(sent: &[u8], name: &[u8]) -> bool {
    // This bit makes letters small. It turns no other byte of a token into a letter, a digit or `-`.
    const SMALL: u8 = 0x20;
    let differing = |sent: &[u8; 8], name: &[u8; 8]| {
        (u64::from_ne_bytes(*sent) | u64::from_ne_bytes([SMALL; 8])) ^ u64::from_ne_bytes(*name)
    };
    let (Some(sent_end), Some(name_end)) = (sent.last_chunk(), name.last_chunk()) else {
        return sent.iter().zip(name).all(|(sent, name)| sent | SMALL == *name);
    };
    let eights = sent.as_chunks().0.iter().zip(name.as_chunks().0);
    eights.fold(differing(sent_end, name_end), |bits, (sent, name)| bits | differing(sent, name)) == 0
}

/// Why no headers could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    /// The bytes end before the empty line does. What is there is no error so far.
    Partial,
    BareLineFeed,
    Malformed,
    TooMany,
}

/// Reads the header lines that begin at `start`, up to the empty line, into `headers`, whatever was there before.
/// Returns where the head ends.
pub(crate) fn parse<'a>(
    bytes: &'a [u8],
    start: usize,
    headers: &mut Vec<Header<'a>>,
    headers_max: usize,
) -> Result<usize, FieldError> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    headers.clear();
    loop {
        let (header, next) = match usual_line(rest) {
            Some(line) => line,
            None => match any_line(rest)? {
                Line::Header(header, next) => (header, next),
                Line::Empty(body) => return Ok(bytes.len() - body.len()),
            },
        };
        if headers.len() >= headers_max {
            return Err(FieldError::TooMany);
        }
        headers.push(header);
        rest = next;
    }
}

enum Line<'a> {
    /// With the bytes behind its line end.
    Header(Header<'a>, &'a [u8]),
    /// The end of the head, with the bytes behind it.
    Empty(&'a [u8]),
}

/// A line as nearly all are: a name of letters and `-`, a colon, one blank, and a value of ASCII. Nothing is
/// refused here.
#[inline(always)]
fn usual_line(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    // Both searches begin here, so that a processor need not wait for the end of the name before it looks for that of
    // the line, where the next line begins.
    let (line, behind) = bytes.split_at_checked(plain_bytes(bytes))?;
    let (line_end, next) = behind.split_first_chunk::<2>()?;
    let (name, behind) = line.split_at_checked(usual_name_bytes(bytes))?;
    let (colon, value) = behind.split_first_chunk::<2>()?;
    let is_trimmed = value.first().is_none_or(|byte| *byte != b' ') && value.last().is_none_or(|byte| *byte != b' ');
    (colon == b": " && line_end == b"\r\n" && !name.is_empty() && is_trimmed).then_some((Header { name, value }, next))
}

/// Any line.
#[cold]
#[inline(never)]
fn any_line(bytes: &[u8]) -> Result<Line<'_>, FieldError> {
    let name_bytes = bytes.iter().position(|byte| !super::is_token_byte(*byte)).unwrap_or(bytes.len());
    let (name, behind) = match bytes.split_at(name_bytes) {
        (name, [b':', behind @ ..]) if !name.is_empty() => (name, behind),
        ([], [b'\r', b'\n', body @ ..]) => return Ok(Line::Empty(body)),
        ([], [b'\n', ..]) => return Err(FieldError::BareLineFeed),
        (_, []) | ([], [b'\r']) => return Err(FieldError::Partial),
        _ => return Err(FieldError::Malformed),
    };
    let (mut value, behind) = behind.split_at(text_bytes(behind));
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = value {
        value = inner;
    }
    match behind {
        [b'\r', b'\n', next @ ..] => Ok(Line::Header(Header { name, value }, next)),
        [] | [b'\r'] => Err(FieldError::Partial),
        [b'\n', ..] => Err(FieldError::BareLineFeed),
        _ => Err(FieldError::Malformed),
    }
}

/// How many bytes at the beginning are no control bytes. A tab is the one that values may have.
pub(crate) fn text_bytes(bytes: &[u8]) -> usize {
    let ends_text = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    bytes.iter().position(ends_text).unwrap_or(bytes.len())
}

/// Where the line behind this line end begins.
pub(crate) fn line_end(bytes: &[u8], at: usize) -> Result<usize, FieldError> {
    match bytes.get(at..) {
        None | Some([] | [b'\r']) => Err(FieldError::Partial),
        Some([b'\r', b'\n', ..]) => Ok(at + 2),
        Some([b'\n', ..]) => Err(FieldError::BareLineFeed),
        Some(_) => Err(FieldError::Malformed),
    }
}

#[cfg(test)]
mod tests;
