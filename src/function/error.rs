//! The error of a failed callback.

use crate::function::reply_error::ReplyError;
use std::borrow::Cow;
use std::fmt;

/// The error of a callback, in [`Result`](crate::Result).
///
/// The operator `?` makes it from any error that is `Send` and `Sync`, from text, and from whatever converts into
/// `Box<dyn Error + Send + Sync>`: a boxed error, an `anyhow::Error`, an `eyre::Report`. [`Error::new`] does the same
/// without `?`, and [`Error::from_boxed`] takes an error that stays on its thread.
///
/// The server answers with `{"errorMessage":…,"errorType":…}` (C-INV-5). The message is the error's own text, followed
/// by the texts of its sources. Callers of hooks and events read it, so it must hold no secrets; callers of HTTP calls
/// read `internal error` in its place, unless the error has a status of the client's mistakes
/// ([`Error::with_status`]) or the table asks for the text ([`App::show_errors`](crate::App::show_errors)).
///
/// The type is the name of the error's type. A type that is called `Error` has its module in front: `io::Error`. An
/// error that hides its type, such as a box, has the name of the innermost source that the standard library or
/// serde_json defines, or `Error`.
///
/// ```
/// fn port(text: &str) -> fc_hooks::Result<u16> {
///     if text.is_empty() {
///         return Err("no port")?;
///     }
///     Ok(text.parse()?)
/// }
/// let error = port("ninety").unwrap_err();
/// assert_eq!(error.error_type(), "ParseIntError");
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// assert_eq!(port("").unwrap_err().to_string(), "no port");
/// ```
pub struct Error {
    kind: Cow<'static, str>,
    status: u16,
    source: Box<dyn std::error::Error>,
}

/// The status of an HTTP call that failed, if its error has none of its own.
const STATUS: u16 = 500;

impl Error {
    /// An error from another one, from text, or from anything that `?` takes.
    pub fn new<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> Error {
        Error::of_type_name(error.into(), std::any::type_name::<E>())
    }

    /// An error with this message, of type `Error`.
    pub fn msg(message: impl Into<String>) -> Error {
        Error::typed("Error", message)
    }

    /// An error with this message and type, for callers that distinguish failures by `errorType`.
    pub fn typed(error_type: &'static str, message: impl Into<String>) -> Error {
        let message: String = message.into();
        Error { kind: Cow::Borrowed(error_type), status: STATUS, source: message.into() }
    }

    /// Wraps a boxed error that is not `Send` or not `Sync`, which `?` cannot convert.
    pub fn from_boxed(error: Box<dyn std::error::Error>) -> Error {
        Error { kind: Cow::Borrowed(innermost_known(&*error)), status: STATUS, source: error }
    }

    /// Kept out of line, because `new` is compiled once for each kind of error.
    #[inline(never)]
    fn of_type_name(source: Box<dyn std::error::Error + Send + Sync>, full: &'static str) -> Error {
        let held = held_type_name(full);
        let kind = if hides_its_type(held) { innermost_known(&*source).into() } else { short_type_name(held) };
        Error { kind, status: STATUS, source }
    }

    /// The status of an HTTP call that fails with this error, instead of 500. With 400 to 499 it is the client's
    /// mistake: the client reads the message, and the call does not count as failed. Hooks and events answer 404
    /// whatever it is (C-STAT-1).
    ///
    /// # Errors
    /// [`ReplyError::Status`]: the status is not between 400 and 599.
    pub fn with_status(mut self, status: u16) -> Result<Error, ReplyError> {
        if !(400..=599).contains(&status) {
            return Err(ReplyError::Status);
        }
        self.status = status;
        Ok(self)
    }

    /// As [`Error::with_status`], for a mistake of the client: 400.
    pub(crate) fn of_client(mut self) -> Error {
        self.status = 400;
        self
    }

    /// The status of an HTTP call that fails with this error.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `errorType` of the answer.
    pub fn error_type(&self) -> &str {
        &self.kind
    }
}

/// Not for `Error` itself, which converts into no boxed error. So this does not meet `From<T> for T`.
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Error {
        Error::new(error)
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

/// Whether a type of this name says nothing about the failure: text, boxes, and the wrappers of well-known crates.
fn hides_its_type(held: &str) -> bool {
    const WRAPPERS: [&str; 8] =
        ["&", "'", "str", "dyn ", "alloc::string::String", "anyhow::Error", "eyre::Report", "miette::"];
    WRAPPERS.iter().any(|wrapper| held.starts_with(wrapper))
}

/// The name of the innermost error in the chain whose type is known here: nothing else tells the type of a boxed error.
fn innermost_known(error: &(dyn std::error::Error + 'static)) -> &'static str {
    type Known = (fn(&(dyn std::error::Error + 'static)) -> bool, &'static str);
    const KNOWN: [Known; 7] = [
        (|error| error.is::<std::io::Error>(), "io::Error"),
        (|error| error.is::<std::num::ParseIntError>(), "ParseIntError"),
        (|error| error.is::<std::num::ParseFloatError>(), "ParseFloatError"),
        (|error| error.is::<std::str::Utf8Error>(), "Utf8Error"),
        (|error| error.is::<std::string::FromUtf8Error>(), "FromUtf8Error"),
        (|error| error.is::<serde_json::Error>(), "serde_json::Error"),
        (|error| error.is::<ReplyError>(), "ReplyError"),
    ];
    let mut name = "Error";
    let mut next = Some(error);
    while let Some(error) = next {
        name = KNOWN.iter().find(|(is_it, _)| is_it(error)).map_or(name, |(_, known)| known);
        next = error.source();
    }
    name
}

/// A box or a shared error of `alloc` is called by what it holds: `alloc::boxed::Box<mine::NoStock>` →
/// `mine::NoStock>`.
fn held_type_name(full: &'static str) -> &'static str {
    match full.bytes().position(|byte| byte == b'<') {
        Some(bracket) if full.starts_with("alloc::") => &full[bracket + 1..],
        _ => full,
    }
}

/// `core::num::error::ParseIntError` → `ParseIntError`, `std::io::error::Error` → `io::Error`, without generic
/// arguments.
fn short_type_name(held: &'static str) -> Cow<'static, str> {
    let path = &held[..held.bytes().position(|byte| matches!(byte, b'<' | b'>')).unwrap_or(held.len())];
    let (modules, name) = last_segment(path);
    let (before, module) = last_segment(modules);
    let module = if module == "error" { last_segment(before).1 } else { module };
    if name == "Error" && !module.is_empty() { [module, "::", name].concat().into() } else { name.into() }
}

/// `a::b::C` → `a::b` and `C`.
fn last_segment(path: &'static str) -> (&'static str, &'static str) {
    match path.bytes().rposition(|byte| byte == b':') {
        Some(colon) => (&path[..colon - 1], &path[colon + 1..]),
        None => ("", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn type_names_are_short() {
        let cases = [
            ("a::b::C", "C"),
            ("C", "C"),
            ("a::B<c::D<e::F>>", "B"),
            ("Error", "Error"),
            ("mine::Error", "mine::Error"),
            ("std::io::error::Error", "io::Error"),
            ("serde_json::error::Error", "serde_json::Error"),
            ("alloc::boxed::Box<mine::NoStock>", "NoStock"),
            ("alloc::sync::Arc<mine::stock::Error>", "stock::Error"),
        ];
        for (full, short) in cases {
            assert_eq!(short_type_name(held_type_name(full)), short);
        }
    }

    /// `?` takes whatever a library may return.
    #[test]
    fn every_kind_of_error_converts() {
        #[derive(Debug)]
        struct Wrapper(io::Error);
        impl fmt::Display for Wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot load")
            }
        }
        impl std::error::Error for Wrapper {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        type Boxed = Box<dyn std::error::Error + Send + Sync>;
        type Case = (fn() -> crate::Result<()>, &'static str, &'static str);
        let cases: [Case; 8] = [
            (|| Err("sold out")?, "Error", "sold out"),
            (|| Err(String::from("sold out"))?, "Error", "sold out"),
            (|| Err(Cow::Borrowed("sold out"))?, "Error", "sold out"),
            (|| Err(io::Error::other("disk"))?, "io::Error", "disk"),
            (|| Err(Boxed::from("sold out"))?, "Error", "sold out"),
            (|| Err(Boxed::from(Wrapper(io::Error::other("disk"))))?, "io::Error", "cannot load: disk"),
            (|| Err(Wrapper(io::Error::other("disk")))?, "Wrapper", "cannot load: disk"),
            (|| "x".parse::<u8>().map(drop).map_err(Error::new), "ParseIntError", "invalid digit found in string"),
        ];
        for (callback, error_type, message) in cases {
            let error = callback().unwrap_err();
            assert_eq!((error.error_type(), &*error.to_string(), error.status()), (error_type, message, 500));
        }
        let local = Error::from_boxed(Box::new(io::Error::other("here")));
        assert_eq!(format!("{local:?}"), "io::Error: here");
    }

    #[test]
    fn statuses_are_those_of_failures() {
        for (status, fine) in [(200, false), (399, false), (400, true), (599, true), (600, false)] {
            assert_eq!(Error::msg("x").with_status(status).is_ok(), fine, "{status}");
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
