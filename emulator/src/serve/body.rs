//! The bodies of answers: a text, or an instance's answer as it comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use super::function::Lease;
use super::worker::Sender1;

/// A body cannot go on.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why a body cannot go on.
const TIMED_OUT: &str = "the time limit of the call passed";

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

/// What a body holds until it ends: the instance, and who is told of the end.
struct Held {
    lease: Lease,
    on_end: Box<dyn FnOnce(BodyEnd, Lease) + Send>,
}

/// Taken by whoever ends the body: the body itself, or the time limit.
type Holder = Arc<Mutex<Option<Held>>>;

/// The body of an instance's answer. When it ends, the connection is kept and the instance is free for the next call.
///
/// A caller that does not read keeps the body from being polled. So a body that is not there at once has its time limit
/// in a task of its own.
pub struct LeasedBody {
    body: Incoming,
    holder: Holder,
    sender: Option<Sender1>,
    deadline: Instant,
    watch: Option<AbortHandle>,
    late: Option<Pin<Box<Sleep>>>,
    end: Option<BodyEnd>,
    runtime: Handle,
}

fn take(holder: &Holder) -> Option<Held> {
    holder.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let held = Held { lease, on_end: Box::new(on_end) };
        Self {
            body,
            holder: Arc::new(Mutex::new(Some(held))),
            sender: Some(sender),
            deadline: began + limit,
            watch: None,
            late: None,
            end: None,
            runtime: Handle::current(),
        }
    }

    fn finish(&mut self, end: BodyEnd) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        let Some(Held { lease, on_end }) = take(&self.holder) else {
            self.end = self.end.or(Some(BodyEnd::TimedOut));
            return;
        };
        self.end = Some(end);
        // Without this, the connection closes with its sender.
        if let (BodyEnd::Whole, Some(sender)) = (end, self.sender.take()) {
            lease.worker.pool().push(sender);
        }
        // In a task of its own, so that the caller has the answer first. The runtime has one thread, so the task runs
        // before another request of the caller can be seen.
        self.runtime.spawn(async move { on_end(end, lease) });
    }

    /// Begins to watch the time limit. Whether it has passed.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let (deadline, holder) = (self.deadline, self.holder.clone());
        self.watch.get_or_insert_with(|| {
            let watch = self.runtime.spawn(async move {
                tokio::time::sleep_until(deadline).await;
                if let Some(Held { lease, on_end }) = take(&holder) {
                    on_end(BodyEnd::TimedOut, lease);
                }
            });
            watch.abort_handle()
        });
        let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        late.as_mut().poll(context).is_ready()
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
                } else if self.is_late(context) {
                    self.finish(BodyEnd::TimedOut);
                    return Poll::Ready(Some(Err(TIMED_OUT.into())));
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
                Poll::Ready(Some(Err(TIMED_OUT.into())))
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
