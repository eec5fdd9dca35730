//! One call to a server of this machine: its request, and its response piece by piece. Pure.

use crate::adapter::head::write_no_body;
use crate::adapter::relay::{Relay, Writer};
use crate::adapter::reply_head::{self, BrokenReply};
use crate::config::Listen;
use crate::limits::Limits;
use crate::platform::headers::CONTROL_PATH;
use crate::platform::hooks::Hook;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A call: to a hook of an instance, or to any path of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCall {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The call is one to this hook.
    pub(crate) hook: Option<Hook>,
    pub(crate) address: Listen,
    pub(crate) time_max: Duration,
}

impl ClientCall {
    /// A call of `words` (the name of a hook, or a method and a path) to the server that listens on `address`. None if
    /// the words are neither.
    pub fn new(words: &str, address: &Listen) -> Option<ClientCall> {
        let hook = Hook::ALL.iter().copied().find(|hook| hook.name() == words);
        let (method, path) = match hook {
            Some(hook) => (hook.method().to_owned(), hook.path().to_owned()),
            None => super::config::request(words)?,
        };
        let address = within_reach(address);
        Some(ClientCall { method, path, hook, address, time_max: Duration::from_secs(60) })
    }

    /// Limits the time of the whole call; `3s`, `500ms`. False if the text has another form.
    pub fn set_timeout(&mut self, text: &str) -> bool {
        let time = super::config::time(text);
        self.time_max = time.unwrap_or(self.time_max);
        time.is_some()
    }

    /// The bytes of the request. The connection serves no other one.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push = |parts: &[&str]| parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        push(&[&self.method, " ", &self.path, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"]);
        if let Some(hook) = self.hook {
            push(&[CONTROL_PATH, ": ", hook.path(), "\r\n"]);
        }
        write_no_body(&mut bytes, &self.method);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

impl fmt::Display for ClientCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A server that listens on every address is reached on loopback.
fn within_reach(address: &Listen) -> Listen {
    let Listen::Tcp(address) = address else { return address.clone() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Listen::Tcp(SocketAddr::new(ip, address.port()))
}

/// A response on its way: its body comes out piece by piece.
pub(crate) struct Response {
    is_head_request: bool,
    /// Bytes of the head so far.
    head: Vec<u8>,
    /// Once the head is whole.
    status: Option<u16>,
    body: Relay,
}

impl Response {
    pub(crate) fn new(call: &ClientCall) -> Response {
        Response { is_head_request: call.method == "HEAD", head: Vec::new(), status: None, body: Relay::NONE }
    }

    /// The status, once the head has come.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Takes bytes of the connection; leaves those of the body in `bytes`. True if the response is whole.
    pub(crate) fn take(&mut self, bytes: &mut Vec<u8>, limits: &Limits) -> Result<bool, BrokenReply> {
        if self.status.is_none() {
            self.head.append(bytes);
            self.take_head(bytes, limits)?;
            if self.status.is_none() {
                return Ok(false);
            }
        }
        let whole = 0..bytes.len();
        let piece = self.body.pass(bytes, whole, &mut Vec::new()).map_err(|_| BrokenReply::Chunk)?;
        bytes.truncate(piece.end);
        Ok(self.body.is_done())
    }

    /// Whether the response is whole if the server closes the connection now.
    pub(crate) fn ends_with_connection(&mut self) -> bool {
        self.status.is_some() && (self.body.is_done() || self.body.end_of_input().is_ok())
    }

    /// Reads the head if it is whole; what follows it goes to `rest`.
    fn take_head(&mut self, rest: &mut Vec<u8>, limits: &Limits) -> Result<(), BrokenReply> {
        loop {
            let mut headers = Vec::new();
            let Some(head) = reply_head::parse(&self.head, &mut headers, limits)? else { return Ok(()) };
            // RFC 9110 §15.2: others may come before the final response.
            if head.status < 200 {
                let end = head.bytes;
                self.head.drain(..end);
                continue;
            }
            if !head.is_bodiless(self.is_head_request) {
                self.body = Relay::new(head.body, Writer::Plain);
            }
            self.status = Some(head.status);
            rest.extend_from_slice(&self.head[head.bytes..]);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &str) -> ClientCall {
        ClientCall::new(words, &"127.0.0.1:9000".parse().unwrap()).unwrap()
    }

    #[test]
    fn requests() {
        let common = " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let length = "content-length: 0\r\n";
        let cases = [
            ("initialize", "POST /initialize", format!("x-fc-control-path: /initialize\r\n{length}")),
            ("pre-freeze", "GET /pre-freeze", "x-fc-control-path: /pre-freeze\r\n".to_owned()),
            ("pre-stop", "GET /pre-stop", "x-fc-control-path: /pre-stop\r\n".to_owned()),
            ("GET /healthz?a=b", "GET /healthz?a=b", String::new()),
            ("PUT /a", "PUT /a", length.to_owned()),
        ];
        for (words, line, headers) in cases {
            let expected = format!("{line}{common}{headers}\r\n");
            assert_eq!(String::from_utf8(call(words).request()).unwrap(), expected);
            assert_eq!(call(words).to_string(), line);
        }
        for words in ["", "restart", "on-thaw", "GET", "get /", "GET path", "/initialize"] {
            assert_eq!(ClientCall::new(words, &Listen::default()), None, "{words}");
        }
    }

    #[test]
    fn every_address_is_reached_on_loopback() {
        let cases = [
            ("9000", "127.0.0.1:9000"),
            ("[::]:9000", "[::1]:9000"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("unix:/a", "unix:/a"),
        ];
        for (address, expected) in cases {
            let call = ClientCall::new("pre-stop", &address.parse().unwrap()).unwrap();
            assert_eq!(call.address.to_string(), expected);
        }
    }

    /// The status, and where the response ends.
    type Read = Result<(u16, End), BrokenReply>;

    #[derive(Debug, PartialEq)]
    enum End {
        /// The response is whole, with nothing read behind it.
        Whole,
        /// It is whole if the connection closes.
        AtClose,
        Cut,
    }

    /// However it is cut, the same comes out.
    #[test]
    fn responses() {
        let cases: [(&str, &str, &str, Read); 16] = [
            ("GET /", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", Ok((200, End::Whole))),
            ("GET /", "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", "", Ok((404, End::Whole))),
            ("GET /", "HTTP/1.0 200 OK\r\n\r\nhello", "hello", Ok((200, End::AtClose))),
            ("GET /", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello", "hello", Ok((200, End::Cut))),
            (
                "GET /",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nt: r\r\n\r\n",
                "hello",
                Ok((200, End::Whole)),
            ),
            ("GET /", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n", "he", Ok((200, End::Cut))),
            ("HEAD /", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "", Ok((200, End::Whole))),
            ("GET /", "HTTP/1.1 204 No Content\r\n\r\n", "", Ok((204, End::Whole))),
            ("GET /", "HTTP/1.1 304 \r\ncontent-length: 5\r\n\r\n", "", Ok((304, End::Whole))),
            (
                "GET /",
                "HTTP/1.1 103 \r\na: b\r\n\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
                "x",
                Ok((200, End::Whole)),
            ),
            ("GET /", "HTTP/1.1 200 OK\r\nconte", "", Ok((0, End::Cut))),
            ("GET /", "SSH-2.0-OpenSSH\r\n", "", Err(BrokenReply::NotHttp)),
            ("GET /", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "", Err(BrokenReply::Length)),
            ("GET /", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "", Err(BrokenReply::Coding)),
            ("GET /", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx", "", Err(BrokenReply::Chunk)),
            ("GET /", &format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(40_000)), "", Err(BrokenReply::TooLarge)),
        ];
        for (words, bytes, body, expected) in cases {
            for size in [1, 2, 7, 1000, bytes.len()] {
                let mut response = Response::new(&call(words));
                let (mut seen, mut is_whole, mut failed) = (Vec::new(), false, None);
                // A head is read from its start for each piece. A long one comes in small pieces only near its limit.
                let at_once = if bytes.len() > 32_000 && size < 1000 { 32_000 } else { 0 };
                let (first, rest) = bytes.as_bytes().split_at(at_once);
                for piece in [first].into_iter().filter(|first| !first.is_empty()).chain(rest.chunks(size)) {
                    let mut piece = piece.to_vec();
                    match response.take(&mut piece, &Limits::default()) {
                        Ok(whole) => is_whole = whole,
                        Err(error) => failed = Some(error),
                    }
                    if failed.is_some() {
                        break;
                    }
                    seen.append(&mut piece);
                }
                let end = match (is_whole, response.ends_with_connection()) {
                    (true, _) => End::Whole,
                    (false, true) => End::AtClose,
                    (false, false) => End::Cut,
                };
                let outcome = failed.map_or(Ok((response.status().unwrap_or(0), end)), Err);
                assert_eq!(
                    (outcome, String::from_utf8(seen).unwrap().as_str()),
                    (expected_of(&expected), body),
                    "{bytes}"
                );
            }
        }
    }

    fn expected_of(expected: &Read) -> Read {
        match expected {
            Ok((status, End::Whole)) => Ok((*status, End::Whole)),
            Ok((status, End::AtClose)) => Ok((*status, End::AtClose)),
            Ok((status, End::Cut)) => Ok((*status, End::Cut)),
            Err(error) => Err(*error),
        }
    }
}
