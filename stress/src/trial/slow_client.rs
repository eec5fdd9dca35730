//! One connection of an honest but slow client: it sends in pieces, reads slowly, and detects every byte that it did
//! not request.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use fc_emulator::clock::Deadline;
use fc_testkit::http::{BodyFraming, Decoder, Response};

/// The receive buffer of a slow reader: small, so that the server notices the slow reader.
const ROOM_BYTES: usize = 64 * 1024;

/// One connection.
pub struct SlowClient {
    stream: TcpStream,
    decoder: Decoder,
}

impl SlowClient {
    /// Connects.
    ///
    /// # Errors
    /// If the server does not accept.
    pub fn open(addr: SocketAddr, deadline: Deadline) -> Result<Self, String> {
        let left = deadline.left().ok_or("no time was left to connect")?;
        let stream = TcpStream::connect_timeout(&addr, left).map_err(|cause| format!("no connection: {cause}"))?;
        let prepared = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_recv_buffer_size(ROOM_BYTES));
        prepared.map_err(|cause| format!("no connection: {cause}"))?;
        Ok(Self { stream, decoder: Decoder::default() })
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// If the server closes the connection or takes no more bytes.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), String> {
        while !bytes.is_empty() {
            let left = deadline.left().ok_or("the server took no more bytes in time")?;
            self.stream.set_write_timeout(Some(left)).map_err(|cause| cause.to_string())?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(cause) if is_pause(cause.kind()) => {}
                Err(cause) => return Err(format!("cut while sending: {cause}")),
            }
        }
        Ok(())
    }

    /// Reads one whole reply, and calls `between` before each read.
    ///
    /// # Errors
    /// If the connection ends first, or the bytes are no valid reply.
    pub fn reply(&mut self, deadline: Deadline, mut between: impl FnMut()) -> Result<Response, String> {
        loop {
            if let Some(response) = self.decoder.response()? {
                return Ok(response);
            }
            // A cut of such a reply would make it look whole.
            if self.decoder.framing() == Some(BodyFraming::UntilClose) {
                return Err("the body of a reply ends with the connection".into());
            }
            between();
            self.fill(deadline)?;
        }
    }

    /// Checks that no byte came without a request, and that the connection is open.
    ///
    /// # Errors
    /// What is wrong.
    pub fn is_quiet(&mut self) -> Result<(), String> {
        if !self.decoder.unread().is_empty() {
            return Err(format!("{} bytes came after the reply", self.decoder.unread().len()));
        }
        self.stream.set_nonblocking(true).map_err(|cause| cause.to_string())?;
        let looked = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).map_err(|cause| cause.to_string())?;
        match looked {
            Ok(0) => Err("while idle it was closed by the server".into()),
            Ok(_) => Err("a byte came without a request".into()),
            Err(cause) if is_pause(cause.kind()) => Ok(()),
            Err(cause) => Err(format!("while idle it was cut: {cause}")),
        }
    }

    /// Closes the sending half.
    pub fn finish(&self) {
        // If the server has closed the connection already, the next read reports it.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads to the end. Returns true for an orderly close and false for a reset.
    ///
    /// # Errors
    /// If the end does not come.
    pub fn ends(&mut self, deadline: Deadline) -> Result<bool, String> {
        loop {
            self.decoder.clear();
            match self.fill(deadline) {
                Ok(()) => {}
                Err(cause) if cause == CLOSED => return Ok(true),
                Err(cause) if cause.starts_with(RESET) => return Ok(false),
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Ends the connection with a reset in place of an orderly close.
    pub fn reset(self) {
        // If this fails, the close is orderly.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads from the socket until bytes arrive.
    fn fill(&mut self, deadline: Deadline) -> Result<(), String> {
        let mut chunk = [0; ROOM_BYTES];
        loop {
            let left = deadline.left().ok_or("no whole reply in time")?;
            self.stream.set_read_timeout(Some(left)).map_err(|cause| cause.to_string())?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(CLOSED.into()),
                Ok(count) => {
                    self.decoder.feed(&chunk[..count]);
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    /// A client of a server that sends these bytes one by one and then closes.
    fn client(bytes: &'static [u8]) -> SlowClient {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.set_nodelay(true).unwrap();
            bytes.chunks(1).for_each(|byte| stream.write_all(byte).unwrap());
        });
        SlowClient::open(addr, soon()).unwrap()
    }

    #[test]
    fn replies_come_one_by_one_however_they_are_framed() {
        let mut client = client(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\
              Connection: close\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nx",
        );
        for expected in [(200, false, b"ok".to_vec()), (404, true, b"abcd".to_vec())] {
            let reply = client.reply(soon(), || {}).unwrap();
            assert_eq!((reply.status, reply.closes, reply.body), expected);
        }
        // It may have arrived already.
        let _ = client.fill(soon());
        assert!(client.is_quiet().unwrap_err().contains("after the reply"));
        assert_eq!(client.ends(soon()), Ok(true));
    }

    #[test]
    fn what_is_cut_or_broken_is_no_reply() {
        for (bytes, why) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"[..], CLOSED),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", CLOSED),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "longer"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "ends with the connection"),
            (b"SSH-2.0\r\n\r\n", "not an HTTP/1 response"),
        ] {
            let told = client(bytes).reply(soon(), || {}).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
