//! A server whose fault shows under load: `uneven FAULT`, with one thread for each connection, on port
//! `FC_SERVER_PORT`. It ignores more arguments, by which a test can find its process.
//!
//! It answers every request with `ready`, apart from its fault:
//!
//! - `plain`: it has no fault.
//! - `stalls`: it answers nothing in the first half of every 400 ms.
//! - `resets`: it answers the tenth request of every connection with a reset.
//! - `breaks`: after 600 requests it answers every request with a reset.
//! - `hangs`: after 100 requests it answers no request.
//! - `closes`: it closes connections after their reply, and the reply does not announce it.
//! - `keeps`: it closes no connection, even if the request asks for it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

const STALL: Duration = Duration::from_millis(200);
const PERIOD: Duration = Duration::from_millis(400);

static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn main() {
    let fault = std::env::args().nth(1).unwrap_or_default();
    if !["plain", "stalls", "resets", "breaks", "hangs", "closes", "keeps"].contains(&fault.as_str()) {
        eprintln!("usage: uneven plain|stalls|resets|breaks|hangs|closes|keeps");
        exit(2);
    }
    let fault: &'static str = fault.leak();
    let port = std::env::var("FC_SERVER_PORT").ok().and_then(|port| port.parse().ok()).expect("FC_SERVER_PORT is set");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    let start = Instant::now();
    // The client may have closed the connection before we accepted it.
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let _ = serve(&stream, fault, start);
        });
    }
}

fn serve(stream: &TcpStream, fault: &str, start: Instant) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    for of_connection in 1.. {
        let Some(asked_to_close) = read_request(&mut reader)? else { break };
        let earlier = REQUESTS.fetch_add(1, Ordering::Relaxed);
        match fault {
            "stalls" => {
                let phase = start.elapsed().as_millis() as u64 % PERIOD.as_millis() as u64;
                std::thread::sleep(STALL.saturating_sub(Duration::from_millis(phase)));
            }
            "resets" if of_connection == 10 => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            "breaks" if earlier >= 600 => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            "hangs" if earlier >= 100 => std::thread::park(),
            _ => {}
        }
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready")?;
        if fault == "closes" || (asked_to_close && fault != "keeps") {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request. Returns whether it asks to close the connection, or `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<bool>> {
    let (mut body_bytes, mut asked_to_close, mut line) = (0, false, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let lower = line.trim_end().to_ascii_lowercase();
        match lower.split_once(": ") {
            Some(("content-length", value)) => body_bytes = value.parse().unwrap_or(0),
            Some(("connection", value)) => asked_to_close = value == "close",
            _ if lower.is_empty() => break,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; body_bytes])?;
    Ok(Some(asked_to_close))
}
