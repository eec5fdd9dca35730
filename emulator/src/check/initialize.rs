//! INIT: the Initializer, repeated, abandoned, and calls that come before it.

use std::time::{Duration, Instant};

use super::context::{CheckContext, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail};
use crate::platform::Hook;

/// Enough for the target to read what was sent, or to hear of a reset.
const READ_WAIT: Duration = Duration::from_millis(100);

pub const CHECKS: &[Check] = &[
    Check {
        id: "initialize",
        rule: "C-INIT-1",
        severity: Severity::Must,
        needs: &[],
        request: "POST /initialize on a fresh instance",
        expected: "2xx within the initializer's time limit",
        fix: "route POST /initialize to the hook; raise the limit (--initialize-secs) if it needs longer, or take \
               the hook out of the configuration (--hooks) if there is none",
        run: initialize,
    },
    Check {
        id: "initialize-again",
        rule: "C-INIT-2",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "POST /initialize twice",
        expected: "the second is answered 2xx too",
        fix: "remember that it succeeded, and answer a repeat with success without running it again",
        run: initialize_again,
    },
    Check {
        id: "initialize-abandoned",
        rule: "C-INIT-2",
        severity: Severity::Should,
        needs: &["initialize-again"],
        request: "half a POST /initialize, then a reset; a whole one, reset before its answer; then a proper one",
        expected: "the proper one is answered 2xx, as after a time-out on the platform's side",
        fix: "keep no state of a hook whose request never came whole; let it run again after a failure",
        run: initialize_abandoned,
    },
    Check {
        id: "initialize-without-length",
        rule: "C-INIT-1",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "POST /initialize without Content-Length: \"no body\"",
        expected: "2xx",
        fix: "take a request without Content-Length and Transfer-Encoding as one without a body",
        run: initialize_without_length,
    },
    Check {
        id: "call-before-initialize",
        rule: "C-INIT-1",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "a call on a fresh instance, then POST /initialize",
        expected: "an answer, whatever it says; then 2xx",
        fix: "answer a call that comes too early with an error, or initialize on the way; never hang up",
        run: call_before_initialize,
    },
];

fn initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.start()?;
    let started = Instant::now();
    match instance.hook(Hook::Initialize) {
        Ok(response) if response.status >= 500 => {
            blocked("hook-never-500", format!("POST /initialize: {}", response.status))
        }
        answer => success("POST /initialize", started, answer),
    }
}

fn initialize_again(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.initialized()?;
    success("the second", Instant::now(), instance.hook(Hook::Initialize))
}

fn initialize_abandoned(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let cannot = |why: String| Stop::Fail(format!("before the proper one: {why}"));
    let request = instance.platform.hook(Hook::Initialize).bytes();
    for part in [&request[..request.len() / 2], &request[..]] {
        let mut conn = instance.conn().map_err(cannot)?;
        conn.send(part, instance.call_deadline()).map_err(cannot)?;
        // A reset takes unread bytes along; the target shall have read these.
        conn.has_answer(READ_WAIT);
        conn.reset();
    }
    // Twice: the target may hear of the reset only now.
    let came = success("the proper one", Instant::now(), instance.hook(Hook::Initialize))?;
    std::thread::sleep(READ_WAIT);
    success("the proper one, repeated", Instant::now(), instance.hook(Hook::Initialize))?;
    Ok(came)
}

fn initialize_without_length(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let mut request = instance.platform.hook(Hook::Initialize);
    let head = String::from_utf8_lossy(&request.head).replace("Content-Length: 0\r\n", "");
    request.head = head.into_bytes();
    success("without a length", Instant::now(), instance.send(&request))
}

fn call_before_initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let early = match instance.send(&context.request(&instance)) {
        Ok(response) => response.status,
        Err(why) => return fail(format!("the call: {why}")),
    };
    let then = success("then POST /initialize", Instant::now(), instance.hook(Hook::Initialize))?;
    Ok(format!("the call: {early}; {then}"))
}
