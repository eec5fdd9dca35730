//! The adapter in the middle. The program behind it notes the bytes of every request that reaches it, and describes the
//! request as the witness does, so that the client's side is judged as if there were no adapter.

use super::corpus::{CANARY, Case};
use super::support::process::Server;
use super::support::program::Program;
use super::verdict;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The requests that have reached the program: their bytes, and the text by which verdicts show them.
type Seen = Arc<Mutex<Noted>>;

#[derive(Default)]
struct Noted {
    requests: BTreeMap<Vec<u8>, String>,
    /// Bytes that the program cannot frame.
    strange: Vec<String>,
}

/// The adapter before a program that notes everything.
pub struct Behind {
    pub server: Server,
    seen: Seen,
}

impl Behind {
    pub fn start() -> Behind {
        let program = Program::new();
        let setup = program.setup().env("FC_HOOKS_LOG_MARKERS", "off").limits(super::ours::PATIENT);
        let server = setup.start();
        let seen = Seen::default();
        let noted = seen.clone();
        let listener = program.into_listener();
        std::thread::spawn(move || accept(&listener, &noted));
        Behind { server, seen }
    }

    /// Ends the adapter. Returns each different request that has reached the program, with the canary behind it, and
    /// the text of the request.
    pub fn finish(self) -> Vec<(Case, String)> {
        self.server.finish();
        let noted = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(noted.strange.is_empty(), "the program cannot frame what it got:\n{}", noted.strange.join("\n"));
        let cases = noted.requests.iter().enumerate().map(|(number, (bytes, text))| {
            let case = Case { name: format!("forwarded-{number}"), bytes: [bytes, CANARY].concat() };
            (case, text.clone())
        });
        cases.collect()
    }
}

fn accept(listener: &TcpListener, seen: &Seen) {
    for socket in listener.incoming().map_while(Result::ok) {
        let seen = seen.clone();
        std::thread::spawn(move || serve(socket, &seen));
    }
}

/// Answers each whole request. A request that breaks off is none.
fn serve(mut socket: TcpStream, seen: &Seen) {
    let _ = socket.set_nodelay(true);
    let mut unread = Vec::new();
    let mut piece = [0; 65536];
    loop {
        match request(&unread) {
            Ok(Some(request)) => {
                let shown = verdict::request(&request.method, &request.target, &request.body);
                let quoted = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
                let reply = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-method: {}\r\nx-target: {}\r\nx-body: {}\r\n\r\n",
                    String::from_utf8_lossy(&request.method),
                    quoted(&request.target),
                    quoted(&request.body)
                );
                let bytes: Vec<u8> = unread.drain(..request.bytes).collect();
                seen.lock().unwrap_or_else(PoisonError::into_inner).requests.insert(bytes, shown);
                if socket.write_all(reply.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                let text = format!("{why}: {}", unread[..unread.len().min(300)].escape_ascii());
                seen.lock().unwrap_or_else(PoisonError::into_inner).strange.push(text);
                return;
            }
        }
        match socket.read(&mut piece) {
            Ok(bytes) if bytes > 0 => unread.extend_from_slice(&piece[..bytes]),
            _ => return,
        }
    }
}

struct Framed {
    method: Vec<u8>,
    target: Vec<u8>,
    body: Vec<u8>,
    /// Bytes of the whole request.
    bytes: usize,
}

/// The strictest reader: anything but the plainest form is an error.
fn request(bytes: &[u8]) -> Result<Option<Framed>, String> {
    let Some(head_bytes) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let mut lines =
        bytes[..head_bytes - 4].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts[..] else { return Err("no request line".into()) };
    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        if name.is_empty() || line.iter().any(|byte| *byte == b'\r' || *byte == 0) || name.contains(&b' ') {
            return Err("a line that two readers may read differently".into());
        }
        match &name[..] {
            b"content-length" => {
                let text = std::str::from_utf8(value).map_err(|_| "no length")?;
                let number: usize = text.parse().map_err(|_| "no length")?;
                if !value.iter().all(u8::is_ascii_digit) || length.replace(number).is_some() {
                    return Err("two lengths, or a strange one".into());
                }
            }
            b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") && !chunked => chunked = true,
            b"transfer-encoding" => return Err("a strange coding".into()),
            b"host" => hosts += 1,
            b"connection" if !value.eq_ignore_ascii_case(b"upgrade") => return Err("a Connection".into()),
            b"expect" | b"te" | b"trailer" | b"keep-alive" | b"proxy-connection" => {
                return Err(format!("a header of one connection: {}", name.escape_ascii()));
            }
            _ => {}
        }
    }
    if hosts != 1 || (chunked && length.is_some()) {
        return Err("not one host, or two framings".into());
    }
    let framed = |body, bytes| Some(Framed { method: method.to_vec(), target: target.to_vec(), body, bytes });
    let rest = &bytes[head_bytes..];
    if !chunked {
        let length = length.unwrap_or(0);
        return Ok(rest.get(..length).and_then(|body| framed(body.to_vec(), head_bytes + length)));
    }
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = rest[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&rest[at..at + line]).map_err(|_| "no size")?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the chunk size {text:?}"));
        }
        let size = usize::from_str_radix(text, 16).map_err(|_| "no size")?;
        at += line + 2;
        let Some(data) = rest.get(at..at + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("no line end behind a chunk".into());
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(framed(body, head_bytes + at));
        }
    }
}
