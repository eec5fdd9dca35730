use super::*;

/// The first response in `bytes`, fed in pieces of this size, and the number of bytes taken.
fn decode(bytes: &[u8], piece: usize) -> Result<Option<(Response, usize)>, String> {
    let mut decoder = Decoder::new(false);
    let mut at = 0;
    while at < bytes.len() {
        let (used, response) = decoder.feed(&bytes[at..bytes.len().min(at + piece)])?;
        at += used;
        if let Some(response) = response {
            return Ok(Some((response, at)));
        }
    }
    Ok(None)
}

fn whole(text: &str) -> Result<Option<(Response, usize)>, String> {
    decode(text.as_bytes(), usize::MAX)
}

/// Each response, with its status and its body, which must not depend on how it arrives.
const WHOLE: &[(&str, u16, &str)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    ("HTTP/1.0 404 \r\ncontent-length:0\r\n\r\n", 404, ""),
    ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, ""),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, ""),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", 200, "ok!"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0001\r\na\r\n00\r\nX: y\r\n\r\n", 200, "a"),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
    ("HTTP/1.1 200 \u{fc}\r\nX:\t\u{fc}\t\u{fc} \r\nContent-Length:\t0 \r\n\r\n", 200, ""),
    ("HTTP/1.1 200 OK\r\nX:\r\nContent-Length: 0\r\n\r\n", 200, ""),
];

#[test]
fn whole_responses_at_every_split_and_with_more_behind() {
    for (text, status, body) in WHOLE {
        for end in 0..text.len() {
            let mut decoder = Decoder::new(false);
            assert_eq!(decoder.feed(&text.as_bytes()[..end]), Ok((end, None)), "{text:?} cut at {end}");
            assert!(decoder.end(false).is_err(), "{text:?} closed at {end}");
        }
        let longer = format!("{text}HTTP/1.1 5");
        for piece in [1, 2, 7, usize::MAX] {
            let (response, used) = decode(longer.as_bytes(), piece).unwrap().unwrap();
            assert_eq!((response.status, response.body.as_slice(), used), (*status, body.as_bytes(), text.len()));
            assert_eq!(response.body_bytes, body.len());
        }
    }
}

/// Each response that breaks RFC 9112, with its section. No further byte could repair it.
const BROKEN_FRAMING: &[(&str, &str)] = &[
    ("SSH-2.0-x", "4"),
    ("\r\nHTTP/1.1 200 OK\r\n", "4"),
    ("HTTP/1.1 abc\r\n", "4"),
    ("HTTP/1.1 200\r\n", "4"),
    ("HTTP/1.1  200 OK\r\n", "4"),
    ("HTTP/1.1 0200 OK\r\n", "4"),
    ("HTTP/1.1 20 OK\r\n", "4"),
    ("HTTP/1.1 +20 OK\r\n", "4"),
    ("HTTP/1.2 200 OK\r\n", "4"),
    ("HTTP/1.1 700 ?\r\n", "4"),
    ("HTTP/1.1 099 ?\r\n", "4"),
    ("HTTP/1.1 200 O\u{7}K\r\n", "4"),
    ("http/1.1 200 OK\r\n", "4"),
    ("HTTP/1.1 200 OK\n", "2.2"),
    ("HTTP/1.1 200 OK\r\nX: y\n", "2.2"),
    ("HTTP/1.1 200 OK\r\nX: a\nb\r\n", "2.2"),
    ("HTTP/1.1 200 OK\r\nX: a\rb\r\n", "5.5"),
    ("HTTP/1.1 200 OK\r\nX: y\r\r\n", "5.5"),
    ("HTTP/1.1 200 OK\r\nX: \0\r\n", "5.5"),
    ("HTTP/1.1 200 OK\r\nX: \u{7f}\r\n", "5.5"),
    ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n", "5.2"),
    ("HTTP/1.1 200 OK\r\n\tX: y\r\n", "5.2"),
    ("HTTP/1.1 200 OK\r\nno colon\r\n", "5"),
    ("HTTP/1.1 200 OK\r\nName : x\r\n", "5.1"),
    ("HTTP/1.1 200 OK\r\n: x\r\n", "5.1"),
    ("HTTP/1.1 200 OK\r\nNa\u{1}me: x\r\n", "5.1"),
    ("HTTP/1.1 200 OK\r\nN\u{e4}me: x\r\n", "5.1"),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2.0\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "6.3"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "6.2"),
    ("HTTP/1.1 204 -\r\nContent-Length: 2\r\n\r\n", "6.2"),
    ("HTTP/1.1 100 -\r\nContent-Length: 2\r\n\r\n", "6.2"),
    ("HTTP/1.1 204 -\r\nTransfer-Encoding: chunked\r\n\r\n", "6.1"),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", "6.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\0\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\n", "2.2"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n", "7.1"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n", "7.1.2"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n", "5"),
];

#[test]
fn broken_framing_is_an_error_however_it_arrives() {
    for (text, section) in BROKEN_FRAMING {
        for piece in [1, 3, usize::MAX] {
            let error = decode(text.as_bytes(), piece).expect_err(text);
            assert!(is_broken_framing(&error) && error.ends_with(&format!("§{section})")), "{text:?}: {error}");
        }
    }
}

#[test]
fn a_message_shows_the_malformed_line() {
    for (text, line) in [
        ("SSH-2.0-x\r\n", "`SSH-2.0-x`"),
        ("HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\nC: d\r\n\r\n", "`no colon`"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n", "`zz`"),
    ] {
        let error = whole(text).unwrap_err();
        assert!(error.contains(line), "{error}");
    }
}

#[test]
fn an_answer_to_head_has_no_body() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let (used, response) = Decoder::new(true).feed(text).unwrap();
    assert_eq!((used, response.unwrap().body_bytes), (text.len(), 0));
}

#[test]
fn without_a_length_the_close_ends_the_body_and_a_reset_does_not() {
    let begun = || {
        let mut decoder = Decoder::new(false);
        assert_eq!(decoder.feed(b"HTTP/1.0 200 OK\r\n\r\nall").unwrap().1, None);
        decoder
    };
    let response = begun().end(false).unwrap();
    assert_eq!(response.body, b"all");
    assert!(!response.keeps_alive());
    assert!(begun().end(true).unwrap_err().contains("reset the connection within an answer"));
}

/// Neither the stack nor the work grows without bound.
#[test]
fn interim_responses_without_end() {
    let interim = "HTTP/1.1 100 C\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let some = interim.repeat(INTERIM_MAX) + last;
    assert_eq!(whole(&some).unwrap().unwrap().1, some.len());
    assert!(whole(&interim.repeat(INTERIM_MAX + 1)).unwrap_err().contains("interim"));
}

#[test]
fn a_head_or_a_line_without_end() {
    let head = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(HEAD_BYTES_MAX / 6));
    assert!(whole(&head).unwrap_err().contains("headers of the answer"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(
        whole(&format!("{chunked}1;{}", "x".repeat(CHUNK_LINE_BYTES_MAX))).unwrap_err().contains("size of a chunk")
    );
    let trailers = format!("{chunked}0\r\n{}", "X: y\r\n".repeat(HEAD_BYTES_MAX / 6 + 1));
    assert!(whole(&trailers).unwrap_err().contains("headers of the answer"));
}

/// A body in many small chunks takes work in proportion to its bytes, however it is read: no byte is looked at again
/// when more bytes arrive.
#[test]
fn reading_is_linear() {
    const CHUNKS: usize = 20_000;
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..CHUNKS {
        bytes.extend_from_slice(b"40\r\n");
        bytes.extend_from_slice(&[b'x'; 64]);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    for piece in [1, 100, 32 * 1024] {
        let mut decoder = Decoder::new(false);
        let mut response = None;
        for part in bytes.chunks(piece) {
            let (used, whole) = decoder.feed(part).unwrap();
            assert_eq!(used, part.len());
            response = whole;
        }
        assert_eq!(response.unwrap().body_bytes, 64 * CHUNKS);
        assert!(decoder.examined <= 2 * bytes.len(), "{} of {} in pieces of {piece}", decoder.examined, bytes.len());
    }
}
