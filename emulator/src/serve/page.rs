//! What the emulator shows of itself below `/_fc/`: its state as JSON, metrics, and orders to instances.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::Platform;
use super::body::ReplyBody;
use super::core::Wish;
use super::fault::Fault;
use super::gateway;
use super::metrics;

/// A page of another site cannot send this header, so only a caller who means it gives an order.
const ORDER_HEADER: &str = "x-emulator-order";

/// Answers one request.
pub async fn answer(platform: &Arc<Platform>, request: Request<Incoming>) -> Response<ReplyBody> {
    let path = request.uri().path().trim_start_matches("/_fc").to_owned();
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let answered = match (request.method(), words.as_slice()) {
        (&Method::GET, ["state"]) => Ok(whole("application/json", state(platform).to_string())),
        (&Method::GET, ["metrics"]) => Ok(whole("text/plain; version=0.0.4", metrics::text(platform))),
        (&Method::GET, ["logs", id]) => {
            Ok(whole("application/json", json!(platform.shared.logs.of_request(id)).to_string()))
        }
        (&Method::POST, ["functions", function, "instances", id, wish]) => {
            order(platform, &request, function, id, wish).map(|()| whole("application/json", "{}".to_owned()))
        }
        _ => Err(Fault::NotFound {
            code: "NotFound",
            text: "there are /_fc/state, /_fc/metrics, /_fc/logs/REQUEST_ID, and POST \
                   /_fc/functions/NAME/instances/NUMBER/freeze, thaw, reclaim and kill"
                .to_owned(),
        }),
    };
    answered.unwrap_or_else(|fault| gateway::refusal(&fault, &platform.shared.new_id()))
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

fn state(platform: &Platform) -> Value {
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
        json!({
            "name": function.config.name, "waiting": waiting, "instances": instances.collect::<Vec<_>>(),
        })
    });
    let (phases, calls, seq) = platform.shared.journal.since(0);
    json!({"seq": seq, "functions": functions.collect::<Vec<_>>(), "phases": phases, "calls": calls})
}
