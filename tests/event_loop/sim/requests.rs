//! The requests of clients: as bytes, each with a number that cannot be guessed, and the replies that they must get.

use super::rng::Rng;
use crate::function::lifecycle::Hook;
use crate::limits::Limits;
use std::time::Duration;

/// The behaviour of a callback for the request with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// So many bytes of its own.
    Owned(usize),
    /// The body of its request.
    Echo,
    /// The same text for all; only a header bears the number.
    Fixed,
    Stream {
        bytes: usize,
        sized: bool,
        end: StreamEnd,
    },
    Status(u16),
    Fails,
    Panics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Whole,
    Fails(usize),
    Panics(usize),
    /// Ends before its announced length.
    Short(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Call(Does),
    Event(Does),
    /// With the platform's header, or by method and path.
    Hook(Hook, Does, bool),
    /// An outside caller on a hook's path.
    Outside(Hook),
    Health,
    Missing,
    WrongMethod,
    Malformed,
}

/// One request and what became of it. Offsets are those of its connection.
pub(super) struct Ask {
    pub(super) number: u64,
    pub(super) lead: usize,
    pub(super) begin: usize,
    pub(super) head_end: usize,
    pub(super) end: usize,
    pub(super) method: &'static str,
    pub(super) http10: bool,
    pub(super) keeps: bool,
    pub(super) waits: bool,
    pub(super) what: What,
    pub(super) body_bytes: usize,
    /// One of these is its answer, and no callback sees it; empty if it is to be served.
    pub(super) refused: Vec<u16>,
    pub(super) busy: Duration,
    pub(super) freezes_inside: bool,
    pub(super) stops_inside: bool,
    pub(super) ran: u32,
    pub(super) continued: bool,
    /// A stop had come when its callback ended.
    pub(super) stopped: bool,
    /// The run that a hook call is answered with, or its refusal.
    pub(super) hook_answer: Option<HookAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookAnswer {
    Of(u64, Does),
    Refused,
}

impl Ask {
    pub(super) fn is_hook(&self) -> bool {
        matches!(self.what, What::Hook(..))
    }

    /// Only the close says that its reply is whole: a stream of unknown length, for a client that knows no chunks.
    pub(super) fn is_ended_by_close(&self) -> bool {
        self.http10 && self.method != "HEAD" && matches!(self.what, What::Call(Does::Stream { sized: false, .. }))
    }
}

/// The body that belongs to a number.
pub(super) fn contents(number: u64, bytes: usize) -> Vec<u8> {
    contents_from(number, 0, bytes)
}

/// The bytes of that body from a place on. The loop is a plain one, because an iterator without optimisation takes half
/// of the time of a world.
pub(super) fn contents_from(number: u64, from: usize, bytes: usize) -> Vec<u8> {
    let mut contents = vec![0; bytes];
    let (places, mut index) = (&mut contents[..], 0);
    while index < bytes {
        let at = from + index;
        places[index] = (number >> (at % 41)) as u8 ^ (at as u8);
        index += 1;
    }
    contents
}

pub(super) const FIXED: &[u8] = &[b'f'; 5_000];
/// No reply holds more than this, beside its head.
pub(super) const REPLY_BYTES_MAX: usize = 60_000;

const MALFORMED: [(&[u8], u16); 12] = [
    (b"GET / HTTP/1.1\n\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"\x16\x03\x01", 400),
    (b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
];

fn does(chance: &mut Rng) -> Does {
    match chance.below(20) {
        0 => Does::Fails,
        1 => Does::Panics,
        2 => Does::Fixed,
        3 => Does::Status(chance.pick(&[204, 205, 304, 404, 503])),
        4..8 => {
            let bytes = chance.size(REPLY_BYTES_MAX);
            let sized = chance.one_in(2);
            let at = chance.below(bytes + usize::from(!sized));
            let end = match chance.below(8) {
                // Behind its announced length nothing is read.
                0..3 if sized && bytes == 0 => StreamEnd::Whole,
                0 => StreamEnd::Fails(at),
                1 => StreamEnd::Panics(at),
                2 if sized => StreamEnd::Short(at),
                _ => StreamEnd::Whole,
            };
            Does::Stream { bytes, sized, end }
        }
        19.. => Does::Echo,
        8..11 => Does::Owned(REPLY_BYTES_MAX - chance.below(1_000)),
        _ => Does::Owned(chance.size(REPLY_BYTES_MAX)),
    }
}

fn what(chance: &mut Rng) -> What {
    let hooks = [Hook::Initialize, Hook::Initialize, Hook::PreFreeze, Hook::PreFreeze, Hook::PreStop];
    match chance.below(40) {
        0..18 => What::Call(does(chance)),
        18..25 => What::Event(does(chance)),
        25..33 => What::Hook(chance.pick(&hooks), does(chance), chance.one_in(2)),
        33..35 => What::Outside(chance.pick(&hooks)),
        35 => What::Health,
        36 => What::Missing,
        37 => What::WrongMethod,
        _ => What::Malformed,
    }
}

pub(super) fn hook_call(hook: Hook) -> (&'static str, &'static str) {
    match hook {
        Hook::Initialize => ("POST", "/initialize"),
        Hook::PreFreeze => ("GET", "/pre-freeze"),
        Hook::PreStop => ("GET", "/pre-stop"),
    }
}

/// A request at the end of `script`.
pub(super) fn ask(chance: &mut Rng, limits: &Limits, mark: u64, small: bool, script: &mut Vec<u8>) -> Ask {
    let number = chance.bits() & !0xffff | mark;
    let lead = script.len();
    if chance.one_in(20) {
        script.extend_from_slice(b"\r\n");
    }
    let begin = script.len();
    let mut ask = Ask {
        number,
        lead,
        begin,
        head_end: begin,
        end: begin,
        method: "GET",
        http10: false,
        keeps: true,
        waits: false,
        what: if small { What::Call(Does::Owned(9)) } else { what(chance) },
        body_bytes: 0,
        refused: Vec::new(),
        busy: Duration::ZERO,
        freezes_inside: chance.one_in(12),
        stops_inside: chance.one_in(150),
        ran: 0,
        continued: false,
        stopped: false,
        hook_answer: None,
    };
    if chance.one_in(4) {
        ask.busy = Duration::from_millis(chance.pick(&[1, 30, 300, 2_000, 20_000]));
    }
    if ask.what == What::Malformed {
        let (bytes, status) = chance.pick(&MALFORMED);
        script.extend_from_slice(bytes);
        // Whatever else is too small for it may be what is named.
        let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        (ask.end, ask.head_end, ask.refused) = (script.len(), begin + head_bytes, vec![status, 413, 431]);
        return ask;
    }
    let (target, mut headers) = target(chance, &mut ask);
    // Names of one length, because the head's own is computed beforehand.
    let body = body(chance, &mut ask, &mut headers);
    manners(chance, &mut ask, &mut headers);
    let version = if ask.http10 { "1.0" } else { "1.1" };
    let head = format!("{} {target} HTTP/{version}\r\n{}\r\n", ask.method, headers.concat());
    if target.len() > limits.target_bytes_max {
        ask.refused.push(414);
    }
    if head.len() > limits.head_bytes_max || headers.len() > limits.headers_max {
        ask.refused.push(431);
    }
    if ask.body_bytes > limits.body_bytes_max {
        ask.refused.push(413);
    }
    script.extend_from_slice(head.as_bytes());
    ask.head_end = script.len();
    script.extend_from_slice(&body);
    ask.end = script.len();
    ask
}

fn target(chance: &mut Rng, ask: &mut Ask) -> (String, Vec<String>) {
    let mut headers = vec!["Host: a\r\n".to_owned(), format!("x-fc-request-id: {:016x}\r\n", ask.number)];
    let mut control = |path: &str| headers.push(format!("X-Fc-Control-Path: {path}\r\n"));
    let mut target = match ask.what {
        What::Call(_) => {
            ask.method = chance.pick(&["GET", "GET", "POST", "PUT", "DELETE", "HEAD"]);
            if chance.one_in(2) {
                control("/http-invoke");
            }
            format!("/call/{:016x}", ask.number)
        }
        What::Event(_) => {
            ask.method = "POST";
            if chance.one_in(2) {
                control("/invoke");
            }
            "/invoke".to_owned()
        }
        What::Hook(hook, _, named) => {
            ask.method = hook_call(hook).0;
            if named {
                control(hook_call(hook).1);
            }
            hook_call(hook).1.to_owned()
        }
        What::Outside(hook) => {
            ask.method = hook_call(hook).0;
            control("/http-invoke");
            hook_call(hook).1.to_owned()
        }
        What::Health => "/health".to_owned(),
        What::Missing | What::Malformed => "/nowhere".to_owned(),
        What::WrongMethod => {
            ask.method = "POST";
            "/fixed".to_owned()
        }
    };
    if chance.one_in(20) {
        target.push('?');
        target.extend(std::iter::repeat_n('q', chance.size(9_000)));
    }
    (target, headers)
}

fn body(chance: &mut Rng, ask: &mut Ask, headers: &mut Vec<String>) -> Vec<u8> {
    let has_body = matches!(ask.what, What::Event(_)) || matches!(ask.method, "POST" | "PUT") || chance.one_in(20);
    if !has_body {
        return Vec::new();
    }
    ask.body_bytes = chance.size(70_000);
    let plain = contents(ask.number, ask.body_bytes);
    if chance.one_in(2) {
        headers.push(format!("Content-Length: {}\r\n", plain.len()));
        return plain;
    }
    headers.push("Transfer-Encoding: chunked\r\n".to_owned());
    let mut coded = Vec::new();
    let mut rest = &plain[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(chance.portion(rest.len()));
        let extension = if chance.one_in(8) { ";a=b" } else { "" };
        coded.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
        rest = after;
    }
    coded.extend_from_slice(if chance.one_in(8) { b"0\r\nT: x\r\n\r\n" } else { b"0\r\n\r\n" });
    coded
}

/// How the client treats its connection, and what it adds to its head.
fn manners(chance: &mut Rng, ask: &mut Ask, headers: &mut Vec<String>) {
    let chunked = headers.last().is_some_and(|last| last.starts_with("Transfer"));
    ask.http10 = !chunked && chance.one_in(10);
    ask.keeps = !ask.http10;
    match chance.below(12) {
        0 => {
            headers.push("Connection: close\r\n".to_owned());
            ask.keeps = false;
        }
        1 | 2 if ask.http10 => {
            headers.push("Connection: keep-alive\r\n".to_owned());
            ask.keeps = true;
        }
        _ => {}
    }
    if ask.body_bytes > 0 && chance.one_in(5) {
        headers.push("Expect: 100-continue\r\n".to_owned());
        ask.waits = !ask.http10;
    }
    if chance.one_in(12) {
        let pads = chance.pick(&[1, 10, 60, 140]);
        headers.extend((0..pads).map(|pad| format!("X-Pad: {pad}\r\n")));
    }
    if chance.one_in(30) {
        headers.push(format!("X-Pad: {}\r\n", "p".repeat(chance.size(40_000))));
    }
}
