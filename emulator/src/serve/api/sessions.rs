//! Sessions in the API: `CreateSession`, `GetSession`, `ListSessions`, `UpdateSession`, `DeleteSession`, `PauseSession`
//! and `ResumeSession`.
//!
//! A pause freezes the instance of the session, and no call thaws it. With a freezer that saves a virtual machine, the
//! frozen instance is a snapshot.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiAnswer, ApiRequest, json_answer};
use crate::serve::body::ReplyBody;
use crate::serve::config::Affinity;
use crate::serve::core::{Event, Session, SessionTimes, Time};
use crate::serve::fault::Fault;
use crate::serve::function::Function;
use crate::serve::trigger::{is_session, new_session};
use crate::serve::{headers, tasks};

/// A session lives, and lives without a call, for at most this time in seconds (C-SES-3).
const LIFE_MAX: u64 = 21_600;

/// What a caller says of a session. Fields that mean nothing on one machine are not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    session_id: Option<String>,
    #[serde(rename = "sessionTTLInSeconds")]
    life: Option<u64>,
    #[serde(rename = "sessionIdleTimeoutInSeconds")]
    idle: Option<u64>,
    enable_auto_resume: Option<bool>,
}

impl Wanted {
    fn read(request: &ApiRequest) -> Result<Self, Fault> {
        let wanted: Self = match request.body.is_empty() {
            true => Self::default(),
            false => serde_json::from_slice(&request.body)
                .map_err(|cause| Fault::BadRequest(format!("the body describes no session: {cause}")))?,
        };
        for (name, secs, least) in
            [("sessionTTLInSeconds", wanted.life, 1), ("sessionIdleTimeoutInSeconds", wanted.idle, 0)]
        {
            if secs.is_some_and(|secs| !(least..=LIFE_MAX).contains(&secs)) {
                return Err(Fault::BadRequest(format!("`{name}` must be a number from {least} to {LIFE_MAX}")));
            }
        }
        Ok(wanted)
    }

    fn times(&self) -> SessionTimes {
        SessionTimes {
            life: self.life.map(Duration::from_secs),
            idle: self.idle.map(Duration::from_secs),
            resumes_by_call: self.enable_auto_resume,
        }
    }
}

/// `CreateSession`. No instance is started: the first call of the session does that.
pub(super) fn create(function: &Arc<Function>, request: &ApiRequest) -> ApiAnswer {
    let wanted = Wanted::read(request)?;
    let name = wanted.session_id.clone().unwrap_or_else(new_session);
    if !is_session(&name) {
        return Err(Fault::BadRequest("`sessionId` must be 1 to 64 letters, digits, `_` and `-`".to_owned()));
    }
    let made = function.change(|scheduler, now| match scheduler.sessions().contains_key(&name) {
        true => Err(Fault::Conflict {
            code: "SessionAlreadyExists",
            text: format!("there is a session with the id {name} already"),
        }),
        false => Ok(scheduler.set_session(&name, now, &wanted.times())),
    })?;
    if !made {
        let text = "the function has no sessions: serve it with `--session-header NAME` or `--session-cookie`";
        return Err(Fault::BadRequest(text.to_owned()));
    }
    answer(function, request, &name)
}

/// `GetSession`.
pub(super) fn get(function: &Function, request: &ApiRequest, name: &str) -> ApiAnswer {
    answer(function, request, name)
}

/// `UpdateSession`.
pub(super) fn update(function: &Function, request: &ApiRequest, name: &str) -> ApiAnswer {
    let wanted = Wanted::read(request)?;
    function.change(|scheduler, now| match scheduler.sessions().contains_key(name) {
        true => Ok(scheduler.set_session(name, now, &wanted.times())),
        false => Err(unknown(name)),
    })?;
    answer(function, request, name)
}

/// `DeleteSession`.
pub(super) fn delete(function: &Arc<Function>, request: &ApiRequest, name: &str) -> ApiAnswer {
    known(function, name)?;
    function.apply(Event::SessionDeleted(name.to_owned()));
    let mut response = Response::new(ReplyBody::whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(&request.id));
    Ok(response)
}

/// `PauseSession` and `ResumeSession`.
pub(super) fn pause(function: &Arc<Function>, request: &ApiRequest, name: &str, wish: &str) -> ApiAnswer {
    known(function, name)?;
    let name = name.to_owned();
    function.apply(match wish {
        "pause" => Event::SessionPaused(name.clone()),
        _ => Event::SessionResumed(name.clone()),
    });
    answer(function, request, &name)
}

/// `ListSessions`, in the order of their ids.
pub(super) fn list(function: &Function, request: &ApiRequest) -> ApiAnswer {
    let limit = request.limit()?;
    // The token is the last id of the page before.
    let after = request.parameter("nextToken").unwrap_or_default();
    let has = |name: &str, value: &str| request.parameter(name).is_none_or(|wanted| wanted == value);
    let sessions = function.look(|scheduler| scheduler.sessions().clone());
    let mut found = sessions.iter().filter(|(name, session)| {
        let later = after.is_empty() || name.as_str() > after;
        later && has("sessionId", name) && has("sessionStatus", status(session)) && has("qualifier", "LATEST")
    });
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let shown: Vec<Value> = page.iter().map(|(name, session)| shown(function, name, session)).collect();
    let mut answer = json!({"sessions": shown});
    if let (Some((last, _)), true) = (page.last(), found.next().is_some()) {
        answer["nextToken"] = json!(last);
    }
    Ok(json_answer(&answer, &request.id))
}

fn unknown(name: &str) -> Fault {
    Fault::NotFound { code: "SessionNotFound", text: format!("there is no session with the id {name}") }
}

fn known(function: &Function, name: &str) -> Result<Session, Fault> {
    function.look(|scheduler| scheduler.sessions().get(name).cloned()).ok_or_else(|| unknown(name))
}

fn answer(function: &Function, request: &ApiRequest, name: &str) -> ApiAnswer {
    Ok(json_answer(&shown(function, name, &known(function, name)?), &request.id))
}

fn status(session: &Session) -> &'static str {
    if session.paused { "Paused" } else { "Active" }
}

fn shown(function: &Function, name: &str, session: &Session) -> Value {
    let affinity = match function.config.affinity {
        Affinity::Header(_) => "HEADER_FIELD",
        Affinity::Cookie => "GENERATED_COOKIE",
        Affinity::None => "NONE",
    };
    let at = |time: Time| {
        let ago = function.shared.now().saturating_sub(time);
        tasks::date(SystemTime::now() - ago)
    };
    let container = session.instance.and_then(|id| function.worker(id)).map(|worker| worker.name.clone());
    json!({
        "sessionId": name,
        "functionName": function.config.name,
        "qualifier": "LATEST",
        "sessionAffinityType": affinity,
        "sessionStatus": status(session),
        "sessionTTLInSeconds": session.life.as_secs(),
        "sessionIdleTimeoutInSeconds": session.idle.as_secs(),
        "enableAutoResume": session.resumes_by_call,
        "containerId": container,
        "createdTime": at(session.since),
        "lastModifiedTime": at(session.changed),
    })
}
