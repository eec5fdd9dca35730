//! `Content-Length` in all spellings, alone and beside fields that contradict it (RFC 9110 §8.6, RFC 9112 §6.3).

use super::{CHUNKED, CL, Corpus, SIZED, TE, field, message, post};

const VALUES: [&str; 59] = [
    "5",
    "05",
    "00000000000000000000000000000000005",
    "0",
    "00",
    "4",
    "6",
    "+5",
    "-5",
    "--5",
    "+0",
    "-0",
    "0x5",
    "0X5",
    "0x05",
    "5h",
    "0o5",
    "0b101",
    "5.",
    "5.0",
    "5,0",
    ".5",
    "5e0",
    "5E0",
    "5_",
    "_5",
    "0_5",
    "5;",
    "5;a",
    "five",
    "NaN",
    "\"5\"",
    "'5'",
    "5,5",
    "5, 5",
    "5 ,5",
    "5, 6",
    "6, 5",
    "5,",
    ",5",
    ",",
    "5 5",
    "5\t5",
    " 5",
    "5 ",
    "\t5\t",
    "5#",
    "5%",
    "4294967296",
    "4294967301",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551621",
    "99999999999999999999999999999999",
    "\u{665}",
    "\u{ff15}",
    "5\u{a0}",
];

/// Values with bytes that no field may hold, and an empty value.
const BROKEN: [&[u8]; 12] =
    [b"", b"\x0b5", b"5\x0b", b"\x0c5", b"\0", b"5\0", b"\x005", b"5\r", b"5\r\n ", b"\r\n 5", b"5\r\n 5", b"5\n"];

/// Names and beginnings of lines that only some parsers take for the field. `#` stands for the name of the field.
pub(super) const DISGUISES: [&[u8]; 38] = [
    b"#",
    b"# ",
    b"#\t",
    b"#  ",
    b"#\x0b",
    b"#\x0c",
    b"#\0",
    b"#\x08",
    b"#\r",
    b"#\n",
    b"#\r\n ",
    b" #",
    b"\t#",
    b"\x0b#",
    b"\0#",
    b"\r#",
    b"\n#",
    b"\x7f#",
    b"\xff#",
    b"#\xff",
    b"#\xa0",
    b"\"#\"",
    b"'#'",
    b"#:",
    b":#",
    b": #",
    b"#=",
    b"#;",
    b"x-#",
    b"#-",
    b"X: x\r#",
    b"X: x\n#",
    b"X: x\r\r\n#",
    b"X: x\n\r#",
    b"X: x\r\n #",
    b"X: x\0#",
    b"X: x\r\n\t#",
    b"X\r\n#",
];

pub(super) fn add(corpus: &mut Corpus) {
    for value in VALUES.iter().map(|value| value.as_bytes()).chain(BROKEN) {
        let it = field(b"Content-Length", value);
        corpus.add(&[b"cl", b"alone", value], post(&[&it], SIZED));
        let old = message(b"POST /a HTTP/1.0", &[b"Connection: keep-alive\r\n", &it], SIZED);
        corpus.add(&[b"cl", b"http10", value], old);
        corpus.add(&[b"cl", b"before-5", value], post(&[&it, CL], SIZED));
        corpus.add(&[b"cl", b"behind-5", value], post(&[CL, &it], SIZED));
        corpus.add(&[b"cl", b"before-chunked", value], post(&[&it, TE], CHUNKED));
        corpus.add(&[b"cl", b"behind-chunked", value], post(&[TE, &it], CHUNKED));
    }
    for disguise in DISGUISES {
        let it = disguised(disguise, b"Content-Length", b"5");
        corpus.add(&[b"cl-name", b"alone", disguise], post(&[&it], SIZED));
        corpus.add(&[b"cl-name", b"first", disguise], message(b"POST /a HTTP/1.1\r\nX: y", &[&it, b"X: y\r\n"], SIZED));
        corpus.add(&[b"cl-name", b"before-0", disguise], post(&[&it, b"Content-Length: 0\r\n"], SIZED));
        corpus.add(&[b"cl-name", b"before-chunked", disguise], post(&[&it, TE], CHUNKED));
    }
    for name in
        ["content-length", "CONTENT-LENGTH", "cOnTeNt-LeNgTh", "Content_Length", "Content Length", "ContentLength"]
    {
        corpus.add(&[b"cl-name", b"spelled", name.as_bytes()], post(&[&field(name.as_bytes(), b"5")], SIZED));
    }
    for (name, space) in
        [("none", ""), ("tab", "\t"), ("many", "   \t  "), ("vt", "\x0b"), ("cr", "\r"), ("nbsp", "\u{a0}")]
    {
        let it = format!("Content-Length:{space}5\r\n");
        corpus.add(&[b"cl-colon", name.as_bytes()], post(&[it.as_bytes()], SIZED));
    }
    for count in [2, 3, 50] {
        corpus.add(&[b"cl-times", count.to_string().as_bytes()], post(&[&CL.repeat(count)], SIZED));
    }
}

/// The field in this spelling.
pub(super) fn disguised(disguise: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let at = disguise.iter().position(|&byte| byte == b'#').expect("the name's place");
    [&disguise[..at], name, &disguise[at + 1..], b": ", value, b"\r\n"].concat()
}
