//! Peer: a reverse proxy on hyper 1 and tokio's current-thread runtime; connections to the program are kept.
//!
//! It listens on the port FC_SERVER_PORT and passes every request on to HOST:PORT, its only argument.

use std::net::Ipv4Addr;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The headers that concern one connection and are not passed on.
const OF_ONE_CONNECTION: [HeaderName; 3] = [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

async fn pass(
    client: Client<HttpConnector, Incoming>,
    to: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder().scheme(Scheme::HTTP).authority(to).path_and_query(path).build()?;
    OF_ONE_CONNECTION.iter().for_each(|name| drop(request.headers_mut().remove(name)));
    let mut response = client.request(request).await?;
    OF_ONE_CONNECTION.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let port = std::env::var("FC_SERVER_PORT").map_or(Ok(9000), |port| port.parse())?;
    let to: Authority = std::env::args().nth(1).ok_or("expected HOST:PORT of the program")?.parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, to) = (client.clone(), to.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| pass(client.clone(), to.clone(), request));
            // A client that closes the connection is no error.
            let _ = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
