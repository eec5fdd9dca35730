//! Deadlines. Everything here that waits has one.
//!
//! The outermost caller makes a deadline from a duration and passes it on, so that nested waits share one budget. A
//! wait is for a state ([`Deadline::until`]). The pause between two looks at the state is short, and nothing depends on
//! it.

use std::time::{Duration, Instant};

/// The pause between two looks at a state. On a small machine, a client that spins would take the processor from the
/// target.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The point in time at which a wait ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that is `span` away from now.
    pub fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// The time left, or `None` if the deadline has passed.
    pub fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Whether the deadline has passed.
    pub fn passed(self) -> bool {
        self.left().is_none()
    }

    /// Calls `look` until it finds something or the deadline has passed: at least once, and a last time after the
    /// deadline.
    pub fn until<T>(self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let over = self.passed();
            if let Some(found) = look() {
                return Some(found);
            }
            if over {
                return None;
            }
            std::thread::sleep(LOOK_PAUSE.min(self.left().unwrap_or(LOOK_PAUSE)));
        }
    }
}

/// A duration in seconds for people: `0.4 s`, `12 s`.
pub fn seconds(span: Duration) -> String {
    let secs = span.as_secs_f64();
    if secs >= 10.0 || (secs.fract() == 0.0 && secs > 0.0) { format!("{secs:.0} s") } else { format!("{secs:.1} s") }
}

/// A duration in milliseconds for people: `0.42 ms`, `120 ms`.
pub fn millis(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_least_once() {
        let over = Deadline::after(Duration::ZERO);
        assert!(over.passed());
        assert_eq!(over.until(|| Some(1)), Some(1));
        assert_eq!(over.until(|| None::<u8>), None);
    }

    #[test]
    fn looks_until_found() {
        let mut looks = 0;
        let found = Deadline::after(Duration::from_secs(5)).until(|| {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!((found, looks), (Some("there"), 3));
    }

    #[test]
    fn durations_for_people() {
        for (ms, secs_text, ms_text) in
            [(400, "0.4 s", "400 ms"), (3_000, "3 s", "3000 ms"), (12_400, "12 s", "12400 ms")]
        {
            let span = Duration::from_millis(ms);
            assert_eq!((seconds(span).as_str(), millis(span).as_str()), (secs_text, ms_text));
        }
        assert_eq!(millis(Duration::from_micros(420)), "0.42 ms");
    }
}
