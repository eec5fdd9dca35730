//! Findings as JUnit XML: one test case per check, its rule as the class.

use super::bench::escape;
use crate::check::{Finding, Findings, Outcome};

/// The whole document.
pub fn findings(all: &Findings) -> String {
    let failures = all.count(Outcome::Failed, None);
    let errors = all.count(Outcome::Untested, None);
    let skipped = all.count(Outcome::Skipped, None) + all.count(Outcome::Blocked, None);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"fc-bench check: {}\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{:.3}\">\n",
        escape(&all.subject),
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
    let Finding { id, rule, severity, outcome, sent, expected, came, mend, ms } = finding;
    let head = format!("  <testcase classname=\"{rule}\" name=\"{id}\" time=\"{:.3}\"", *ms as f64 / 1000.0);
    let came = escape(came);
    match outcome {
        Outcome::Passed => format!("{head}/>\n"),
        Outcome::Skipped | Outcome::Blocked => format!("{head}><skipped message=\"{came}\"/></testcase>\n"),
        Outcome::Untested => format!("{head}><error message=\"{came}\"/></testcase>\n"),
        Outcome::Failed => format!(
            "{head}><failure type=\"{}\" message=\"{came}\">sent: {}\nexpected: {}\ncame: {came}\nto mend: {}</failure>\
             </testcase>\n",
            severity.name(),
            escape(sent),
            escape(expected),
            escape(mend)
        ),
    }
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
