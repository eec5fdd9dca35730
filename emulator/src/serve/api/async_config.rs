//! How asynchronous calls are repeated, in the API: `PutAsyncInvokeConfig`, `GetAsyncInvokeConfig`,
//! `DeleteAsyncInvokeConfig` and `ListAsyncInvokeConfigs`. What is put holds until it is deleted or the emulator ends;
//! then the options hold again.

use std::time::{Duration, SystemTime};

use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiAnswer, ApiRequest, json_answer};
use crate::serve::Platform;
use crate::serve::body::ReplyBody;
use crate::serve::fault::Fault;
use crate::serve::function::Function;
use crate::serve::headers;
use crate::serve::tasks::book::AsyncPolicy;
use crate::serve::tasks::{self, AsyncConfig};

/// What a caller wants. A field that is missing has the platform's default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    async_task: Option<bool>,
    destination_config: Option<Destinations>,
    max_async_retry_attempts: Option<u32>,
    max_async_event_age_in_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Destinations {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Destination {
    destination: Option<String>,
}

impl Destination {
    fn url(one: Option<Self>, name: &str) -> Result<Option<String>, Fault> {
        let Some(text) = one.and_then(|one| one.destination).filter(|text| !text.is_empty()) else { return Ok(None) };
        let checked = tasks::check_url(&text);
        checked.map(Some).map_err(|rule| Fault::BadRequest(format!("`{name}.destination` is `{text}`: {rule}")))
    }
}

/// `PutAsyncInvokeConfig`.
pub(super) fn put(function: &Function, request: &ApiRequest) -> ApiAnswer {
    let wanted: Wanted = serde_json::from_slice(&request.body)
        .map_err(|cause| Fault::BadRequest(format!("the body is no configuration: {cause}")))?;
    let usual = AsyncPolicy::default();
    let retries = wanted.max_async_retry_attempts.unwrap_or(usual.retries);
    let age = wanted.max_async_event_age_in_seconds.unwrap_or(usual.event_age.as_secs());
    if retries > 8 {
        return Err(Fault::BadRequest("`maxAsyncRetryAttempts` must be a number from 0 to 8".to_owned()));
    }
    if !(1..=604_800).contains(&age) {
        return Err(Fault::BadRequest("`maxAsyncEventAgeInSeconds` must be a number from 1 to 604800".to_owned()));
    }
    let Destinations { on_success, on_failure } = wanted.destination_config.unwrap_or_default();
    let policy = AsyncPolicy {
        retries,
        event_age: Duration::from_secs(age),
        backoff: function.config.async_policy.backoff,
        on_success: Destination::url(on_success, "onSuccess")?,
        on_failure: Destination::url(on_failure, "onFailure")?,
    };
    let now = SystemTime::now();
    let created = function.tasks.config().map_or(now, |before| before.created);
    let config = AsyncConfig { policy, tasks: wanted.async_task.unwrap_or_default(), created, changed: now };
    function.tasks.configure(Some(config.clone()));
    Ok(json_answer(&shown(function, &config), &request.id))
}

/// `GetAsyncInvokeConfig`.
pub(super) fn get(function: &Function, request: &ApiRequest) -> ApiAnswer {
    let config = function.tasks.config().ok_or_else(|| Fault::NotFound {
        code: "AsyncConfigNotExists",
        text: format!("no configuration was put for {}: the options of the emulator hold", function.config.name),
    })?;
    Ok(json_answer(&shown(function, &config), &request.id))
}

/// `DeleteAsyncInvokeConfig`.
pub(super) fn delete(function: &Function, request: &ApiRequest) -> ApiAnswer {
    function.tasks.configure(None);
    let mut response = Response::new(ReplyBody::whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(&request.id));
    Ok(response)
}

/// `ListAsyncInvokeConfigs`.
pub(super) fn list(platform: &Platform, request: &ApiRequest) -> ApiAnswer {
    let wanted = request.parameter("functionName");
    let functions = platform.functions.values().filter(|one| wanted.is_none_or(|name| name == one.config.name));
    let configs: Vec<Value> =
        functions.filter_map(|function| Some(shown(function, &function.tasks.config()?))).collect();
    Ok(json_answer(&json!({"configs": configs}), &request.id))
}

fn shown(function: &Function, config: &AsyncConfig) -> Value {
    let AsyncPolicy { retries, event_age, on_success, on_failure, .. } = &config.policy;
    let to = |url: &Option<String>| url.as_ref().map(|url| json!({"destination": url}));
    json!({
        "functionArn": format!("acs:fc:local:0:functions/{}", function.config.name),
        "asyncTask": config.tasks,
        "maxAsyncRetryAttempts": retries,
        "maxAsyncEventAgeInSeconds": event_age.as_secs(),
        "destinationConfig": {"onSuccess": to(on_success), "onFailure": to(on_failure)},
        "createdTime": tasks::date(config.created),
        "lastModifiedTime": tasks::date(config.changed),
    })
}
