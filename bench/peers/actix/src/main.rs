//! Peer: actix-web with one worker.

use std::net::Ipv4Addr;
use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpServer, Responder};

async fn ready(_body: Bytes) -> impl Responder {
    "ready".customize().insert_header(("x-fc-status", "200"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("FC_SERVER_PORT").map_or(Ok(9000), |port| port.parse())?;
    let app = || {
        App::new()
            .route("/", web::get().to(ready))
            .route("/initialize", web::post().to(ready))
            .route("/invoke", web::post().to(ready))
            .route("/pre-freeze", web::get().to(ready))
            .route("/pre-stop", web::get().to(ready))
    };
    // The default closes idle connections after 5 s, which the platform's contract forbids (C-CONN-1).
    let server = HttpServer::new(app).workers(1).tcp_nodelay(true).keep_alive(Duration::from_secs(900));
    Ok(server.bind((Ipv4Addr::UNSPECIFIED, port))?.run().await?)
}
