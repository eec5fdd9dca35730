//! The life of the program behind the adapter. Pure: the shell starts it, signals it and says when it has ended.
//!
//! All transitions are in [`next`]:
//!
//! ```text
//! (started) ───────────────────▶ Starting
//!
//! Starting ────────── Served ──▶ Ready
//! Starting Ready ──── Stop ────▶ Stopping  SIGTERM
//! Starting Stopping ─ Overdue ─▶ Killed    SIGKILL
//! ```
//!
//! Every state also leads to `Exited`. Signals go to the process group of the program.

use crate::adapter::config::time_text;
use std::fmt;
use std::time::Duration;

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(u8),
    /// The number of the signal, and its name.
    Signal(u8, &'static str),
}

impl Exit {
    /// The exit code, as a shell gives it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(number, _) => 128 + (number & 0x7f),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(number, "") => write!(f, "was killed by signal {number}"),
            Exit::Signal(_, name) => write!(f, "was killed by {name}"),
        }
    }
}

/// The state of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, and does not serve yet.
    Starting,
    Ready,
    /// It got SIGTERM.
    Stopping,
    /// It got SIGKILL.
    Killed,
    Exited(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Served,
    Stop,
    Overdue,
}

/// The signal that a transition sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

/// Every transition but those to `Exited`.
const fn next(state: State, event: Event) -> Option<(State, Option<Signal>)> {
    use State::*;
    Some(match (state, event) {
        (Starting, Event::Served) => (Ready, None),
        (Starting | Ready, Event::Stop) => (Stopping, Some(Signal::Terminate)),
        (Starting | Stopping, Event::Overdue) => (Killed, Some(Signal::Kill)),
        _ => return None,
    })
}

/// A program that was started. Times are readings of the awake clock.
#[derive(Debug)]
pub(crate) struct Program {
    pid: i32,
    state: State,
    /// When it must serve; once it was told to stop, when it must have ended.
    deadline: Duration,
    ready_time_max: Duration,
    kill_time_max: Duration,
    has_served: bool,
    was_told_to_stop: bool,
    was_killed: bool,
}

impl Program {
    pub(crate) fn new(pid: i32, now: Duration, ready_time_max: Duration, kill_time_max: Duration) -> Program {
        Program {
            pid,
            state: State::Starting,
            deadline: now.saturating_add(ready_time_max),
            ready_time_max,
            kill_time_max,
            has_served: false,
            was_told_to_stop: false,
            was_killed: false,
        }
    }

    /// The id of its process, which is that of its process group too.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// When [`expire`](Program::expire) is due, if ever.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        matches!(self.state, State::Starting | State::Stopping).then_some(self.deadline)
    }

    /// It serves.
    pub(crate) fn served(&mut self) {
        self.has_served |= self.state == State::Starting;
        self.enter(Event::Served);
    }

    /// It is to end. Returns the signal to send.
    pub(crate) fn stop(&mut self, now: Duration) -> Option<Signal> {
        let signal = self.enter(Event::Stop)?;
        self.was_told_to_stop = true;
        self.deadline = now.saturating_add(self.kill_time_max);
        Some(signal)
    }

    /// Time has passed. Returns the signal to send if the deadline has come.
    pub(crate) fn expire(&mut self, now: Duration) -> Option<Signal> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        let signal = self.enter(Event::Overdue)?;
        self.was_killed = true;
        Some(signal)
    }

    pub(crate) fn exited(&mut self, exit: Exit) {
        self.state = State::Exited(exit);
    }

    fn enter(&mut self, event: Event) -> Option<Signal> {
        let (state, signal) = next(self.state, event)?;
        self.state = state;
        signal
    }

    /// The exit code of the instance: that of the program.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.state {
            State::Exited(exit) => exit.code(),
            // Nobody waits for it any more.
            _ => KILLED,
        }
    }

    /// The line that says how it ended. An end in time that was asked for needs none.
    pub(crate) fn last_words(&self, name: &str) -> Option<String> {
        let State::Exited(exit) = self.state else { return None };
        match (self.was_killed, self.was_told_to_stop) {
            (true, true) => {
                let time = time_text(self.kill_time_max);
                Some(format!("{name} did not end within {time} after SIGTERM and was killed"))
            }
            (true, false) => {
                Some(format!("{name} did not serve within {} and was killed", time_text(self.ready_time_max)))
            }
            (false, true) => None,
            (false, false) => {
                let before = if self.has_served { "" } else { " before it served" };
                let hint = if matches!(exit, Exit::Signal(9, _)) { "; often because of too little memory" } else { "" };
                Some(format!("{name} {exit}{before}{hint}"))
            }
        }
    }
}

/// 128 + SIGKILL.
const KILLED: u8 = 137;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn program() -> Program {
        Program::new(7, SECOND, 120 * SECOND, 5 * SECOND)
    }

    /// Every state with every event; the drawing above says the same.
    #[test]
    fn transitions() {
        use State::*;
        let states = [Starting, Ready, Stopping, Killed, Exited(Exit::Code(0))];
        let drawn = include_str!("program.rs");
        let mut rows = 0;
        for from in states {
            for event in [Event::Served, Event::Stop, Event::Overdue] {
                let expected = match (from, event) {
                    (Starting, Event::Served) => Some((Ready, None)),
                    (Starting | Ready, Event::Stop) => Some((Stopping, Some(Signal::Terminate))),
                    (Starting | Stopping, Event::Overdue) => Some((Killed, Some(Signal::Kill))),
                    _ => None,
                };
                assert_eq!(next(from, event), expected, "{from:?} {event:?}");
                let (name, event) = (format!("{from:?}"), format!("─ {event:?} ─"));
                let row = drawn.lines().filter(|line| line.starts_with("//! ")).find(|line| {
                    line.split_once(&event).is_some_and(|(states, _)| states.split(' ').any(|state| state == name))
                });
                let leads = |(to, _): (State, _)| row.is_some_and(|row| row.contains(&format!("▶ {to:?}")));
                assert!(expected.map_or(row.is_none(), leads), "{name} {event} is drawn as {row:?}");
                rows += usize::from(row.is_some());
            }
        }
        assert_eq!(rows, 5);
    }

    #[test]
    fn an_orderly_life_needs_no_words() {
        let mut program = program();
        assert_eq!((program.state(), program.deadline(), program.pid()), (State::Starting, Some(121 * SECOND), 7));
        program.served();
        assert_eq!((program.state(), program.deadline()), (State::Ready, None));
        assert_eq!(program.expire(1000 * SECOND), None, "a program that serves has all the time");
        assert_eq!(program.stop(1000 * SECOND), Some(Signal::Terminate));
        assert_eq!((program.state(), program.deadline()), (State::Stopping, Some(1005 * SECOND)));
        assert_eq!(program.stop(1001 * SECOND), None, "one signal is enough");
        for (exit, code) in [(Exit::Code(0), 0), (Exit::Code(3), 3), (Exit::Signal(15, "SIGTERM"), 143)] {
            program.exited(exit);
            assert_eq!((program.exit_code(), program.last_words("./server")), (code, None));
        }
        assert_eq!((program.deadline(), program.stop(1001 * SECOND)), (None, None));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let mut program = program();
        program.served();
        program.stop(SECOND);
        assert_eq!(program.expire(6 * SECOND - Duration::from_nanos(1)), None);
        assert_eq!(program.expire(6 * SECOND), Some(Signal::Kill));
        assert_eq!((program.state(), program.deadline(), program.expire(7 * SECOND)), (State::Killed, None, None));
        assert_eq!(program.exit_code(), 137);
        program.exited(Exit::Signal(9, "SIGKILL"));
        let words = "./server did not end within 5s after SIGTERM and was killed";
        assert_eq!((program.exit_code(), program.last_words("./server").as_deref()), (137, Some(words)));
    }

    #[test]
    fn a_program_that_never_serves_is_killed() {
        let mut program = program();
        assert_eq!(program.expire(121 * SECOND), Some(Signal::Kill));
        program.served();
        assert_eq!(program.state(), State::Killed);
        program.exited(Exit::Signal(9, "SIGKILL"));
        let words = "./server did not serve within 120s and was killed";
        assert_eq!(program.last_words("./server").as_deref(), Some(words));
    }

    #[test]
    fn an_end_of_its_own_is_told() {
        let cases = [
            (false, Exit::Code(0), 0, "./a exited with code 0 before it served"),
            (false, Exit::Code(1), 1, "./a exited with code 1 before it served"),
            (true, Exit::Code(0), 0, "./a exited with code 0"),
            (true, Exit::Signal(11, "SIGSEGV"), 139, "./a was killed by SIGSEGV"),
            (true, Exit::Signal(9, "SIGKILL"), 137, "./a was killed by SIGKILL; often because of too little memory"),
            (true, Exit::Signal(40, ""), 168, "./a was killed by signal 40"),
        ];
        for (served, exit, code, words) in cases {
            let mut program = program();
            if served {
                program.served();
            }
            program.exited(exit);
            assert_eq!((program.exit_code(), program.last_words("./a").as_deref()), (code, Some(words)));
        }
    }
}
