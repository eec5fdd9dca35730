//! What a reply looks like from the other end: written by the real response writer, read back by a plain reader.

use crate::function::dispatch::Answer;
use crate::function::rejection;
use crate::function::response_writer::{ResponseWriter, StreamPoll};
use crate::http1::error::ProtocolError;
use crate::http1::head::{Framing, RequestMeta};
use crate::tuning::REPLY_HEAD_BYTES_MAX;

/// A reply as a client reads it.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// The connection stays open.
    pub(super) kept: bool,
    /// The body is not whole: the connection was cut inside it.
    pub(super) cut: bool,
}

/// The client's request, as far as it decides how a reply is framed.
pub(super) fn meta(keep_alive: bool, http10: bool) -> RequestMeta {
    RequestMeta { framing: Framing::Sized(0), keep_alive, expects_continue: false, http10 }
}

/// Sends an answer through a response writer, in pieces of `piece` bytes, and reads it as the client would. Says
/// whether a stream ended with it, and if so, whether it failed.
///
/// # Panics
/// If it is not one whole reply that can be told apart from what follows it.
pub(super) fn send(answer: Answer, meta: RequestMeta, method: &str, piece: usize) -> (Received, Option<bool>) {
    let mut response = ResponseWriter::default();
    let wanted = meta.keep_alive;
    let kept = response.start(answer, &meta, method, wanted);
    let (mut sent, mut ended) = (Vec::new(), None);
    loop {
        loop {
            let (head, body) = response.unsent();
            let next: Vec<u8> = head.iter().chain(body).take(piece).copied().collect();
            if next.is_empty() {
                break;
            }
            response.advance(next.len());
            sent.extend_from_slice(&next);
        }
        if !response.is_streaming() {
            break;
        }
        match response.pull() {
            StreamPoll::More => {}
            StreamPoll::Last => ended = Some(false),
            StreamPoll::Failed(_) => ended = Some(true),
        }
    }
    assert!(response.is_empty(), "something was left in the response");
    let cut = ended == Some(true);
    (receive(&sent, meta, method, kept, cut), ended)
}

/// What a peer gets that broke a rule.
///
/// # Panics
/// If it is not one whole reply with the error's status, of a connection that closes.
pub(super) fn check_refusal(error: ProtocolError, by_head: bool) {
    let mut bytes = Vec::new();
    rejection::write_rejection(&mut bytes, error, !by_head);
    let method = if by_head { "HEAD" } else { "GET" };
    assert_eq!(receive(&bytes, meta(false, false), method, false, false).status, error.status());
}

/// Reads the bytes of one reply, strictly.
fn receive(bytes: &[u8], meta: RequestMeta, method: &str, kept: bool, cut: bool) -> Received {
    let head_bytes = 4 + bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a reply's head ends");
    let (head, body) = bytes.split_at(head_bytes);
    assert!(head.len() <= REPLY_HEAD_BYTES_MAX, "a head of {} bytes", head.len());
    let mut lines = head[..head_bytes - 4].split(|&byte| byte == b'\n').map(|line| match line {
        [line @ .., b'\r'] => line,
        line => line,
    });
    let status = status(lines.next().unwrap_or_default());
    let headers: Vec<_> = lines.map(header).collect();
    let values = |name: &str| -> Vec<&[u8]> {
        headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..]).collect()
    };
    assert!(matches!(values("x-fc-status")[..], [b"200" | b"404"]), "x-fc-status (C-INV-3)");
    let expected_connection: &[&[u8]] = match (kept, meta.http10) {
        (false, _) => &[b"close"],
        (true, true) => &[b"keep-alive"],
        (true, false) => &[],
    };
    assert_eq!(values("connection"), expected_connection);
    let bodiless = method == "HEAD" || matches!(status, 204 | 205 | 304);
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        (_, _) if bodiless => {
            assert!(body.is_empty(), "a body where there can be none");
            Vec::new()
        }
        ([length], []) => {
            let length: usize = std::str::from_utf8(length).unwrap().parse().expect("a length is a number");
            assert!(body.len() == length || (cut && body.len() < length), "{} bytes of {length}", body.len());
            body.to_vec()
        }
        ([], [b"chunked"]) => {
            assert!(!meta.http10, "chunks, for a client that does not know them");
            match super::chunked::reference(body, usize::MAX) {
                Some((plain, end)) => {
                    assert_eq!((end, cut), (body.len(), false), "bytes behind the last chunk");
                    plain
                }
                None => {
                    assert!(cut, "chunks without an end");
                    Vec::new()
                }
            }
        }
        ([], []) => {
            assert!(!kept, "a body that ends with its connection, which stays open");
            body.to_vec()
        }
        framing => panic!("a reply with two lengths: {framing:?}"),
    };
    Received { status, headers, body, kept, cut }
}

fn status(line: &[u8]) -> u16 {
    let rest = line.strip_prefix(b"HTTP/1.1 ").expect("a status line");
    assert!(rest.len() >= 4 && rest[3] == b' ', "{:?}", line.escape_ascii().to_string());
    let status = std::str::from_utf8(&rest[..3]).unwrap().parse().expect("a status is a number");
    assert!((200..=599).contains(&status), "status {status}");
    assert!(
        rest[4..].iter().all(|&byte| matches!(byte, b' ' | b'-') || byte.is_ascii_alphabetic()),
        "the reason phrase"
    );
    status
}

fn header(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line.iter().position(|&byte| byte == b':').expect("a header has a colon");
    let (name, value) = (&line[..colon], line[colon + 1..].strip_prefix(b" ").expect("a blank behind it"));
    assert!(!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic()), "a header's name");
    assert!(!value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)), "a control character in a value");
    (String::from_utf8(name.to_vec()).unwrap(), value.to_vec())
}
