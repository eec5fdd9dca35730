//! Peer: the echo of hyper 1 on tokio's current-thread runtime. `ECHO=stream` sends each piece of the body back as it
//! comes; otherwise the whole body is collected first.

use std::net::Ipv4Addr;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn echo(request: Request<Incoming>, streams: bool) -> Result<Response<BoxBody<Bytes, Error>>, Error> {
    let body = request.into_body();
    let body = if streams {
        body.map_err(Error::from).boxed()
    } else {
        Full::new(body.collect().await?.to_bytes()).map_err(Error::from).boxed()
    };
    let response = Response::builder()
        .header("x-fc-status", "200")
        .header("content-type", "application/octet-stream")
        .body(body)?;
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let port = std::env::var("FC_SERVER_PORT").map_or(Ok(9000), |port| port.parse())?;
    let streams = std::env::var("ECHO").is_ok_and(|how| how == "stream");
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that closes the connection is no error.
            let _ = http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service_fn(|request| echo(request, streams)))
                .await;
        });
    }
}
