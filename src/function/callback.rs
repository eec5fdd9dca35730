//! The types of callbacks: what an author writes.

use crate::function::context::Context;
use crate::function::error::Error;
use crate::function::lifecycle::Thaw;
use crate::function::reply::Reply;
use crate::function::request::Request;

/// What callbacks return: a body, or why there is none.
pub type Result<T = Reply> = std::result::Result<T, Error>;

/// A lifecycle hook: `initialize`, `pre-freeze`, `pre-stop`. `Ok` is answered with 200 and the value as body, `Err`
/// and a panic with 404 (C-STAT-1).
pub type HookFn<S> = fn(&mut S, &Context<'_>) -> Result;

/// An event or an HTTP call.
pub type CallFn<S> = fn(&mut S, &Context<'_>, &Request<'_>) -> Result;

/// Runs before the first request after a freeze. A failure is logged; the request goes on.
pub type ThawFn<S> = fn(&mut S, &Context<'_>, &Thaw) -> Result<()>;
