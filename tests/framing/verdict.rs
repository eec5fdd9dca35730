//! The verdict of one reader on one case, and the relation of two verdicts.
//!
//! A verdict holds the requests that the reader accepted, each with its whole body, and the end of the connection. This
//! module must not depend on any reader.

use std::fmt;

/// The verdict of one reader on one case. Its text is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub requests: Vec<String>,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// `~`: the reader has read all bytes, or waits for the rest of a request.
    Waits,
    /// `.`: the reader closes the connection, as the client or the version asks, and reads no further.
    Closed,
    /// `!`: the reader rejects the request, with this message.
    Refused(String),
}

/// The relation of our verdict to that of an oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    Same,
    /// We reject a request that the oracle accepts, or has not rejected yet.
    Stricter,
    /// We close the connection; the oracle reads on.
    ClosesFirst,
    /// We read on; the oracle closes the connection.
    StaysOpen,
    /// We wait for more bytes; the oracle rejects. We have accepted no request that it has not accepted.
    Patient,
    /// We accept a request that the oracle rejects.
    Laxer,
    /// Both accept, but see different requests. A client can smuggle a request through such a difference.
    Differs,
}

pub fn relate(ours: &Verdict, theirs: &Verdict) -> Relation {
    use Relation::*;
    if ours.requests.iter().zip(&theirs.requests).any(|(ours, theirs)| ours != theirs) {
        return Differs;
    }
    // No bytes follow the canary.
    if ours.requests == theirs.requests && ours.requests.last().is_some_and(|last| last == CANARY_SHORT) {
        return Same;
    }
    let (more, fewer) = (ours.requests.len() > theirs.requests.len(), ours.requests.len() < theirs.requests.len());
    match (&ours.end, &theirs.end) {
        (End::Refused(_), _) if fewer => Stricter,
        (End::Closed, _) if fewer => ClosesFirst,
        (End::Waits, _) if fewer => Differs,
        (_, End::Refused(_)) if more => Laxer,
        (_, End::Closed) if more => StaysOpen,
        (_, End::Waits) if more => Differs,
        (End::Refused(_), End::Refused(_)) | (End::Waits, End::Waits) | (End::Closed, End::Closed) => Same,
        (End::Refused(_), End::Waits) => Stricter,
        (End::Refused(_) | End::Waits, End::Closed) => StaysOpen,
        (End::Waits, End::Refused(_)) => Patient,
        (End::Closed, _) => ClosesFirst,
    }
}

/// The canary, the last request of most verdicts.
const CANARY: &str = "GET /canary";
pub const CANARY_SHORT: &str = "C";

/// One request as verdicts show it. Of the target it shows path and query, as callbacks get it.
pub fn request(method: &[u8], target: &[u8], body: &[u8]) -> String {
    let mut text = format!("{} {}", shown(method), shown(origin_form(target)));
    if !body.is_empty() {
        text += &format!(" ={}", shown(body));
    }
    if text == CANARY { CANARY_SHORT.to_owned() } else { text }
}

/// The target without scheme and authority. An empty path is `/` (RFC 9110 §4.2.3).
fn origin_form(target: &[u8]) -> &[u8] {
    let is_scheme = |scheme: &[u8]| target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
    let Some(scheme) = [&b"http://"[..], b"https://"].into_iter().find(|scheme| is_scheme(scheme)) else {
        return target;
    };
    let rest = &target[scheme.len()..];
    rest.iter().position(|byte| b"/?#".contains(byte)).map_or(b"/", |end| &rest[end..])
}

/// The bytes as printable text without separators. A long text is shown by its beginning, length and hash (FNV-1a).
fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string().replace(' ', "\\x20").replace('|', "\\x7c");
    if text.len() <= 80 {
        return text;
    }
    let hash = bytes.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{}…{}#{hash:08x}", &text[..16], bytes.len())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for request in &self.requests {
            write!(f, "{request} | ")?;
        }
        match &self.end {
            End::Waits => f.write_str("~"),
            End::Closed => f.write_str("."),
            End::Refused(why) => write!(f, "!{why}"),
        }
    }
}

impl Verdict {
    /// Reads the text that `Display` writes.
    pub fn parse(text: &str) -> Option<Verdict> {
        let mut requests: Vec<String> = text.split(" | ").map(str::to_owned).collect();
        let end = match requests.pop()?.as_str() {
            "~" => End::Waits,
            "." => End::Closed,
            end => End::Refused(end.strip_prefix('!')?.to_owned()),
        };
        Some(Verdict { requests, end })
    }
}
