//! From a request that tiny_http has read to one that obeys the rules: its head is written as bytes again, for
//! [`head::parse`] to judge, and its body is read whole.
//!
//! tiny_http decides by itself how a body is framed. This module believes it only where the head allows no other
//! reading. Must not know callbacks or replies.

use crate::http1::error::ProtocolError;
use crate::http1::head::{self, Framing, HeadEndFinder};
use crate::limits::Limits;
use crate::server::sys::find_socket_by_peer::find_socket_by_peer;
use rustix::net::RecvFlags;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

/// Why a body could not be read.
pub(super) enum NoBody {
    Refused(Refusal),
    /// The client left in the middle of it.
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

/// The head as the client could have sent it. tiny_http keeps no white space around values.
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
    // tiny_http may take for one line what another server takes for two.
    if HeadEndFinder::default().find(&bytes)? != Some(bytes.len()) {
        return Err(ProtocolError::MalformedHead);
    }
    Ok(bytes)
}

/// Reads the body, on this thread, for as long as it takes.
pub(super) fn body(
    request: &mut ::tiny_http::Request,
    framing: Framing,
    limits: &Limits,
    listener: Option<SocketAddr>,
) -> Result<Vec<u8>, NoBody> {
    let mut bytes = Vec::new();
    match framing {
        Framing::Sized(length) => {
            // They agree in tiny_http 0.12. If they did not, tiny_http would read a part of the body as a request.
            if request.body_length().unwrap_or(0) != length {
                return Err(LENGTH_UNLIKE_OURS.into());
            }
            if length > 0 {
                let read = request.as_reader().take(length as u64).read_to_end(&mut bytes);
                read.ok().filter(|read| *read == length).ok_or(NoBody::ClientLeft)?;
            }
        }
        Framing::Chunked => {
            // tiny_http does not decode the body of a request to upgrade.
            if connection(request).is_some_and(|value| value.contains("upgrade")) {
                return Err(CHUNKS_AND_UPGRADE.into());
            }
            let most = limits.body_bytes_max as u64 + 1;
            match request.as_reader().take(most).read_to_end(&mut bytes) {
                Ok(read) if read > limits.body_bytes_max => return Err(ProtocolError::BodyTooLarge.into()),
                Ok(_) if may_be_cut(request, listener) => return Err(CHUNKS_AND_END.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(MALFORMED_CHUNKS.into()),
                Err(_) => return Err(NoBody::ClientLeft),
            }
        }
    }
    Ok(bytes)
}

/// tiny_http takes the end of the connection for the end of a chunked body, even in the middle of a chunk. So a client
/// that has closed its side behind such a body is refused, although it may have sent the last chunk.
fn may_be_cut(request: &::tiny_http::Request, listener: Option<SocketAddr>) -> bool {
    let connection = request.remote_addr().map(|peer| find_socket_by_peer(*peer, listener));
    let Some(Ok(Some(connection))) = connection else { return true };
    let next = rustix::net::recv(&connection.socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(next, Ok((_, 1..)) | Err(rustix::io::Errno::AGAIN))
}

/// Whether tiny_http reads no further request from the connection. This is its own rule, not that of RFC 9112.
pub(super) fn is_last(request: &::tiny_http::Request) -> bool {
    let http10 = *request.http_version() <= (1, 0);
    match connection(request) {
        Some(value) if value.contains("close") || value.contains("upgrade") => true,
        Some(value) => http10 && !value.contains("keep-alive"),
        None => http10,
    }
}

/// The value that tiny_http decides by, in lower case.
fn connection(request: &::tiny_http::Request) -> Option<String> {
    let first = request.headers().iter().find(|header| header.field.equiv("Connection"))?;
    Some(first.value.as_str().to_ascii_lowercase())
}

/// Gives the connection back to tiny_http without an answer from it: tiny_http answers requests that are dropped.
/// `None` if it does not get the connection back.
pub(super) fn release(request: ::tiny_http::Request) -> Option<Box<dyn Write + Send>> {
    // To skip the unread part of a body, tiny_http allocates as much memory. Where that would end the process, the
    // thread that waits for this connection is given up.
    if let Some(bytes) = request.body_length().filter(|bytes| Vec::<u8>::new().try_reserve_exact(*bytes).is_err()) {
        log::error!("a request announces a body of {bytes} bytes: tiny_http loses a thread to it");
        std::mem::forget(request);
        return None;
    }
    Some(request.into_writer())
}
