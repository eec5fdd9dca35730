//! The reasons to reject a request before any callback sees it.
//!
//! The peer broke HTTP or a limit. The error is `Copy`, needs no heap, and knows the status of the answer.

use std::fmt;

/// The reason why a request is rejected.
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
    Overloaded,
}

impl ProtocolError {
    /// The status of the answer. The connection closes after it.
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
            Overloaded => 503,
            BareLineFeed | MalformedHead | TargetForm | Host | ContentLength | TransferEncoding | LengthAndCoding
            | ChunkSize | ChunkEnd | ChunkOverhead | Trailer => 400,
        }
    }

    /// The message for the client and the log: ASCII without quotes.
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
            TransferEncoding => "unsupported Transfer-Encoding",
            UnknownCoding => "unsupported transfer coding",
            LengthAndCoding => "the request has both Content-Length and Transfer-Encoding",
            Expectation => "unsupported expectation",
            BodyTooLarge => "the body is too large",
            ChunkSize => "a chunk size is malformed",
            ChunkEnd => "chunk data is not followed by CRLF",
            ChunkOverhead => "chunk extensions and trailers are too large",
            Trailer => "a trailer line is malformed",
            HeadTimeout => "the head took too long to arrive",
            BodyTimeout => "the body took too long to arrive",
            Overloaded => "request buffer limit reached",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
