//! Takes an asynchronous call in, from the API or from an HTTP trigger.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Response, StatusCode};

use super::book::Task;
use super::{ASYNC_BYTES_MAX, DELAY_MAX, enqueue, now};
use crate::serve::body::ReplyBody;
use crate::serve::fault::Fault;
use crate::serve::function::Function;
use crate::serve::headers;

const TASK_ID: HeaderName = HeaderName::from_static("x-fc-async-task-id");
const DELAY: HeaderName = HeaderName::from_static("x-fc-async-delay");

/// The id of a call: 1 to 255 visible characters of ASCII.
fn is_task_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Accepts a call, and answers with 202 when it is stored. `add` adds what only its caller knows.
///
/// # Errors
/// If the call breaks a rule, or cannot be stored.
pub fn accept(
    function: &Arc<Function>,
    request: &str,
    map: &HeaderMap,
    body: Bytes,
    add: impl FnOnce(&mut Task),
) -> Result<Response<ReplyBody>, Fault> {
    let header = |name: &HeaderName| map.get(name).map(|value| value.to_str().unwrap_or_default());
    if body.len() > ASYNC_BYTES_MAX {
        let size = body.len();
        let text = format!("the body has {size} bytes, more than {ASYNC_BYTES_MAX} for an asynchronous call");
        return Err(Fault::BadRequest(text));
    }
    let id = match header(&TASK_ID) {
        None => request.to_owned(),
        Some(id) if is_task_id(id) => id.to_owned(),
        Some(_) => {
            let rule = "1 to 255 visible characters of ASCII without `/`";
            return Err(Fault::BadRequest(format!("the header {TASK_ID} holds no id: expected {rule}")));
        }
    };
    let delay = match header(&DELAY).map(str::parse::<u64>) {
        None => Duration::ZERO,
        Some(Ok(secs)) if secs <= DELAY_MAX.as_secs() => Duration::from_secs(secs),
        Some(_) => {
            let text = format!("the header {DELAY} holds no delay: expected 0 to {} seconds", DELAY_MAX.as_secs());
            return Err(Fault::BadRequest(text));
        }
    };
    let mut task = Task::new(id.clone(), request.to_owned(), body, now(), delay);
    add(&mut task);
    enqueue(function, task)?;
    let mut response = Response::new(ReplyBody::whole(""));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(request));
    response.headers_mut().insert(TASK_ID, headers::value(&id));
    Ok(response)
}
