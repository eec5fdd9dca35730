//! Shows results: as text for people, and in three formats for machines.
//!
//! Everything here makes text from a [`Report`], such as [`Findings`](crate::check::Findings) or a
//! [`Timeline`](crate::lifecycle_run::Timeline). Nothing here decides what a result means.

mod human;
mod junit;
mod live;
mod tap;
mod timeline;

use serde::Serialize;

pub use crate::options::Format;
pub use human::list;
pub use live::{CheckProgress, LifecycleWatcher};

/// A result that is a list of test cases, so that it can be shown in each [`Format`]. As JSON it is itself.
pub trait Report: Serialize {
    /// The text for people, with the codes of its colours.
    fn human(&self) -> String;

    /// The test cases, for JUnit and TAP.
    fn suite(&self) -> Suite;
}

/// A list of test cases.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// The tool, its command and the target.
    pub name: String,
    /// The time of the whole in milliseconds.
    pub ms: f64,
    /// The test cases.
    pub cases: Vec<Case>,
}

/// One test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The group to which it belongs, such as the rule that it tests.
    pub class: String,
    /// How much a failure matters, such as `must`. It may be empty.
    pub kind: &'static str,
    /// How it ended.
    pub outcome: CaseOutcome,
    /// Why it ended so, in one sentence.
    pub message: String,
    /// More about it, by name, such as `("fix", "…")`. Shown if it failed or could not be tested.
    pub details: Vec<(&'static str, String)>,
    /// Its time in milliseconds.
    pub ms: f64,
}

/// How a test case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseOutcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed {
        /// Whether the exit status ignores the failure.
        tolerated: bool,
    },
    /// It was not tried, for a good reason.
    Skipped,
    /// It could not be tried.
    Untested,
}

/// A report in one of the formats. Text for people has the codes of its colours.
pub fn render(report: &impl Report, format: Format) -> String {
    match format {
        Format::Human => report.human(),
        Format::Json => json(report),
        Format::Junit => junit::document(&report.suite()),
        Format::Tap => tap::document(&report.suite()),
    }
}

/// The text without line ends and other control characters. The target chose parts of such a text, and they must not
/// control a terminal.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A value as indented JSON.
pub fn json(value: &impl Serialize) -> String {
    // Our own types have string keys, and none of their parts can fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::check::{Finding, Findings, Outcome, Severity};

    /// One finding of each outcome, with characters that the formats must escape.
    pub fn findings() -> Findings {
        let finding = |id, severity, outcome, actual: &str| Finding {
            id,
            rule: "C-STOP-1",
            severity,
            outcome,
            request: "GET /pre-stop",
            expected: "2xx",
            actual: actual.into(),
            fix: "route \"GET /pre-stop\"",
            server_fix: (id == "bad").then(|| "`Node`: one setting".into()),
            ms: 12,
        };
        Findings {
            target: "./server".into(),
            circumstances: vec!["freezes of 3 s".into()],
            findings: vec![
                finding("good", Severity::Must, Outcome::Passed, "200"),
                finding("bad", Severity::Must, Outcome::Failed, "404 \u{1b}[31m`<no> & \"such\"`"),
                finding("odd", Severity::Note, Outcome::Failed, "#1\nand more"),
                finding("none", Severity::Should, Outcome::Skipped, "not configured"),
                finding("behind", Severity::Should, Outcome::Blocked, "`bad` did not pass"),
                finding("unknown", Severity::Must, Outcome::Untested, "no freezer"),
            ],
            strict: false,
            ms: 90,
        }
    }
}
