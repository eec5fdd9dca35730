//! The answer to a request: the reply, and what else the server must know about it.

use super::{LogMarker, log_failure};
use crate::function::panic::Failure;
use crate::function::reply::Reply;
use crate::function::request::LoggedId;

/// The reply to a request, and what else the server must know about it.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// The call failed, and the status header says so (C-INV-3).
    pub(crate) failed: bool,
    /// The callback's own reply was dropped, because the budget of memory could not hold it.
    pub(crate) dropped: bool,
    /// The reply is a stream. The call ends when the stream ends, and so does its log.
    pub(crate) streaming: Option<LogMarker>,
}

impl Answer {
    pub(super) fn done(reply: Reply, failed: bool) -> Answer {
        Answer { reply, failed, dropped: false, streaming: None }
    }

    /// In place: an answer is large to copy.
    pub(super) fn limit_memory(&mut self, reply_bytes_max: usize, method: &str) {
        let held = self.reply.held(method);
        if held > reply_bytes_max {
            self.drop_reply(held);
        }
    }

    #[cold]
    #[inline(never)]
    fn drop_reply(&mut self, held: usize) {
        let failure = failure("Overloaded", "reply buffer limit reached");
        log::warn!("dropped a reply of {held} bytes: {}", failure.message);
        *self = Answer { dropped: true, ..Answer::failed(503, &failure) };
    }

    /// A mistake of the client. It is no failed call, which would count as an error of the function.
    pub(super) fn client_error(status: u16, failure: &Failure) -> Answer {
        Answer { failed: false, ..Answer::failed(status, failure) }
    }

    #[inline(never)]
    pub(crate) fn failed(status: u16, failure: &Failure) -> Answer {
        let mut reply = Reply::from_json(failure.to_json());
        reply.status = status;
        Answer::done(reply, true)
    }
}

/// The answer of a hook or an event: 200 or 404, whatever the author's code does (C-STAT-1, C-FRZ-4).
#[inline(never)]
pub(super) fn conclude(what: &str, outcome: Result<Reply, Failure>, request_id: LoggedId<'_>) -> Answer {
    match outcome {
        Ok(mut reply) => {
            reply.status = 200;
            Answer::done(reply, false)
        }
        Err(failure) => {
            log_failure(what, &failure, request_id);
            Answer::failed(404, &failure)
        }
    }
}

pub(super) fn failure(error_type: &str, message: &str) -> Failure {
    Failure { message: message.to_owned(), error_type: error_type.to_owned(), status: 500 }
}

#[cold]
#[inline(never)]
pub(super) fn wrong_method(allow: String) -> Answer {
    let mut answer =
        Answer::client_error(405, &failure("MethodNotAllowed", &format!("this path allows the methods {allow}")));
    answer.reply.headers.push(("allow".into(), allow.into()));
    answer
}
