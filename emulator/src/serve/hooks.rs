//! The calls that the platform makes for itself: hooks and health checks.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use super::config::{FunctionConfig, HealthRequest};
use super::exchange;
use super::worker::Worker;
use crate::clock::seconds;
use crate::platform::{Generation, Hook};

/// The answer of a hook is read up to this size.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The host name in requests that no client made.
pub const HOST_VALUE: HeaderValue = HeaderValue::from_static("function.invalid");

/// The client in requests that no client made.
pub const AGENT: HeaderValue = HeaderValue::from_static("Go-http-client/1.1");

/// Calls a hook.
///
/// # Errors
/// If it fails or takes too long, with the cause in words.
pub async fn call(worker: &Worker, config: &FunctionConfig, hook: Hook) -> Result<(), String> {
    let (mut headers, id) = worker.hook_headers(hook, config);
    headers.insert(HOST, HOST_VALUE);
    headers.insert(USER_AGENT, AGENT);
    let method = if hook == Hook::Initialize { Method::POST } else { Method::GET };
    if method == Method::POST {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = method;
    *request.uri_mut() = hyper::Uri::from_static(hook.path());
    *request.headers_mut() = headers;
    worker.call_began(&id);
    let answer = exchange(worker, request, config.setup.limits.of(hook)).await;
    worker.call_ended(&id);
    let (status, body) = answer?;
    if is_success(status, config.setup.settings.generation) {
        return Ok(());
    }
    Err(message(&body).unwrap_or_else(|| format!("{} {} was answered with {status}", hook.method(), hook.path())))
}

/// FC 2.0 takes 200 for a success, FC 3.0 every 2xx (C-STAT-1).
fn is_success(status: StatusCode, generation: Generation) -> bool {
    match generation {
        Generation::Fc2 => status == StatusCode::OK,
        Generation::Fc3 => status.is_success(),
    }
}

/// The message in the body of a failed call (C-INV-5).
fn message(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    json.get("errorMessage").and_then(|text| text.as_str()).map(str::to_owned)
}

/// Checks the health of an instance (C-HLT-2).
///
/// # Errors
/// If it is not healthy, with the cause in words.
pub async fn check(worker: &Worker, health: &HealthRequest) -> Result<(), String> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = health.path.parse().map_err(|cause| format!("the path of the health check: {cause}"))?;
    request.headers_mut().insert(HOST, HOST_VALUE);
    request.headers_mut().insert(USER_AGENT, AGENT);
    let (status, _) = exchange(worker, request, health.timeout).await?;
    match status.as_u16() {
        200..400 => Ok(()),
        other => Err(format!("GET {} was answered with {other}", health.path)),
    }
}

async fn exchange(
    worker: &Worker,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let whole = async {
        let (response, sender) = exchange::send(worker, request).await.map_err(|broken| broken.0)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|cause| cause.to_string())?.to_bytes();
        worker.pool().push(sender);
        Ok((status, body))
    };
    match tokio::time::timeout(limit, whole).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", seconds(limit))),
    }
}
