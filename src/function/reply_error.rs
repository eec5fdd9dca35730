//! The error of a reply that cannot be built.

use std::fmt;

/// The reason why a reply cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The status is not between 200 and 599.
    Status,
    /// A header name is empty or holds a character that names cannot hold.
    HeaderName,
    /// A header value holds a control character.
    HeaderValue,
    /// The server writes this header itself.
    OwnedByServer,
    /// The headers together are larger than the platform lets through.
    HeadersTooLarge,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplyError::Status => "the reply's status is not between 200 and 599",
            ReplyError::HeaderName => "the header's name is not a token",
            ReplyError::HeaderValue => "the header's value holds a control character",
            ReplyError::OwnedByServer => "the server writes this header itself",
            ReplyError::HeadersTooLarge => "the reply's headers are larger than the platform lets through",
        })
    }
}

impl std::error::Error for ReplyError {}
