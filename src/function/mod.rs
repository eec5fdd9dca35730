//! The function: the author's table and callbacks, and everything that decides about a call. Pure: no I/O, no clock.

pub(crate) mod app;
pub(crate) mod builder;
pub(crate) mod call;
pub(crate) mod callback;
pub(crate) mod caller_clock;
pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod freeze;
pub(crate) mod lifecycle;
pub(crate) mod marker_log;
pub(crate) mod panic;
pub(crate) mod path;
pub(crate) mod per_hook;
pub(crate) mod query;
pub(crate) mod rejection;
pub(crate) mod reply;
pub(crate) mod reply_error;
pub(crate) mod request;
pub(crate) mod response_writer;
pub(crate) mod route;
pub(crate) mod table;
