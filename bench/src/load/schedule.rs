//! When requests are due at a fixed rate. Only the clock decides, not the server.
//!
//! Pure arithmetic. Each time is computed from the number of the request and not from the request before it, so the
//! times do not drift.

use super::Nanos;

/// An endless sequence of requests with their due times.
#[derive(Clone, Debug)]
pub struct Schedule {
    start: Nanos,
    interval: f64,
    /// The number of the first request that was not taken.
    next: u64,
}

impl Schedule {
    /// The first request is due at `start`, and `rate` requests are due in every second.
    pub fn new(start: Nanos, rate: f64) -> Self {
        Self { start, interval: 1e9 / rate, next: 0 }
    }

    /// When the first request is due that was not taken.
    pub fn due(&self) -> Nanos {
        self.due_of(self.next)
    }

    /// Takes that request.
    pub fn take(&mut self) {
        self.next += 1;
    }

    /// Drops all requests that were due before `from`.
    pub fn skip_to(&mut self, from: Nanos) {
        let earlier = from.saturating_sub(self.start) as f64 / self.interval;
        // The truncated number is at most one too small or, by rounding, one too large.
        self.next = (earlier as u64).saturating_sub(1);
        while self.due() < from {
            self.next += 1;
        }
    }

    /// The due times of all requests that were not taken, up to but not including `end`.
    pub fn waiting(&self, end: Nanos) -> impl Iterator<Item = Nanos> + '_ {
        (self.next..).map(|index| self.due_of(index)).take_while(move |due| *due < end)
    }

    fn due_of(&self, index: u64) -> Nanos {
        self.start + (index as f64 * self.interval) as Nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn a_rate_is_kept_to_the_request_over_an_hour() {
        for rate in [1.0, 3.0, 4_999.5, 33_333.0, 250_000.0] {
            let schedule = Schedule::new(7 * SECOND, rate);
            assert_eq!(schedule.due(), 7 * SECOND);
            let index = (3600.0 * rate) as u64;
            let late = schedule.due_of(index).abs_diff(3607 * SECOND);
            assert!(late <= (1e9 / rate) as u64, "{rate}: {late} ns");
        }
    }

    #[test]
    fn what_nobody_took_waits_with_its_own_time() {
        let mut schedule = Schedule::new(100, 1e8);
        schedule.take();
        assert_eq!(schedule.waiting(140).collect::<Vec<_>>(), [110, 120, 130]);
        assert_eq!(schedule.waiting(110).count(), 0);
    }

    #[test]
    fn skipping_leaves_out_all_that_is_earlier_and_nothing_else() {
        for from in 0..200 {
            for rate in [1e8, 3e8, 1.7e7] {
                let mut schedule = Schedule::new(50, rate);
                let expected = (0..).map(|index| schedule.due_of(index)).find(|due| *due >= from).unwrap();
                schedule.skip_to(from);
                assert_eq!(schedule.due(), expected, "{from} at {rate}");
            }
        }
    }
}
