//! After warm-up, a call that the adapter passes through costs no heap allocation.
//!
//! The adapter runs on a thread of this very process, and the allocator counts what that thread allocates; the test
//! plays the program's side. There is only one test: the adapter takes over the signals and the children of the
//! process, and a signal stops it.
#![cfg(all(not(fc_hooks_poll), feature = "adapter"))]
#![allow(unsafe_code)]

#[path = "support/counting.rs"]
mod counting;
mod support;

use counting::{ALLOCATIONS, WATCHED, allocations};
use fc_hooks::Config;
use fc_hooks::adapter::{Settings, run};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::client::{Client, request};

/// More than one read of the adapter's.
const LARGE: usize = 200_000;

/// Serves one connection: every request is answered as its path says.
fn program(stream: TcpStream) {
    let (mut stream, mut pending) = (stream, Vec::new());
    let mut buffer = [0; 64 * 1024];
    loop {
        let Some(end) = pending.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            match std::io::Read::read(&mut stream, &mut buffer) {
                Ok(count) if count > 0 => pending.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8_lossy(&pending[..end]).into_owned();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while pending.len() < end + length {
            match std::io::Read::read(&mut stream, &mut buffer) {
                Ok(count) if count > 0 => pending.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        pending.drain(..end + length);
        let reply: Vec<u8> = match head.split(' ').nth(1) {
            Some("/large") => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
                [head.as_bytes(), &vec![b'x'; LARGE]].concat()
            }
            Some("/chunked") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(),
            _ => b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 5\r\n\r\nhello".into(),
        };
        if std::io::Write::write_all(&mut stream, &reply).is_err() {
            return;
        }
    }
}

#[test]
fn a_call_that_passes_through_allocates_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let app = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            std::thread::spawn(move || program(stream));
        }
    });
    let folder = support::temp_dir();
    let path = folder.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let adapter = std::thread::spawn(move || {
        let mut config = Config::default();
        config.listen = listen.parse().expect("an address");
        config.call_markers = false;
        let mut settings = Settings::default();
        settings.set("app", &app).expect("an address");
        WATCHED.set(true);
        let code = run(config, settings, vec![c"sleep".into(), c"1000".into()]);
        WATCHED.set(false);
        code
    });
    let mut stream = None;
    support::wait_until("the adapter listens", || {
        stream = UnixStream::connect(&path).ok();
        stream.is_some() || adapter.is_finished()
    });
    let mut client = Client::unix(stream.expect("the adapter runs"), Arc::default());
    let from_platform = |path| [("x-fc-request-id", "1-2-3"), ("x-fc-control-path", path)];
    let http = from_platform("/http-invoke");
    let event = request("POST", "/invoke", &from_platform("/invoke"), b"the event");
    let cases = [
        ("GET", request("GET", "/small", &http, b""), 5),
        ("event", event, 5),
        ("large reply", request("GET", "/large", &http, b""), LARGE),
        ("large request", request("PUT", "/put", &http, &support::pattern(LARGE)), 5),
        ("chunked reply", request("GET", "/chunked", &http, b""), 5),
    ];
    for (name, request, body_bytes) in &cases {
        let warm_up = allocations(&mut client, request, *body_bytes, 100);
        let steady = allocations(&mut client, request, *body_bytes, 1000);
        fc_testkit::say(format_args!(
            "allocations of the adapter, {name}: {warm_up} in 100 calls of warm-up, {steady} in the 1000 after it"
        ));
        assert_eq!(steady, 0, "{name}");
    }
    // A connection is an allocation at least, so the counter counts.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut others: Vec<Client> = Vec::new();
    for _ in 0..20 {
        let stream = UnixStream::connect(&path).expect("a connection");
        others.push(Client::unix(stream, Arc::default()));
        others.last_mut().expect("it was pushed").send("GET /par");
    }
    assert_eq!(client.get("/small").status, 200);
    support::wait_until("the counter counts", || ALLOCATIONS.load(Ordering::Relaxed) > before);
    // SAFETY: raise takes a number, and the adapter has a handler for this signal.
    assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
    adapter.join().expect("the adapter stops in order");
}
