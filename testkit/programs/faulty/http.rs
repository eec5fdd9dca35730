//! Connections: they read requests and write replies. The faults of HTTP are here.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::{App, Reply};

/// Shorter than the idle time of the tests, and longer than the rest between an answer and a freeze.
const SHORT_IDLE: Duration = Duration::from_millis(700);
/// Longer than the idle time of the tests, and shorter than their freezes.
const LONG_WAIT: Duration = Duration::from_millis(1200);
/// Between a reply and the next wait, if the fault is there. It is shorter than the rest before a freeze.
const AFTER_REPLY: Duration = Duration::from_millis(200);

/// One whole request.
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

/// Serves one connection to its end.
pub fn serve(app: &Arc<App>, mut stream: TcpStream) {
    let mut conn = Conn { app, pending: Vec::new(), requests: 0 };
    let _ = stream.set_nodelay(true);
    while let Some(request) = conn.next(&mut stream) {
        conn.requests += 1;
        let Some(reply) = refusal(app, &request).or_else(|| app.answer(&request)) else { return };
        if app.has("pipelining-dropped") {
            conn.pending.clear();
        }
        let bodiless = request.method == "HEAD" && !app.has("head-with-body");
        if !send(app, &mut stream, &reply, bodiless) || closes(app) {
            return;
        }
        if app.has("idle-since-reply") {
            // The idle time counts from the reply, and is judged before the first look at the socket.
            let sent = Instant::now();
            std::thread::sleep(AFTER_REPLY);
            if sent.elapsed() > LONG_WAIT {
                return;
            }
        }
    }
}

struct Conn<'a> {
    app: &'a App,
    pending: Vec<u8>,
    requests: usize,
}

impl Conn<'_> {
    /// Reads the next request. `None` ends the connection.
    fn next(&mut self, stream: &mut TcpStream) -> Option<Request> {
        let head_end = loop {
            if let Some(at) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let limit = match self.pending.is_empty() {
                true if self.app.has("idle-timeout") => Some(SHORT_IDLE),
                true if self.app.has("idle-close-after-freeze") => Some(LONG_WAIT),
                true if self.app.has("idle-timer-first") => Some(LONG_WAIT),
                false if self.app.has("head-timeout") && self.requests == 0 => Some(LONG_WAIT),
                false if self.app.has("kept-head-timeout") && self.requests > 0 => Some(LONG_WAIT),
                _ => None,
            };
            // The first request has no time limit, because start-up probes send none.
            let limit = limit.filter(|_| self.requests > 0 || !self.pending.is_empty());
            if !self.fill(stream, limit) {
                return None;
            }
        };
        let head: Vec<u8> = self.pending.drain(..head_end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut request = match parse(&head) {
            Some(request) => request,
            None => {
                if self.app.has("logs-broken-requests") {
                    self.app.print(&format!("broken request: {}", head.replace("\r\n", " | ")));
                }
                send(self.app, stream, &Reply::new(400, "broken request"), false);
                return None;
            }
        };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap_or(0));
        while self.pending.len() < length {
            let limit = self.app.has("body-timeout").then_some(LONG_WAIT);
            if !self.fill(stream, limit) {
                return None;
            }
        }
        let rest = self.pending.split_off(length);
        request.body = std::mem::replace(&mut self.pending, rest);
        Some(request)
    }

    /// Reads more bytes, within `limit` if there is one. Returns false at the end of the connection.
    fn fill(&mut self, stream: &mut TcpStream, limit: Option<Duration>) -> bool {
        let started = Instant::now();
        let mut chunk = [0; 32 * 1024];
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            // Most poll loops look at the deadline before they look at the socket, and some do the opposite.
            let late = left.is_some_and(|left| left.is_zero());
            if late && !(self.reads_first() && has_bytes(stream)) {
                return false;
            }
            if stream.set_read_timeout(left.filter(|left| !left.is_zero())).is_err() {
                return false;
            }
            match stream.read(&mut chunk) {
                Ok(_) if !self.reads_first() && limit.is_some_and(|limit| started.elapsed() > limit) => return false,
                Ok(0) => {
                    self.ended("end");
                    return false;
                }
                Ok(count) => {
                    self.pending.extend_from_slice(&chunk[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended(if error.kind() == ErrorKind::ConnectionReset { "reset" } else { "timeout" });
                    return false;
                }
            }
        }
    }

    /// Whether the faults of idle time lose no call that waits.
    fn reads_first(&self) -> bool {
        self.app.has("idle-timeout") || self.app.has("idle-close-after-freeze")
    }

    fn ended(&self, how: &str) {
        if self.pending.starts_with(b"POST /initialize") {
            self.app.half_initialized();
        }
        if self.requests == 0 && self.pending.is_empty() {
            self.app.probed(how);
        }
    }
}

/// Whether a byte, or the end of the connection, can be read at once.
fn has_bytes(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    stream.set_nonblocking(false).is_ok() && looked.is_ok()
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (!name.contains(' ')).then(|| (name.to_owned(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines.map(header).collect::<Option<_>>()?;
    let lengths = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let sound = version == "HTTP/1.1" && lengths.clone().all(|(_, length)| length.parse::<usize>().is_ok());
    sound.then(|| Request { method: method.into(), target: target.into(), headers, body: Vec::new() })
}

/// Faults that refuse a sound request.
fn refusal(app: &App, request: &Request) -> Option<Reply> {
    let has_length = request.header("content-length").is_some();
    let exact = |name: &str| request.headers.iter().any(|(key, _)| key == name);
    let status = match () {
        () if app.has("requires-length") && request.method == "POST" && !has_length => 411,
        () if app.has("body-limit") && request.body.len() > 1_000_000 => 413,
        () if app.has("session-header-refused") && request.headers.iter().any(|(name, _)| name.contains('_')) => 400,
        () if app.has("target-limit") && request.target.len() > 2048 => 414,
        () if app.has("head-limit") && request.header_bytes() > 6 * 1024 => 431,
        () if app.has("case-sensitive") && request.header("x-fc-request-id").is_some() && !exact("X-Fc-Request-Id") => {
            400
        }
        () => return None,
    };
    Some(Reply::new(status, "refused"))
}

/// Whether each answer is the last one on its connection.
fn closes(app: &App) -> bool {
    app.has("connection-close") || (app.has("pre-stop-closes") && app.was_stopped())
}

/// Sends a reply. Returns false if the client has closed the connection.
fn send(app: &App, stream: &mut TcpStream, reply: &Reply, bodiless: bool) -> bool {
    let version = if app.has("http-1-0") { "HTTP/1.0" } else { "HTTP/1.1" };
    let connection = if closes(app) { "close" } else { "keep-alive" };
    let mut head = format!("{version} {} -\r\nConnection: {connection}\r\n", reply.status);
    if reply.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    let failed = reply.status >= 400;
    let value = match () {
        () if app.has("no-status-header") => None,
        () if app.has("status-header-always-200") => Some("200"),
        () if app.has("status-header-always-404") => Some("404"),
        () => Some(if failed { "404" } else { "200" }),
    };
    if let Some(value) = value {
        head.push_str(&format!("x-fc-status: {value}\r\n"));
    }
    if app.has("idle-limit-advertised") {
        head.push_str("Keep-Alive: timeout=65\r\n");
    }
    if app.has("fat-headers") {
        head.push_str(&format!("X-Fat: {}\r\n", "f".repeat(9 * 1024)));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if !bodiless {
        bytes.extend_from_slice(&reply.body);
    }
    if let Some(broken) = broken_framing(app) {
        bytes = broken.to_vec();
    }
    write(stream, &bytes, app.has("write-timeout").then_some(LONG_WAIT))
}

/// A reply whose framing RFC 9112 forbids.
fn broken_framing(app: &App) -> Option<&'static [u8]> {
    const REPLIES: &[(&str, &[u8])] = &[
        ("framing-plus", b"HTTP/1.1 200 -\r\nContent-Length: +2\r\n\r\nok"),
        ("framing-two-lengths", b"HTTP/1.1 200 -\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-length-list", b"HTTP/1.1 200 -\r\nContent-Length: 2, 2\r\n\r\nok"),
        (
            "framing-length-and-chunked",
            b"HTTP/1.1 200 -\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("framing-chunked-1-0", b"HTTP/1.0 200 -\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("framing-coding", b"HTTP/1.1 200 -\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("framing-chunk-plus", b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n"),
        ("framing-chunk-blank", b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n"),
        ("framing-chunk-end", b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok0\r\n\r\n"),
        (
            "framing-trailer",
            b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n",
        ),
        ("framing-bare-lf", b"HTTP/1.1 200 -\nContent-Length: 2\n\nok"),
        ("framing-lf-in-value", b"HTTP/1.1 200 -\r\nX: a\nb\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-cr-in-value", b"HTTP/1.1 200 -\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-control-in-name", b"HTTP/1.1 200 -\r\nX\x01: a\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-blank-in-name", b"HTTP/1.1 200 -\r\nX : a\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-folded", b"HTTP/1.1 200 -\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-status-line", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-204-body", b"HTTP/1.1 204 -\r\n\r\nok"),
        ("framing-304-body", b"HTTP/1.1 304 -\r\nContent-Length: 2\r\n\r\nok"),
        ("framing-long-body", b"HTTP/1.1 200 -\r\nContent-Length: 2\r\n\r\nok, and more"),
    ];
    let reply = REPLIES.iter().find(|(fault, _)| app.has(fault));
    reply.map(|(_, bytes)| *bytes)
}

/// Writes all bytes. Returns false if the client reads nothing for `limit`. An answer that the socket takes whole waits
/// for no client, so the limit begins with the first piece that is not the last.
fn write(stream: &mut TcpStream, mut bytes: &[u8], limit: Option<Duration>) -> bool {
    let mut moved: Option<Instant> = None;
    while !bytes.is_empty() {
        // As in a poll loop: a deadline that has passed counts, even if the client reads again.
        let passed = moved.map_or(Duration::ZERO, |moved| moved.elapsed());
        let left = limit.map(|limit| limit.saturating_sub(passed));
        if left.is_some_and(|left| left.is_zero()) || stream.set_write_timeout(left).is_err() {
            return false;
        }
        // Small pieces show the progress.
        match stream.write(&bytes[..bytes.len().min(64 * 1024)]) {
            Ok(count) if count < bytes.len() && is_over(moved, limit) => return false,
            Ok(count) => {
                bytes = &bytes[count..];
                moved = Some(Instant::now());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

fn is_over(since: Option<Instant>, limit: Option<Duration>) -> bool {
    since.is_some_and(|since| limit.is_some_and(|limit| since.elapsed() > limit))
}
