//! Shows progress: on a terminal a line that redraws itself, elsewhere plain lines.
//!
//! All of it goes to standard error, so that standard output holds the result alone.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::timeline::digits;
use super::{human, on_one_line};
use crate::check::{Finding, Outcome, Progress, Stage};
use crate::clock::seconds;
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
            spinner.enable_steady_tick(Duration::from_millis(80));
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

    fn warned(&mut self, warning: &str) {
        show(self.spinner.as_ref(), self.quiet, &format!("{:>12} {warning}", "!"));
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

/// Where standard error is no terminal, a line tells so often how far the checks are.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows which checks run, how many have ended, and the time: on a terminal always, elsewhere a line every ten seconds.
pub struct CheckProgress {
    shared: Arc<Shared>,
    bar: Option<ProgressBar>,
    lines: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<CheckState>,
    over: Condvar,
}

struct CheckState {
    started: Instant,
    total: usize,
    ended: usize,
    /// The checks that have begun and not ended, in the order of their beginning.
    begun: Vec<(&'static str, Stage)>,
    over: bool,
}

impl CheckProgress {
    /// It shows itself from now on until it is dropped.
    pub fn new() -> Self {
        let state = CheckState { started: Instant::now(), total: 0, ended: 0, begun: Vec::new(), over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), over: Condvar::new() });
        let style = ProgressStyle::with_template("{bar:20} {pos}/{len} checks  {elapsed}  {wide_msg}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let lines =
            bar.is_none().then(|| shared.clone()).map(|shared| std::thread::spawn(move || shared.print_lines()));
        Self { shared, bar, lines }
    }

    fn show(&self, state: &CheckState) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(state.total as u64);
        bar.set_position(state.ended as u64);
        bar.set_message(state.now());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, CheckState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print_lines(&self) {
        let mut state = self.state();
        // It can be over before this thread has begun.
        while !state.over {
            let (woken, timeout) = self.over.wait_timeout(state, LINE_EVERY).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && !state.over {
                // The result goes to standard output, so a line that cannot be shown is no failure.
                let _ = writeln!(std::io::stderr(), "{}", state.line());
            }
        }
    }
}

impl CheckState {
    fn line(&self) -> String {
        let after = seconds(Duration::from_secs(self.started.elapsed().as_secs()));
        format!("fc-emulator: {} of {} checks after {after}; {}", self.ended, self.total, self.now())
    }

    /// The checks that have begun: by name if they work, and counted if they wait.
    fn now(&self) -> String {
        let at = |stage| self.begun.iter().filter(move |(_, at)| *at == stage).map(|(id, _)| *id);
        let working: Vec<_> = at(Stage::Working).collect();
        let resting: Vec<_> = at(Stage::Resting).collect();
        match (working.is_empty(), resting.is_empty()) {
            (true, true) => String::new(),
            (false, true) => working.join(", "),
            (true, false) => format!("{} wait, frozen or idle: {}", resting.len(), resting.join(", ")),
            (false, false) => format!("{}; {} wait, frozen or idle", working.join(", "), resting.len()),
        }
    }
}

impl Progress for CheckProgress {
    fn total(&self, checks: usize) {
        let mut state = self.shared.state();
        state.total = checks;
        self.show(&state);
    }

    fn stage(&self, id: &'static str, stage: Stage) {
        let mut state = self.shared.state();
        match state.begun.iter_mut().find(|(begun, _)| *begun == id) {
            Some((_, at)) => *at = stage,
            None => state.begun.push((id, stage)),
        }
        self.show(&state);
    }

    fn ended(&self, finding: &Finding) {
        let mut state = self.shared.state();
        state.ended += 1;
        state.begun.retain(|(id, _)| *id != finding.id);
        self.show(&state);
        if let (Outcome::Failed, Some(bar)) = (finding.outcome, &self.bar) {
            let line = human::line(finding);
            let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
            let shown = if coloured { line } else { anstream::adapter::strip_str(&line).to_string() };
            bar.println(shown.trim_end());
        }
    }
}

impl Default for CheckProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for CheckProgress {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.over.notify_all();
        if let Some(lines) = self.lines.take() {
            let _ = lines.join();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_line_names_the_checks_at_work_and_counts_those_that_wait() {
        let progress = CheckProgress::new();
        progress.total(60);
        let now = || progress.shared.state().now();
        assert_eq!(now(), "");
        for id in ["ready", "good", "thaw-call"] {
            progress.stage(id, Stage::Working);
        }
        progress.stage("thaw-call", Stage::Resting);
        assert_eq!(now(), "ready, good; 1 wait, frozen or idle");
        progress.ended(&samples::findings().findings[0]);
        progress.stage("ready", Stage::Resting);
        assert_eq!(now(), "2 wait, frozen or idle: ready, thaw-call");
        assert!(progress.shared.state().line().starts_with("fc-emulator: 1 of 60 checks after "));
    }
}
