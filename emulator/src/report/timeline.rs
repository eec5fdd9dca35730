//! A lifecycle as a table: each step with its status, its time, the body of its answer, and the lines that the target
//! printed during the step.

use super::{Case, CaseOutcome, Report, Suite, on_one_line};
use crate::http::cut;
use crate::lifecycle_run::{Step, Timeline};

const BODY_CHARS: usize = 24;
const LOG_CHARS: usize = 76;

impl Report for Timeline {
    /// The table, and a verdict below it. An empty line separates it from the progress on the same terminal.
    fn human(&self) -> String {
        let mut rows = vec![row("step", "status", "time", "answer", "log")];
        for step in &self.steps {
            rows.extend(lines(step));
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (name_width, body_width) = (width(0), width(3));
        let mut text = "\n".to_owned();
        for [name, status, time, body, log] in &rows {
            let line = format!("{name:<name_width$}  {status:>6}  {time:>9}  {body:<body_width$}  {log}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let verdict = match self.steps.iter().filter(|step| !step.ok).count() {
            0 => "the target keeps the contract".to_owned(),
            1 => "1 step breaks the contract".to_owned(),
            count => format!("{count} steps break the contract"),
        };
        let verdict = match self.steps.iter().filter(|step| !step.warning.is_empty()).count() {
            0 => verdict,
            1 => format!("{verdict}, with 1 warning"),
            count => format!("{verdict}, with {count} warnings"),
        };
        let count = self.steps.len();
        let s = if count == 1 { "" } else { "s" };
        text + &format!("\n{count} step{s} in {:.1} s: {verdict}\n", self.ms / 1000.0)
    }

    fn suite(&self) -> Suite {
        let name = format!("fc-emulator run: {}", self.target);
        Suite { name, ms: self.ms, cases: self.steps.iter().map(case).collect() }
    }
}

fn case(step: &Step) -> Case {
    let Step { name, status, body, note, warning, log, ok, ms, .. } = step;
    let status = status.map(|status| status.to_string()).unwrap_or_default();
    let message = on_one_line(if note.is_empty() { &status } else { note });
    let details = [
        ("status", status),
        ("answer", body.clone()),
        ("note", note.clone()),
        ("warning", warning.clone()),
        ("log", log.join("\n")),
    ];
    Case {
        name: name.clone(),
        class: "run".to_owned(),
        kind: "",
        outcome: if *ok { CaseOutcome::Passed } else { CaseOutcome::Failed { tolerated: false } },
        message,
        details: details.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
        ms: *ms,
    }
}

/// The lines of one step: the first, and one more for each further line of the log.
fn lines(step: &Step) -> Vec<[String; 5]> {
    let status = match (step.status, step.ok) {
        (Some(status), true) => status.to_string(),
        (Some(status), false) => format!("{status} ✗"),
        (None, true) => String::new(),
        (None, false) => "✗".to_owned(),
    };
    let time = format!("{} ms", digits(step.ms));
    // Our note stands above the lines of the target.
    let note = (!step.note.is_empty()).then(|| format!("({})", step.note));
    let warning = (!step.warning.is_empty()).then(|| format!("(warning: {})", step.warning));
    let mut log = note.into_iter().chain(warning).chain(step.log.iter().map(|line| cut(line, LOG_CHARS)));
    let body = cut(&step.body, BODY_CHARS - 1);
    let first = row(&step.name, &status, &time, &body, &log.next().unwrap_or_default());
    [first].into_iter().chain(log.map(|line| row("", "", "", "", &line))).collect()
}

fn row(name: &str, status: &str, time: &str, body: &str, log: &str) -> [String; 5] {
    [name, status, time, body, log].map(str::to_owned)
}

/// Three significant digits or so.
pub fn digits(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, render};

    fn sample() -> Timeline {
        let steps = vec![
            Step {
                name: "POST /invoke".into(),
                status: Some(200),
                ms: 0.5,
                body: "{}".into(),
                ok: true,
                log: vec!["one".into(), "two".into()],
                ..Step::default()
            },
            Step { name: "SIGTERM".into(), ms: 10_000.0, note: "still running".into(), ..Step::default() },
        ];
        Timeline { target: "./x".into(), steps, conforms: false, ms: 12.0 }
    }

    #[test]
    fn log_lines_stand_beside_their_step() {
        insta::assert_snapshot!(sample().human().trim(), @r#"
        step          status       time  answer  log
        POST /invoke     200    0.50 ms  {}      one
                                                 two
        SIGTERM            ✗   10000 ms          (still running)

        2 steps in 0.0 s: 1 step breaks the contract
        "#);
    }

    #[test]
    fn a_step_that_fails_is_a_test_case_that_fails() {
        insta::assert_snapshot!(render(&sample(), Format::Tap), @r#"
        TAP version 13
        1..2
        ok 1 - run POST /invoke
        not ok 2 - run SIGTERM
          ---
          note: "still running"
          ...
        "#);
        assert!(render(&sample(), Format::Junit).contains(r#"tests="2" skipped="0" errors="0" failures="1""#));
    }
}
