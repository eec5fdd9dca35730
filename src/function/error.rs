//! The error of a failed callback.

use std::fmt;

/// The error of a callback, in [`Result`](crate::Result). The operator `?` makes it from any error.
///
/// The server answers with `{"errorMessage":…,"errorType":…}` (C-INV-5). The message is the error's own text, followed
/// by the texts of its sources; the type is the name of the error's type. Callers read the message, so it must hold no
/// secrets.
///
/// ```
/// fn port(text: &str) -> Result<u16, fc_hooks::Error> {
///     Ok(text.parse()?)
/// }
/// let error = port("ninety").unwrap_err();
/// assert_eq!(error.error_type(), "ParseIntError");
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// ```
pub struct Error {
    kind: &'static str,
    source: Box<dyn std::error::Error>,
}

impl Error {
    /// An error with this message, of type `Error`.
    pub fn msg(message: impl Into<String>) -> Error {
        Error::typed("Error", message)
    }

    /// An error with this message and type, for callers that distinguish failures by `errorType`.
    pub fn typed(error_type: &'static str, message: impl Into<String>) -> Error {
        let message: String = message.into();
        Error { kind: error_type, source: message.into() }
    }

    /// Wraps a boxed error, which `?` cannot convert. Its type is `Error`.
    pub fn from_boxed(error: Box<dyn std::error::Error>) -> Error {
        Error { kind: "Error", source: error }
    }

    /// The `errorType` of the answer.
    pub fn error_type(&self) -> &str {
        self.kind
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        Error { kind: short_type_name(std::any::type_name::<E>()), source: Box::new(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind)
    }
}

/// `core::num::error::ParseIntError` → `ParseIntError`, without generic arguments.
fn short_type_name(full: &'static str) -> &'static str {
    let head = full.split('<').next().unwrap_or(full);
    head.rsplit(':').next().unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn type_names_are_short() {
        for (full, short) in [("a::b::C", "C"), ("C", "C"), ("a::B<c::D<e::F>>", "B")] {
            assert_eq!(short_type_name(full), short);
        }
    }

    #[test]
    fn sources_follow_the_message() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot load")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from(Outer(io::Error::other("disk on fire")));
        assert_eq!(error.to_string(), "cannot load: disk on fire");
        assert_eq!(format!("{error:?}"), "Outer: cannot load: disk on fire");
    }
}
