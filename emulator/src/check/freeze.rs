//! FREEZE: freezes with and without notice, and the first call after them, on a connection of its own.
//!
//! The platform thaws an instance because a call has arrived. So the call after a thaw already waits in the socket when
//! the target wakes. What a freeze does to connections from before it is checked in `waiting`.

use std::time::{Duration, Instant};

use super::connection::kept;
use super::context::{AFTER_THAW, CheckContext, second_conn, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::clock::Deadline;
use crate::freezer::Proof;
use crate::http::Conn;
use crate::instance::Instance;
use crate::platform::Hook;

pub const CHECKS: &[Check] = &[
    Check {
        id: "pre-freeze",
        rule: "C-FRZ-2",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "GET /pre-freeze after a call",
        expected: "2xx within its time limit",
        fix: "route GET /pre-freeze to the hook; if the function has no such hook, leave it out of --hooks",
        run: pre_freeze,
    },
    Check {
        id: "pre-freeze-twice",
        rule: "C-STOP-4",
        severity: Severity::Should,
        needs: &["pre-freeze"],
        request: "GET /pre-freeze twice, as after a broken connection",
        expected: "2xx for both",
        fix: "answer a repeated pre-freeze like the first one",
        run: pre_freeze_twice,
    },
    Check {
        id: "call-during-pre-freeze",
        rule: "C-FRZ-3",
        severity: Severity::Should,
        needs: &["pre-freeze", "other-connection"],
        request: "GET /pre-freeze, and before its answer a call on another connection",
        expected: "2xx for both",
        fix: "accept calls while the hook runs: a new call may arrive before pre-freeze has ended",
        run: call_during_pre_freeze,
    },
    Check {
        id: "thaw-call",
        rule: "C-FRZ-5",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "pre-freeze if configured, a freeze (--freeze-for), and a call that arrives during the freeze",
        expected: "2xx right after the thaw, and the target keeps running",
        fix: "survive a thaw without notice: overdue timers, watchdogs and dead sockets must not end the process",
        run: thaw_call,
    },
    Check {
        id: "thaw-without-pre-freeze",
        rule: "C-FRZ-2",
        severity: Severity::Should,
        needs: &["thaw-call"],
        request: "a freeze without pre-freeze right after an answer, then a call; on another instance two shorter ones",
        expected: "2xx for each call",
        fix: "do not depend on pre-freeze, which FC 3.0 never calls: leave a safe state after every answer",
        run: thaw_without_pre_freeze,
    },
    Check {
        id: "freeze-after-initialize",
        rule: "C-INIT-4",
        severity: Severity::Must,
        needs: &["thaw-call"],
        request: "POST /initialize, a freeze (--freeze-for), and the first call, which arrives during the freeze",
        expected: "2xx right after the thaw",
        fix: "let nothing that /initialize prepares expire before the first call: hours may lie between them",
        run: freeze_after_initialize,
    },
    Check {
        id: "initialize-after-thaw",
        rule: "C-INIT-5",
        severity: Severity::Should,
        needs: &["initialize-again", "thaw-call"],
        request: "a call, a freeze (--freeze-for), POST /initialize as the first call after it, and a call",
        expected: "2xx for both",
        fix: "answer a repeated POST /initialize with the stored success: by one page it comes on unfreezing, too",
        run: initialize_after_thaw,
    },
];

fn pre_freeze(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreFreeze)?;
    let instance = context.initialized()?;
    context.invoke(&instance)?;
    let started = Instant::now();
    match instance.hook(Hook::PreFreeze) {
        Ok(response) if response.status >= 500 => {
            blocked("hook-never-500", format!("GET /pre-freeze: {}", response.status))
        }
        answer => success("GET /pre-freeze", started, answer),
    }
}

fn pre_freeze_twice(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreFreeze)?;
    let instance = context.initialized()?;
    success("the first call", Instant::now(), instance.hook(Hook::PreFreeze))?;
    success("the second call", Instant::now(), instance.hook(Hook::PreFreeze))
}

/// Sends calls until the hook has been answered, so that at least one call arrives while the hook runs.
fn call_during_pre_freeze(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreFreeze)?;
    let instance = context.initialized()?;
    let mut calls = kept_or_new(context, &instance)?;
    let mut hook = second_conn(&instance)?;
    let limit = Deadline::after(instance.limits.pre_freeze);
    hook.send(&instance.platform.hook(Hook::PreFreeze).bytes(), limit).map_err(Stop::Fail)?;
    let mut count = 0;
    loop {
        count += 1;
        let request = context.request(&instance).bytes();
        let answer = match calls.exchange(&request, instance.call_deadline()) {
            Ok(response) if !response.keeps_alive() => {
                calls = second_conn(&instance)?;
                Ok(response)
            }
            answer => answer,
        };
        success(&format!("call {count}, while pre-freeze runs"), Instant::now(), answer)?;
        if hook.has_answer(Duration::from_millis(5)) || limit.passed() {
            break;
        }
    }
    success("pre-freeze", Instant::now(), hook.read(limit))?;
    Ok(format!("pre-freeze and the calls during it ({count}) were answered"))
}

fn kept_or_new(context: &CheckContext<'_>, instance: &Instance) -> Result<Conn, Stop> {
    kept(context, instance).or_else(|_| instance.conn().map_err(Stop::Fail))
}

/// Calls pre-freeze, as the platform does before a freeze. The check of that hook reports its faults.
fn announce(instance: &Instance) {
    if instance.platform.calls(Hook::PreFreeze) {
        let _ = instance.hook(Hook::PreFreeze);
    }
}

fn thaw_call(context: &CheckContext<'_>) -> Verdict {
    let mut instance = context.initialized()?;
    context.invoke(&instance)?;
    announce(&instance);
    let (actual, proof) = frozen_call(context, &mut instance, context.plan.freeze)?;
    // A fault that shows a moment after the thaw counts, too.
    context.rest(|| std::thread::sleep(AFTER_THAW));
    if let Some(exit) = instance.target.try_exit() {
        return fail(format!("{actual}; then the target {exit}"));
    }
    success("a later call", Instant::now(), instance.send(&context.request(&instance)))?;
    let clocks = instance.target.own_clocks()?.map_or(String::new(), |clocks| format!("{clocks}; "));
    Ok(format!("{proof}; {clocks}{actual}"))
}

fn freeze_after_initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    if context.is_shared() {
        return skip("a server that already runs cannot be frozen");
    }
    let mut instance = context.initialized()?;
    announce(&instance);
    Ok(frozen_call(context, &mut instance, context.plan.freeze)?.0)
}

fn initialize_after_thaw(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    let mut instance = context.initialized()?;
    context.invoke(&instance)?;
    announce(&instance);
    context.freeze(&mut instance, context.plan.freeze)?;
    instance.target.thaw()?;
    let thawed = Instant::now();
    let repeated = success("POST /initialize after the thaw", thawed, instance.hook(Hook::Initialize))?;
    let call = success("the call after it", Instant::now(), instance.send(&context.request(&instance)))?;
    Ok(format!("{repeated}; {call}"))
}

/// Freezes the instance, sends a call during the freeze, thaws, and reads the answer. Where nothing accepts calls
/// during the freeze, the call is sent right after the thaw.
fn frozen_call(context: &CheckContext<'_>, instance: &mut Instance, span: Duration) -> Result<(String, Proof), Stop> {
    let proof = context.freeze(instance, span)?;
    let send = |instance: &Instance| {
        let request = context.request(instance).bytes();
        instance.conn().and_then(|mut conn| conn.send(&request, instance.call_deadline()).map(|()| conn))
    };
    let early = context.plan.setup.freeze_with.keeps_connections().then(|| send(instance));
    instance.target.thaw()?;
    let thawed = Instant::now();
    let sent = early.unwrap_or_else(|| send(instance));
    let answer = sent.and_then(|mut conn| conn.read(instance.call_deadline()));
    Ok((success("the call after the thaw", thawed, answer)?, proof))
}

/// One instance is frozen for long, another one several times.
fn thaw_without_pre_freeze(context: &CheckContext<'_>) -> Verdict {
    let frozen = |context: &CheckContext<'_>, spans: &[Duration]| {
        let mut instance = context.initialized()?;
        context.invoke(&instance)?;
        let mut actual = String::new();
        for span in spans {
            (actual, _) = frozen_call(context, &mut instance, *span)?;
            // A fault that shows a moment after the thaw counts, too.
            context.rest(|| std::thread::sleep(AFTER_THAW));
            success("a later call", Instant::now(), instance.send(&context.request(&instance)))?;
        }
        Ok(actual)
    };
    let span = context.plan.freeze;
    let (actual, _) = context.both(|one| frozen(one, &[span]), |other| frozen(other, &[span / 8; 2]))?;
    Ok(actual)
}
