//! `InvokeFunction`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::{ApiAnswer, ApiRequest, tasks};
use crate::serve::body::ReplyBody;
use crate::serve::call::{self, Outgoing};
use crate::serve::config::Affinity;
use crate::serve::fault::Fault;
use crate::serve::function::Function;
use crate::serve::trigger;
use crate::serve::{gateway, headers};

const LOG_RESULT: HeaderName = HeaderName::from_static("x-fc-log-result");
const CODE_VERSION: HeaderName = HeaderName::from_static("x-fc-invocation-code-version");

/// The container may print the last lines of a call a moment after its answer.
const LOG_LOOKS: u32 = 10;
const LOG_LOOK_PAUSE: Duration = Duration::from_millis(3);

/// Answers one invocation.
pub(super) async fn answer(function: &Arc<Function>, request: ApiRequest) -> ApiAnswer {
    match request.header("x-fc-invocation-type").unwrap_or("Sync") {
        "Sync" => at_once(function, request).await,
        "Async" => tasks::accept(function, request),
        other => Err(Fault::BadRequest(format!("the invocation type is {other}, expected Sync or Async"))),
    }
}

async fn at_once(function: &Arc<Function>, request: ApiRequest) -> ApiAnswer {
    let wants_log = match request.header("x-fc-log-type").unwrap_or("None") {
        "None" => false,
        "Tail" => true,
        other => return Err(Fault::BadRequest(format!("the log type is {other}, expected None or Tail"))),
    };
    let session = trigger::session_of(&function.config.affinity, &request.parts.headers)?;
    let mut outgoing = Outgoing::event(request.id.clone(), "event", request.body.clone());
    outgoing.qualifier = request.parameter("qualifier").map(str::to_owned);
    outgoing.session = session.name;
    if let Affinity::Header(name) = &function.config.affinity
        && let (Ok(name), Some(session)) = (HeaderName::from_bytes(name.as_bytes()), &outgoing.session)
    {
        outgoing.headers.insert(name, headers::value(session));
    }
    let id = request.id;
    let answered = call::perform(function, outgoing).await;
    let mut response = match answered {
        Ok(answer) => {
            let failed = answer.has_failed();
            // The lease ends with the body, so the log is read after it.
            let body = answer.body.collect().await;
            let body = body.map_err(|cause| Fault::BadResponse(format!("the response broke off: {cause}")))?;
            let mut response = Response::new(ReplyBody::whole(body.to_bytes()));
            let map = response.headers_mut();
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            map.insert(headers::REQUEST_ID, headers::value(&id));
            if failed {
                map.insert(headers::ERROR_TYPE, HeaderValue::from_static("UnhandledInvocationError"));
            }
            response
        }
        Err(fault) => gateway::refusal(&fault, &id),
    };
    response.headers_mut().insert(CODE_VERSION, HeaderValue::from_static("LATEST"));
    if wants_log {
        let tail = tail(function, &id).await;
        response.headers_mut().insert(LOG_RESULT, headers::value(&STANDARD.encode(tail)));
    }
    if let Some((name, value)) = session.announce {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

async fn tail(function: &Function, id: &str) -> String {
    let logs = &function.shared.logs;
    for _ in 0..LOG_LOOKS {
        if logs.has_ended(id) == Some(true) {
            break;
        }
        tokio::time::sleep(LOG_LOOK_PAUSE).await;
    }
    logs.tail(id)
}
