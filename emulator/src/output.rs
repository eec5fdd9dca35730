//! The output of a target, line by line, with the time at which we read each line.
//!
//! Threads read the streams. This module does not interpret a line; the checks find log markers and secrets. A line is
//! kept whole up to [`LINE_BYTES_MAX`]. A last line without a newline is kept when the stream ends.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Deadline;

/// A longer line is cut into pieces. The limit is far above the 32 KB of the platform and far below our memory.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// We keep this many lines of one target. The rest is lost, and [`Output::overflowed`] says so.
pub const LINES_MAX: usize = 200_000;

/// The stream of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, which the platform searches for log markers.
    Out,
    /// Standard error.
    Err,
}

/// One line, without its newline.
#[derive(Clone, Debug)]
pub struct Line {
    /// When we read it.
    pub at: Instant,
    /// Its stream.
    pub stream: Stream,
    /// Its text. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The output of a target so far. Clones share it.
#[derive(Clone, Default)]
pub struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    grown: Condvar,
}

#[derive(Default)]
struct Record {
    lines: Vec<Line>,
    streams_open: usize,
    overflowed: bool,
    diversion: Option<Diversion>,
}

/// Takes lines in place of the record.
type Diversion = Arc<dyn Fn(Line) + Send + Sync>;

impl Output {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `source` to its end on a thread of its own.
    pub fn follow(&self, stream: Stream, source: impl Read + Send + 'static) {
        self.record().streams_open += 1;
        let output = self.clone();
        std::thread::spawn(move || {
            output.read_all(stream, BufReader::new(source));
            output.record().streams_open -= 1;
            output.0.grown.notify_all();
        });
    }

    /// Gives `to` every line so far and every later one. None is kept any more, so that a target can print for ever.
    pub fn divert(&self, to: impl Fn(Line) + Send + Sync + 'static) {
        let to: Diversion = Arc::new(to);
        // Locked while the earlier lines are passed on, so that no later one overtakes them.
        let mut record = self.record();
        for line in std::mem::take(&mut record.lines) {
            to(line);
        }
        record.diversion = Some(to);
    }

    /// The number of lines so far, for [`Output::since`].
    pub fn mark(&self) -> usize {
        self.record().lines.len()
    }

    /// The lines after `mark`.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.record().lines.get(mark..).unwrap_or_default().to_vec()
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<Line> {
        self.since(0)
    }

    /// Whether lines were lost because the target printed too many.
    pub fn overflowed(&self) -> bool {
        self.record().overflowed
    }

    /// Waits for a line after `mark` that `wanted` accepts.
    pub fn wait_for(&self, mark: usize, deadline: Deadline, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let mut record = self.record();
        loop {
            if let Some(line) = record.lines.iter().skip(mark).find(|line| wanted(line)) {
                return Some(line.clone());
            }
            if record.streams_open == 0 {
                return None;
            }
            record = self.wait(record, deadline.left()?);
        }
    }

    /// Waits until the target has printed nothing for `quiet`, at most until `deadline`.
    pub fn settle(&self, quiet: Duration, deadline: Deadline) {
        let mut record = self.record();
        let mut quiet_until = Deadline::after(quiet);
        let mut seen = record.lines.len();
        while record.streams_open > 0 {
            let (Some(quiet_left), Some(left)) = (quiet_until.left(), deadline.left()) else {
                return;
            };
            record = self.wait(record, quiet_left.min(left));
            if record.lines.len() != seen {
                seen = record.lines.len();
                quiet_until = Deadline::after(quiet);
            }
        }
    }

    /// Waits until every stream has ended, which happens soon after the target exits. Returns whether it did.
    pub fn wait_end(&self, deadline: Deadline) -> bool {
        let mut record = self.record();
        while record.streams_open > 0 {
            let Some(left) = deadline.left() else { return false };
            record = self.wait(record, left);
        }
        true
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, record: MutexGuard<'a, Record>, span: Duration) -> MutexGuard<'a, Record> {
        let waited = self.0.grown.wait_timeout(record, span);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn read_all(&self, stream: Stream, mut source: impl BufRead) {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match source.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => self.push(stream, &bytes),
            }
        }
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        let line = Line { at: Instant::now(), stream, text };
        let mut record = self.record();
        if let Some(to) = record.diversion.clone() {
            drop(record);
            return to(line);
        }
        if record.lines.len() < LINES_MAX {
            record.lines.push(line);
        } else {
            record.overflowed = true;
        }
        drop(record);
        self.0.grown.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn texts(output: &Output) -> Vec<String> {
        output.all().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn keeps_lines_and_an_unfinished_last_one() {
        let output = Output::new();
        output.follow(Stream::Out, &b"one\n\ntwo\nthr\xffee"[..]);
        assert!(output.wait_end(Deadline::after(SOON)));
        assert_eq!(texts(&output), ["one", "", "two", "thr\u{fffd}ee"]);
    }

    #[test]
    fn waits_for_a_line_after_the_mark_only() {
        let output = Output::new();
        output.follow(Stream::Err, &b"same\nsame\n"[..]);
        assert!(output.wait_end(Deadline::after(SOON)));
        let same = |line: &Line| line.text == "same";
        assert!(output.wait_for(1, Deadline::after(SOON), same).is_some());
        assert!(output.wait_for(2, Deadline::after(SOON), same).is_none());
        assert_eq!(output.since(9).len(), 0);
    }

    #[test]
    fn diverted_lines_are_passed_on_in_order_and_not_kept() {
        let output = Output::new();
        output.push(Stream::Out, b"early\n");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        output.divert(move |line| sink.lock().unwrap().push(line.text));
        output.push(Stream::Err, b"late\n");
        assert_eq!(*seen.lock().unwrap(), ["early", "late"]);
        assert_eq!(output.mark(), 0);
    }

    #[test]
    fn an_endless_line_is_cut_not_collected() {
        let output = Output::new();
        output.follow(Stream::Out, std::io::repeat(b'x').take(LINE_BYTES_MAX as u64 + 5));
        assert!(output.wait_end(Deadline::after(SOON)));
        assert_eq!(output.all().iter().map(|line| line.text.len()).max(), Some(LINE_BYTES_MAX));
    }
}
