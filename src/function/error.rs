//! The author's errors: what a callback fails with.

use std::fmt;

/// A failed callback: what [`Result`](crate::Result) carries, made from any error by `?`.
///
/// It becomes `{"errorMessage":…,"errorType":…}` in the answer (C-INV-5). The message is the error's own text with its
/// sources behind it, the type the error's type name. Mind that callers read the message: no secrets in error texts.
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
    /// An error from a message alone, of type `Error`.
    pub fn msg(message: impl Into<String>) -> Error {
        Error::typed("Error", message)
    }

    /// An error with a type name of your choice, for callers that tell failures apart by `errorType`.
    pub fn typed(error_type: &'static str, message: impl Into<String>) -> Error {
        let message: String = message.into();
        Error { kind: error_type, source: message.into() }
    }

    /// An error that is boxed already, as of a library that returns `Box<dyn Error>`: `?` does not take those.
    pub fn from_boxed(error: Box<dyn std::error::Error>) -> Error {
        Error { kind: "Error", source: error }
    }

    /// What the answer gives as `errorType`.
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

/// `core::num::error::ParseIntError` → `ParseIntError`; generic arguments go.
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
    fn sources_are_told() {
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
