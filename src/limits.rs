//! Every limit, what it bounds and why it has this number.
//!
//! Everything that comes from a peer is bounded: bytes, headers, connections, time. What a limit means for the
//! client (a status, a closed connection) is decided where the limit is checked; this file only holds numbers.

use crate::tuning::HEADERS_CAPACITY;
use std::fmt;
use std::time::Duration;

/// What one instance accepts from its peers.
///
/// Times are *awake* time: a stretch in which the instance was frozen counts against none of them (C-CONN-3).
///
/// ```
/// let mut limits = fc_hooks::Limits::default();
/// limits.set("body_bytes_max", "1048576").unwrap();
/// assert_eq!(limits.body_bytes_max, 1_048_576);
/// assert!(limits.set("headers_max", "0").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Request line and headers together; beyond it 431. 32 KiB: the platform admits 8 KB of client headers and adds
    /// its own 26 (a security token alone is about 1 KB), so its largest head fits four times over.
    pub head_bytes_max: usize,
    /// Headers of one request; beyond it 431. 128: a real call carries 26 of the platform's and few of its client.
    pub headers_max: usize,
    /// Path with query; beyond it 414. 8 KiB: twice what the platform lets through.
    pub target_bytes_max: usize,
    /// One request's body after decoding; beyond it 413. 32 MiB: the platform's own limit for synchronous calls.
    pub body_bytes_max: usize,
    /// What all connections together hold in memory of unfinished requests and unread replies, not counting 32 KiB of
    /// input and as much output that each may hold in any case. Beyond it a large body is refused with 503, and so is
    /// a call whose reply would be held beside others; small ones, streams and hooks are not. For either, replies are
    /// cut that their readers have been at for longer than `stall_time_max`. It is never less than one request of the
    /// largest size takes, and where nothing else is held one reply has any size. 256 MiB: eight of the largest bodies,
    /// and half the memory of a usual instance.
    pub buffered_bytes_max: usize,
    /// Open connections; beyond it a new one takes the place of one that has had a second and not brought a single
    /// whole head, or of one that was used and has idled for 15 minutes (C-CONN-1); where there is neither, it waits in
    /// the kernel's queue. 1,024: the platform sends at most 200 calls at once to an instance (C-INV-7), the rest is
    /// room for probes and for connections it keeps alive.
    pub connections_max: usize,
    /// From the first byte of a head to its end; beyond it 408. 30 s, as hyper.
    pub head_time_max: Duration,
    /// From the end of a head to the end of its body; beyond it 408. 120 s: 32 MiB at 280 kB/s.
    pub body_time_max: Duration,
    /// Without one byte of a reply being taken by its reader's kernel; beyond it the connection is cut. 60 s.
    pub stall_time_max: Duration,
    /// How long a refused client may go on sending before the connection is cut under it: without this lingering
    /// read its unread bytes would turn the close into a reset, and it would never see the answer. 5 s, as nginx.
    pub linger_time_max: Duration,
    /// From a stop signal to the end of what was in hand; no callback is begun beyond it but pre-stop. Unlike the
    /// others it counts time in callbacks too. 8 s: less than the 10 s that `docker stop` grants.
    pub drain_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 32 * KIB,
            headers_max: 128,
            target_bytes_max: 8 * KIB,
            body_bytes_max: 32 * KIB * KIB,
            buffered_bytes_max: 256 * KIB * KIB,
            connections_max: 1024,
            head_time_max: Duration::from_secs(30),
            body_time_max: Duration::from_secs(120),
            stall_time_max: Duration::from_secs(60),
            linger_time_max: Duration::from_secs(5),
            drain_time_max: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// The names that [`Limits::set`] knows, with the smallest and the largest value of each. Bytes and counts are
    /// plain numbers, times (`…_ms_max`) are milliseconds.
    pub const NAMES: [(&'static str, u64, u64); 11] = [
        ("head_bytes_max", 256, 1 << 20),
        ("headers_max", 1, HEADERS_CAPACITY as u64),
        ("target_bytes_max", 16, 1 << 20),
        ("body_bytes_max", 0, 1 << 31),
        ("buffered_bytes_max", 0, isize::MAX as u64),
        ("connections_max", 1, 1 << 20),
        ("head_ms_max", 1, DAY_MS),
        ("body_ms_max", 1, DAY_MS),
        ("stall_ms_max", 1, DAY_MS),
        ("linger_ms_max", 0, DAY_MS),
        ("drain_ms_max", 0, DAY_MS),
    ];

    /// Sets one limit from text.
    ///
    /// # Errors
    /// No limit of that name; not a whole number; outside the range in [`Limits::NAMES`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitError> {
        let failed = |reason| LimitError { name: name.to_owned(), value: value.to_owned(), reason };
        let Some(&(_, min, max)) = Limits::NAMES.iter().find(|(known, ..)| *known == name) else {
            return Err(failed(Reason::Unknown));
        };
        let number: u64 = value.parse().map_err(|_| failed(Reason::NotANumber))?;
        if number < min || number > max {
            return Err(failed(Reason::OutOfRange(min, max)));
        }
        // The ranges above keep every count within usize.
        let (count, time) = (number as usize, Duration::from_millis(number));
        match name {
            "head_bytes_max" => self.head_bytes_max = count,
            "headers_max" => self.headers_max = count,
            "target_bytes_max" => self.target_bytes_max = count,
            "body_bytes_max" => self.body_bytes_max = count,
            "buffered_bytes_max" => self.buffered_bytes_max = count,
            "connections_max" => self.connections_max = count,
            "head_ms_max" => self.head_time_max = time,
            "body_ms_max" => self.body_time_max = time,
            "stall_ms_max" => self.stall_time_max = time,
            "linger_ms_max" => self.linger_time_max = time,
            _ => self.drain_time_max = time,
        }
        Ok(())
    }

    /// Whether every limit is within its range; the fields are public, and [`Limits::set`] need not have set them.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        for (name, min, max) in Limits::NAMES {
            let value = self.get(name);
            if value < min || value > max {
                let reason = Reason::OutOfRange(min, max);
                return Err(LimitError { name: name.to_owned(), value: value.to_string(), reason });
            }
        }
        Ok(())
    }

    /// [`Limits::buffered_bytes_max`], or what one request may need where that is more.
    pub(crate) fn buffered_bytes_allowed(&self) -> usize {
        self.buffered_bytes_max.max(self.head_bytes_max + self.body_bytes_max)
    }

    fn get(&self, name: &str) -> u64 {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match name {
            "head_bytes_max" => self.head_bytes_max as u64,
            "headers_max" => self.headers_max as u64,
            "target_bytes_max" => self.target_bytes_max as u64,
            "body_bytes_max" => self.body_bytes_max as u64,
            "buffered_bytes_max" => self.buffered_bytes_max as u64,
            "connections_max" => self.connections_max as u64,
            "head_ms_max" => ms(self.head_time_max),
            "body_ms_max" => ms(self.body_time_max),
            "stall_ms_max" => ms(self.stall_time_max),
            "linger_ms_max" => ms(self.linger_time_max),
            _ => ms(self.drain_time_max),
        }
    }

    /// Sets several limits from `name=value,name=value`, the form of `FC_HOOKS_LIMITS` and of `--limit`.
    ///
    /// # Errors
    /// As [`Limits::set`], and an entry without `=`. The limits before it are set by then.
    pub fn set_all(&mut self, list: &str) -> Result<(), LimitError> {
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.set(name.trim(), value.trim())?;
        }
        Ok(())
    }
}

/// Why a limit could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitError {
    name: String,
    value: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Unknown,
    NotANumber,
    OutOfRange(u64, u64),
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Unknown => write!(f, "no limit is called '{}'", self.name),
            Reason::NotANumber => write!(f, "limit {}: '{}' is not a whole number", self.name, self.value),
            Reason::OutOfRange(min, max) => {
                write!(f, "limit {}: {} is not between {min} and {max}", self.name, self.value)
            }
        }
    }
}

impl std::error::Error for LimitError {}

const KIB: usize = 1024;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_field_of_its_own() {
        for (name, min, max) in Limits::NAMES {
            for value in [min, max] {
                let mut limits = Limits::default();
                limits.set(name, &value.to_string()).unwrap();
                assert_ne!(limits, Limits::default(), "{name}={value} changed nothing");
                assert_eq!((limits.get(name), limits.check()), (value, Ok(())));
            }
        }
    }

    #[test]
    fn refusals_name_the_limit_and_the_cause() {
        let cases = [
            ("nonsense=1", "no limit is called 'nonsense'"),
            ("headers_max", "limit headers_max: '' is not a whole number"),
            ("headers_max=many", "limit headers_max: 'many' is not a whole number"),
            ("headers_max=-1", "limit headers_max: '-1' is not a whole number"),
            ("headers_max=0", "limit headers_max: 0 is not between 1 and 256"),
            ("head_ms_max=86400001", "limit head_ms_max: 86400001 is not between 1 and 86400000"),
        ];
        for (list, expected) in cases {
            assert_eq!(Limits::default().set_all(list).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn fields_are_checked_too() {
        let unbounded = Limits { head_time_max: Duration::MAX, ..Limits::default() };
        let none = Limits { connections_max: 0, ..Limits::default() };
        let many = Limits { headers_max: HEADERS_CAPACITY + 1, ..Limits::default() };
        assert!(unbounded.check().is_err() && none.check().is_err());
        assert_eq!(many.check().unwrap_err().to_string(), "limit headers_max: 257 is not between 1 and 256");
    }

    #[test]
    fn a_list_may_hold_blanks() {
        let mut limits = Limits::default();
        limits.set_all(" head_ms_max = 5 , ,headers_max=2,").unwrap();
        assert_eq!((limits.head_time_max, limits.headers_max), (Duration::from_millis(5), 2));
    }
}
