use super::*;
use crate::http1::head::HeaderStorage;
use crate::tuning::HEADERS_USUAL;

const NOW: Duration = Duration::from_secs(100);

/// What came out of a decoder, as text.
fn feed(decoder: &mut RequestDecoder, bytes: &[u8], limits: &Limits, seen: &mut Vec<String>) {
    decoder.buffer_for_reading(usize::MAX).unwrap().extend_from_slice(bytes);
    loop {
        let mut room = Vec::new();
        match decoder.advance(NOW, limits, &mut room) {
            Step::NeedMore => return,
            Step::HeadDone { send_continue } => {
                if send_continue {
                    seen.push("100".to_owned());
                }
                continue;
            }
            Step::Refuse(error) => {
                seen.push(format!("{} {error:?}", error.status()));
                decoder.finish();
                return;
            }
            Step::Request(head, body) => {
                seen.push(format!("{} {} {}", head.method, head.path_and_query, body.escape_ascii()));
            }
        }
        decoder.consume();
    }
}

fn feed_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Vec<String> {
    let (mut decoder, mut seen) = (RequestDecoder::new(), Vec::new());
    for piece in pieces {
        feed(&mut decoder, piece, limits, &mut seen);
    }
    seen
}

/// Input and what must come of it, whole, byte by byte, and cut once at every point. Replies carry no state, so
/// pipelined requests must come out in order.
#[test]
fn the_same_however_cut() {
    let limits = Limits { head_bytes_max: 256, body_bytes_max: 20, target_bytes_max: 100, ..Limits::default() };
    let cases: [(&str, &[&str]); 20] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET / "]),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", &["GET / "]),
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /1 ", "GET /2 "]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &["POST / hello"]),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            &["POST / hello", "GET /2 "],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n1;x\r\n!\r\n0\r\nA: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            &["POST / hello!", "GET /2 "],
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["POST / "]),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", &["POST / "]),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789",
            &["POST / 01234567890123456789"],
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n0", &["413 BodyTooLarge"]),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nb\r\n",
            &["413 BodyTooLarge"],
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", &["400 ChunkSize"]),
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2\nHost", &["GET /1 ", "400 BareLineFeed"]),
        ("\nGET / HTTP/1.1\r\n", &["400 BareLineFeed"]),
        ("\r\rGET / HTTP/1.1\r\n\r\n", &["400 MalformedHead"]),
        ("\x16\x03\x01\x02", &["400 MalformedHead"]),
        ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["400 Host"]),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", &["417 Expectation"]),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", &["505 Version"]),
        ("GET / HTTP/1.1\r\nHost: a\r\n", &[]),
    ];
    for (input, expected) in cases {
        let input = input.as_bytes();
        assert_eq!(feed_pieces([input], &limits), expected, "whole: {}", input.escape_ascii());
        assert_eq!(feed_pieces(input.chunks(1), &limits), expected, "byte by byte: {}", input.escape_ascii());
        for cut in 0..input.len() {
            let (first, second) = input.split_at(cut);
            assert_eq!(feed_pieces([first, second], &limits), expected, "cut at {cut}: {}", input.escape_ascii());
        }
    }
}

/// 431 and 414 come as soon as the limit is passed, with or without an end of the head in sight.
#[test]
fn head_limits() {
    let limits = Limits { head_bytes_max: 256, target_bytes_max: 100, ..Limits::default() };
    let filled = |total: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(total - fixed))
    };
    for chunk in [1, 7, 1000] {
        let run = |input: &str| feed_pieces(input.as_bytes().chunks(chunk), &limits);
        assert_eq!(run(&filled(256)), ["GET / "]);
        assert_eq!(run(&filled(257)), ["431 HeadTooLarge"]);
        assert_eq!(run(&format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100))), ["414 TargetTooLong"]);
        assert_eq!(run(&format!("GET /{}", "y".repeat(300))), ["414 TargetTooLong"]);
        assert_eq!(run(&"G".repeat(300)), ["431 HeadTooLarge"]);
    }
}

/// RFC 9110 §10.1.1: only a client that waits gets the interim answer, and none that is refused.
#[test]
fn continue_is_sent_to_those_who_wait() {
    let limits = Limits { body_bytes_max: 20, ..Limits::default() };
    let head =
        |length: u32| format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(feed_pieces([head(2).as_bytes(), b"o", b"k"], &limits), ["100", "POST / ok"]);
    assert_eq!(feed_pieces([format!("{}ok", head(2)).as_bytes()], &limits), ["POST / ok"]);
    assert_eq!(feed_pieces([format!("{}o", head(2)).as_bytes(), b"k"], &limits), ["POST / ok"]);
    assert_eq!(feed_pieces([head(21).as_bytes()], &limits), ["413 BodyTooLarge"]);
}

/// Head and body each have one absolute limit, from their first byte on; a trickle does not extend it, idling has none.
#[test]
fn deadlines() {
    let limits = Limits::default();
    let (mut decoder, mut seen) = (RequestDecoder::new(), Vec::new());
    assert_eq!(decoder.deadline(), None);
    feed(&mut decoder, b"POST / HTTP/1.1\r\n", &limits, &mut seen);
    assert_eq!(decoder.deadline(), Some(NOW + limits.head_time_max));
    feed(&mut decoder, b"Host: a\r\nContent-Length: 2\r\n\r\n", &limits, &mut seen);
    assert_eq!(decoder.deadline(), Some(NOW + limits.body_time_max));
    feed(&mut decoder, b"o", &limits, &mut seen);
    assert_eq!(decoder.deadline(), Some(NOW + limits.body_time_max));
    feed(&mut decoder, b"k", &limits, &mut seen);
    assert_eq!((decoder.deadline(), decoder.is_idle()), (None, true));
    feed(&mut decoder, b"\r", &limits, &mut seen);
    assert_eq!(decoder.deadline(), Some(NOW + limits.head_time_max));
    feed(&mut decoder, b"\n", &limits, &mut seen);
    assert_eq!((decoder.deadline(), decoder.is_idle()), (None, true));
    feed(&mut decoder, b"G", &limits, &mut seen);
    assert_eq!(decoder.overdue(), ProtocolError::HeadTimeout);
    decoder.finish();
    assert_eq!(decoder.deadline(), None);
    assert_eq!(seen, ["POST / ok"]);
}

/// An idle decoder holds no buffer, and a body's buffer grows no further than the body.
#[test]
fn memory() {
    let limits = Limits::default();
    let (mut decoder, mut seen) = (RequestDecoder::new(), Vec::new());
    assert!(decoder.wants_buffer());
    decoder.attach(Vec::with_capacity(FIRST_READ_BYTES));
    feed(&mut decoder, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &limits, &mut seen);
    let lent = decoder.detach().expect("nothing is pending");
    assert_eq!((lent.capacity(), lent.len()), (FIRST_READ_BYTES, 0));
    decoder.attach(lent);
    feed(&mut decoder, b"G", &limits, &mut seen);
    assert!(decoder.detach().is_none(), "half a request keeps its buffer");

    // As large as the room that is always there, so that no read has to be cut.
    let piece = [b'x'; FIRST_READ_BYTES / 4];
    let body_bytes = 1000 * piece.len();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {body_bytes}\r\n\r\n");
    let mut decoder = RequestDecoder::new();
    feed(&mut decoder, head.as_bytes(), &limits, &mut seen);
    for _ in 0..1000 {
        let buffer = decoder.buffer_for_reading(usize::MAX).unwrap();
        assert!(buffer.capacity() > buffer.len());
        feed(&mut decoder, &piece, &limits, &mut seen);
    }
    assert!(decoder.is_idle());
    assert!(decoder.detach().unwrap().capacity() <= head.len() + body_bytes + READ_BYTES);
}

/// A buffer grows as far as the allowance goes, the first 32 KiB whatever it is.
#[test]
fn memory_is_grown_into_within_the_allowance() {
    for allowance in [0, 1, 1000, READ_BYTES, 5 * SPARE_BYTES_MAX + 7] {
        for framing in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n989680\r\n");
            let (mut decoder, limits) = (RequestDecoder::new(), Limits::default());
            feed(&mut decoder, head.as_bytes(), &limits, &mut Vec::new());
            loop {
                let room = match decoder.buffer_for_reading(allowance - decoder.held()) {
                    Err(error) => break assert_eq!(error, ProtocolError::Overloaded),
                    Ok(buffer) => buffer.capacity() - buffer.len(),
                };
                assert!(room > 0 && decoder.held() <= allowance);
                feed(&mut decoder, &vec![b'x'; room], &limits, &mut Vec::new());
            }
            // A read of a few bytes is not worth its call.
            assert!(decoder.held() + FIRST_READ_BYTES / 4 > allowance, "{framing}: {allowance}");
            decoder.finish();
            assert_eq!(decoder.held(), 0);
        }
    }
}

/// Few reads take a body, and nobody makes us reserve more than four times what has come. The first 32 KiB count
/// against no limit.
#[test]
fn a_buffer_grows_in_few_steps() {
    for (body_bytes, reads_max) in [(3_000, 1), (20_000, 2), (100 << 10, 3), (1 << 20, 7), (32 << 20, 131)] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {body_bytes}\r\n\r\n");
        let input = [head.as_bytes(), &vec![b'x'; body_bytes]].concat();
        let (mut decoder, limits) = (RequestDecoder::new(), Limits::default());
        let (mut seen, mut sent, mut reads) = (Vec::new(), 0, 0);
        decoder.attach(Vec::with_capacity(FIRST_READ_BYTES));
        while sent < input.len() {
            let buffer = decoder.buffer_for_reading(usize::MAX).unwrap();
            let (room, capacity) = (buffer.capacity() - buffer.len(), buffer.capacity());
            assert!(capacity <= SPARE_BYTES_MAX.max(4 * sent), "{capacity} bytes after {sent}");
            let piece = &input[sent..input.len().min(sent + room)];
            (sent, reads) = (sent + piece.len(), reads + 1);
            feed(&mut decoder, piece, &limits, &mut seen);
        }
        assert!(reads <= reads_max && seen.len() == 1, "{reads} reads for {body_bytes} bytes");
    }
}

/// One byte behind a large body does not keep what the body needed, and no read takes more than others can wait for.
#[test]
fn memory_is_given_back_before_the_next_request() {
    let (body_bytes, limits) = (3 << 20, Limits::default());
    for (framing, size_line, end) in [
        (format!("Content-Length: {body_bytes}"), String::new(), ""),
        ("Transfer-Encoding: chunked".to_owned(), format!("{body_bytes:x}\r\n"), "\r\n0\r\n\r\n"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{size_line}");
        let input = [head.as_bytes(), &vec![b'x'; body_bytes], end.as_bytes(), b"G"].concat();
        let (mut decoder, mut seen, mut sent) = (RequestDecoder::new(), Vec::new(), 0);
        while sent < input.len() {
            let buffer = decoder.buffer_for_reading(usize::MAX).unwrap();
            let room = buffer.capacity() - buffer.len();
            assert!(room <= READ_BYTES_MAX + READ_BYTES, "one read of {room} bytes");
            let piece = &input[sent..input.len().min(sent + room)];
            sent += piece.len();
            feed(&mut decoder, piece, &limits, &mut seen);
            decoder.detach();
        }
        assert_eq!(seen.len(), 1, "{framing}");
        assert_eq!((decoder.pending(), decoder.held()), (&b"G"[..], 0), "{framing}");
        feed(&mut decoder, b"ET / HTTP/1.1\r\nHost: a\r\n\r\n", &limits, &mut seen);
        assert_eq!(seen[1], "GET / ");
    }
}

/// The fuzz target's promise, with a fixed seed: whatever comes in, a request, a refusal or "need more" comes out, the
/// same for every way to cut it.
#[test]
fn noise_never_panics() {
    let words: [&[u8]; 14] = [
        b"GET ",
        b"POST ",
        b"/",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"\r\n",
        b"\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"Expect: 100-continue\r\n",
        b"\0",
    ];
    let limits = Limits { head_bytes_max: 256, body_bytes_max: 16, ..Limits::default() };
    let mut random = fc_testkit::Rng::new(1);
    for _ in 0..20_000 {
        let input: Vec<u8> = (0..random.below(16)).flat_map(|_| words[random.below(words.len())].to_vec()).collect();
        let whole = feed_pieces([&input[..]], &limits);
        let cut = random.below(input.len() + 1);
        // An interim answer depends on whether the body had begun to arrive; everything else must not.
        let requests = |seen: Vec<String>| seen.into_iter().filter(|line| line != "100").collect::<Vec<_>>();
        let pieces = feed_pieces([&input[..cut], &input[cut..]], &limits);
        assert_eq!(requests(pieces), requests(whole.clone()), "cut at {cut}: {}", input.escape_ascii());
        assert_eq!(requests(feed_pieces(input.chunks(1), &limits)), requests(whole), "{}", input.escape_ascii());
    }
}

/// More headers than there is usually room for, cut anywhere; the memory for them is kept.
#[test]
fn more_headers_than_usual() {
    let limits = Limits::default();
    let many = "A: b\r\n".repeat(HEADERS_USUAL);
    let mut storage = HeaderStorage::default();
    for body in ["", "body"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{many}\r\n{body}", body.len());
        for cut in 0..request.len() {
            let mut decoder = RequestDecoder::new();
            let mut served = false;
            for part in [&request[..cut], &request[cut..]] {
                decoder.buffer_for_reading(usize::MAX).unwrap().extend_from_slice(part.as_bytes());
                let mut asked = 0;
                loop {
                    asked += 1;
                    assert!(asked < 10, "cut at {cut}");
                    let mut headers = storage.lend();
                    let place = (headers.as_ptr().addr(), headers.capacity());
                    let step = decoder.advance(Duration::ZERO, &limits, &mut headers);
                    match step {
                        Step::NeedMore => break,
                        Step::HeadDone { .. } => {}
                        Step::Refuse(error) => panic!("{error} when cut at {cut}"),
                        Step::Request(head, seen) => {
                            assert_eq!((head.headers.len(), seen), (HEADERS_USUAL + 2, body.as_bytes()));
                            served = true;
                            let grown = (headers.as_ptr().addr(), headers.capacity());
                            storage.take_back(headers);
                            let kept = storage.lend();
                            assert_eq!((kept.as_ptr().addr(), kept.capacity()), grown);
                            assert!(kept.is_empty() && (place.1 <= HEADERS_USUAL || place == grown));
                            storage.take_back(kept);
                            decoder.consume();
                        }
                    }
                }
            }
            assert!(served && decoder.is_idle(), "cut at {cut}");
        }
    }
}

/// The memory of a request goes with its body; what follows stays, and is served.
#[test]
fn a_body_is_taken_with_its_memory() {
    let limits = Limits::default();
    let body = "b".repeat(9_000);
    let sized = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{body}");
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", 9_000);
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [sized, chunked] {
        for behind in ["", &next[..5], next] {
            let mut decoder = RequestDecoder::new();
            let bytes = format!("{request}{behind}");
            for piece in bytes.as_bytes().chunks(700) {
                decoder.buffer_for_reading(usize::MAX).unwrap().extend_from_slice(piece);
                while let Step::HeadDone { .. } = decoder.advance(NOW, &limits, &mut Vec::new()) {}
            }
            assert!(matches!(decoder.advance(NOW, &limits, &mut Vec::new()), Step::NeedMore));
            let (memory, place) = decoder.take_body();
            assert_eq!(&memory[place], body.as_bytes());
            assert_eq!(
                (decoder.held(), decoder.wants_buffer(), decoder.is_idle()),
                (0, behind.is_empty(), behind.is_empty())
            );
            decoder.buffer_for_reading(usize::MAX).unwrap().extend_from_slice(&next.as_bytes()[behind.len()..]);
            let mut seen = Vec::new();
            feed(&mut decoder, b"", &limits, &mut seen);
            assert_eq!(seen, ["GET /next "]);
        }
    }
}
