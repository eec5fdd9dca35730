//! One request to an instance and the head of its answer, on a connection that is kept for the next one (C-CONN-1).

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::worker::{Sender1, Worker};

/// Why there is no answer, in words.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// Sends a request. On a kept connection that turns out to be closed it is sent again, if the instance cannot have seen
/// it, or if its method may be repeated (C-CONN-2).
///
/// # Errors
/// If the instance accepts no connection, breaks it, or does not answer by HTTP.
pub async fn send(worker: &Worker, mut request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Sender1), Broken> {
    let repeatable = request.method().is_safe();
    loop {
        let kept = take(worker).await;
        let reused = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(worker).await?,
        };
        let copy = (reused && repeatable).then(|| request.clone());
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((response, sender)),
            Err(mut failed) => {
                let unsent = failed.take_message().filter(|_| reused);
                let Some(again) = unsent.or(copy.filter(|_| is_broken(failed.error()))) else {
                    return Err(Broken(describe(failed.error())));
                };
                request = again;
            }
        }
    }
}

/// A kept connection that is not known to be closed.
async fn take(worker: &Worker) -> Option<Sender1> {
    loop {
        let mut sender = worker.pool().pop()?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

async fn connect(worker: &Worker) -> Result<Sender1, Broken> {
    let stream = TcpStream::connect(worker.addr()).await.map_err(|cause| Broken(format!("no connection: {cause}")))?;
    stream.set_nodelay(true).map_err(|cause| Broken(cause.to_string()))?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.title_case_headers(true);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|cause| Broken(describe(&cause)))?;
    // It ends with the sender, or when the instance closes it.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

fn is_broken(cause: &hyper::Error) -> bool {
    cause.is_incomplete_message() || cause.is_closed() || cause.is_canceled() || {
        let source = std::error::Error::source(cause);
        source.is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
    }
}

/// The cause in words, with its own cause.
pub fn describe(cause: &hyper::Error) -> String {
    match std::error::Error::source(cause) {
        Some(source) => format!("{cause}: {source}"),
        None => cause.to_string(),
    }
}
