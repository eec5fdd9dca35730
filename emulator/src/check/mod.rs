//! Conformance: every testable rule of the contract as one named check.
//!
//! A check starts instances of its own, does one thing to them, and says what came. What it sends,
//! what it expects and how to fix a fault are fixed texts beside its code, so a report can always
//! say all of it. Checks are independent: a fault should be found by exactly one, and what builds
//! on that one is then not tried ([`Check::needs`]).
//!
//! Severity follows the contract's confidence: a rule marked X or I there is never a "must".

mod connection;
mod context;
mod dispatch;
mod freeze;
mod hooks;
mod initialize;
mod invoke;
mod job;
mod limits;
mod log;
mod runner;
mod start;
mod stop;

use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::instance::Setup;
use context::CheckContext;
pub use runner::run;

/// How much a fault matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Trouble in some situations, or the documentation is not unanimous.
    Should,
    /// The platform's documentation demands it.
    Must,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Should => "should",
            Self::Must => "must",
        }
    }
}

/// One check.
#[derive(Serialize)]
pub struct Check {
    /// Its name, unique.
    pub id: &'static str,
    /// The rule of the contract.
    pub rule: &'static str,
    /// How much a fault matters.
    pub severity: Severity,
    /// Checks without which this one would only fail for their reason. All come earlier in the list.
    pub needs: &'static [&'static str],
    /// What is done to the target.
    pub request: &'static str,
    /// What it should do.
    pub expected: &'static str,
    /// How to fix it.
    pub fix: &'static str,
    #[serde(skip)]
    run: fn(&CheckContext<'_>) -> Verdict,
}

/// What came on success, in words, or why there is no success.
type Verdict = Result<String, Stop>;

/// Why a check did not pass.
enum Stop {
    /// The target breaks the rule.
    Fail(String),
    /// The rule does not apply to this target or these options.
    Skip(String),
    /// Another check's fault stands in the way. If that one passes, this is "could not test".
    Blocked { by: &'static str, why: String },
    /// It could not be tried.
    Cannot(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Cannot(error.to_string())
    }
}

fn fail<T>(came: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(came.into()))
}

fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(why.into()))
}

fn blocked<T>(by: &'static str, why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Blocked { by, why: why.into() })
}

/// Every check, in the order of a life; what a check needs comes before it.
pub fn all() -> Vec<&'static Check> {
    let groups: [&'static [Check]; 12] = [
        start::CHECKS,
        initialize::CHECKS,
        invoke::CHECKS,
        limits::CHECKS,
        connection::CHECKS,
        log::CHECKS,
        dispatch::CHECKS,
        freeze::CHECKS,
        stop::CHECKS,
        hooks::CHECKS,
        log::LATE_CHECKS,
        job::CHECKS,
    ];
    groups.into_iter().flatten().collect()
}

/// What is checked, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target and the platform.
    pub setup: Setup,
    /// An event that the function handles successfully.
    pub event: Vec<u8>,
    /// An event that it answers as failed, if one is known.
    pub fail_event: Option<Vec<u8>>,
    /// Method of a harmless HTTP call.
    pub http_method: String,
    /// Path of a harmless HTTP call.
    pub http_path: String,
    /// The function takes no events: its HTTP call stands for a call.
    pub http_only: bool,
    /// The URL of the configured HTTP start-up check, if any.
    pub health_path: Option<String>,
    /// Length of a freeze that should be longer than any time limit of the target.
    pub freeze: Duration,
    /// How long a connection is left idle.
    pub idle: Duration,
    /// Size of the largest event.
    pub large_bytes: usize,
    /// Calls at once that the function is configured for.
    pub concurrency: usize,
    /// Whether the target also works with web server mode off.
    pub job: bool,
    /// Checks at once.
    pub jobs: usize,
    /// Rules (or their beginnings) and names to check; empty means all.
    pub only: Vec<String>,
    /// Rules (or their beginnings) and names to leave out.
    pub skip: Vec<String>,
}

impl Check {
    /// Whether `wanted` names this check, its rule, or the beginning of its rule.
    pub fn is_named(&self, wanted: &str) -> bool {
        let rule_part = |rest: &str| rest.is_empty() || rest.starts_with('-');
        self.id == wanted || self.rule.strip_prefix(wanted).is_some_and(rule_part)
    }
}

impl Plan {
    /// The checks that `only` and `skip` leave.
    ///
    /// # Errors
    /// The first name that names no check.
    pub fn selected(&self) -> Result<Vec<&'static Check>, Error> {
        let all = all();
        let named = |names: &[String], check: &Check| names.iter().any(|name| check.is_named(name));
        if let Some(unknown) = self.only.iter().chain(&self.skip).find(|name| !all.iter().any(|c| c.is_named(name))) {
            return Err(Error::new(format!("unknown check or rule `{unknown}`: `fc-emulator list` shows them all")));
        }
        let wanted = |check: &&Check| (self.only.is_empty() || named(&self.only, check)) && !named(&self.skip, check);
        Ok(all.into_iter().filter(wanted).collect())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The target keeps the rule.
    Passed,
    /// It breaks the rule.
    Failed,
    /// The rule does not apply here.
    Skipped,
    /// A fault found by another check stands in the way.
    Blocked,
    /// It could not be tried.
    Untested,
}

impl Outcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed => "FAIL",
            Self::Skipped => "skip",
            Self::Blocked => "blocked",
            Self::Untested => "untested",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub id: &'static str,
    /// The rule of the contract.
    pub rule: &'static str,
    /// How much a fault matters.
    pub severity: Severity,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done.
    pub request: &'static str,
    /// What should have come.
    pub expected: &'static str,
    /// What came, or why nothing could.
    pub actual: String,
    /// How to fix a fault.
    pub fix: &'static str,
    /// How long it took.
    pub ms: u64,
}

/// The results of all checks.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// The target, in words.
    pub target: String,
    /// The circumstances that matter for reading the results.
    pub circumstances: Vec<String>,
    /// One result per check.
    pub findings: Vec<Finding>,
    /// Time of the whole.
    pub ms: u64,
}

impl Findings {
    /// How many ended so, of that severity or any.
    pub fn count(&self, outcome: Outcome, severity: Option<Severity>) -> usize {
        let wanted = |f: &&Finding| f.outcome == outcome && severity.is_none_or(|severity| f.severity == severity);
        self.findings.iter().filter(wanted).count()
    }

    /// 0 conforms, 1 violates, 2 could not be tested. A broken "should" violates only when
    /// `strict`; a note never does.
    pub fn exit_code(&self, strict: bool) -> u8 {
        let least = if strict { Severity::Should } else { Severity::Must };
        let violates = |f: &Finding| f.outcome == Outcome::Failed && f.severity >= least;
        if self.findings.iter().any(violates) {
            return 1;
        }
        // What the outcome hangs on and could not be tried is no conformity.
        if self.findings.iter().any(|f| f.outcome == Outcome::Blocked && f.severity >= least) {
            return 2;
        }
        let nothing = self.findings.iter().all(|f| matches!(f.outcome, Outcome::Skipped | Outcome::Blocked));
        if nothing || self.count(Outcome::Untested, None) > 0 { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_needs_come_first() {
        let mut seen = HashSet::new();
        for check in all() {
            for need in check.needs {
                assert!(seen.contains(need), "{} needs {need}, which does not come before it", check.id);
            }
            assert!(seen.insert(check.id), "{} is there twice", check.id);
            assert!(check.rule.starts_with("C-"), "{}: {}", check.id, check.rule);
        }
    }

    /// The contract's own marks: sources disagree (X), or no page says it (I).
    #[test]
    fn doubtful_rules_are_never_a_must() {
        const DOUBTFUL: &[&str] = &[
            "C-DISP-2", "C-INIT-2", "C-INV-8", "C-FRZ-2", "C-FRZ-3", "C-FRZ-6", "C-STOP-2", "C-STOP-4", "C-STAT-1",
            "C-CONN-3",
        ];
        for check in all().into_iter().filter(|check| DOUBTFUL.contains(&check.rule)) {
            assert_ne!(check.severity, Severity::Must, "{}", check.id);
        }
    }

    #[test]
    fn checks_are_named_by_id_rule_or_beginning_of_rule() {
        let all = all();
        let check = all.iter().find(|check| check.id == "pre-stop").unwrap();
        for (name, named) in
            [("pre-stop", true), ("C-STOP-1", true), ("C-STOP", true), ("C-STO", false), ("C-STOP-", false)]
        {
            assert_eq!(check.is_named(name), named, "{name}");
        }
    }

    #[test]
    fn exit_codes() {
        let finding = |outcome, severity| Finding {
            id: "",
            rule: "",
            severity,
            outcome,
            request: "",
            expected: "",
            actual: String::new(),
            fix: "",
            ms: 0,
        };
        use Outcome::*;
        use Severity::*;
        for (list, lenient, strict) in [
            (vec![(Passed, Must), (Skipped, Must)], 0, 0),
            (vec![(Passed, Must), (Failed, Should)], 0, 1),
            (vec![(Passed, Must), (Failed, Note)], 0, 0),
            (vec![(Failed, Must), (Untested, Must)], 1, 1),
            (vec![(Passed, Must), (Untested, Note)], 2, 2),
            (vec![(Skipped, Must)], 2, 2),
            (vec![(Passed, Must), (Failed, Should), (Blocked, Must)], 2, 1),
            (vec![(Passed, Must), (Failed, Note), (Blocked, Should)], 0, 2),
        ] {
            let findings = list.iter().map(|(outcome, severity)| finding(*outcome, *severity)).collect();
            let all = Findings { target: String::new(), circumstances: vec![], findings, ms: 0 };
            assert_eq!((all.exit_code(false), all.exit_code(true)), (lenient, strict), "{list:?}");
        }
    }
}
