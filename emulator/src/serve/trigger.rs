//! The HTTP trigger: a client's own method, path and headers go to an instance (C-INV-2).

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use hyper::{Request, Response, Uri};

use super::Platform;
use super::body::ReplyBody;
use super::call::{self, Answer, Outgoing, SYNC_BYTES_MAX};
use super::config::Affinity;
use super::fault::Fault;
use super::function::Function;
use super::tasks::{self, HttpCall};
use super::{gateway, headers, websocket};
use crate::platform::ids;

/// The cookie of a session.
const SESSION_COOKIE: &str = "fc-session";

/// The session of a request, and the header that tells the caller of a new one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundSession {
    /// Its name.
    pub name: Option<String>,
    /// What is added to the answer.
    pub announce: Option<(HeaderName, HeaderValue)>,
}

/// Answers one request of a client.
pub async fn answer(platform: &Arc<Platform>, request: Request<Incoming>, peer: IpAddr) -> Response<ReplyBody> {
    let Some((function, uri)) = find(platform, request.uri()) else {
        let names: Vec<&str> = platform.functions.keys().map(String::as_str).collect();
        let text = format!("no function belongs to this path: call /<name>/…, with a name of {}", names.join(", "));
        let fault = Fault::NotFound { code: "FunctionNotFound", text };
        return gateway::refusal(&fault, &platform.shared.new_id());
    };
    let id = call::new_id(&function);
    match exchange(&function, request, uri, &id, peer).await {
        Ok(response) => response,
        Err(fault) => gateway::refusal(&fault, &id),
    }
}

/// The function of a path, and the path that it sees. Several functions are told apart by the first part of the path.
fn find(platform: &Platform, uri: &Uri) -> Option<(Arc<Function>, Uri)> {
    if !platform.paths_have_names {
        return platform.functions.values().next().map(|function| (function.clone(), relative(uri, "")));
    }
    let name = uri.path().strip_prefix('/')?.split('/').next()?;
    let function = platform.functions.get(name)?;
    Some((function.clone(), relative(uri, &format!("/{name}"))))
}

/// The path and the query without a prefix.
fn relative(uri: &Uri, prefix: &str) -> Uri {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let rest = whole.strip_prefix(prefix).unwrap_or(whole);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    rest.parse().unwrap_or_default()
}

async fn exchange(
    function: &Arc<Function>,
    mut request: Request<Incoming>,
    uri: Uri,
    id: &str,
    peer: IpAddr,
) -> Result<Response<ReplyBody>, Fault> {
    call::check_head(request.uri(), request.headers())?;
    let session = session_of(&function.config.affinity, request.headers())?;
    let upgrade = websocket::asked_for(&mut request);
    let (mut parts, body) = request.into_parts();
    let body = gateway::read(&parts.headers, body, SYNC_BYTES_MAX).await?;
    match parts.headers.get(headers::INVOCATION_TYPE).map(|kind| kind.to_str().unwrap_or_default()) {
        None | Some("Sync") => {}
        // Asynchronous calls have no sessions (C-SES-1).
        Some("Async") => {
            let http = HttpCall::new(&parts.method, &uri, &parts.headers, peer);
            return tasks::accept(function, id, &parts.headers, body, |task| task.http = Some(http));
        }
        Some(other) => {
            let name = headers::INVOCATION_TYPE;
            return Err(Fault::BadRequest(format!("the header {name} is {other}, expected Sync or Async")));
        }
    }
    if let (Some((name, value)), Affinity::Header(_)) = (&session.announce, &function.config.affinity) {
        // The container sees the session that its answer will name.
        parts.headers.insert(name.clone(), value.clone());
    }
    let outgoing = Outgoing {
        kind: "http",
        method: parts.method,
        uri,
        headers: parts.headers,
        session: session.name,
        client: Some(peer),
        ..Outgoing::event(id.to_owned(), "http", body)
    };
    let answer = match upgrade {
        Some(upgrade) => return websocket::pass_through(function, outgoing, upgrade).await,
        None => call::perform(function, outgoing).await?,
    };
    Ok(response(answer, id, session.announce))
}

fn response(answer: Answer, id: &str, announce: Option<(HeaderName, HeaderValue)>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Live(Box::new(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers::for_caller(&answer.headers);
    response.headers_mut().insert(headers::REQUEST_ID, headers::value(id));
    if let Some((name, value)) = announce {
        response.headers_mut().append(name, value);
    }
    response
}

/// The session that a request names, or a new one (C-SES-2).
///
/// # Errors
/// If its name is not allowed.
pub fn session_of(affinity: &Affinity, map: &HeaderMap) -> Result<FoundSession, Fault> {
    match affinity {
        Affinity::None => Ok(FoundSession::default()),
        Affinity::Header(name) => {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else { return Ok(FoundSession::default()) };
            let Some(value) = map.get(&header) else {
                let new = new_session();
                let announce = Some((header, headers::value(&new)));
                return Ok(FoundSession { name: Some(new), announce });
            };
            let text = value.to_str().unwrap_or_default();
            if !is_session(text) {
                let rule = "a session is 1 to 64 letters, digits, `_` and `-`";
                return Err(Fault::BadRequest(format!("the header {name} names no session: {rule}")));
            }
            Ok(FoundSession { name: Some(text.to_owned()), announce: None })
        }
        Affinity::Cookie => {
            let cookies = map.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
            let known = pairs.find(|(name, value)| *name == SESSION_COOKIE && is_session(value));
            if let Some((_, value)) = known {
                return Ok(FoundSession { name: Some(value.to_owned()), announce: None });
            }
            let new = new_session();
            let cookie = format!("{SESSION_COOKIE}={new}; Path=/; HttpOnly");
            Ok(FoundSession { name: Some(new), announce: Some((SET_COOKIE, headers::value(&cookie))) })
        }
    }
}

/// A name for a new session.
pub fn new_session() -> String {
    format!("{:016x}{:016x}", ids::random(), ids::random())
}

/// Whether a text can name a session.
pub fn is_session(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_the_name_of_the_function() {
        for (path, prefix, left) in [
            ("/a/b?c=d", "", "/a/b?c=d"),
            ("/f/b?c=d", "/f", "/b?c=d"),
            ("/f", "/f", "/"),
            ("/f?c", "/f", "/?c"),
            ("/f/", "/f", "/"),
            ("/f/%2Fx", "/f", "/%2Fx"),
        ] {
            assert_eq!(relative(&path.parse().unwrap(), prefix), left, "{path}");
        }
    }

    #[test]
    fn sessions_by_header_and_by_cookie() {
        let map = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        let by_header = Affinity::Header("my-session".to_owned());
        let found = session_of(&by_header, &map("my-session", "abc_1-2")).unwrap();
        assert_eq!((found.name.as_deref(), found.announce), (Some("abc_1-2"), None));
        let made = session_of(&by_header, &HeaderMap::new()).unwrap();
        let (name, value) = made.announce.unwrap();
        assert_eq!((name.as_str(), value.to_str().ok()), ("my-session", made.name.as_deref()));
        assert!(session_of(&by_header, &map("my-session", "a b")).is_err());

        let found = session_of(&Affinity::Cookie, &map("cookie", "a=b; fc-session=xyz; c=d")).unwrap();
        assert_eq!((found.name.as_deref(), found.announce), (Some("xyz"), None));
        let made = session_of(&Affinity::Cookie, &map("cookie", "fc-session=a b")).unwrap();
        assert!(made.announce.unwrap().1.to_str().unwrap().contains(&made.name.unwrap()));
        assert_eq!(session_of(&Affinity::None, &map("my-session", "a")).unwrap(), FoundSession::default());
    }
}
