//! The logger, and foreign text in log records.
//!
//! A failure is never silent: whoever has no logger gets errors and warnings on standard error, with `env_logger` or
//! without.

use std::fmt::{self, Write};

/// Sets up the logger, unless the author has set up another one.
#[inline(never)]
pub(crate) fn init_logging() {
    if log::max_level() == log::LevelFilter::Off {
        set_logger();
    }
}

#[cfg(feature = "env_logger")]
fn set_logger() {
    if std::env::var(env_logger::DEFAULT_FILTER_ENV).is_ok() {
        let _ = env_logger::try_init();
    } else if log::set_logger(&LATE_LOGGER).is_ok() {
        log::set_max_level(DEFAULT_LEVEL);
    }
}

/// The level if `RUST_LOG` is not set. Most instances never log a warning.
const DEFAULT_LEVEL: log::LevelFilter = log::LevelFilter::Warn;

/// The logger if `RUST_LOG` is not set. It is made with the first record, because that takes as many instructions as
/// everything else between the exec and the first wait.
#[cfg(feature = "env_logger")]
struct LateLogger(std::sync::OnceLock<env_logger::Logger>);

#[cfg(feature = "env_logger")]
static LATE_LOGGER: LateLogger = LateLogger(std::sync::OnceLock::new());

#[cfg(feature = "env_logger")]
impl log::Log for LateLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= DEFAULT_LEVEL
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.get_or_init(|| env_logger::Builder::new().filter_level(DEFAULT_LEVEL).build()).log(record);
        }
    }

    fn flush(&self) {}
}

#[cfg(not(feature = "env_logger"))]
fn set_logger() {
    if log::set_logger(&StderrLogger).is_ok() {
        log::set_max_level(DEFAULT_LEVEL);
    }
}

/// The logger without `env_logger`: one line for each record, in one write.
#[cfg(not(feature = "env_logger"))]
struct StderrLogger;

#[cfg(not(feature = "env_logger"))]
impl log::Log for StderrLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= DEFAULT_LEVEL
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let (level, target, text) = (record.level(), record.target(), OneLine(record.args()));
            crate::server::eprint_line(format_args!("[{level} {target}] {text}"));
        }
    }

    fn flush(&self) {}
}

/// Foreign text in a log line, with its control characters escaped. Otherwise a caller whose text becomes part of an
/// error could write whole lines, even log markers (C-LOG-1).
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| {
                    if c.is_control() { write!(self.0, "{}", c.escape_default()) } else { self.0.write_char(c) }
                })
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-LOG-1: the platform's console reads lines.
    #[test]
    fn log_lines_stay_lines() {
        let cases = [
            ("sold out", "sold out"),
            ("a\nFC Invoke End RequestId: b\r\n", "a\\nFC Invoke End RequestId: b\\r\\n"),
            ("ä\u{85}\u{1b}[2J\0\t", "ä\\u{85}\\u{1b}[2J\\u{0}\\t"),
        ];
        for (text, expected) in cases {
            assert_eq!(OneLine(text).to_string(), expected);
        }
    }
}
