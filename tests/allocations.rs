//! After warm-up, a request with a static reply costs no heap allocation.
//!
//! The server runs on a thread of this very process, and the allocator counts what that thread allocates. There is only
//! one test: the server takes over the signals of the process, and a signal stops it.
#![allow(unsafe_code)]

mod support;

use fc_hooks::{App, Config, Route, Server};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use support::client::Client;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the threads that are watched.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that is ending has no thread-local variables any more.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

static APP: App<()> = App::new(&[
    Route::invoke(|_, _, _| Ok("event".into())),
    Route::get("/static", |_, _, _| Ok("static".into())),
    Route::get("/large", |_, _, _| Ok((&[b'x'; 100_000][..]).into())),
    Route::get("/owned", |_, _, _| Ok(String::from("owned").into())),
]);

/// Sends a request many times over one connection, and returns how many allocations the server made meanwhile.
fn allocations(client: &mut Client, request: &[u8], body_bytes: usize, times: usize) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..times {
        client.send(request);
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.len()), (200, body_bytes));
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_static_reply_allocates_nothing() {
    let (address_sender, address) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut config = Config::default();
        config.listen = "127.0.0.1:0".parse().expect("an address");
        // Log markers would mix with the output of the test.
        config.call_markers = false;
        let server = Server::bind(config).expect("a free port");
        address_sender.send(server.address().to_string()).expect("the test waits");
        WATCHED.set(true);
        server.run(&APP, ()).expect("a kernel that can wait");
        WATCHED.set(false);
    });
    let address = address.recv_timeout(support::PATIENCE).expect("the server listens");
    let stream = TcpStream::connect(&address).expect("a connection");
    let mut client = Client::tcp(stream, Arc::default());
    let platform = "host: a\r\nx-fc-request-id: 1-2-3\r\nx-fc-control-path: ";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{platform}/http-invoke\r\n\r\n").into_bytes();
    let event =
        format!("POST /invoke HTTP/1.1\r\n{platform}/invoke\r\ncontent-length: 9\r\n\r\nthe event").into_bytes();
    let cases = [("GET", get("/static"), 6), ("event", event, 5), ("large GET", get("/large"), 100_000)];
    for (name, request, body_bytes) in &cases {
        let warm_up = allocations(&mut client, request, *body_bytes, 100);
        let steady = allocations(&mut client, request, *body_bytes, 1000);
        fc_testkit::say(format_args!(
            "allocations, {name}: {warm_up} in 100 requests of warm-up, {steady} in the 1000 after it"
        ));
        assert_eq!(steady, 0, "{name}");
    }
    assert!(allocations(&mut client, &get("/owned"), 5, 10) >= 10, "the counter counts");
    // SAFETY: raise takes a number, and the server has a handler for this signal.
    assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
    server.join().expect("the server stops in order");
}
