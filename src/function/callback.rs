//! The types of the callbacks that an author writes.

use crate::function::context::Context;
use crate::function::error::Error;
use crate::function::lifecycle::Thaw;
use crate::function::reply::Reply;
use crate::function::request::Request;
use crate::platform::hooks::Hook;

/// The result of a callback: a reply, or an error. With both types given it is the standard library's, so
/// `use fc_hooks::*` breaks no `Result<T, E>`.
pub type Result<T = Reply, E = Error> = std::result::Result<T, E>;

/// A lifecycle hook: `initialize`, `pre-freeze`, `pre-stop`. The server answers `Ok` with 200 and the value as the
/// body, and an `Err` or a panic with 404 (C-STAT-1).
pub type HookFn<S> = fn(&mut S, &Context<'_>) -> Result;

/// The callback for events, or for the HTTP calls of a route.
pub type CallFn<S> = fn(&mut S, &Context<'_>, &Request<'_>) -> Result;

/// Runs before the first request after a freeze. The server logs a failure and serves the request all the same.
pub type ThawFn<S> = fn(&mut S, &Context<'_>, &Thaw) -> Result<()>;

/// Sees every hook call after it was answered, including those that the author's hook never sees.
pub type ObserveFn<S> = fn(&mut S, &Context<'_>, &Request<'_>, HookOutcome);

/// The outcome of a hook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookOutcome {
    /// Which hook was called.
    pub hook: Hook,
    /// The callback ran. Otherwise the call got a stored answer or was refused.
    pub ran: bool,
    /// The answer was 404.
    pub failed: bool,
}
