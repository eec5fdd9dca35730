//! Deadlines: the one way in which anything here waits.
//!
//! A deadline is made at the edge from a duration and handed inwards, so nested waits share one
//! budget. Waits are for a state ([`Deadline::until`]); the pause between two looks is short and
//! never the measure of anything.

use std::time::{Duration, Instant};

/// How long to rest between two looks at a state. A client that spins starves the target it
/// waits for on a small machine.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A point in time after which waiting is over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that is `span` away from now.
    pub fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// The time left, or `None` when it is over.
    pub fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Whether it is over.
    pub fn passed(self) -> bool {
        self.left().is_none()
    }

    /// Looks again and again until `look` finds something or the deadline passes. It looks at
    /// least once, and a last time after the deadline.
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
