//! The caller's clock: the one clock that a paused machine cannot stop.
//!
//! Every clock of a paused virtual machine stands still, and stays behind afterwards (C-FRZ-6, C-FRZ-9). The caller's
//! clock runs on, and some requests carry its time: the request id of FC 3.0 is `1-<hex Unix time>-…` (C-FRZ-10). The
//! lead of our clock over the caller's, taken at each request, therefore falls by the length of a pause.
//!
//! The lead also holds the time that a request was under way. A late request (a queue, a retry) has a larger lead, and
//! only the smallest lead counts: neither the late request nor the punctual one behind it looks like a pause. Two
//! requests are late by nature and would leave a bar that is too high for the next one:
//! - the first one, which may have waited for a cold start: its lead counts for at most [`FIRST_LEAD_MAX_MS`];
//! - the one that ends a pause, which waits until the platform has resumed the machine: the next fall must be longer
//!   than [`RESUME_TIME_MAX`].
//!
//! "Our clock" is the monotonic one, counted from the time of day at the start: setting the time of day does not move
//! it. Pure: readings are handed in.

use std::time::Duration;

/// How far the lead must fall to be evidence. The times of callers have whole seconds, so a pause of 3 s always shows,
/// and one of 2 s sometimes.
pub(crate) const LEAD_FALL_MIN: Duration = Duration::from_secs(2);

/// The first lead counts for this at most: the clocks of a platform agree to the second, so more is time under way.
const FIRST_LEAD_MAX_MS: i64 = 1_000;

/// How long the request that ends a pause may have waited for the machine.
const RESUME_TIME_MAX: Duration = Duration::from_secs(10);

/// How a header tells the time of its caller, for [`App::caller_clock`](crate::App::caller_clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeFormat {
    /// Seconds since 1970 as a decimal number, with or without a fraction: `1800000000.123`, as nginx writes `$msec`.
    UnixSeconds,
    /// Milliseconds since 1970 as a decimal number: `1800000000123`.
    UnixMillis,
}

impl TimeFormat {
    /// None if the value has another form. `t=` before the number is skipped.
    pub(crate) fn parse(self, value: &str) -> Option<CallerTime> {
        let value = value.as_bytes();
        let number = value.strip_prefix(b"t=").unwrap_or(value);
        let (mut whole, mut millis, mut fraction_digits) = (0_u64, 0, None);
        for byte in number {
            match (byte, fraction_digits) {
                (b'0'..=b'9', None) => whole = whole.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
                (b'0'..=b'9', Some(digits)) => {
                    // What is behind the milliseconds does not matter.
                    millis += u64::from(byte - b'0') * [100, 10, 1].get(digits).copied().unwrap_or(0);
                    fraction_digits = Some(digits + 1);
                }
                (b'.', None) => fraction_digits = Some(0),
                _ => return None,
            }
        }
        match self {
            _ if whole == 0 => None,
            TimeFormat::UnixMillis => Some(CallerTime(whole)),
            TimeFormat::UnixSeconds => Some(CallerTime(whole.checked_mul(1000)?.checked_add(millis)?)),
        }
    }
}

/// A time of the caller, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerTime(pub(crate) u64);

impl From<Duration> for CallerTime {
    fn from(since_1970: Duration) -> CallerTime {
        CallerTime(since_1970.as_secs().saturating_mul(1000).saturating_add(u64::from(since_1970.subsec_millis())))
    }
}

/// What the leads of all requests so far show.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerClock {
    smallest_lead_ms: Option<i64>,
    /// The smallest lead is that of a request that ended a pause, and may be too large.
    ended_a_pause: bool,
}

impl CallerClock {
    /// Takes one request's lead. Returns how far it fell below the smallest one, where that is evidence of a pause.
    ///
    /// `slewed` is asked only where it looks like one: by how much our clock lost time since the last such look,
    /// because the kernel slews it.
    pub(crate) fn observe(
        &mut self,
        ours_ms: u64,
        CallerTime(theirs_ms): CallerTime,
        slewed: impl FnOnce() -> Duration,
    ) -> Option<Duration> {
        let lead_ms = i64::try_from(ours_ms).ok()? - i64::try_from(theirs_ms).ok()?;
        let Some(smallest_ms) = self.smallest_lead_ms else {
            self.smallest_lead_ms = Some(lead_ms.min(FIRST_LEAD_MAX_MS));
            return None;
        };
        let ended_a_pause = std::mem::take(&mut self.ended_a_pause);
        if lead_ms >= smallest_ms {
            return None;
        }
        self.smallest_lead_ms = Some(lead_ms);
        let fall = Duration::from_millis(smallest_ms.abs_diff(lead_ms));
        let enough = if ended_a_pause { RESUME_TIME_MAX + LEAD_FALL_MIN } else { LEAD_FALL_MIN };
        if fall < enough {
            return None;
        }
        let pause = fall.checked_sub(slewed()).filter(|pause| *pause >= enough);
        self.ended_a_pause = pause.is_some();
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of every case, in seconds since 1970.
    const START: u64 = 1_800_000_000;

    /// One request: our clock and the caller's, in milliseconds since the start, and the fall in seconds, if any.
    type Seen = (u64, u64, Option<u64>);

    fn run(requests: &[Seen]) {
        let mut clock = CallerClock::default();
        for (nth, (ours_ms, theirs_ms, expected)) in requests.iter().enumerate() {
            let fall = clock.observe(START * 1000 + ours_ms, CallerTime(START * 1000 + theirs_ms), || Duration::ZERO);
            assert_eq!(fall.map(|fall| fall.as_secs()), *expected, "request {nth} of {requests:?}");
        }
    }

    /// C-FRZ-10: our clock falls behind by the pause, once.
    #[test]
    fn a_pause_shows_once() {
        run(&[(100, 0, None), (5_100, 5_000, None), (5_200, 65_000, Some(59)), (6_200, 66_000, None)]);
        // Less than 2 s can be the whole seconds of the caller's time.
        run(&[(900, 0, None), (2_000, 3_000, None)]);
        // Two pauses are two falls.
        run(&[(0, 0, None), (1_000, 31_000, Some(30)), (2_000, 92_000, Some(60))]);
    }

    #[test]
    fn a_late_request_fakes_nothing_and_hides_nothing() {
        // The request in the middle was under way for half a minute.
        run(&[(100, 0, None), (40_000, 10_000, None), (41_000, 41_000, None), (42_000, 72_000, Some(30))]);
        // The first request waited for a cold start.
        run(&[(9_000, 0, None), (10_000, 10_000, None)]);
        // The request that ended the pause of 60 s waited 5 s for the machine.
        run(&[(0, 0, None), (10_000, 65_000, Some(55)), (11_000, 71_000, None), (12_000, 82_000, Some(10))]);
    }

    #[test]
    fn a_clock_that_differs_from_ours_is_no_pause() {
        // The caller's clock is an hour ahead, as it is for an instance without a clock of its own.
        run(&[(100, 3_600_000, None), (1_100, 3_601_000, None), (1_200, 3_606_000, Some(4))]);
    }

    #[test]
    fn times_of_headers() {
        let cases = [
            (TimeFormat::UnixSeconds, "1800000000.1239", Some(1_800_000_000_123)),
            (TimeFormat::UnixSeconds, "t=1800000000.5", Some(1_800_000_000_500)),
            (TimeFormat::UnixSeconds, "1800000000", Some(1_800_000_000_000)),
            (TimeFormat::UnixSeconds, "18000000000000000000", None),
            (TimeFormat::UnixMillis, "1800000000123", Some(1_800_000_000_123)),
            (TimeFormat::UnixMillis, "-1", None),
            (TimeFormat::UnixMillis, "", None),
            (TimeFormat::UnixSeconds, "1.2.3", None),
        ];
        for (format, value, expected) in cases {
            assert_eq!(format.parse(value), expected.map(CallerTime), "{format:?} {value}");
        }
    }

    /// A clock slewed by a tenth loses 6 s a minute, and that is no pause.
    #[test]
    fn slewing_is_no_pause() {
        let mut clock = CallerClock::default();
        let at = |seconds: u64| (START + seconds) * 1000;
        let mut look = |ours, theirs, slewed| {
            clock.observe(at(ours), CallerTime((START + theirs) * 1000), || Duration::from_secs(slewed))
        };
        assert_eq!(look(0, 0, 0), None);
        assert_eq!(look(54, 60, 6), None);
        assert_eq!(look(54, 90, 1), Some(Duration::from_secs(29)));
    }
}
