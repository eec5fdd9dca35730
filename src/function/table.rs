//! Whether the rows of a table fit together, decided by the compiler. A row that does not is a compile error that names
//! it.

use crate::function::path::{self, PathError, same};
use crate::function::route::{Kind, Route};

/// Checks one row: for itself, and beside the rows in front of it.
#[track_caller]
pub(crate) const fn check_row<S>(rows: &[Route<S>], index: usize) {
    let row = &rows[index].0;
    match row {
        Kind::Exact(method, path, _) => {
            if !is_method(method) {
                fault_of("invalid HTTP method; it can hold letters, digits, '-' and '_'", row, index);
            }
            check_path(path, row, index);
        }
        Kind::Prefix(path, _) | Kind::HealthPath(path) => check_path(path, row, index),
        _ => {}
    }
    let mut earlier = 0;
    while earlier < index {
        if let Some(conflict) = conflict(&rows[earlier].0, row) {
            fault_of(conflict, row, index);
        }
        earlier += 1;
    }
}

#[track_caller]
const fn check_path<S>(path: &str, row: &Kind<S>, index: usize) {
    if let Err(error) = path::check(path) {
        fault_of(error.message(), row, index);
    }
}

/// Why the second row cannot stand behind the first.
const fn conflict<S>(first: &Kind<S>, second: &Kind<S>) -> Option<&'static str> {
    match (first, second) {
        (Kind::Hook(hook_a, _), Kind::Hook(hook_b, _)) if *hook_a as usize == *hook_b as usize => {
            Some("the table has the same hook twice")
        }
        (Kind::OnThaw(_), Kind::OnThaw(_)) => Some("the table has on_thaw twice"),
        (Kind::Invoke(_), Kind::Invoke(_)) => Some("the table has invoke twice"),
        (Kind::Fallback(_), Kind::Fallback(_)) => Some("the table has two fallbacks"),
        (Kind::Exact(method_a, path_a, _), Kind::Exact(method_b, path_b, _))
            if same(path_a, path_b) && (method_a.is_empty() || method_b.is_empty() || same(method_a, method_b)) =>
        {
            Some("two routes have the same method and path")
        }
        (Kind::Prefix(path_a, _), Kind::Prefix(path_b, _)) if same(path_a, path_b) => {
            Some("two routes have the same prefix")
        }
        (Kind::Exact(_, path_a, _), Kind::HealthPath(path_b))
        | (Kind::HealthPath(path_a), Kind::Exact(_, path_b, _))
            if same(path_a, path_b) =>
        {
            Some(PathError::Route.message())
        }
        (Kind::ObserveHooks(_), Kind::ObserveHooks(_))
        | (Kind::HealthPath(_), Kind::HealthPath(_))
        | (Kind::RequireControlPath, Kind::RequireControlPath)
        | (Kind::ShowErrors, Kind::ShowErrors)
        | (Kind::CallerClock(..), Kind::CallerClock(..)) => Some("the table has the same option twice"),
        _ => None,
    }
}

const fn is_method(method: &str) -> bool {
    let bytes = method.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if !(bytes[index].is_ascii_alphanumeric() || bytes[index] == b'-' || bytes[index] == b'_') {
            return false;
        }
        index += 1;
    }
    true
}

/// Stops the compilation because of a row.
#[track_caller]
const fn fault_of<S>(message: &str, row: &Kind<S>, index: usize) -> ! {
    let (kind, path) = match row {
        Kind::Hook(hook, _) => ("hook", hook.path()),
        Kind::OnThaw(_) => ("on_thaw", ""),
        Kind::Invoke(_) => ("invoke", ""),
        Kind::Exact(method, path, _) => (if method.is_empty() { "any" } else { *method }, *path),
        Kind::Prefix(path, _) => ("prefix", *path),
        Kind::Fallback(_) => ("fallback", ""),
        Kind::ObserveHooks(_) => ("observe_hooks", ""),
        Kind::HealthPath(path) => ("health_path", *path),
        Kind::RequireControlPath => ("require_control_path", ""),
        Kind::ShowErrors => ("show_errors", ""),
        Kind::CallerClock(header, _) => ("caller_clock", *header),
        Kind::Vacant => ("no row", ""),
    };
    fault(message, kind, path, index + 1)
}

/// Stops the compilation: `fc-hooks: <message>: row <number>, <kind> <path>`.
#[track_caller]
pub(crate) const fn fault(message: &str, kind: &str, path: &str, number: usize) -> ! {
    let text = Text { bytes: [0; TEXT_BYTES_MAX], length: 0 };
    let text = text.push("fc-hooks: ").push(message).push(": row ").push_number(number).push(", ");
    let text = text.push(kind).push(if path.is_empty() { "" } else { " " }).push(path);
    panic!("{}", text.as_str())
}

/// More is cut off.
const TEXT_BYTES_MAX: usize = 256;

/// `format!` for the compiler.
struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    length: usize,
}

impl Text {
    const fn push(mut self, part: &str) -> Text {
        let bytes = part.as_bytes();
        let mut index = 0;
        while index < bytes.len() && self.length < TEXT_BYTES_MAX {
            // A path can hold a character that ends in the middle of the text; what is shown must stay text.
            self.bytes[self.length] = if bytes[index].is_ascii() { bytes[index] } else { b'?' };
            self.length += 1;
            index += 1;
        }
        self
    }

    /// Tables have less than a hundred rows; more shows as 99.
    const fn push_number(self, number: usize) -> Text {
        let shown = if number > 99 { 99 } else { number };
        let text = if shown >= 10 { self.push(DIGITS.split_at(shown / 10).1.split_at(1).0) } else { self };
        text.push(DIGITS.split_at(shown % 10).1.split_at(1).0)
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "fc-hooks: a row does not fit",
        }
    }
}

const DIGITS: &str = "0123456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_compiler() {
        let text = |number| Text { bytes: [0; TEXT_BYTES_MAX], length: 0 }.push("row ").push_number(number).push("/ä");
        for (number, expected) in [(1, "row 1/??"), (10, "row 10/??"), (42, "row 42/??"), (1000, "row 99/??")] {
            assert_eq!(text(number).as_str(), expected);
        }
        let long = text(1).push(&"x".repeat(2 * TEXT_BYTES_MAX));
        assert_eq!(long.as_str().len(), TEXT_BYTES_MAX);
    }
}
