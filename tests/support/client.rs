//! A client that reads replies strictly and sends whatever bytes it is told to.

use super::PATIENCE;
use rustix::net::{RecvFlags, Shutdown, sockopt};
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct Client {
    socket: File,
    local: Option<SocketAddr>,
    unread: Vec<u8>,
    /// Counts what all clients of a server send.
    sent: Arc<AtomicU64>,
}

/// How the server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The bytes of a request: `host`, and `content-length` if there is a body or the method asks for one.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        bytes += &format!("content-length: {}\r\n", body.len());
    }
    bytes += "\r\n";
    [bytes.as_bytes(), body].concat()
}

impl Client {
    pub fn tcp(stream: TcpStream, sent: Arc<AtomicU64>) -> Client {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        let local = stream.local_addr().ok();
        Client { socket: File::from(OwnedFd::from(stream)), local, unread: Vec::new(), sent }
    }

    pub fn unix(stream: UnixStream, sent: Arc<AtomicU64>) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Client { socket: File::from(OwnedFd::from(stream)), local: None, unread: Vec::new(), sent }
    }

    pub fn local(&self) -> SocketAddr {
        self.local.expect("a TCP connection")
    }

    /// Makes the kernel hold little for a reader that does not read.
    pub fn receive_little(&self) {
        sockopt::set_socket_recv_buffer_size(&self.socket, 4096).expect("a socket");
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.sent.fetch_add(bytes.as_ref().len() as u64, Ordering::Relaxed);
        self.socket.write_all(bytes.as_ref())
    }

    pub fn call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(request(method, target, headers, body));
        if method == "HEAD" { self.reply_without_body() } else { self.reply() }
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.call("GET", target, &[], b"")
    }

    /// One whole reply.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.reply_without_body();
        let chunked = reply.header("transfer-encoding") == Some("chunked");
        let length = reply.header("content-length").map(|length| length.parse().expect("a length"));
        reply.body = match (reply.status, chunked, length) {
            (100..200 | 204 | 304, false, None) => Vec::new(),
            (100..200 | 204 | 304, ..) => panic!("a reply without a body has framing: {reply:?}"),
            (_, true, None) => self.chunks(),
            (_, false, Some(length)) => self.take(length),
            (_, true, Some(_)) => panic!("length and chunks: {reply:?}"),
            (_, false, None) => {
                assert_eq!(reply.header("connection"), Some("close"), "the body's end is told by nothing: {reply:?}");
                let (rest, end) = self.rest();
                assert_eq!(end, End::Closed, "the reply was cut");
                rest
            }
        };
        reply
    }

    /// A head, as of a reply to HEAD.
    pub fn reply_without_body(&mut self) -> Reply {
        let head = String::from_utf8(self.take_until(b"\r\n\r\n")).expect("an ASCII head");
        let mut lines = head.strip_suffix("\r\n\r\n").expect("the end").split("\r\n");
        let status_line = lines.next().expect("a status line");
        let (status, reason) = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("a malformed status line: {status_line:?}"));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a malformed header: {line:?}"));
            (name.to_owned(), value.to_owned())
        };
        Reply {
            status: status.parse().expect("a status"),
            reason: reason.to_owned(),
            headers: lines.map(header).collect(),
            body: Vec::new(),
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.take_until(b"\r\n")).expect("a chunk size");
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n", "a chunk's end");
            if size == 0 {
                return body;
            }
        }
    }

    /// The next bytes, that many.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            self.fill();
        }
        let rest = self.unread.split_off(bytes);
        std::mem::replace(&mut self.unread, rest)
    }

    fn take_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len());
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let ended = self.read_some();
        assert_eq!(ended, None, "the connection ended behind {}", self.beginning());
    }

    fn read_some(&mut self) -> Option<End> {
        let mut piece = [0; 65536];
        match self.socket.read(&mut piece) {
            Ok(0) => Some(End::Closed),
            Ok(bytes) => {
                self.unread.extend_from_slice(&piece[..bytes]);
                None
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            // A read with a time limit is not restarted after a stop of the test itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => panic!("nothing to read ({error}) behind {}", self.beginning()),
        }
    }

    /// What failures show of the bytes that were read.
    fn beginning(&self) -> String {
        let shown = &self.unread[..self.unread.len().min(500)];
        format!("{} bytes: {}", self.unread.len(), shown.escape_ascii())
    }

    /// Everything up to the end, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.read_some() {
                return (std::mem::take(&mut self.unread), end);
            }
        }
    }

    /// The server closes, without another byte.
    pub fn is_closed(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((rest.escape_ascii().to_string().as_str(), end), ("", End::Closed));
    }

    /// Nothing has come so far.
    pub fn has_nothing(&self) -> bool {
        let waiting = rustix::net::recv(&self.socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.unread.is_empty() && waiting == Err(rustix::io::Errno::AGAIN)
    }

    /// Will send nothing more, still reads. The server may have reset the connection before.
    pub fn half_close(&self) {
        let outcome = rustix::net::shutdown(&self.socket, Shutdown::Write);
        assert!(matches!(outcome, Ok(()) | Err(rustix::io::Errno::NOTCONN)), "{outcome:?}");
    }

    /// Hangs up with RST.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).expect("a socket");
    }
}

impl Reply {
    /// The one header of that name, if there is any.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {self:?}");
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Status, `x-fc-status` and body, to compare at once.
    pub fn summary(&self) -> (u16, Option<&str>, String) {
        (self.status, self.header("x-fc-status"), self.text())
    }

    /// `errorType` and `errorMessage` of a failure (C-INV-5).
    pub fn error(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned();
        (text("errorType"), text("errorMessage"))
    }
}
