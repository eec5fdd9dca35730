//! What the emulator shows of itself below `/_fc/`: a page with live news, its state as JSON, metrics, and orders to
//! instances.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Platform;
use super::body::ReplyBody;
use super::core::Wish;
use super::fault::Fault;
use super::gateway;
use super::journal::millis;
use super::metrics;
use super::tasks::book::Book;

/// A page of another site cannot send this header, so only a caller who means it gives an order.
const ORDER_HEADER: &str = "x-emulator-order";

/// The page. It asks for nothing from elsewhere.
const PAGE: &str = include_str!("page.html");

/// The page may load only what is in it, and talk only to us.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     frame-ancestors 'none'",
);

/// How often it is looked whether there is news.
const NEWS_PAUSE: Duration = Duration::from_millis(200);

/// After so many looks without news, a reader that has left is noticed by an empty comment.
const QUIET_LOOKS: u32 = 50;

/// The lines of output in one piece of news.
const NEWS_LINES_MAX: usize = 400;

/// Answers one request.
pub async fn answer(platform: &Arc<Platform>, request: Request<Incoming>) -> Response<ReplyBody> {
    let path = request.uri().path().trim_start_matches("/_fc").to_owned();
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let answered = match (request.method(), words.as_slice()) {
        // Relative addresses need the path to end with a slash.
        (&Method::GET, []) if !path.ends_with('/') => Ok(moved()),
        (&Method::GET, []) => Ok(page()),
        (&Method::GET, ["events"]) => Ok(events(platform)),
        (&Method::GET, ["state"]) => Ok(whole("application/json", state(platform, since(&request)).to_string())),
        (&Method::GET, ["metrics"]) => Ok(whole("text/plain; version=0.0.4", metrics::text(platform))),
        (&Method::GET, ["logs", id]) => {
            Ok(whole("application/json", json!(platform.shared.logs.of_request(id)).to_string()))
        }
        (&Method::POST, ["functions", function, "instances", id, wish]) => {
            order(platform, &request, function, id, wish).map(|()| whole("application/json", "{}".to_owned()))
        }
        _ => Err(Fault::NotFound {
            code: "NotFound",
            text: "there are /_fc/, /_fc/events, /_fc/state, /_fc/metrics, /_fc/logs/REQUEST_ID, and POST \
                   /_fc/functions/NAME/instances/NUMBER/freeze, thaw, reclaim and kill"
                .to_owned(),
        }),
    };
    answered.unwrap_or_else(|fault| gateway::refusal(&fault, &platform.shared.new_id()))
}

/// The number of the record after which the caller wants to know more: `?since=NUMBER`.
fn since(request: &Request<Incoming>) -> u64 {
    let number = request.uri().query().and_then(|query| query.strip_prefix("since="));
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn moved() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(""));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/_fc/"));
    response
}

fn page() -> Response<ReplyBody> {
    let mut response = whole("text/html; charset=utf-8", PAGE.to_owned());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Server-sent events: everything so far, then what is new, until the reader leaves.
fn events(platform: &Arc<Platform>) -> Response<ReplyBody> {
    let (send, pieces) = tokio::sync::mpsc::channel(4);
    let platform = platform.clone();
    tokio::spawn(async move {
        let (mut seq, mut lines, mut last, mut quiet) = (0, 0, Value::Null, 0);
        loop {
            let mut news = state(&platform, seq);
            let new_lines = platform.shared.logs.since(lines, NEWS_LINES_MAX);
            let is_news = news["seq"] != json!(seq) || !new_lines.is_empty() || news["functions"] != last;
            seq = news["seq"].as_u64().unwrap_or_default();
            lines = new_lines.last().map_or(lines, |line| line.seq);
            last = news["functions"].clone();
            news["logs"] = json!(new_lines);
            quiet = if is_news { 0 } else { quiet + 1 };
            let piece = match is_news {
                true => Bytes::from(format!("data: {news}\n\n")),
                false if quiet % QUIET_LOOKS == 0 => Bytes::from_static(b":\n\n"),
                false => Bytes::new(),
            };
            if !piece.is_empty() && send.send(piece).await.is_err() {
                return;
            }
            tokio::time::sleep(NEWS_PAUSE).await;
        }
    });
    let mut response = Response::new(ReplyBody::Stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(kind: &'static str, text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn order(platform: &Platform, request: &Request<Incoming>, function: &str, id: &str, wish: &str) -> Result<(), Fault> {
    if !request.headers().contains_key(ORDER_HEADER) {
        return Err(Fault::BadRequest(format!("an order needs the header {ORDER_HEADER}, with any value")));
    }
    let function = platform.functions.get(function).ok_or_else(|| Fault::no_function(function))?;
    let wish = match wish {
        "freeze" => Wish::Freeze,
        "thaw" => Wish::Thaw,
        "reclaim" => Wish::Reclaim,
        "kill" => Wish::Kill,
        other => return Err(Fault::BadRequest(format!("`{other}` is not freeze, thaw, reclaim or kill"))),
    };
    let known = id.parse().is_ok_and(|id| function.ask(id, wish));
    let text = format!("no instance of {} has the number {id}", function.config.name);
    known.then_some(()).ok_or(Fault::NotFound { code: "InstanceNotFound", text })
}

/// The state of every function, and what happened after the record with this number.
fn state(platform: &Platform, seq: u64) -> Value {
    let counts = platform.shared.journal.counts();
    let functions = platform.functions.values().map(|function| {
        let (instances, waiting) = function.look(|scheduler| (scheduler.instances().to_vec(), scheduler.waiting()));
        let instances = instances.iter().map(|one| {
            let worker = function.worker(one.id);
            json!({
                "id": one.id, "name": worker.as_ref().map(|worker| &worker.name),
                "pid": worker.as_ref().and_then(|worker| worker.pid),
                "phase": one.phase.name(), "running": one.running, "sessions": one.sessions,
                "draining": one.draining, "healthy": one.healthy,
            })
        });
        let counts = counts.get(&function.config.name).cloned().unwrap_or_default();
        let (calls, found) = (counts.took.count(), |name| counts.found.get(name).copied().unwrap_or_default());
        json!({
            "name": function.config.name, "waiting": waiting, "instances": instances.collect::<Vec<_>>(),
            "tasks": function.tasks.look(Book::open),
            "counts": {
                "calls": calls, "cold": found("cold"), "thawed": found("thawed"), "warm": found("warm"),
                "mean_ms": counts.took.sum * 1000.0 / calls.max(1) as f64,
            },
        })
    });
    let functions: Vec<Value> = functions.collect();
    let (phases, calls, seq) = platform.shared.journal.since(seq);
    json!({
        "run": platform.shared.run, "now_ms": millis(platform.shared.now()), "seq": seq,
        "functions": functions, "phases": phases, "calls": calls,
    })
}
