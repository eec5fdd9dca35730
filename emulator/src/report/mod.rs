//! How results are shown: for people, and in three formats for machines.
//!
//! Pure text out of [`crate::check::Findings`] and [`crate::lifecycle_run::Timeline`]; nothing here decides
//! what a result means.

mod human;
mod junit;
mod live;
mod tap;
mod timeline;

use serde::Serialize;

use crate::check::Findings;
pub use human::list;
pub use live::{CheckProgress, LifecycleWatcher};
pub use timeline::table;

/// A format for the findings of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// JUnit XML, as continuous integration reads it.
    Junit,
    /// Test Anything Protocol, version 13.
    Tap,
}

/// The findings in that format. `colour` is for people only.
pub fn findings(findings: &Findings, format: Format, colour: bool) -> String {
    match format {
        Format::Human => human::findings(findings, colour),
        Format::Json => json(findings),
        Format::Junit => junit::findings(findings),
        Format::Tap => tap::findings(findings),
    }
}

/// Anything as indented JSON.
pub fn json(value: &impl Serialize) -> String {
    // Our own types have string keys and no failing parts.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::check::{Finding, Findings, Outcome, Severity};

    /// A result of each kind, with characters that formats must escape.
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
            ms: 12,
        };
        Findings {
            target: "./server".into(),
            circumstances: vec!["freezes of 3 s".into()],
            findings: vec![
                finding("good", Severity::Must, Outcome::Passed, "200"),
                finding("bad", Severity::Must, Outcome::Failed, "404 `<no> & \"such\"`"),
                finding("odd", Severity::Note, Outcome::Failed, "#1\nand more"),
                finding("none", Severity::Should, Outcome::Skipped, "not configured"),
                finding("behind", Severity::Should, Outcome::Blocked, "`bad` did not pass"),
                finding("unknown", Severity::Should, Outcome::Untested, "no freezer"),
            ],
            ms: 90,
        }
    }
}
