//! The error of a start: the action, its object, and the cause.

use crate::limits::LimitError;
use crate::platform::variables::LISTEN;
use std::fmt;
use std::io;

/// The reason why the process cannot start or go on, such as `cannot listen on 0.0.0.0:9000: address in use`.
///
/// The message has the cause in it. [`source`](std::error::Error::source) is the cause as a value: an [`io::Error`] of
/// the kernel, or a [`LimitError`].
///
/// ```
/// use fc_hooks::{Config, Server};
/// use std::error::Error;
/// use std::io;
///
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let config = Config::new().listen(&taken.local_addr()?.to_string())?;
/// let error = Server::bind(config).err().unwrap();
/// let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
/// assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
/// # Ok::<(), Box<dyn Error>>(())
/// ```
pub struct StartError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StartError {
    /// `expected <form>, not '<value>'`.
    #[cold]
    #[inline(never)]
    pub(crate) fn expected(form: &str, value: &str) -> StartError {
        StartError { message: format!("expected {form}, not '{value}'"), source: None }
    }

    /// `'<value>': <cause>`.
    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(value: &str, cause: &dyn fmt::Display) -> StartError {
        StartError { message: format!("'{value}': {cause}"), source: None }
    }

    /// `<name>: <cause>`.
    #[cold]
    #[inline(never)]
    pub(crate) fn about(name: &str, cause: &dyn fmt::Display) -> StartError {
        StartError { message: format!("{name}: {cause}"), source: None }
    }

    /// The same error, of this variable.
    #[cold]
    #[inline(never)]
    pub(crate) fn of(self, variable: &str) -> StartError {
        StartError { message: format!("{variable}: {}", self.message), ..self }
    }

    /// `cannot <action>: <cause>`.
    #[cold]
    pub(crate) fn io(action: impl fmt::Display, cause: &io::Error) -> StartError {
        StartError::io_of(&action, cause)
    }

    #[cold]
    #[inline(never)]
    fn io_of(action: &dyn fmt::Display, cause: &io::Error) -> StartError {
        // The error is borrowed, because its text goes into the message; the kernel's number makes a second one.
        let source = cause.raw_os_error().map_or_else(|| cause.kind().into(), io::Error::from_raw_os_error);
        StartError { message: format!("cannot {action}: {}", Cause(cause)), source: Some(source.into()) }
    }
}

impl From<LimitError> for StartError {
    #[cold]
    #[inline(never)]
    fn from(error: LimitError) -> StartError {
        StartError { message: error.to_string(), source: Some(error.into()) }
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

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

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
    fn causes_are_values_too() {
        use std::error::Error;
        let limit = crate::Limits::default().set("headers_max", "0").unwrap_err();
        let error = StartError::from(limit.clone()).of("FC_HOOKS_LIMITS");
        assert_eq!(error.to_string(), format!("FC_HOOKS_LIMITS: {limit}"));
        assert_eq!(error.source().and_then(|cause| cause.downcast_ref()), Some(&limit));
        let unreadable = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        let error = StartError::io("listen", &unreadable);
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::InvalidInput);
        assert!(StartError::expected("on or off", "maybe").source().is_none());
    }

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
