//! Asynchronous calls in the API: `InvokeFunction` with the type `Async`, `GetAsyncTask`, `ListAsyncTasks` and
//! `StopAsyncTask`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ApiAnswer, ApiRequest, json_answer};
use crate::serve::fault::Fault;
use crate::serve::function::Function;
use crate::serve::tasks;
use crate::serve::tasks::book::{Delivery, Stop, Task};

/// Accepts one asynchronous invocation.
pub(super) fn accept(function: &Arc<Function>, request: ApiRequest) -> ApiAnswer {
    let qualifier = request.parameter("qualifier").map(str::to_owned);
    tasks::accept(function, &request.id, &request.parts.headers, request.body.clone(), |task| {
        task.qualifier = qualifier
    })
}

fn unknown(id: &str) -> Fault {
    Fault::NotFound { code: "AsyncTaskNotFound", text: format!("there is no asynchronous call with the id {id}") }
}

/// One call.
pub(super) fn get(function: &Function, request: &ApiRequest, id: &str) -> ApiAnswer {
    let task = function.tasks.look(|book| book.get(id).map(|task| shown(function, task, true)));
    task.map(|task| json_answer(&task, &request.id)).ok_or_else(|| unknown(id))
}

/// Stops a call.
pub(super) fn stop(function: &Function, request: &ApiRequest, id: &str) -> ApiAnswer {
    match tasks::stop(function, id) {
        Stop::Unknown => Err(unknown(id)),
        Stop::Finished => {
            let text = format!("the asynchronous call {id} has ended already");
            Err(Fault::Conflict { code: "AsyncTaskFinished", text })
        }
        Stop::Done | Stop::Running => Ok(json_answer(&json!({}), &request.id)),
    }
}

/// Some calls, newest first unless the caller asks otherwise.
pub(super) fn list(function: &Function, request: &ApiRequest) -> ApiAnswer {
    let limit = request.limit()?;
    let from = match request.parameter("nextToken").filter(|token| !token.is_empty()).map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return Err(Fault::BadRequest("`nextToken` is none that a list has returned".to_owned())),
    };
    let ascending = match request.parameter("sortOrderByTime").unwrap_or("desc") {
        "asc" => true,
        "desc" => false,
        _ => return Err(Fault::BadRequest("`sortOrderByTime` must be asc or desc".to_owned())),
    };
    let with_payload = request.parameter("includePayload").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_wanted = |task: &Task| {
        let has = |name: &str, value: &str| request.parameter(name).is_none_or(|wanted| wanted == value);
        let prefix = request.parameter("prefix").is_none_or(|prefix| task.id.starts_with(prefix));
        prefix && has("status", task.status.name()) && has("qualifier", task.qualifier.as_deref().unwrap_or("LATEST"))
    };
    let answer = function.tasks.look(|book| {
        let mut all: Vec<&Task> = book.all().into_iter().filter(|task| is_wanted(task)).collect();
        if !ascending {
            all.reverse();
        }
        let more = all.len() > from.saturating_add(limit);
        let page = all.into_iter().skip(from).take(limit).map(|task| shown(function, task, with_payload));
        let mut answer = json!({"tasks": page.collect::<Vec<_>>()});
        if more {
            answer["nextToken"] = json!((from + limit).to_string());
        }
        answer
    });
    Ok(json_answer(&answer, &request.id))
}

fn shown(function: &Function, task: &Task, with_payload: bool) -> Value {
    let events = (1..).zip(&task.events).map(|(number, event)| {
        json!({
            "eventId": number, "status": event.status.name(), "eventDetail": event.detail, "timestamp": event.at,
        })
    });
    let name = &function.config.name;
    let mut shown = json!({
        "taskId": task.id,
        "requestId": task.request,
        "functionArn": format!("acs:fc:local:0:functions/{name}"),
        "qualifier": task.qualifier.as_deref().unwrap_or("LATEST"),
        "status": task.status.name(),
        "startedTime": task.started.unwrap_or(task.enqueued),
        "alreadyRetriedTimes": task.retries(),
        "events": events.collect::<Vec<_>>(),
    });
    if let Some(ended) = task.ended {
        shown["endTime"] = json!(ended);
        shown["durationMs"] = json!(ended.saturating_sub(task.started.unwrap_or(ended)));
    }
    if let Some(instance) = &task.instance {
        shown["instanceId"] = json!(instance);
    }
    if let Some(error) = &task.error {
        shown["taskErrorMessage"] = json!(error);
    }
    if let Some(delivery) = task.destination {
        let text = match delivery {
            Delivery::Pending => "Pending",
            Delivery::Succeeded => "Succeeded",
            Delivery::Failed => "Failed",
        };
        shown["destinationStatus"] = json!(text);
    }
    if with_payload {
        shown["taskPayload"] = json!(String::from_utf8_lossy(&task.payload));
        shown["returnPayload"] = json!(String::from_utf8_lossy(&task.result));
    }
    shown
}
