//! Findings as JUnit XML: one test case per check, its rule as the class.

use crate::check::{Finding, Findings, Outcome};

/// The whole document.
pub fn findings(all: &Findings) -> String {
    let failures = all.count(Outcome::Failed, None);
    let errors = all.count(Outcome::Untested, None);
    let skipped = all.count(Outcome::Skipped, None) + all.count(Outcome::Blocked, None);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"fc-emulator check: {}\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{:.3}\">\n",
        escape(&all.target),
        all.findings.len(),
        all.ms as f64 / 1000.0
    );
    for finding in &all.findings {
        text.push_str(&case(finding));
    }
    text.push_str("</testsuite>\n");
    text
}

fn case(finding: &Finding) -> String {
    let Finding { id, rule, severity, outcome, request, expected, actual, fix, ms } = finding;
    let head = format!("  <testcase classname=\"{rule}\" name=\"{id}\" time=\"{:.3}\"", *ms as f64 / 1000.0);
    let actual = escape(actual);
    match outcome {
        Outcome::Passed => format!("{head}/>\n"),
        Outcome::Skipped | Outcome::Blocked => format!("{head}><skipped message=\"{actual}\"/></testcase>\n"),
        Outcome::Untested => format!("{head}><error message=\"{actual}\"/></testcase>\n"),
        Outcome::Failed => format!(
            "{head}><failure type=\"{}\" message=\"{actual}\">request: {}\nexpected: {}\n\
             actual: {actual}\nfix: {}</failure></testcase>\n",
            severity.name(),
            escape(request),
            escape(expected),
            escape(fix)
        ),
    }
}

/// Text for an attribute or an element. XML allows hardly any control characters, so they become blanks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use crate::report::samples;

    #[test]
    fn counts_and_escapes() {
        let text = super::findings(&samples::findings());
        assert!(text.contains("tests=\"6\" failures=\"2\" errors=\"1\" skipped=\"2\""), "{text}");
        assert!(text.contains("404 `&lt;no&gt; &amp; &quot;such&quot;`"), "{text}");
        assert_eq!(text.matches("<testcase").count(), 6);
    }
}
