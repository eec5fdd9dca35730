//! One error type, whose text names what failed, the object and the cause.
//!
//! A fault of the target is never an `Error`: it is a finding of [`crate::check`] or a failed step of
//! [`crate::lifecycle_run`]. An `Error` means that the target could not be tested.

use std::fmt;

/// The reason why something could not be done, as one sentence.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

/// The result of a function that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// "failed to `verb` `object`: `cause`".
    pub fn failed(verb: &str, object: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self(format!("failed to {verb} `{object}`: {cause}"))
    }
}

/// For an error whose text already names the file.
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
    fn the_text_names_verb_object_and_cause() {
        let error = Error::failed("start", "./server", "no such file");
        assert_eq!(error.to_string(), "failed to start `./server`: no such file");
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
