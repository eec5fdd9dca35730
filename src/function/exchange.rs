//! One exchange: a whole request, its dispatch, its response, and whether the connection stays open behind it.
//!
//! Both engines use this code, so both call the function, write the log markers and decide about keep-alive in the same
//! way; they only move bytes. A call's log ends when its reply is whole: at once, with the last piece of a streamed
//! body, or when the stream is given up. Pure: bytes and clock readings come in, bytes go out. Must not know sockets or
//! what a connection does between two exchanges.

use crate::config::Config;
use crate::function::app::App;
use crate::function::context::Env;
use crate::function::dispatch::{CallLog, Dispatcher, LogMarker};
use crate::function::lifecycle::ClockReading;
use crate::function::rejection;
use crate::function::request::{Headers, LoggedId, Peer, Request};
use crate::function::response_writer::{ResponseWriter, StreamPoll};
use crate::http1::error::ProtocolError;
use crate::http1::head::Head;
use crate::http1::response_head;
use crate::limits::Limits;
use crate::logging::OneLine;
use crate::tuning::DRAIN_LINGER_TIME_MAX;
use std::ops::Range;
use std::time::Duration;

/// The exchange of one connection; the next begins when nothing of the last is left.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Engines attach and detach its buffers.
    pub(crate) response: ResponseWriter,
    /// The call whose streamed body is on its way: the end of its log is still to come.
    streaming: Option<StreamingCall>,
}

struct StreamingCall {
    marker: LogMarker,
    request_id: String,
}

/// A whole request, as an engine received it.
pub(crate) struct Received<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) client: Peer,
    pub(crate) at: ClockReading,
}

/// What the engine allows for the response.
pub(crate) struct Allowance {
    /// The connection can be used for another request.
    pub(crate) keep: bool,
    /// A call's reply that would hold more memory until it is sent is replaced by a 503.
    pub(crate) reply_bytes_max: usize,
}

/// What the engine must know of a response that was started.
pub(crate) struct Started {
    /// The connection stays open behind it.
    pub(crate) keep: bool,
    /// The response has the request's body: call [`Exchange::hand_over`] before anything is sent.
    pub(crate) wants_body: bool,
    /// The callback's own reply was replaced by a 503, because there was no memory for it.
    pub(crate) overloaded: bool,
}

/// What an engine must do next for the response in hand.
pub(crate) enum Next<'a> {
    /// Write from the first slice, then from the second, and call [`Exchange::advance`].
    Write(&'a [u8], &'a [u8]),
    /// Nothing: all of it is written.
    Done,
}

/// The author's reader failed, so the response cannot be completed: the client must see a reset.
pub(crate) struct StreamFailed;

impl Exchange {
    /// Dispatches a request and starts its response.
    pub(crate) fn start<S>(
        &mut self,
        dispatcher: &mut Dispatcher<S>,
        received: Received<'_>,
        allowance: Allowance,
        log: &mut dyn CallLog,
    ) -> Started {
        let Received { head: Head { method, path_and_query, headers, meta }, body, client, at } = received;
        let request = Request { method, path_and_query, headers: Headers(headers), body, peer: client };
        let mut answer = dispatcher.handle(&request, at, allowance.reply_bytes_max, log);
        let wants_body = answer.reply.adopt(body, method);
        let (streaming, overloaded) = (answer.streaming, answer.dropped);
        // A stop may have been asked for while the callback ran, and the engine has not seen it yet.
        let keep = meta.keep_alive && allowance.keep && !dispatcher.is_cancelled();
        let keep = self.response.start(answer, &meta, method, keep);
        if let Some(marker) = streaming {
            self.log_later(dispatcher, marker, request.logged_id(), log);
        }
        Started { keep, wants_body, overloaded }
    }

    /// The memory of the request that is answered, and the place of its body there.
    #[cold]
    pub(crate) fn hand_over(&mut self, request: Vec<u8>, body: Range<usize>) {
        self.response.hand_over(request, body);
    }

    /// The author's reply is a stream.
    #[cold]
    fn log_later<S>(
        &mut self,
        dispatcher: &mut Dispatcher<S>,
        marker: LogMarker,
        request_id: LoggedId<'_>,
        log: &mut dyn CallLog,
    ) {
        if self.response.is_streaming() {
            self.streaming = Some(StreamingCall { marker, request_id: request_id.text().to_owned() });
        } else {
            // The status has no content (204, 205, 304), so nothing of the stream will be sent.
            dispatcher.finish(marker, request_id, false, log);
        }
    }

    /// Answers a request that broke HTTP or a limit; the connection closes behind it.
    pub(crate) fn reject(&mut self, error: ProtocolError, with_content: bool) {
        rejection::write_rejection(self.response.raw(), error, with_content);
    }

    /// Tells a client that waits for it to send the body.
    pub(crate) fn send_continue(&mut self) {
        self.response.raw().extend_from_slice(response_head::CONTINUE);
    }

    /// What to do next. Pulls the next piece of a streamed body once all bytes before it are written.
    pub(crate) fn next<S>(
        &mut self,
        dispatcher: &mut Dispatcher<S>,
        log: &mut dyn CallLog,
    ) -> Result<Next<'_>, StreamFailed> {
        if self.is_about_to_pull() {
            self.pull(dispatcher, log)?;
        }
        let (head, body) = self.response.unsent();
        Ok(if head.is_empty() && body.is_empty() { Next::Done } else { Next::Write(head, body) })
    }

    /// The next piece of the response comes from the author's reader.
    #[inline(always)]
    pub(crate) fn is_about_to_pull(&self) -> bool {
        self.response.is_streaming() && !self.response.has_unsent()
    }

    fn pull<S>(&mut self, dispatcher: &mut Dispatcher<S>, log: &mut dyn CallLog) -> Result<(), StreamFailed> {
        let error = match self.response.pull() {
            StreamPoll::More => return Ok(()),
            StreamPoll::Last => None,
            StreamPoll::Failed(error) => Some(error),
        };
        let Some(call) = self.streaming.take() else { unreachable!("a stream is part of a call") };
        let outcome = match error {
            None => Ok(()),
            Some(error) => {
                log::error!("the reply's stream failed: {}, request {}", OneLine(error), call.request_id);
                Err(StreamFailed)
            }
        };
        dispatcher.finish(call.marker, LoggedId::new(call.request_id.as_bytes()), outcome.is_err(), log);
        outcome
    }

    /// So many bytes of those to write were written.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.response.advance(bytes);
    }

    /// Gives up what is left of the response. True if a streamed body was cut: the client must see a reset.
    pub(crate) fn abandon<S>(&mut self, dispatcher: &mut Dispatcher<S>, log: &mut dyn CallLog) -> bool {
        self.response.abandon();
        let Some(call) = self.streaming.take() else { return false };
        // The call has not failed: the author's code did nothing wrong, its reader was only not read to the end.
        dispatcher.finish(call.marker, LoggedId::new(call.request_id.as_bytes()), false, log);
        true
    }
}

/// The dispatcher of an app with this configuration.
pub(crate) fn dispatcher<S>(app: &'static App<S>, state: S, config: &Config, env: Env) -> Dispatcher<S> {
    let mut dispatcher = Dispatcher::new(app, state, env);
    if let Some(path) = &config.health_path {
        dispatcher.health_path = Some(path.clone());
    }
    dispatcher.control_path_required |= config.control_path_required;
    dispatcher.hooks_from = config.hooks_from.clone();
    if config.idle_means_frozen {
        dispatcher.suspect_idle_gaps(config.limits.idle_thaw_time_min);
    }
    dispatcher
}

/// How long an engine reads from a client that was sent its last response. The exit of a stopping instance must not
/// depend on clients.
pub(crate) fn linger_time(limits: &Limits, is_stopping: bool) -> Duration {
    let max = if is_stopping { DRAIN_LINGER_TIME_MAX } else { Duration::MAX };
    limits.linger_time_max.min(max)
}

#[cfg(test)]
mod tests;
