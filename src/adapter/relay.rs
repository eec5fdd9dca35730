//! One body on its way from one connection to the other, piece by piece, with its framing made anew.
//!
//! The reader takes the sender's framing away, in the buffer in which a piece has arrived; the writer puts the
//! receiver's framing around it. The line in front of a chunk and the one behind it fit into the room that the buffer
//! has at both ends, so no byte of a body is copied. Trailers and extensions of chunks are dropped. Pure.

use crate::http1::chunked::Decoder;
use crate::http1::error::ProtocolError;
use std::ops::Range;

/// Room in front of a piece: the size line of a chunk of up to 4 GiB.
pub(crate) const ROOM_BEFORE: usize = 10;
/// Room behind a piece: the end of a chunk, and the last chunk.
pub(crate) const ROOM_BEHIND: usize = CHUNK_END.len() + LAST_CHUNK.len();

const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the sender marks the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It has announced so many bytes more.
    Sized(u64),
    Chunked {
        decoder: Decoder,
        /// Bytes that the body can still have.
        bytes_left: usize,
    },
    /// The connection ends with it.
    UntilClose,
    Done,
}

/// How the receiver learns the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// By an announced length, or by the end of the connection.
    Plain,
    Chunked,
    /// Nothing of the body is passed on.
    Nothing,
}

/// A body on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// The sender's connection has ended in the middle of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CutShort;

impl Relay {
    pub(crate) const NONE: Relay = Relay { reader: Reader::Done, writer: Writer::Nothing };

    pub(crate) fn new(reader: Reader, writer: Writer) -> Relay {
        let reader = if matches!(reader, Reader::Sized(0)) { Reader::Done } else { reader };
        Relay { reader, writer }
    }

    pub(crate) fn chunked(bytes_max: usize) -> Reader {
        Reader::Chunked { decoder: Decoder::new(), bytes_left: bytes_max }
    }

    /// The whole body has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.reader, Reader::Done)
    }

    /// Takes the bytes of `buffer` in `piece`, which have arrived. Returns the place of the bytes to write, framing
    /// included. What follows the body is appended to `rest`. The buffer has [`ROOM_BEFORE`] bytes in front of the
    /// piece and [`ROOM_BEHIND`] behind it.
    pub(crate) fn pass(
        &mut self,
        buffer: &mut [u8],
        piece: Range<usize>,
        rest: &mut Vec<u8>,
    ) -> Result<Range<usize>, ProtocolError> {
        let Range { start, end } = piece;
        let (bytes, taken) = self.read(&mut buffer[start..end])?;
        rest.extend_from_slice(&buffer[start + taken..end]);
        Ok(match self.writer {
            Writer::Nothing => start..start,
            Writer::Plain => start..start + bytes,
            Writer::Chunked => self.frame(buffer, start, bytes),
        })
    }

    /// The number of bytes of the body, which begin where the piece begins, and the number of bytes that were taken.
    fn read(&mut self, piece: &mut [u8]) -> Result<(usize, usize), ProtocolError> {
        match &mut self.reader {
            Reader::Done => Ok((0, 0)),
            Reader::UntilClose => Ok((piece.len(), piece.len())),
            Reader::Sized(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= bytes as u64;
                if *left == 0 {
                    self.reader = Reader::Done;
                }
                Ok((bytes, bytes))
            }
            Reader::Chunked { decoder, bytes_left } => {
                let progress = decoder.decode(piece, 0, 0, *bytes_left)?;
                *bytes_left -= progress.written;
                if progress.done {
                    self.reader = Reader::Done;
                }
                Ok((progress.written, progress.read))
            }
        }
    }

    fn frame(&mut self, buffer: &mut [u8], start: usize, bytes: usize) -> Range<usize> {
        let (mut from, mut to) = (start, start + bytes);
        if bytes > 0 {
            from -= size_line(&mut buffer[start - ROOM_BEFORE..start], bytes);
            append(buffer, &mut to, CHUNK_END);
        }
        if self.is_done() {
            append(buffer, &mut to, LAST_CHUNK);
        }
        from..to
    }

    /// The sender's connection has ended. Returns what the receiver is still to get, where that is the end of the body.
    pub(crate) fn end_of_input(&mut self) -> Result<&'static [u8], CutShort> {
        if !matches!(self.reader, Reader::UntilClose) {
            return Err(CutShort);
        }
        self.reader = Reader::Done;
        Ok(if self.writer == Writer::Chunked { LAST_CHUNK } else { b"" })
    }
}

fn append(buffer: &mut [u8], at: &mut usize, bytes: &[u8]) {
    buffer[*at..*at + bytes.len()].copy_from_slice(bytes);
    *at += bytes.len();
}

/// Writes the size line of a chunk at the end of `room`. Returns its length.
fn size_line(room: &mut [u8], mut bytes: usize) -> usize {
    let end = room.len();
    room[end - 2..].copy_from_slice(b"\r\n");
    let mut at = end - 2;
    while bytes > 0 {
        at -= 1;
        room[at] = b"0123456789abcdef"[bytes % 16];
        bytes /= 16;
    }
    end - at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::error::ProtocolError;

    /// Passes a body in pieces that end at `cuts`. Returns what is written, what follows, and whether it is whole.
    fn pass(
        mut relay: Relay,
        input: &[u8],
        cuts: &[usize],
        closes: bool,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), ProtocolError> {
        let (mut written, mut rest, mut from) = (Vec::new(), Vec::new(), 0);
        for &to in cuts.iter().chain([&input.len()]) {
            let mut buffer = vec![b'#'; ROOM_BEFORE];
            buffer.extend_from_slice(&input[from..to]);
            let end = buffer.len();
            buffer.extend_from_slice(&[b'#'; ROOM_BEHIND]);
            from = to;
            if relay.is_done() {
                rest.extend_from_slice(&buffer[ROOM_BEFORE..end]);
                continue;
            }
            let out = relay.pass(&mut buffer, ROOM_BEFORE..end, &mut rest)?;
            written.extend_from_slice(&buffer[out]);
        }
        if closes && let Ok(tail) = relay.end_of_input() {
            written.extend_from_slice(tail);
        }
        Ok((written, rest, relay.is_done()))
    }

    /// The body of a chunked message, as a reader of the standard's grammar sees it.
    fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, usize) {
        let (mut body, mut ends) = (Vec::new(), 0);
        while !bytes.is_empty() {
            let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a size line");
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).expect("a size");
            body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
            assert_eq!(&bytes[line + 2 + size..line + 4 + size], b"\r\n");
            bytes = &bytes[line + 4 + size..];
            ends += usize::from(size == 0);
        }
        (body, ends)
    }

    #[test]
    fn every_framing_becomes_every_other_however_it_is_cut() {
        let chunked = Relay::chunked(100);
        let cases: [(Reader, &str, &str, &str, bool); 9] = [
            (Reader::Sized(5), "hello", "hello", "", false),
            (Reader::Sized(5), "helloGET / HTTP/1.1", "hello", "GET / HTTP/1.1", false),
            (Reader::Sized(0), "GET /", "", "GET /", false),
            (chunked, "0\r\n\r\n", "", "", false),
            (chunked, "1\r\nx\r\n0\r\n\r\n", "x", "", false),
            (chunked, "1;a=b\r\nx\r\n2\r\nyz\r\n0\r\nA: b\r\n\r\nGET /", "xyz", "GET /", false),
            (
                chunked,
                "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n0\r\n\r\n",
                "abcdefghijklmnopqrstuvwxyz",
                "0\r\n\r\n",
                false,
            ),
            (Reader::UntilClose, "to the end\r\n\r\n", "to the end\r\n\r\n", "", true),
            (Reader::UntilClose, "", "", "", true),
        ];
        for (reader, input, body, rest, closes) in cases {
            for writer in [Writer::Plain, Writer::Chunked, Writer::Nothing] {
                let every: Vec<usize> = (0..input.len()).collect();
                let single = (0..=input.len()).map(|cut| vec![cut]);
                for cuts in single.chain([every]) {
                    let relay = Relay::new(reader, writer);
                    let had_body = !relay.is_done();
                    let (written, left, done) = pass(relay, input.as_bytes(), &cuts, closes).unwrap();
                    assert!(done && left == rest.as_bytes(), "{input:?} cut at {cuts:?}: {left:?}");
                    match writer {
                        Writer::Plain => assert_eq!(written, body.as_bytes(), "{input:?} cut at {cuts:?}"),
                        Writer::Nothing => assert_eq!(written, b""),
                        Writer::Chunked => {
                            let expected = (body.as_bytes().to_vec(), usize::from(had_body));
                            assert_eq!(unchunk(&written), expected, "{input:?} cut at {cuts:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_body_that_ends_too_early_is_cut() {
        let cases =
            [(Reader::Sized(5), "hell"), (Relay::chunked(9), "1\r\nx\r\n"), (Relay::chunked(9), "1\r\nx\r\n0\r\n")];
        for (reader, input) in cases {
            let (_, _, done) = pass(Relay::new(reader, Writer::Plain), input.as_bytes(), &[], true).unwrap();
            assert!(!done, "{input:?}");
        }
    }

    /// The bound is that of the whole body, not of a piece.
    #[test]
    fn a_chunked_body_is_bounded() {
        let input = "4\r\nabcd\r\n4\r\nabcd\r\n3\r\nabc\r\n0\r\n\r\n";
        let every: Vec<usize> = (0..input.len()).collect();
        for cuts in [&[][..], &every] {
            let fits = Relay::new(Relay::chunked(11), Writer::Plain);
            assert!(pass(fits, input.as_bytes(), cuts, false).is_ok());
            let small = Relay::new(Relay::chunked(10), Writer::Plain);
            assert_eq!(pass(small, input.as_bytes(), cuts, false).unwrap_err(), ProtocolError::BodyTooLarge);
        }
    }
}
