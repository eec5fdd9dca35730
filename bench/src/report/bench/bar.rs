//! Progress meanwhile, on standard error.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::contest::Progress;

/// A bar for each measure on a terminal, a line for each elsewhere.
///
/// It draws when a step ends and at no other time: a thread that redraws would take processor time from what is
/// measured.
#[derive(Default)]
pub struct Bar(Option<ProgressBar>);

impl Progress for Bar {
    fn begin(&mut self, measure: &str, steps: u64) {
        self.end();
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() {
            // Nobody need watch: the result goes to standard output.
            let _ = writeln!(stderr, "fc-bench: {measure}, {steps} steps");
            return;
        }
        let bar = ProgressBar::new(steps).with_prefix(measure.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {eta} left  {wide_msg}") {
            bar.set_style(style);
        }
        self.0 = Some(bar);
    }

    fn step(&mut self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.to_owned());
            bar.inc(1);
        }
    }
}

impl Bar {
    fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
