//! Shows progress: on a terminal a line that redraws itself, elsewhere plain lines.
//!
//! All of it goes to standard error, so that standard output holds the result alone.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::timeline::digits;
use super::{human, on_one_line};
use crate::check::{Finding, Outcome};
use crate::lifecycle_run::{Step, Watcher};
use crate::output::Output;

/// A longer line of the target is cut.
const LINE_CHARS_MAX: usize = 160;

/// Shows the timeline of a lifecycle while it grows.
pub struct LifecycleWatcher {
    spinner: Option<ProgressBar>,
    quiet: bool,
}

impl LifecycleWatcher {
    /// With `quiet` it shows nothing.
    pub fn new(quiet: bool) -> Self {
        let spinner = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(std::time::Duration::from_millis(80));
            spinner
        });
        Self { spinner, quiet }
    }
}

impl Watcher for LifecycleWatcher {
    fn begins(&mut self, name: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("{name} …"));
        }
    }

    fn ended(&mut self, step: &Step) {
        let line = timeline(step);
        show(self.spinner.as_ref(), self.quiet, &line);
    }

    fn noticed(&mut self, said: &str) {
        show(self.spinner.as_ref(), self.quiet, &format!("{:>10}  ! {said}", ""));
    }

    fn prints(&mut self, output: &Output) {
        let (output, spinner, quiet) = (output.clone(), self.spinner.clone(), self.quiet);
        if quiet {
            return;
        }
        // The thread ends with the streams of the target, or with this program.
        std::thread::spawn(move || stream(&output, |line| show(spinner.as_ref(), quiet, line)));
    }
}

/// More lines than this at a time are counted, not shown.
const LINES_AT_A_TIME_MAX: usize = 10;

/// The time between two looks at the output of a target that prints much.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Shows what a target prints, as it prints it. A flood is counted, so that the steps stay visible.
fn stream(output: &Output, mut show: impl FnMut(&str)) {
    let mut mark = 0;
    while output.wait_beyond(mark) {
        let excerpt = output.excerpt(mark, (LINES_AT_A_TIME_MAX, 0), LINE_CHARS_MAX);
        mark = excerpt.end;
        for line in excerpt.lines {
            show(&format!("{:>10}  | {}", "", on_one_line(&line)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn show(spinner: Option<&ProgressBar>, quiet: bool, line: &str) {
    match (spinner, quiet) {
        (_, true) => {}
        (Some(spinner), false) => spinner.println(line),
        // The result goes to standard output, so a line that cannot be shown is no failure.
        (None, false) => drop(writeln!(std::io::stderr(), "{line}")),
    }
}

impl Drop for LifecycleWatcher {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn timeline(step: &Step) -> String {
    let mark = if step.ok { "✓" } else { "✗" };
    let status = step.status.map(|status| format!(" → {status}")).unwrap_or_default();
    let note = if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) };
    format!("{:>8.3} s  {mark} {}{status} in {} ms{note}", step.at_ms / 1000.0, step.name, digits(step.ms))
}

/// Shows how many checks have ended.
pub struct CheckProgress(Option<ProgressBar>);

impl CheckProgress {
    /// It shows itself on a terminal only.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// One more of `total` checks has ended.
    pub fn ended(&self, finding: &Finding, total: usize) {
        let Some(bar) = &self.0 else { return };
        bar.set_length(total as u64);
        bar.set_message(finding.id);
        if finding.outcome == Outcome::Failed {
            let line = human::line(finding);
            let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
            let shown = if coloured { line } else { anstream::adapter::strip_str(&line).to_string() };
            bar.println(shown.trim_end());
        }
        bar.inc(1);
    }
}

impl Default for CheckProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for CheckProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
