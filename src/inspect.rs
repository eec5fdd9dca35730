//! The inspector: the function that the binary serves.
//!
//! Hooks answer OK, `/invoke` echoes its event, and every other call answers a JSON document with the request that the
//! platform sent and the life of the instance so far. So a user can see what the real platform does. Secrets are
//! withheld.

use crate::function::app::App;
use crate::function::callback::{HookOutcome, Result};
use crate::function::context::Context;
use crate::function::lifecycle::{ClockReading, Thaw};
use crate::function::reply::Reply;
use crate::function::request::{Headers, Request, WITHHELD};
use crate::function::route::Route;
use crate::json::Json;
use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

/// The number of hook calls that the inspector remembers.
const HOOK_CALLS_KEPT: usize = 16;

/// The inspector's table, for a program that serves it.
pub static APP: App<Inspector> = App::new(&[
    Route::initialize(|_, _| Ok("OK".into())),
    Route::pre_freeze(|_, _| Ok("OK".into())),
    Route::pre_stop(|_, _| Ok("OK".into())),
    Route::invoke(|_, _, _| Ok(Reply::echo())),
    Route::fallback(document),
])
.observe_hooks(remember);

/// The inspector's state: the last hook calls.
#[derive(Debug, Default)]
pub struct Inspector {
    /// As JSON.
    hook_calls: VecDeque<String>,
}

fn remember(inspector: &mut Inspector, context: &Context<'_>, request: &Request<'_>, outcome: HookOutcome) {
    if inspector.hook_calls.len() == HOOK_CALLS_KEPT {
        inspector.hook_calls.pop_front();
    }
    let entry = Json::object()
        .text("hook", outcome.hook.name())
        .raw("ran", outcome.ran)
        .raw("failed", outcome.failed)
        .raw("atMs", unix_ms(context.received()))
        .text("phaseAfter", context.lifecycle().phase().name())
        .raw("request", call(request));
    inspector.hook_calls.push_back(entry.end());
}

fn document(inspector: &mut Inspector, context: &Context<'_>, request: &Request<'_>) -> Result {
    let hook_calls = inspector.hook_calls.iter().fold(Json::array().in_lines(), |calls, call| calls.element(call));
    let document = Json::object()
        .in_lines()
        .raw("request", call(request))
        .raw("context", head(context))
        .raw("lifecycle", lifecycle(context))
        .raw("hookCalls", hook_calls.end());
    let mut text = document.end();
    text.push('\n');
    Ok(Reply::from_json(text.into_bytes()))
}

fn call(request: &Request<'_>) -> String {
    Json::object()
        .text("method", request.method())
        .text("path", request.path())
        .maybe_text("query", request.query())
        .raw("headers", headers(request.headers()))
        .raw("bodyBytes", request.body().len())
        .raw("peer", format_args!("\"{}\"", request.peer()))
        .end()
}

/// The headers in the order in which they came. A name can occur more than once.
fn headers(headers: Headers<'_>) -> String {
    let shown = |json: Json, (name, value): (&str, &[u8])| {
        let secret = Headers::is_secret(name) && !value.is_empty();
        json.text(name, &if secret { WITHHELD.into() } else { String::from_utf8_lossy(value) })
    };
    headers.iter().fold(Json::object(), shown).end()
}

fn head(context: &Context<'_>) -> String {
    Json::object()
        .maybe_text("requestId", context.request_id())
        .maybe_text("controlPath", context.control_path())
        .raw("timeLeftMs", maybe_ms(context.time_left()))
        .maybe_text("credentials", context.credentials().map(|_| WITHHELD))
        .end()
}

fn lifecycle(context: &Context<'_>) -> String {
    let life = context.lifecycle();
    let (counts, now) = (life.counts(), context.now());
    let last_thaw = life.last_thaw().map_or("null".to_owned(), thaw);
    Json::object()
        .text("phase", life.phase().name())
        .raw("calls", counts.calls)
        .raw("initialized", counts.initialized)
        .raw("initializeFailed", counts.initialize_failed)
        .raw("frozen", counts.frozen)
        .raw("thawed", counts.thawed)
        .raw("stopped", counts.stopped)
        .raw("revived", counts.revived)
        .raw("replayed", counts.replayed)
        .raw("lastThaw", last_thaw)
        .raw("uptimeMs", ms(now.instant.saturating_duration_since(life.started().instant)))
        .raw("startedAtMs", unix_ms(life.started()))
        .raw("idleMs", ms(life.idle().length))
        .text("idleClock", life.idle().clock.name())
        .end()
}

fn thaw(thaw: &Thaw) -> String {
    let evidence = &thaw.evidence;
    let signs = Json::object()
        .raw("preFreeze", evidence.pre_freeze)
        .raw("sigcont", evidence.sigcont)
        .raw("clocksDisagreeMs", maybe_ms(evidence.clocks_disagree))
        .raw("callerClockMs", maybe_ms(evidence.caller_clock))
        .raw("oversleptMs", maybe_ms(evidence.overslept))
        .raw("interrupted", evidence.interrupted)
        .raw("restored", evidence.restored)
        .raw("idleMs", maybe_ms(evidence.idle));
    Json::object()
        .raw("evidence", signs.end())
        .text("confidence", thaw.confidence.name())
        .raw("gapMs", ms(thaw.gap))
        .text("gapClock", thaw.gap_clock.name())
        .end()
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn maybe_ms(duration: Option<Duration>) -> String {
    duration.map_or("null".to_owned(), |duration| ms(duration).to_string())
}

fn unix_ms(moment: ClockReading) -> u64 {
    ms(moment.wall.duration_since(UNIX_EPOCH).unwrap_or_default())
}
