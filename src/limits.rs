//! The limits that a user can set: one row for each, with its name, default, range and reason.
//!
//! Everything that comes from a peer is bounded: bytes, headers, connections, time. The code that checks a limit
//! decides what the client sees, a status or a closed connection. This file only holds the numbers.

use crate::tuning::HEADERS_CAPACITY;
use std::fmt;
use std::time::Duration;

const KIB: u64 = 1024;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// One limit as [`Limits::set`] knows it. Bytes and counts are plain numbers, times (`…_ms_…`) are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// What it limits, and what becomes of more.
    pub meaning: &'static str,
    /// Its smallest value.
    pub min: u64,
    /// Its largest value.
    pub max: u64,
    /// Its value if nothing sets it.
    pub default: u64,
}

/// Makes everything that belongs to a limit from its row, so that nothing can be forgotten.
macro_rules! limits {
    (
        $(#[$limits_doc:meta])*
        struct Limits {
            $($(#[$doc:meta])* $field:ident: $kind:tt $name:literal = $default:expr,
                $min:literal..=$max:expr, $meaning:literal;)*
        }
    ) => {
        $(#[$limits_doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits {
            $($(#[$doc])* pub $field: kind!($kind),)*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($field: kind!($kind of $default),)* }
            }
        }

        const COUNT: usize = [$($name),*].len();

        /// One row for each limit. Not a constant, which the library and the binary would each have a copy of.
        static NAMES: [Limit; COUNT] = [
            $(Limit { name: $name, meaning: $meaning, min: $min, max: $max, default: $default },)*
        ];

        impl Limits {
            /// The values, in the order of [`NAMES`].
            fn values(&self) -> [u64; COUNT] {
                [$(kind!(number $kind self.$field),)*]
            }

            /// The fields to set, in the order of [`NAMES`].
            fn fields(&mut self) -> [Field<'_>; COUNT] {
                [$(kind!(field $kind &mut self.$field),)*]
            }
        }
    };
}

/// The kinds of limits: the type of the field, its value from a number, its number, and the field to be set.
macro_rules! kind {
    (count) => {
        usize
    };
    (count of $number:expr) => {
        $number as usize
    };
    (number count $field:expr) => {
        $field as u64
    };
    (field count $field:expr) => {
        Field::Count($field)
    };
    (time) => {
        Duration
    };
    (time of $number:expr) => {
        Duration::from_millis($number)
    };
    (number time $field:expr) => {
        u64::try_from($field.as_millis()).unwrap_or(u64::MAX)
    };
    (field time $field:expr) => {
        Field::Time($field)
    };
}

enum Field<'a> {
    Count(&'a mut usize),
    Time(&'a mut Duration),
}

limits! {
    /// What one instance accepts from its peers.
    ///
    /// Times are *awake* time: a time in which the instance was frozen counts against none of them (C-CONN-3).
    ///
    /// ```
    /// let mut limits = fc_hooks::Limits::default();
    /// limits.set("body_bytes_max", "1048576").unwrap();
    /// assert_eq!(limits.body_bytes_max, 1_048_576);
    /// assert!(limits.set("headers_max", "0").is_err());
    /// ```
    struct Limits {
        /// Bytes of the request line and the headers together; a larger head gets 431.
        ///
        /// Default 32 KiB: the platform accepts 8 KB of client headers and adds 26 of its own, of which a security
        /// token takes about 1 KB. Its largest head fits four times.
        head_bytes_max: count "head_bytes_max" = 32 * KIB, 256..=1 << 20,
            "bytes of request line and headers; more: 431";

        /// Headers of one request; a request with more gets 431.
        ///
        /// Default 128: a call through the platform carries 26 of the platform's headers and few of the client's.
        headers_max: count "headers_max" = 128, 1..=HEADERS_CAPACITY as u64,
            "headers of a request; more: 431";

        /// Bytes of the path with its query; a longer one gets 414.
        ///
        /// Default 8 KiB: twice as much as the platform lets through.
        target_bytes_max: count "target_bytes_max" = 8 * KIB, 16..=1 << 20,
            "bytes of path and query; more: 414";

        /// Bytes of one request's decoded body; a larger one gets 413.
        ///
        /// Default 32 MiB: the platform's own limit for synchronous calls.
        body_bytes_max: count "body_bytes_max" = 32 * KIB * KIB, 0..=1 << 31,
            "bytes of a body; more: 413";

        /// Bytes of memory for unfinished requests and unsent replies of all connections together.
        ///
        /// Each connection can use 32 KiB in each direction that do not count. When the budget is used up, requests
        /// with large bodies and calls with large replies get 503; small ones, streams and hooks do not. Before that
        /// the server aborts replies that their clients have been reading for longer than `stall_time_max`. The budget
        /// is never less than one request of the largest size, and a reply that is alone can have any size.
        ///
        /// Default 256 MiB, but no more than a quarter of the memory that `FC_FUNCTION_MEMORY_SIZE` gives the
        /// instance: a callback has a request in memory beside its reply, and the author needs some as well.
        buffered_bytes_max: count "buffered_bytes_max" = 256 * KIB * KIB, 0..=isize::MAX as u64,
            "bytes of all requests and replies in memory, by default at most a quarter of it; more: 503";

        /// Open connections.
        ///
        /// When all are in use, a new connection replaces one that sent no complete head within a second, or one that
        /// has been idle for 15 minutes since its last request (C-CONN-1). If there is neither, the new connection
        /// waits in the kernel's backlog.
        ///
        /// Default 1,024: the platform sends at most 200 calls at once to an instance (C-INV-7). The rest is for
        /// probes and for connections that the platform keeps open.
        connections_max: count "connections_max" = 1024, 1..=1 << 20,
            "open connections; more wait";

        /// Time from the first byte of a head to its end; a client that takes longer gets 408.
        ///
        /// Default 30 s, like hyper.
        head_time_max: time "head_ms_max" = 30_000, 1..=DAY_MS,
            "time for a head to arrive; longer: 408";

        /// Time from the end of a head to the end of its body; a client that takes longer gets 408.
        ///
        /// Default 120 s: enough for 32 MiB at 280 kB/s.
        body_time_max: time "body_ms_max" = 120_000, 1..=DAY_MS,
            "time for a body to arrive; longer: 408";

        /// Time in which the client's kernel takes no byte of a reply; after it the server resets the connection.
        ///
        /// Default 60 s.
        stall_time_max: time "stall_ms_max" = 60_000, 1..=DAY_MS,
            "time in which a client takes no byte of its reply; longer: reset";

        /// Time that a rejected client can go on sending before the server closes the connection.
        ///
        /// The server reads and drops these bytes, because a close with unread input is a reset, which could destroy
        /// the reply before the client reads it. Default 5 s, like nginx.
        linger_time_max: time "linger_ms_max" = 5_000, 0..=DAY_MS,
            "time for a rejected client to go on sending";

        /// Time from a stop signal to the end of what is in progress. After it the server begins no callback but
        /// pre-stop.
        ///
        /// Unlike the other times it includes the time in callbacks. Default 8 s: less than the 10 s that
        /// `docker stop` waits.
        drain_time_max: time "drain_ms_max" = 8_000, 0..=DAY_MS,
            "time from a stop signal to the end of what is in progress";

        /// Time without a request after which the next one is taken for the first after a freeze, where the environment
        /// says that the instance runs on the platform; 0 turns this off.
        ///
        /// The platform freezes an instance without requests (C-FRZ-1), and some freezes leave no other sign
        /// (C-FRZ-9). It is the weakest evidence, [`Confidence::Possible`](crate::Confidence::Possible). Turn it off
        /// for an instance whose processor is never taken away (`alwaysAllocateCPU`, delayed release).
        ///
        /// Default 10 s: a thaw callback every ten seconds costs nothing that matters.
        idle_thaw_time_min: time "idle_thaw_ms_min" = 10_000, 0..=DAY_MS,
            "time without requests that count as a freeze on the platform; 0: none";
    }
}

impl Limits {
    /// The limits that [`Limits::set`] knows.
    pub const NAMES: &'static [Limit] = &NAMES;

    /// Sets one limit from text.
    ///
    /// # Errors
    /// [`Limits::NAMES`] has no limit of that name; the value is not a whole number, or it is out of range.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitError> {
        let failed = |reason| LimitError { name: name.to_owned(), value: value.to_owned(), reason };
        let Some(index) = NAMES.iter().position(|limit| limit.name == name) else {
            return Err(failed(Reason::Unknown));
        };
        let Limit { min, max, .. } = NAMES[index];
        let number = whole_number(value).ok_or_else(|| failed(Reason::NotANumber))?;
        if number < min || number > max {
            return Err(failed(Reason::OutOfRange(min, max)));
        }
        match &mut self.fields()[index] {
            // The ranges keep every count within usize.
            Field::Count(count) => **count = number as usize,
            Field::Time(time) => **time = Duration::from_millis(number),
        }
        Ok(())
    }

    /// Sets several limits from `name=value,name=value`, the form of the environment variable and of `--limit`.
    ///
    /// # Errors
    /// As [`Limits::set`]; also an entry without `=`. The limits before the wrong entry are set.
    pub fn set_all(&mut self, list: &str) -> Result<(), LimitError> {
        let mut rest = Some(list);
        while let Some(entry) = next_entry(&mut rest) {
            if entry.is_empty() {
                continue;
            }
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.set(name.trim(), value.trim())?;
        }
        Ok(())
    }

    /// Whether every limit is within its range. The fields are public, so [`Limits::set`] may not have checked them.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        for (&Limit { name, min, max, .. }, value) in NAMES.iter().zip(self.values()) {
            if value < min || value > max {
                let reason = Reason::OutOfRange(min, max);
                return Err(LimitError { name: name.to_owned(), value: value.to_string(), reason });
            }
        }
        Ok(())
    }

    /// Lowers the default of [`Limits::buffered_bytes_max`] to a quarter of the instance's memory.
    pub(crate) fn fit_memory(&mut self, megabytes: u64) {
        let quarter = usize::try_from(megabytes.saturating_mul(KIB * KIB / 4)).unwrap_or(usize::MAX);
        self.buffered_bytes_max = self.buffered_bytes_max.min(quarter);
    }

    /// [`Limits::buffered_bytes_max`], or the bytes that one request may need if they are more.
    pub(crate) fn buffered_bytes_allowed(&self) -> usize {
        self.buffered_bytes_max.max(self.head_bytes_max + self.body_bytes_max)
    }
}

/// Takes the first entry of a list with commas, without the blanks around it. One copy for all settings.
#[inline(never)]
pub(crate) fn next_entry<'a>(rest: &mut Option<&'a str>) -> Option<&'a str> {
    let list = (*rest)?;
    let comma = list.bytes().position(|byte| byte == b',');
    *rest = comma.map(|at| &list[at + 1..]);
    Some(list[..comma.unwrap_or(list.len())].trim())
}

/// One copy of the standard library's parser for all settings.
#[inline(never)]
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Why a limit could not be set.
#[derive(Clone, PartialEq, Eq)]
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
            Reason::Unknown => write!(f, "unknown limit '{}'", self.name),
            Reason::NotANumber => write!(f, "limit {}: '{}' is not a whole number", self.name, self.value),
            Reason::OutOfRange(min, max) => {
                write!(f, "limit {}: {} is not between {min} and {max}", self.name, self.value)
            }
        }
    }
}

/// The same text: a derived one would add the `Debug` of numbers to every binary.
impl fmt::Debug for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LimitError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the table and in the struct alike.
    #[test]
    fn defaults() {
        let limits = Limits::default();
        assert_eq!(limits.check(), Ok(()));
        assert_eq!(limits.values(), NAMES.each_ref().map(|limit| limit.default));
    }

    #[test]
    fn every_name_sets_a_field_of_its_own() {
        for (index, limit) in NAMES.iter().enumerate() {
            for value in [limit.min, limit.max] {
                let mut limits = Limits::default();
                limits.set(limit.name, &value.to_string()).unwrap();
                assert_eq!(limits.check(), Ok(()));
                let mut expected = Limits::default().values();
                expected[index] = value;
                assert_eq!(limits.values(), expected, "{} = {value}", limit.name);
            }
        }
    }

    #[test]
    fn refusals_name_the_limit_and_the_cause() {
        let cases = [
            ("nonsense=1", "unknown limit 'nonsense'"),
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
