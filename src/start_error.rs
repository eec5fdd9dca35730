//! The error of a start: the action, its object, and the cause.

use crate::limits::LimitError;
use crate::platform::variables::LISTEN;
use std::fmt;
use std::io;

/// The reason why the process cannot start or go on, such as `cannot listen on 0.0.0.0:9000: address in use`.
pub struct StartError {
    message: String,
}

impl StartError {
    /// `expected <form>, not '<value>'`.
    #[cold]
    #[inline(never)]
    pub(crate) fn expected(form: &str, value: &str) -> StartError {
        StartError { message: format!("expected {form}, not '{value}'") }
    }

    /// `'<value>': <cause>`.
    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(value: &str, cause: &dyn fmt::Display) -> StartError {
        StartError { message: format!("'{value}': {cause}") }
    }

    /// `<name>: <cause>`.
    #[cold]
    #[inline(never)]
    pub(crate) fn about(name: &str, cause: &dyn fmt::Display) -> StartError {
        StartError { message: format!("{name}: {cause}") }
    }

    /// `cannot <action>: <cause>`.
    pub(crate) fn io(action: impl fmt::Display, cause: &io::Error) -> StartError {
        StartError { message: format!("cannot {action}: {}", Cause(cause)) }
    }
}

impl From<LimitError> for StartError {
    #[cold]
    #[inline(never)]
    fn from(error: LimitError) -> StartError {
        StartError { message: error.to_string() }
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

/// The cause in words if the standard library has a kind for it, else with its number.
struct Cause<'a>(&'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("address in use: end the process that listens there, or choose another address by ")?;
                f.write_str(LISTEN)
            }
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
            "cannot listen on 0.0.0.0:9000: address in use: end the process that listens there, or choose another \
             address by FC_HOOKS_LISTEN"
        );
    }
}
