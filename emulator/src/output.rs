//! The output of a target, line by line, with the time at which we read each line.
//!
//! Threads read the streams. This module does not interpret a line; the checks find log markers and secrets. A line is
//! kept whole up to [`LINE_BYTES_MAX`]. A last line without a newline is kept when the stream ends.
//!
//! All targets of one emulator together keep at most [`KEPT_BYTES_MAX`], whatever they print. Beyond that, a target
//! that prints loses its own oldest lines, and a line in their place says how many.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Deadline;
use crate::http::cut;

/// A longer line is cut into pieces. The limit is far above the 32 KB of the platform and far below our memory.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The output of all targets together takes no more memory than this: half of 64 MiB, because checks work on copies of
/// the lines, though not of their texts.
pub const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Each target may keep this much, however much the others print: two of the longest lines of the platform and more.
const OWN_BYTES: usize = 256 * 1024;

/// So many targets can be there at the same time without going beyond the bound.
const TARGETS: usize = 64;

/// A line takes this much beside its text: the record, whose buffer may be half empty, and what the allocator adds.
const LINE_OVERHEAD: usize = 2 * size_of::<Line>() + 32;

/// The memory of all records.
static KEPT: AtomicUsize = AtomicUsize::new(0);

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
    /// Its text, which copies of the line share. Bytes that are not UTF-8 are replaced.
    pub text: Arc<str>,
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
    lines: VecDeque<Line>,
    /// The memory of the lines.
    bytes: usize,
    /// How many lines were dropped, and how many bytes they had. A mark counts them, too.
    dropped: usize,
    dropped_bytes: usize,
    streams_open: usize,
    diversion: Option<Diversion>,
}

/// Some of the lines after a mark.
pub struct Excerpt {
    /// The first lines and the last ones. A line between them says how many are left out.
    pub lines: Vec<String>,
    /// The mark behind the last of them.
    pub end: usize,
}

impl Record {
    /// The mark behind the last line.
    fn end(&self) -> usize {
        self.dropped + self.lines.len()
    }

    /// The lines after `mark` that are still there.
    fn after(&self, mark: usize) -> impl ExactSizeIterator<Item = &Line> + DoubleEndedIterator {
        self.lines.range(mark.saturating_sub(self.dropped).min(self.lines.len())..)
    }

    /// What to say of the lines after `mark` that were dropped.
    fn gap_after(&self, mark: usize) -> Option<String> {
        let lost = self.dropped.saturating_sub(mark);
        (lost > 0).then(|| {
            let (all, mb) = (self.dropped, self.dropped_bytes as f64 / 1e6);
            format!("[fc-emulator dropped {lost} lines here; {all} lines with {mb:.1} MB since the start]")
        })
    }

    /// Takes the lines out. They count as dropped, so that marks stay true.
    fn take(&mut self) -> VecDeque<Line> {
        KEPT.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        let lines = std::mem::take(&mut self.lines);
        self.dropped += lines.len();
        self.dropped_bytes += lines.iter().map(|line| line.text.len() + 1).sum::<usize>();
        lines
    }

    fn push(&mut self, line: Line) {
        let bytes = cost(&line);
        self.bytes += bytes;
        KEPT.fetch_add(bytes, Ordering::Relaxed);
        self.lines.push_back(line);
        const SHARED: usize = KEPT_BYTES_MAX - TARGETS * OWN_BYTES;
        while self.lines.len() > 1 && self.bytes > OWN_BYTES && KEPT.load(Ordering::Relaxed) > SHARED {
            let Some(oldest) = self.lines.pop_front() else { return };
            let bytes = cost(&oldest);
            self.bytes -= bytes;
            KEPT.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped += 1;
            self.dropped_bytes += oldest.text.len() + 1;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn cost(line: &Line) -> usize {
    line.text.len() + LINE_OVERHEAD
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
        for line in record.take() {
            to(line);
        }
        record.diversion = Some(to);
    }

    /// The number of lines so far, for [`Output::since`].
    pub fn mark(&self) -> usize {
        self.record().end()
    }

    /// The lines after `mark`. If some of them were dropped, the first line says so.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        let record = self.record();
        let gap =
            record.gap_after(mark).map(|text| Line { at: Instant::now(), stream: Stream::Err, text: text.into() });
        gap.into_iter().chain(record.after(mark).cloned()).collect()
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<Line> {
        self.since(0)
    }

    /// The `first` and the `last` lines after `mark`, each cut after `chars` characters, and between them how many were
    /// left out.
    pub fn excerpt(&self, mark: usize, (first, last): (usize, usize), chars: usize) -> Excerpt {
        let record = self.record();
        let lines = record.after(mark);
        let left_out = lines.len().saturating_sub(first + last);
        let shown = |line: &Line| cut(&line.text, chars);
        let mut excerpt: Vec<String> = record.gap_after(mark).into_iter().collect();
        excerpt.extend(record.after(mark).take(if left_out == 0 { lines.len() } else { first }).map(shown));
        if left_out > 0 {
            excerpt.push(format!("[{left_out} more lines]"));
            excerpt.extend(record.after(mark).skip(first + left_out).map(shown));
        }
        Excerpt { lines: excerpt, end: record.end() }
    }

    /// How many lines came on this stream. Dropped ones count for both, because nobody knows where they came.
    pub fn count(&self, stream: Stream) -> usize {
        let record = self.record();
        record.dropped + record.lines.iter().filter(|line| line.stream == stream).count()
    }

    /// The last lines that are not blank, at most `count`, each cut after `chars` characters.
    pub fn last_lines(&self, count: usize, chars: usize) -> Vec<String> {
        let record = self.record();
        let lines = record.lines.iter().rev().map(|line| line.text.trim_end()).filter(|text| !text.is_empty());
        let mut last: Vec<String> = lines.take(count).map(|text| cut(text, chars)).collect();
        last.reverse();
        last
    }

    /// How many lines were dropped because the target printed too much, and how many bytes they had.
    pub fn dropped(&self) -> (usize, usize) {
        let record = self.record();
        (record.dropped, record.dropped_bytes)
    }

    /// Waits for a line after `mark`. Returns whether there is one; if not, there never will be.
    pub fn wait_beyond(&self, mark: usize) -> bool {
        let mut record = self.record();
        while record.end() <= mark && record.streams_open > 0 {
            record = self.0.grown.wait(record).unwrap_or_else(PoisonError::into_inner);
        }
        record.end() > mark
    }

    /// Waits for a line after `mark` that `wanted` accepts.
    pub fn wait_for(&self, mark: usize, deadline: Deadline, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let (mut record, mut seen) = (self.record(), mark);
        loop {
            if let Some(line) = record.after(seen).find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = record.end().max(mark);
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
        let mut seen = record.end();
        while record.streams_open > 0 {
            let (Some(quiet_left), Some(left)) = (quiet_until.left(), deadline.left()) else {
                return;
            };
            record = self.wait(record, quiet_left.min(left));
            if record.end() != seen {
                seen = record.end();
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
        let text = String::from_utf8_lossy(bytes).into();
        let line = Line { at: Instant::now(), stream, text };
        let mut record = self.record();
        if let Some(to) = record.diversion.clone() {
            drop(record);
            return to(line);
        }
        record.push(line);
        drop(record);
        self.0.grown.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// All records of this process share one bound, so tests that fill it come one after the other.
    static FULL: Mutex<()> = Mutex::new(());

    fn texts(output: &Output) -> Vec<String> {
        output.all().into_iter().map(|line| line.text.to_string()).collect()
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
        let same = |line: &Line| &*line.text == "same";
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
        output.divert(move |line| sink.lock().unwrap().push(line.text.to_string()));
        output.push(Stream::Err, b"late\n");
        assert_eq!(*seen.lock().unwrap(), ["early", "late"]);
        assert!(output.all().len() == 1 && output.mark() == 1, "the record says that it has a gap");
    }

    #[test]
    fn an_endless_line_is_cut_not_collected() {
        let _alone = FULL.lock().unwrap_or_else(PoisonError::into_inner);
        let output = Output::new();
        output.follow(Stream::Out, std::io::repeat(b'x').take(LINE_BYTES_MAX as u64 + 5));
        assert!(output.wait_end(Deadline::after(SOON)));
        assert_eq!(output.all().iter().map(|line| line.text.len()).max(), Some(LINE_BYTES_MAX));
    }

    #[test]
    fn a_flood_keeps_its_end_within_the_bound_and_says_what_it_lost() {
        let _alone = FULL.lock().unwrap_or_else(PoisonError::into_inner);
        let output = Output::new();
        let line = [b'x'; 1000];
        let count = 2 * KEPT_BYTES_MAX / 1000;
        let mut record = output.record();
        for number in 0..count {
            let text = format!("{number} {}", String::from_utf8_lossy(&line));
            record.push(Line { at: Instant::now(), stream: Stream::Out, text: text.into() });
            assert!(record.bytes <= KEPT_BYTES_MAX);
        }
        drop(record);
        let (dropped, bytes) = output.dropped();
        assert!(dropped > count / 3 && bytes > dropped * 1000, "{dropped} lines, {bytes} bytes");
        assert_eq!(output.mark(), count);
        let last = output.since(count - 1);
        assert!(last.len() == 1 && last[0].text.starts_with(&format!("{} ", count - 1)));
        let excerpt = output.excerpt(0, (2, 1), 2000);
        assert_eq!((excerpt.lines.len(), excerpt.end), (5, count));
        assert!(excerpt.lines[0].contains(&format!("dropped {dropped} lines here")), "{}", excerpt.lines[0]);
        assert!(excerpt.lines[1].starts_with(&format!("{dropped} ")) && excerpt.lines[3].ends_with("more lines]"));
        // A small record keeps all of its lines beside it.
        let small = Output::new();
        small.push(Stream::Out, b"one\n");
        assert_eq!((texts(&small), small.dropped()), (vec!["one".to_owned()], (0, 0)));
        drop(output);
        assert!(KEPT.load(Ordering::Relaxed) < KEPT_BYTES_MAX);
    }

    #[test]
    fn the_last_lines_are_those_with_text() {
        let output = Output::new();
        output.follow(Stream::Out, &b"1\n22\n\n  \n333\n\n"[..]);
        assert!(output.wait_end(Deadline::after(SOON)));
        assert_eq!(output.last_lines(2, 9), ["22", "333"]);
        assert_eq!(output.last_lines(9, 2), ["1", "22", &cut("333", 2)]);
    }

    #[test]
    fn an_excerpt_has_every_line_if_they_are_few() {
        let output = Output::new();
        output.follow(Stream::Out, &b"1\n2\n3\n4\n"[..]);
        assert!(output.wait_end(Deadline::after(SOON)));
        assert_eq!(output.excerpt(1, (2, 1), 9).lines, ["2", "3", "4"]);
        assert_eq!(output.excerpt(0, (1, 1), 9).lines, ["1", "[2 more lines]", "4"]);
        assert!(output.wait_beyond(3) && !output.wait_beyond(4));
    }
}
