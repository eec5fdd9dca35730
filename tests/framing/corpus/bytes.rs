//! Every unusual byte at every place of a request where parsers differ about it.

use super::{Corpus, replace};

/// Control bytes, punctuation, and bytes that are a space or a line end in some character set.
const BYTES: [u8; 55] = [
    0x00, 0x01, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x15, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
    b' ', b'!', b'"', b'#', b'%', b'&', b'\'', b'(', b')', b'*', b'+', b',', b'-', b'.', b'/', b'0', b':', b';', b'<',
    b'=', b'>', b'?', b'@', b'[', b'\\', b'_', b'{', b'|', 0x7f, 0x80, 0x85, 0x8a, 0xa0, 0xc2, 0xe9, 0xff,
];

const CHUNKED: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5;e\r\nhello\r\n0\r\nT: u\r\n\r\n";
const SIZED: &[u8] = b"POST /a HTTP/1.1\r\nHost: test\r\nX: y\r\nContent-Length: 5\r\n\r\nhello";

/// A name, a request, a text in it, and the text that replaces it. `@` stands for the byte.
type Place = (&'static str, &'static [u8], &'static [u8], &'static [u8]);

const PLACES: [Place; 28] = [
    ("line-start", SIZED, b"POST", b"@POST"),
    ("method", SIZED, b"POST", b"PO@ST"),
    ("method-end", SIZED, b"POST", b"POST@"),
    ("target-start", SIZED, b"/a", b"@/a"),
    ("target", SIZED, b"/a", b"/@a"),
    ("target-end", SIZED, b"/a", b"/a@"),
    ("version-start", SIZED, b"HTTP", b"@HTTP"),
    ("version-end", SIZED, b"1.1", b"1.1@"),
    ("version-for-space", SIZED, b"/a ", b"/a@"),
    ("name-start", SIZED, b"X:", b"@X:"),
    ("name-end", SIZED, b"X:", b"X@:"),
    ("colon", SIZED, b"X:", b"X@"),
    ("value", SIZED, b"X: y", b"X: y@z"),
    ("value-end", SIZED, b"X: y", b"X: y@"),
    ("for-carriage-return", SIZED, b"y\r\n", b"y@\n"),
    ("for-line-feed", SIZED, b"y\r\n", b"y\r@"),
    ("cl-start", SIZED, b": 5", b": @5"),
    ("cl-end", SIZED, b": 5", b": 5@"),
    ("te-start", CHUNKED, b"chunked", b"@chunked"),
    ("te-end", CHUNKED, b"chunked", b"chunked@"),
    ("head-end", SIZED, b"\r\n\r\n", b"\r\n@\r\n"),
    ("size-start", CHUNKED, b"5;e", b"@5;e"),
    ("size-end", CHUNKED, b"5;e", b"5@;e"),
    ("extension", CHUNKED, b"5;e", b"5;e@"),
    ("for-semicolon", CHUNKED, b"5;e", b"5@e"),
    ("chunk-end", CHUNKED, b"hello", b"hello@"),
    ("trailer-name", CHUNKED, b"T:", b"T@:"),
    ("trailer-value", CHUNKED, b"u\r\n", b"u@\r\n"),
];

pub(super) fn add(corpus: &mut Corpus) {
    for (place, request, pattern, replacement) in PLACES {
        for byte in BYTES {
            let with = replace(replacement, b"@", &[byte]);
            let name = format!("{byte:02x}");
            corpus.add(&[b"byte", place.as_bytes(), name.as_bytes()], replace(request, pattern, &with));
        }
    }
}
