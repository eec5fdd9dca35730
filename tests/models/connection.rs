//! `http::connection`: everything a peer may send on one connection, with small limits, in any pieces.
//!
//! - Cut anywhere, the same bytes give the same requests (method, target, headers, body) and the same end: waiting, or
//!   a refusal with the same status. Only a head that is as long as heads may be can be refused for its length or for
//!   what is in it, whichever is seen first.
//! - A request ends exactly where its framing says: one byte less is no request and no error, the bytes up to there
//!   leave nothing behind. A prefix of the input gives a prefix of the requests, and no refusal of its own.
//! - Each body is what a plain reading of the same bytes says.
//! - Memory stays below what the limits say, and one request always has room.
//! - A deadline runs exactly while something is unfinished. A refusal is one whole reply.

use super::{Draw, Rng, chunked, cuts, head, prefixes, wire};
use crate::Limits;
use crate::http1::decoder::{RequestDecoder, Step};
use crate::http1::error::ProtocolError;
use crate::http1::head::Framing;
use crate::tuning::{FIRST_READ_BYTES, READ_BYTES, SPARE_BYTES_MAX};
use std::time::Duration;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let mut numbers = Rng::new(draw.byte().into());
    let limits = limits(&mut draw);
    // What comes once comes often: buffers are drained, and grow.
    let bytes = draw.0.repeat(1 + 3 * usize::from(input.first().copied().unwrap_or_default() >> 6));
    let [whole, by_byte, others @ ..] = cuts(&bytes, &mut numbers);
    let expected = play(&bytes, &by_byte, &limits);
    check_boundaries(&bytes, &expected, &limits);
    for cuts in [whole].iter().chain(&others) {
        let seen = play(&bytes, cuts, &limits);
        let requests = |seen: &Seen| seen.requests.iter().map(|request| request.text.clone()).collect::<Vec<_>>();
        assert_eq!(requests(&seen), requests(&expected), "cut at {cuts:?}");
        assert!(same_end(&seen, &expected, &bytes, &limits), "{:?} cut at {cuts:?}: {:?}", expected.end, seen.end);
        assert_eq!(seen.idle, expected.idle);
    }
    for shorter in prefixes(bytes.len(), &mut numbers) {
        let seen = play(&bytes[..shorter], &[shorter], &limits);
        let count = seen.requests.len();
        assert!(seen.requests.iter().zip(&expected.requests).all(|(seen, whole)| seen.text == whole.text));
        assert!(count <= expected.requests.len(), "{shorter} bytes gave requests that more bytes do not");
        assert!(seen.end.is_none() || (expected.end.is_some() && count == expected.requests.len()), "{shorter}");
    }
}

/// Limits small enough for an input to reach them.
pub(super) fn limits(draw: &mut Draw<'_>) -> Limits {
    let mut next = || usize::from(draw.byte());
    Limits {
        head_bytes_max: 256 + 16 * next(),
        // The largest is more than every connection may hold in any case.
        body_bytes_max: match next() {
            255 => 2 * SPARE_BYTES_MAX,
            few => 4 * few,
        },
        headers_max: 1 + next() % 80,
        target_bytes_max: 16 + 4 * next(),
        buffered_bytes_max: 0,
        ..Limits::default()
    }
}

/// What came out of a connection.
struct Seen {
    requests: Vec<Request>,
    end: Option<ProtocolError>,
    /// Nothing is left of the input.
    idle: bool,
}

struct Request {
    text: String,
    framing: Framing,
    body: Vec<u8>,
    header_count: usize,
    /// How many bytes had been fed by then.
    fed: usize,
}

/// Feeds a connection as the server does: as much at a time as its buffer has room for, answering at once.
fn play(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Seen {
    let mut connection = RequestDecoder::new();
    let mut seen = Seen { requests: Vec::new(), end: None, idle: true };
    let mut fed = 0;
    for &cut in cuts {
        while fed < cut && seen.end.is_none() {
            if connection.wants_buffer() {
                connection.attach(Vec::with_capacity(FIRST_READ_BYTES));
            }
            let allowance = limits.buffered_bytes_allowed() - connection.held();
            let buffer = connection.buffer_for_reading(allowance).expect("one request always has room");
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0 && buffer.capacity() <= memory_max(limits), "{} bytes of buffer", buffer.capacity());
            let piece = &bytes[fed..cut.min(fed + room)];
            buffer.extend_from_slice(piece);
            fed += piece.len();
            advance(&mut connection, limits, fed, &mut seen);
            assert_eq!(connection.deadline().is_some(), seen.end.is_none() && !connection.is_idle());
            seen.idle = connection.is_idle();
            let reclaimed = connection.detach();
            assert_eq!(reclaimed.is_some(), seen.idle || seen.end.is_some(), "a buffer is held for nothing");
        }
    }
    if connection.deadline().is_some() {
        assert_eq!(connection.overdue().status(), 408);
        connection.finish();
        assert!(connection.deadline().is_none() && connection.held() == 0);
    }
    seen
}

/// What one buffer grows to at most: by its own rule, and as far as it is allowed.
fn memory_max(limits: &Limits) -> usize {
    let own = 2 * (limits.head_bytes_max + limits.body_bytes_max) + READ_BYTES;
    own.min(SPARE_BYTES_MAX + limits.buffered_bytes_allowed())
}

/// Until it has to wait or refuses.
fn advance(connection: &mut RequestDecoder, limits: &Limits, fed: usize, seen: &mut Seen) {
    let mut continued = None;
    loop {
        let (mut usual, mut full);
        usual = Vec::new();
        let mut step = connection.advance(Duration::ZERO, limits, &mut usual);
        if matches!(step, Step::Refuse(ProtocolError::TooManyHeaders)) {
            full = Vec::new();
            step = connection.advance(Duration::ZERO, limits, &mut full);
        }
        match step {
            Step::NeedMore => return,
            Step::HeadDone { send_continue } => {
                assert!(continued.replace(send_continue).is_none(), "one head was done twice");
                continue;
            }
            Step::Refuse(error) => {
                wire::check_refusal(error, connection.is_by_head());
                seen.end = Some(error);
                connection.finish();
                return;
            }
            Step::Request(head, body) => {
                head::check(&head, limits);
                assert!(continued.take() != Some(true), "told to send a body that had come");
                assert!(body.len() <= limits.body_bytes_max);
                let headers: Vec<_> = head.headers.iter().map(|header| (header.name, header.value)).collect();
                seen.requests.push(Request {
                    text: format!("{} {} {:?} {headers:?} {body:?}", head.method, head.path_and_query, head.meta),
                    framing: head.meta.framing,
                    header_count: headers.len(),
                    body: body.to_vec(),
                    fed,
                });
            }
        }
        connection.consume();
    }
}

/// Byte by byte, a request is there with its last byte: so its own bytes are known, and can be read in another way.
fn check_boundaries(bytes: &[u8], seen: &Seen, limits: &Limits) {
    let mut start = 0;
    for (index, request) in seen.requests.iter().enumerate() {
        let end = request.fed;
        check_framing(&bytes[start..end], request);
        // All of a long pipeline would take the square of its length.
        if index < 4 || index + 1 == seen.requests.len() {
            let exact = play(&bytes[..end], &[end], limits);
            assert_eq!((exact.requests.len(), exact.end, exact.idle), (index + 1, None, true), "the first {end} bytes");
            let short = play(&bytes[..end - 1], &[end - 1], limits);
            assert_eq!((short.requests.len(), short.end, short.idle), (index, None, false), "one byte less than {end}");
        }
        start = end;
    }
}

/// The bytes of one request, read without any of the server's code.
fn check_framing(mut bytes: &[u8], request: &Request) {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let head_bytes = 4 + bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    let (head, body) = bytes.split_at(head_bytes);
    let lines = head.windows(2).filter(|pair| pair == b"\r\n").count();
    assert_eq!(lines, request.header_count + 2, "headers and lines of the head");
    let plain = match request.framing {
        Framing::Sized(length) => (length == body.len()).then(|| body.to_vec()),
        Framing::Chunked => {
            chunked::reference(body, usize::MAX).filter(|(_, end)| *end == body.len()).map(|(plain, _)| plain)
        }
    };
    assert_eq!(plain.as_ref(), Some(&request.body), "{:?} of {} bytes", request.framing, body.len());
}

fn same_end(seen: &Seen, other: &Seen, bytes: &[u8], limits: &Limits) -> bool {
    let status = |seen: &Seen| seen.end.map(ProtocolError::status);
    if status(seen) == status(other) {
        return true;
    }
    let start = other.requests.last().map_or(0, |request| request.fed);
    let blank = bytes[start..].chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
    let long = bytes.len() - start - blank >= limits.head_bytes_max;
    let too_long = |seen: &Seen| matches!(seen.end, Some(ProtocolError::HeadTooLarge | ProtocolError::TargetTooLong));
    long && seen.end.is_some() && other.end.is_some() && (too_long(seen) || too_long(other))
}
