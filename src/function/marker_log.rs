//! The lines on standard output that mark the start and the end of each call. The platform's console uses them to
//! assign the output to calls (C-LOG-1, C-LOG-2). Pure: an [`Output`] prints.

use crate::function::dispatch::{CallLog, LogMarker};
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

    fn print(&mut self, marker: LogMarker, edge: &str, request_id: &str, tail: &str) {
        if marker == LogMarker::Invoke && !self.marker_log.call_markers {
            return;
        }
        let line = &mut self.marker_log.line;
        line.clear();
        // One allocation instead of one for each doubling.
        line.reserve(LINE_BYTES_USUAL);
        for part in [markers::PREFIX, marker.word(), edge, markers::REQUEST_ID, request_id, tail, "\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        self.output.print(line);
    }
}

impl<O: Output> CallLog for MarkerWriter<'_, O> {
    fn start(&mut self, marker: LogMarker, request_id: &str) {
        self.print(marker, markers::START, request_id, "");
    }

    fn end(&mut self, marker: LogMarker, request_id: &str, failed: bool) {
        self.output.flush_output();
        self.print(marker, markers::END, request_id, if failed { markers::ERROR_TAIL } else { "" });
    }
}
