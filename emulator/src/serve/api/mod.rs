//! The API of version 2023-03-30, as far as a local platform has it, for the official clients.
//!
//! Every error is JSON with `Code`, `Message` and `RequestId`: the clients cannot read any other.

mod async_config;
mod invoke;
mod sessions;
pub mod signature;
mod tasks;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use self::signature::AccessKey;
use super::Platform;
use super::body::ReplyBody;
use super::call::{self, SYNC_BYTES_MAX};
use super::fault::Fault;
use super::function::Function;
use super::{gateway, headers};

/// All paths of the API begin with this.
pub const ROOT: &str = "/2023-03-30/";

/// A list has so many entries if the caller names no number, and at most so many.
const LIST_LENGTH: usize = 20;
const LIST_LENGTH_MAX: usize = 100;

/// One request to the API.
pub(super) struct ApiRequest {
    /// Its id.
    id: String,
    /// Its head.
    parts: Parts,
    /// The parts of its path after the root, decoded.
    path: Vec<String>,
    /// The pairs of its query, decoded.
    query: Vec<(String, String)>,
    /// Its body.
    body: bytes::Bytes,
}

type ApiAnswer = Result<Response<ReplyBody>, Fault>;

/// Answers one request.
pub async fn answer(platform: &Arc<Platform>, request: Request<Incoming>) -> Response<ReplyBody> {
    let id = platform.shared.new_id();
    let answered = async {
        let (parts, body) = request.into_parts();
        call::check_head(&parts.uri, &parts.headers)?;
        let body = gateway::read(&parts.headers, body, SYNC_BYTES_MAX).await?;
        authenticate(&platform.shared.auth, &parts, &body)?;
        let rest = parts.uri.path().strip_prefix(ROOT).unwrap_or_default();
        let path = rest.split('/').map(percent_decoded).collect();
        let query = pairs(parts.uri.query().unwrap_or_default());
        route(platform, ApiRequest { id: id.clone(), parts, path, query, body }).await
    };
    answered.await.unwrap_or_else(|fault| gateway::refusal(&fault, &id))
}

/// How signatures are treated.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// The key that callers sign with, if it is known.
    pub key: Option<AccessKey>,
    /// Whether a request whose signature does not fit is refused. Else it is only warned of.
    pub strict: bool,
}

fn authenticate(auth: &Auth, parts: &Parts, body: &[u8]) -> Result<(), Fault> {
    match signature::verify(parts, body, auth.key.as_ref()) {
        Ok(()) => Ok(()),
        Err(why) if auth.strict => Err(Fault::Denied(why)),
        Err(why) => {
            tracing::warn!(path = parts.uri.path(), "signature: {why} (served anyhow; `--strict-auth` refuses it)");
            Ok(())
        }
    }
}

async fn route(platform: &Arc<Platform>, request: ApiRequest) -> ApiAnswer {
    let path: Vec<String> = request.path.clone();
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = request.parts.method.clone();
    match (&method, words.as_slice()) {
        (&Method::POST, ["functions", name, "invocations"]) => {
            invoke::answer(&request.function(platform, name)?, request).await
        }
        (&Method::GET, ["functions", name, "async-tasks"]) => {
            tasks::list(&*request.function(platform, name)?, &request)
        }
        (&Method::GET, ["functions", name, "async-tasks", id]) => {
            tasks::get(&*request.function(platform, name)?, &request, id)
        }
        (&Method::PUT, ["functions", name, "async-tasks", id, "stop"]) => {
            tasks::stop(&*request.function(platform, name)?, &request, id)
        }
        (method, ["functions", name, "async-invoke-config"]) => {
            let function = request.function(platform, name)?;
            match *method {
                Method::PUT => async_config::put(&function, &request),
                Method::GET => async_config::get(&function, &request),
                Method::DELETE => async_config::delete(&function, &request),
                _ => Err(request.wrong_method()),
            }
        }
        (&Method::GET, ["async-invoke-configs"]) => async_config::list(platform, &request),
        (method, ["functions", name, "sessions", rest @ ..]) => {
            let function = request.function(platform, name)?;
            match (method, rest) {
                (&Method::POST, []) => sessions::create(&function, &request),
                (&Method::GET, []) => sessions::list(&function, &request),
                (&Method::GET, [session]) => sessions::get(&function, &request, session),
                (&Method::PUT, [session]) => sessions::update(&function, &request, session),
                (&Method::DELETE, [session]) => sessions::delete(&function, &request, session),
                (&Method::PUT, [session, wish @ ("pause" | "resume")]) => {
                    sessions::pause(&function, &request, session, wish)
                }
                (_, [] | [_] | [_, "pause" | "resume"]) => Err(request.wrong_method()),
                _ => Err(request.unsupported()),
            }
        }
        (_, ["functions", _, "invocations" | "async-tasks"])
        | (_, ["functions", _, "async-tasks", _])
        | (_, ["functions", _, "async-tasks", _, "stop"])
        | (_, ["async-invoke-configs"]) => Err(request.wrong_method()),
        _ => Err(request.unsupported()),
    }
}

/// A successful answer.
fn json_answer(value: &serde_json::Value, id: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(id));
    response
}

impl ApiRequest {
    /// The function with this name. The clients join a qualifier to the query.
    fn function(&self, platform: &Platform, name: &str) -> Result<Arc<Function>, Fault> {
        platform.functions.get(name).cloned().ok_or_else(|| Fault::no_function(name))
    }

    /// The value of a parameter.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header.
    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How many entries of a list the caller wants.
    fn limit(&self) -> Result<usize, Fault> {
        match self.parameter("limit").map(str::parse::<usize>) {
            None => Ok(LIST_LENGTH),
            Some(Ok(limit)) if (1..=LIST_LENGTH_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(Fault::BadRequest(format!("`limit` must be a number from 1 to {LIST_LENGTH_MAX}"))),
        }
    }

    fn unsupported(&self) -> Fault {
        let action = self.header("x-acs-action").unwrap_or("this call");
        let path = self.parts.uri.path();
        Fault::NotSupported(format!("the emulator does not have {action} ({} {path})", self.parts.method))
    }

    fn wrong_method(&self) -> Fault {
        Fault::Method(format!("{} is not for {}", self.parts.method, self.parts.uri.path()))
    }
}

/// The pairs of a query, decoded. The clients send a blank as `+` or `%20`.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (percent_decoded(&name.replace('+', " ")), percent_decoded(&value.replace('+', " ")))
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

/// Text without its percent signs. What is no UTF-8 is replaced.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_queries_are_decoded() {
        assert_eq!(percent_decoded("a%20b%2Fc%25%zz%"), "a b/c%%zz%");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("qualifier=prod+1&a=%7E&&b"), [pair("qualifier", "prod 1"), pair("a", "~"), pair("b", "")]);
    }
}
