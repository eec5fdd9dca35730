//! One run of a command of a hook. Pure: the shell starts it, reads its output, and says when it has ended.
//!
//! The run ends when the command itself does. A process that it leaves behind may hold its output open for ever.

use crate::adapter::config::time_text;
use crate::adapter::program::Exit;
use crate::tuning::COMMAND_OUTPUT_BYTES_MAX;
use std::time::Duration;

/// A command that runs. Its deadline is a reading of the awake clock.
pub(crate) struct Run {
    output: Vec<u8>,
    time_max: Duration,
    deadline: Duration,
    has_expired: bool,
}

/// How a run has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The exit code was 0.
    pub(crate) ok: bool,
    /// What the command wrote to standard output, up to 64 KiB of it.
    pub(crate) body: Vec<u8>,
    /// What went wrong, in words; empty after a success.
    pub(crate) cause: String,
}

impl Run {
    pub(crate) fn new(now: Duration, time_max: Duration) -> Run {
        Run { output: Vec::new(), time_max, deadline: now.saturating_add(time_max), has_expired: false }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        (!self.has_expired).then_some(self.deadline)
    }

    /// The command has written this. More than the bound is dropped, so that a full pipe never stops the command.
    pub(crate) fn output(&mut self, bytes: &[u8]) {
        let room = COMMAND_OUTPUT_BYTES_MAX - self.output.len();
        self.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// True if the time is up: the shell kills the group of the command. It does so once.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let expires = now >= self.deadline && !self.has_expired;
        self.has_expired |= expires;
        expires
    }

    /// The command has ended, and its output is read.
    pub(crate) fn exited(self, exit: Exit) -> Outcome {
        let cause = match exit {
            _ if self.has_expired => ["the command did not end within ", &time_text(self.time_max)].concat(),
            Exit::Code(0) => String::new(),
            exit => format!("the command {exit}"),
        };
        Outcome { ok: cause.is_empty(), body: self.output, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_exit_code_decides() {
        let cases = [
            (Exit::Code(0), true, ""),
            (Exit::Code(3), false, "the command exited with code 3"),
            (Exit::Signal(11, "SIGSEGV"), false, "the command was killed by SIGSEGV"),
        ];
        for (exit, ok, cause) in cases {
            let mut run = Run::new(SECOND, SECOND);
            run.output(b"some ");
            run.output(b"output\n");
            let expected = Outcome { ok, body: b"some output\n".to_vec(), cause: cause.to_owned() };
            assert_eq!(run.exited(exit), expected);
        }
    }

    #[test]
    fn output_is_bounded() {
        for pieces in [&[65_535, 1][..], &[65_536], &[65_537], &[40_000, 40_000], &[1, 200_000, 5]] {
            let mut run = Run::new(SECOND, SECOND);
            pieces.iter().for_each(|bytes| run.output(&vec![b'x'; *bytes]));
            assert_eq!(run.exited(Exit::Code(0)).body.len(), 65_536, "{pieces:?}");
        }
    }

    #[test]
    fn a_command_is_killed_once_its_time_is_up() {
        let mut run = Run::new(2 * SECOND, 3 * SECOND);
        assert_eq!(run.deadline(), Some(5 * SECOND));
        assert!(!run.expire(5 * SECOND - Duration::from_nanos(1)));
        assert!(run.expire(5 * SECOND) && !run.expire(6 * SECOND));
        assert_eq!(run.deadline(), None);
        // It may even have handled its last signal.
        let outcome = run.exited(Exit::Code(0));
        assert_eq!((outcome.ok, outcome.cause.as_str()), (false, "the command did not end within 3s"));
    }
}
