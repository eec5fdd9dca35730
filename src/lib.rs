//! Lifecycle hooks for serverless containers, in one thread and half a megabyte.
//!
//! `fc_hooks` is the HTTP server inside a custom container on Alibaba Cloud Function Compute (FC), in web server
//! mode. The platform calls `POST /initialize`, `GET /pre-freeze` and `GET /pre-stop`; your callbacks answer, with
//! 200 or 404 and their return value as the body. Beside the hooks it serves events (`POST /invoke`) and HTTP calls.
//!
//! ```no_run
//! use fc_hooks::{App, Route};
//!
//! static APP: App<u64> = App::new(&[
//!     Route::initialize(|_, _| Ok("ready".into())),
//!     Route::invoke(|served, _, request| {
//!         *served += 1;
//!         Ok(request.body().to_vec().into())
//!     }),
//!     Route::pre_stop(|served, _| Ok(format!("served {served}").into())),
//! ]);
//!
//! fn main() -> std::process::ExitCode {
//!     fc_hooks::run(&APP, 0)
//! }
//! ```
//!
//! # What it is
//! - **One thread.** Everything runs on the thread that calls [`run`]: the loop, the callbacks, signals. So callbacks
//!   get `&mut State`, and need neither `Send` nor locks.
//! - **A static table.** [`App::new`] is a `const fn`: the table is checked when it is compiled and costs nothing at
//!   start.
//! - **Safe to freeze at any instant.** Asleep when idle, nothing buffered after a reply, and no deadline that time
//!   spent frozen counts against. [`Route::on_thaw`] runs before the first request after a freeze.
//! - **Hooks run as often as they should**: initialize until it succeeds once, pre-freeze once per freeze, pre-stop
//!   once, and never for an outside caller who asks for their paths ([`Context::control_path`]).
//! - **A failure stays where it happened.** An error or a panic in a callback is a failed hook or call; the instance
//!   lives (with `panic = "unwind"`, Rust's default; under `"abort"` a panic ends the process as it does anywhere).
//! - **Everything from a peer is bounded**: see [`Limits`].
//!
//! # What it is not
//! - A web framework: no path parameters, no middleware, no sessions, nothing decoded.
//! - An asynchronous runtime: a callback that blocks delays every other call of its instance. On a platform that
//!   gives an instance one call at a time (C-INV-7, the default) that delays nobody.
//! - A front for the open internet: no TLS, no HTTP/2, no WebSocket, no compression, no files. It speaks HTTP/1.1 to
//!   the platform's gateway.
//! - It sends no `date` and no `server` header: the platform replaces both (C-INV-4), and a date would be one more
//!   thing to go stale in a freeze.
//!
//! # A walk through one life
//! ```no_run
//! use fc_hooks::{App, Context, Reply, Request, Result, Route, Thaw};
//!
//! #[derive(Default)]
//! struct Shop {
//!     stock: Vec<String>,
//! }
//!
//! static APP: App<Shop> = App::new(&[
//!     Route::initialize(load),
//!     Route::on_thaw(reconnect),
//!     Route::get("/stock", list),
//!     Route::pre_freeze(|_, _| Ok(().into())),
//!     Route::pre_stop(|shop, _| Ok(format!("{} left", shop.stock.len()).into())),
//! ]);
//!
//! // Slow work belongs here, not before `run`: the platform waits for the port first (C-START-2).
//! fn load(shop: &mut Shop, context: &Context) -> Result {
//!     let text = std::fs::read_to_string("stock.txt")?; // an error is answered with 404 and its text
//!     shop.stock = text.lines().map(str::to_owned).collect();
//!     Ok(format!("{} items with {:?} left", shop.stock.len(), context.time_left()).into())
//! }
//!
//! // The platform announces no thaw (C-FRZ-5). Connections opened before `gap` may be dead.
//! fn reconnect(_: &mut Shop, context: &Context, thaw: &Thaw) -> Result<()> {
//!     let _fresh = context.credentials();
//!     log::info!("frozen for at most {:?}: {}", thaw.gap, thaw.evidence);
//!     Ok(())
//! }
//!
//! fn list(shop: &mut Shop, _: &Context, request: &Request) -> Result {
//!     match request.query() {
//!         Some(name) if !shop.stock.iter().any(|item| item == name) => Ok(Reply::from("none").with_status(404)?),
//!         _ => Ok(serde_json::json!(shop.stock).into()),
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     fc_hooks::run(&APP, Shop::default())
//! }
//! ```
//!
//! # Output
//! Standard output carries one line at start and the log markers that the platform's console cuts by (C-LOG-1), each
//! in one write. They are written before the reply, so whoever holds the other end of a pipe must read it: a full
//! pipe stops the instance, as it stops any program that prints. Everything else goes through `log`, to standard
//! error with [`run`].
//!
//! # Rules
//! `C-INIT-2` and the like are the numbered rules of the platform that a behaviour keeps; ARCHITECTURE.md lists them.
//!
//! # Features
//! - `env_logger` (default): [`run`] sets up logging by `RUST_LOG`, to standard error, default `warn`.
//! - `inspector` (default): the binary `fc-hooks` with its command line, and [`inspect`].
//! - `no_backtrace`: 215 kB less in a static musl binary, for a whole program: nothing in it can print a backtrace any
//!   more, and `std::backtrace` captures empty ones. Panics are caught as before. Without effect elsewhere.
//! - `tiny_http`: the module `tiny_http`, the same functions on a server of that crate. It starts threads.

mod app;
#[cfg(all(any(test, fuzzing), feature = "inspector"))]
mod arguments;
mod config;
mod context;
mod dispatch;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod hook;
mod http;
#[cfg(feature = "inspector")]
pub mod inspect;
mod job;
mod json;
mod lifecycle;
mod limits;
mod reply;
mod request;
mod server;
#[cfg(feature = "tiny_http")]
pub mod tiny_http;

pub use app::{App, ObserveFn, Observed, Route};
pub use config::{Config, Listen};
pub use context::{Context, Credentials, Secret};
pub use error::{Error, StartError};
pub use hook::{CallFn, HookFn, Result, ThawFn};
pub use lifecycle::{Counts, Evidence, Hook, Lifecycle, Moment, Phase, Thaw};
pub use limits::{LimitError, Limits};
pub use reply::{Reply, ReplyError};
pub use request::{Headers, Peer, Request};
pub use server::Server;

use std::process::ExitCode;

/// Does what the environment asks for, and returns the exit code.
///
/// With `FC_CUSTOM_CONTAINER_EVENT` set, web server mode is off (C-JOB-2): the invoke callback runs once on that
/// event, its reply's body goes to standard output; 0 if it succeeded, 1 if it failed, 143 if SIGTERM came meanwhile.
///
/// Otherwise it serves as [`Config::from_env`] says until SIGTERM or SIGINT: 0 after an orderly stop, 1 if it cannot
/// listen, 2 if the configuration makes no sense; both are said on standard error. A second signal ends the process at
/// once with 128 plus its number.
pub fn run<S>(app: &'static App<S>, state: S) -> ExitCode {
    run_on(serve, app, state)
}

/// [`run`], whichever server it is that serves.
#[inline(always)]
fn run_on<S>(serve: fn(&'static App<S>, S, Config) -> ExitCode, app: &'static App<S>, state: S) -> ExitCode {
    // musl unmaps a page with the last allocation in it and maps it anew for the next. One that stays makes those that
    // come and go during the start cheap: without it each is two system calls and two page faults.
    let _anchor = std::hint::black_box(Box::new(0_u8));
    if let Some(event) = std::env::var_os(job::EVENT_VARIABLE) {
        init_logging();
        return job::run(app, state, event);
    }
    match Config::from_env() {
        Ok(config) => serve(app, state, config),
        Err(error) => fail(&error, MISUSED),
    }
}

/// Serves with this configuration, whatever the environment says; exit codes as [`run`].
pub fn serve<S>(app: &'static App<S>, state: S, config: Config) -> ExitCode {
    init_logging();
    let server = match Server::bind(config) {
        Ok(server) => server,
        Err(error) => return fail(&error, FAILED),
    };
    announce(server.address());
    server.run(app, state);
    ExitCode::SUCCESS
}

/// Says that calls are waited for, to whoever reads the log.
fn announce(address: &Listen) {
    let mut lines = format!("fc-hooks: listening on {address}\n");
    if std::env::var_os("FC_FUNCTION_NAME").is_some_and(|name| !name.is_empty()) {
        // The platform's mark of a cold start's end (C-LOG-4).
        lines.push_str("FunctionCompute fc-hooks runtime inited.\n");
    }
    // Serving does not depend on somebody reading this.
    let _ = server::print(lines.as_bytes());
}

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn fail(error: &StartError, code: u8) -> ExitCode {
    server::complain(format_args!("fc-hooks: {error}"));
    ExitCode::from(code)
}

/// An author's own logger, set up before, stays.
#[cfg(feature = "env_logger")]
fn init_logging() {
    if std::env::var(env_logger::DEFAULT_FILTER_ENV).is_ok() {
        let _ = env_logger::try_init();
    } else if log::set_logger(&LATE_LOGGER).is_ok() {
        log::set_max_level(DEFAULT_LEVEL);
    }
}

/// Where `RUST_LOG` says nothing. Most instances live without a single warning.
#[cfg(feature = "env_logger")]
const DEFAULT_LEVEL: log::LevelFilter = log::LevelFilter::Warn;

/// The logger of an instance that was not asked to log: made when it has something to say, because making it takes as
/// many instructions as everything else between the exec and the first wait.
#[cfg(feature = "env_logger")]
struct LateLogger(std::sync::OnceLock<env_logger::Logger>);

#[cfg(feature = "env_logger")]
static LATE_LOGGER: LateLogger = LateLogger(std::sync::OnceLock::new());

#[cfg(feature = "env_logger")]
impl log::Log for LateLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= DEFAULT_LEVEL
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.get_or_init(|| env_logger::Builder::new().filter_level(DEFAULT_LEVEL).build()).log(record);
        }
    }

    fn flush(&self) {}
}

#[cfg(not(feature = "env_logger"))]
fn init_logging() {}
