//! From what tiny_http has read to a request that obeys the rules: its head as bytes again, for [`head::parse`] to
//! judge, and its body, whole.
//!
//! tiny_http decides by itself how a body is framed. What it decided is only believed where the head leaves no choice.
//! Must not know callbacks or replies.

use crate::http1::error::ProtocolError;
use crate::http1::head::{self, Framing, HeadEndFinder};
use crate::limits::Limits;
use crate::server::sys::accepted::accepted_from;
use rustix::net::RecvFlags;
use std::io::{self, Read, Write};

/// Why a body is not there.
pub(super) enum NoBody {
    Refused(Refusal),
    /// The client has gone away in the middle.
    ClientLeft,
}

/// A status and a reason for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: &'static str,
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Refusal {
        Refusal { status: error.status(), message: error.message() }
    }
}

impl<R: Into<Refusal>> From<R> for NoBody {
    fn from(refusal: R) -> NoBody {
        NoBody::Refused(refusal.into())
    }
}

const LENGTH_UNLIKE_OURS: Refusal = Refusal { status: 400, message: "Content-Length is not one whole number" };
const MALFORMED_CHUNKS: Refusal = Refusal { status: 400, message: "the chunked body is malformed or has trailers" };
const CHUNKS_AND_END: Refusal =
    Refusal { status: 400, message: "the client closed behind a chunked body: it may be cut" };
const CHUNKS_AND_UPGRADE: Refusal =
    Refusal { status: 501, message: "Transfer-Encoding and Connection: upgrade together" };

/// The head as it could have been sent. Of white space around values tiny_http has kept nothing.
pub(super) fn head_bytes(request: &::tiny_http::Request, limits: &Limits) -> Result<Vec<u8>, ProtocolError> {
    let mut bytes = Vec::with_capacity(1024);
    let mut line = |parts: &[&str]| parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
    let version = request.http_version().to_string();
    line(&[request.method().as_str(), " ", request.url(), " HTTP/", &version, "\r\n"]);
    for header in request.headers() {
        line(&[header.field.as_str().as_str(), ": ", header.value.as_str(), "\r\n"]);
    }
    line(&["\r\n"]);
    if bytes.len() > limits.head_bytes_max {
        return Err(head::oversized_error(&bytes, limits));
    }
    // What tiny_http takes for one line, others may take for two.
    if HeadEndFinder::default().find(&bytes)? != Some(bytes.len()) {
        return Err(ProtocolError::MalformedHead);
    }
    Ok(bytes)
}

/// Reads the body, on this thread, for as long as it takes.
pub(super) fn body(request: &mut ::tiny_http::Request, framing: Framing, limits: &Limits) -> Result<Vec<u8>, NoBody> {
    let mut bytes = Vec::new();
    match framing {
        Framing::Sized(length) => {
            // They agree with tiny_http 0.12. Were they not to, it would take a part of the body for a request.
            if request.body_length().unwrap_or(0) != length {
                return Err(LENGTH_UNLIKE_OURS.into());
            }
            if length > 0 {
                let read = request.as_reader().take(length as u64).read_to_end(&mut bytes);
                read.ok().filter(|read| *read == length).ok_or(NoBody::ClientLeft)?;
            }
        }
        Framing::Chunked => {
            // Of a request to upgrade tiny_http hands the body over as it was sent.
            if connection(request).is_some_and(|value| value.contains("upgrade")) {
                return Err(CHUNKS_AND_UPGRADE.into());
            }
            let most = limits.body_bytes_max as u64 + 1;
            match request.as_reader().take(most).read_to_end(&mut bytes) {
                Ok(read) if read > limits.body_bytes_max => return Err(ProtocolError::BodyTooLarge.into()),
                Ok(_) if may_be_cut(request) => return Err(CHUNKS_AND_END.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(MALFORMED_CHUNKS.into()),
                Err(_) => return Err(NoBody::ClientLeft),
            }
        }
    }
    Ok(bytes)
}

/// tiny_http takes the end of the connection for the end of a chunked body, in the middle of a chunk too. So behind
/// such a body a client must not have closed its side, although it might have sent the last chunk before.
fn may_be_cut(request: &::tiny_http::Request) -> bool {
    let connection = request.remote_addr().map(|peer| accepted_from(*peer));
    let Some(Ok(Some(connection))) = connection else { return true };
    let next = rustix::net::recv(&connection.socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(next, Ok((_, 1..)) | Err(rustix::io::Errno::AGAIN))
}

/// Whether tiny_http reads no further request from the connection; its rule, not that of RFC 9112.
pub(super) fn is_last(request: &::tiny_http::Request) -> bool {
    let http10 = *request.http_version() <= (1, 0);
    match connection(request) {
        Some(value) if value.contains("close") || value.contains("upgrade") => true,
        Some(value) => http10 && !value.contains("keep-alive"),
        None => http10,
    }
}

/// The header that tiny_http goes by, in lower case.
fn connection(request: &::tiny_http::Request) -> Option<String> {
    let first = request.headers().iter().find(|header| header.field.equiv("Connection"))?;
    Some(first.value.as_str().to_ascii_lowercase())
}

/// Gives the connection back to tiny_http, and the right to answer to us: it answers requests that are dropped. None if
/// it does not get the connection back.
pub(super) fn release(request: ::tiny_http::Request) -> Option<Box<dyn Write + Send>> {
    // To skip what is unread of a body, tiny_http allocates as much. Where that would end the process, the thread that
    // waits for this connection is given up.
    if let Some(bytes) = request.body_length().filter(|bytes| Vec::<u8>::new().try_reserve_exact(*bytes).is_err()) {
        log::error!("a request with a body of {bytes} bytes costs a thread");
        std::mem::forget(request);
        return None;
    }
    Some(request.into_writer())
}
