//! Runs checks, several at the same time, and each as soon as the checks that it needs have ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::context::CheckContext;
use super::{Check, FRAMING, Finding, Findings, Outcome, Plan, Stop};
use crate::clock::seconds;
use crate::error::Result;
use crate::target::{self, Spec};

/// Every other check needs this one.
const READY: &str = "ready";

/// The checks and their states, which all workers share.
struct Board {
    entries: Mutex<Vec<Entry>>,
    changed: Condvar,
}

struct Entry {
    check: &'static Check,
    state: State,
}

enum State {
    Waiting,
    Running,
    /// The finding, and the check that prevented this one, if one did.
    Ended(Finding, Option<&'static str>),
}

/// Runs the checks of a plan. `progress` gets each finding and the number of checks.
///
/// # Errors
/// If a name in the plan names no check, or no Docker engine answers for an image.
pub fn run(plan: &Plan, progress: impl Fn(&Finding, usize) + Sync) -> Result<Findings> {
    let checks = plan.selected()?;
    if let Spec::Image { .. } = plan.setup.spec {
        target::engine_answers()?;
    }
    let started = Instant::now();
    let entries = checks.iter().map(|check| Entry { check, state: State::Waiting }).collect();
    let board = Board { entries: Mutex::new(entries), changed: Condvar::new() };
    let initialized = Mutex::new(false);
    let shared = matches!(plan.setup.spec, Spec::Addr(_));
    // Two checks cannot use one instance, or one fixed port, at the same time.
    let here = matches!(plan.setup.spec, Spec::Command(_)) && plan.setup.machines.is_none();
    let alone = shared || (plan.setup.port.is_some() && here);
    let workers = if alone { 1 } else { plan.jobs.max(1) };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| board.work(&CheckContext::new(plan, &initialized), &progress));
        }
    });
    let findings = board.resolve();
    let circumstances = circumstances(plan, &findings);
    Ok(Findings {
        target: plan.setup.spec.to_string(),
        circumstances,
        findings,
        strict: plan.strict,
        ms: started.elapsed().as_millis() as u64,
    })
}

impl Board {
    fn work(&self, context: &CheckContext<'_>, progress: &(impl Fn(&Finding, usize) + Sync)) {
        while let Some(index) = self.next() {
            let (check, hindrance) = {
                let entries = self.entries();
                (entries[index].check, hindrance(&entries, entries[index].check))
            };
            let started = Instant::now();
            let verdict = match hindrance {
                Some(by) => Err(Stop::Blocked { by, why: format!("not tried, because the check `{by}` did not pass") }),
                // A panic in one check must not make the others wait forever.
                None => catch_unwind(AssertUnwindSafe(|| (check.run)(context)))
                    .unwrap_or_else(|_| Err(Stop::Untested("the check itself panicked".into()))),
            };
            let (finding, by) = finding(check, verdict, started);
            progress(&finding, self.entries().len());
            self.entries()[index].state = State::Ended(finding, by);
            self.changed.notify_all();
        }
    }

    /// The next check that can begin. It waits for one, and returns `None` when none is left.
    fn next(&self) -> Option<usize> {
        let mut entries = self.entries();
        loop {
            let waiting = |entry: &Entry| matches!(entry.state, State::Waiting);
            let can_begin = |entry: &&Entry| waiting(entry) && ended(&entries, entry.check);
            if let Some(index) = entries.iter().position(|entry| can_begin(&entry)) {
                entries[index].state = State::Running;
                return Some(index);
            }
            if !entries.iter().any(waiting) {
                return None;
            }
            entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All findings. A check that is blocked by one that passed is untested.
    fn resolve(self) -> Vec<Finding> {
        let entries = self.entries.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed = |by: &str| {
            entries.iter().any(|entry| match &entry.state {
                State::Ended(finding, _) => {
                    finding.id == by && matches!(finding.outcome, Outcome::Failed | Outcome::Blocked)
                }
                _ => false,
            })
        };
        let resolved = |entry: &Entry| match &entry.state {
            State::Ended(finding, Some(by)) if !failed(by) => {
                Some(Finding { outcome: Outcome::Untested, ..finding.clone() })
            }
            State::Ended(finding, _) => Some(finding.clone()),
            State::Waiting | State::Running => None,
        };
        entries.iter().filter_map(resolved).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `check` needs the check `id`. Every check needs the start-up check, and replies that can be read.
fn needs(check: &Check, id: &str) -> bool {
    check.needs.contains(&id) || (check.id != READY && (id == READY || (id == FRAMING && check.id != FRAMING)))
}

/// Whether all the checks that `check` needs have ended, as far as they were chosen.
fn ended(entries: &[Entry], check: &Check) -> bool {
    let open = |entry: &Entry| needs(check, entry.check.id) && !matches!(entry.state, State::Ended(..));
    !entries.iter().any(open)
}

/// The first needed check that did not pass. A check that was skipped or not chosen does not count.
fn hindrance(entries: &[Entry], check: &Check) -> Option<&'static str> {
    let stops = |entry: &&Entry| match &entry.state {
        State::Ended(finding, _) => !matches!(finding.outcome, Outcome::Passed | Outcome::Skipped),
        State::Waiting | State::Running => false,
    };
    entries.iter().filter(|entry| needs(check, entry.check.id)).find(stops).map(|entry| entry.check.id)
}

fn finding(check: &'static Check, verdict: super::Verdict, started: Instant) -> (Finding, Option<&'static str>) {
    let (outcome, actual, by) = match verdict {
        Ok(actual) => (Outcome::Passed, actual, None),
        Err(Stop::Fail(actual)) => (Outcome::Failed, actual, None),
        Err(Stop::Skip(why)) => (Outcome::Skipped, why, None),
        Err(Stop::Blocked { by, why }) => (Outcome::Blocked, why, Some(by)),
        Err(Stop::Untested(why)) => (Outcome::Untested, why, None),
    };
    let Check { id, rule, severity, request, expected, fix, .. } = *check;
    let ms = started.elapsed().as_millis() as u64;
    (Finding { id, rule, severity, outcome, request, expected, actual, fix, ms }, by)
}

fn circumstances(plan: &Plan, findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    let frozen = findings.iter().find(|f| f.id == "thaw-call" && f.outcome == Outcome::Passed);
    lines.push(match frozen {
        Some(finding) => format!("freezes of {}: {}", seconds(plan.freeze), finding.actual),
        None => format!("freezes of {}", seconds(plan.freeze)),
    });
    lines.push(format!("connections idle for {}", seconds(plan.idle)));
    if matches!(plan.setup.spec, Spec::Addr(_)) {
        lines.push(
            "a server that already runs: no freezes, no signals, no checks of its log or of a fresh instance".into(),
        );
    }
    lines
}
