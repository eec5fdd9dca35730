//! `Reply` and `http1::response_head`: whatever an author puts into a reply.
//!
//! - The builder accepts exactly what the grammar allows and the server does not write itself.
//! - What it accepts is one whole reply on the wire: every header once, in order, as it was given, nothing in front of
//!   or behind the body, one framing, and a head that the platform lets through.
//! - A stream that ends too early is told apart from a whole one.

use super::{Draw, wire};
use crate::function::dispatch::{Answer, LogMarker};
use crate::function::reply::{Body, Reply};
use crate::function::reply_error::ReplyError;
use crate::tuning::REPLY_HEAD_BYTES_MAX;
use std::io::Cursor;

/// Options, status, then headers as `name:value`, one a line; an empty line, then the body. Names and values may hold
/// anything: 1 stands for LF, 2 for a colon.
pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let (kind, client) = (draw.byte() % 6, draw.byte());
    let status = u16::from(draw.byte()) * 4 + u16::from(draw.byte() % 4);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\u{1}', "\n").replace('\u{2}', ":");
    let mut headers = Vec::new();
    while let Some(line) = draw.line().filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let (name, value) = (text(&line[..colon]), text(line.get(colon + 1..).unwrap_or_default()));
        let outcome = Reply::new().with_header(name.clone(), value.clone());
        assert_eq!(outcome.err(), refused(&name, &value), "{name:?}: {value:?}");
        if refused(&name, &value).is_none() {
            headers.push((name, value));
        }
    }
    let body = draw.0.to_vec();
    let bytes = body.len() as u64;
    let reply = match kind {
        0 => body.clone().into(),
        1 => String::from_utf8_lossy(&body).into_owned().into(),
        2 => Reply::stream(Cursor::new(body.clone())),
        3 => Reply::stream_sized(Cursor::new(body.clone()), bytes),
        4 => Reply::stream_sized(Cursor::new(body.clone()), bytes + 1),
        _ => Reply::new(),
    };
    let Some(reply) = with_all(reply, &headers) else { return };
    assert_eq!(Reply::new().with_status(status).is_ok(), (200..=599).contains(&status), "status {status}");
    let Ok(reply) = reply.with_status(status) else { return };
    check(reply, status, &headers, &body, client);
}

/// What the grammar (RFC 9110 §5.1, §5.5) and the documentation refuse, one by one.
fn refused(name: &str, value: &str) -> Option<ReplyError> {
    const OWNED: [&str; 6] = ["connection", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"];
    let lower = name.to_ascii_lowercase();
    let delimiter = |byte: u8| b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && !delimiter(byte)) {
        Some(ReplyError::HeaderName)
    } else if value.chars().any(|char| char.is_ascii_control() && char != '\t') {
        Some(ReplyError::HeaderValue)
    } else if OWNED.contains(&&*lower) || lower.starts_with("x-fc-") {
        Some(ReplyError::OwnedByServer)
    } else {
        (size(name, value) > HEADERS_BYTES_MAX).then_some(ReplyError::HeadersTooLarge)
    }
}

/// What is left of a head when the server has written its own part.
const HEADERS_BYTES_MAX: usize = REPLY_HEAD_BYTES_MAX - 256;

fn size(name: &str, value: &str) -> usize {
    name.len() + value.len() + 4
}

/// All headers together; none if they are too large, which must be true.
fn with_all(mut reply: Reply, headers: &[(String, String)]) -> Option<Reply> {
    let mut together = 0;
    for (name, value) in headers {
        together += size(name, value);
        match reply.with_header(name.clone(), value.clone()) {
            Ok(next) => reply = next,
            Err(error) => {
                assert!(error == ReplyError::HeadersTooLarge && together > HEADERS_BYTES_MAX, "{error}");
                return None;
            }
        }
    }
    assert!(together <= HEADERS_BYTES_MAX);
    Some(reply)
}

fn check(reply: Reply, status: u16, headers: &[(String, String)], body: &[u8], client: u8) {
    let (keep_alive, http10, failed) = (client & 1 == 0, client & 2 != 0, client & 4 != 0);
    let method = if client & 8 == 0 { "GET" } else { "HEAD" };
    let piece = if client & 16 == 0 { usize::MAX } else { 7 };
    let described = reply.content_type.filter(|_| !matches!(status, 204 | 205 | 304));
    let default_type = described.map(|value| ("content-type".to_owned(), value.as_bytes().to_vec()));
    let body = reply.body.bytes().unwrap_or(body).to_vec();
    let early = matches!(reply.body, Body::Stream(_, Some(length)) if length > body.len() as u64);
    let streaming = matches!(reply.body, Body::Stream(..)).then_some(LogMarker::Invoke);
    let answer = Answer { reply, failed, dropped: false, streaming };
    let (received, ended) = wire::send(answer, wire::meta(keep_alive, http10), method, piece);
    let bodiless = method == "HEAD" || matches!(status, 204 | 205 | 304);
    assert_eq!((received.status, received.cut), (status, early && !bodiless));
    let fc_status = if failed { b"404" } else { b"200" };
    assert_eq!(received.headers[0], ("x-fc-status".to_owned(), fc_status.to_vec()), "C-INV-3");
    assert_eq!(ended.is_some(), streaming.is_some() && !bodiless, "a stream that is sent ends");
    assert!(received.kept <= keep_alive && (received.kept || !keep_alive || http10), "the connection's future");
    if !bodiless {
        assert_eq!(received.body, body);
    }
    // Of several content-types the last one counts; the body's own gives way to any.
    let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
    let last_type = headers.iter().rposition(|(name, _)| is_type(name));
    let given = headers.iter().enumerate().filter(|(index, (name, _))| !is_type(name) || last_type == Some(*index));
    let given = given.map(|(_, (name, value))| (name.clone(), value.as_bytes().to_vec()));
    let expected: Vec<_> = default_type.into_iter().chain(given).collect();
    assert_eq!(received.headers[1..][..expected.len()], expected);
    let ours = ["connection", "content-length", "transfer-encoding"];
    assert!(received.headers[1 + expected.len()..].iter().all(|(name, _)| ours.contains(&&**name)));
}
