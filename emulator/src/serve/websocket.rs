//! WebSocket and other upgrades: passed through, as one call for the whole life of the connection (C-CONN-4).

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::body::ReplyBody;
use super::call::{self, Outgoing};
use super::fault::Fault;
use super::function::Function;
use super::headers;

/// What a client asks for.
pub struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// Whether a client asks for another protocol.
pub fn asked_for(request: &mut Request<Incoming>) -> Option<Upgrade> {
    let protocol = request.headers().get(UPGRADE)?.clone();
    let connection = request.headers().get(CONNECTION)?.to_str().ok()?.to_ascii_lowercase();
    connection.split(',').any(|option| option.trim() == "upgrade").then(|| {
        let client = hyper::upgrade::on(request);
        Upgrade { protocol, client }
    })
}

/// Sends the request, and joins both connections if the instance agrees.
///
/// # Errors
/// If there is no answer of an instance.
pub async fn pass_through(
    function: &Arc<Function>,
    outgoing: Outgoing,
    upgrade: Upgrade,
) -> Result<Response<ReplyBody>, Fault> {
    let id = outgoing.id.clone();
    let answer = call::perform_upgrade(function, outgoing, upgrade.protocol).await?;
    let mut response = Response::new(ReplyBody::whole(""));
    *response.status_mut() = answer.response.status();
    *response.headers_mut() = headers::for_caller(answer.response.headers());
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(&id));
    if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = http_body_util::BodyExt::collect(answer.response.into_body()).await;
        let body = body.map_err(|cause| Fault::BadResponse(cause.to_string()))?.to_bytes();
        *response.body_mut() = ReplyBody::whole(body);
        answer.ticket.close(function, response.status().as_u16(), None);
        return Ok(response);
    }
    for name in [UPGRADE, CONNECTION] {
        if let Some(value) = answer.response.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let function = function.clone();
    tokio::spawn(async move {
        let (lease, ticket) = (answer.lease, answer.ticket);
        let joined = async {
            let instance = hyper::upgrade::on(answer.response).await.map_err(|cause| cause.to_string())?;
            let client = upgrade.client.await.map_err(|cause| cause.to_string())?;
            let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
            let copied = tokio::io::copy_bidirectional(&mut client, &mut instance).await;
            copied.map(drop).map_err(|cause| cause.to_string())
        };
        let ended = joined.await;
        drop(lease);
        // A connection that one side just drops is no error of the call.
        if let Err(why) = ended {
            tracing::debug!(function = function.config.name, "upgraded connection: {why}");
        }
        ticket.close(&function, StatusCode::SWITCHING_PROTOCOLS.as_u16(), None);
    });
    Ok(response)
}
