//! FREEZE, on connections from before the freeze: the call that waits while the target is frozen, and whatever else a
//! freeze finds half done.
//!
//! The platform reuses connections, and it thaws an instance because a call has come. So the target wakes with an idle
//! timer that is long overdue and with a request that can be read. A server that looks at its timers first closes the
//! connection, and the call is lost. A server that reads first loses no call, but it closes the connections on which
//! none waits.
//!
//! The rest of a half request comes only after the thaw. Of 25 servers that were tried, none lost a rest that came
//! during the freeze and kept one that came afterwards, and several did the opposite.

use std::time::{Duration, Instant};

use super::connection::{kept, next_call};
use super::context::{AFTER_THAW, CheckContext, REST, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::clock::{Deadline, seconds};
use crate::http::Conn;
use crate::instance::Instance;
use crate::platform::Hook;
use crate::process;

/// An answer of this size does not fit into the socket buffers while we do not read, so that a freeze finds it half
/// sent.
const REPLY_BYTES: usize = 8 * 1024 * 1024;

/// A target that did not run for so long waits.
const QUIET: Duration = Duration::from_millis(40);

pub const CHECKS: &[Check] = &[
    Check {
        id: "call-while-frozen",
        rule: "C-FRZ-12",
        severity: Severity::Must,
        needs: &["thaw-call", "keepalive"],
        request: "a call, 0.5 s of rest, a freeze (--freeze-for), and during it another call on the same connection",
        expected: "2xx right after the thaw",
        fix: "set no idle limit for connections, or one of 15 minutes, or read the socket before the timer closes it",
        run: call_while_frozen,
    },
    Check {
        id: "freeze-at-reply",
        rule: "C-FRZ-12",
        severity: Severity::Must,
        needs: &["thaw-without-pre-freeze", "call-while-frozen"],
        request: "a call, a freeze at the moment of its answer, and during it another call on the same connection",
        expected: "2xx right after the thaw",
        fix: "set no idle limit for connections, or one of 15 minutes, or read the socket before the timer closes it",
        run: freeze_at_reply,
    },
    Check {
        id: "keepalive-over-freeze",
        rule: "C-CONN-3",
        severity: Severity::Should,
        needs: &["call-while-frozen", "keepalive-idle"],
        request: "a call, a freeze (--freeze-for), and 0.2 s after the thaw another call on the same connection",
        expected: "the connection stays open after the thaw, and the target answers the call",
        fix: "set no idle limit for connections, or do not count frozen time",
        run: keepalive_over_freeze,
    },
    Check {
        id: "freeze-in-head",
        rule: "C-CONN-3",
        severity: Severity::Should,
        needs: &["thaw-without-pre-freeze"],
        request: "half the head of a request on a new connection, a freeze (--freeze-for), the rest",
        expected: "2xx",
        fix: "do not count frozen time against the time limit for the head of a request",
        run: freeze_in_head,
    },
    Check {
        id: "freeze-in-kept-head",
        rule: "C-CONN-3",
        severity: Severity::Should,
        needs: &["call-while-frozen", "freeze-in-head"],
        request: "a call, half the head of the next one on the same connection, a freeze (--freeze-for), the rest",
        expected: "2xx",
        fix: "stop the idle timer at the first byte of a request, and count no frozen time against a head",
        run: freeze_in_kept_head,
    },
    Check {
        id: "freeze-in-body",
        rule: "C-CONN-3",
        severity: Severity::Should,
        needs: &["thaw-without-pre-freeze"],
        request: "a request with half its body, a freeze (--freeze-for), the rest",
        expected: "2xx",
        fix: "do not count frozen time against the time limit for the body of a request",
        run: freeze_in_body,
    },
    Check {
        id: "freeze-in-reply",
        rule: "C-CONN-3",
        severity: Severity::Should,
        needs: &["thaw-without-pre-freeze", "invoke-large"],
        request: "a call, and a freeze while its answer is half sent (8 MB if the function echoes events)",
        expected: "the whole answer after the thaw",
        fix: "do not count frozen time against the time limit for sending an answer",
        run: freeze_in_reply,
    },
];

fn call_while_frozen(context: &CheckContext<'_>) -> Verdict {
    let (mut instance, mut conn) = resting(context)?;
    waiting_call(context, &mut instance, &mut conn)
}

fn freeze_at_reply(context: &CheckContext<'_>) -> Verdict {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    waiting_call(context, &mut instance, &mut conn)
}

/// Freezes the instance, sends a call on the connection during the freeze, thaws, and reads the answer.
fn waiting_call(context: &CheckContext<'_>, instance: &mut Instance, conn: &mut Conn) -> Verdict {
    let request = context.request(instance).bytes();
    context.freeze(instance, context.plan.freeze)?;
    let sent = conn.send(&request, instance.call_deadline());
    instance.target.thaw()?;
    let thawed = Instant::now();
    let answer = sent.and_then(|()| conn.read(instance.call_deadline()));
    success("the call that waited", thawed, answer)
}

fn keepalive_over_freeze(context: &CheckContext<'_>) -> Verdict {
    let (mut instance, mut conn) = resting(context)?;
    context.freeze(&mut instance, context.plan.freeze)?;
    instance.target.thaw()?;
    if context.rest(|| conn.closes(Deadline::after(AFTER_THAW))) {
        return fail("the target closed the idle connection as soon as it was thawed");
    }
    next_call(context, &instance, &mut conn)
}

/// An instance, and a kept connection on which nothing has happened for a while: its idle timer runs.
fn resting(context: &CheckContext<'_>) -> Result<(Instance, Conn), Stop> {
    context.require_kept_connections()?;
    let instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    if instance.platform.calls(Hook::PreFreeze) {
        let request = instance.platform.hook(Hook::PreFreeze).bytes();
        match conn.exchange(&request, Deadline::after(instance.limits.pre_freeze)) {
            Ok(response) if response.keeps_alive() => {}
            Ok(_) => return fail("the answer to pre-freeze closes the connection"),
            Err(why) => return blocked("pre-freeze", why),
        }
    }
    if context.rest(|| closes_at_rest(&instance, &mut conn)) {
        return blocked("keepalive-idle", format!("the target closed the connection within {}", seconds(REST)));
    }
    Ok((instance, conn))
}

/// Leaves the target alone until its timers run and it waits again. Returns whether it closed the connection.
fn closes_at_rest(instance: &Instance, conn: &mut Conn) -> bool {
    if conn.closes(Deadline::after(REST)) {
        return true;
    }
    // A busy machine may not have let it wait yet. Frozen before that it would find the next bytes before its timers.
    let deadline = Deadline::after(REST * 2);
    while !deadline.passed() {
        let before = instance.target.pid().map(process::switches);
        if conn.closes(Deadline::after(QUIET)) {
            return true;
        }
        if before == instance.target.pid().map(process::switches) {
            break;
        }
    }
    false
}

fn freeze_in_head(context: &CheckContext<'_>) -> Verdict {
    freeze_between(context, |instance| instance.conn().map_err(Stop::Fail), |head_bytes, _| head_bytes / 2)
}

fn freeze_in_kept_head(context: &CheckContext<'_>) -> Verdict {
    freeze_between(context, |instance| kept(context, instance), |head_bytes, _| head_bytes / 2)
}

fn freeze_in_body(context: &CheckContext<'_>) -> Verdict {
    if context.plan.http_only || context.plan.event.is_empty() {
        return skip("the call has no body");
    }
    let middle = |head_bytes, all_bytes| (head_bytes + all_bytes) / 2;
    freeze_between(context, |instance| instance.conn().map_err(Stop::Fail), middle)
}

fn freeze_between(
    context: &CheckContext<'_>,
    connect: impl Fn(&Instance) -> Result<Conn, Stop>,
    cut_at: fn(usize, usize) -> usize,
) -> Verdict {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let request = context.request(&instance);
    let bytes = request.bytes();
    let (first, rest) = bytes.split_at(cut_at(request.head.len(), bytes.len()));
    let mut conn = connect(&instance)?;
    conn.send(first, instance.call_deadline()).map_err(Stop::Fail)?;
    if context.rest(|| closes_at_rest(&instance, &mut conn)) {
        return fail(format!("the target closed the connection within {} of half a request", seconds(REST)));
    }
    context.freeze(&mut instance, context.plan.freeze)?;
    instance.target.thaw()?;
    if context.rest(|| conn.closes(Deadline::after(AFTER_THAW))) {
        return fail("the target closed the connection as soon as it was thawed");
    }
    success("after the rest", Instant::now(), conn.exchange(rest, instance.call_deadline()))
}

fn freeze_in_reply(context: &CheckContext<'_>) -> Verdict {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let echoes = context.echoes(&instance);
    let size = context.plan.large_bytes.min(REPLY_BYTES);
    let event = vec![b'r'; size];
    let request = if echoes { instance.platform.invoke(event.clone()) } else { context.request(&instance) }.bytes();
    let deadline = Deadline::after(instance.limits.call + context.plan.freeze);
    let mut conn = Conn::open(instance.target.addr(), deadline).map_err(Stop::Fail)?;
    let mut sender = conn.sender().map_err(Stop::Untested)?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.send(&request, deadline));
        if !conn.has_answer(instance.limits.call) {
            return fail("no byte of an answer arrived in time");
        }
        context.freeze(&mut instance, context.plan.freeze)?;
        // What the target had sent is all that comes while it is frozen.
        let whole = conn.read(Deadline::after(AFTER_THAW));
        instance.target.thaw()?;
        if whole.is_ok() {
            let why = "the answer was complete before the freeze, because the socket buffers hold all of it";
            return Err(Stop::Untested(why.into()));
        }
        context.rest(|| std::thread::sleep(AFTER_THAW));
        let answer = conn.read(deadline);
        let _ = sent.join();
        match answer {
            Ok(response) if echoes && response.body != event => {
                fail(format!("{} bytes in place of the {} bytes of the event", response.body.len(), event.len()))
            }
            answer => {
                let bytes = answer.as_ref().map_or(0, |response| response.body.len());
                success("the answer", Instant::now(), answer).map(|actual| format!("{actual}, {bytes} bytes"))
            }
        }
    })
}
