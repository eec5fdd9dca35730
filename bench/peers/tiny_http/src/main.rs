//! Peer: tiny_http 0.12, one loop that receives and answers. tiny_http has an accept thread and workers of its own.

use std::io;

use tiny_http::{Header, Response, Server};

fn main() {
    let port = std::env::var("FC_SERVER_PORT").unwrap_or_else(|_| "9000".into());
    let server = Server::http(format!("0.0.0.0:{port}")).expect("the port is free");
    let status: Header = "x-fc-status: 200".parse().expect("a header");
    let kind: Header = "content-type: text/plain; charset=utf-8".parse().expect("a header");
    for mut request in server.incoming_requests() {
        let read = io::copy(request.as_reader(), &mut io::sink());
        let response = Response::from_data("ready").with_header(status.clone()).with_header(kind.clone());
        if read.is_ok() {
            // A client that is gone needs no answer.
            let _ = request.respond(response);
        }
    }
}
