//! Hooks for any program: `fc-hooks -- ./server`.
//!
//! The adapter starts a program, listens in its place, and passes every event and HTTP call on to it. A hook is a
//! request to the program or a command. Only the binary uses this module: what a program of one's own does between two
//! calls belongs into callbacks. `docs/adapter.md` describes the behaviour.
//!
//! This folder does no I/O.

pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod downstream;
pub(crate) mod environment;
pub(crate) mod gate;
pub(crate) mod head;
pub(crate) mod own_paths;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod relay;
pub(crate) mod reply;
pub(crate) mod reply_head;
pub(crate) mod settings;
pub(crate) mod upstream;
mod words;

pub use crate::run::exec;
pub use crate::server::adapter::run;
pub use crate::server::client::{call, print, refuse};
pub use client::ClientCall;
pub use config::{AdapterSetting, TIME_FORM};
pub use settings::Settings;
