//! Asynchronous calls: they are accepted at once, wait for an instance, are tried again after a failure (C-INV-8), and
//! outlive a restart of the emulator.
//!
//! [`book`] decides, without I/O. [`store`] keeps what it decides in a file.

mod accept;
pub mod book;
mod destination;
mod http;
#[cfg(feature = "store")]
pub mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use self::book::{AsyncPolicy, Book, Delivery, Millis, OPEN_MAX, Outcome, Status, Stop, Task};
use super::call::{self, Outgoing, Place};
use super::fault::Fault;
use super::function::Function;
use crate::error::Result;

pub use accept::accept;
pub use destination::check_url;
pub use http::HttpCall;

/// The body of an asynchronous call has at most this size (LIM).
pub const ASYNC_BYTES_MAX: usize = 128 * 1024;

/// A call waits at most this long before its first try.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// A longer answer of a function is cut in the record of its call.
const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// So many asynchronous calls of a function ask for an instance at the same time. The others wait in the book.
const AT_ONCE_MAX: usize = 500;

/// Keeps calls over a restart, or does not.
#[derive(Default)]
pub struct Keeper {
    #[cfg(feature = "store")]
    store: Option<store::Store>,
}

impl Keeper {
    /// Keeps them in a file. `notice` gets a sentence if an unusable file was set aside.
    ///
    /// # Errors
    /// If the file cannot be used.
    #[cfg(feature = "store")]
    pub fn file(path: &std::path::Path, notice: &mut dyn FnMut(&str)) -> Result<Self> {
        Ok(Self { store: Some(store::Store::open(path, notice)?) })
    }

    fn load(&self, function: &str) -> Result<Vec<Task>> {
        #[cfg(feature = "store")]
        if let Some(store) = &self.store {
            return store.load(function);
        }
        let _ = function;
        Ok(Vec::new())
    }

    fn save(&self, function: &str, task: &Task) -> Result<()> {
        #[cfg(feature = "store")]
        if let Some(store) = &self.store {
            return store.save(function, task);
        }
        let _ = (function, task);
        Ok(())
    }

    fn remove(&self, function: &str, id: &str) -> Result<()> {
        #[cfg(feature = "store")]
        if let Some(store) = &self.store {
            return store.remove(function, id);
        }
        let _ = (function, id);
        Ok(())
    }
}

/// The asynchronous calls of one function.
pub struct Tasks {
    book: Mutex<Book>,
    changed: Notify,
    running: Mutex<HashMap<String, AbortHandle>>,
    keeper: Arc<Keeper>,
    config: Mutex<Option<AsyncConfig>>,
}

/// What somebody has put by the API. It holds in place of the options.
#[derive(Clone, Debug)]
pub struct AsyncConfig {
    /// How calls are repeated.
    pub policy: AsyncPolicy,
    /// Whether calls are to be tasks. Here all are.
    pub tasks: bool,
    /// When the first of them was put.
    pub created: SystemTime,
    /// When this one was put.
    pub changed: SystemTime,
}

/// A moment as the API writes it.
pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The time since 1970.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Tasks {
    /// The calls that an earlier run left, and the later ones.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(function: &str, keeper: Arc<Keeper>) -> Result<Self> {
        let book = Book::after_restart(keeper.load(function)?, now());
        let (changed, running, config) = (Notify::new(), Mutex::default(), Mutex::default());
        Ok(Self { book: Mutex::new(book), changed, running, keeper, config })
    }

    /// What is known of the calls.
    pub fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book())
    }

    /// What was put by the API.
    pub fn config(&self) -> Option<AsyncConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts something, or takes it back.
    pub fn configure(&self, config: Option<AsyncConfig>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the calls of a function are repeated now.
fn policy(function: &Function) -> AsyncPolicy {
    function.tasks.config().map_or_else(|| function.config.async_policy.clone(), |config| config.policy)
}

/// Takes a call in. When this returns, the call is stored.
///
/// # Errors
/// If there is a call with its id, too many wait already, or it cannot be stored.
pub fn enqueue(function: &Function, task: Task) -> std::result::Result<(), Fault> {
    let tasks = &function.tasks;
    let mut book = tasks.book();
    if book.open() >= OPEN_MAX {
        return Err(Fault::Busy(format!("{OPEN_MAX} asynchronous calls of this function wait already")));
    }
    let id = task.id.clone();
    if !book.add(task.clone()) {
        let text = format!("there is an asynchronous call with the id {id} already");
        return Err(Fault::Conflict { code: "AsyncTaskAlreadyExists", text });
    }
    if let Err(cause) = tasks.keeper.save(&function.config.name, &task) {
        book.remove(&id);
        return Err(Fault::Internal(format!("the call cannot be stored, so it is not accepted: {cause}")));
    }
    drop(book);
    tasks.changed.notify_one();
    Ok(())
}

/// Stops a call. One that runs is broken off.
pub fn stop(function: &Function, id: &str) -> Stop {
    let tasks = &function.tasks;
    let mut book = tasks.book();
    let stop = book.stop(id, now());
    if let (Stop::Done | Stop::Running, Some(task)) = (stop, book.get(id)) {
        save(function, task);
    }
    drop(book);
    if stop == Stop::Running
        && let Some(handle) = tasks.running().get(id)
    {
        handle.abort();
    }
    stop
}

/// Stores a changed call. If that fails, the call still goes on; after a restart it would be tried again.
fn save(function: &Function, task: &Task) {
    if let Err(cause) = function.tasks.keeper.save(&function.config.name, task) {
        tracing::error!(function = function.config.name, task = task.id, "{cause}");
    }
}

/// Carries asynchronous calls out until the program ends.
pub async fn work(function: Arc<Function>) {
    let policy = &function.config.policy;
    let at_once = policy.instances_max.saturating_mul(policy.concurrency).clamp(1, AT_ONCE_MAX);
    let permits = Arc::new(Semaphore::new(at_once));
    for task in function.tasks.look(Book::undelivered) {
        tokio::spawn(deliver(function.clone(), task));
    }
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let task = next(&function).await;
        save(&function, &task);
        match task.status {
            Status::Running => begin(&function, task, permit),
            _ => drop(tokio::spawn(deliver(function.clone(), task))),
        }
    }
}

/// Waits for a call that is due.
async fn next(function: &Function) -> Task {
    let tasks = &function.tasks;
    loop {
        let changed = tasks.changed.notified();
        let (task, due) = {
            let mut book = tasks.book();
            (book.claim(now(), &policy(function)), book.next_due())
        };
        match (task, due) {
            (Some(task), _) => return task,
            (None, None) => changed.await,
            (None, Some(due)) => {
                let wait = Duration::from_millis(due.saturating_sub(now()).max(1));
                let _ = tokio::time::timeout(wait, changed).await;
            }
        }
    }
}

fn begin(function: &Arc<Function>, task: Task, permit: OwnedSemaphorePermit) {
    let place = Place::default();
    let work = tokio::spawn(perform(function.clone(), task.clone(), place.clone()));
    function.tasks.running().insert(task.id.clone(), work.abort_handle());
    // Somebody may have stopped it before it could be broken off.
    if function.tasks.look(|book| book.get(&task.id).is_some_and(|task| task.status == Status::Stopping)) {
        work.abort();
    }
    let function = function.clone();
    tokio::spawn(async move {
        let outcome = work.await.unwrap_or(Outcome::Stopped);
        function.tasks.running().remove(&task.id);
        if outcome == Outcome::Stopped
            && let Some((instance, _)) = place.get()
        {
            call::abandon(&function, *instance);
        }
        drop(permit);
        end(&function, &task.id, outcome, &place);
    });
}

async fn perform(function: Arc<Function>, task: Task, place: Place) -> Outcome {
    let event = Outgoing::event(task.request.clone(), "async", task.payload.clone());
    let mut call = match &task.http {
        Some(http) => http.outgoing(event),
        None => event,
    };
    call.tries = task.retries();
    call.qualifier = task.qualifier.clone();
    call.place = Some(place);
    let failed = |fault: Fault| Outcome::Failed { text: fault.text().to_owned(), result: Bytes::new() };
    let answer = match call::perform(&function, call).await {
        Ok(answer) => answer,
        Err(fault) => return failed(fault),
    };
    let has_failed = answer.has_failed();
    let body = match answer.body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) => return failed(Fault::BadResponse(format!("the response broke off: {cause}"))),
    };
    let result = body.slice(..body.len().min(RESULT_BYTES_MAX));
    match has_failed {
        true => Outcome::Failed { text: "the function says that the call failed".to_owned(), result },
        false => Outcome::Succeeded(result),
    }
}

fn end(function: &Arc<Function>, id: &str, outcome: Outcome, place: &OnceLock<(u32, String)>) {
    let tasks = &function.tasks;
    let instance = place.get().map(|(_, name)| name.clone());
    let mut book = tasks.book();
    let Some(task) = book.ended(id, outcome, instance, now(), &policy(function)) else { return };
    save(function, &task);
    let forgotten = book.forget();
    drop(book);
    for id in forgotten {
        if let Err(cause) = tasks.keeper.remove(&function.config.name, &id) {
            tracing::error!(function = function.config.name, task = id, "{cause}");
        }
    }
    tasks.changed.notify_one();
    if task.destination == Some(Delivery::Pending) {
        tokio::spawn(deliver(function.clone(), task));
    }
}

async fn deliver(function: Arc<Function>, task: Task) {
    if task.destination != Some(Delivery::Pending) {
        return;
    }
    let AsyncPolicy { on_success, on_failure, .. } = policy(&function);
    let url = if task.status == Status::Succeeded { on_success } else { on_failure };
    // A destination that is no longer configured cannot be told.
    let delivery = match url {
        Some(url) => match destination::tell(&url, &destination::message(&function.config, &task)).await {
            Ok(()) => Delivery::Succeeded,
            Err(why) => {
                tracing::warn!(function = function.config.name, task = task.id, "destination {url}: {why}");
                Delivery::Failed
            }
        },
        None => Delivery::Failed,
    };
    if let Some(task) = function.tasks.book().delivered(&task.id, delivery) {
        save(&function, &task);
    }
}
