//! `http::chunked`: the decoder, against a reading of the same bytes that knows nothing of pieces.
//!
//! - Cut anywhere, the same bytes decode to the same body or to the same error, at the same byte.
//! - What follows the body is untouched; no prefix of a whole body is an error or whole itself.
//! - The decoded body is within its limit, and is what the plain reading says.
//! - What the encoder frames decodes to what it was.

use super::{Draw, Rng, cuts, head, prefixes};
use crate::http1::chunked::{Decoder, Progress};
use crate::http1::error::ProtocolError;
use crate::http1::response_head;
use crate::tuning::CHUNK_OVERHEAD_BYTES_MAX;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let mut numbers = Rng::new(draw.byte().into());
    let body_bytes_max = usize::from(draw.byte()) * 4;
    let bytes = draw.0;
    let [whole, others @ ..] = cuts(bytes, &mut numbers);
    let expected = decode(bytes, &whole, body_bytes_max);
    for cuts in &others {
        assert_eq!(decode(bytes, cuts, body_bytes_max), expected, "cut at {cuts:?}");
    }
    match (&expected, reference(bytes, body_bytes_max)) {
        (Outcome::Whole { body, used }, Some((plain, end))) => {
            assert_eq!((body, *used), (&plain, end));
            assert!(body.len() <= body_bytes_max);
            for shorter in prefixes(*used, &mut numbers) {
                let outcome = decode(&bytes[..shorter], &[shorter], body_bytes_max);
                assert_eq!(outcome, Outcome::NeedMore, "of {shorter} bytes");
            }
        }
        (Outcome::Whole { .. }, None) => panic!("whole only to the decoder"),
        (outcome, Some(_)) => panic!("whole, but not to the decoder: {outcome:?}"),
        (_, None) => {}
    }
    round_trip(bytes, &mut numbers);
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole { body: Vec<u8>, used: usize },
    NeedMore,
    Refused(ProtocolError),
}

/// Decodes as a connection does: raw bytes go behind the decoded ones.
fn decode(bytes: &[u8], cuts: &[usize], body_bytes_max: usize) -> Outcome {
    let (mut decoder, mut buffer) = (Decoder::new(), Vec::new());
    let mut progress = Progress { read: 0, written: 0, done: false };
    let mut from = 0;
    for &to in cuts {
        buffer.extend_from_slice(&bytes[from..to]);
        let before = progress;
        progress = match decoder.decode(&mut buffer, before.read, before.written, body_bytes_max) {
            Ok(progress) => progress,
            Err(error) => return Outcome::Refused(error),
        };
        assert!(progress.written <= progress.read && progress.read <= buffer.len());
        assert!(progress.written >= before.written && progress.read >= before.read);
        if progress.done {
            let left = buffer.len() - progress.read;
            let used = to - left;
            assert_eq!(buffer[progress.read..], bytes[used..to], "what follows was touched");
            return Outcome::Whole { body: buffer[..progress.written].to_vec(), used };
        }
        assert_eq!(progress.read, buffer.len(), "bytes were left that nothing is known about");
        buffer.truncate(progress.written);
        progress.read = progress.written;
        from = to;
    }
    Outcome::NeedMore
}

/// A whole body and its end, or none: line by line (RFC 9112 §7.1), with none of the decoder's code.
pub(super) fn reference(bytes: &[u8], body_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at, mut overhead) = (Vec::new(), 0, 0);
    loop {
        let line = line(bytes, &mut at)?;
        let (digits, extension) = match line.iter().position(|&byte| byte == b';') {
            Some(mark) => (&line[..mark], &line[mark + 1..]),
            None => (line, &line[line.len()..]),
        };
        overhead += extension.len();
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let size = usize::try_from(size).ok().filter(|size| *size <= body_bytes_max - body.len())?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        if line_end(bytes, &mut at)? != b"\r\n" {
            return None;
        }
    }
    loop {
        let line = line(bytes, &mut at)?;
        overhead += line.len();
        if line.is_empty() {
            return (overhead <= CHUNK_OVERHEAD_BYTES_MAX).then_some((body, at));
        }
        let name = &line[..line.iter().position(|&byte| byte == b':')?];
        if !head::is_token(name) {
            return None;
        }
    }
}

fn line_end<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let end = bytes.get(*at..*at + 2)?;
    *at += 2;
    Some(end)
}

/// The text up to CRLF; none if it is not whole, or holds what no line may hold.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &bytes[*at..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += end + 2;
    let text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    Some(&rest[..end]).filter(|line| line.iter().all(text))
}

fn round_trip(bytes: &[u8], numbers: &mut Rng) {
    let (mut framed, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let piece = 1 + numbers.below(bytes.len() - at);
        response_head::chunk_size(&mut framed, piece);
        framed.extend_from_slice(&bytes[at..at + piece]);
        framed.extend_from_slice(b"\r\n");
        at += piece;
    }
    framed.extend_from_slice(response_head::LAST_CHUNK);
    let used = framed.len();
    framed.extend_from_slice(bytes);
    let expected = Outcome::Whole { body: bytes.to_vec(), used };
    assert_eq!(decode(&framed, &[framed.len()], bytes.len()), expected);
}
