//! A list of test cases as JUnit XML. The class of a case is its rule.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Case, CaseOutcome, Suite};

/// The whole document.
pub fn document(all: &Suite) -> String {
    let mut suite = TestSuite::new(all.name.as_str());
    suite.set_time(time(all.ms)).add_test_cases(all.cases.iter().map(case));
    let mut report = Report::new("fc-hooks");
    report.set_time(time(all.ms)).add_test_suite(suite);
    // Writing to memory cannot fail, and quick-junit removes the characters that XML does not allow.
    report.to_string().unwrap_or_default()
}

fn case(case: &Case) -> TestCase {
    let status = match case.outcome {
        CaseOutcome::Passed => TestCaseStatus::success(),
        CaseOutcome::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(case.message.as_str());
            status
        }
        // JUnit knows no failure that does not count, and a program that reads it counts each one.
        CaseOutcome::Failed { tolerated: true } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("broken, but a {} does not count: {}", case.kind, case.message));
            status
        }
        CaseOutcome::Failed { tolerated: false } => not_passed(case, NonSuccessKind::Failure, case.kind),
        CaseOutcome::Untested => not_passed(case, NonSuccessKind::Error, "untested"),
    };
    let mut shown = TestCase::new(case.name.as_str(), status);
    shown.set_classname(case.class.as_str()).set_time(time(case.ms));
    shown
}

fn not_passed(case: &Case, kind: NonSuccessKind, name: &str) -> TestCaseStatus {
    let details: Vec<String> = case.details.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(name).set_message(case.message.as_str()).set_description(details.join("\n"));
    status
}

fn time(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}

#[cfg(test)]
mod tests {
    use crate::report::{Format, render, samples};

    #[test]
    fn every_outcome_and_escape() {
        insta::assert_snapshot!(render(&samples::findings(), Format::Junit), @r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="fc-hooks" tests="6" skipped="3" failures="1" errors="1" time="0.090">
            <testsuite name="fc-emulator check: ./server" tests="6" skipped="3" errors="1" failures="1" time="0.090">
                <testcase name="good" classname="C-STOP-1" time="0.012"/>
                <testcase name="bad" classname="C-STOP-1" time="0.012">
                    <failure message="404  [31m`&lt;no&gt; &amp; &quot;such&quot;`" type="must">request: GET /pre-stop
        expected: 2xx
        actual: 404 `&lt;no&gt; &amp; &quot;such&quot;`
        fix: route &quot;GET /pre-stop&quot;
        server: `Node`: one setting</failure>
                </testcase>
                <testcase name="odd" classname="C-STOP-1" time="0.012">
                    <skipped message="broken, but a note does not count: #1 and more"/>
                </testcase>
                <testcase name="none" classname="C-STOP-1" time="0.012">
                    <skipped message="not configured"/>
                </testcase>
                <testcase name="behind" classname="C-STOP-1" time="0.012">
                    <skipped message="`bad` did not pass"/>
                </testcase>
                <testcase name="unknown" classname="C-STOP-1" time="0.012">
                    <error message="no freezer" type="untested">request: GET /pre-stop
        expected: 2xx
        actual: no freezer
        fix: route &quot;GET /pre-stop&quot;</error>
                </testcase>
            </testsuite>
        </testsuites>
        "##);
    }
}
