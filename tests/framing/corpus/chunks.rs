//! Chunked bodies: sizes, extensions, line ends and trailers (RFC 9112 §7.1).

use super::{Corpus, TE, post};

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Spellings of a chunk size; `#` stands for the digit.
const SIZES: [&str; 53] = [
    "#",
    "0#",
    "000000000000000#",
    "0000000000000000#",
    "+#",
    "-#",
    "0x#",
    "0X#",
    "x#",
    "\\x#",
    "#h",
    "#H",
    "# ",
    "#  ",
    "#\t",
    " #",
    "\t#",
    "#_",
    "_#",
    "0_#",
    "#.",
    "#.0",
    "#,",
    "#,#",
    "# #",
    "#g",
    "g#",
    "#e0",
    "\"#\"",
    "'#'",
    "#L",
    "#:",
    "#=",
    "#\0",
    "\0#",
    "#\x0b",
    "\x0b#",
    "#\x0c",
    "#\x7f",
    "#\u{a0}",
    "\u{ff15}",
    "",
    " ",
    "100000000#",
    "fffffffff#",
    "800000000000000#",
    "fffffffffffffff#",
    "f000000000000000#",
    "1000000000000000#",
    "8000000000000000#",
    "10000000000000000000000000000000#",
    "-0#",
    "%35",
];

const EXTENSIONS: [&str; 40] = [
    ";",
    ";a",
    ";a=b",
    ";a=\"b\"",
    ";a=\"b;c\"",
    ";a=\"b\\\"c\"",
    ";a=\"",
    ";a=\"b",
    "; a",
    " ;a",
    "\t;a",
    " ; a = b",
    ";a =b",
    ";a= b",
    ";;",
    ";;;a",
    ";=",
    ";=b",
    ";a=",
    ";a=b=c",
    ";a b",
    ";a,b",
    ";\t",
    ";a\tb",
    ";a;b;c=d;e=\"f\"",
    ";(a)",
    ";\u{e9}",
    ";\u{ff}",
    ";a\0",
    ";\x01",
    ";\x7f",
    ";\x0b",
    ";\r",
    ";a\rb",
    ";a\r",
    ";a=\"\rb\"",
    ";a=\"\nb\"",
    ";a=\"\r\nb\"",
    ";0",
    " a",
];

/// Bytes in the place of CRLF.
const LINE_ENDS: [&str; 17] = [
    "\r\n", "\n", "\r", "", "\r\r\n", "\n\r", "\r\n\r\n", "\n\n", "\r\r", " \r\n", "\t\r\n", "\r \n", "\x0b\r\n",
    "\0\r\n", "\x0b\n", "xx", "\u{2028}",
];

const TRAILERS: [&str; 44] = [
    "",
    "A: b\r\n",
    "A:b\r\n",
    "A:\r\n",
    "A: b\r\nC: d\r\n",
    "A: b \r\n",
    "A: \tb\r\n",
    "A: b\n",
    "A: b\r",
    "A: b\r\r\n",
    "A: b\n\r",
    "A\r\n",
    "A b\r\n",
    ": b\r\n",
    " A: b\r\n",
    "\tA: b\r\n",
    "A: b\r\n c\r\n",
    "A: b\r\n\tc\r\n",
    "A : b\r\n",
    "A\t: b\r\n",
    "A\0: b\r\n",
    "A: b\0\r\n",
    "A: b\x0b\r\n",
    "A: b\x7f\r\n",
    "A: \u{e9}\r\n",
    "\u{e9}: b\r\n",
    "(A): b\r\n",
    "\"A\": b\r\n",
    "A b: c\r\n",
    "A;b: c\r\n",
    "A: b\rC: d\r\n",
    "A: b\nC: d\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: x\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Host: other\r\n",
    "Host:\r\n",
    "Connection: close\r\n",
    "Connection: Content-Length\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Trailer: A\r\n",
    "GET /inside HTTP/1.1\r\n",
];

pub(super) fn add(corpus: &mut Corpus) {
    for size in SIZES {
        let (first, last) = (size.replace('#', "5"), size.replace('#', "0"));
        corpus.add(&[b"chunk-size", size.as_bytes()], chunked(&format!("{first}\r\nhello\r\n0\r\n\r\n")));
        corpus.add(&[b"chunk-size-last", size.as_bytes()], chunked(&format!("5\r\nhello\r\n{last}\r\n\r\n")));
        corpus.add(&[b"chunk-size-only", size.as_bytes()], chunked(&format!("{last}\r\n\r\n")));
    }
    for (name, size) in [("zeros", format!("{ZEROS}5")), ("zero-zeros", ZEROS.to_owned())] {
        corpus.add(&[b"chunk-size", name.as_bytes()], chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")));
    }
    for (name, size) in [("lower", "a"), ("upper", "A"), ("zero-lower", "0a"), ("zero-upper", "0A"), ("decimal", "10")]
    {
        corpus.add(&[b"chunk-hex", name.as_bytes()], chunked(&format!("{size}\r\n0123456789\r\n0\r\n\r\n")));
    }
    for extension in EXTENSIONS {
        let name = extension.as_bytes();
        corpus.add(&[b"chunk-ext", name], chunked(&format!("5{extension}\r\nhello\r\n0\r\n\r\n")));
        corpus.add(&[b"chunk-ext-last", name], chunked(&format!("5\r\nhello\r\n0{extension}\r\n\r\n")));
    }
    for bytes in [100, 1000, 4000] {
        let (name, long) = (bytes.to_string(), "e".repeat(bytes));
        corpus.add(&[b"chunk-ext-long", name.as_bytes()], chunked(&format!("5;{long}\r\nhello\r\n0\r\n\r\n")));
        corpus.add(&[b"trailer-long", name.as_bytes()], chunked(&format!("5\r\nhello\r\n0\r\nA: {long}\r\n\r\n")));
    }
    for end in LINE_ENDS {
        let name = end.as_bytes();
        corpus.add(&[b"chunk-end", b"size", name], chunked(&format!("5{end}hello\r\n0\r\n\r\n")));
        corpus.add(&[b"chunk-end", b"extension", name], chunked(&format!("5;a{end}hello\r\n0\r\n\r\n")));
        corpus.add(&[b"chunk-end", b"data", name], chunked(&format!("5\r\nhello{end}0\r\n\r\n")));
        corpus.add(&[b"chunk-end", b"last", name], chunked(&format!("5\r\nhello\r\n0{end}\r\n")));
        corpus.add(&[b"chunk-end", b"final", name], chunked(&format!("5\r\nhello\r\n0\r\n{end}")));
        corpus.add(&[b"chunk-end", b"trailer", name], chunked(&format!("5\r\nhello\r\n0\r\nA: b{end}\r\n")));
        corpus.add(&[b"chunk-end", b"all", name], chunked(&["5", "hello", "0", "", ""].join(end)));
    }
    for trailer in TRAILERS {
        corpus.add(&[b"trailer", trailer.as_bytes()], chunked(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n")));
    }
    let bodies = [
        ("two", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("two-extensions", "2;a\r\nhe\r\n3;b=c\r\nllo\r\n0;d\r\n\r\n"),
        ("empty", "0\r\n\r\n"),
        ("data-is-framing", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        ("too-long", "4\r\nhello\r\n0\r\n\r\n"),
        ("too-short", "6\r\nhello\r\n0\r\n\r\n"),
        ("short-by-end", "7\r\nhello\r\n0\r\n\r\n"),
        ("no-last", "5\r\nhello\r\n"),
        ("no-final", "5\r\nhello\r\n0\r\n"),
        ("final-twice", "5\r\nhello\r\n0\r\n\r\n\r\n"),
        ("last-twice", "5\r\nhello\r\n0\r\n\r\n0\r\n\r\n"),
        ("empty-line-first", "\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("line-feed-first", "\n5\r\nhello\r\n0\r\n\r\n"),
        ("empty-line-between", "5\r\nhello\r\n\r\n0\r\n\r\n"),
        ("sized", "hello"),
        ("nothing", ""),
    ];
    for (name, body) in bodies {
        corpus.add(&[b"chunks", name.as_bytes()], chunked(body));
    }
}

fn chunked(body: &str) -> Vec<u8> {
    post(&[TE], body.as_bytes())
}
