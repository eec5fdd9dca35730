//! Findings for people: one line for each, and below them every detail of those that failed.

use anstyle::{AnsiColor, Style};

use super::{Case, CaseOutcome, Report, Suite, on_one_line};
use crate::check::{Check, Finding, Findings, Outcome, Severity};

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// More checks than this share one line if they are blocked for the same reason.
const SHOWN_ALONE_MAX: usize = 3;

impl Report for Findings {
    fn human(&self) -> String {
        let mut text = format!("checked: {}\n", self.target);
        for line in &self.circumstances {
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
        for finding in self.findings.iter().filter(|finding| !is_one_of_many(self, finding)) {
            text.push_str(&line(finding));
        }
        text.push_str(&blocked_together(self));
        for finding in self.findings.iter().filter(|finding| finding.outcome == Outcome::Failed) {
            text.push_str(&explanation(finding));
        }
        text.push_str(&summary(self));
        text
    }

    fn suite(&self) -> Suite {
        let name = format!("fc-emulator check: {}", self.target);
        let mut cases: Vec<Case> = self.findings.iter().map(|finding| case(self, finding)).collect();
        if self.nothing_was_tried() {
            cases.push(Case {
                name: "verdict".to_owned(),
                class: "fc-emulator".to_owned(),
                kind: "",
                outcome: CaseOutcome::Untested,
                message: "no check could be tried, so nothing is known about the target".to_owned(),
                details: vec![],
                ms: 0.0,
            });
        }
        Suite { name, ms: self.ms as f64, cases }
    }
}

/// Whether a check is blocked for the same reason as many others: after a crash one line says more than all of them.
fn is_one_of_many(all: &Findings, finding: &Finding) -> bool {
    finding.outcome == Outcome::Blocked && count_like(all, finding) > SHOWN_ALONE_MAX
}

fn count_like(all: &Findings, finding: &Finding) -> usize {
    let like = |other: &&Finding| other.outcome == Outcome::Blocked && other.actual == finding.actual;
    all.findings.iter().filter(like).count()
}

/// One line for each reason that blocks many checks.
fn blocked_together(all: &Findings) -> String {
    let mut text = String::new();
    let mut reasons = Vec::new();
    for finding in all.findings.iter().filter(|finding| is_one_of_many(all, finding)) {
        if !reasons.contains(&finding.actual.as_str()) {
            reasons.push(&finding.actual);
            let (count, actual) = (count_like(all, finding), on_one_line(&finding.actual));
            text.push_str(&format!("{DIM}{:<8}{DIM:#} {count} checks: {actual}\n", Outcome::Blocked.name()));
        }
    }
    text
}

fn case(all: &Findings, finding: &Finding) -> Case {
    let Finding { id, rule, severity, outcome, request, expected, actual, fix, server_fix, ms } = finding;
    let outcome = match outcome {
        Outcome::Passed => CaseOutcome::Passed,
        Outcome::Failed => CaseOutcome::Failed { tolerated: !all.counts(*severity) },
        // What blocks it fails itself, unless that does not count.
        Outcome::Blocked if all.counts(*severity) && all.exit_code() == 2 => CaseOutcome::Untested,
        Outcome::Untested if all.counts(*severity) => CaseOutcome::Untested,
        Outcome::Skipped | Outcome::Blocked | Outcome::Untested => CaseOutcome::Skipped,
    };
    let details = [("request", *request), ("expected", *expected), ("actual", actual), ("fix", *fix)];
    let server_fix = server_fix.iter().map(|fix| ("server", fix.as_str()));
    Case {
        name: (*id).to_owned(),
        class: (*rule).to_owned(),
        kind: severity.name(),
        outcome,
        message: on_one_line(actual),
        details: details.into_iter().chain(server_fix).map(|(name, text)| (name, text.to_owned())).collect(),
        ms: *ms as f64,
    }
}

/// One finding on one line.
pub fn line(finding: &Finding) -> String {
    let Finding { id, rule, severity, outcome, actual, .. } = finding;
    let style = match (outcome, severity) {
        (Outcome::Passed, _) => GREEN,
        (Outcome::Failed, Severity::Must) | (Outcome::Untested, _) => RED,
        (Outcome::Failed, _) => YELLOW,
        (Outcome::Skipped | Outcome::Blocked, _) => DIM,
    };
    let actual = on_one_line(actual);
    format!("{style}{:<8}{style:#} {:<6} {rule:<9} {id:<25} {actual}\n", outcome.name(), severity.name())
}

fn explanation(finding: &Finding) -> String {
    let Finding { id, rule, severity, request, expected, actual, fix, server_fix, .. } = finding;
    let style = if *severity == Severity::Must { RED } else { YELLOW };
    let actual = on_one_line(actual);
    let server = server_fix.iter().map(|fix| format!("  server:   {fix}\n")).collect::<String>();
    format!(
        "\n{style}{rule} {id} ({}){style:#}\n  request:  {request}\n  expected: {expected}\n  actual:   {actual}\n  \
         fix:      {fix}\n{server}",
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
        (all.count(Outcome::Blocked, None), "blocked"),
        (all.count(Outcome::Untested, None), "untested"),
    ];
    let shown = counts.iter().filter(|(count, _)| *count > 0).map(|(count, outcome)| format!("{count} {outcome}"));
    format!("\n{} in {:.1} s\n", shown.collect::<Vec<_>>().join(", "), all.ms as f64 / 1000.0)
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
    fn checks_that_are_blocked_for_the_same_reason_share_a_line() {
        let mut all = samples::findings();
        let behind = all.findings.iter().find(|finding| finding.id == "behind").unwrap().clone();
        all.findings.extend(std::iter::repeat_n(behind.clone(), SHOWN_ALONE_MAX - 1));
        let text = anstream::adapter::strip_str(&all.human()).to_string();
        assert_eq!(text.matches("blocked  should").count(), SHOWN_ALONE_MAX, "{text}");
        all.findings.push(behind);
        let text = anstream::adapter::strip_str(&all.human()).to_string();
        assert!(!text.contains("blocked  should") && text.contains("blocked  4 checks: `bad` did not pass"), "{text}");
    }

    #[test]
    fn a_failure_says_everything() {
        let text = samples::findings().human();
        assert!(text.contains(&RED.render().to_string()));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text), @r#"
        checked: ./server
          freezes of 3 s

        pass     must   C-STOP-1  good                      200
        FAIL     must   C-STOP-1  bad                       404  [31m`<no> & "such"`
        FAIL     note   C-STOP-1  odd                       #1 and more
        skip     should C-STOP-1  none                      not configured
        blocked  should C-STOP-1  behind                    `bad` did not pass
        untested must   C-STOP-1  unknown                   no freezer

        C-STOP-1 bad (must)
          request:  GET /pre-stop
          expected: 2xx
          actual:   404  [31m`<no> & "such"`
          fix:      route "GET /pre-stop"
          server:   `Node`: one setting

        C-STOP-1 odd (note)
          request:  GET /pre-stop
          expected: 2xx
          actual:   #1 and more
          fix:      route "GET /pre-stop"

        1 passed, 1 failed (must), 1 failed (note), 1 skipped, 1 blocked, 1 untested in 0.1 s
        "#);
    }
}
