//! The bodies of answers: a text, or an instance's answer as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep};

use super::function::Lease;
use super::worker::Sender1;

/// A body cannot go on.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub enum ReplyBody {
    /// Bytes that are there.
    Whole(Full<Bytes>),
    /// The body of an instance's answer.
    Live(Box<LeasedBody>),
    /// Pieces that come as long as somebody sends them.
    Stream(Receiver<Bytes>),
}

impl ReplyBody {
    /// A body of these bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was whole.
    Whole,
    /// The instance broke it off.
    Broken,
    /// The time limit of the call passed.
    TimedOut,
    /// The caller did not wait for the end.
    CallerLeft,
}

/// The body of an instance's answer. When it ends, the connection is kept and the instance is free for the next call.
pub struct LeasedBody {
    body: Incoming,
    lease: Option<Lease>,
    sender: Option<Sender1>,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    end: Option<BodyEnd>,
    on_end: Option<Box<dyn FnOnce(BodyEnd, Lease) + Send>>,
    runtime: Handle,
}

impl LeasedBody {
    /// Holds the lease until the body has ended. `on_end` gets it back then.
    pub fn new(
        body: Incoming,
        lease: Lease,
        sender: Sender1,
        (began, limit): (Instant, Duration),
        on_end: impl FnOnce(BodyEnd, Lease) + Send + 'static,
    ) -> Self {
        let deadline = began + limit;
        let on_end: Box<dyn FnOnce(BodyEnd, Lease) + Send> = Box::new(on_end);
        let (lease, sender, on_end) = (Some(lease), Some(sender), Some(on_end));
        Self { body, lease, sender, deadline, timer: None, end: None, on_end, runtime: Handle::current() }
    }

    fn finish(&mut self, end: BodyEnd) {
        self.end = self.end.or(Some(end));
        let Some(lease) = self.lease.take() else { return };
        // Without this, the connection closes with its sender.
        if let (BodyEnd::Whole, Some(sender)) = (end, self.sender.take()) {
            lease.worker.pool().push(sender);
        }
        if let Some(on_end) = self.on_end.take() {
            // In a task of its own, so that the caller has the answer first. The runtime has one thread, so the task
            // runs before another request of the caller can be seen.
            self.runtime.spawn(async move { on_end(end, lease) });
        }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(context).is_ready()
    }
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if self.body.is_end_stream() {
                    self.finish(BodyEnd::Whole);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cause))) => {
                self.finish(BodyEnd::Broken);
                Poll::Ready(Some(Err(cause.into())))
            }
            Poll::Ready(None) => {
                self.finish(BodyEnd::Whole);
                Poll::Ready(None)
            }
            Poll::Pending if self.is_late(context) => {
                self.finish(BodyEnd::TimedOut);
                Poll::Ready(Some(Err("the time limit of the call passed".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.end, Some(BodyEnd::Whole)) || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        let end = if self.body.is_end_stream() { BodyEnd::Whole } else { BodyEnd::CallerLeft };
        self.finish(end);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Live(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Stream(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Live(body) => body.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Live(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
