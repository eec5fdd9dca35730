//! The chunked transfer coding (RFC 9112 §7.1), decoded in place.
//!
//! The data moves over the framing within its buffer, so a chunked body becomes one slice without a second buffer.
//! Extensions are skipped and trailers dropped; both are bounded. Must not know what precedes the body.

use crate::http1::error::ProtocolError;
use crate::http1::is_token_byte;
use crate::tuning::CHUNK_OVERHEAD_BYTES_MAX;

/// A decoder at some point of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoder {
    state: State,
    /// Extension and trailer bytes so far.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// One to sixteen hexadecimal digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// After `;`: everything up to the end of the line is skipped.
    Extension {
        size: u64,
    },
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: usize,
    },
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer {
        colon: bool,
    },
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

/// The position of the decoder after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Raw bytes that were decoded.
    pub(crate) read: usize,
    /// Decoded bytes, from the start of the region.
    pub(crate) written: usize,
    pub(crate) done: bool,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { state: State::Size { size: 0, digits: 0 }, overhead: 0 }
    }

    /// Decodes more. `bytes[..written]` is the body so far, `bytes[read..]` is raw input. `body_bytes_max` bounds the
    /// whole decoded body.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut [u8],
        mut read: usize,
        mut written: usize,
        body_bytes_max: usize,
    ) -> Result<Progress, ProtocolError> {
        while self.state != State::Done && read < bytes.len() {
            if let State::Data { left } = self.state {
                let run = left.min(bytes.len() - read);
                bytes.copy_within(read..read + run, written);
                read += run;
                written += run;
                self.state = if run == left { State::DataReturn } else { State::Data { left: left - run } };
                continue;
            }
            self.state = self.frame(bytes[read], body_bytes_max - written)?;
            read += 1;
        }
        Ok(Progress { read, written, done: self.state == State::Done })
    }

    /// One byte of framing.
    fn frame(&mut self, byte: u8, body_bytes_left: usize) -> Result<State, ProtocolError> {
        use ProtocolError::{ChunkEnd, ChunkSize, Trailer};
        match self.state {
            State::Size { size, digits } => match (byte, hex(byte)) {
                (_, Some(_)) if digits == 16 => Err(ChunkSize),
                (_, Some(digit)) => Ok(State::Size { size: size << 4 | digit, digits: digits + 1 }),
                (b';', None) if digits > 0 => Ok(State::Extension { size }),
                (b'\r', None) if digits > 0 => Ok(State::SizeLineFeed { size }),
                _ => Err(ChunkSize),
            },
            State::Extension { size } => match byte {
                b'\r' => Ok(State::SizeLineFeed { size }),
                byte if is_text(byte) => self.spend(State::Extension { size }),
                _ => Err(ChunkSize),
            },
            State::SizeLineFeed { size } => {
                expect(byte, b'\n', ChunkSize)?;
                let left = usize::try_from(size).ok().filter(|&left| left <= body_bytes_left);
                let left = left.ok_or(ProtocolError::BodyTooLarge)?;
                Ok(if left == 0 { State::TrailerStart } else { State::Data { left } })
            }
            State::DataReturn => expect(byte, b'\r', ChunkEnd).map(|()| State::DataLineFeed),
            State::DataLineFeed => expect(byte, b'\n', ChunkEnd).map(|()| State::Size { size: 0, digits: 0 }),
            State::TrailerStart => match byte {
                b'\r' => Ok(State::EndLineFeed),
                // A line that begins with white space is obsolete folding; one that begins with a colon has no name.
                byte if is_token_byte(byte) => self.spend(State::Trailer { colon: false }),
                _ => Err(Trailer),
            },
            State::Trailer { colon: false } => match byte {
                b':' => self.spend(State::Trailer { colon: true }),
                byte if is_token_byte(byte) => self.spend(State::Trailer { colon: false }),
                _ => Err(Trailer),
            },
            State::Trailer { colon: true } => match byte {
                b'\r' => Ok(State::TrailerLineFeed),
                byte if is_text(byte) => self.spend(State::Trailer { colon: true }),
                _ => Err(Trailer),
            },
            State::TrailerLineFeed => expect(byte, b'\n', Trailer).map(|()| State::TrailerStart),
            State::EndLineFeed => expect(byte, b'\n', Trailer).map(|()| State::Done),
            State::Data { .. } | State::Done => unreachable!("decode handles both itself"),
        }
    }

    fn spend(&mut self, next: State) -> Result<State, ProtocolError> {
        self.overhead += 1;
        if self.overhead > CHUNK_OVERHEAD_BYTES_MAX { Err(ProtocolError::ChunkOverhead) } else { Ok(next) }
    }
}

fn expect(byte: u8, wanted: u8, otherwise: ProtocolError) -> Result<(), ProtocolError> {
    if byte == wanted { Ok(()) } else { Err(otherwise) }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// A byte of a field's value (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces, as a connection does: new bytes follow those that are left.
    fn decode_cut(input: &[u8], cuts: &[usize], max: usize) -> Result<(Vec<u8>, bool, Vec<u8>), ProtocolError> {
        let (mut decoder, mut buffer) = (Decoder::new(), Vec::new());
        let mut progress = Progress { read: 0, written: 0, done: false };
        let mut from = 0;
        for &to in cuts.iter().chain([&input.len()]) {
            buffer.extend_from_slice(&input[from..to]);
            from = to;
            progress = decoder.decode(&mut buffer, progress.read, progress.written, max)?;
        }
        Ok((buffer[..progress.written].to_vec(), progress.done, buffer[progress.read..].to_vec()))
    }

    /// Input, then the decoded body and the rest of the input.
    #[test]
    fn accepted_however_cut() {
        let cases: [(&str, &str, &str); 9] = [
            ("0\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", "GET /"),
            ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", ""),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", "x", ""),
            ("1;a=b;c=\"d\"\r\nx\r\n0;last\r\n\r\n", "x", ""),
            ("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", ""),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
            ("1\r\nx\r\n0\r\n\r\n0\r\n\r\n", "x", "0\r\n\r\n"),
        ];
        for (input, body, rest) in cases {
            let input = input.as_bytes();
            let expected = Ok((body.as_bytes().to_vec(), true, rest.as_bytes().to_vec()));
            let every: Vec<usize> = (0..input.len()).collect();
            assert_eq!(decode_cut(input, &every, 100), expected, "byte by byte: {}", input.escape_ascii());
            for cut in 0..=input.len() {
                assert_eq!(decode_cut(input, &[cut], 100), expected, "cut at {cut}: {}", input.escape_ascii());
            }
            for end in 0..input.len() - rest.len() {
                let (_, done, _) = decode_cut(&input[..end], &[], 100).expect("a prefix is never an error");
                assert!(!done, "{end} bytes of {} are no whole body", input.escape_ascii());
            }
        }
    }

    #[test]
    fn refused() {
        use ProtocolError::*;
        let cases: [(&str, ProtocolError); 25] = [
            ("\r\n", ChunkSize),
            (";a\r\n", ChunkSize),
            ("-1\r\n", ChunkSize),
            ("+1\r\n", ChunkSize),
            ("0x1\r\n", ChunkSize),
            (" 1\r\n", ChunkSize),
            // White space after the size: some readers skip it, others stop there.
            ("1 \r\nx\r\n", ChunkSize),
            ("1\nx\r\n", ChunkSize),
            ("1\rx", ChunkSize),
            ("1;a\nx", ChunkSize),
            ("1;a\0\r\n", ChunkSize),
            ("00000000000000001\r\n", ChunkSize),
            ("FFFFFFFFFFFFFFFF\r\n", BodyTooLarge),
            ("b\r\n", BodyTooLarge),
            ("5\r\nhello\r\n6\r\n", BodyTooLarge),
            ("1\r\nxx", ChunkEnd),
            ("1\r\nx\n", ChunkEnd),
            ("1\r\nx\rx", ChunkEnd),
            ("0\r\n folded: x\r\n\r\n", Trailer),
            ("0\r\nno colon\r\n\r\n", Trailer),
            ("0\r\nA : b\r\n\r\n", Trailer),
            ("0\r\n(A): b\r\n\r\n", Trailer),
            ("0\r\n\u{e9}: b\r\n\r\n", Trailer),
            ("0\r\nA: b\n\r\n", Trailer),
            ("0\r\n\rx", Trailer),
        ];
        for (input, expected) in cases {
            let every: Vec<usize> = (0..input.len()).collect();
            for cuts in [&[][..], &every[..]] {
                assert_eq!(decode_cut(input.as_bytes(), cuts, 10).err(), Some(expected), "{input:?}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_share_one_bound() {
        let fits = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(CHUNK_OVERHEAD_BYTES_MAX));
        assert!(decode_cut(fits.as_bytes(), &[], 10).is_ok());
        let many = "1;e\r\nx\r\n".repeat(CHUNK_OVERHEAD_BYTES_MAX + 1);
        assert_eq!(decode_cut(many.as_bytes(), &[], many.len()).err(), Some(ProtocolError::ChunkOverhead));
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(CHUNK_OVERHEAD_BYTES_MAX));
        assert_eq!(decode_cut(trailers.as_bytes(), &[], 10).err(), Some(ProtocolError::ChunkOverhead));
    }
}
