//! The listener: it takes the API at its own paths, the page below `/_fc/`, and everything else as HTTP triggers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::Platform;
use super::api;
use super::body::ReplyBody;
use super::fault::Fault;
use super::headers;
use super::page;
use super::refusals::Refusals;
use super::trigger;

/// A head that is larger is refused by the HTTP library itself. It is above the limit of the platform, so that callers
/// read the platform's own answer.
const HEAD_BUFFER_BYTES: usize = 128 * 1024;

/// Accepts connections for ever.
pub async fn listen(listener: TcpListener, platform: Arc<Platform>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let platform = platform.clone();
                tokio::spawn(async move {
                    // A broken connection is the client's affair.
                    if let Err(cause) = serve(stream, peer, platform).await {
                        tracing::debug!(%peer, "connection: {cause}");
                    }
                });
            }
            Err(cause) => {
                tracing::warn!("no connection can be accepted: {cause}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, platform: Arc<Platform>) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let shared = platform.shared.clone();
    let stream = Refusals::new(TokioIo::new(stream), move || shared.new_id());
    let service = service_fn(move |request| {
        let platform = platform.clone();
        async move { Ok::<_, std::convert::Infallible>(route(&platform, request, peer.ip()).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(HEAD_BUFFER_BYTES);
    builder.serve_connection(stream, service).with_upgrades().await
}

async fn route(platform: &Arc<Platform>, request: Request<Incoming>, peer: IpAddr) -> Response<ReplyBody> {
    let path = request.uri().path();
    if path == "/_fc" || path.starts_with("/_fc/") {
        return page::answer(platform, request).await;
    }
    if path.starts_with(api::ROOT) {
        return api::answer(platform, request).await;
    }
    trigger::answer(platform, request, peer).await
}

/// The answer of the platform in place of an instance.
pub fn refusal(fault: &Fault, id: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(fault.body(id)));
    *response.status_mut() = fault.status();
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(headers::REQUEST_ID, headers::value(id));
    if let Some(kind) = fault.error_type() {
        map.insert(headers::ERROR_TYPE, HeaderValue::from_static(kind));
    }
    response
}

/// Reads the whole body of a request, up to a limit.
///
/// # Errors
/// If it is longer, or breaks off.
pub async fn read(map: &HeaderMap, body: Incoming, max: usize) -> Result<Bytes, Fault> {
    let too_large = || Fault::BadRequest(format!("the body has more than {max} bytes"));
    let announced = map.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    match Limited::new(body, max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(too_large()),
        Err(cause) => Err(Fault::BadRequest(format!("the body broke off: {cause}"))),
    }
}
