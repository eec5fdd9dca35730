//! Log markers on standard output: the lines by which the platform's console cuts logs into calls (C-LOG-1, C-LOG-2).

use crate::function::dispatch::{CallLog, LogMarker};
use crate::platform::markers;

/// `FC Initialize Start RequestId: ` and an id of 36 characters take 68.
const LINE_BYTES_USUAL: usize = 80;

/// Formats log markers; keeps its line buffer.
pub(crate) struct MarkerLog {
    line: Vec<u8>,
    call_markers: bool,
}

impl MarkerLog {
    pub(crate) fn new(call_markers: bool) -> MarkerLog {
        MarkerLog { line: Vec::new(), call_markers }
    }
}

/// Where lines go.
pub(crate) trait Output {
    fn print(&mut self, line: &[u8]);

    /// Sends on what callbacks have printed.
    fn flush_output(&mut self);
}

/// The console with what it prints through.
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
        // One allocation, not one for every doubling.
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
