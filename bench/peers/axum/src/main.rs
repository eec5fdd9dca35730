//! Peer: axum on tokio's current-thread runtime.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

async fn ready(_body: Bytes) -> impl IntoResponse {
    ([("x-fc-status", "200")], "ready")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("FC_SERVER_PORT").map_or(Ok(9000), |port| port.parse())?;
    let app = Router::new()
        .route("/", get(ready))
        .route("/initialize", post(ready))
        .route("/invoke", post(ready))
        .route("/pre-freeze", get(ready))
        .route("/pre-stop", get(ready));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    let listener = listener.tap_io(|stream| {
        // Without it the reply is the same, but later.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}
