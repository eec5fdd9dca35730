//! The asynchronous calls of one function, as a state machine: which one runs next, what follows from its end, and what
//! a restart does to it.
//!
//! It does no I/O and reads no clock. Times are milliseconds since 1970, because a call outlives the emulator.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970.
pub type Millis = u64;

/// So many calls of a function wait or run at most.
pub const OPEN_MAX: usize = 10_000;

/// So many calls of a function are remembered after their end.
pub const FINISHED_MAX: usize = 1_000;

/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How asynchronous calls are repeated (C-INV-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsyncPolicy {
    /// How often a failed call is tried again.
    pub retries: u32,
    /// An older call is not tried any more.
    pub event_age: Duration,
    /// The wait before the first retry. It doubles with each further one.
    pub backoff: Duration,
    /// The URL that is told of a success.
    pub on_success: Option<String>,
    /// The URL that is told of a failure.
    pub on_failure: Option<String>,
}

impl Default for AsyncPolicy {
    fn default() -> Self {
        Self {
            retries: 3,
            event_age: Duration::from_secs(24 * 3600),
            backoff: Duration::from_secs(1),
            on_success: None,
            on_failure: None,
        }
    }
}

/// What became of a call so far. The names are those of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It waits for its first try.
    Enqueued,
    /// It waits for another try.
    Retrying,
    /// It runs.
    Running,
    /// It runs, and is being stopped.
    Stopping,
    /// It succeeded.
    Succeeded,
    /// Every try failed.
    Failed,
    /// Somebody stopped it.
    Stopped,
    /// It became too old before it succeeded.
    Expired,
}

impl Status {
    /// Whether nothing more happens to the call.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped | Self::Expired)
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enqueued => "Enqueued",
            Self::Retrying => "Retrying",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
            Self::Expired => "Expired",
        }
    }
}

/// What became of the word to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// It is to be sent.
    Pending,
    /// The destination took it.
    Succeeded,
    /// The destination did not take it.
    Failed,
}

/// One step in the life of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// When it was.
    pub at: Millis,
    /// The status since then.
    pub status: Status,
    /// What happened, in words.
    pub detail: String,
}

/// One asynchronous call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id: the caller's own, else the request id.
    pub id: String,
    /// The request id.
    pub request: String,
    /// The qualifier that the caller named.
    pub qualifier: Option<String>,
    /// What became of it.
    pub status: Status,
    /// How often it was begun. A try that ended with the emulator does not count.
    pub tries: u32,
    /// When it came.
    pub enqueued: Millis,
    /// When it is to be tried next.
    pub due: Millis,
    /// When its last try began.
    pub started: Option<Millis>,
    /// When it ended for good.
    pub ended: Option<Millis>,
    /// The instance of its last try.
    pub instance: Option<String>,
    /// Why its last try failed.
    pub error: Option<String>,
    /// What became of the word to its destination, if it has one.
    pub destination: Option<Delivery>,
    /// Its steps, oldest first.
    pub events: Vec<TaskEvent>,
    /// The rest of the request, if it came through an HTTP trigger.
    pub http: Option<super::HttpCall>,
    /// The event, or the body of the request.
    #[serde(skip)]
    pub payload: Bytes,
    /// What the function answered last.
    #[serde(skip)]
    pub result: Bytes,
}

impl Task {
    /// A new call, to be tried after `delay`.
    pub fn new(id: String, request: String, payload: Bytes, now: Millis, delay: Duration) -> Self {
        let due = now + millis(delay);
        let event = TaskEvent { at: now, status: Status::Enqueued, detail: "the call is accepted".to_owned() };
        Self {
            id,
            request,
            qualifier: None,
            status: Status::Enqueued,
            tries: 0,
            enqueued: now,
            due,
            started: None,
            ended: None,
            instance: None,
            error: None,
            destination: None,
            events: vec![event],
            http: None,
            payload,
            result: Bytes::new(),
        }
    }

    /// How often it was tried again.
    pub fn retries(&self) -> u32 {
        self.tries.saturating_sub(1)
    }

    fn enter(&mut self, status: Status, now: Millis, detail: impl Into<String>) {
        self.status = status;
        self.events.push(TaskEvent { at: now, status, detail: detail.into() });
        if status.is_final() {
            self.ended = Some(now);
        }
    }
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function succeeded with this answer.
    Succeeded(Bytes),
    /// It failed.
    Failed {
        /// The cause in words.
        text: String,
        /// The answer of the function, if it gave one.
        result: Bytes,
    },
    /// It was broken off because somebody stopped the call.
    Stopped,
}

/// What a wish to stop a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is no such call.
    Unknown,
    /// It has ended before.
    Finished,
    /// It waited, and is stopped.
    Done,
    /// It runs and must be broken off.
    Running,
}

/// The asynchronous calls of one function.
#[derive(Debug, Default)]
pub struct Book {
    tasks: BTreeMap<String, Task>,
}

fn millis(span: Duration) -> Millis {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Book {
    /// The calls of an earlier run. Those that ran when it ended are to be tried again.
    pub fn after_restart(tasks: Vec<Task>, now: Millis) -> Self {
        let mut book = Self::default();
        for mut task in tasks {
            match task.status {
                Status::Running => {
                    task.tries = task.tries.saturating_sub(1);
                    task.due = now;
                    let status = if task.tries == 0 { Status::Enqueued } else { Status::Retrying };
                    task.enter(status, now, "the emulator ended during the call, so it is tried again");
                }
                Status::Stopping => task.enter(Status::Stopped, now, "the emulator ended before the stop"),
                _ => {}
            }
            book.tasks.insert(task.id.clone(), task);
        }
        book
    }

    /// Takes a call in. Returns whether there is none with this id yet.
    pub fn add(&mut self, task: Task) -> bool {
        let is_new = !self.tasks.contains_key(&task.id);
        if is_new {
            self.tasks.insert(task.id.clone(), task);
        }
        is_new
    }

    /// Takes a call out that could not be stored.
    pub fn remove(&mut self, id: &str) {
        self.tasks.remove(id);
    }

    /// The number of calls that wait or run.
    pub fn open(&self) -> usize {
        self.tasks.values().filter(|task| !task.status.is_final()).count()
    }

    /// A call.
    pub fn get(&self, id: &str) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// All calls, oldest first.
    pub fn all(&self) -> Vec<&Task> {
        let mut all: Vec<&Task> = self.tasks.values().collect();
        all.sort_by(|a, b| (a.enqueued, &a.id).cmp(&(b.enqueued, &b.id)));
        all
    }

    fn waiting(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| matches!(task.status, Status::Enqueued | Status::Retrying))
    }

    /// Begins the call that is due for the longest time. A call that became too old ends instead. Returns the changed
    /// call either way.
    pub fn claim(&mut self, now: Millis, policy: &AsyncPolicy) -> Option<Task> {
        let next = self.waiting().filter(|task| task.due <= now).min_by_key(|task| (task.due, task.enqueued))?;
        let id = next.id.clone();
        let task = self.tasks.get_mut(&id)?;
        if now >= task.enqueued.saturating_add(millis(policy.event_age)) {
            finish(task, Status::Expired, now, "the event is too old", policy);
        } else {
            task.tries += 1;
            task.started = Some(now);
            let detail = format!("try {} begins", task.tries);
            task.enter(Status::Running, now, detail);
        }
        Some(task.clone())
    }

    /// When the next call is due.
    pub fn next_due(&self) -> Option<Millis> {
        self.waiting().map(|task| task.due).min()
    }

    /// A try ended. Returns the changed call.
    pub fn ended(
        &mut self,
        id: &str,
        outcome: Outcome,
        instance: Option<String>,
        now: Millis,
        policy: &AsyncPolicy,
    ) -> Option<Task> {
        let task = self.tasks.get_mut(id).filter(|task| matches!(task.status, Status::Running | Status::Stopping))?;
        task.instance = instance;
        let (text, result) = match outcome {
            Outcome::Succeeded(result) => {
                task.result = result;
                task.error = None;
                finish(task, Status::Succeeded, now, "the call succeeded", policy);
                return Some(task.clone());
            }
            Outcome::Stopped => ("the call was stopped".to_owned(), Bytes::new()),
            Outcome::Failed { text, result } => (text, result),
        };
        task.result = result;
        task.error = Some(text.clone());
        let wait = policy.backoff.saturating_mul(1 << task.retries().min(20)).min(BACKOFF_MAX);
        let due = now + millis(wait);
        if task.status == Status::Stopping {
            finish(task, Status::Stopped, now, &text, policy);
        } else if task.tries > policy.retries {
            finish(task, Status::Failed, now, &text, policy);
        } else if due >= task.enqueued.saturating_add(millis(policy.event_age)) {
            finish(task, Status::Expired, now, &format!("the event is too old for another try: {text}"), policy);
        } else {
            task.due = due;
            task.enter(Status::Retrying, now, text);
        }
        Some(task.clone())
    }

    /// Somebody stops a call.
    pub fn stop(&mut self, id: &str, now: Millis) -> Stop {
        let Some(task) = self.tasks.get_mut(id) else { return Stop::Unknown };
        match task.status {
            status if status.is_final() => Stop::Finished,
            Status::Running | Status::Stopping => {
                task.enter(Status::Stopping, now, "somebody stops the call");
                Stop::Running
            }
            _ => {
                task.enter(Status::Stopped, now, "somebody stopped the call before it ran");
                Stop::Done
            }
        }
    }

    /// The destination of a call was told, or could not be. Returns the changed call.
    pub fn delivered(&mut self, id: &str, delivery: Delivery) -> Option<Task> {
        let task = self.tasks.get_mut(id)?;
        task.destination = Some(delivery);
        Some(task.clone())
    }

    /// The finished calls whose destination was not told yet.
    pub fn undelivered(&self) -> Vec<Task> {
        self.tasks.values().filter(|task| task.destination == Some(Delivery::Pending)).cloned().collect()
    }

    /// Forgets the oldest finished calls beyond [`FINISHED_MAX`]. Returns their ids.
    pub fn forget(&mut self) -> Vec<String> {
        let finished = self.tasks.values().filter(|task| task.status.is_final() && !is_pending(task));
        let mut finished: Vec<(Option<Millis>, String)> = finished.map(|task| (task.ended, task.id.clone())).collect();
        let surplus = finished.len().saturating_sub(FINISHED_MAX);
        finished.sort();
        finished.truncate(surplus);
        finished.into_iter().map(|(_, id)| id).inspect(|id| drop(self.tasks.remove(id))).collect()
    }
}

fn is_pending(task: &Task) -> bool {
    task.destination == Some(Delivery::Pending)
}

fn finish(task: &mut Task, status: Status, now: Millis, detail: &str, policy: &AsyncPolicy) {
    task.enter(status, now, detail);
    let destination = match status {
        Status::Succeeded => &policy.on_success,
        Status::Failed | Status::Expired => &policy.on_failure,
        _ => &None,
    };
    task.destination = destination.as_ref().map(|_| Delivery::Pending);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AsyncPolicy {
        AsyncPolicy { retries: 2, event_age: Duration::from_secs(100), ..AsyncPolicy::default() }
    }

    fn failed() -> Outcome {
        Outcome::Failed { text: "no".to_owned(), result: Bytes::from_static(b"why") }
    }

    fn book(ids: &[&str]) -> Book {
        let mut book = Book::default();
        for (at, id) in (0..).zip(ids) {
            let task = Task::new((*id).to_owned(), "r".to_owned(), Bytes::new(), at, Duration::ZERO);
            assert!(book.add(task.clone()) && !book.add(task), "one id, one call");
        }
        book
    }

    #[test]
    fn a_failing_call_is_tried_again_with_a_growing_wait_and_then_fails() {
        let (mut book, policy) = (book(&["a"]), policy());
        for (now, retries, next) in [(0, 0, Some(1_000)), (1_000, 1, Some(3_000)), (3_000, 2, None)] {
            assert!(now == 0 || book.claim(now - 1, &policy).is_none(), "it waits");
            let task = book.claim(now, &policy).unwrap();
            assert_eq!((task.status, task.retries()), (Status::Running, retries));
            book.ended("a", failed(), Some("i".to_owned()), now, &policy);
            assert_eq!(book.next_due(), next);
        }
        let task = book.get("a").unwrap();
        assert_eq!((task.status, task.tries, task.ended), (Status::Failed, 3, Some(3_000)));
        assert_eq!((task.error.as_deref(), &task.result[..]), (Some("no"), &b"why"[..]));
        assert_eq!(task.destination, None);
    }

    #[test]
    fn the_oldest_due_call_is_first_and_a_success_ends_it() {
        let (mut book, policy) = (book(&["b", "a"]), AsyncPolicy { on_success: Some("u".to_owned()), ..policy() });
        assert_eq!(book.claim(5, &policy).unwrap().id, "b");
        assert_eq!(book.claim(5, &policy).unwrap().id, "a");
        assert_eq!(book.claim(5, &policy), None);
        let task = book.ended("b", Outcome::Succeeded(Bytes::new()), None, 6, &policy).unwrap();
        assert_eq!((task.status, task.destination), (Status::Succeeded, Some(Delivery::Pending)));
        assert_eq!(book.undelivered().len(), 1);
        assert_eq!(book.delivered("b", Delivery::Failed).unwrap().destination, Some(Delivery::Failed));
        assert_eq!(book.ended("b", failed(), None, 7, &policy), None, "a call ends once");
    }

    #[test]
    fn a_call_becomes_too_old_before_a_try_and_for_another_one() {
        let (mut book, policy) = (book(&["a", "b"]), AsyncPolicy { on_failure: Some("u".to_owned()), ..policy() });
        assert_eq!(book.claim(99_500, &policy).unwrap().status, Status::Running);
        assert_eq!(book.ended("a", failed(), None, 99_600, &policy).unwrap().status, Status::Expired);
        let task = book.claim(100_001, &policy).unwrap();
        assert_eq!((task.status, task.destination, task.tries), (Status::Expired, Some(Delivery::Pending), 0));
    }

    #[test]
    fn calls_are_stopped_while_they_wait_and_while_they_run() {
        let (mut book, policy) = (book(&["a", "b"]), policy());
        book.claim(0, &policy);
        assert_eq!(
            [book.stop("a", 1), book.stop("b", 1), book.stop("c", 1)],
            [Stop::Running, Stop::Done, Stop::Unknown]
        );
        let task = book.ended("a", Outcome::Stopped, None, 2, &policy).unwrap();
        assert_eq!((task.status, book.stop("a", 3)), (Status::Stopped, Stop::Finished));
        assert_eq!(book.next_due(), None);
    }

    #[test]
    fn a_restart_tries_again_what_ran_and_counts_no_retry_for_it() {
        let (mut book, policy) = (book(&["a", "b"]), policy());
        book.claim(0, &policy);
        let stored = book.all().into_iter().cloned().collect();
        let mut book = Book::after_restart(stored, 50);
        let task = book.claim(50, &policy).unwrap();
        assert_eq!(task.id, "b", "it is due for a longer time");
        let task = book.claim(50, &policy).unwrap();
        assert_eq!((task.id.as_str(), task.retries(), task.status), ("a", 0, Status::Running));
        book.stop("a", 60);
        let stored = book.all().into_iter().cloned().collect();
        assert_eq!(Book::after_restart(stored, 70).get("a").unwrap().status, Status::Stopped);
    }

    #[test]
    fn only_finished_calls_are_forgotten() {
        let mut book = Book::default();
        for number in 0..FINISHED_MAX as u64 + 3 {
            let task = Task::new(format!("{number:05}"), String::new(), Bytes::new(), number, Duration::ZERO);
            book.add(task);
        }
        for number in 0..FINISHED_MAX as u64 + 2 {
            book.stop(&format!("{number:05}"), number);
        }
        assert_eq!(book.forget(), ["00000", "00001"]);
        assert_eq!((book.open(), book.all().len()), (1, FINISHED_MAX + 1));
    }
}
