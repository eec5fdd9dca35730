//! The output of all instances: the newest lines, each with its instance and, as far as it is known, its call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::core::{InstanceId, Time};
use crate::output::Stream;

/// The lines that are kept.
const LINES_MAX: usize = 10_000;

/// The platform cuts a longer line (LIM).
const LINE_BYTES_MAX: usize = 32 * 1024;

/// A tail of a log has at most this size, before it is encoded.
pub const TAIL_BYTES_MAX: usize = 4 * 1024;

/// One line of output.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// Its number; later lines have larger ones.
    pub seq: u64,
    /// When it was read, in milliseconds since the start.
    pub at_ms: u64,
    /// The function.
    pub function: String,
    /// The number of the instance.
    pub instance: InstanceId,
    /// Whether it is from standard error.
    pub is_error: bool,
    /// The call that it belongs to.
    pub request: Option<String>,
    /// Its text.
    pub text: String,
}

/// The newest lines.
#[derive(Default)]
pub struct Logs(Mutex<Book>);

#[derive(Default)]
struct Book {
    lines: VecDeque<LogLine>,
    seq: u64,
    /// The call between whose start and end marks each instance prints.
    marked: HashMap<(String, InstanceId), String>,
}

/// What a mark in a line says (C-LOG-1, C-LOG-2).
#[derive(Debug, PartialEq, Eq)]
enum Mark<'a> {
    Start(&'a str),
    End(&'a str),
}

fn mark(text: &str) -> Option<Mark<'_>> {
    let rest = text.strip_prefix("FC ")?;
    let (what, id) = rest.split_once(" RequestId: ")?;
    let id = id.split([',', ' ']).next().unwrap_or_default();
    match what.rsplit_once(' ') {
        Some((_, "Start")) if !id.is_empty() => Some(Mark::Start(id)),
        Some((_, "End")) if !id.is_empty() => Some(Mark::End(id)),
        _ => None,
    }
}

impl Logs {
    /// Adds a line. `likely` is the call that it belongs to if the line and those before it bear no mark.
    pub fn add(
        &self,
        function: &str,
        instance: InstanceId,
        at: Time,
        stream: Stream,
        mut text: String,
        likely: Option<String>,
    ) {
        if text.len() > LINE_BYTES_MAX {
            let end = (0..=LINE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
        }
        let mut book = self.book();
        let key = (function.to_owned(), instance);
        let request = match mark(&text) {
            Some(Mark::Start(id)) => {
                book.marked.insert(key, id.to_owned());
                Some(id.to_owned())
            }
            Some(Mark::End(id)) => {
                book.marked.remove(&key);
                Some(id.to_owned())
            }
            None => likely.or_else(|| book.marked.get(&key).cloned()),
        };
        book.seq += 1;
        let line = LogLine {
            seq: book.seq,
            at_ms: at.as_millis() as u64,
            function: function.to_owned(),
            instance,
            is_error: stream == Stream::Err,
            request,
            text,
        };
        if book.lines.len() == LINES_MAX {
            book.lines.pop_front();
        }
        book.lines.push_back(line);
    }

    /// Forgets what is only of use while an instance lives.
    pub fn forget(&self, function: &str, instance: InstanceId) {
        self.book().marked.remove(&(function.to_owned(), instance));
    }

    /// The lines after this number, oldest first, at most `max` of the newest.
    pub fn since(&self, seq: u64, max: usize) -> Vec<LogLine> {
        let book = self.book();
        let newest = book.lines.iter().rev().take_while(|line| line.seq > seq).take(max);
        let mut lines: Vec<LogLine> = newest.cloned().collect();
        lines.reverse();
        lines
    }

    /// Every line of a call.
    pub fn of_request(&self, id: &str) -> Vec<LogLine> {
        self.book().lines.iter().filter(|line| line.request.as_deref() == Some(id)).cloned().collect()
    }

    /// Whether the line that ends this call is there. `None` if not even the line that begins it is.
    pub fn has_ended(&self, id: &str) -> Option<bool> {
        let book = self.book();
        let of_call = |line: &&LogLine| line.request.as_deref() == Some(id);
        let marks: Vec<Mark> = book.lines.iter().rev().filter(of_call).filter_map(|line| mark(&line.text)).collect();
        let started = marks.iter().any(|one| matches!(one, Mark::Start(_)));
        started.then(|| marks.iter().any(|one| matches!(one, Mark::End(_))))
    }

    /// The end of the log of a call, in whole lines as far as possible.
    pub fn tail(&self, id: &str) -> String {
        let text: String = self.of_request(id).iter().map(|line| format!("{}\n", line.text)).collect();
        let from = text.len().saturating_sub(TAIL_BYTES_MAX);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[from..].to_owned()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(lines: &[(&str, Option<&str>)]) -> Logs {
        let logs = Logs::default();
        for (text, likely) in lines {
            logs.add("f", 1, Time::ZERO, Stream::Out, (*text).to_owned(), likely.map(str::to_owned));
        }
        logs
    }

    #[test]
    fn marks() {
        assert_eq!(mark("FC Invoke Start RequestId: a-1"), Some(Mark::Start("a-1")));
        assert_eq!(mark("FC Invoke End RequestId: a-1, Error: Unhandled function error"), Some(Mark::End("a-1")));
        assert_eq!(mark("FC PreStop End RequestId: b"), Some(Mark::End("b")));
        for other in
            ["", "FC", "Invoke Start RequestId: a", "FC Invoke Start RequestId: ", " FC Invoke Start RequestId: a"]
        {
            assert_eq!(mark(other), None, "{other}");
        }
    }

    #[test]
    fn lines_belong_to_the_call_between_the_marks_or_to_the_only_one() {
        let logs = logs(&[
            ("loose", None),
            ("FC Invoke Start RequestId: a", None),
            ("inside", None),
            ("FC Invoke End RequestId: a", None),
            ("after", None),
            ("by the way", Some("b")),
        ]);
        assert_eq!(logs.tail("a"), "FC Invoke Start RequestId: a\ninside\nFC Invoke End RequestId: a\n");
        assert_eq!(logs.tail("b"), "by the way\n");
        assert_eq!((logs.has_ended("a"), logs.has_ended("b")), (Some(true), None));
        assert_eq!(logs.since(4, 9).len(), 2);
    }

    #[test]
    fn a_tail_is_short_and_a_line_is_cut() {
        let long = "ü".repeat(LINE_BYTES_MAX);
        let logs = logs(&[(&long, Some("a"))]);
        assert_eq!(logs.of_request("a")[0].text.len(), LINE_BYTES_MAX);
        assert!(logs.tail("a").len() <= TAIL_BYTES_MAX);
    }

    #[test]
    fn old_lines_go() {
        let logs = Logs::default();
        for _ in 0..LINES_MAX + 5 {
            logs.add("f", 1, Time::ZERO, Stream::Out, "x".to_owned(), None);
        }
        assert_eq!(logs.since(0, usize::MAX).len(), LINES_MAX);
    }
}
