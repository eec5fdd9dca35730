//! One connection's output: the bytes of the response in hand that are still to be written.
//!
//! There is at most one response at a time: the next request is not looked at before this one is sent. Memory is
//! bounded by the response's own bytes, or by one chunk of a streamed one. Must not know sockets, calls or logs.

use crate::function::dispatch::Answer;
use crate::function::reply::{self, Body, Reply, Source};
use crate::http1::head::RequestMeta;
use crate::http1::response_head::{self, BodyEnd, ConnectionHeader, ResponseHead};
use crate::platform::headers;
use crate::tuning::{COALESCE_BYTES_MAX, STREAM_CHUNK_BYTES};
use std::io;
use std::ops::Range;

#[derive(Default)]
pub(crate) struct ResponseWriter {
    head: Vec<u8>,
    head_sent: usize,
    body: Bytes,
    body_sent: usize,
    stream: Option<Stream>,
    copied: Vec<u8>,
}

#[derive(Default)]
enum Bytes {
    #[default]
    None,
    Static(&'static [u8]),
    Owned(Vec<u8>),
    /// A part of a request's memory.
    OfRequest(Vec<u8>, Range<usize>),
}

/// A body that is still being pulled from the author's reader.
struct Stream {
    source: Source,
    end: BodyEnd,
    /// Bytes that the announced length leaves; `u64::MAX` where none is announced.
    left: u64,
}

/// What one pull from the author's reader gave.
pub(crate) enum StreamPoll {
    /// There are bytes to send, and more may follow.
    More,
    /// The stream has ended. Its last bytes, if any, are to be sent.
    Last,
    /// The author's reader failed: the response cannot be completed.
    Failed(io::Error),
}

impl ResponseWriter {
    /// Nothing is left of the response, and nothing more will come.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_unsent() && !self.is_streaming()
    }

    #[inline(always)]
    pub(crate) fn has_unsent(&self) -> bool {
        let (head, body) = self.unsent();
        !(head.is_empty() && body.is_empty())
    }

    /// The bytes of memory that count against [`Limits::buffered_bytes_max`](crate::Limits::buffered_bytes_max).
    pub(crate) fn held(&self) -> usize {
        match &self.body {
            Bytes::Owned(bytes) | Bytes::OfRequest(bytes, _) => reply::held(bytes),
            Bytes::None | Bytes::Static(_) => 0,
        }
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    /// The body is close-delimited, so the connection must end with FIN: a reset would say that the body is not whole.
    pub(crate) fn ends_by_close(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.end == BodyEnd::Close)
    }

    /// The bytes to write next: first those of the head, then those of the body.
    #[inline(always)]
    pub(crate) fn unsent(&self) -> (&[u8], &[u8]) {
        let body: &[u8] = match &self.body {
            Bytes::None => &[],
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::OfRequest(request, body) => &request[body.clone()],
        };
        (&self.head[self.head_sent..], &body[self.body_sent..])
    }

    /// So many of the unsent bytes were written.
    pub(crate) fn advance(&mut self, bytes: usize) {
        let of_head = bytes.min(self.head.len() - self.head_sent);
        self.head_sent += of_head;
        self.body_sent += bytes - of_head;
        if !self.has_unsent() {
            self.head.clear();
            self.head_sent = 0;
            self.body = Bytes::None;
            self.body_sent = 0;
        }
    }

    /// Whether the head has no buffer; if so, attach one before a response is started.
    pub(crate) fn wants_buffer(&self) -> bool {
        self.head.capacity() == 0
    }

    pub(crate) fn attach(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.wants_buffer());
        self.head = buffer;
    }

    /// Gives the buffer back once nothing is left to send.
    pub(crate) fn detach(&mut self) -> Option<Vec<u8>> {
        if self.wants_buffer() || !self.is_empty() { None } else { Some(std::mem::take(&mut self.head)) }
    }

    /// For bytes that are not an author's reply: `100 Continue`, a rejection.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// A small body whose bytes were copied behind the head.
    pub(crate) fn take_copied_body(&mut self) -> Option<Vec<u8>> {
        if self.copied.capacity() == 0 { None } else { Some(std::mem::take(&mut self.copied)) }
    }

    /// Starts the response to a request. `keep` asks for the connection to stay open; the return value says whether it
    /// can.
    pub(crate) fn start(&mut self, answer: Answer, meta: &RequestMeta, method: &str, keep: bool) -> bool {
        let Answer { reply, failed, .. } = answer;
        let has_content = reply.has_content(method);
        let end = body_end(&reply, method, meta.http10);
        let keep = keep && end != BodyEnd::Close;
        let connection = match (keep, meta.http10) {
            (false, _) => ConnectionHeader::Close,
            (true, true) => ConnectionHeader::KeepAlive,
            (true, false) => ConnectionHeader::Omit,
        };
        let extra_lines = headers::status_line(failed);
        let head = ResponseHead { status: reply.status, extra_lines, end, connection };
        // The type follows from a body, and statuses without a body have none to describe (RFC 9110 §15.4.5).
        let content_type = reply.content_type.filter(|_| has_content || reply.has_content("GET"));
        response_head::write_head(&mut self.head, &head, content_type, reply.header_lines());
        if !has_content {
            return keep;
        }
        match reply.body {
            Body::Stream(source, left) => {
                self.stream = Some(Stream { source, end, left: left.unwrap_or(u64::MAX) });
            }
            Body::Static(bytes) if bytes.len() <= COALESCE_BYTES_MAX => self.head.extend_from_slice(bytes),
            Body::Owned(bytes) if bytes.len() <= COALESCE_BYTES_MAX => {
                self.head.extend_from_slice(&bytes);
                if bytes.capacity() <= COALESCE_BYTES_MAX {
                    self.copied = bytes;
                }
            }
            Body::Static(bytes) => self.body = Bytes::Static(bytes),
            // It is handed over.
            Body::OfRequest(_) => {}
            Body::Owned(bytes) => self.body = Bytes::Owned(bytes),
        }
        keep
    }

    /// The body of a reply that has that of its request.
    pub(crate) fn hand_over(&mut self, request: Vec<u8>, body: Range<usize>) {
        debug_assert!(matches!(self.body, Bytes::None) && self.body_sent == 0 && body.end <= request.len());
        self.body = Bytes::OfRequest(request, body);
    }

    /// Pulls the next piece of a streamed body, once all bytes before it are sent.
    pub(crate) fn pull(&mut self) -> StreamPoll {
        let Some(mut stream) = self.stream.take() else { unreachable!("only a streaming response is pulled") };
        let chunked = stream.end == BodyEnd::Chunked;
        let mut data = Vec::with_capacity(STREAM_CHUNK_BYTES);
        // The line end behind a chunk must fit as well.
        let most = STREAM_CHUNK_BYTES - if chunked { CHUNK_END.len() } else { 0 };
        let wanted = usize::try_from(stream.left).unwrap_or(usize::MAX).min(most);
        data.resize(wanted, 0);
        let bytes = match if wanted == 0 { Ok(0) } else { stream.source.read(&mut data) } {
            Ok(0) if stream.left > 0 && matches!(stream.end, BodyEnd::Length(_)) => {
                return StreamPoll::Failed(io::Error::other("the stream ended before its length"));
            }
            Ok(0) => {
                if chunked {
                    self.head.extend_from_slice(response_head::LAST_CHUNK);
                }
                return StreamPoll::Last;
            }
            Ok(bytes) => bytes,
            Err(error) => return StreamPoll::Failed(error),
        };
        data.truncate(bytes);
        if chunked {
            response_head::chunk_size(&mut self.head, bytes);
            data.extend_from_slice(CHUNK_END);
        }
        self.body = Bytes::Owned(data);
        if !chunked && stream.left != u64::MAX {
            stream.left -= bytes as u64;
            if stream.left == 0 {
                return StreamPoll::Last;
            }
        }
        self.stream = Some(stream);
        StreamPoll::More
    }

    /// Gives the rest of the response up; the buffer stays.
    pub(crate) fn abandon(&mut self) {
        self.head.clear();
        *self = ResponseWriter { head: std::mem::take(&mut self.head), ..ResponseWriter::default() };
    }
}

const CHUNK_END: &[u8] = b"\r\n";

/// RFC 9110 §15.3.6: a 205 has no content.
const RESET_CONTENT: u16 = 205;

fn body_end(reply: &Reply, method: &str, http10: bool) -> BodyEnd {
    match (reply.status, &reply.body) {
        (204 | 304, _) => BodyEnd::NoBody,
        (RESET_CONTENT, _) => BodyEnd::Length(0),
        (_, Body::Static(bytes)) => BodyEnd::Length(bytes.len() as u64),
        (_, Body::Owned(bytes)) => BodyEnd::Length(bytes.len() as u64),
        (_, Body::OfRequest(bytes)) => BodyEnd::Length(*bytes as u64),
        (_, Body::Stream(_, Some(bytes))) => BodyEnd::Length(*bytes),
        // No stream follows, so nothing is chunked and nothing ends by a close (RFC 9110 §9.3.2).
        (_, Body::Stream(_, None)) if method == "HEAD" => BodyEnd::NoBody,
        (_, Body::Stream(_, None)) if http10 => BodyEnd::Close,
        (_, Body::Stream(_, None)) => BodyEnd::Chunked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::Framing;

    /// A full chunk stays in the memory that it was read into, and does not count against the memory budget.
    #[test]
    fn a_streams_chunk_is_bounded_to_the_byte() {
        for http10 in [false, true] {
            let meta = RequestMeta { framing: Framing::Sized(0), keep_alive: true, expects_continue: false, http10 };
            let mut response = ResponseWriter::default();
            let reply = Reply::stream(io::repeat(b'x'));
            let answer = Answer { reply, failed: false, dropped: false, streaming: None };
            response.start(answer, &meta, "GET", true);
            let head_bytes = response.unsent().0.len();
            response.advance(head_bytes);
            for _ in 0..3 {
                assert!(matches!(response.pull(), StreamPoll::More));
                let (head, body) = response.unsent();
                let whole = head.len() + body.len();
                assert_eq!((body.len(), response.held()), (STREAM_CHUNK_BYTES, 0), "HTTP/1.0: {http10}");
                response.advance(whole);
            }
        }
    }
}
