//! Findings for people: one line each; of what failed, everything.

use crate::check::{Check, Finding, Findings, Outcome, Severity};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The whole report.
pub fn findings(all: &Findings, colour: bool) -> String {
    let mut text = format!("checked: {}\n", all.target);
    for line in &all.circumstances {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    for finding in &all.findings {
        text.push_str(&line(finding, colour));
    }
    for finding in all.findings.iter().filter(|finding| finding.outcome == Outcome::Failed) {
        text.push_str(&explanation(finding, colour));
    }
    text.push_str(&summary(all));
    text
}

/// One finding on one line.
pub fn line(finding: &Finding, colour: bool) -> String {
    let Finding { id, rule, severity, outcome, actual, .. } = finding;
    let paint = match (outcome, severity) {
        (Outcome::Passed, _) => GREEN,
        (Outcome::Failed, Severity::Must) | (Outcome::Untested, _) => RED,
        (Outcome::Failed, _) => YELLOW,
        (Outcome::Skipped | Outcome::Blocked, _) => DIM,
    };
    let (on, off) = if colour { (paint, PLAIN) } else { ("", "") };
    let actual = actual.replace('\n', " ");
    format!("{on}{:<8}{off} {:<6} {rule:<9} {id:<25} {actual}\n", outcome.name(), severity.name())
}

fn explanation(finding: &Finding, colour: bool) -> String {
    let Finding { id, rule, severity, request, expected, actual, fix, .. } = finding;
    let (on, off) = match (colour, severity) {
        (false, _) => ("", ""),
        (true, Severity::Must) => (RED, PLAIN),
        (true, _) => (YELLOW, PLAIN),
    };
    format!(
        "\n{on}{rule} {id} ({}){off}\n  request:  {request}\n  expected: {expected}\n  actual:   {actual}\n  \
         fix:      {fix}\n",
        severity.name()
    )
}

fn summary(all: &Findings) -> String {
    let failed = |severity| all.count(Outcome::Failed, Some(severity));
    let counts = [
        (all.count(Outcome::Passed, None), "passed"),
        (failed(Severity::Must), "failed (must)"),
        (failed(Severity::Should), "failed (should)"),
        (failed(Severity::Note), "failed (note)"),
        (all.count(Outcome::Skipped, None), "skipped"),
        (all.count(Outcome::Blocked, None), "blocked by a failed one"),
        (all.count(Outcome::Untested, None), "could not be tested"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    format!("\n{} in {:.1} s\n", told.collect::<Vec<_>>().join(", "), all.ms as f64 / 1000.0)
}

/// The checks, as the command `list` shows them.
pub fn list(checks: &[&Check]) -> String {
    let line = |check: &&Check| {
        let Check { id, rule, severity, request, expected, .. } = check;
        format!("{rule:<9} {:<6} {id}\n    request:  {request}\n    expected: {expected}\n", severity.name())
    };
    checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_failure_says_everything() {
        let text = findings(&samples::findings(), false);
        for part in ["request:  GET /pre-stop", "expected: 2xx", "actual:   404", "fix:      route"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(text.contains("1 passed, 1 failed (must), 1 failed (note), 1 skipped"));
        assert!(!text.contains('\x1b'));
        assert!(findings(&samples::findings(), true).contains(RED));
    }
}
