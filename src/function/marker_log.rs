//! The lines on standard output that mark the start and the end of each call. The platform's console uses them to
//! assign the output to calls (C-LOG-1, C-LOG-2). Pure: an [`Output`] prints.

use crate::function::dispatch::{CallLog, LogMarker};
use crate::function::request::LoggedId;
use crate::platform::markers;

/// The line for the start of an initializer with an id of 36 characters takes 68.
const LINE_BYTES_USUAL: usize = 80;

/// The settings of log markers, and a buffer for one line that is used again and again.
pub(crate) struct MarkerLog {
    line: Vec<u8>,
    call_markers: bool,
}

impl MarkerLog {
    pub(crate) fn new(call_markers: bool) -> MarkerLog {
        MarkerLog { line: Vec::new(), call_markers }
    }
}

/// Standard output, or a test's substitute.
pub(crate) trait Output {
    fn print(&mut self, line: &[u8]);

    /// Flushes the output of callbacks.
    fn flush_output(&mut self);

    /// Whether a callback's last line has no end yet, as far as that can be told.
    fn is_mid_line(&self) -> bool;
}

/// Writes log markers to an output.
pub(crate) struct MarkerWriter<'a, O> {
    output: &'a mut O,
    marker_log: &'a mut MarkerLog,
}

impl<'a, O: Output> MarkerWriter<'a, O> {
    pub(crate) fn new(output: &'a mut O, marker_log: &'a mut MarkerLog) -> MarkerWriter<'a, O> {
        MarkerWriter { output, marker_log }
    }

    fn print(&mut self, marker: LogMarker, edge: &str, request_id: LoggedId<'_>, tail: &str) {
        if marker == LogMarker::Invoke && !self.marker_log.call_markers {
            return;
        }
        let line = &mut self.marker_log.line;
        line.clear();
        if self.output.is_mid_line() {
            line.push(b'\n');
        }
        // One allocation instead of one for each doubling.
        line.reserve(LINE_BYTES_USUAL);
        let words = [markers::PREFIX, marker.word(), edge, markers::REQUEST_ID].map(str::as_bytes);
        for part in words.into_iter().chain([request_id.bytes(), tail.as_bytes(), b"\n"]) {
            line.extend_from_slice(part);
        }
        self.output.print(line);
    }
}

impl<O: Output> CallLog for MarkerWriter<'_, O> {
    fn start(&mut self, marker: LogMarker, request_id: LoggedId<'_>) {
        self.print(marker, markers::START, request_id, "");
    }

    fn end(&mut self, marker: LogMarker, request_id: LoggedId<'_>, failed: bool) {
        self.output.flush_output();
        self.print(marker, markers::END, request_id, if failed { markers::ERROR_TAIL } else { "" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Page(String);

    impl Output for Page {
        fn print(&mut self, line: &[u8]) {
            self.0.push_str(std::str::from_utf8(line).unwrap());
        }

        fn flush_output(&mut self) {}

        fn is_mid_line(&self) -> bool {
            !self.0.is_empty() && !self.0.ends_with('\n')
        }
    }

    /// C-LOG-1: a marker begins at column 0, and there is no empty line where the callback's own line has an end.
    #[test]
    fn a_marker_begins_a_line() {
        for (printed, seen) in [("", ""), ("x\n", "x\n"), ("x", "x\n"), ("x\ny", "x\ny\n")] {
            let (mut page, mut marker_log) = (Page(String::new()), MarkerLog::new(true));
            MarkerWriter::new(&mut page, &mut marker_log).start(LogMarker::Invoke, LoggedId::new(b"1"));
            page.0.push_str(printed);
            MarkerWriter::new(&mut page, &mut marker_log).end(LogMarker::Invoke, LoggedId::new(b"1"), false);
            assert_eq!(page.0, format!("FC Invoke Start RequestId: 1\n{seen}FC Invoke End RequestId: 1\n"));
        }
    }
}
