//! Numbers for people. A value that is not a finite number is a dash, never `NaN`.

use std::time::{Duration, UNIX_EPOCH};

/// Stands for a missing value.
pub const NONE: &str = "–";

/// A number with this many decimals, and commas between thousands.
pub fn number(value: impl Into<Option<f64>>, decimals: usize) -> String {
    let Some(value) = value.into().filter(|value| value.is_finite()) else { return NONE.to_owned() };
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped =
        String::from(if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" });
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

/// A whole number.
pub fn whole(value: impl Into<Option<u64>>) -> String {
    number(value.into().map(|value| value as f64), 0)
}

/// A number with about three digits, for plots.
pub fn short(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    number(value, decimals)
}

/// A ratio.
pub fn times(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{}×", number(value, decimals))
}

/// Microseconds in a suitable unit.
pub fn duration(us: f64) -> String {
    match us.abs() {
        size if size >= 1e6 => format!("{} s", short(us / 1e6)),
        size if size >= 1e3 => format!("{} ms", short(us / 1e3)),
        _ => format!("{} µs", number(us, if us.abs() < 10.0 { 1 } else { 0 })),
    }
}

/// A large count, such as of instructions.
pub fn count(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{} G", short(value / 1e9)),
        size if size >= 1e6 => format!("{} M", short(value / 1e6)),
        size if size >= 1e4 => format!("{} k", short(value / 1e3)),
        _ => number(value, 0),
    }
}

/// Kilobytes of 1,024 bytes.
pub fn kilobytes(kb: f64) -> String {
    if kb >= 10_240.0 { format!("{} MB", short(kb / 1024.0)) } else { format!("{} kB", number(kb, 0)) }
}

/// The size of a body: whole kilobytes of 1,024 bytes, or megabytes of these, where it is such a number.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{} MB", whole(bytes >> 20)),
        bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{} kB", whole(bytes >> 10)),
        _ => format!("{} bytes", whole(bytes)),
    }
}

/// Seconds since 1970 as a date and a time of day in UTC, such as `2025-11-23 20:08 UTC`.
pub fn date(seconds: u64) -> String {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    text.get(..16).unwrap_or(NONE).replace('T', " ") + " UTC"
}

/// At most this many characters, with a mark if the text was cut.
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    kept.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([number(1_234_567.891, 2), number(999.0, 0), number(-1000.4, 0)], ["1,234,567.89", "999", "−1,000"]);
        assert_eq!([number(-0.001, 1), number(f64::NAN, 1), number(f64::INFINITY, 0)], ["0.0", "–", "–"]);
        assert_eq!([number(None, 1), whole(None), whole(494_024)], ["–", "–", "494,024"]);
        assert_eq!([short(0.1234), short(1.234), short(12.34), short(1234.5)], ["0.123", "1.23", "12.3", "1,234"]);
        assert_eq!([times(1.2), times(f64::NAN), times(250.0)], ["1.20×", "–×", "250×"]);
    }

    #[test]
    fn units() {
        assert_eq!([duration(8.25), duration(412.4), duration(62_512.0)], ["8.2 µs", "412 µs", "62.5 ms"]);
        assert_eq!([duration(2e6), count(184_321.0), count(2.5e6)], ["2.00 s", "184 k", "2.50 M"]);
        assert_eq!(
            [bytes(0), bytes(1_000), bytes(102_400), bytes(32 << 20)],
            ["0 bytes", "1,000 bytes", "100 kB", "32 MB"]
        );
        assert_eq!([kilobytes(112.0), kilobytes(10_240.0), count(44.0)], ["112 kB", "10.0 MB", "44"]);
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_763_928_485), "2025-11-23 20:08 UTC");
        assert_eq!(date(4_107_542_399), "2100-02-28 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
    }

    #[test]
    fn cuts() {
        assert_eq!([cut("épée", 4), cut("épée!", 4), cut("ab cd", 4)], ["épée", "épé…", "ab…"]);
    }
}
