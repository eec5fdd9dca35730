//! The function under test. It does what each call tells it to, and has every table that a test needs.
//!
//! `SUBJECT` chooses the table and `SUBJECT_ENGINE` the engine. For hooks and events the directive stands in
//! `x-fc-function-handler`, the only free text that reaches a hook. For HTTP calls it stands in the path after `/do/`,
//! and the query is its number. `SUBJECT_HOOKS` is the directive of hooks without that header. `/do/state` shows the
//! callbacks that have run. `SUBJECT_SIGPIPE` puts that signal back to its default. This file is not named `main.rs`,
//! because Cargo would take it for a test then.

mod pattern;
mod puppet;
mod tally;

use fc_hooks::{App, Context, Error, Reply, Request, Result, Route, Thaw};
use pattern::{Pattern, Then};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

/// Every callback that has run, in order.
#[derive(Default)]
struct State {
    events: Vec<String>,
}

const INITIALIZE: Route<State> = Route::initialize(|state, context| hook(state, context, "initialize"));
const PRE_FREEZE: Route<State> = Route::pre_freeze(|state, context| hook(state, context, "pre-freeze"));
const PRE_STOP: Route<State> = Route::pre_stop(|state, context| hook(state, context, "pre-stop"));
const DO: Route<State> = Route::prefix("/do/", act);

/// Every kind of route but a fallback.
static FULL: App<State> = App::new(&[
    INITIALIZE,
    PRE_FREEZE,
    PRE_STOP,
    Route::on_thaw(thawed),
    Route::invoke(event),
    DO,
    Route::get("/thing", |_, _, request| Ok(format!("{} thing", request.method()).into())),
    Route::post("/thing", |_, _, request| Ok(format!("{} thing", request.method()).into())),
    Route::any("/any", |_, _, request| Ok(format!("{} any", request.method()).into())),
]);
/// A fallback serves every other path.
static FALLBACK: App<State> = App::new(&[
    INITIALIZE,
    PRE_FREEZE,
    PRE_STOP,
    Route::invoke(event),
    DO,
    Route::fallback(|state, _, request| {
        state.events.push("fallback".to_owned());
        Ok(format!("fallback {} {}", request.method(), request.path()).into())
    }),
]);
/// No hooks and no events.
static BARE: App<State> = App::new(&[DO]);
/// Hooks run only with the header `x-fc-control-path`.
static REQUIRED: App<State> =
    App::new(&[INITIALIZE, PRE_FREEZE, PRE_STOP, Route::invoke(event), DO]).require_control_path();
/// It has a thaw callback, but no pre-freeze hook.
static THAW: App<State> = App::new(&[Route::on_thaw(thawed), DO]);
/// Says in headers which request reached it, to the byte. The quotes keep white space at the ends of a text.
static WITNESS: App<State> = App::new(&[Route::fallback(|_, _, request| {
    let quoted = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
    let target = request.query().map_or(request.path().to_owned(), |query| format!("{}?{query}", request.path()));
    Ok(Reply::from(())
        .with_header("x-method", request.method().to_owned())?
        .with_header("x-target", quoted(target.as_bytes()))?
        .with_header("x-body", quoted(request.body()))?)
})]);
/// A health check in the table.
static HEALTH: App<State> = App::new(&[PRE_FREEZE, Route::on_thaw(thawed), DO]).health_path("/healthz");

fn main() -> ExitCode {
    if std::env::var_os("SUBJECT_SIGPIPE").is_some() {
        #[allow(unsafe_code)]
        // SAFETY: the default action needs no handler.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL)
        };
    }
    let app = match std::env::var("SUBJECT").unwrap_or_default().as_str() {
        "full" => &FULL,
        "fallback" => &FALLBACK,
        "bare" => &BARE,
        "witness" => &WITNESS,
        "required" => &REQUIRED,
        "thaw" => &THAW,
        "health" => &HEALTH,
        "puppet" => return puppet::run(),
        "tally" => return run(&tally::APP, tally::state()),
        #[cfg(feature = "inspector")]
        "inspector" => return run(&fc_hooks::inspect::APP, Default::default()),
        unknown => panic!("no table is called '{unknown}'"),
    };
    run(app, State::default())
}

fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    match std::env::var("SUBJECT_ENGINE").as_deref() {
        Err(_) => fc_hooks::run(app, state),
        #[cfg(feature = "tiny_http")]
        Ok("tiny_http") => run_on_tiny_http(app, state),
        Ok(unknown) => panic!("no engine is called '{unknown}'"),
    }
}

/// Takes the options of the binary, whose place it takes in some tests.
#[cfg(feature = "tiny_http")]
fn run_on_tiny_http<S>(app: &'static App<S>, state: S) -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_none() || std::env::var_os("FC_CUSTOM_CONTAINER_EVENT").is_some() {
        return fc_hooks::tiny_http::run(app, state);
    }
    let mut config = fc_hooks::Config::from_env().expect("a configuration");
    while let Some(option) = arguments.next() {
        let setting = option.trim_start_matches('-');
        let value = if setting == "require-control-path" { Some("on".to_owned()) } else { arguments.next() };
        config.set(setting, &value.expect("an option with a value")).expect("a setting");
    }
    fc_hooks::tiny_http::serve(app, state, config)
}

fn hook(state: &mut State, context: &Context<'_>, name: &str) -> Result {
    state.events.push(name.to_owned());
    let runs = state.events.iter().filter(|event| *event == name).count();
    let always = std::env::var("SUBJECT_HOOKS").ok();
    match context.function_handler().or(always.as_deref()) {
        Some(directive) if directive.contains("thaw") => Ok(().into()),
        Some(directive) => perform(context, directive, 0),
        None => Ok(format!("{name}, run {runs}").into()),
    }
}

fn thawed(state: &mut State, context: &Context<'_>, thaw: &Thaw) -> Result<()> {
    state.events.push(format!("thaw {}", thaw.evidence));
    match context.function_handler() {
        Some("thaw-error") => Err(Error::typed("ThawError", "still cold")),
        Some("thaw-panic") => panic!("ice age"),
        _ => Ok(()),
    }
}

fn event(state: &mut State, context: &Context<'_>, request: &Request<'_>) -> Result {
    state.events.push("event".to_owned());
    match context.function_handler() {
        Some(directive) if directive.contains("thaw") => Ok(().into()),
        Some(directive) => perform(context, directive, 100_000),
        None => Ok(request.body().to_vec().into()),
    }
}

fn act(state: &mut State, context: &Context<'_>, request: &Request<'_>) -> Result {
    let number = request.query().and_then(|query| query.parse().ok()).unwrap_or(0);
    match request.path().trim_start_matches("/do/") {
        "state" => Ok(remembered(state, context)),
        "echo" => Ok(request.body().to_vec().into()),
        "context" => Ok(fields(context)),
        "print" => print_everything(context, request),
        directive => {
            state.events.push(format!("call {directive}"));
            perform(context, directive, number)
        }
    }
}

/// The directives that hooks, events and calls have in common.
fn perform(context: &Context<'_>, directive: &str, number: u64) -> Result {
    match directive {
        "static" => Ok("static".into()),
        "empty" => Ok(().into()),
        "json" => Ok(json!({"a": [1, null]}).into()),
        "bytes" => Ok(vec![0, 255, b'\r', b'\n'].into()),
        "header" => Ok(Reply::from("x").with_header("a", "b")?),
        "wide" => Ok(Reply::from("x").with_header("a", "w".repeat(number as usize))?),
        "split" => Ok(Reply::from("x").with_header("a", "b\r\nc: d")?),
        "status" => Ok(Reply::from("body").with_status(number.try_into().unwrap_or(500))?),
        "status-500" => Ok(Reply::from("body").with_status(500)?),
        "time-left" => {
            Ok(context.time_left().map_or("none".to_owned(), |left| format!("{:.0}", left.as_secs_f64())).into())
        }
        "error" => Err(Error::typed("NoStock", "sold out")),
        "parse" => Ok("x".parse::<u8>().map(drop)?.into()),
        "panic" => panic!("pulled the plug"),
        "panic-any" => std::panic::panic_any(7),
        "big" => Ok(Pattern::new(number).read_whole().into()),
        "stream" => Ok(Reply::stream(Pattern::new(number))),
        "sized" => Ok(Reply::stream_sized(Pattern::new(number), number)),
        "short" => Ok(Reply::stream_sized(Pattern::new(number / 2), number)),
        "broken" => Ok(Reply::stream(Pattern::new(number).then(Then::Fail))),
        "panicking" => Ok(Reply::stream(Pattern::new(number).then(Then::Panic))),
        "say" => print_piece("working..."),
        "say-flush" => print_piece("working...").and_then(|reply| Ok(std::io::stdout().flush().map(|()| reply)?)),
        "say-long" => print_piece(&"w".repeat(5000)),
        "say-lines" => print_piece("one\ntwo"),
        "say-whole" => print_piece("whole\n"),
        "fork" => Ok(fork().to_string().into()),
        "spin" => {
            println!("subject: spinning");
            while !context.cancelled() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Ok("cancelled".into())
        }
        "stuck" => {
            println!("subject: stuck");
            loop {
                std::thread::park();
            }
        }
        unknown => Err(Error::msg(format!("cannot do '{unknown}'"))),
    }
}

fn print_piece(text: &str) -> Result {
    print!("{text}");
    Ok(().into())
}

/// Makes a child that holds every descriptor until it is killed, or until the server ends. Its id.
#[allow(unsafe_code)]
fn fork() -> i32 {
    // SAFETY: this process has one thread, so its child may go on with anything; it only waits.
    match unsafe { libc::fork() } {
        0 => {
            #[cfg(target_os = "linux")]
            // SAFETY: takes numbers only.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
            };
            loop {
                std::thread::park();
            }
        }
        child => child,
    }
}

fn remembered(state: &State, context: &Context<'_>) -> Reply {
    let (life, counts) = (context.lifecycle(), context.lifecycle().counts());
    let thaw =
        life.last_thaw().map(|thaw| json!({"why": thaw.evidence.to_string(), "ms": thaw.gap.as_millis() as u64}));
    json!({
        "events": state.events, "phase": life.phase().name(), "thaw": thaw, "calls": counts.calls,
        "initialized": counts.initialized, "initializeFailed": counts.initialize_failed, "frozen": counts.frozen,
        "thawed": counts.thawed, "replayed": counts.replayed,
    })
    .into()
}

fn fields(context: &Context<'_>) -> Reply {
    let secret = |secret: Option<fc_hooks::Secret<'_>>| secret.map(|secret| secret.reveal().len());
    let credentials = context.credentials();
    json!({
        "requestId": context.request_id(), "controlPath": context.control_path(), "name": context.function_name(),
        "handler": context.function_handler(), "initializer": context.function_initializer(),
        "preStop": context.pre_stop_handler(), "preFreeze": context.pre_freeze_handler(), "region": context.region(),
        "account": context.account_id(), "qualifier": context.qualifier(), "version": context.version_id(),
        "service": context.service_name(), "logProject": context.service_log_project(),
        "logStore": context.service_log_store(), "basePath": context.base_path(), "clientIp": context.client_ip(),
        "apiServerIp": context.api_server_ip(), "spanContext": context.span_context(),
        "spanBaggages": context.span_baggages(), "memoryMb": context.function_memory_mb(),
        "timeoutS": context.function_timeout().map(|limit| limit.as_secs()),
        "initializationTimeoutS": context.initialization_timeout().map(|limit| limit.as_secs()),
        "retries": context.retry_count(), "eagleeye": context.eagleeye().collect::<Vec<_>>(),
        "timeLeft": context.time_left().map(|left| left.as_secs_f64()), "cancelled": context.cancelled(),
        "secretBytes": [
            secret(credentials.map(|credentials| credentials.access_key_id)),
            secret(credentials.map(|credentials| credentials.access_key_secret)),
            secret(credentials.and_then(|credentials| credentials.security_token)),
            secret(context.jaeger_endpoint()),
        ],
    })
    .into()
}

/// Prints all that can be printed of a call, to standard output, to the log, and into the reply.
fn print_everything(context: &Context<'_>, request: &Request<'_>) -> Result {
    let (credentials, jaeger) = (context.credentials(), context.jaeger_endpoint());
    let mut text = format!("{context:?} {request:?} {:?} {credentials:?} {jaeger:?}", request.headers());
    if let (Some(credentials), Some(jaeger)) = (credentials, jaeger) {
        text += &format!(" {credentials} {:#?} {} {jaeger}", credentials, credentials.access_key_secret);
    }
    log::error!("{text}");
    println!("{text}");
    Ok(text.into())
}
