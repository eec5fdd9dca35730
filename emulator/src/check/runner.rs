//! Carries out checks, several at once, each as soon as what it needs has ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::context::CheckContext;
use super::{Check, Finding, Findings, Outcome, Plan, Stop};
use crate::clock::seconds;
use crate::error::Result;
use crate::target::{self, Spec};

/// The check without which nothing can be tried.
const READY: &str = "ready";

/// The state that workers share.
struct Board {
    slots: Mutex<Vec<Slot>>,
    changed: Condvar,
}

struct Slot {
    check: &'static Check,
    state: State,
}

enum State {
    Waiting,
    Running,
    /// The finding, and the check that stood in the way if one did.
    Ended(Finding, Option<&'static str>),
}

/// Carries out the plan; `progress` hears of every finding as it comes (blocked ones at the end).
///
/// # Errors
/// When a name in the plan names nothing, or the target cannot be started at all.
pub fn run(plan: &Plan, progress: impl Fn(&Finding, usize) + Sync) -> Result<Findings> {
    let checks = plan.selected()?;
    if let Spec::Image { .. } = plan.setup.spec {
        target::engine_answers()?;
    }
    let started = Instant::now();
    let slots = checks.iter().map(|check| Slot { check, state: State::Waiting }).collect();
    let board = Board { slots: Mutex::new(slots), changed: Condvar::new() };
    let initialized = Mutex::new(false);
    let shared = matches!(plan.setup.spec, Spec::Addr(_));
    // One instance, or one fixed port, is not for two checks at once.
    let alone = shared || (plan.setup.port.is_some() && matches!(plan.setup.spec, Spec::Command(_)));
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
        ms: started.elapsed().as_millis() as u64,
    })
}

impl Board {
    fn work(&self, context: &CheckContext<'_>, progress: &(impl Fn(&Finding, usize) + Sync)) {
        while let Some(index) = self.next() {
            let (check, stopper) = {
                let slots = self.slots();
                (slots[index].check, stopper(&slots, slots[index].check))
            };
            let started = Instant::now();
            let verdict = match stopper {
                Some(by) => Err(Stop::Blocked { by, why: format!("not tried, because `{by}` did not pass") }),
                // A fault of ours in one check must not leave the others waiting for it.
                None => catch_unwind(AssertUnwindSafe(|| (check.run)(context)))
                    .unwrap_or_else(|_| Err(Stop::Cannot("the check itself failed".into()))),
            };
            let (finding, by) = finding(check, verdict, started);
            progress(&finding, self.slots().len());
            self.slots()[index].state = State::Ended(finding, by);
            self.changed.notify_all();
        }
    }

    /// The next check that can begin; waits for one, and ends when none is left.
    fn next(&self) -> Option<usize> {
        let mut slots = self.slots();
        loop {
            let waiting = |slot: &Slot| matches!(slot.state, State::Waiting);
            let can_begin = |slot: &&Slot| waiting(slot) && ended(&slots, slot.check);
            if let Some(index) = slots.iter().position(|slot| can_begin(&slot)) {
                slots[index].state = State::Running;
                return Some(index);
            }
            if !slots.iter().any(waiting) {
                return None;
            }
            slots = self.changed.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All findings. "Blocked" by a check that passed after all means that it could not be tried.
    fn resolve(self) -> Vec<Finding> {
        let slots = self.slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed = |by: &str| {
            slots.iter().any(|slot| match &slot.state {
                State::Ended(finding, _) => {
                    finding.id == by && matches!(finding.outcome, Outcome::Failed | Outcome::Blocked)
                }
                _ => false,
            })
        };
        let resolved = |slot: &Slot| match &slot.state {
            State::Ended(finding, Some(by)) if !failed(by) => {
                Some(Finding { outcome: Outcome::Untested, ..finding.clone() })
            }
            State::Ended(finding, _) => Some(finding.clone()),
            State::Waiting | State::Running => None,
        };
        slots.iter().filter_map(resolved).collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a check says that it needs, and the start-up check, which everything needs.
fn needs(check: &Check, id: &str) -> bool {
    check.needs.contains(&id) || (id == READY && check.id != READY)
}

/// Whether everything that `check` needs, and that takes part, has ended.
fn ended(slots: &[Slot], check: &Check) -> bool {
    let open = |slot: &Slot| needs(check, slot.check.id) && !matches!(slot.state, State::Ended(..));
    !slots.iter().any(open)
}

/// The first needed check that did not pass. One that does not apply, or was not chosen, is no hindrance.
fn stopper(slots: &[Slot], check: &Check) -> Option<&'static str> {
    let stops = |slot: &&Slot| match &slot.state {
        State::Ended(finding, _) => !matches!(finding.outcome, Outcome::Passed | Outcome::Skipped),
        State::Waiting | State::Running => false,
    };
    slots.iter().filter(|slot| needs(check, slot.check.id)).find(stops).map(|slot| slot.check.id)
}

fn finding(check: &'static Check, verdict: super::Verdict, started: Instant) -> (Finding, Option<&'static str>) {
    let (outcome, actual, by) = match verdict {
        Ok(came) => (Outcome::Passed, came, None),
        Err(Stop::Fail(came)) => (Outcome::Failed, came, None),
        Err(Stop::Skip(why)) => (Outcome::Skipped, why, None),
        Err(Stop::Blocked { by, why }) => (Outcome::Blocked, why, Some(by)),
        Err(Stop::Cannot(why)) => (Outcome::Untested, why, None),
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
        lines.push("a running address: no freeze, no signals, no output, nothing that needs a fresh instance".into());
    }
    lines
}
