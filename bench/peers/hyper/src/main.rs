//! Peer: hyper 1 on tokio's current-thread runtime, HTTP/1 only.

use std::net::Ipv4Addr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn ready(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Error> {
    request.into_body().collect().await?;
    let response = Response::builder()
        .header("x-fc-status", "200")
        .header("content-type", "text/plain; charset=utf-8")
        .body(Full::new(Bytes::from_static(b"ready")))?;
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let port = std::env::var("FC_SERVER_PORT").map_or(Ok(9000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that closes the connection is no error.
            let _ = http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service_fn(ready))
                .await;
        });
    }
}
