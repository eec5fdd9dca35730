//! The progress of a run, on standard error.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::harness::Progress;

/// A bar for each measure on a terminal, and a line for each measure elsewhere.
///
/// It draws only when a step ends. A thread that redraws would take processor time from the measured servers.
pub struct TerminalProgress {
    program: &'static str,
    bar: Option<ProgressBar>,
}

impl TerminalProgress {
    /// The progress of this program, whose name begins the lines.
    pub fn new(program: &'static str) -> Self {
        Self { program, bar: None }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for TerminalProgress {
    fn begin(&mut self, measure: &str, steps: u64) {
        self.end();
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() {
            // If the line cannot be written, nothing is lost: the result goes to standard output.
            let _ = writeln!(stderr, "{}: {measure}, {steps} steps", self.program);
            return;
        }
        let bar = ProgressBar::new(steps).with_prefix(measure.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {eta} left  {wide_msg}") {
            bar.set_style(style);
        }
        self.bar = Some(bar);
    }

    fn step(&mut self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            bar.inc(1);
        }
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        self.end();
    }
}
