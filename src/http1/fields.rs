//! The header lines of a head (RFC 9112 §5), read in one pass.
//!
//! A request on the platform has 26 headers and 2 kB of head, so most of the parser's work is here. Values are looked
//! at eight bytes at a time, long ones by loops that the compiler turns into vector instructions. Nothing asks the
//! processor for its abilities: under a hypervisor the question costs more than a request.
//!
//! Strict where two readers could disagree: CRLF only, no blank before the colon, no folding, no control byte.

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

    /// Whether the header has this name, in any case.
    #[inline(always)]
    pub(crate) fn is(&self, name: &str) -> bool {
        // Most names differ in length, and most of the others in nothing, which is told without a call.
        let name = name.as_bytes();
        self.name.len() == name.len() && (self.name == name || self.name.eq_ignore_ascii_case(name))
    }

    /// The name as text. A token is ASCII.
    pub(crate) fn name(&self) -> &'a str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }
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

/// Reads the header lines that begin at `start`, up to the empty line, into `storage`. Returns their number and where
/// the head ends.
pub(crate) fn parse<'a>(
    bytes: &'a [u8],
    start: usize,
    storage: &mut [Header<'a>],
) -> Result<(usize, usize), FieldError> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    let mut count = 0;
    loop {
        let (name, behind) = match name_and_rest(rest) {
            (name, [b':', behind @ ..]) if !name.is_empty() => (name, behind),
            ([], [b'\r', b'\n', body @ ..]) => return Ok((count, bytes.len() - body.len())),
            ([], [b'\n', ..]) => return Err(FieldError::BareLineFeed),
            (_, []) | ([], [b'\r']) => return Err(FieldError::Partial),
            _ => return Err(FieldError::Malformed),
        };
        let (value, next) = value_and_rest(behind)?;
        *storage.get_mut(count).ok_or(FieldError::TooMany)? = Header { name, value };
        count += 1;
        rest = next;
    }
}

/// The value behind a colon, without the blanks around it, and the bytes behind its line end.
#[inline]
fn value_and_rest(mut bytes: &[u8]) -> Result<(&[u8], &[u8]), FieldError> {
    // Nearly always one blank.
    if let [b' ', behind @ ..] = bytes {
        bytes = behind;
    }
    while let [..=b' ', behind @ ..] = bytes
        && is_blank(bytes[0])
    {
        bytes = behind;
    }
    let mut end = control_byte(bytes, 0);
    while let Some(b'\t') = bytes.get(end) {
        end = control_byte(bytes, end + 1);
    }
    let (mut value, behind) = bytes.split_at(end);
    while let [before @ .., last @ ..=b' '] = value
        && is_blank(*last)
    {
        value = before;
    }
    match behind {
        [b'\r', b'\n', next @ ..] => Ok((value, next)),
        [] | [b'\r'] => Err(FieldError::Partial),
        [b'\n', ..] => Err(FieldError::BareLineFeed),
        _ => Err(FieldError::Malformed),
    }
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

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The bytes of a name, and those behind it.
#[inline]
fn name_and_rest(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut chunks = bytes.chunks_exact(8);
    let mut before = 0;
    for chunk in &mut chunks {
        for (index, byte) in chunk.iter().enumerate() {
            if !IS_TOKEN_BYTE[usize::from(*byte)] {
                return bytes.split_at(before + index);
            }
        }
        before += 8;
    }
    let rest = chunks.remainder();
    bytes.split_at(before + rest.iter().position(|byte| !IS_TOKEN_BYTE[usize::from(*byte)]).unwrap_or(rest.len()))
}

static IS_TOKEN_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = super::is_token_byte(byte as u8);
        byte += 1;
    }
    table
};

/// Blocks of long values.
const BLOCK: usize = 32;

/// The first control byte from `at` on, or the end.
#[inline]
pub(crate) fn control_byte(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    let place = |rest: &[u8], index: usize| bytes.len() - rest.len() + index;
    let mut eights = 0;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let found = controls(u64::from_le_bytes(*eight));
        if found != 0 {
            return place(rest, found.trailing_zeros() as usize / 8);
        }
        rest = behind;
        eights += 1;
        if eights == BLOCK / 8 {
            rest = without_plain_blocks(rest);
        }
    }
    place(rest, rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len()))
}

/// What follows the blocks in which there is no control byte.
#[inline(never)]
fn without_plain_blocks(mut bytes: &[u8]) -> &[u8] {
    while let Some((block, behind)) = bytes.split_first_chunk::<BLOCK>() {
        if block.iter().fold(false, |found, byte| found | byte.is_ascii_control()) {
            break;
        }
        bytes = behind;
    }
    bytes
}

/// The highest bit of each control byte of a word; behind the first one, other bits mean nothing.
fn controls(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    let below_blank = word.wrapping_sub(LOW * 0x20);
    let delete = (word ^ (LOW * 0x7f)).wrapping_sub(LOW);
    // A borrow reaches only bytes behind one that is found.
    (below_blank | delete) & !word & (LOW << 7)
}

#[cfg(test)]
mod tests;
