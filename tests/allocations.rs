//! After warm-up, a request with a static reply costs no heap allocation.
//!
//! The server runs on a thread of this very process, and the allocator counts what that thread allocates. There is only
//! one test: the server takes over the signals of the process, and a signal stops it.
#![allow(unsafe_code)]

#[path = "support/counting.rs"]
mod counting;
mod support;

use counting::{WATCHED, allocations};
use fc_hooks::{App, Config, Route, Server};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use support::client::Client;

static APP: App<()> = App::new(&[
    Route::invoke(|_, _, _| Ok("event".into())),
    Route::get("/static", |_, _, _| Ok("static".into())),
    Route::get("/large", |_, _, _| Ok((&[b'x'; 100_000][..]).into())),
    Route::get("/owned", |_, _, _| Ok(String::from("owned").into())),
]);

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
