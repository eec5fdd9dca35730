//! The lines that a call leaves in the log: its markers, and what the server and the callbacks log.

use crate::function::dispatch::{CallLog, LogMarker};
use crate::function::request::LoggedId;
use crate::platform::markers;
use std::cell::RefCell;

thread_local! {
    /// The lines of the call in hand.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on the lines of this thread are kept.
pub(super) fn begin() {
    LINES.set(Some(Vec::new()));
}

/// The lines since the beginning.
pub(super) fn end() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

fn push(line: String) {
    // A callback may call another instance, which has taken the lines; then there is no place for more.
    LINES.with_borrow_mut(|lines| lines.as_mut().map(|lines| lines.push(line)));
}

/// Writes the markers of calls (C-LOG-1).
pub(super) struct Transcript;

impl CallLog for Transcript {
    fn start(&mut self, marker: LogMarker, request_id: LoggedId<'_>) {
        push([markers::PREFIX, marker.word(), markers::START, markers::REQUEST_ID, request_id.text()].concat());
    }

    fn end(&mut self, marker: LogMarker, request_id: LoggedId<'_>, failed: bool) {
        let tail = if failed { markers::ERROR_TAIL } else { "" };
        push([markers::PREFIX, marker.word(), markers::END, markers::REQUEST_ID, request_id.text(), tail].concat());
    }
}

/// Keeps what is logged, unless the test has set a logger.
pub(super) fn capture_log() {
    if log::set_logger(&Capture).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}
