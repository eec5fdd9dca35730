//! Decides when each check begins.
//!
//! Most of the time of all checks passes while a target is frozen or idle, and that costs no processor time. So two
//! numbers bound the checks ([`Bounds`]): few work at the same time, and many are in progress. A check that waits in
//! [`Schedule::rest`] lets another one work meanwhile, and goes before new ones when it returns. Targets thus thaw as
//! far apart as they were started, and a check that looks at the clock shares the processors with few others.
//!
//! Slow checks begin first, and no check waits for a slow one that it needs. It runs beside that one, and its finding
//! counts only if that one passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::context::CheckContext;
use super::{Check, FRAMING, Finding, Outcome, Progress, Stage, Stop, Verdict, freeze, waiting};

/// Every other check needs this one.
const READY: &str = "ready";

/// Slow checks beside those of freezes: they wait for as long, may wait for an exit that never comes, or move
/// megabytes.
const SLOW: [&str; 7] = [
    "keepalive-idle",
    "pre-stop-after-freeze",
    "invoke-large",
    "sigterm",
    "sigterm-code",
    "pid-1",
    "pre-stop-then-sigterm",
];

/// How many checks run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Checks that have begun and not ended, each with instances of its own.
    pub in_progress: usize,
    /// Those of them that do not rest.
    pub working: usize,
}

/// The checks and their states, which all workers share.
pub struct Schedule<'a> {
    bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
    progress: &'a dyn Progress,
}

struct State {
    /// In the order of the list.
    entries: Vec<Entry>,
    working: usize,
    /// Checks that have rested and wait until they may work.
    returning: usize,
}

struct Entry {
    check: &'static Check,
    /// Whether a slow check waits for this one, or it is slow itself.
    urgent: bool,
    step: Step,
}

enum Step {
    Waiting,
    Running,
    /// The check has ended, but one that it needs has not. With the name of the check that prevented this one, if one
    /// did.
    Withheld(Finding, Option<&'static str>, Tried),
    /// The finding, and the check that prevented this one, if one did.
    Ended(Finding, Option<&'static str>),
}

/// Whether a check was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Yes,
    No,
}

impl<'a> Schedule<'a> {
    /// A schedule for these checks, of which none has begun.
    pub fn new(checks: Vec<&'static Check>, bounds: Bounds, progress: &'a dyn Progress) -> Self {
        progress.total(checks.len());
        let urgent: Vec<_> =
            checks.iter().filter(|check| is_slow(check)).flat_map(|slow| gates(&checks, slow)).collect();
        let entry = |check: &&'static Check| Entry {
            check,
            urgent: is_slow(check) || check.id == READY || check.id == FRAMING || urgent.contains(&check.id),
            step: Step::Waiting,
        };
        let entries = checks.iter().map(entry).collect();
        Self {
            bounds,
            state: Mutex::new(State { entries, working: 0, returning: 0 }),
            changed: Condvar::new(),
            progress,
        }
    }

    /// Runs one check after the other until none is left. Call it on as many threads as checks may be in progress.
    pub fn work<'c>(&self, context: impl Fn(&'static str) -> CheckContext<'c>) {
        while let Some((index, hindrance)) = self.begin() {
            let check = self.state().entries[index].check;
            let started = Instant::now();
            let tried = if hindrance.is_none() { Tried::Yes } else { Tried::No };
            let context = context(check.id);
            let verdict = match hindrance {
                Some(by) => Err(Stop::Blocked { by, why: because(by, tried) }),
                // A panic in one check must not make the others wait forever.
                None => catch_unwind(AssertUnwindSafe(|| (check.run)(&context)))
                    .unwrap_or_else(|_| Err(Stop::Untested("the check itself panicked".into()))),
            };
            let (mut finding, by) = finding(check, context.with_its_end(verdict), started);
            if finding.outcome == Outcome::Failed {
                finding.server_fix = context.known_fix(check);
            }
            self.progress.stage(check.id, Stage::Resting);
            let mut state = self.state();
            state.working -= 1;
            state.entries[index].step = Step::Withheld(finding, by, tried);
            state.settle(self.progress);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Whether more than one check can be in progress.
    pub fn overlaps(&self) -> bool {
        self.bounds.in_progress > 1
    }

    /// Lets another check work while this one does nothing but wait in `wait`. Work that runs beside a check has no
    /// name.
    pub fn rest<T>(&self, check: Option<&'static str>, wait: impl FnOnce() -> T) -> T {
        self.leave(check);
        let rest = Rest { schedule: self, check };
        let value = wait();
        drop(rest);
        value
    }

    /// Carries out a part of a check on a second thread, within the bounds.
    pub fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.come_back(None);
        let part = Part(self);
        let value = work();
        drop(part);
        value
    }

    /// The next check that can begin, and the check that prevents it, if one does. It waits for one, and returns `None`
    /// when none is left.
    fn begin(&self) -> Option<(usize, Option<&'static str>)> {
        let mut state = self.state();
        loop {
            if state.working < self.bounds.working
                && state.returning == 0
                && let Some(index) = state.next()
            {
                let hindrance = state.hindrance_to_begin(state.entries[index].check);
                state.working += 1;
                state.entries[index].step = Step::Running;
                self.progress.stage(state.entries[index].check.id, Stage::Working);
                return Some((index, hindrance));
            }
            if !state.entries.iter().any(|entry| matches!(entry.step, Step::Waiting)) {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, check: Option<&'static str>) {
        self.state().working -= 1;
        self.changed.notify_all();
        if let Some(check) = check {
            self.progress.stage(check, Stage::Resting);
        }
    }

    fn come_back(&self, check: Option<&'static str>) {
        let mut state = self.state();
        state.returning += 1;
        while state.working >= self.bounds.working {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.returning -= 1;
        state.working += 1;
        drop(state);
        // The others may have waited for this one to go first.
        self.changed.notify_all();
        if let Some(check) = check {
            self.progress.stage(check, Stage::Working);
        }
    }

    /// All findings. A check that is blocked by one that passed is untested.
    pub fn findings(self) -> Vec<Finding> {
        let entries = self.state.into_inner().unwrap_or_else(PoisonError::into_inner).entries;
        let failed = |by: &str| {
            entries.iter().any(|entry| match &entry.step {
                Step::Ended(finding, _) => {
                    finding.id == by && matches!(finding.outcome, Outcome::Failed | Outcome::Blocked)
                }
                _ => false,
            })
        };
        let resolved = |entry: &Entry| match &entry.step {
            Step::Ended(finding, Some(by)) if !failed(by) => {
                Some(Finding { outcome: Outcome::Untested, ..finding.clone() })
            }
            Step::Ended(finding, _) => Some(finding.clone()),
            Step::Waiting | Step::Running | Step::Withheld(..) => None,
        };
        entries.iter().filter_map(resolved).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check that rests. It returns even if its wait panics.
struct Rest<'s, 'a> {
    schedule: &'s Schedule<'a>,
    check: Option<&'static str>,
}

impl Drop for Rest<'_, '_> {
    fn drop(&mut self) {
        self.schedule.come_back(self.check);
    }
}

/// A part of a check on a second thread. It ends even if it panics.
struct Part<'s, 'a>(&'s Schedule<'a>);

impl Drop for Part<'_, '_> {
    fn drop(&mut self) {
        self.0.leave(None);
    }
}

impl State {
    /// The first check that can begin: an urgent one, else any.
    fn next(&self) -> Option<usize> {
        let can_begin = |entry: &Entry| matches!(entry.step, Step::Waiting) && self.gates_ended(entry.check);
        let urgent = self.entries.iter().position(|entry| entry.urgent && can_begin(entry));
        urgent.or_else(|| self.entries.iter().position(can_begin))
    }

    /// Whether the checks have ended for which `check` waits, as far as they were chosen.
    fn gates_ended(&self, check: &Check) -> bool {
        let checks: Vec<_> = self.entries.iter().map(|entry| entry.check).collect();
        let gates = gates(&checks, check);
        let open = |entry: &Entry| gates.contains(&entry.check.id) && !matches!(entry.step, Step::Ended(..));
        !self.entries.iter().any(open)
    }

    /// The first needed check that has ended and did not pass.
    fn hindrance(&self, check: &Check) -> Option<&'static str> {
        self.first_failed(|id| needs(check, id))
    }

    /// The same, also among the checks behind slow ones that have not ended.
    fn hindrance_to_begin(&self, check: &Check) -> Option<&'static str> {
        let checks: Vec<_> = self.entries.iter().map(|entry| entry.check).collect();
        let gates = gates(&checks, check);
        self.hindrance(check).or_else(|| self.first_failed(|id| gates.contains(&id)))
    }

    /// A check that was skipped or not chosen does not count.
    fn first_failed(&self, among: impl Fn(&str) -> bool) -> Option<&'static str> {
        let stops = |entry: &&Entry| match &entry.step {
            Step::Ended(finding, _) => !matches!(finding.outcome, Outcome::Passed | Outcome::Skipped),
            Step::Waiting | Step::Running | Step::Withheld(..) => false,
        };
        self.entries.iter().filter(|entry| among(entry.check.id)).find(stops).map(|entry| entry.check.id)
    }

    /// Ends each withheld check whose needed checks have ended. Needed checks come earlier in the list, so one pass is
    /// enough.
    fn settle(&mut self, progress: &dyn Progress) {
        for index in 0..self.entries.len() {
            let check = self.entries[index].check;
            let Step::Withheld(finding, by, tried) = &self.entries[index].step else { continue };
            let open = |entry: &Entry| needs(check, entry.check.id) && !matches!(entry.step, Step::Ended(..));
            if self.entries.iter().any(open) {
                continue;
            }
            let (finding, by) = match self.hindrance(check) {
                Some(hindrance) if *by != Some(hindrance) => {
                    let actual = because(hindrance, *tried);
                    (Finding { outcome: Outcome::Blocked, actual, ..finding.clone() }, Some(hindrance))
                }
                _ => (finding.clone(), *by),
            };
            progress.ended(&finding);
            self.entries[index].step = Step::Ended(finding, by);
        }
    }
}

/// The whole groups of freezes count as slow.
fn is_slow(check: &Check) -> bool {
    let mut freezes = freeze::CHECKS.iter().chain(waiting::CHECKS);
    SLOW.contains(&check.id) || freezes.any(|freeze| freeze.id == check.id)
}

fn because(by: &str, tried: Tried) -> String {
    let not = if tried == Tried::Yes { "not counted" } else { "not tried" };
    format!("{not}, because the check `{by}` did not pass")
}

/// Whether `check` needs the check `id`. Every check needs the start-up check, and replies that can be read.
fn needs(check: &Check, id: &str) -> bool {
    check.needs.contains(&id) || (check.id != READY && (id == READY || (id == FRAMING && check.id != FRAMING)))
}

/// The checks that must end before `check` begins: those that it needs. In place of a slow one stand those that the
/// slow one needs.
fn gates(checks: &[&'static Check], check: &Check) -> Vec<&'static str> {
    let needed = checks.iter().filter(|other| needs(check, other.id));
    let mut gates = Vec::new();
    for need in needed {
        if is_slow(need) { gates.extend(self::gates(checks, need)) } else { gates.push(need.id) }
    }
    gates
}

fn finding(check: &'static Check, verdict: Verdict, started: Instant) -> (Finding, Option<&'static str>) {
    let (outcome, actual, by) = match verdict {
        Ok(actual) => (Outcome::Passed, actual, None),
        Err(Stop::Fail(actual)) => (Outcome::Failed, actual, None),
        Err(Stop::Skip(why)) => (Outcome::Skipped, why, None),
        Err(Stop::Blocked { by, why }) => (Outcome::Blocked, why, Some(by)),
        Err(Stop::Untested(why)) => (Outcome::Untested, why, None),
    };
    let Check { id, rule, severity, request, expected, fix, .. } = *check;
    let ms = started.elapsed().as_millis() as u64;
    (Finding { id, rule, severity, outcome, request, expected, actual, fix, server_fix: None, ms }, by)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, LazyLock};

    use clap::Parser;

    use super::super::{Plan, Severity};
    use super::*;
    use crate::cli::{Cli, Command};

    type Run = fn(&CheckContext<'_>) -> Verdict;

    fn check(id: &'static str, needs: &'static [&'static str], run: Run) -> &'static Check {
        let (rule, severity) = ("C-START-1", Severity::Must);
        Box::leak(Box::new(Check { id, rule, severity, needs, request: "", expected: "", fix: "", run }))
    }

    fn plan() -> Plan {
        match Cli::parse_from(["fc-emulator", "check", "--addr=127.0.0.1:9"]).command {
            Command::Check(args) => args.plan().unwrap(),
            _ => unreachable!("the words say check"),
        }
    }

    /// The outcome of each check, with its text.
    fn outcomes(checks: Vec<&'static Check>, in_progress: usize, working: usize) -> Vec<(Outcome, String)> {
        let plan = plan();
        let (initialized, server) = (Mutex::new(false), std::sync::OnceLock::new());
        let schedule = Schedule::new(checks, Bounds { in_progress, working }, &());
        std::thread::scope(|scope| {
            for _ in 0..in_progress {
                scope.spawn(|| schedule.work(|id| CheckContext::new(&plan, &initialized, &server, &schedule, id)));
            }
        });
        schedule.findings().into_iter().map(|finding| (finding.outcome, finding.actual)).collect()
    }

    fn pass(_: &CheckContext<'_>) -> Verdict {
        Ok(String::new())
    }

    /// Three checks wait for each other, although only one may work.
    #[test]
    fn checks_that_rest_let_others_work() {
        static ALL_REST: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(3));
        let rest: Run = |context| {
            context.rest(|| ALL_REST.wait());
            Ok(String::new())
        };
        let checks = ["a", "b", "c"].map(|id| check(id, &[], rest)).to_vec();
        assert!(outcomes(checks, 3, 1).iter().all(|(outcome, _)| *outcome == Outcome::Passed));
    }

    #[test]
    fn no_more_checks_work_than_may() {
        static WORKING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        fn work(context: &CheckContext<'_>) -> Verdict {
            for _ in 0..50 {
                MOST.fetch_max(WORKING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                WORKING.fetch_sub(1, Ordering::SeqCst);
                context.rest(std::thread::yield_now);
            }
            Ok(String::new())
        }
        let both: Run = |context| context.both(work, work).map(|(actual, _)| actual);
        let checks: Vec<_> = (0..20).map(|_| check("a", &[], both)).collect();
        assert_eq!(outcomes(checks, 10, 2).len(), 20);
        assert!((1..=2).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?}");
    }

    /// Both run at the same time. The second one passes, and still it does not count.
    #[test]
    fn no_check_waits_for_a_slow_one_that_it_needs() {
        static BOTH_RUN: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));
        let fail: Run = |context| {
            context.rest(|| BOTH_RUN.wait());
            super::super::fail("broken")
        };
        let pass_too: Run = |context| {
            context.rest(|| BOTH_RUN.wait());
            Ok(String::new())
        };
        let checks = vec![check("thaw-call", &[], fail), check("after", &["thaw-call"], pass_too)];
        let seen = outcomes(checks, 2, 1);
        assert_eq!(seen[0], (Outcome::Failed, "broken".into()));
        assert_eq!(seen[1], (Outcome::Blocked, "not counted, because the check `thaw-call` did not pass".into()));
    }

    #[test]
    fn a_check_waits_for_quick_ones_also_behind_a_slow_one() {
        let tried: Run = |_| unreachable!("a needed check has failed");
        let fail: Run = |_| super::super::fail("broken");
        let checks = vec![
            check("ready", &[], pass),
            check("invoke", &[], fail),
            check("thaw-call", &["invoke"], tried),
            check("keepalive-over-freeze", &["thaw-call"], tried),
        ];
        assert_eq!(gates(&checks, checks[3]), ["ready", "ready", "invoke"]);
        let seen = outcomes(checks, 4, 4);
        assert_eq!(seen[2], (Outcome::Blocked, "not tried, because the check `invoke` did not pass".into()));
        assert_eq!(seen[3], (Outcome::Blocked, "not tried, because the check `thaw-call` did not pass".into()));
    }

    #[test]
    fn what_slow_checks_need_goes_first() {
        let checks = vec![
            check("ready", &[], pass),
            check("quick", &[], pass),
            check("invoke", &["ready"], pass),
            check("thaw-call", &["invoke"], pass),
        ];
        let schedule = Schedule::new(checks, Bounds { in_progress: 1, working: 1 }, &());
        let mut order = Vec::new();
        while let Some((index, _)) = schedule.begin() {
            let mut state = schedule.state();
            order.push(state.entries[index].check.id);
            let (finding, by) = finding(state.entries[index].check, Ok(String::new()), Instant::now());
            state.entries[index].step = Step::Ended(finding, by);
            state.working -= 1;
        }
        assert_eq!(order, ["ready", "invoke", "thaw-call", "quick"]);
    }

    #[test]
    fn a_panic_leaves_the_others_running() {
        let panics: Run = |context| context.rest(|| panic!("as the test wants it"));
        let seen = outcomes(vec![check("a", &[], panics), check("b", &[], pass)], 1, 1);
        assert_eq!((seen[0].0, seen[1].0), (Outcome::Untested, Outcome::Passed));
    }

    #[test]
    fn slow_checks_are_checks() {
        let all = super::super::all();
        assert!(SLOW.iter().all(|id| all.iter().any(|check| check.id == *id)));
    }
}
