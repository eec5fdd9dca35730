//! A client that reads replies strictly and sends any bytes that a test gives it.

use super::PATIENCE;
use fc_testkit::http::{BodyFraming, Decoder, Response};
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
    decoder: Decoder,
    /// Counts the bytes that all clients of a server send.
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

/// The bytes of a request with the header `host`, and with `content-length` if it has a body or the method is POST.
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
        Client { socket: File::from(OwnedFd::from(stream)), local, decoder: Decoder::default(), sent }
    }

    pub fn unix(stream: UnixStream, sent: Arc<AtomicU64>) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Client { socket: File::from(OwnedFd::from(stream)), local: None, decoder: Decoder::default(), sent }
    }

    pub fn local(&self) -> SocketAddr {
        self.local.expect("a TCP connection")
    }

    /// Makes the kernel buffer few bytes for this client.
    pub fn shrink_receive_buffer(&self) {
        sockopt::set_socket_recv_buffer_size(&self.socket, 4096).expect("a socket");
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes the bytes");
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
        self.decode(Decoder::response)
    }

    /// The head of a reply, as HEAD gets it.
    pub fn reply_without_body(&mut self) -> Reply {
        self.decode(Decoder::response_to_head)
    }

    fn decode(&mut self, next: fn(&mut Decoder) -> Result<Option<Response>, String>) -> Reply {
        loop {
            // RFC 9112 §2.3: the server names its own version, whatever the client's is.
            let version = self.decoder.unread().get(..9).filter(|_| self.decoder.framing().is_none());
            assert!(version.is_none_or(|version| version == b"HTTP/1.1 "), "{}", self.beginning());
            match next(&mut self.decoder) {
                Ok(Some(response)) => return response.into(),
                Ok(None) if self.decoder.framing() == Some(BodyFraming::UntilClose) => return self.until_close(),
                Ok(None) => self.fill(),
                Err(why) => panic!("{why}: {}", self.beginning()),
            }
        }
    }

    /// The rest of a reply whose body ends with the connection. A reset would leave open whether it is whole.
    fn until_close(&mut self) -> Reply {
        assert_eq!(self.read_to_end(), End::Closed, "the reply was cut");
        let response = self.decoder.end().expect("a reply that the close ends").expect("one that had begun");
        assert!(response.closes, "nothing tells where the body ends: {response:?}");
        response.into()
    }

    /// The next bytes of the connection, as they are.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.decoder.unread().len() < bytes {
            self.fill();
        }
        let (taken, rest) = self.decoder.unread().split_at(bytes);
        let (taken, rest) = (taken.to_vec(), rest.to_vec());
        self.decoder.clear();
        self.decoder.feed(&rest);
        taken
    }

    fn fill(&mut self) {
        let ended = self.read_some();
        assert_eq!(ended, None, "the connection ended after {}", self.beginning());
    }

    fn read_some(&mut self) -> Option<End> {
        let mut piece = [0; 65536];
        match self.socket.read(&mut piece) {
            Ok(0) => Some(End::Closed),
            Ok(bytes) => {
                self.decoder.feed(&piece[..bytes]);
                None
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            // A read with a time limit is not restarted after a stop of the test itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => panic!("nothing to read ({error}) after {}", self.beginning()),
        }
    }

    /// The unread bytes, as failures show them.
    fn beginning(&self) -> String {
        let unread = self.decoder.unread();
        format!("{} bytes: {}", unread.len(), unread[..unread.len().min(500)].escape_ascii())
    }

    /// Everything up to the end of the connection, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let end = self.read_to_end();
        let rest = self.decoder.unread().to_vec();
        self.decoder.clear();
        (rest, end)
    }

    fn read_to_end(&mut self) -> End {
        loop {
            if let Some(end) = self.read_some() {
                return end;
            }
        }
    }

    /// Waits until the server closes the connection. It may send no byte before.
    pub fn expect_close(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((rest.escape_ascii().to_string().as_str(), end), ("", End::Closed));
    }

    /// Whether no byte has arrived so far.
    pub fn has_received_nothing(&self) -> bool {
        let waiting = rustix::net::recv(&self.socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.decoder.unread().is_empty() && waiting == Err(rustix::io::Errno::AGAIN)
    }

    /// Closes the sending side. The server may have reset the connection before.
    pub fn half_close(&self) {
        let outcome = rustix::net::shutdown(&self.socket, Shutdown::Write);
        assert!(matches!(outcome, Ok(()) | Err(rustix::io::Errno::NOTCONN)), "{outcome:?}");
    }

    /// Closes the connection with RST.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).expect("a socket");
    }
}

impl From<Response> for Reply {
    fn from(Response { status, reason, headers, body, .. }: Response) -> Reply {
        Reply { status, reason, headers, body }
    }
}

impl Reply {
    /// The value of the header of this name, which must occur at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} occurs twice: {self:?}");
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Status, `x-fc-status` and body, to compare them together.
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
