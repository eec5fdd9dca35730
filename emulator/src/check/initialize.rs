//! INIT: the Initializer, its repetition, its abandoned calls, and calls before it.

use std::time::{Duration, Instant};

use super::context::{CheckContext, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail};
use crate::platform::Hook;

/// Within this time the target reads what we sent, or notices a reset.
const READ_WAIT: Duration = Duration::from_millis(100);

pub const CHECKS: &[Check] = &[
    Check {
        id: "initialize",
        rule: "C-INIT-1",
        severity: Severity::Must,
        needs: &[],
        request: "POST /initialize to a fresh instance",
        expected: "2xx within the time limit of the initializer",
        fix: "route POST /initialize to the hook; if the hook needs more time, raise its limit \
              (--initialize-timeout); if the function has no such hook, leave it out of --hooks",
        run: initialize,
    },
    Check {
        id: "initialize-again",
        rule: "C-INIT-2",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "POST /initialize twice",
        expected: "2xx for the second one, too",
        fix: "remember the success, and answer a repeated call with it without running the hook again",
        run: initialize_again,
    },
    Check {
        id: "initialize-abandoned",
        rule: "C-INIT-2",
        severity: Severity::Should,
        needs: &["initialize-again"],
        request: "half a POST /initialize and a reset; a whole one and a reset before its answer; then a normal one",
        expected: "2xx for the normal one, as after a time-out of the platform",
        fix: "keep no state of a hook whose request did not arrive whole; let the hook run again after a failure",
        run: initialize_abandoned,
    },
    Check {
        id: "initialize-without-length",
        rule: "C-INIT-1",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "POST /initialize without Content-Length, which means: no body",
        expected: "2xx",
        fix: "treat a request without Content-Length and Transfer-Encoding as one without a body",
        run: initialize_without_length,
    },
    Check {
        id: "call-before-initialize",
        rule: "C-INIT-1",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "a call to a fresh instance, then POST /initialize",
        expected: "any answer to the call, then 2xx",
        fix: "answer a call that comes too early with an error, or initialize first; do not close the connection",
        run: call_before_initialize,
    },
];

/// A check that needs calls. It comes later in the list.
pub const LATE_CHECKS: &[Check] = &[Check {
    id: "call-without-initialize",
    rule: "C-CMD-5",
    severity: Severity::Note,
    needs: &["invoke", "call-before-initialize"],
    request: "a call to a fresh instance, without any POST /initialize",
    expected: "2xx, as for a function whose Initializer is a command, and under local tools, which never call it",
    fix: "initialize at the first call if POST /initialize has not come; else do not configure it as a command",
    run: call_without_initialize,
}];

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
    success("the second call", Instant::now(), instance.hook(Hook::Initialize))
}

fn initialize_abandoned(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let failed = |why: String| Stop::Fail(format!("before the normal one: {why}"));
    let request = instance.platform.hook(Hook::Initialize).bytes();
    for part in [&request[..request.len() / 2], &request[..]] {
        let mut conn = instance.conn().map_err(failed)?;
        conn.send(part, instance.call_deadline()).map_err(failed)?;
        // A reset discards unread bytes, and the target should have read these.
        conn.has_answer(READ_WAIT);
        conn.reset();
    }
    // Two calls: the target may notice the reset only after the first one.
    let actual = success("the normal one", Instant::now(), instance.hook(Hook::Initialize))?;
    std::thread::sleep(READ_WAIT);
    success("the normal one, repeated", Instant::now(), instance.hook(Hook::Initialize))?;
    Ok(actual)
}

fn initialize_without_length(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let mut request = instance.platform.hook(Hook::Initialize);
    let head = String::from_utf8_lossy(&request.head).replace("Content-Length: 0\r\n", "");
    request.head = head.into_bytes();
    success("without a length", Instant::now(), instance.send(&request))
}

/// No fault where the Initializer is configured as a request, so it is a note.
fn call_without_initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let request = context.request(&instance);
    success(&request.line, Instant::now(), instance.send(&request))
}

fn call_before_initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let instance = context.fresh()?;
    let early = match instance.send(&context.request(&instance)) {
        Ok(response) => response.status,
        Err(why) => return fail(format!("the call: {why}")),
    };
    let then = success("POST /initialize after it", Instant::now(), instance.hook(Hook::Initialize))?;
    Ok(format!("the call: {early}; {then}"))
}
