//! One connection's input: from bytes to whole requests.
//!
//! The decoder owns the unread bytes and the time limits of head and body. It has a buffer only while bytes are
//! pending, so an idle connection holds none. Must not know sockets, replies or callbacks: the server asks
//! [`RequestDecoder::advance`] for the next step and answers every [`Step::Request`] before it asks again.
//!
//! The layout of the buffer from `start` on: `[head][decoded body][decoded framing][raw bytes]`. A whole request
//! borrows from it until [`RequestDecoder::consume`] drops the request; the raw bytes belong to the next pipelined
//! request.

use crate::http1::chunked::{Decoder, Progress};
use crate::http1::error::ProtocolError;
use crate::http1::fields::Header;
use crate::http1::head::{self, Framing, Head, HeadEndFinder};
use crate::limits::Limits;
use crate::tuning::{FIRST_READ_BYTES, GROWTH_BYTES, READ_BYTES, READ_BYTES_MAX, SPARE_BYTES_MAX};
use std::ops::Range;
use std::time::Duration;

/// The input side of one connection. Times are readings of the awake clock.
pub(crate) struct RequestDecoder {
    buffer: Vec<u8>,
    start: usize,
    state: State,
    deadline: Option<Duration>,
}

enum State {
    /// Waiting for a head, or inside one.
    Head(HeadEndFinder),
    Body {
        head_bytes: usize,
        body: Body,
    },
    /// The server has a request of `total` bytes, which awaits `consume`. Its body ends before that where it was
    /// chunked.
    Delivered {
        head_bytes: usize,
        body_bytes: usize,
        total: usize,
    },
    /// The request was rejected, or the peer's input ended: no more HTTP is read.
    Finished,
}

enum Body {
    Sized(usize),
    Chunked(Decoder, Progress),
}

/// The server's next step.
pub(crate) enum Step<'a> {
    /// Read more. Nothing is wrong so far.
    NeedMore,
    /// The head is complete, its body is not. Send `100 Continue` if `send_continue` says so, then ask again.
    HeadDone { send_continue: bool },
    /// Answer this request, then `consume` it.
    Request(Head<'a>, &'a [u8]),
    /// Answer with the status of this error, then close.
    Refuse(ProtocolError),
}

impl RequestDecoder {
    pub(crate) fn new() -> RequestDecoder {
        RequestDecoder { buffer: Vec::new(), start: 0, state: State::Head(HeadEndFinder::default()), deadline: None }
    }

    /// No request has begun, so a close loses nothing.
    #[inline(always)]
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head(_)) && self.pending().is_empty()
    }

    /// No complete head has come since the last request.
    #[cfg(test)]
    pub(crate) fn is_before_body(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// The deadline of the head or body in progress. An idle connection has none (C-CONN-1).
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The buffer to read into, with space for at least one more byte.
    ///
    /// # Errors
    /// [`ProtocolError::Overloaded`]: the allocation fails, or [`RequestDecoder::held`] would grow by more than
    /// `allowance`.
    pub(crate) fn buffer_for_reading(&mut self, allowance: usize) -> Result<&mut Vec<u8>, ProtocolError> {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let missing = self.body_bytes_missing().unwrap_or(usize::MAX);
        let wanted = missing.clamp(1, FIRST_READ_BYTES / 4);
        if self.spare_bytes() < wanted && self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.spare_bytes() < wanted {
            // The buffer gets four times as large, but never beyond what the body still needs: a 32 MiB body takes
            // 32 MiB, not 64. Nor does it grow by more than one read may take, because other connections wait for that
            // read. A client has sent a quarter of what it makes us reserve.
            let growth = missing.clamp(1, (3 * self.buffer.len()).clamp(GROWTH_BYTES, READ_BYTES_MAX));
            let most = self.buffer.capacity().max(SPARE_BYTES_MAX).saturating_add(allowance);
            let growth = growth.min(most - self.buffer.len());
            if growth < wanted {
                return Err(ProtocolError::Overloaded);
            }
            self.buffer.try_reserve_exact(growth).map_err(|_| ProtocolError::Overloaded)?;
        }
        Ok(&mut self.buffer)
    }

    /// The bytes of memory that count against [`Limits::buffered_bytes_max`].
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity().saturating_sub(SPARE_BYTES_MAX)
    }

    /// Whether there is no buffer. If so, `attach` one before reading.
    pub(crate) fn wants_buffer(&self) -> bool {
        self.buffer.capacity() == 0
    }

    pub(crate) fn attach(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.wants_buffer() && buffer.is_empty());
        self.buffer = buffer;
    }

    /// Returns the buffer if it holds nothing.
    pub(crate) fn detach(&mut self) -> Option<Vec<u8>> {
        if !self.pending().is_empty() || self.wants_buffer() {
            return None;
        }
        self.start = 0;
        self.buffer.clear();
        Some(std::mem::take(&mut self.buffer))
    }

    /// The next step, from the bytes read so far. Call until it is `NeedMore` or `Refuse`.
    pub(crate) fn advance<'s, 'a: 's>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        storage: &'s mut Vec<Header<'a>>,
    ) -> Step<'s> {
        match self.try_advance(now, limits, storage) {
            Ok(step) => step,
            Err(error) => Step::Refuse(error),
        }
    }

    fn try_advance<'s, 'a: 's>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        storage: &'s mut Vec<Header<'a>>,
    ) -> Result<Step<'s>, ProtocolError> {
        match self.state {
            State::Head(_) => self.advance_head(now, limits, storage),
            State::Body { .. } => self.advance_body(limits, storage),
            State::Delivered { .. } | State::Finished => Ok(Step::NeedMore),
        }
    }

    fn advance_head<'s, 'a: 's>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        storage: &'s mut Vec<Header<'a>>,
    ) -> Result<Step<'s>, ProtocolError> {
        let State::Head(scan) = &mut self.state else { unreachable!("called in state Head") };
        // RFC 9112 §2.2: empty lines in front of a request are ignored.
        while *scan == HeadEndFinder::default() && self.buffer[self.start..].starts_with(b"\r\n") {
            self.start += 2;
        }
        let pending = &self.buffer[self.start..];
        match pending {
            [] => {
                self.deadline = None;
                return Ok(Step::NeedMore);
            }
            // Perhaps half an empty line.
            [b'\r'] => {
                self.deadline.get_or_insert(now + limits.head_time_max);
                return Ok(Step::NeedMore);
            }
            // A method begins with a visible character. Other first bytes, such as a TLS ClientHello, are rejected at
            // once.
            [first, ..] if !first.is_ascii_graphic() && *first != b'\n' => return Err(ProtocolError::MalformedHead),
            _ => {}
        }
        // Most heads arrive whole. Then the parser finds the end too; only if that fails, the end is searched for.
        let first_look = *scan == HeadEndFinder::default();
        let whole = if first_look { Some(pending.len()) } else { end_of_head(scan, pending, limits)? };
        let parsed = match whole.map(|end| head::parse(&pending[..end], storage, limits)) {
            Some(Err(_)) if first_look && end_of_head(scan, pending, limits)?.is_none() => None,
            outcome => outcome.transpose()?,
        };
        let Some((head, head_bytes)) = parsed else {
            self.deadline.get_or_insert(now + limits.head_time_max);
            return Ok(Step::NeedMore);
        };
        if head_bytes > limits.head_bytes_max {
            return Err(head::oversized_error(&pending[..head_bytes], limits));
        }
        let meta = head.meta;
        let arrived = pending.len() - head_bytes;
        if let Framing::Sized(body_bytes) = meta.framing
            && arrived >= body_bytes
        {
            self.deadline = None;
            self.state = State::Delivered { head_bytes, body_bytes, total: head_bytes + body_bytes };
            return Ok(Step::Request(head, &pending[head_bytes..head_bytes + body_bytes]));
        }
        let body = match meta.framing {
            Framing::Sized(body_bytes) => Body::Sized(body_bytes),
            Framing::Chunked => Body::Chunked(Decoder::new(), Progress { read: 0, written: 0, done: false }),
        };
        self.state = State::Body { head_bytes, body };
        self.deadline = Some(now + limits.body_time_max);
        // A client that has begun to send the body does not wait (RFC 9110 §10.1.1).
        Ok(Step::HeadDone { send_continue: meta.expects_continue && arrived == 0 })
    }

    fn advance_body<'s, 'a: 's>(
        &'a mut self,
        limits: &Limits,
        storage: &'s mut Vec<Header<'a>>,
    ) -> Result<Step<'s>, ProtocolError> {
        let State::Body { head_bytes, body, .. } = &mut self.state else { unreachable!("called in state Body") };
        let head_bytes = *head_bytes;
        let region = &mut self.buffer[self.start + head_bytes..];
        let (body_bytes, total) = match body {
            Body::Sized(bytes) if region.len() < *bytes => return Ok(Step::NeedMore),
            Body::Sized(bytes) => (*bytes, head_bytes + *bytes),
            Body::Chunked(decoder, progress) => {
                *progress = decoder.decode(region, progress.read, progress.written, limits.body_bytes_max)?;
                if !progress.done {
                    // All raw bytes are decoded, so the next ones follow the decoded ones.
                    self.buffer.truncate(self.start + head_bytes + progress.written);
                    progress.read = progress.written;
                    return Ok(Step::NeedMore);
                }
                (progress.written, head_bytes + progress.read)
            }
        };
        let request = &self.buffer[self.start..];
        // The head was parsed before the body arrived. To parse it again is cheaper than to keep 128 headers.
        let (head, _) = head::parse(&request[..head_bytes], storage, limits)?;
        self.deadline = None;
        self.state = State::Delivered { head_bytes, body_bytes, total };
        Ok(Step::Request(head, &request[head_bytes..head_bytes + body_bytes]))
    }

    /// Drops the request that the server has answered.
    pub(crate) fn consume(&mut self) {
        let State::Delivered { total, .. } = self.state else { unreachable!("only a delivered request is consumed") };
        self.start += total;
        self.state = State::Head(HeadEndFinder::default());
        if self.buffer.capacity() > SPARE_BYTES_MAX && (1..=READ_BYTES).contains(&self.pending().len()) {
            // The first bytes of the next request do not need the memory of a large body.
            self.buffer.drain(..self.start);
            self.buffer.shrink_to(READ_BYTES);
            self.start = 0;
        }
    }

    /// Drops the request, and gives away the memory that it is in. Returns the place of its body there too.
    #[cold]
    pub(crate) fn take_body(&mut self) -> (Vec<u8>, Range<usize>) {
        let State::Delivered { head_bytes, body_bytes, total } = self.state else {
            unreachable!("only a delivered request has a body")
        };
        let begin = self.start + head_bytes;
        let mut rest = Vec::new();
        if let Some(behind @ [_, ..]) = self.buffer.get(self.start + total..) {
            // The next request has begun.
            rest.reserve(behind.len().max(FIRST_READ_BYTES));
            rest.extend_from_slice(behind);
        }
        self.start = 0;
        self.state = State::Head(HeadEndFinder::default());
        (std::mem::replace(&mut self.buffer, rest), begin..begin + body_bytes)
    }

    /// The error when the deadline has passed.
    pub(crate) fn overdue(&self) -> ProtocolError {
        if matches!(self.state, State::Head(_)) { ProtocolError::HeadTimeout } else { ProtocolError::BodyTimeout }
    }

    /// Whether the bytes so far begin a HEAD request, whose answer has no content (RFC 9110 §9.3.2).
    pub(crate) fn is_by_head(&self) -> bool {
        let is_blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let begin = self.pending().iter().position(|byte| !is_blank(byte)).unwrap_or(0);
        self.pending()[begin..].starts_with(b"HEAD ")
    }

    /// Takes no more requests from this connection and drops the buffered bytes.
    pub(crate) fn finish(&mut self) {
        self.state = State::Finished;
        self.deadline = None;
        self.buffer.clear();
        self.buffer.shrink_to(READ_BYTES);
        self.start = 0;
    }

    #[inline(always)]
    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn spare_bytes(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    fn body_bytes_missing(&self) -> Option<usize> {
        match &self.state {
            State::Body { head_bytes, body: Body::Sized(bytes), .. } => {
                Some((self.start + head_bytes + bytes).saturating_sub(self.buffer.len()))
            }
            _ => None,
        }
    }
}

/// The length of the head, if its end is there; an error as soon as it is too large.
fn end_of_head(scan: &mut HeadEndFinder, pending: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
    let end = scan.find(pending)?;
    let head = end.map_or(pending, |end| &pending[..end]);
    let too_large =
        if end.is_some() { head.len() > limits.head_bytes_max } else { head.len() >= limits.head_bytes_max };
    if too_large { Err(head::oversized_error(head, limits)) } else { Ok(end) }
}

#[cfg(test)]
mod tests;
