//! What went wrong on our side: one opaque type that says verb, object and cause.
//!
//! A target's misbehaviour is never an `Error`; that is a finding (see [`crate::check`]) or a
//! violated step (see [`crate::lifecycle_run`]). An `Error` means that nothing could be found out.

use std::fmt;

/// Why something could not be done, as one sentence.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

/// What every fallible function here returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A complaint in words of its own.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// "failed to `verb` `object`: `cause`".
    pub fn failed(verb: &str, object: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self(format!("failed to {verb} `{object}`: {cause}"))
    }
}

/// For an error whose text names the file already.
impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_verb_object_and_cause() {
        let error = Error::failed("start", "./server", "no such file");
        assert_eq!(error.to_string(), "failed to start `./server`: no such file");
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
