//! `http::head`: where a head ends, and what it says.
//!
//! - The end is found at the same place however the bytes are cut, and it is the first empty line's.
//! - What is accepted ends exactly there, whatever follows it; no prefix of it is accepted.
//! - What is accepted is within the limits, and holds nothing that could be mistaken for framing: names are tokens,
//!   values hold no line end and no NUL, the target is a path or `*`.
//! - Its length is what a plain reading of its headers says, and two readings were not possible.
//! - Written down again in the plainest form, it is accepted and says the same.

use super::{Draw, Rng, cuts, prefixes};
use crate::Limits;
use crate::http1::error::ProtocolError;
use crate::http1::head::{Framing, Head, HeadEndFinder, parse};

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let mut numbers = Rng::new(draw.byte().into());
    let limits = super::connection::limits(&mut draw);
    let mut bytes = draw.0;
    // The connection drops empty lines in front of a request before it looks for a head.
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = reference_end(bytes);
    for cuts in cuts(bytes, &mut numbers) {
        assert_eq!(scan(bytes, &cuts), end, "cut at {cuts:?}");
    }
    let mut room = Vec::new();
    let outcome = parse(bytes, &mut room, &limits);
    if let Ok(Some(end)) = end {
        // What the connection relies on: the parser sees nothing behind the end.
        let mut room = Vec::new();
        let alone = parse(&bytes[..end], &mut room, &limits);
        assert_eq!(outcome.as_ref().map(described), alone.as_ref().map(described));
    }
    if let Ok((head, head_bytes)) = &outcome {
        assert_eq!(end, Ok(Some(*head_bytes)), "the parser and the scan disagree on the end");
        for shorter in prefixes(*head_bytes, &mut numbers) {
            assert!(parse(&bytes[..shorter], &mut Vec::new(), &limits).is_err(), "{shorter} bytes are no whole head");
        }
        check(head, &limits);
        again(head, &limits);
    }
}

type End = Result<Option<usize>, ProtocolError>;

/// Where the head ends, as simply as it can be said: behind the first empty line, if no LF before stands alone.
fn reference_end(bytes: &[u8]) -> End {
    let mut line_start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' {
            match bytes[line_start..index].last() {
                Some(b'\r') if index == line_start + 1 => return Ok(Some(index + 1)),
                Some(b'\r') => line_start = index + 1,
                _ => return Err(ProtocolError::BareLineFeed),
            }
        }
    }
    Ok(None)
}

fn scan(bytes: &[u8], cuts: &[usize]) -> End {
    let mut scan = HeadEndFinder::default();
    for &cut in cuts {
        match scan.find(&bytes[..cut]) {
            Ok(None) => {}
            found => return found,
        }
    }
    Ok(None)
}

type Described = (String, String, Vec<(String, Vec<u8>)>, String, usize);

/// A parsed head, owned, to compare.
fn described((head, head_bytes): &(Head<'_>, usize)) -> Described {
    let headers = head.headers.iter().map(|header| (header.name().to_owned(), header.value.to_vec())).collect();
    (head.method.to_owned(), head.path_and_query.to_owned(), headers, format!("{:?}", head.meta), *head_bytes)
}

/// What every accepted head must be like; the connection's target asks the same.
pub(super) fn check(head: &Head<'_>, limits: &Limits) {
    assert!(is_token(head.method.as_bytes()) && head.method != "CONNECT", "method {:?}", head.method);
    let target = head.path_and_query;
    assert!(target.starts_with('/') || (target == "*" && head.method == "OPTIONS"), "target {target:?}");
    assert!(!target.bytes().any(|byte| byte <= b' ' || byte == b'#' || byte == 0x7f), "target {target:?}");
    assert!(target.len() <= limits.target_bytes_max && head.headers.len() <= limits.headers_max);
    for header in head.headers {
        assert!(is_token(header.name), "name {:?}", header.name);
        let text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        assert!(header.value.iter().all(text), "value {:?}", header.value.escape_ascii().to_string());
    }
    let values = |name: &str| -> Vec<&[u8]> {
        head.headers.iter().filter(|header| header.is(name)).map(|header| header.value).collect()
    };
    let framing = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Framing::Sized(0),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !head.meta.http10 => Framing::Chunked,
        ([length], []) => {
            assert!(!length.is_empty() && length.iter().all(u8::is_ascii_digit), "length {length:?}");
            let length = std::str::from_utf8(length).unwrap().parse().expect("a length that was accepted is a number");
            assert!(length <= limits.body_bytes_max);
            Framing::Sized(length)
        }
        other => panic!("accepted, though its framing is {other:?}"),
    };
    assert_eq!(head.meta.framing, framing);
    let hosts = values("host");
    assert!(hosts.len() == 1 || (hosts.is_empty() && head.meta.http10), "{} hosts", hosts.len());
    let doubtful = |byte: &u8| !byte.is_ascii_graphic() || b"\"#,/<>?@\\^`{|}".contains(byte);
    assert!(!hosts.concat().iter().any(doubtful), "host {hosts:?}");
}

/// RFC 9110 §5.6.2, by what it excludes.
pub(super) fn is_token(text: &[u8]) -> bool {
    let delimiter = |byte: &u8| !byte.is_ascii_graphic() || b"\"(),/:;<=>?@[\\]{}".contains(byte);
    !text.is_empty() && !text.iter().any(delimiter)
}

fn again(head: &Head<'_>, limits: &Limits) {
    let version = if head.meta.http10 { "1.0" } else { "1.1" };
    let mut plain = format!("{} {} HTTP/{version}\r\n", head.method, head.path_and_query).into_bytes();
    for header in head.headers {
        plain.extend_from_slice(header.name);
        plain.extend_from_slice(b": ");
        plain.extend_from_slice(header.value);
        plain.extend_from_slice(b"\r\n");
    }
    plain.extend_from_slice(b"\r\n");
    let mut room = Vec::new();
    let (seen, bytes) = parse(&plain, &mut room, limits).expect("it was accepted before");
    assert_eq!(described(&(seen, bytes)), described(&(*head, plain.len())));
}
