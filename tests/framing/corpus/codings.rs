//! `Transfer-Encoding` in all spellings, alone and beside fields that contradict it (RFC 9112 §6.1, §6.3, §7).

use super::lengths::{DISGUISES, disguised};
use super::{CHUNKED, CL, Corpus, SIZED, TE, field, message, post};

const VALUES: [&str; 77] = [
    "chunked",
    "Chunked",
    "CHUNKED",
    "cHuNkEd",
    " chunked",
    "\tchunked",
    "  chunked  ",
    "chunked ",
    "chunked\t",
    "\"chunked\"",
    "'chunked'",
    "<chunked>",
    "(chunked)",
    "[chunked]",
    "chunked;",
    "chunked;q=1",
    "chunked; q=0.5",
    "chunked;a=b",
    "chunked ;a",
    "chunked(a)",
    "chunked/1",
    "chunked=",
    "chunked=1",
    "chunked-",
    "-chunked",
    "chunked.",
    ".chunked",
    "chunked,",
    "chunked, ",
    ",chunked",
    ", chunked",
    ",",
    ",,",
    "chunked,,",
    "chunked,chunked",
    "chunked, chunked",
    "chunked , chunked",
    "chunked chunked",
    "chunked\tchunked",
    "chunked;chunked",
    "identity",
    "Identity",
    "identity, chunked",
    "chunked, identity",
    "identity,chunked",
    "identity chunked",
    "identity;chunked",
    "gzip",
    "gzip, chunked",
    "gzip,chunked",
    "gzip , chunked",
    "chunked, gzip",
    "chunked,gzip",
    "gzip, chunked, chunked",
    "gzip, deflate, chunked",
    "deflate, chunked",
    "compress, chunked",
    "x-gzip, chunked",
    "x-chunked",
    "xchunked",
    "chunkedx",
    "chunke",
    "chunk",
    "chunked, x",
    "x, chunked",
    "x",
    "trailers",
    "trailers, chunked",
    "chunked, trailers",
    "gzip;q=1, chunked",
    "a;b=\", chunked\"",
    "chunked #",
    "%63hunked",
    "chun\u{212a}ed",
    "\u{ff43}hunked",
    "chunked\u{a0}",
    "\u{feff}chunked",
];

/// Values with bytes that no field may hold, folded values, and an empty value.
const BROKEN: [&[u8]; 25] = [
    b"",
    b"\x0bchunked",
    b"chunked\x0b",
    b"\x0cchunked",
    b"\0chunked",
    b"chunked\0",
    b"chunked\0, x",
    b"\x08chunked",
    b"\x7fchunked",
    b"\xffchunked",
    b"chunked\xff",
    b"\xa0chunked",
    b"\rchunked",
    b"chunked\r",
    b"chunked\rx",
    b"\nchunked",
    b"chunked\n",
    b"chunked\nx",
    b"\r\n chunked",
    b"\r\n\tchunked",
    b"chunked\r\n ",
    b"chunked\r\n , x",
    b"x\r\n , chunked",
    b"chunked\r\n\t, identity",
    b"chun\r\n ked",
];

pub(super) fn add(corpus: &mut Corpus) {
    for value in VALUES.iter().map(|value| value.as_bytes()).chain(BROKEN) {
        let it = field(b"Transfer-Encoding", value);
        corpus.add(&[b"te", b"alone", value], post(&[&it], CHUNKED));
        let old = message(b"POST /a HTTP/1.0", &[b"Connection: keep-alive\r\n", &it], CHUNKED);
        corpus.add(&[b"te", b"http10", value], old);
        corpus.add(&[b"te", b"before-5", value], post(&[&it, CL], CHUNKED));
        corpus.add(&[b"te", b"behind-5", value], post(&[CL, &it], CHUNKED));
        corpus.add(&[b"te", b"before-chunked", value], post(&[&it, TE], CHUNKED));
        corpus.add(&[b"te", b"behind-chunked", value], post(&[TE, &it], CHUNKED));
    }
    for disguise in DISGUISES {
        let it = disguised(disguise, b"Transfer-Encoding", b"chunked");
        corpus.add(&[b"te-name", b"alone", disguise], post(&[&it], CHUNKED));
        corpus.add(&[b"te-name", b"first", disguise], message(b"POST /a HTTP/1.1\r\nX: y", &[&it], CHUNKED));
        corpus.add(&[b"te-name", b"before-5", disguise], post(&[&it, CL], CHUNKED));
        corpus.add(&[b"te-name", b"behind-5", disguise], post(&[CL, &it], CHUNKED));
        corpus.add(&[b"te-name", b"before-x", disguise], post(&[&it, b"Transfer-Encoding: x\r\n"], CHUNKED));
    }
    for name in
        ["transfer-encoding", "TRANSFER-ENCODING", "tRaNsFeR-eNcOdInG", "Transfer_Encoding", "Transfer Encoding"]
    {
        corpus.add(&[b"te-name", b"spelled", name.as_bytes()], post(&[&field(name.as_bytes(), b"chunked")], CHUNKED));
        corpus
            .add(&[b"te-name", b"spelled-5", name.as_bytes()], post(&[&field(name.as_bytes(), b"chunked"), CL], SIZED));
    }
    for (name, space) in
        [("none", ""), ("tab", "\t"), ("many", "   \t  "), ("vt", "\x0b"), ("cr", "\r"), ("nbsp", "\u{a0}")]
    {
        let it = format!("Transfer-Encoding:{space}chunked\r\n");
        corpus.add(&[b"te-colon", name.as_bytes()], post(&[it.as_bytes()], CHUNKED));
        corpus.add(&[b"te-colon-5", name.as_bytes()], post(&[it.as_bytes(), CL], CHUNKED));
    }
    for count in [2, 3, 50] {
        corpus.add(&[b"te-times", count.to_string().as_bytes()], post(&[&TE.repeat(count)], CHUNKED));
    }
}
