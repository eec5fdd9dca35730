//! An HTTP/1 client on a bare socket. Every read and every write has a deadline.
//!
//! Checks need half requests, resets, two requests in one write and readers that stop reading, and no client library
//! offers those. So a [`Conn`] sends bytes and reads responses. It retries nothing, and each misbehaviour of the target
//! becomes an error in words.

mod body;
mod decoder;
mod response;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::clock::Deadline;
pub use body::BODY_BYTES_MAX;
use decoder::Decoder;
pub use decoder::is_broken_framing;
pub use response::{Response, cut};

/// A larger request is sent by a thread of its own, because the target may start to answer, and stop reading, before it
/// has the whole request.
const ONE_THREAD_BYTES_MAX: usize = 32 * 1024;

/// One read takes at most this many bytes.
const CHUNK_BYTES: usize = 32 * 1024;

/// One connection to a target.
pub struct Conn {
    stream: TcpStream,
    /// Bytes that arrived and were not decoded.
    pending: Vec<u8>,
    /// The response that has begun to arrive.
    decoder: Option<Decoder>,
    closed: bool,
    /// Whether the connection ended by a reset.
    reset: bool,
}

impl Conn {
    /// Opens a connection.
    ///
    /// # Errors
    /// If the target does not listen or the deadline passes; the text says which.
    pub fn open(addr: SocketAddr, deadline: Deadline) -> Result<Self, String> {
        let left = deadline.left().ok_or("no time was left to connect")?;
        let stream = TcpStream::connect_timeout(&addr, left).map_err(|cause| format!("no connection: {cause}"))?;
        stream.set_nodelay(true).map_err(|cause| cause.to_string())?;
        Ok(Self::over(stream))
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new(), decoder: None, closed: false, reset: false }
    }

    /// Sends `bytes` and waits for the whole response.
    ///
    /// # Errors
    /// If no whole response arrives before the deadline.
    pub fn exchange(&mut self, bytes: &[u8], deadline: Deadline) -> Result<Response, String> {
        if bytes.len() <= ONE_THREAD_BYTES_MAX {
            self.send(bytes, deadline)?;
            return self.read(deadline);
        }
        let mut sender = self.sender()?;
        std::thread::scope(|scope| {
            let sent = scope.spawn(move || sender.send(bytes, deadline));
            let read = self.read(deadline);
            if read.is_err() {
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
            }
            let sent = sent.join().unwrap_or_else(|_| Err("the sending thread failed".into()));
            match read {
                // A response before the end of the request, mostly a refusal, counts.
                Ok(response) => Ok(response),
                Err(read) => Err(sent.err().map_or(read.clone(), |sent| format!("{read}; {sent}"))),
            }
        })
    }

    /// A second handle on the same connection, which sends while the first one reads.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn sender(&self) -> Result<Self, String> {
        let stream = self.stream.try_clone().map_err(|cause| cause.to_string())?;
        Ok(Self::over(stream))
    }

    /// Sends `bytes` and reads nothing.
    ///
    /// # Errors
    /// If the target closed the connection, or did not take all bytes before the deadline.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), String> {
        while !bytes.is_empty() {
            let left = deadline.left().ok_or("the target did not read the whole request in time")?;
            self.stream.set_write_timeout(Some(left)).map_err(|cause| cause.to_string())?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(cause) if is_timeout(cause.kind()) || cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(format!("sending failed: {cause}")),
            }
        }
        Ok(())
    }

    /// Waits for the next whole response.
    ///
    /// # Errors
    /// If none arrives before the deadline, or the bytes are no response.
    pub fn read(&mut self, deadline: Deadline) -> Result<Response, String> {
        self.read_as(deadline, false)
    }

    /// Waits for the response to a HEAD request, which has no body whatever its head says.
    ///
    /// # Errors
    /// As [`Conn::read`].
    pub fn read_head_only(&mut self, deadline: Deadline) -> Result<Response, String> {
        self.read_as(deadline, true)
    }

    fn read_as(&mut self, deadline: Deadline, bodiless: bool) -> Result<Response, String> {
        let mut decoder = self.decoder.take().unwrap_or_else(|| Decoder::new(bodiless));
        loop {
            let (used, response) = decoder.feed(&self.pending)?;
            self.pending.drain(..used);
            if let Some(response) = response {
                return Ok(response);
            }
            if self.closed {
                return decoder.end(self.reset);
            }
            let Some(left) = deadline.left() else {
                let why = no_answer(&decoder);
                // A later read goes on where this one stopped.
                self.decoder = Some(decoder);
                return Err(why);
            };
            match self.fill(left) {
                Fill::More | Fill::Nothing => {}
                Fill::Reset(cause) if decoder.taken == 0 => return Err(format!("the connection failed: {cause}")),
                Fill::Closed | Fill::Reset(_) => {}
            }
        }
    }

    /// The bytes that follow the last response although nobody asked for them, if some arrive within `wait`.
    pub fn surplus(&mut self, wait: Duration) -> Option<String> {
        self.has_answer(wait);
        let count = self.pending.len();
        (count > 0).then(|| format!("{count} bytes, `{}`", cut(&String::from_utf8_lossy(&self.pending), 40)))
    }

    fn fill(&mut self, wait: Duration) -> Fill {
        self.fill_some(wait, CHUNK_BYTES)
    }

    /// Reads the socket once, at most `bytes_max` bytes.
    fn fill_some(&mut self, wait: Duration, bytes_max: usize) -> Fill {
        if let Err(cause) = self.stream.set_read_timeout(Some(wait.max(Duration::from_millis(1)))) {
            return Fill::Reset(cause.to_string());
        }
        let mut chunk = [0; CHUNK_BYTES];
        match self.stream.read(&mut chunk[..bytes_max.min(CHUNK_BYTES)]) {
            Ok(0) => {
                self.closed = true;
                Fill::Closed
            }
            Ok(count) => {
                self.pending.extend_from_slice(&chunk[..count]);
                Fill::More
            }
            Err(cause) if is_timeout(cause.kind()) || cause.kind() == ErrorKind::Interrupted => Fill::Nothing,
            Err(cause) => {
                (self.closed, self.reset) = (true, true);
                Fill::Reset(cause.to_string())
            }
        }
    }

    /// Whether the target has closed the connection, or does so before the deadline. Bytes that arrive are kept for the
    /// next response and mean "not closed".
    pub fn closes(&mut self, deadline: Deadline) -> bool {
        while !self.closed && self.pending.is_empty() {
            match self.fill(deadline.left().unwrap_or_default()) {
                Fill::More => return false,
                Fill::Closed | Fill::Reset(_) => {}
                Fill::Nothing if deadline.passed() => return false,
                Fill::Nothing => {}
            }
        }
        self.closed
    }

    /// Whether the first byte of a response has arrived, or arrives within `wait`. A closed connection counts, too:
    /// reading from it will not block.
    pub fn has_answer(&mut self, wait: Duration) -> bool {
        let deadline = Deadline::after(wait);
        while self.pending.is_empty() && !self.closed {
            match self.fill_some(deadline.left().unwrap_or_default(), 1) {
                Fill::More | Fill::Closed | Fill::Reset(_) => {}
                Fill::Nothing if deadline.passed() => return false,
                Fill::Nothing => {}
            }
        }
        true
    }

    /// Resets the connection (RST) in place of an orderly close.
    pub fn reset(self) {
        // With SO_LINGER 0 the close that follows sends RST. If the option cannot be set, the close is orderly.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// The result of one read.
enum Fill {
    More,
    Closed,
    Nothing,
    Reset(String),
}

fn no_answer(decoder: &Decoder) -> String {
    match decoder.taken {
        0 => "no answer in time".into(),
        had if decoder.ends_with_connection() => format!(
            "no whole answer in time, only {had} bytes: it has neither Content-Length nor chunks, so only the close \
             of the connection would end it"
        ),
        had => format!("no whole answer in time, only {had} bytes"),
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    /// A server that runs `act` on its first connection.
    fn server(act: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || act(listener.accept().unwrap().0));
        addr
    }

    #[test]
    fn two_responses_in_one_packet_are_read_one_by_one() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
        let addr = server(move |mut stream| {
            stream.write_all(&[&answer[..], b"a", answer, b"b"].concat()).unwrap();
        });
        let mut conn = Conn::open(addr, soon()).unwrap();
        assert_eq!(conn.read(soon()).unwrap().body, b"a");
        assert_eq!(conn.read(soon()).unwrap().body, b"b");
        assert!(conn.closes(soon()));
        assert!(conn.read(soon()).unwrap_err().contains("without an answer"));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let addr = server(|stream| {
            let _ = (&stream).read(&mut [0; 1]);
        });
        let mut conn = Conn::open(addr, soon()).unwrap();
        assert!(!conn.closes(Deadline::after(Duration::from_millis(10))));
        assert_eq!(conn.read(Deadline::after(Duration::from_millis(30))).unwrap_err(), "no answer in time");
    }

    #[test]
    fn a_large_body_arrives_whole_while_the_request_is_sent() {
        let body = vec![b'x'; 3_000_000];
        let sent = body.clone();
        let addr = server(move |mut stream| {
            let mut seen = vec![0; sent.len()];
            stream.read_exact(&mut seen[..100_000]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()).unwrap();
            stream.write_all(&sent).unwrap();
            stream.read_exact(&mut seen[100_000..]).unwrap();
        });
        let mut conn = Conn::open(addr, soon()).unwrap();
        assert_eq!(conn.exchange(&body, soon()).unwrap().body.len(), body.len());
    }

    #[test]
    fn a_truncated_response_is_not_a_missing_one() {
        let addr = server(|mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").unwrap();
        });
        let mut conn = Conn::open(addr, soon()).unwrap();
        assert!(conn.read(soon()).unwrap_err().contains("within an answer"));
    }
}
