//! Findings as TAP version 13, with a YAML block under what failed.

use crate::check::{Finding, Findings, Outcome, Severity};

/// The whole stream.
///
/// What fails below a "must" is marked `todo`, so that readers of TAP come to the verdict of the exit code without
/// `--strict`.
pub fn findings(all: &Findings) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", all.findings.len());
    for (number, finding) in (1..).zip(&all.findings) {
        text.push_str(&point(number, finding));
    }
    text
}

fn point(number: usize, finding: &Finding) -> String {
    let Finding { id, rule, severity, outcome, request, expected, actual, fix, .. } = finding;
    let name = format!("{number} - {rule} {id} ({})", severity.name());
    match outcome {
        Outcome::Passed => format!("ok {name}\n"),
        Outcome::Skipped | Outcome::Blocked => format!("ok {name} # SKIP {}\n", actual.replace(['#', '\n'], " ")),
        Outcome::Failed | Outcome::Untested => {
            let pairs = [("request", *request), ("expected", *expected), ("actual", actual), ("fix", *fix)];
            // A JSON string is a YAML string.
            let line = |(key, value): &(&str, &str)| format!("  {key}: {}\n", serde_json::Value::from(*value));
            let todo = if *outcome == Outcome::Failed && *severity < Severity::Must { " # todo" } else { "" };
            format!("not ok {name}{todo}\n  ---\n{}  ...\n", pairs.iter().map(line).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report::samples;

    #[test]
    fn one_point_per_finding() {
        let text = super::findings(&samples::findings());
        assert!(text.starts_with("TAP version 13\n1..6\nok 1 - C-STOP-1 good (must)\nnot ok 2 - "), "{text}");
        assert_eq!(text.matches("\nok ").count() + text.matches("\nnot ok ").count(), 6);
        assert!(text.contains("  actual: \"#1\\nand more\"\n"));
        assert!(text.contains("# SKIP not configured\n"));
    }
}
