//! A clock that stands still while the process does.
//!
//! Deadlines of clients are readings of this clock (C-CONN-3). No clock of the kernel will do: under SIGSTOP or a
//! cgroup freezer the monotonic clock runs on (C-FRZ-6). So each turn of the loop adds the time that it took, but never
//! more than `TURN_TIME_MAX`, and while a deadline is pending no wait is longer than that. A freeze of any length then
//! costs a deadline at most one turn. A long callback counts no more than a turn either: the server was not reading
//! meanwhile, and clients must not pay for that.

use crate::tuning::TURN_TIME_MAX;
use std::time::{Duration, Instant};

pub(crate) struct AwakeClock {
    last: Instant,
    reading: Duration,
}

impl AwakeClock {
    pub(crate) fn new(now: Instant) -> AwakeClock {
        AwakeClock { last: now, reading: Duration::ZERO }
    }

    /// Time spent awake so far.
    pub(crate) fn reading(&self) -> Duration {
        self.reading
    }

    /// One turn of the loop has passed.
    #[inline(always)]
    pub(crate) fn turn(&mut self, now: Instant) {
        self.reading += now.saturating_duration_since(self.last).min(TURN_TIME_MAX);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_counts_what_it_took_and_a_freeze_one_turn() {
        let mut now = Instant::now();
        let mut clock = AwakeClock::new(now);
        let cases = [(0, 0), (100, 100), (250, 350), (3_600_000, 600), (1, 601)];
        for (took_ms, reading_ms) in cases {
            now += Duration::from_millis(took_ms);
            clock.turn(now);
            assert_eq!(clock.reading(), Duration::from_millis(reading_ms), "after a turn of {took_ms} ms");
        }
    }
}
