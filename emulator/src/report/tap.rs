//! A list of test cases as TAP version 13, with a YAML block below each case that did not pass.

use super::{Case, CaseOutcome, Suite};

/// The whole stream.
///
/// A tolerated failure is marked `todo`, so that readers of TAP come to the verdict of the exit status.
pub fn document(all: &Suite) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", all.cases.len());
    for (number, case) in (1..).zip(&all.cases) {
        text.push_str(&point(number, case));
    }
    text
}

fn point(number: usize, case: &Case) -> String {
    let Case { name, class, kind, outcome, message, details, .. } = case;
    let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
    let name = format!("{number} - {class} {name}{kind}").replace('#', " ");
    match outcome {
        CaseOutcome::Passed => format!("ok {name}\n"),
        CaseOutcome::Skipped => {
            format!("ok {name} # SKIP {}\n", message.replace(|c: char| c == '#' || c.is_control(), " "))
        }
        CaseOutcome::Failed { .. } | CaseOutcome::Untested => {
            let tolerated = matches!(outcome, CaseOutcome::Failed { tolerated: true });
            let todo = if tolerated { " # todo" } else { "" };
            // A JSON string is a YAML string.
            let line = |name: &str, text: &str| format!("  {name}: {}\n", serde_json::Value::from(text));
            let lines: String = details.iter().map(|(name, text)| line(name, text)).collect();
            format!("not ok {name}{todo}\n  ---\n{lines}  ...\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report::{Format, render, samples};

    #[test]
    fn one_point_for_each_finding() {
        insta::assert_snapshot!(render(&samples::findings(), Format::Tap), @r##"
        TAP version 13
        1..6
        ok 1 - C-STOP-1 good (must)
        not ok 2 - C-STOP-1 bad (must)
          ---
          request: "GET /pre-stop"
          expected: "2xx"
          actual: "404 \u001b[31m`<no> & \"such\"`"
          fix: "route \"GET /pre-stop\""
          server: "`Node`: one setting"
          ...
        not ok 3 - C-STOP-1 odd (note) # todo
          ---
          request: "GET /pre-stop"
          expected: "2xx"
          actual: "#1\nand more"
          fix: "route \"GET /pre-stop\""
          ...
        ok 4 - C-STOP-1 none (should) # SKIP not configured
        ok 5 - C-STOP-1 behind (should) # SKIP `bad` did not pass
        not ok 6 - C-STOP-1 unknown (must)
          ---
          request: "GET /pre-stop"
          expected: "2xx"
          actual: "no freezer"
          fix: "route \"GET /pre-stop\""
          ...
        "##);
    }
}
