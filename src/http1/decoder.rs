//! One connection's input: from bytes to whole requests.
//!
//! Owns the unread bytes and the time limits of head and body. A buffer is lent only while bytes are pending, so an
//! idle connection holds none. Must not know sockets, replies or callbacks: the server asks [`RequestDecoder::advance`]
//! what to do and answers every [`Step::Request`] before it asks again.
//!
//! Buffer layout, all offsets from `start`: `[head][decoded body][spent framing][raw bytes]`. A request is handed out
//! borrowed from it, whole, and dropped by [`RequestDecoder::consume`]; what follows is the next pipelined request.

use crate::http1::chunked::{Decoder, Progress};
use crate::http1::error::ProtocolError;
use crate::http1::head::{self, Framing, Head, HeadEndFinder, HeaderStorage};
use crate::limits::Limits;
use crate::tuning::{FIRST_READ_BYTES, READ_BYTES, READ_BYTES_MAX, SPARE_BYTES_MAX};
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
    /// A request of this many bytes was handed out and awaits `consume`.
    Delivered {
        total: usize,
    },
    /// Refused, or the peer's input ended: nothing more will be read as HTTP.
    Finished,
}

enum Body {
    Sized(usize),
    Chunked(Decoder, Progress),
}

/// What the server must do next.
pub(crate) enum Step<'a> {
    /// Read more; nothing is wrong so far.
    NeedMore,
    /// The head is whole, its body is not: send `100 Continue` if told so, then ask again.
    HeadDone { send_continue: bool },
    /// Answer this, then `consume` it.
    Request(Head<'a>, &'a [u8]),
    /// Answer with this error's status and close.
    Refuse(ProtocolError),
}

impl RequestDecoder {
    pub(crate) fn new() -> RequestDecoder {
        RequestDecoder { buffer: Vec::new(), start: 0, state: State::Head(HeadEndFinder::default()), deadline: None }
    }

    /// No request begun: closing now loses nothing.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head(_)) && self.pending().is_empty()
    }

    /// Not one whole head has come since the last request.
    #[cfg(test)]
    pub(crate) fn is_before_body(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// When the head or body in progress is overdue; none while idle, however long (C-CONN-1).
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The buffer to append a read to, with room for at least one more byte; an error if there is no memory for it,
    /// or if [`RequestDecoder::held`] would have to grow by more than `allowance`.
    pub(crate) fn buffer_for_reading(&mut self, allowance: usize) -> Result<&mut Vec<u8>, ProtocolError> {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let missing = self.body_bytes_missing().unwrap_or(usize::MAX);
        let wanted = missing.clamp(1, FIRST_READ_BYTES / 4);
        if self.room() < wanted && self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.room() < wanted {
            // Doubling, but never past what the body still needs: a 32 MiB body costs 32 MiB, not 64. Nor past what one
            // read may take, which is what others have to wait for.
            let growth = missing.clamp(1, self.buffer.len().clamp(READ_BYTES, READ_BYTES_MAX));
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

    /// Whether a buffer is in place; if not, `lend` one before reading.
    pub(crate) fn wants_buffer(&self) -> bool {
        self.buffer.capacity() == 0
    }

    pub(crate) fn attach(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.wants_buffer() && buffer.is_empty());
        self.buffer = buffer;
    }

    /// Gives the buffer back once it holds nothing.
    pub(crate) fn detach(&mut self) -> Option<Vec<u8>> {
        if !self.pending().is_empty() || self.wants_buffer() {
            return None;
        }
        self.start = 0;
        self.buffer.clear();
        Some(std::mem::take(&mut self.buffer))
    }

    /// Decides on the bytes read so far. Call until it says `NeedMore` or `Refuse`. After `TooManyHeaders` it may be
    /// asked again with more room.
    pub(crate) fn advance<'a>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        room: &'a mut HeaderStorage<'a>,
    ) -> Step<'a> {
        match self.try_advance(now, limits, room) {
            Ok(step) => step,
            Err(error) => Step::Refuse(error),
        }
    }

    fn try_advance<'a>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        room: &'a mut HeaderStorage<'a>,
    ) -> Result<Step<'a>, ProtocolError> {
        match self.state {
            State::Head(_) => self.advance_head(now, limits, room),
            State::Body { .. } => self.advance_body(limits, room),
            State::Delivered { .. } | State::Finished => Ok(Step::NeedMore),
        }
    }

    fn advance_head<'a>(
        &'a mut self,
        now: Duration,
        limits: &Limits,
        room: &'a mut HeaderStorage<'a>,
    ) -> Result<Step<'a>, ProtocolError> {
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
            // A method begins with a letter or a mark. What does not, a TLS handshake say, need not be waited for.
            [first, ..] if !first.is_ascii_graphic() && *first != b'\n' => return Err(ProtocolError::MalformedHead),
            _ => {}
        }
        // Most heads arrive whole: then the parser finds the end as well, and it is searched for only if that fails.
        let first_look = *scan == HeadEndFinder::default();
        let whole = if first_look { Some(pending.len()) } else { end_of_head(scan, pending, limits)? };
        let parsed = match whole.map(|end| head::parse(&pending[..end], room, limits)) {
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
            self.state = State::Delivered { total: head_bytes + body_bytes };
            return Ok(Step::Request(head, &pending[head_bytes..head_bytes + body_bytes]));
        }
        let body = match meta.framing {
            Framing::Sized(body_bytes) => Body::Sized(body_bytes),
            Framing::Chunked => Body::Chunked(Decoder::new(), Progress { read: 0, written: 0, done: false }),
        };
        self.state = State::Body { head_bytes, body };
        self.deadline = Some(now + limits.body_time_max);
        // A client that sends the body without waiting is not waiting (RFC 9110 §10.1.1).
        Ok(Step::HeadDone { send_continue: meta.expects_continue && arrived == 0 })
    }

    fn advance_body<'a>(
        &'a mut self,
        limits: &Limits,
        room: &'a mut HeaderStorage<'a>,
    ) -> Result<Step<'a>, ProtocolError> {
        let State::Body { head_bytes, body, .. } = &mut self.state else { unreachable!("called in state Body") };
        let head_bytes = *head_bytes;
        let region = &mut self.buffer[self.start + head_bytes..];
        let (body_bytes, total) = match body {
            Body::Sized(bytes) if region.len() < *bytes => return Ok(Step::NeedMore),
            Body::Sized(bytes) => (*bytes, head_bytes + *bytes),
            Body::Chunked(decoder, progress) => {
                *progress = decoder.decode(region, progress.read, progress.written, limits.body_bytes_max)?;
                if !progress.done {
                    // All raw bytes are spent: what comes next goes right behind the decoded ones.
                    self.buffer.truncate(self.start + head_bytes + progress.written);
                    progress.read = progress.written;
                    return Ok(Step::NeedMore);
                }
                (progress.written, head_bytes + progress.read)
            }
        };
        let request = &self.buffer[self.start..];
        // The head was parsed before the body arrived; parsing it again is cheaper than keeping 128 headers.
        let (head, _) = head::parse(&request[..head_bytes], room, limits)?;
        self.deadline = None;
        self.state = State::Delivered { total };
        Ok(Step::Request(head, &request[head_bytes..head_bytes + body_bytes]))
    }

    /// Drops the request that was handed out.
    pub(crate) fn consume(&mut self) {
        let State::Delivered { total } = self.state else { unreachable!("only a delivered request is consumed") };
        self.start += total;
        self.state = State::Head(HeadEndFinder::default());
        if self.buffer.capacity() > SPARE_BYTES_MAX && (1..=READ_BYTES).contains(&self.pending().len()) {
            // What a large body needed is not kept for the first bytes of the next request.
            self.buffer.drain(..self.start);
            self.buffer.shrink_to(READ_BYTES);
            self.start = 0;
        }
    }

    /// Which limit it is when the deadline has passed.
    pub(crate) fn overdue(&self) -> ProtocolError {
        if matches!(self.state, State::Head(_)) { ProtocolError::HeadTimeout } else { ProtocolError::BodyTimeout }
    }

    /// Whether the request in hand is made by HEAD, as far as it has come: its answer has no content (RFC 9110 §9.3.2).
    pub(crate) fn is_by_head(&self) -> bool {
        let is_blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let begin = self.pending().iter().position(|byte| !is_blank(byte)).unwrap_or(0);
        self.pending()[begin..].starts_with(b"HEAD ")
    }

    /// No more requests from this connection; what is buffered is dropped.
    pub(crate) fn finish(&mut self) {
        self.state = State::Finished;
        self.deadline = None;
        self.buffer.clear();
        self.buffer.shrink_to(READ_BYTES);
        self.start = 0;
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn room(&self) -> usize {
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

/// Where the head ends, once its end is there; an error as soon as it is too large.
fn end_of_head(scan: &mut HeadEndFinder, pending: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
    let end = scan.find(pending)?;
    let head = end.map_or(pending, |end| &pending[..end]);
    let too_large =
        if end.is_some() { head.len() > limits.head_bytes_max } else { head.len() >= limits.head_bytes_max };
    if too_large { Err(head::oversized_error(head, limits)) } else { Ok(end) }
}

#[cfg(test)]
mod tests;
