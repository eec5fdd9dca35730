//! Why the process cannot do what it was started for: verb, object, cause.

use crate::limits::LimitError;
use std::fmt;
use std::io;

/// Why the process could not start or go on: `cannot listen on 0.0.0.0:9000: address in use`.
pub struct StartError {
    message: String,
}

impl StartError {
    pub(crate) fn new(message: impl Into<String>) -> StartError {
        StartError { message: message.into() }
    }

    /// `'<value>' <what is wrong with it>`.
    pub(crate) fn quoting(value: &str, wrong: &str) -> StartError {
        StartError { message: format!("'{value}' {wrong}") }
    }

    /// `<name>: <cause>`.
    pub(crate) fn about(name: &str, cause: &dyn fmt::Display) -> StartError {
        StartError { message: format!("{name}: {cause}") }
    }

    /// `cannot <action>: <cause>`.
    pub(crate) fn io(action: impl fmt::Display, cause: &io::Error) -> StartError {
        StartError { message: format!("cannot {action}: {}", Cause(cause)) }
    }
}

impl From<LimitError> for StartError {
    fn from(error: LimitError) -> StartError {
        StartError::new(error.to_string())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StartError {}

/// The cause in words where the standard library has words for it, else with its number.
struct Cause<'a>(&'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::AddrInUse => f.write_str("address in use"),
            io::ErrorKind::AddrNotAvailable => f.write_str("address not available"),
            io::ErrorKind::PermissionDenied => f.write_str("permission denied"),
            io::ErrorKind::NotFound => f.write_str("no such file or directory"),
            _ => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_errors_name_object_and_cause() {
        let cause = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(
            StartError::io("listen on 0.0.0.0:9000", &cause).to_string(),
            "cannot listen on 0.0.0.0:9000: address in use"
        );
    }
}
