//! One connection as an honest but slow client holds it: sends in pieces, reads at its own pace, and notices every byte
//! that it did not ask for.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::clock::Deadline;

/// What the kernel holds for a reader that rests: little, so that a slow reader is felt by the server.
const ROOM_BYTES: usize = 64 * 1024;

/// Headers that a reply may have.
const HEADERS_MAX: usize = 32;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    /// What came and belongs to no reply yet.
    came: Vec<u8>,
}

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The server announced that it closes.
    pub closes: bool,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// What a head says of its reply.
struct Head {
    status: u16,
    closes: bool,
    bytes: usize,
    /// None if it is chunked.
    body_bytes: Option<usize>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn open(addr: SocketAddr, deadline: Deadline) -> Result<Self, String> {
        let left = deadline.left().ok_or("no time was left to connect")?;
        let stream = TcpStream::connect_timeout(&addr, left).map_err(|cause| format!("no connection: {cause}"))?;
        let prepared = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_recv_buffer_size(ROOM_BYTES));
        prepared.map_err(|cause| format!("no connection: {cause}"))?;
        Ok(Self { stream, came: Vec::new() })
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When the server hangs up or takes no more.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), String> {
        while !bytes.is_empty() {
            let left = deadline.left().ok_or("no more bytes were taken in time")?;
            self.stream.set_write_timeout(Some(left)).map_err(|cause| cause.to_string())?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(cause) if is_pause(cause.kind()) => {}
                Err(cause) => return Err(format!("cut while sending: {cause}")),
            }
        }
        Ok(())
    }

    /// Reads one whole reply; `between` is called before each look at the socket.
    ///
    /// # Errors
    /// When the connection ends first, or what comes is no reply.
    pub fn reply(&mut self, deadline: Deadline, mut between: impl FnMut()) -> Result<Reply, String> {
        let head = loop {
            if let Some(head) = head(&self.came)? {
                break head;
            }
            between();
            self.fill(deadline)?;
        };
        self.came.drain(..head.bytes);
        let mut body = Vec::new();
        loop {
            let (taken, done) = match head.body_bytes {
                Some(bytes) => {
                    let taken = self.came.len().min(bytes - body.len());
                    body.extend_from_slice(&self.came[..taken]);
                    (taken, body.len() == bytes)
                }
                None => unchunk(&self.came, &mut body)?,
            };
            self.came.drain(..taken);
            if done {
                return Ok(Reply { status: head.status, closes: head.closes, body });
            }
            between();
            self.fill(deadline)?;
        }
    }

    /// Whether nothing came that was not asked for, and the connection stands.
    ///
    /// # Errors
    /// What is wrong.
    pub fn is_quiet(&mut self) -> Result<(), String> {
        if !self.came.is_empty() {
            return Err(format!("{} bytes came behind the reply", self.came.len()));
        }
        self.stream.set_nonblocking(true).map_err(|cause| cause.to_string())?;
        let looked = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).map_err(|cause| cause.to_string())?;
        match looked {
            Ok(0) => Err("while idle it was closed by the server".into()),
            Ok(_) => Err("a byte came that nobody asked for".into()),
            Err(cause) if is_pause(cause.kind()) => Ok(()),
            Err(cause) => Err(format!("while idle it was cut: {cause}")),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // If the server is gone already, the next read says so.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads to the end: true if it came in order, false if by a reset.
    ///
    /// # Errors
    /// When it does not come.
    pub fn ends(&mut self, deadline: Deadline) -> Result<bool, String> {
        loop {
            self.came.clear();
            match self.fill(deadline) {
                Ok(()) => {}
                Err(cause) if cause == CLOSED => return Ok(true),
                Err(cause) if cause.starts_with(RESET) => return Ok(false),
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Ends with a reset instead of an orderly close.
    pub fn reset(self) {
        // If it cannot be set the close is an orderly one.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// One look at the socket, until something comes.
    fn fill(&mut self, deadline: Deadline) -> Result<(), String> {
        let mut chunk = [0; ROOM_BYTES];
        loop {
            let left = deadline.left().ok_or("no whole reply in time")?;
            self.stream.set_read_timeout(Some(left)).map_err(|cause| cause.to_string())?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(CLOSED.into()),
                Ok(count) => {
                    self.came.extend_from_slice(&chunk[..count]);
                    return Ok(());
                }
                Err(cause) if is_pause(cause.kind()) => {}
                Err(cause) => return Err(format!("{RESET}: {cause}")),
            }
        }
    }
}

const CLOSED: &str = "closed by the server";
const RESET: &str = "cut";

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The head, once it is whole.
fn head(came: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(came).map_err(|cause| format!("what came is no reply: {cause}"))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let text = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let length = text("content-length").map(|length| length.parse::<usize>().map_err(|_| "a broken length"));
    let chunked = text("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body_bytes = match (length.transpose()?, chunked) {
        (Some(length), false) => Some(length),
        (None, true) => None,
        (length, chunked) => return Err(format!("a reply with length {length:?}, chunked: {chunked}")),
    };
    let closes = text("connection").is_some_and(|words| words.contains("close"));
    Ok(Some(Head { status: response.code.unwrap_or_default(), closes, bytes, body_bytes }))
}

/// Takes whole chunks off the front: how many bytes that were, and whether the last was among them.
fn unchunk(came: &[u8], body: &mut Vec<u8>) -> Result<(usize, bool), String> {
    let mut at = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&came[at..]).map_err(|_| "a broken chunk size")?;
        let httparse::Status::Complete((line, size)) = parsed else { return Ok((at, false)) };
        let end = at + line + size as usize;
        let Some(frame) = came.get(at + line..end + 2) else { return Ok((at, false)) };
        let (data, line_end) = frame.split_at(size as usize);
        if line_end != b"\r\n" {
            return Err("a chunk is longer than its size says".into());
        }
        body.extend_from_slice(data);
        at = end + 2;
        if size == 0 {
            return Ok((at, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    /// A wire to a peer that sends these bytes, one by one, and closes.
    fn wire(bytes: &'static [u8]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.set_nodelay(true).unwrap();
            bytes.chunks(1).for_each(|byte| stream.write_all(byte).unwrap());
        });
        Wire::open(addr, soon()).unwrap()
    }

    #[test]
    fn replies_come_one_by_one_however_they_are_framed() {
        let mut wire = wire(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\
              Connection: close\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nx",
        );
        let reply = |status, closes, body: &[u8]| Reply { status, closes, body: body.to_vec() };
        assert_eq!(wire.reply(soon(), || {}), Ok(reply(200, false, b"ok")));
        assert_eq!(wire.reply(soon(), || {}), Ok(reply(404, true, b"abcd")));
        // It may have come already.
        let _ = wire.fill(soon());
        assert!(wire.is_quiet().unwrap_err().contains("behind the reply"));
        assert_eq!(wire.ends(soon()), Ok(true));
    }

    #[test]
    fn what_is_cut_or_broken_is_no_reply() {
        for (bytes, why) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"[..], CLOSED),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", CLOSED),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "longer"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "length None"),
            (b"SSH-2.0\r\n\r\n", "no reply"),
        ] {
            let told = wire(bytes).reply(soon(), || {}).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
