//! A server whose trouble shows under load: `uneven WHAT`, one thread per connection, on port `FC_SERVER_PORT`. Further
//! words are for whoever looks for its process.
//!
//! It answers every request with `ready`, apart from what it is told to do wrong:
//!
//! - `plain`: nothing.
//! - `stalls`: for the first half of every 400 ms it answers nobody.
//! - `resets`: the tenth request of every connection is answered with a reset.
//! - `breaks`: after 600 requests, every one is.
//! - `hangs`: after 100 requests, none is answered.
//! - `closes`: it closes connections after their reply, without a word.
//! - `keeps`: it closes none, whatever the request says.

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
    let what = std::env::args().nth(1).unwrap_or_default();
    if !["plain", "stalls", "resets", "breaks", "hangs", "closes", "keeps"].contains(&what.as_str()) {
        eprintln!("usage: uneven plain|stalls|resets|breaks|hangs|closes|keeps");
        exit(2);
    }
    let what: &'static str = what.leak();
    let port = std::env::var("FC_SERVER_PORT").ok().and_then(|port| port.parse().ok()).expect("FC_SERVER_PORT is set");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    let start = Instant::now();
    // A connection that was given up before it was accepted is no affair of ours.
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let _ = serve(&stream, what, start);
        });
    }
}

fn serve(stream: &TcpStream, what: &str, start: Instant) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    for of_connection in 1.. {
        let Some(asked_to_close) = read_request(&mut reader)? else { break };
        let earlier = REQUESTS.fetch_add(1, Ordering::Relaxed);
        match what {
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
        if what == "closes" || (asked_to_close && what != "keeps") {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the request asks for the connection's end; `None` at the connection's end itself.
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
