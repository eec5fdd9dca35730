//! A client that reads a reply as early as it can.
//!
//! Between the last byte of a reply and the caller's next step there is the system call that read it, and no
//! allocation.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_testkit::http::{BodyFraming, Head};

/// The most bytes that are read or written at once, so that a call can be stopped close to any byte.
const STEP_BYTES: usize = 64 * 1024;

/// The size of a head and a small body.
const REPLY_BYTES: usize = 64 * 1024;

/// The number of polls of the socket between two looks at the clock.
const POLLS: u32 = 256;

/// How the client waits for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The client polls. It needs a processor of its own.
    Polling,
    /// The client sleeps, so that the server can run on the same processor.
    Asleep,
}

/// One connection, with at most one call in progress.
pub struct QuickClient {
    stream: TcpStream,
    waiting: Waiting,
    request: Vec<u8>,
    sent: usize,
    reply: Vec<u8>,
    received: usize,
    /// The head of the reply, once it is complete.
    head: Option<Head>,
}

impl QuickClient {
    /// Connects. Memory is prepared for a reply with a body of up to `body_bytes_max`.
    ///
    /// # Errors
    /// If the server does not accept the connection.
    pub fn connect(address: SocketAddr, waiting: Waiting, body_bytes_max: usize) -> Result<Self> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|cause: std::io::Error| Error::failed("connect to", address, cause))?;
        let reply = vec![0; REPLY_BYTES + body_bytes_max];
        Ok(Self { stream, waiting, request: Vec::new(), sent: 0, reply, received: 0, head: None })
    }

    /// Begins a call. Nothing is sent yet.
    pub fn begin(&mut self, request: Vec<u8>) {
        (self.request, self.sent, self.received, self.head) = (request, 0, 0, None);
    }

    /// Sends the whole request, and does not read the reply.
    ///
    /// # Errors
    /// If the connection is lost, or the request is not sent in time.
    pub fn send(&mut self, deadline: Deadline) -> Result<()> {
        self.poll_until(deadline, "send", |client| {
            client.write_some()?;
            Ok(client.sent == client.request.len())
        })
    }

    /// Continues the call until the whole reply has arrived.
    ///
    /// # Errors
    /// If the connection is lost, or the reply is incomplete when the time is over, or it is not valid.
    pub fn finish(&mut self, deadline: Deadline) -> Result<()> {
        self.poll_until(deadline, "wait for the reply to", |client| {
            client.write_some()?;
            client.read_some()?;
            client.is_whole()
        })
    }

    /// Continues the call until request and reply together have moved this many bytes.
    ///
    /// # Errors
    /// As [`QuickClient::finish`].
    pub fn advance_to(&mut self, bytes: usize, deadline: Deadline) -> Result<()> {
        self.poll_until(deadline, "go on with", |client| {
            client.write_some()?;
            client.read_some()?;
            Ok(client.sent + client.received >= bytes)
        })
    }

    /// The status and the body of a complete reply.
    ///
    /// # Errors
    /// If the reply is not complete.
    pub fn reply(&self) -> Result<(u16, &[u8])> {
        match (&self.head, self.reply.get(..self.received)) {
            (Some(head), Some(reply)) => Ok((head.status, reply.get(head.bytes..).unwrap_or_default())),
            _ => Err(Error::new("the reply is not whole")),
        }
    }

    fn poll_until(
        &mut self,
        deadline: Deadline,
        verb: &str,
        mut step: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        loop {
            let looks = if self.waiting == Waiting::Polling { POLLS } else { 1 };
            for _ in 0..looks {
                if step(self)? {
                    return Ok(());
                }
            }
            let Some(left) = deadline.left() else {
                return Err(Error::failed(verb, "the call", "it took too long"));
            };
            if self.waiting == Waiting::Asleep {
                self.sleep(left)?;
            }
        }
    }

    /// Sleeps until the socket can be read, or written if there is more to send.
    fn sleep(&self, at_most: Duration) -> Result<()> {
        let more = if self.sent < self.request.len() { PollFlags::OUT } else { PollFlags::empty() };
        let mut socket = [PollFd::new(&self.stream, PollFlags::IN | more)];
        let at_most = Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: at_most.subsec_nanos().into() };
        match poll(&mut socket, Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(cause) => Err(Error::failed("wait for", "the connection", cause)),
        }
    }

    fn write_some(&mut self) -> Result<()> {
        let end = self.request.len().min(self.sent + STEP_BYTES);
        if self.sent < end {
            self.sent += would_block_is_none(self.stream.write(&self.request[self.sent..end]), "send")?.unwrap_or(0);
        }
        Ok(())
    }

    fn read_some(&mut self) -> Result<()> {
        let end = self.reply.len().min(self.received + STEP_BYTES);
        if self.received == end {
            return Err(Error::new("the reply is longer than it may be"));
        }
        match would_block_is_none(self.stream.read(&mut self.reply[self.received..end]), "read")? {
            Some(0) => Err(Error::new("the server closed the connection")),
            bytes => {
                self.received += bytes.unwrap_or(0);
                Ok(())
            }
        }
    }

    /// Whether the whole reply has arrived. The head is parsed once.
    fn is_whole(&mut self) -> Result<bool> {
        if self.received == 0 {
            return Ok(false);
        }
        if self.head.is_none() {
            self.head = Head::parse(&self.reply[..self.received]).map_err(Error::new)?;
        }
        match self.head {
            None => Ok(false),
            Some(Head { framing: BodyFraming::Length(length), bytes, .. }) => Ok(self.received >= bytes + length),
            Some(_) => Err(Error::new("the reply has no Content-Length")),
        }
    }
}

fn would_block_is_none(outcome: std::io::Result<usize>, verb: &str) -> Result<Option<usize>> {
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(cause) => Err(Error::failed(verb, "on the connection", cause)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    fn connected(waiting: Waiting) -> (QuickClient, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = QuickClient::connect(listener.local_addr().unwrap(), waiting, 10).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_reply_is_whole_when_its_last_byte_is_there() {
        for waiting in [Waiting::Polling, Waiting::Asleep] {
            let (mut client, mut server) = connected(waiting);
            client.begin(b"GET / HTTP/1.1\r\n\r\n".to_vec());
            client.send(soon()).unwrap();
            let mut request = [0; 18];
            server.read_exact(&mut request).unwrap();
            let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready";
            for part in [&reply[..20], &reply[20..40]] {
                server.write_all(part).unwrap();
                client.advance_to(client.sent + client.received + part.len(), soon()).unwrap();
                assert!(!client.is_whole().unwrap());
            }
            server.write_all(&reply[40..]).unwrap();
            client.finish(soon()).unwrap();
            assert_eq!(client.reply().unwrap(), (200, &b"ready"[..]));
        }
    }

    #[test]
    fn silence_a_close_and_nonsense_are_errors() {
        let (mut client, server) = connected(Waiting::Asleep);
        client.begin(Vec::new());
        let error = client.finish(Deadline::after(Duration::ZERO)).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
        drop(server);
        let error = client.finish(soon()).unwrap_err().to_string();
        assert!(error.contains("closed the connection"), "{error}");

        for (bytes, wanted) in [
            (&b"SSH-2.0-x\r\n"[..], "not an HTTP/1 response"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "no Content-Length"),
        ] {
            let (mut client, mut server) = connected(Waiting::Asleep);
            server.write_all(bytes).unwrap();
            let error = client.finish(soon()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
