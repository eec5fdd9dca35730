//! Answers, parsed strictly enough to notice a broken one.
//!
//! Bytes in, answers out; no socket here. Parsing is three-valued: an answer, "more is needed",
//! or a complaint that no further byte could heal.

/// One whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `1` for HTTP/1.1, `0` for HTTP/1.0.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// Names as sent, values without blanks around them, in order.
    pub headers: Vec<(String, String)>,
    /// The body, without any chunking.
    pub body: Vec<u8>,
    /// The size of status line and headers, with the empty line that ends them.
    pub head_bytes: usize,
}

impl Response {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Whether the status says success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the sender promises to keep the connection.
    pub fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        let says = |word: &str| connection.split(',').any(|token| token.trim() == word);
        !says("close") && (self.minor_version > 0 || says("keep-alive"))
    }

    /// The body as text, cut after `chars_max` characters, control characters replaced.
    pub fn body_text(&self, chars_max: usize) -> String {
        cut(&String::from_utf8_lossy(&self.body[..self.body.len().min(chars_max * 4)]), chars_max)
    }
}

/// `text` on one line, cut after `chars_max` characters.
pub fn cut(text: &str, chars_max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.trim_end().chars().take(chars_max).map(clean).collect();
    if text.trim_end().chars().nth(chars_max).is_some() {
        short.push('…');
    }
    short
}

/// How the end of a body is recognised.
enum Framing {
    None,
    Sized(usize),
    Chunked,
    UntilClose,
}

/// Parses one answer at the start of `bytes`: the answer and how many bytes it took, or `None`
/// when more is needed. `closed` says that no more will come; `bodiless` that the request was
/// HEAD.
///
/// # Errors
/// When the bytes are no answer, or end before the answer does; the text says where.
pub fn parse(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    let parsed = parse_open(bytes, closed, bodiless)?;
    if parsed.is_none() && closed {
        return Err(match bytes.is_empty() {
            true => "the connection was closed without an answer".into(),
            false => format!("the connection was closed in the middle of an answer, after {} bytes", bytes.len()),
        });
    }
    Ok(parsed)
}

/// Interim answers (1xx) that are skipped before the answer itself. A target may send one or two, never a stream of
/// them.
const INTERIM_MAX: usize = 100;

fn parse_open(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    let mut at = 0;
    for _ in 0..=INTERIM_MAX {
        match parse_one(&bytes[at..], closed, bodiless)? {
            None => return Ok(None),
            Some((response, used)) if (100..200).contains(&response.status) && response.status != 101 => at += used,
            Some((response, used)) => return Ok(Some((response, at + used))),
        }
    }
    Err(format!("more than {INTERIM_MAX} interim answers (1xx) and no other"))
}

/// One answer, interim ones included.
fn parse_one(bytes: &[u8], closed: bool, bodiless: bool) -> Result<Option<(Response, usize)>, String> {
    if !b"HTTP/1."[..].starts_with(&bytes[..bytes.len().min(7)]) {
        let shown = cut(&String::from_utf8_lossy(&bytes[..bytes.len().min(40)]), 40);
        return Err(format!("what came is no HTTP/1 answer: `{shown}`"));
    }
    let Some(head_bytes) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let mut response = parse_head(&bytes[..head_bytes - 4])?;
    response.head_bytes = head_bytes;
    if (100..200).contains(&response.status) && response.status != 101 {
        return Ok(Some((response, head_bytes)));
    }
    let rest = &bytes[head_bytes..];
    let body = match framing(&response, bodiless)? {
        Framing::None => Some((Vec::new(), 0)),
        Framing::Sized(size) => rest.get(..size).map(|body| (body.to_vec(), size)),
        Framing::Chunked => unchunk(rest)?,
        Framing::UntilClose => closed.then(|| (rest.to_vec(), rest.len())),
    };
    Ok(body.map(|(body, used)| (Response { body, ..response }, head_bytes + used)))
}

fn parse_head(head: &[u8]) -> Result<Response, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let mut words = status_line.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok());
    let (Some(status @ 100..600), true) = (status, matches!(version, "HTTP/1.0" | "HTTP/1.1")) else {
        return Err(format!("the status line is broken: `{}`", cut(status_line, 60)));
    };
    let header = |line: &str| match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("a header line is broken: `{}`", cut(line, 60))),
    };
    let headers = lines.map(header).collect::<Result<_, _>>()?;
    let minor_version = u8::from(version == "HTTP/1.1");
    Ok(Response { minor_version, status, headers, body: Vec::new(), head_bytes: 0 })
}

fn framing(response: &Response, bodiless: bool) -> Result<Framing, String> {
    if bodiless || matches!(response.status, 101 | 204 | 304) {
        return Ok(Framing::None);
    }
    if let Some(coding) = response.header("transfer-encoding") {
        return match coding.eq_ignore_ascii_case("chunked") {
            true => Ok(Framing::Chunked),
            false => Err(format!("unknown transfer encoding `{}`", cut(coding, 40))),
        };
    }
    match response.header("content-length") {
        Some(length) => {
            length.parse().map(Framing::Sized).map_err(|_| format!("broken content length `{}`", cut(length, 40)))
        }
        None => Ok(Framing::UntilClose),
    }
}

/// Takes a chunked body off the front of `bytes`; trailers are dropped. Nothing is copied before
/// the end is there, so asking again after each read stays cheap.
fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut chunks = Vec::new();
    let mut at = 0;
    loop {
        let Some(line_bytes) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + line_bytes]);
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("broken chunk size `{}`", cut(&line, 40)))?;
        at += line_bytes + 2;
        if size == 0 {
            return Ok(end_of_trailers(&bytes[at..]).map(|used| (chunks.concat(), at + used)));
        }
        let Some(chunk) = bytes.get(at..at.saturating_add(size)) else { return Ok(None) };
        chunks.push(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("a chunk is longer than its size says".into()),
            None => return Ok(None),
        }
    }
}

fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") { Some(2) } else { find(bytes, b"\r\n\r\n").map(|at| at + 4) }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer, and the status and body it must give however it arrives.
    const WHOLE: &[(&str, u16, &str)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.0 404 \r\ncontent-length:0\r\n\r\n", 404, ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", 200, "ok!"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 200, "a"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
    ];

    #[test]
    fn whole_answers_at_every_split_and_with_more_behind() {
        for (text, status, body) in WHOLE {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false, false), Ok(None), "{text:?} cut at {end}");
                assert!(parse(&text.as_bytes()[..end], true, false).is_err(), "{text:?} closed at {end}");
            }
            let longer = format!("{text}HTTP/1.1 5");
            let (response, used) = parse(longer.as_bytes(), false, false).unwrap().unwrap();
            assert_eq!((response.status, response.body.as_slice(), used), (*status, body.as_bytes(), text.len()));
        }
    }

    /// However many come, the stack and the patience are bounded.
    #[test]
    fn interim_answers_without_end() {
        let interim = "HTTP/1.1 100 C\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let some = interim.repeat(INTERIM_MAX) + last;
        assert_eq!(parse(some.as_bytes(), false, false).unwrap().unwrap().1, some.len());
        let many = interim.repeat(1_000_000);
        assert!(parse(many.as_bytes(), false, false).unwrap_err().contains("interim"));
    }

    #[test]
    fn broken_answers() {
        for text in [
            "SSH-2.0-x",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 700 ?\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(parse(text.as_bytes(), false, false).is_err(), "{text:?}");
        }
    }

    #[test]
    fn without_a_length_the_close_ends_the_body() {
        let text = b"HTTP/1.0 200 OK\r\n\r\nall";
        assert_eq!(parse(text, false, false), Ok(None));
        let (response, _) = parse(text, true, false).unwrap().unwrap();
        assert_eq!(response.body, b"all");
        assert!(!response.keeps_alive());
    }

    #[test]
    fn keep_alive_by_version_and_header() {
        for (head, keeps) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        ] {
            let text = format!("{head}Content-Length: 0\r\n\r\n");
            let (response, _) = parse(text.as_bytes(), false, false).unwrap().unwrap();
            assert_eq!(response.keeps_alive(), keeps, "{head:?}");
        }
    }

    #[test]
    fn bodies_for_people() {
        assert_eq!(cut("one\ntwo  \n", 20), "one two");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
