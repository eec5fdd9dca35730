//! Foreign text in log records.

use std::fmt::{self, Write};

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
