//! The shell of one instance: a thread that starts it, freezes it and removes it, and a pool of connections to it.
//!
//! The thread lives as long as the instance, and does what takes long. What takes microseconds, such as a thaw by a
//! control group, is done on the caller's thread. If the emulator ends in any way, the supervisor of each target ends
//! it, so no instance outlives us.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderMap;

use super::config::FunctionConfig;
use super::headers;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::instance::{Instance, Variant};
use crate::output::Line;
use crate::platform::{Caller, Hook, Platform, ids};
use crate::target::{self, Exit, Ready, Spec};

/// A thread that mostly waits needs little.
const STACK_BYTES: usize = 512 * 1024;

/// The requests on a pooled connection.
pub type Sender1 = SendRequest<Full<Bytes>>;

/// Work for the thread of an instance.
enum Job {
    Freeze(Box<dyn FnOnce(Result<()>) + Send>),
    Thaw(Box<dyn FnOnce(Result<()>) + Send>),
    End { orderly: bool, done: Box<dyn FnOnce() + Send> },
}

/// One instance.
pub struct Worker {
    /// Its id, as `FC_INSTANCE_ID` has it.
    pub name: String,
    /// The headers of the platform for an event, without what belongs to one call.
    pub event_headers: HeaderMap,
    /// The same for an HTTP call.
    pub http_headers: HeaderMap,
    /// The id of its first process, if that is on this machine.
    pub pid: Option<u32>,
    platform: Platform,
    addr: SocketAddr,
    shared: Arc<Shared>,
    jobs: Mutex<Sender<Job>>,
    thaws_at_once: bool,
    pub(super) pool: Mutex<Vec<Sender1>>,
    /// The ids of the calls that run, and of the last one that ended.
    calls: Mutex<(Vec<String>, Option<String>)>,
}

/// What the thread and the other threads share.
struct Shared {
    /// `None` after the removal.
    instance: Mutex<Option<Instance>>,
    cancelled: AtomicBool,
}

/// An instance that is being started. It can be cancelled before it is ready.
#[derive(Clone)]
pub struct Starting(Arc<Shared>);

impl Starting {
    /// Ends the start. The thread then removes what it has started.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
    }
}

/// Who hears of an instance that is being started.
pub struct Listener {
    /// Gets every line of its output.
    pub line: Box<dyn Fn(Line) + Send + Sync>,
    /// Is told when it is ready, or why it is not. Then it is removed already.
    pub ready: Box<dyn FnOnce(std::result::Result<Worker, String>) + Send>,
}

/// Starts an instance on a thread of its own.
///
/// # Errors
/// If there can be no more threads.
pub fn start(config: &FunctionConfig, listener: Listener) -> Result<Starting> {
    let shared = Arc::new(Shared { instance: Mutex::new(None), cancelled: AtomicBool::new(false) });
    let starting = Starting(shared.clone());
    let config = config.clone();
    let thread = std::thread::Builder::new().name("fc-instance".to_owned()).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        let (send, jobs) = channel();
        match begin(&config, &shared, send, listener.line) {
            Ok(worker) => {
                (listener.ready)(Ok(worker));
                work(&shared, &jobs, config.setup.limits.term);
            }
            Err(why) => (listener.ready)(Err(why)),
        }
    });
    spawned.map_err(|cause| Error::failed("start", "a thread for an instance", cause))?;
    Ok(starting)
}

/// Starts the target and waits until it listens.
fn begin(
    config: &FunctionConfig,
    shared: &Arc<Shared>,
    jobs: Sender<Job>,
    line: Box<dyn Fn(Line) + Send + Sync>,
) -> std::result::Result<Worker, String> {
    let name = format!("c-{:08x}-{:012x}", ids::random() as u32, ids::random() & 0xffff_ffff_ffff);
    let variables = [
        ("FC_INSTANCE_ID", name.clone()),
        ("FC_FUNCTION_NAME", config.name.clone()),
        ("FC_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
        ("FC_FUNCTION_HANDLER", config.handler.clone()),
    ];
    let env = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let variant = Variant { env, ..Variant::default() };
    let mut instance = Instance::start(&config.setup, &variant).map_err(|why| why.to_string())?;
    if let Some(output) = instance.target.output() {
        output.divert(line);
    }
    let (platform, addr) = (instance.platform.clone(), instance.target.addr());
    wait_ready(&mut instance, shared)?;
    let pid = instance.target.pid();
    *shared.instance() = Some(instance);
    Ok(Worker {
        name,
        pid,
        event_headers: headers::template(&platform, Caller::Event, config),
        http_headers: headers::template(&platform, Caller::Http, config),
        platform,
        addr,
        shared: shared.clone(),
        jobs: Mutex::new(jobs),
        thaws_at_once: matches!(config.setup.spec, Spec::Command(_)) && config.setup.machines.is_none(),
        pool: Mutex::new(Vec::new()),
        calls: Mutex::default(),
    })
}

/// The start-up check (C-START-2, C-START-3). It ends early when the start is cancelled.
fn wait_ready(instance: &mut Instance, shared: &Shared) -> std::result::Result<(), String> {
    match instance.wait_ready_unless(&|| shared.cancelled.load(Ordering::SeqCst)) {
        Ready::Yes => Ok(()),
        Ready::Exited(how) => Err(format!("the instance {how} before it listened")),
        Ready::No(why) | Ready::Stranger(why) => Err(why),
    }
}

/// The life of the thread after the start.
fn work(shared: &Shared, jobs: &Receiver<Job>, term: Duration) {
    let gone = || Error::new("the instance is removed");
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Freeze(done) => {
                let frozen = shared.instance().as_mut().ok_or_else(gone).and_then(|one| one.target.freeze_unproven());
                done(frozen);
            }
            Job::Thaw(done) => {
                let thawed = shared.instance().as_mut().ok_or_else(gone).and_then(|one| one.target.thaw());
                done(thawed);
            }
            Job::End { orderly, done } => {
                let instance = shared.instance().take();
                if let Some(mut instance) = instance
                    && orderly
                    && instance.target.terminate().is_ok()
                {
                    target::wait_exit(&mut *instance.target, Deadline::after(term));
                }
                done();
                return;
            }
        }
    }
    // The function is gone: so is the instance.
    drop(shared.instance().take());
}

impl Shared {
    fn instance(&self) -> MutexGuard<'_, Option<Instance>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// The address of the target.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The headers of a hook, and its request id.
    pub fn hook_headers(&self, hook: Hook, config: &FunctionConfig) -> (HeaderMap, String) {
        let id = self.new_id();
        let mut map = headers::template(&self.platform, Caller::Hook(hook), config);
        map.insert(headers::REQUEST_ID, headers::value(&id));
        (map, id)
    }

    /// The request id of a new call.
    pub fn new_id(&self) -> String {
        ids::request_id(self.platform.settings.ids)
    }

    /// Freezes the instance, and calls `done` when the freeze is in force.
    pub fn freeze(&self, done: impl FnOnce(Result<()>) + Send + 'static) {
        self.order(Job::Freeze(Box::new(done)));
    }

    /// Thaws the instance, and calls `done` when it runs. That is before the function returns if a thaw takes
    /// microseconds.
    pub fn thaw(&self, keeps_connections: bool, done: impl FnOnce(Result<()>) + Send + 'static) {
        if !keeps_connections {
            self.pool().clear();
        }
        if !self.thaws_at_once {
            return self.order(Job::Thaw(Box::new(done)));
        }
        let gone = || Error::new("the instance is removed");
        let thawed = self.shared.instance().as_mut().ok_or_else(gone).and_then(|one| one.target.thaw());
        done(thawed);
    }

    /// Ends the instance and removes it, then calls `done`.
    pub fn end(&self, orderly: bool, done: impl FnOnce() + Send + 'static) {
        self.pool().clear();
        self.order(Job::End { orderly, done: Box::new(done) });
    }

    /// How the instance ended by itself, if it did. An instance that is just being frozen or removed is not looked at.
    pub fn try_exit(&self) -> Option<Exit> {
        self.shared.instance.try_lock().ok()?.as_mut()?.target.try_exit()
    }

    /// A call begins.
    pub fn call_began(&self, id: &str) {
        self.calls().0.push(id.to_owned());
    }

    /// A call is over.
    pub fn call_ended(&self, id: &str) {
        let mut calls = self.calls();
        if let Some(index) = calls.0.iter().position(|one| one == id) {
            let id = calls.0.swap_remove(index);
            calls.1 = Some(id);
        }
    }

    /// The call to which a line without a mark belongs: the only one that runs, else the last one if none runs.
    pub fn likely_call(&self) -> Option<String> {
        let calls = self.calls();
        match calls.0.as_slice() {
            [one] => Some(one.clone()),
            [] => calls.1.clone(),
            _ => None,
        }
    }

    fn calls(&self) -> MutexGuard<'_, (Vec<String>, Option<String>)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, Vec<Sender1>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the thread the instance is removed. Dropping a job tells its owner so.
        let _ = jobs.send(job);
    }
}
