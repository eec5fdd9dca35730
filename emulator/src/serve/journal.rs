//! What happened: the phases of instances over time, and the newest calls. The page and the metrics are made of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::core::{Found, InstanceId, Phase, Time};

/// The records that are kept of each kind.
const KEPT: usize = 4_000;

/// The upper bounds of the classes of durations, in seconds.
pub const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// A change of an instance's phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseChange {
    /// Its number; later records have larger ones.
    pub seq: u64,
    /// When it was, in milliseconds since the start.
    pub at_ms: f64,
    /// The function.
    pub function: String,
    /// The number of the instance.
    pub instance: InstanceId,
    /// The new phase; `removed` at the end.
    pub phase: &'static str,
}

/// A call that is over.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// Its number; later records have larger ones.
    pub seq: u64,
    /// The request id.
    pub request: String,
    /// The function.
    pub function: String,
    /// The instance, if it reached one.
    pub instance: Option<InstanceId>,
    /// `http`, `event` or `async`.
    pub kind: &'static str,
    /// The method and the path.
    pub line: String,
    /// The status that the caller got.
    pub status: u16,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// When it came, in milliseconds since the start.
    pub at_ms: f64,
    /// How long it waited for an instance, in milliseconds.
    pub waited_ms: f64,
    /// How long it took in all, in milliseconds.
    pub took_ms: f64,
    /// `cold`, `thawed` or `warm`.
    pub found: Option<&'static str>,
}

/// A distribution of durations.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// How many lie in each class of [`BOUNDS`], and above.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Their sum in seconds.
    pub sum: f64,
}

impl Histogram {
    fn add(&mut self, span: Time) {
        let secs = span.as_secs_f64();
        let class = BOUNDS.iter().position(|bound| secs <= *bound).unwrap_or(BOUNDS.len());
        self.counts[class] += 1;
        self.sum += secs;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The counts of one function.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls by status.
    pub calls: BTreeMap<u16, u64>,
    /// Calls with an error of the platform or of the function.
    pub errors: u64,
    /// Calls by how they found their instance.
    pub found: BTreeMap<&'static str, u64>,
    /// The durations of calls, the wait for an instance included.
    pub took: Histogram,
    /// From the thaw of an instance to the answer of the call that thawed it.
    pub thawed: Histogram,
    /// From a call that found no instance to its answer.
    pub cold: Histogram,
    /// How often instances entered each phase.
    pub phases: BTreeMap<&'static str, u64>,
}

/// What happened so far.
#[derive(Default)]
pub struct Journal(Mutex<Book>);

#[derive(Default)]
struct Book {
    seq: u64,
    phases: VecDeque<PhaseChange>,
    calls: VecDeque<CallRecord>,
    counts: BTreeMap<String, Counts>,
}

fn keep<T>(list: &mut VecDeque<T>, record: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(record);
}

/// Milliseconds with their fraction.
pub fn millis(span: Time) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

impl Journal {
    /// An instance entered a phase; `None` is its removal.
    pub fn phase(&self, function: &str, instance: InstanceId, phase: Option<Phase>, at: Time) {
        let mut book = self.book();
        book.seq += 1;
        let phase = phase.map_or("removed", Phase::name);
        let seq = book.seq;
        let change = PhaseChange { seq, at_ms: millis(at), function: function.to_owned(), instance, phase };
        keep(&mut book.phases, change);
        *book.counts(function).phases.entry(phase).or_default() += 1;
    }

    /// A call is over. The number of the record is set here.
    pub fn call(&self, mut record: CallRecord, found: Option<Found>, took: Time) {
        let mut book = self.book();
        book.seq += 1;
        record.seq = book.seq;
        let counts = book.counts(&record.function);
        *counts.calls.entry(record.status).or_default() += 1;
        counts.errors += u64::from(record.error.is_some());
        counts.took.add(took);
        if let Some(found) = found {
            *counts.found.entry(found.name()).or_default() += 1;
            match found {
                Found::Cold => counts.cold.add(took),
                Found::Thawed => counts.thawed.add(took),
                Found::Warm => {}
            }
        }
        keep(&mut book.calls, record);
    }

    /// The records after this number, and the number of the newest.
    pub fn since(&self, seq: u64) -> (Vec<PhaseChange>, Vec<CallRecord>, u64) {
        let book = self.book();
        let phases = book.phases.iter().rev().take_while(|one| one.seq > seq).cloned();
        let calls = book.calls.iter().rev().take_while(|one| one.seq > seq).cloned();
        let (mut phases, mut calls): (Vec<_>, Vec<_>) = (phases.collect(), calls.collect());
        phases.reverse();
        calls.reverse();
        (phases, calls, book.seq)
    }

    /// The counts of every function.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.book().counts.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn counts(&mut self, function: &str) -> &mut Counts {
        if !self.counts.contains_key(function) {
            self.counts.insert(function.to_owned(), Counts::default());
        }
        self.counts.entry(function.to_owned()).or_default()
    }
}
