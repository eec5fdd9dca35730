//! The verdicts of hyper: reads cases from standard input, one in hexadecimal per line, and prints a line with the
//! version and a verdict for each case. `tests/framing/oracle.rs` describes the protocol.
//!
//! There is no socket and no runtime: hyper reads the case from memory in one piece and then finds nothing more, and
//! its future is polled until it has nothing left to do. So every verdict is the same each time.

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::BufRead;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The requests and replies of one case so far.
#[derive(Default)]
struct Seen {
    requests: String,
    /// A body broke a rule. hyper tells the reader of the body, not the client.
    body_refused: bool,
    replies: Vec<u8>,
}

struct Wire {
    unread: Vec<u8>,
    seen: Rc<RefCell<Seen>>,
}

impl Read for Wire {
    /// The input never ends, so an incomplete request waits, which is a verdict of its own.
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.unread.is_empty() {
            return Poll::Pending;
        }
        let bytes = self.unread.len().min(buffer.remaining());
        let rest = self.unread.split_off(bytes);
        buffer.put_slice(&self.unread);
        self.unread = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.seen.borrow_mut().replies.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Only a request with a whole body counts as accepted. The status is 404, because 2xx would make CONNECT a tunnel.
async fn answer(request: Request<Incoming>, seen: Rc<RefCell<Seen>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await;
    let mut seen = seen.borrow_mut();
    match body {
        Ok(body) => {
            let target = head.uri.to_string();
            for (part, end) in [(head.method.as_str().as_bytes(), ':'), (target.as_bytes(), ':')] {
                seen.requests.push_str(&hex(part));
                seen.requests.push(end);
            }
            seen.requests.push_str(&hex(&body.to_bytes()));
            seen.requests.push(' ');
        }
        Err(_) => seen.body_refused = true,
    }
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

fn verdict(case: Vec<u8>) -> String {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let wire = Wire { unread: case, seen: seen.clone() };
    let service = service_fn(|request| answer(request, seen.clone()));
    let mut builder = http1::Builder::new();
    builder.auto_date_header(false).max_headers(128).header_read_timeout(None).max_buf_size(1 << 20);
    let mut connection = pin!(builder.serve_connection(wire, service));
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let outcome = loop {
        match connection.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => break Some(outcome),
            Poll::Pending if !flag.0.swap(false, Ordering::Relaxed) => break None,
            Poll::Pending => {}
        }
    };
    let seen = seen.borrow();
    let end = match outcome {
        _ if seen.body_refused => "refused body".to_owned(),
        Some(Err(_)) => format!("refused {}", last_status(&seen.replies)),
        Some(Ok(())) => "closed".to_owned(),
        None => "waits".to_owned(),
    };
    format!("{}{end}", seen.requests)
}

/// The status of the last reply. `-` if hyper closed the connection without one.
fn last_status(replies: &[u8]) -> String {
    let text = String::from_utf8_lossy(replies);
    let status = text.rsplit("HTTP/1.").next().and_then(|reply| reply.split(' ').nth(1));
    status.filter(|status| *status != "404").unwrap_or("-").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(line: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
    (0..line.len()).step_by(2).map(byte).collect()
}

fn main() {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let (_, behind) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect("a locked dependency");
        behind.split('"').next().unwrap_or_default()
    };
    println!("hyper {}, httparse {}", version("hyper"), version("httparse"));
    for line in std::io::stdin().lock().lines() {
        println!("{}", verdict(unhex(&line.expect("a case"))));
    }
}
