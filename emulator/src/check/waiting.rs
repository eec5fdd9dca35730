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

/// Between two looks whether the target waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A busy machine may need so long to let the target wait again.
const WAITS_WITHIN: Duration = Duration::from_secs(2);

/// A freeze that finds the target at work is tried again, so many times in all.
const FREEZES_MAX: usize = 10;

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
        needs: &["thaw-without-pre-freeze", "freeze-after-initialize"],
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
        needs: &["thaw-without-pre-freeze", "freeze-after-initialize"],
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
    let (mut instance, mut conn, found) = frozen_at_rest(context)?;
    found.judge(waiting_call(context, &mut instance, &mut conn))
}

fn freeze_at_reply(context: &CheckContext<'_>) -> Verdict {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    context.freeze(&mut instance, context.plan.freeze)?;
    waiting_call(context, &mut instance, &mut conn)
}

/// Whether a freeze found the target as an idle server is: every task waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Waiting,
    /// At each of so many freezes a task worked or was ready to.
    AtWork {
        freezes: usize,
    },
}

impl Found {
    /// Takes no freeze for a proof that the server reads first, unless the freeze found it where its timers can come
    /// first. A server that is frozen just before it waits, which a busy machine makes likely, finds the call at once.
    fn judge(self, verdict: Verdict) -> Verdict {
        match (self, verdict) {
            (Self::AtWork { freezes }, Ok(actual)) => Err(Stop::Untested(format!(
                "{actual}, but a task of the target was at work at every freeze ({freezes} tried), so none found it \
                 waiting"
            ))),
            (_, verdict) => verdict,
        }
    }
}

/// Freezes the instance while it waits.
fn freeze_while_it_waits(instance: &mut Instance) -> Result<Found, Stop> {
    for left in (0..FREEZES_MAX).rev() {
        instance.target.freeze()?;
        if process::all_wait(&instance.target.pids()) != Some(false) {
            return Ok(Found::Waiting);
        }
        if left > 0 {
            instance.target.thaw()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(Found::AtWork { freezes: FREEZES_MAX })
}

/// Sends a call to the frozen instance on the connection, thaws, and reads the answer.
fn waiting_call(context: &CheckContext<'_>, instance: &mut Instance, conn: &mut Conn) -> Verdict {
    let request = context.request(instance).bytes();
    let sent = conn.send(&request, instance.call_deadline());
    instance.target.thaw()?;
    let thawed = Instant::now();
    let answer = sent.and_then(|()| conn.read(instance.call_deadline()));
    success("the call that waited", thawed, answer)
}

fn keepalive_over_freeze(context: &CheckContext<'_>) -> Verdict {
    let (mut instance, mut conn, found) = frozen_at_rest(context)?;
    instance.target.thaw()?;
    if context.rest(|| closes_before_it_waits(&instance, &mut conn, AFTER_THAW)) {
        return fail("the target closed the idle connection as soon as it was thawed");
    }
    found.judge(next_call(context, &instance, &mut conn))
}

/// A frozen instance, and a kept connection on which nothing had happened for a while: its idle timer ran.
fn frozen_at_rest(context: &CheckContext<'_>) -> Result<(Instance, Conn, Found), Stop> {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    if instance.platform.calls(Hook::PreFreeze) {
        let request = instance.platform.hook(Hook::PreFreeze).bytes();
        match conn.exchange(&request, Deadline::after(instance.limits.pre_freeze)) {
            Ok(response) if response.keeps_alive() => {}
            Ok(_) => return fail("the answer to pre-freeze closes the connection"),
            Err(why) => return blocked("pre-freeze", why),
        }
    }
    match freeze_at_rest(context, &mut instance, &mut conn)? {
        Some(found) => Ok((instance, conn, found)),
        None => blocked("keepalive-idle", "the target closed the idle connection before the freeze"),
    }
}

/// Leaves the target alone for a while, and freezes it. Returns `None` if it closed the connection before the freeze.
fn freeze_at_rest(context: &CheckContext<'_>, instance: &mut Instance, conn: &mut Conn) -> Result<Option<Found>, Stop> {
    // One rest for all of it: to wait for our turn before the freeze would take of the target's time limits.
    context.rest(|| {
        if closes_before_it_waits(instance, conn, REST) {
            return Ok(None);
        }
        let found = freeze_while_it_waits(instance)?;
        std::thread::sleep(context.plan.freeze);
        // A connection that is closed now was closed before the freeze.
        Ok((!conn.closes(Deadline::after(Duration::ZERO))).then_some(found))
    })
}

/// Leaves the target alone for at least `least`, until every task of it waits again: its timers run, and those that
/// were due have fired. Returns whether it closed the connection.
fn closes_before_it_waits(instance: &Instance, conn: &mut Conn, least: Duration) -> bool {
    if conn.closes(Deadline::after(least)) {
        return true;
    }
    let deadline = Deadline::after(WAITS_WITHIN);
    while process::all_wait(&instance.target.pids()) == Some(false) && !deadline.passed() {
        if conn.closes(Deadline::after(LOOK_EVERY)) {
            return true;
        }
    }
    // It may have closed the connection just before it waited.
    conn.closes(Deadline::after(LOOK_EVERY))
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
    let Some(found) = freeze_at_rest(context, &mut instance, &mut conn)? else {
        return fail(format!("the target closed the connection within {} of half a request", seconds(REST)));
    };
    instance.target.thaw()?;
    if context.rest(|| closes_before_it_waits(&instance, &mut conn, AFTER_THAW)) {
        return fail("the target closed the connection as soon as it was thawed");
    }
    found.judge(success("after the rest", Instant::now(), conn.exchange(rest, instance.call_deadline())))
}

/// Freezes the instance when it can send no more, because we do not read: only then a time limit for sending runs. A
/// task that was frozen while it sent looks the same as one that waits to send, so this looks before the freeze.
fn freeze_while_it_sends(context: &CheckContext<'_>, instance: &mut Instance) -> Result<Found, Stop> {
    let deadline = Deadline::after(WAITS_WITHIN);
    let asleep = context.rest(|| {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let asleep = process::all_sleep(&instance.target.pids()) != Some(false);
            if asleep || deadline.passed() {
                return asleep;
            }
        }
    });
    context.freeze(instance, context.plan.freeze)?;
    Ok(if asleep { Found::Waiting } else { Found::AtWork { freezes: 1 } })
}

fn freeze_in_reply(context: &CheckContext<'_>) -> Verdict {
    context.require_kept_connections()?;
    let mut instance = context.initialized()?;
    let echoes = context.echoes(&instance);
    let size = context.plan.large_bytes.min(REPLY_BYTES);
    let event = vec![b'r'; size];
    let request = if echoes { instance.platform.invoke(event.clone()) } else { context.request(&instance) }.bytes();
    let deadline = Deadline::after(instance.limits.call + WAITS_WITHIN + context.plan.freeze);
    let mut conn = Conn::open(instance.target.addr(), deadline).map_err(Stop::Fail)?;
    let mut sender = conn.sender().map_err(Stop::Untested)?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.send(&request, deadline));
        if !conn.has_answer(instance.limits.call) {
            return fail("no byte of an answer arrived in time");
        }
        let found = freeze_while_it_sends(context, &mut instance)?;
        // What the target had sent is all that comes while it is frozen.
        let whole = conn.read(Deadline::after(AFTER_THAW));
        instance.target.thaw()?;
        match (whole.is_ok(), echoes) {
            (true, true) => {
                let why = "the answer was complete before the freeze, because the socket buffers hold all of it";
                return Err(Stop::Untested(why.into()));
            }
            // Only an echo lets us choose the size of the answer.
            (true, false) => {
                return skip("the function does not echo events, and its answer was complete before the freeze");
            }
            (false, _) => {}
        }
        context.rest(|| std::thread::sleep(AFTER_THAW));
        // Our own waits are no time of the target.
        let answer = conn.read(instance.call_deadline());
        let _ = sent.join();
        match answer {
            Ok(response) if echoes && response.body != event => {
                fail(format!("{} bytes in place of the {} bytes of the event", response.body.len(), event.len()))
            }
            answer => {
                let bytes = answer.as_ref().map_or(0, |response| response.body.len());
                let whole = success("the answer", Instant::now(), answer);
                found.judge(whole.map(|actual| format!("{actual}, {bytes} bytes")))
            }
        }
    })
}
