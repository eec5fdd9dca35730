//! The three families of errors, kept apart because different people have to act on them.
//!
//! - [`ProtocolError`]: the peer broke HTTP or a limit. `Copy`, no heap, knows its status.
//! - [`Error`]: the author's callback failed. Takes any `std::error::Error` through `?`.
//! - [`StartError`]: the process cannot do what it was started for. Verb, object, cause.

use std::fmt::{self, Write};
use std::io;

/// Why a request was refused before any callback saw it, and the status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    BareLineFeed,
    MalformedHead,
    Version,
    TargetForm,
    TargetTooLong,
    HeadTooLarge,
    TooManyHeaders,
    Host,
    ContentLength,
    TransferEncoding,
    UnknownCoding,
    LengthAndCoding,
    Expectation,
    BodyTooLarge,
    ChunkSize,
    ChunkEnd,
    ChunkOverhead,
    Trailer,
    HeadTimeout,
    BodyTimeout,
    NoMemory,
}

impl ProtocolError {
    /// The status of the answer; the connection closes behind it.
    pub(crate) const fn status(self) -> u16 {
        use ProtocolError::*;
        match self {
            TargetTooLong => 414,
            HeadTooLarge | TooManyHeaders => 431,
            BodyTooLarge => 413,
            Expectation => 417,
            UnknownCoding => 501,
            Version => 505,
            HeadTimeout | BodyTimeout => 408,
            NoMemory => 503,
            BareLineFeed | MalformedHead | TargetForm | Host | ContentLength | TransferEncoding | LengthAndCoding
            | ChunkSize | ChunkEnd | ChunkOverhead | Trailer => 400,
        }
    }

    /// What is wrong, for the client and the log; plain ASCII without quotes, so that it fits JSON as it is.
    pub(crate) const fn message(self) -> &'static str {
        use ProtocolError::*;
        match self {
            BareLineFeed => "a line of the head ends in LF without CR",
            MalformedHead => "the head is not HTTP/1.1",
            Version => "the HTTP version is neither 1.0 nor 1.1",
            TargetForm => "the request target is neither a path nor an absolute http URI",
            TargetTooLong => "the request target is too long",
            HeadTooLarge => "the head is too large",
            TooManyHeaders => "the head has too many headers",
            Host => "HTTP/1.1 needs exactly one Host header, with one host",
            ContentLength => "Content-Length is not one whole number",
            TransferEncoding => "Transfer-Encoding is not one chunked of HTTP/1.1",
            UnknownCoding => "a transfer coding other than chunked",
            LengthAndCoding => "Content-Length and Transfer-Encoding together",
            Expectation => "an expectation other than 100-continue",
            BodyTooLarge => "the body is too large",
            ChunkSize => "a chunk size is malformed",
            ChunkEnd => "chunk data is not followed by CRLF",
            ChunkOverhead => "chunk extensions and trailers are too large",
            Trailer => "a trailer line is malformed",
            HeadTimeout => "the head took too long to arrive",
            BodyTimeout => "the body took too long to arrive",
            NoMemory => "there is no memory for the request",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Somebody else's words as part of one log line. A caller whose words end up in an error could write lines of its own
/// otherwise, log markers among them (C-LOG-1).
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

    #[test]
    fn start_errors_name_object_and_cause() {
        let cause = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(
            StartError::io("listen on 0.0.0.0:9000", &cause).to_string(),
            "cannot listen on 0.0.0.0:9000: address in use"
        );
    }

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
