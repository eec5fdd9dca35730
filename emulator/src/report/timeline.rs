//! A life as a table: step, status, time, body, and what the target printed meanwhile.

use crate::http::cut;
use crate::lifecycle_run::{Step, Timeline};

const BODY_CHARS: usize = 24;
const LOG_CHARS: usize = 76;

/// The whole table, with a verdict below.
pub fn table(timeline: &Timeline) -> String {
    let mut rows = vec![row("step", "status", "time", "answer", "log")];
    for step in &timeline.steps {
        rows.extend(lines(step));
    }
    let width = rows.iter().map(|[name, ..]| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for [name, status, time, body, log] in &rows {
        let line = format!("{name:<width$}  {status:>6}  {time:>9}  {body:<BODY_CHARS$}  {log}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let verdict = match timeline.steps.iter().filter(|step| !step.ok).count() {
        0 => "as the contract says".to_owned(),
        1 => "1 step did not go as the contract says".to_owned(),
        count => format!("{count} steps did not go as the contract says"),
    };
    let count = timeline.steps.len();
    text + &format!("\n{count} step{} in {:.1} s: {verdict}\n", if count == 1 { "" } else { "s" }, timeline.ms / 1000.0)
}

/// A step: its own line, and one for each further line of the log.
fn lines(step: &Step) -> Vec<[String; 5]> {
    let status = match (step.status, step.ok) {
        (Some(status), true) => status.to_string(),
        (Some(status), false) => format!("{status} ✗"),
        (None, true) => String::new(),
        (None, false) => "✗".to_owned(),
    };
    let time = format!("{} ms", digits(step.ms));
    // What we have to say stands above what the target said.
    let note = (!step.note.is_empty()).then(|| format!("({})", step.note));
    let mut log = note.into_iter().chain(step.log.iter().map(|line| cut(line, LOG_CHARS)));
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

    #[test]
    fn log_lines_stand_beside_their_step() {
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
        let text = table(&Timeline { target: "./x".into(), steps, conforms: false, ms: 12.0 });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("200") && lines[1].ends_with("one"), "{text}");
        assert!(lines[2].trim() == "two", "{text}");
        assert!(lines[3].contains('✗') && lines[3].contains("still running"), "{text}");
        assert!(text.ends_with("1 step did not go as the contract says\n"));
    }
}
