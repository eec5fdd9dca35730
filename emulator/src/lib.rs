//! An emulator of the Function Compute platform, for one instance.
//!
//! It drives any container or server through its lifecycle as the platform would (`run`), and checks it against the
//! contract of the platform (`check`). The target may be written in any language. The emulator sees it only from
//! outside: its port, its output, its signals, its exit.
//!
//! With the feature `serve` it is also a local platform for the developer of a function (`serve`): it has HTTP triggers
//! and the API calls that invoke a function, at once or later. It is no gateway for real callers.
//!
//! From the outside in: [`cli`] turns arguments into plans, with the [`options`] that other tools share.
//! [`lifecycle_run`] and [`check`] carry the plans out with a [`target`], a [`freezer`], the requests of the
//! [`platform`] and the [`http`] client. [`report`] shows the outcome. [`cleanup`] removes everything that was started.

pub mod check;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod command_help;
pub mod error;
pub mod freezer;
pub mod http;
pub mod instance;
pub mod leftovers;
pub mod lifecycle_run;
pub mod options;
pub mod output;
pub mod owner;
pub mod platform;
#[cfg_attr(not(target_os = "linux"), path = "process_elsewhere.rs")]
mod process;
pub mod report;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(target_os = "linux")]
pub mod sock_diag;
pub mod target;
pub mod vm;
