//! Log markers on standard output: the lines by which the platform's console cuts logs into calls (C-LOG-1, C-LOG-2).

use crate::dispatch::{Journal, Marker};
use crate::limits;
use crate::server::os::Os;

/// Formats log markers; keeps its line buffer.
pub(crate) struct Console {
    line: Vec<u8>,
    call_markers: bool,
}

impl Console {
    pub(crate) fn new(call_markers: bool) -> Console {
        Console { line: Vec::new(), call_markers }
    }
}

/// The console with what it prints through.
pub(crate) struct Printer<'a, O> {
    os: &'a mut O,
    console: &'a mut Console,
}

impl<'a, O: Os> Printer<'a, O> {
    pub(crate) fn new(os: &'a mut O, console: &'a mut Console) -> Printer<'a, O> {
        Printer { os, console }
    }

    fn print(&mut self, marker: Marker, edge: &str, request_id: &str, tail: &str) {
        if marker == Marker::Invoke && !self.console.call_markers {
            return;
        }
        let mut cut = request_id.len().min(limits::LOGGED_ID_BYTES_MAX);
        while !request_id.is_char_boundary(cut) {
            cut -= 1;
        }
        let id = &request_id[..cut];
        let line = &mut self.console.line;
        line.clear();
        for part in ["FC ", marker.word(), edge, " RequestId: ", id, tail, "\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        self.os.print(line);
    }
}

impl<O: Os> Journal for Printer<'_, O> {
    fn start(&mut self, marker: Marker, request_id: &str) {
        self.print(marker, " Start", request_id, "");
    }

    fn end(&mut self, marker: Marker, request_id: &str, failed: bool) {
        self.os.flush_output();
        self.print(marker, " End", request_id, if failed { ", Error: Unhandled function error" } else { "" });
    }
}
