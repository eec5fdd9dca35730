//! The test plays the program behind the adapter: it listens where the adapter connects to, and answers with any bytes.

use super::process::{Server, Setup};
use super::{PATIENCE, wait_until};
use fc_testkit::proc;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

pub struct Program {
    listener: TcpListener,
}

/// A request as the program gets it.
#[derive(Debug)]
pub struct Got {
    pub head: String,
    pub body: Vec<u8>,
}

impl Program {
    pub fn new() -> Program {
        Program { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    /// The adapter before this program. The process that it starts only waits, and ends in order at SIGTERM.
    pub fn setup(&self) -> Setup {
        self.setup_with("trap 'exit 0' TERM; sleep 1000 & wait")
    }

    /// The same with another script for the process that is started.
    pub fn setup_with(&self, script: &str) -> Setup {
        let app = self.listener.local_addr().expect("an address").to_string();
        let setup = Setup::program(env!("CARGO_BIN_EXE_fc-hooks")).env("FC_HOOKS_APP", app);
        setup.env("PATH", "/usr/bin:/bin").arg("--").arg("sh").arg("-c").arg(script)
    }

    pub fn start(&self) -> Server {
        started(self.setup().env("FC_HOOKS_LOG_MARKERS", "off"))
    }

    /// The socket, for a test that serves by itself.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }

    /// The next connection on which a byte comes. The adapter also makes some to see whether the program serves.
    pub fn accept(&self) -> Conn {
        self.listener.set_nonblocking(true).expect("a listener");
        loop {
            let mut accepted = None;
            wait_until("a connection of the adapter", || {
                accepted = self.listener.accept().ok();
                accepted.is_some()
            });
            let (socket, _) = accepted.expect("waited for");
            socket.set_nonblocking(false).expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            socket.set_nodelay(true).expect("a socket");
            if !matches!(socket.peek(&mut [0]), Ok(0) | Err(_)) {
                return Conn { socket, unread: Vec::new() };
            }
        }
    }

    /// The next request, on a new connection.
    pub fn get(&self) -> (Conn, Got) {
        let mut conn = self.accept();
        let got = conn.get();
        (conn, got)
    }
}

/// Starts the adapter, and waits until its process would end in order: the test listens, so the adapter serves before
/// the shell has read its script.
pub fn started(setup: Setup) -> Server {
    let server = setup.start();
    if cfg!(target_os = "linux") {
        let handles = |pid: &u32| {
            let mask = proc::status(*pid, "SigCgt").ok().and_then(|mask| u64::from_str_radix(&mask, 16).ok());
            mask.is_some_and(|mask| mask & 1 << (libc::SIGTERM - 1) != 0)
        };
        wait_until("the shell handles SIGTERM", || proc::family(server.pid()).iter().skip(1).any(handles));
    }
    server
}

/// A connection of the adapter.
pub struct Conn {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Conn {
    fn fill(&mut self) -> usize {
        let mut piece = [0; 65536];
        let bytes = self.socket.read(&mut piece).expect("the adapter sends");
        self.unread.extend_from_slice(&piece[..bytes]);
        bytes
    }

    /// One whole request, framed strictly.
    pub fn get(&mut self) -> Got {
        let head = self.head();
        let length = header(&head, "content-length").map(|value| value.parse().expect("a length"));
        let body = match (length, header(&head, "transfer-encoding")) {
            (Some(_), Some(_)) => panic!("two framings: {head}"),
            (None, Some("chunked")) => self.chunks(),
            (None, Some(other)) => panic!("the coding {other}"),
            (length, None) => self.take(length.unwrap_or(0)),
        };
        Got { head, body }
    }

    pub fn head(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.fill() > 0, "the adapter left within a head: {}", self.unread.escape_ascii());
        };
        String::from_utf8(self.take(end)).expect("text")
    }

    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            assert!(self.fill() > 0, "the adapter left early: {}", self.unread.escape_ascii());
        }
        self.unread.drain(..bytes).collect()
    }

    fn line(&mut self) -> String {
        while !self.unread.windows(2).any(|two| two == b"\r\n") {
            assert!(self.fill() > 0, "the adapter left within a line");
        }
        let end = self.unread.windows(2).position(|two| two == b"\r\n").expect("seen");
        let line = String::from_utf8(self.take(end)).expect("text");
        self.take(2);
        line
    }

    /// The next chunk; empty at the end of the body, which has no trailers.
    pub fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).expect("a size");
        let data = self.take(size);
        assert_eq!(self.take(2), b"\r\n");
        data
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the adapter reads");
    }

    /// As `send`; false once the adapter has left.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// A reply with this body.
    pub fn reply(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    }

    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).expect("a connection");
    }

    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).expect("a socket");
    }

    /// Waits until the adapter closes the connection. It may send no byte before.
    pub fn expect_close(mut self) {
        assert_eq!(self.unread, b"");
        match self.socket.read(&mut [0; 100]) {
            Ok(bytes) => assert_eq!(bytes, 0, "bytes before the end"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

impl Got {
    pub fn line(&self) -> &str {
        self.head.lines().next().expect("a line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// The value of the header of this name, which must occur at most once.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut found = pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| value.trim());
    assert!(found.next().is_none(), "{name} occurs twice: {head}");
    first
}
