//! Conformance: each rule of the contract that can be tested is a named check.
//!
//! A check starts instances of its own, does one thing to them, and reports how they behaved. Its request, the expected
//! behaviour and the fix are fixed texts beside its code, so that a report can always show them. Checks are
//! independent: exactly one check should find a fault, and the checks that build on that one are then not tried
//! ([`Check::needs`]).
//!
//! The severity follows the confidence in the contract: a rule marked X (sources disagree) or I (inferred) is never a
//! "must". A test compares them.

mod client;
mod connection;
mod context;
mod credentials;
mod dispatch;
mod framing;
mod freeze;
mod health;
mod hooks;
mod initialize;
mod invoke;
mod job;
mod limits;
mod log;
mod recognised;
mod runner;
mod schedule;
mod servers;
mod start;
mod stop;
mod waiting;

use std::time::Duration;

use serde::Serialize;
use serde::ser::SerializeStruct;

use crate::error::Error;
use crate::instance::Setup;
use context::CheckContext;
pub(crate) use context::alike;
pub use runner::run;

/// The check of framing. Every check but the start-up check needs it.
const FRAMING: &str = "response-framing";

/// How much a fault matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The author should know it.
    Note,
    /// It causes trouble in some situations, or the sources disagree.
    Should,
    /// The documentation of the platform demands it.
    Must,
}

impl Severity {
    /// Its name in reports.
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
    /// Its name, which no other check has.
    pub id: &'static str,
    /// The rule of the contract.
    pub rule: &'static str,
    /// How much a fault matters.
    pub severity: Severity,
    /// Checks that must pass first, because their faults would make this one fail, too. They come earlier in the list.
    pub needs: &'static [&'static str],
    /// The request, or what else is done to the target.
    pub request: &'static str,
    /// The behaviour that the rule demands.
    pub expected: &'static str,
    /// How to fix a fault.
    pub fix: &'static str,
    #[serde(skip)]
    run: fn(&CheckContext<'_>) -> Verdict,
}

/// The actual behaviour, in words, or why the check did not pass.
type Verdict = Result<String, Stop>;

/// Why a check did not pass.
enum Stop {
    /// The target breaks the rule.
    Fail(String),
    /// The rule does not apply to this target or these options.
    Skip(String),
    /// A fault that another check should find prevents this one. If that check passes, this one is untested.
    Blocked { by: &'static str, why: String },
    /// The check could not be tried.
    Untested(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Untested(error.to_string())
    }
}

fn fail<T>(actual: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(actual.into()))
}

fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(why.into()))
}

fn blocked<T>(by: &'static str, why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Blocked { by, why: why.into() })
}

/// Every check, in the order of a lifecycle. A check comes after the checks that it needs.
pub fn all() -> Vec<&'static Check> {
    let groups: [&'static [Check]; 20] = [
        start::CHECKS,
        framing::CHECKS,
        health::CHECKS,
        recognised::CHECKS,
        initialize::CHECKS,
        invoke::CHECKS,
        initialize::LATE_CHECKS,
        client::CHECKS,
        limits::CHECKS,
        connection::CHECKS,
        log::CHECKS,
        dispatch::CHECKS,
        credentials::CHECKS,
        freeze::CHECKS,
        waiting::CHECKS,
        health::LATE_CHECKS,
        stop::CHECKS,
        hooks::CHECKS,
        log::LATE_CHECKS,
        job::CHECKS,
    ];
    groups.into_iter().flatten().collect()
}

/// The target, and how it is checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target and the platform.
    pub setup: Setup,
    /// An event that the function handles successfully.
    pub event: Vec<u8>,
    /// An event that makes the function fail, if one is known.
    pub fail_event: Option<Vec<u8>>,
    /// The method of a harmless HTTP call.
    pub http_method: String,
    /// The path of a harmless HTTP call.
    pub http_path: String,
    /// Whether the function takes no events. Its HTTP call then replaces them.
    pub http_only: bool,
    /// The path of the HTTP health check, if the function is configured with one.
    pub health_path: Option<String>,
    /// The length of a freeze. It should be longer than every time limit of the target.
    pub freeze: Duration,
    /// How long a connection stays idle.
    pub idle: Duration,
    /// The size of the largest event.
    pub large_bytes: usize,
    /// How many calls the function is configured to handle at the same time.
    pub concurrency: usize,
    /// Whether the target is also checked with web server mode off.
    pub job: bool,
    /// How many checks work at the same time.
    pub jobs: usize,
    /// How many checks are in progress at the same time, those that only wait included. `None` is a default that fits
    /// the target.
    pub instances: Option<usize>,
    /// The checks to run, by name, rule or family of rules. Empty means all.
    pub only: Vec<String>,
    /// The checks to leave out, by name, rule or family of rules.
    pub skip: Vec<String>,
    /// Whether a broken "should" counts, too.
    pub strict: bool,
}

impl Check {
    /// Whether `wanted` names this check, its rule, or the family of its rule, such as `C-STOP`.
    pub fn is_named(&self, wanted: &str) -> bool {
        let rule_part = |rest: &str| rest.is_empty() || rest.starts_with('-');
        self.id == wanted || self.rule.strip_prefix(wanted).is_some_and(rule_part)
    }
}

impl Plan {
    /// The checks that `only` and `skip` leave.
    ///
    /// # Errors
    /// If a name names no check; the text shows the first one.
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

/// Follows the checks while they run. Several threads call it.
pub trait Progress: Sync {
    /// So many checks were chosen.
    fn total(&self, checks: usize);
    /// A check has begun, or does something else now.
    fn stage(&self, id: &'static str, stage: Stage);
    /// A check has ended, and its finding counts.
    fn ended(&self, finding: &Finding);
}

/// Shows nothing.
impl Progress for () {
    fn total(&self, _: usize) {}
    fn stage(&self, _: &'static str, _: Stage) {}
    fn ended(&self, _: &Finding) {}
}

/// The present state of a check that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It talks to the target.
    Working,
    /// It waits beside a frozen or idle target.
    Resting,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The target keeps the rule.
    Passed,
    /// The target breaks the rule.
    Failed,
    /// The rule does not apply here.
    Skipped,
    /// A fault that another check found prevents this one.
    Blocked,
    /// The check could not be tried.
    Untested,
}

impl Outcome {
    /// Its name in reports.
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
    /// The name of the check.
    pub id: &'static str,
    /// The rule of the contract.
    pub rule: &'static str,
    /// How much a fault matters.
    pub severity: Severity,
    /// How it ended.
    pub outcome: Outcome,
    /// The request, or what else was done.
    pub request: &'static str,
    /// The behaviour that the rule demands.
    pub expected: &'static str,
    /// The actual behaviour, or why there is none.
    pub actual: String,
    /// How to fix a fault.
    pub fix: &'static str,
    /// The setting that fixes it in the server that was recognised, if there is a known one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_fix: Option<String>,
    /// The time of the check in milliseconds.
    pub ms: u64,
}

/// The results of all checks.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The target in words.
    pub target: String,
    /// The circumstances that a reader of the results should know.
    pub circumstances: Vec<String>,
    /// One result for each check.
    pub findings: Vec<Finding>,
    /// Whether a broken "should" counts, too.
    pub strict: bool,
    /// The time of the whole in milliseconds.
    pub ms: u64,
}

/// The document has the exit status beside the fields, so that its readers need not compute it.
impl Serialize for Findings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Findings", 6)?;
        document.serialize_field("target", &self.target)?;
        document.serialize_field("circumstances", &self.circumstances)?;
        document.serialize_field("strict", &self.strict)?;
        document.serialize_field("exit_code", &self.exit_code())?;
        document.serialize_field("findings", &self.findings)?;
        document.serialize_field("ms", &self.ms)?;
        document.end()
    }
}

impl Findings {
    /// How many checks had this outcome, of one severity or of all.
    pub fn count(&self, outcome: Outcome, severity: Option<Severity>) -> usize {
        let wanted = |f: &&Finding| f.outcome == outcome && severity.is_none_or(|severity| f.severity == severity);
        self.findings.iter().filter(wanted).count()
    }

    /// Whether a rule of this severity counts: a broken "should" only when `strict`, and a note never.
    pub fn counts(&self, severity: Severity) -> bool {
        severity >= if self.strict { Severity::Should } else { Severity::Must }
    }

    /// The exit status: 0 if the target conforms, 1 if it breaks a rule that counts, 2 if it could not be tested. Every
    /// format of the report comes to the same verdict.
    pub fn exit_code(&self) -> u8 {
        let violates = |f: &Finding| f.outcome == Outcome::Failed && self.counts(f.severity);
        if self.findings.iter().any(violates) {
            return 1;
        }
        // A rule that counts and could not be tried is not kept.
        if self.findings.iter().any(|f| f.outcome == Outcome::Blocked && self.counts(f.severity)) {
            return 2;
        }
        let untested = |f: &Finding| f.outcome == Outcome::Untested && self.counts(f.severity);
        if self.nothing_was_tried() || self.findings.iter().any(untested) { 2 } else { 0 }
    }

    /// Whether no check came to a verdict.
    pub fn nothing_was_tried(&self) -> bool {
        !self.findings.iter().any(|f| matches!(f.outcome, Outcome::Passed | Outcome::Failed))
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
            assert!(seen.insert(check.id), "{} is listed twice", check.id);
            assert!(check.rule.starts_with("C-"), "{}: {}", check.id, check.rule);
        }
    }

    #[test]
    fn checks_are_named_by_name_rule_or_family() {
        let all = all();
        let check = all.iter().find(|check| check.id == "pre-stop").unwrap();
        for (name, named) in
            [("pre-stop", true), ("C-STOP-1", true), ("C-STOP", true), ("C-STO", false), ("C-STOP-", false)]
        {
            assert_eq!(check.is_named(name), named, "{name}");
        }
    }

    /// Programs that read JUnit or TAP come to the verdict of the exit status.
    fn formats_agree(all: &Findings, code: u8) {
        use crate::report::{Format, render};
        let junit = render(all, Format::Junit);
        let is_red = junit.contains("<failure") || junit.contains("<error");
        assert_eq!(is_red, code != 0, "{junit}");
        assert_eq!(junit.contains("<failure"), code == 1, "{junit}");
        let tap = render(all, Format::Tap);
        let fails = tap.lines().any(|line| line.starts_with("not ok") && !line.ends_with("# todo"));
        assert_eq!(fails, code != 0, "{tap}");
        let json: serde_json::Value = serde_json::from_str(&render(all, Format::Json)).unwrap();
        assert_eq!(json["exit_code"], code);
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
            server_fix: None,
            ms: 0,
        };
        use Outcome::*;
        use Severity::*;
        for (list, lenient, strict) in [
            (vec![(Passed, Must), (Skipped, Must)], 0, 0),
            (vec![(Passed, Must), (Failed, Should)], 0, 1),
            (vec![(Passed, Must), (Failed, Note)], 0, 0),
            (vec![(Failed, Must), (Untested, Must)], 1, 1),
            (vec![(Passed, Must), (Untested, Must)], 2, 2),
            (vec![(Passed, Must), (Untested, Should)], 0, 2),
            (vec![(Passed, Must), (Untested, Note)], 0, 0),
            (vec![(Untested, Note)], 2, 2),
            (vec![(Skipped, Must)], 2, 2),
            (vec![(Passed, Must), (Failed, Should), (Blocked, Must)], 2, 1),
            (vec![(Passed, Must), (Failed, Note), (Blocked, Should)], 0, 2),
        ] {
            for (is_strict, code) in [(false, lenient), (true, strict)] {
                let findings = list.iter().map(|(outcome, severity)| finding(*outcome, *severity)).collect();
                let (target, circumstances) = (String::new(), vec![]);
                let all = Findings { target, circumstances, findings, strict: is_strict, ms: 0 };
                assert_eq!(all.exit_code(), code, "{list:?}, strict: {is_strict}");
                formats_agree(&all, code);
            }
        }
    }
}
