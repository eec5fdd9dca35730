//! The heads of a request and of its reply, passed on.
//!
//! Lines that stay are copied as they are, as many in a row as possible; lines that concern one connection only are
//! left out, and so are those that the sender names in `Connection` (RFC 9110 §7.6.1). The parser of requests has made
//! sure that every line ends in CRLF and that there is one framing; the one of replies, in `reply_head`, does the same.
//! Pure.

use crate::function::freeze::Thaw;
use crate::http1::fields::Header;
use crate::http1::head::Head;
use crate::platform::headers;

/// The header lines of a parsed head, one behind the other.
pub(crate) struct Lines<'a> {
    /// The whole head, its empty line included.
    pub(crate) head: &'a [u8],
    pub(crate) headers: &'a [Header<'a>],
}

impl<'a> Lines<'a> {
    /// Where the line of a header begins; behind the last one, the empty line.
    fn start(&self, index: usize) -> usize {
        match self.headers.get(index) {
            Some(header) => header.name.as_ptr().addr() - self.head.as_ptr().addr(),
            None => self.head.len() - 2,
        }
    }

    /// Appends the bytes of the head from `from` to its empty line, without the lines of headers that are not kept.
    pub(crate) fn copy(&self, out: &mut Vec<u8>, from: Option<usize>, keep: impl Fn(&Header<'a>) -> bool) {
        let mut run = from.unwrap_or_else(|| self.start(0));
        for (index, header) in self.headers.iter().enumerate() {
            if !keep(header) {
                out.extend_from_slice(&self.head[run..self.start(index)]);
                run = self.start(index + 1);
            }
        }
        out.extend_from_slice(&self.head[run..self.start(self.headers.len())]);
    }

    /// The first value of this header.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|header| is(header, name)).map(|header| header.value)
    }

    fn options(&self) -> Options<'a> {
        let mut options = Options { lines: [b""; OPTION_LINES_MAX], count: 0, upgrade: false };
        for header in self.headers.iter().filter(|header| is(header, "connection")) {
            options.upgrade |= tokens(header.value).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
            let is_usual = |token: &[u8]| {
                ["close", "keep-alive", "upgrade", "te", ""]
                    .iter()
                    .any(|usual| token.eq_ignore_ascii_case(usual.as_bytes()))
            };
            if !tokens(header.value).all(is_usual) && options.count < OPTION_LINES_MAX {
                options.lines[options.count] = header.value;
                options.count += 1;
            }
        }
        options
    }
}

/// Lines of `Connection` that name other headers; nobody needs more.
const OPTION_LINES_MAX: usize = 4;

/// The headers that the sender names in `Connection`.
struct Options<'a> {
    lines: [&'a [u8]; OPTION_LINES_MAX],
    count: usize,
    upgrade: bool,
}

impl Options<'_> {
    #[inline(always)]
    fn name(&self, header: &Header<'_>) -> bool {
        self.count > 0 && self.name_one(header)
    }

    #[cold]
    #[inline(never)]
    fn name_one(&self, header: &Header<'_>) -> bool {
        self.lines[..self.count]
            .iter()
            .any(|line| tokens(line).any(|token| token.eq_ignore_ascii_case(header.name)) && !is_end_to_end(header))
    }
}

/// Headers that no sender can have removed by naming them: the program must see the platform's own, and the framing.
fn is_end_to_end(header: &Header<'_>) -> bool {
    const NAMES: [&str; 6] = ["host", "content-length", "transfer-encoding", "content-type", "authorization", "cookie"];
    headers::is_of_platform(header.name()) || NAMES.iter().any(|known| header.is(known))
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(|token| token.trim_ascii())
}

#[inline(always)]
fn is(header: &Header<'_>, name: &str) -> bool {
    header.is(name)
}

/// Whether a header concerns one connection only. The length shows of most that they do not.
fn is_hop_by_hop(header: &Header<'_>) -> bool {
    match header.name.len() {
        2 => is(header, "te"),
        7 => is(header, "trailer") || is(header, "upgrade"),
        10 => is(header, "connection") || is(header, "keep-alive"),
        14 => is(header, "http2-settings"),
        16 => is(header, "proxy-connection"),
        _ => false,
    }
}

/// What the adapter changes in a request beside the connection's own lines.
#[derive(Clone, Copy, Default)]
pub(crate) struct RequestChanges<'a> {
    pub(crate) method: Option<&'a str>,
    /// The target that the program sees instead.
    pub(crate) target: Option<&'a str>,
    pub(crate) withhold_secrets: bool,
    /// The request has no body, whatever the one that it is made from has.
    pub(crate) is_hook: bool,
    /// The program gets the platform's headers and no others.
    pub(crate) of_platform_only: bool,
    /// The freeze that the request tells of.
    pub(crate) thaw: Option<&'a Thaw>,
}

/// Appends the request's head as the program gets it. Returns whether the request asks for another protocol.
pub(crate) fn write_request(out: &mut Vec<u8>, bytes: &[u8], head: &Head<'_>, changes: RequestChanges<'_>) -> bool {
    let lines = Lines { head: bytes, headers: head.headers };
    let options = lines.options();
    let upgrade =
        if options.upgrade && !head.meta.http10 { lines.get("upgrade").filter(|to| may_upgrade(to)) } else { None };
    let target = changes.target.unwrap_or(head.path_and_query);
    let method = changes.method.unwrap_or(head.method);
    let is_same_line = !head.meta.http10
        && changes.method.is_none()
        && target.as_ptr().addr() == bytes.as_ptr().addr() + head.method.len() + 1
        && head.method.as_ptr().addr() == bytes.as_ptr().addr();
    if !is_same_line {
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    let is_left_out = |header: &Header<'_>| {
        is_hop_by_hop(header)
            || (header.name.len() == 6 && is(header, "expect"))
            || (changes.withhold_secrets && headers::SECRET.iter().any(|secret| is(header, secret)))
            || (changes.of_platform_only
                && (!headers::is_of_platform(header.name()) || is(header, headers::CONTROL_PATH)))
            || (changes.is_hook && (is(header, "content-length") || is(header, "transfer-encoding")))
            || options.name(header)
    };
    lines.copy(out, is_same_line.then_some(0), |header| !is_left_out(header));
    if changes.of_platform_only || (head.meta.http10 && lines.get("host").is_none()) {
        out.extend_from_slice(HOST);
    }
    if changes.is_hook {
        write_no_body(out, method);
    }
    write_thaw(out, changes.thaw);
    write_upgrade(out, upgrade);
    out.extend_from_slice(b"\r\n");
    upgrade.is_some()
}

/// Appends the head of a request that no call has brought about.
#[cold]
pub(crate) fn write_bare_request(out: &mut Vec<u8>, method: &str, target: &str, thaw: Option<&Thaw>) {
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(HOST);
    write_no_body(out, method);
    write_thaw(out, thaw);
    out.extend_from_slice(b"\r\n");
}

const HOST: &[u8] = b"host: localhost\r\n";

fn write_thaw(out: &mut Vec<u8>, thaw: Option<&Thaw>) {
    let Some(thaw) = thaw else { return };
    let gap = (thaw.gap.as_millis() as u64).to_string();
    let evidence = thaw.evidence.to_string();
    let lines = [(headers::GAP, &*gap), (headers::EVIDENCE, &*evidence), (headers::CONFIDENCE, thaw.confidence.name())];
    for (name, value) in lines {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// RFC 9110 §8.6: a request whose method usually has a body says that it has none.
pub(crate) fn write_no_body(out: &mut Vec<u8>, method: &str) {
    if !matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE") {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
}

fn write_upgrade(out: &mut Vec<u8>, upgrade: Option<&[u8]>) {
    if let Some(to) = upgrade {
        for part in [b"connection: upgrade\r\nupgrade: ", to, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

/// Whether the program may be asked to change to this protocol. Over another HTTP, or over TLS, requests would reach
/// the program that the adapter does not see: those for hooks, too.
fn may_upgrade(to: &[u8]) -> bool {
    let is_refused = |protocol: &[u8]| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        ["h2c", "h2", "http", "tls", ""].iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
    };
    !tokens(to).any(is_refused)
}

/// The connection to the client behind a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    /// As `Keep`, for a client of HTTP/1.0 that has asked for it.
    KeepOld,
    Close,
    Upgrade,
}

/// What the adapter adds to a reply.
pub(crate) struct ReplyChanges {
    /// Says whether the call failed; None where the program has said so itself, and for a tunnel.
    pub(crate) failed: Option<bool>,
    pub(crate) after: After,
    /// The body is chunked for the client.
    pub(crate) chunked: bool,
    /// The reply has no body, so its length means nothing (RFC 9110 §8.6).
    pub(crate) drop_length: bool,
}

/// Appends the reply's head as the client gets it, behind its status line.
pub(crate) fn write_reply(out: &mut Vec<u8>, lines: &Lines<'_>, changes: &ReplyChanges) {
    let options = lines.options();
    if let Some(failed) = changes.failed {
        // It begins with the line end that was just written.
        out.truncate(out.len() - 2);
        out.extend_from_slice(headers::status_line(failed));
        out.extend_from_slice(b"\r\n");
    }
    let is_left_out = |header: &Header<'_>| {
        is_hop_by_hop(header)
            || (header.name.len() == 17 && is(header, "transfer-encoding"))
            || (changes.drop_length && is(header, "content-length"))
            || options.name(header)
    };
    lines.copy(out, None, |header| !is_left_out(header));
    match changes.after {
        After::Keep => {}
        After::KeepOld => out.extend_from_slice(b"connection: keep-alive\r\n"),
        After::Close => out.extend_from_slice(b"connection: close\r\n"),
        After::Upgrade => write_upgrade(out, lines.get("upgrade")),
    }
    if changes.chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
