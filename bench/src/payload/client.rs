//! The client: one connection, one call at a time, its body sent while the reply is read and compared.
//!
//! A server may answer while it still reads, and one that is not read from may stop reading, so the client does both at
//! once. The body repeats a pattern that stays in the processor's cache: neither sending nor comparing costs more than
//! the kernel's own copy.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::harness::{micros, now};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::platform::Platform;
use fc_testkit::Rng;
use fc_testkit::http::{BodyFraming, Head};

/// The length of the pattern. It is prime, so that no piece of a usual length can take the place of another.
const PERIOD: usize = 65_521;

/// The most bytes that are sent or read at a time.
const PIECE: usize = 256 * 1024;

/// The largest head of a reply.
const HEAD_MAX: usize = 16 * 1024;

/// Bodies: the first bytes of an endless repetition of the pattern.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Default for Pattern {
    fn default() -> Self {
        let mut random = Rng::new(1);
        let period: Vec<u8> = (0..PERIOD).map(|_| random.within(0, 255) as u8).collect();
        Self(period.iter().copied().cycle().take(PERIOD + PIECE).collect())
    }
}

impl Pattern {
    /// At most `count` bytes, and at most [`PIECE`], of a body from this place on.
    fn piece(&self, at: usize, count: usize) -> &[u8] {
        &self.0[at % PERIOD..][..count.min(PIECE)]
    }
}

/// An event of one size.
#[derive(Clone, Debug)]
pub struct Event {
    head: Vec<u8>,
    /// The length of its body.
    pub bytes: usize,
}

impl Event {
    /// With the platform's headers.
    pub fn new(platform: &Platform, bytes: usize) -> Self {
        Self { head: platform.invoke(vec![0; bytes]).head, bytes }
    }
}

/// The reply as far as it has come.
#[derive(Debug, Default)]
struct Reply {
    head: Vec<u8>,
    is_body: bool,
    /// How many bytes of the body were compared.
    came: usize,
}

impl Reply {
    /// Takes bytes; the body must have this length and be the pattern.
    fn take(&mut self, bytes: &[u8], length: usize, pattern: &Pattern) -> Result<()> {
        if self.is_body {
            return self.compare(bytes, length, pattern);
        }
        self.head.extend_from_slice(bytes);
        let Some(head) = Head::parse(&self.head).map_err(Error::new)? else {
            let is_long = self.head.len() > HEAD_MAX;
            return if is_long { Err(Error::new("the head of a reply does not end")) } else { Ok(()) };
        };
        if head.status != 200 {
            return Err(Error::new(format!("the reply has status {}", head.status)));
        }
        match head.framing {
            BodyFraming::Length(count) if count == length => {}
            BodyFraming::Length(count) => {
                return Err(Error::new(format!("the reply has {count} bytes and not the event's {length}")));
            }
            _ => return Err(Error::new("the reply has no Content-Length, which an echo needs")),
        }
        self.is_body = true;
        let behind_head = self.head.split_off(head.bytes);
        self.compare(&behind_head, length, pattern)
    }

    fn compare(&mut self, mut bytes: &[u8], length: usize, pattern: &Pattern) -> Result<()> {
        while !bytes.is_empty() {
            let wanted = pattern.piece(self.came, bytes.len().min(length - self.came));
            let (now, rest) = bytes.split_at(wanted.len());
            if wanted.is_empty() {
                return Err(Error::new("more bytes came than the reply"));
            }
            if now != wanted {
                return Err(Error::new(format!("the reply differs from the event behind byte {}", self.came)));
            }
            self.came += now.len();
            bytes = rest;
        }
        Ok(())
    }

    fn is_whole(&self, length: usize) -> bool {
        self.is_body && self.came == length
    }
}

/// A connection.
pub struct Conn {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Conn {
    /// Connects.
    ///
    /// # Errors
    /// If the server does not accept in time.
    pub fn open(address: SocketAddr, wait: Duration) -> Result<Self> {
        let failed = |cause| Error::failed("connect to", address, cause);
        let socket = TcpStream::connect_timeout(&address, wait).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        Ok(Self { socket, buffer: vec![0; PIECE] })
    }

    /// Sends an event and compares the reply with it. Returns the microseconds from the first byte that was sent to the
    /// last one that came.
    ///
    /// # Errors
    /// If the reply is not the event, or does not come in time.
    pub fn call(&mut self, event: &Event, pattern: &Pattern, deadline: Deadline) -> Result<f64> {
        let head = event.head.len();
        let total = head + event.bytes;
        let (mut sent, mut reply) = (0, Reply::default());
        let began = now();
        loop {
            let before = (sent, reply.head.len(), reply.came);
            if sent < total {
                let rest = &event.head[sent.min(head)..];
                let at = sent.saturating_sub(head);
                let body = pattern.piece(at, event.bytes - at);
                sent += some((&self.socket).write_vectored(&[IoSlice::new(rest), IoSlice::new(body)]), "send")?;
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(Error::new("the server closed the connection before the reply was whole")),
                came => {
                    let came = some(came, "receive")?;
                    reply.take(&self.buffer[..came], event.bytes, pattern)?;
                }
            }
            if reply.is_whole(event.bytes) {
                let at = now();
                if sent < total {
                    return Err(Error::new("the reply was whole before the event was"));
                }
                return Ok(micros(began, at));
            }
            if before == (sent, reply.head.len(), reply.came) {
                self.wait(sent < total, deadline)?;
            }
        }
    }

    fn wait(&self, sends: bool, deadline: Deadline) -> Result<()> {
        let wanted = if sends { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let left = deadline.left().unwrap_or_default();
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.socket, wanted)], Some(&limit)) {
            Ok(0) => Err(Error::new("the reply did not come in time")),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(cause) => Err(Error::failed("wait for", "the server", cause)),
        }
    }
}

/// How many bytes passed; none if it would block.
fn some(passed: std::io::Result<usize>, verb: &'static str) -> Result<usize> {
    match passed {
        Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        other => other.map_err(|cause| Error::failed(verb, "bytes", cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_emulator::platform::Settings;
    use std::net::TcpListener;

    const WAIT: Duration = Duration::from_secs(20);

    fn head(length: usize) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes()
    }

    /// What became of a reply to an event of this length that came in pieces of this size.
    fn taken(bytes: &[u8], length: usize, piece: usize) -> Result<bool> {
        let (pattern, mut reply) = (Pattern::default(), Reply::default());
        bytes.chunks(piece).try_for_each(|piece| reply.take(piece, length, &pattern))?;
        Ok(reply.is_whole(length))
    }

    #[test]
    fn a_reply_is_whole_with_its_last_byte_in_whatever_pieces_it_comes() {
        let pattern = Pattern::default();
        for length in [0, 1, PERIOD, PERIOD + 1, 3 * PIECE] {
            let body: Vec<u8> = (0..length).map(|at| pattern.piece(at, 1)[0]).collect();
            let reply = [head(length), body].concat();
            for piece in [1_000, PIECE, reply.len()] {
                assert!(taken(&reply, length, piece).unwrap(), "{length} in pieces of {piece}");
                assert!(!taken(&reply[..reply.len() - 1], length, piece).unwrap(), "{length} without its last byte");
            }
        }
    }

    #[test]
    fn a_reply_that_is_not_the_event_is_refused() {
        let pattern = Pattern::default();
        let of = |length| [head(length), pattern.piece(0, length).to_vec()].concat();
        let changed = |at: usize| {
            let mut bytes = of(2_000);
            let last = bytes.len() - 1 - at;
            bytes[last] ^= 1;
            bytes
        };
        for (bytes, reason) in [
            (changed(0), "differs from the event"),
            (changed(1_999), "differs from the event behind byte 0"),
            (of(1_999), "1999 bytes and not the event's 2000"),
            ([of(2_000), b"x".to_vec()].concat(), "more bytes came"),
            (b"HTTP/1.1 500 No\r\ncontent-length: 2000\r\n\r\n".to_vec(), "status 500"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), "no Content-Length"),
            (b"SSH-2.0".to_vec(), "not an HTTP/1 response"),
            ([b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'x'; HEAD_MAX]].concat(), "does not end"),
        ] {
            let error = taken(&bytes, 2_000, bytes.len()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}, not {reason}");
        }
    }

    /// Neither a server that reads all before it answers nor one that sends each piece back at once stops the client.
    #[test]
    fn servers_that_collect_and_that_stream_are_both_measured() {
        let (platform, pattern) = (Platform::new(Settings::default()), Pattern::default());
        let event = Event::new(&platform, 16 << 20);
        for streams in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let length = event.bytes;
            let server = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(WAIT)).unwrap();
                socket.set_write_timeout(Some(WAIT)).unwrap();
                let mut held = Vec::new();
                let mut piece = vec![0; 100_000];
                let mut begins = None;
                let mut sent = 0;
                while begins.is_none_or(|at| held.len() < at + length) {
                    let count = socket.read(&mut piece).unwrap();
                    held.extend_from_slice(&piece[..count]);
                    if begins.is_none() {
                        begins = held.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
                        socket.write_all(&head(length)).unwrap();
                        sent = begins.unwrap();
                    }
                    if streams {
                        socket.write_all(&held[sent..]).unwrap();
                        sent = held.len();
                    }
                }
                socket.write_all(&held[sent..]).unwrap();
            });
            let us = Conn::open(address, WAIT).unwrap().call(&event, &pattern, Deadline::after(WAIT)).unwrap();
            assert!(us > 0.0);
            server.join().unwrap();
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_forever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let event = Event::new(&Platform::new(Settings::default()), 10);
        let mut conn = Conn::open(listener.local_addr().unwrap(), WAIT).unwrap();
        let (_silent, _) = listener.accept().unwrap();
        let soon = Deadline::after(Duration::from_millis(1));
        let error = conn.call(&event, &Pattern::default(), soon).unwrap_err();
        assert!(error.to_string().contains("did not come in time"), "{error}");
    }
}
