//! Lifecycle hooks for serverless containers, in one thread and half a megabyte.
//!
//! `fc_hooks` is the HTTP server inside a custom container on Alibaba Cloud Function Compute (FC), in web server mode.
//! The platform calls `POST /initialize`, `GET /pre-freeze` and `GET /pre-stop`. Your callbacks answer, with 200 or
//! 404 and their return value as the body. The server also serves events (`POST /invoke`) and HTTP calls.
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
//! - **One thread.** Everything runs on the thread that calls [`run`]: the loop, the callbacks, the signals. So
//!   callbacks get `&mut State`, and need neither `Send` nor locks.
//! - **A static table.** [`App::new`] is a `const fn`: the compiler checks the table, which costs nothing at start.
//! - **Safe to freeze at any instant.** The server sleeps when it is idle and buffers nothing after a reply, and time
//!   spent frozen counts against no deadline. [`Route::on_thaw`] runs before the first request after a freeze.
//! - **Hooks run as often as they should**: initialize until it succeeds once, pre-freeze once for each freeze,
//!   pre-stop once. No hook runs for an outside caller that asks for its path ([`Context::control_path`]).
//! - **A failure stays where it happened.** An error or a panic in a callback is a failed hook or call, and the
//!   instance lives on (with `panic = "unwind"`, Rust's default; with `"abort"` a panic ends the process).
//! - **Everything from a peer is bounded**: see [`Limits`].
//!
//! # What it is not
//! - It is no web framework: it has no path parameters, middleware or sessions. It decodes only what a callback asks
//!   for: pairs of a query, JSON.
//! - It is no asynchronous runtime: a callback that blocks delays every other call of its instance. By default the
//!   platform gives an instance one call at a time (C-INV-7), so no other call waits.
//! - It is no server for the open internet: it has no TLS, HTTP/2, WebSocket, compression or files. It speaks HTTP/1.1
//!   with the platform's gateway.
//! - It sends no `date` and no `server` header, because the platform replaces both (C-INV-4).
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
//! // The platform announces no thaw (C-FRZ-5). Connections that were opened before `gap` may be dead.
//! fn reconnect(_: &mut Shop, context: &Context, thaw: &Thaw) -> Result<()> {
//!     let _fresh = context.credentials();
//!     log::info!("frozen for at most {:?}: {}", thaw.gap, thaw.evidence);
//!     Ok(())
//! }
//!
//! fn list(shop: &mut Shop, _: &Context, request: &Request) -> Result {
//!     match request.query_pairs().find(|(name, _)| name == "item") {
//!         Some((_, item)) if !shop.stock.iter().any(|known| *known == item) => Ok(Reply::from_status(404)?),
//!         _ => Reply::json(&shop.stock),
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     fc_hooks::run(&APP, Shop::default())
//! }
//! ```
//!
//! # What a failure answers
//! | failure | hook | event | HTTP call |
//! |---|---|---|---|
//! | the callback returns an error | 404, its text | 404, its text | [`Error::status`], `internal error` |
//! | an error with a status of 400 to 499 | 404, its text | 404, its text | that status, its text |
//! | the callback panics | 404, its text | 404, its text | 500, `internal error` |
//! | no callback | 404 | 404 | 404, or 405 with `allow` |
//! | a streamed reply fails | 404 | 404 | the connection is reset |
//! | head, target or body too large | 431, 414, 413 | 431, 414, 413 | 431, 414, 413 |
//! | no memory for the request or the reply | 503 for the request | 503 | 503 |
//! | not HTTP/1.1, or too slow | 400, 408, 501, 505 | the same | the same |
//!
//! The body is `{"errorMessage":…,"errorType":…}` (C-INV-5). Callers of HTTP calls read the texts of inner errors only
//! if the table asks for it ([`App::show_errors`]); the log has them in any case. With a status of 400 to 499 the call
//! does not count as failed.
//!
//! # Tests
//! [`testing`] runs a function without a socket, on a clock that the test sets. [`Server::stopper`] ends a real server.
//!
//! # Output
//! The server writes one line at start and the log markers of calls (C-LOG-1) to standard output, each in one write. It
//! writes them before the reply, so the reader of a pipe must keep reading: a full pipe stops the instance, like any
//! program that prints. Everything else goes through `log`; [`run`] sends it to standard error.
//!
//! A marker begins a line (C-LOG-1): where the last line that a callback printed has no end yet, the server ends it. On
//! Linux it sees whatever Rust's standard library prints; it does not see what child processes or C's `printf` print,
//! so end their lines yourself.
//!
//! # Rules
//! `C-INIT-2` and the like are numbered rules of the platform; `docs/contract.md` lists them.
//!
//! # Features
//! - `adapter` (default): the binary before another program, the module `adapter`.
//! - `inspector` (default): the binary `fc-hooks` with its command line, and the module `inspect`.
//! - `env_logger`: [`run`] sets up logging with that crate, for 40 kB. Without it, a small logger does the same by the
//!   same variable, `RUST_LOG`: to standard error, default `warn`.
//! - `no_backtrace`: makes a static musl binary 215 kB smaller. Then no part of the program can print a backtrace, and
//!   `std::backtrace` captures empty ones. Panics are caught as before. On other targets it has no effect.
//! - `tiny_http`: the module `tiny_http`, which serves the same functions with that crate. It starts threads.

#[cfg(feature = "adapter")]
pub mod adapter;
#[cfg(all(any(test, fuzzing), feature = "adapter", feature = "inspector"))]
mod arguments;
mod config;
mod config_builder;
mod function;
mod http1;
#[cfg(feature = "inspector")]
pub mod inspect;
mod job;
mod json;
mod limits;
mod logging;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../tests/models/mod.rs"]
pub mod models;
mod networks;
mod platform;
mod run;
mod server;
mod start_error;
pub mod testing;
#[cfg(feature = "tiny_http")]
pub mod tiny_http;
mod tuning;

pub use config::{Config, Listen, Setting};
pub use function::app::App;
pub use function::builder::AppBuilder;
pub use function::callback::{CallFn, HookFn, HookOutcome, ObserveFn, Result, ThawFn};
pub use function::caller_clock::TimeFormat;
pub use function::context::{Context, Credentials, Secret};
pub use function::error::Error;
pub use function::freeze::{Clock, ClockReading, Confidence, Evidence, Gap, Thaw};
pub use function::lifecycle::{Counts, Lifecycle, Phase};
pub use function::reply::Reply;
pub use function::reply_error::ReplyError;
pub use function::request::{Headers, Peer, Request};
pub use function::route::Route;
pub use limits::{Limit, LimitError, Limits};
pub use networks::Networks;
pub use platform::hooks::Hook;
pub use run::{run, serve};
pub use server::Server;
pub use server::stopper::Stopper;
pub use start_error::StartError;
