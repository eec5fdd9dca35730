//! The corpus: valid, invalid and ambiguous requests, generated from tables, the same in every run.
//!
//! After every case comes one more request, the canary. A reader that frames the case differently finds the canary at
//! another place or not at all. So comparing the requests of two readers compares where they see the end of the case.
//! This module must not depend on any verdict.

mod bytes;
mod chunks;
mod codings;
mod fields;
mod lengths;
mod lines;
mod tricks;

/// The request after every case.
pub const CANARY: &[u8] = b"GET /canary HTTP/1.1\r\nHost: test\r\n\r\n";

/// A body of five bytes, sized and chunked.
const SIZED: &[u8] = b"hello";
const CHUNKED: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

const TE: &[u8] = b"Transfer-Encoding: chunked\r\n";
const CL: &[u8] = b"Content-Length: 5\r\n";

/// One case: its name and its bytes, the canary included.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// All cases, in the order of the tables.
pub fn all() -> Vec<Case> {
    let mut corpus = Corpus(Vec::new());
    lines::add(&mut corpus);
    fields::add(&mut corpus);
    lengths::add(&mut corpus);
    codings::add(&mut corpus);
    chunks::add(&mut corpus);
    bytes::add(&mut corpus);
    tricks::add(&mut corpus);
    corpus.0
}

struct Corpus(Vec<Case>);

impl Corpus {
    /// `parts` of the name are the group, and the texts that distinguish the case within it.
    fn add(&mut self, parts: &[&[u8]], bytes: Vec<u8>) {
        let name = parts.iter().map(|part| label(part)).collect::<Vec<_>>().join("/");
        self.0.push(Case { name, bytes: [&bytes[..], CANARY].concat() });
    }
}

/// A request with `POST /a`, `Host`, these fields with their line ends, and a body.
fn post(fields: &[&[u8]], body: &[u8]) -> Vec<u8> {
    message(b"POST /a HTTP/1.1", fields, body)
}

fn message(line: &[u8], fields: &[&[u8]], body: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: test\r\n", &fields.concat(), b"\r\n", body].concat()
}

fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b": ", value, b"\r\n"].concat()
}

/// The bytes with `replacement` in place of the first `pattern`.
fn replace(bytes: &[u8], pattern: &[u8], replacement: &[u8]) -> Vec<u8> {
    let at = bytes.windows(pattern.len()).position(|window| window == pattern).expect("the pattern occurs");
    [&bytes[..at], replacement, &bytes[at + pattern.len()..]].concat()
}

/// The bytes as printable text without spaces, as lists need it. A long text is cut, and its length follows.
fn label(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' ' => "_".to_owned(),
        b'%' | b'/' | b'_' | b'|' | b'#' => format!("%{byte:02x}"),
        byte if byte.is_ascii_graphic() => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    let cut = if bytes.len() > 60 { &bytes[..16] } else { bytes };
    let mut text: String = cut.iter().map(shown).collect();
    if cut.len() < bytes.len() {
        text += &format!("…{}", bytes.len());
    }
    if text.is_empty() { "nothing".to_owned() } else { text }
}
