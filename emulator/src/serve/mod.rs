//! The local platform: functions on this machine, scaled from zero, frozen when idle, thawed by a call.
//!
//! [`core`] decides, without I/O and without a clock. [`function`] carries its decisions out with a thread per instance
//! (`worker`); `gateway` takes requests, [`call`] sends them on. Requests are carried by tasks of an asynchronous
//! runtime, so that a call costs no thread. [`tasks`] has the asynchronous calls, [`api`] what the official clients
//! call, [`definition`] the functions of a file, and `page` what people see.

pub mod api;
pub mod args;
pub mod call;
pub mod config;
pub mod core;
pub mod definition;
pub mod fault;
pub mod function;
pub mod journal;
pub mod logs;
pub mod tasks;

mod body;
mod exchange;
mod gateway;
mod headers;
mod hooks;
mod metrics;
mod page;
mod refusals;
mod trigger;
mod websocket;
mod worker;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use self::api::Auth;
use self::config::FunctionConfig;
use self::core::{InstanceId, Time};
use self::function::Function;
use self::journal::Journal;
use self::logs::Logs;
use self::tasks::{Keeper, Tasks};
use crate::error::{Error, Result};
use crate::output::Line;
use crate::platform::{IdForm, ids};

/// What is to be served.
#[derive(Debug)]
pub struct Plan {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The functions.
    pub functions: Vec<FunctionConfig>,
    /// What is to be said of them at the start.
    pub notices: Vec<String>,
    /// Whether the output of instances is not printed.
    pub quiet: bool,
    /// How signatures are treated.
    pub auth: Auth,
    /// The file in which asynchronous calls outlive a restart, if they do.
    pub store: Option<PathBuf>,
}

/// What all functions share.
pub struct Shared {
    epoch: Instant,
    /// What happened.
    pub journal: Journal,
    /// What instances printed.
    pub logs: Logs,
    /// How signatures are treated.
    pub auth: Auth,
    quiet: bool,
    ids: IdForm,
    /// Tells this run from others, whose records are counted anew.
    run: u64,
}

impl Shared {
    /// The time since the start.
    pub fn now(&self) -> Time {
        self.epoch.elapsed()
    }

    /// The id of a request that belongs to no function.
    pub fn new_id(&self) -> String {
        ids::request_id(self.ids)
    }

    /// Shows a line of an instance on standard output.
    pub fn print(&self, function: &str, instance: InstanceId, line: &Line) {
        if !self.quiet {
            // If standard output is closed, the page still has the line.
            let _ = writeln!(std::io::stdout().lock(), "{function}/{instance} | {}", line.text);
        }
    }
}

/// All functions, and what they share.
pub struct Platform {
    functions: BTreeMap<String, Arc<Function>>,
    shared: Arc<Shared>,
    /// Whether the first part of a path names the function.
    paths_have_names: bool,
}

/// Serves until the program is ended.
///
/// # Errors
/// If the address cannot be listened on, or the runtime cannot be started.
pub fn run(plan: Plan) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    for notice in &plan.notices {
        // If standard error is closed, nobody misses it.
        let _ = writeln!(std::io::stderr(), "fc-emulator: {notice}");
    }
    let keeper = Arc::new(keeper(plan.store.as_deref())?);
    // One thread: on a call's way from the client to the instance and back, no thread has to wake up another one. What
    // takes long is done by the threads of the instances.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Error::failed("start", "the asynchronous runtime", cause))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(plan.listen).await;
        let listener = listener.map_err(|cause| Error::failed("listen on", plan.listen, cause))?;
        let addr = listener.local_addr().map_err(|cause| Error::failed("listen on", plan.listen, cause))?;
        let form = plan.functions.first().map_or(IdForm::Uuid, |function| function.setup.settings.ids);
        let (journal, logs) = (Journal::default(), Logs::default());
        let auth = plan.auth;
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            journal,
            logs,
            auth,
            quiet: plan.quiet,
            ids: form,
            run: ids::random() >> 12,
        });
        let paths_have_names = plan.functions.len() > 1;
        let mut functions = BTreeMap::new();
        for config in plan.functions {
            let tasks = Tasks::new(&config.name, keeper.clone())?;
            let left = tasks.look(tasks::book::Book::open);
            if left > 0 {
                tracing::info!(function = config.name, "{left} asynchronous calls of an earlier run go on");
            }
            functions.insert(config.name.clone(), Function::new(config, shared.clone(), tasks));
        }
        for function in functions.values() {
            tokio::spawn(tasks::work(function.clone()));
        }
        let names: Vec<&str> = functions.keys().map(String::as_str).collect();
        let ready = format!("fc-emulator: serving {} at http://{addr} (page: http://{addr}/_fc/)", names.join(", "));
        writeln!(std::io::stdout().lock(), "{ready}")
            .map_err(|cause| Error::failed("write to", "standard output", cause))?;
        gateway::listen(listener, Arc::new(Platform { functions, shared, paths_have_names })).await;
        Ok(())
    })
}

#[cfg(feature = "store")]
fn keeper(path: Option<&std::path::Path>) -> Result<Keeper> {
    match path {
        Some(path) => Keeper::file(path, &mut |said| tracing::warn!("{said}")),
        None => Ok(Keeper::default()),
    }
}

#[cfg(not(feature = "store"))]
fn keeper(path: Option<&std::path::Path>) -> Result<Keeper> {
    match path {
        Some(_) => Err(Error::new("this build has no store, because SQLite is not in it: leave `--store` out")),
        None => Ok(Keeper::default()),
    }
}
