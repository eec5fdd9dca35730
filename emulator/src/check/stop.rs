//! STOP: the pre-stop hook, SIGTERM, and one after the other.

use std::time::Instant;

use super::connection::kept;
use super::context::{CheckContext, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::clock::{Deadline, millis};
use crate::freezer::FreezeWith;
use crate::http::{Conn, Response};
use crate::instance::{Instance, Variant};
use crate::platform::Hook;
use crate::target::{self, Exit, Spec};

pub const CHECKS: &[Check] = &[
    Check {
        id: "pre-stop",
        rule: "C-STOP-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "GET /pre-stop after a call",
        expected: "2xx within its time limit",
        fix: "route GET /pre-stop, spelt so, to the hook; if the function has no such hook, leave it out of --hooks",
        run: pre_stop,
    },
    Check {
        id: "pre-stop-twice",
        rule: "C-STOP-4",
        severity: Severity::Should,
        needs: &["pre-stop"],
        request: "GET /pre-stop twice, as after a broken connection",
        expected: "2xx for both",
        fix: "answer a repeated pre-stop like the first one, without running the hook again",
        run: pre_stop_twice,
    },
    Check {
        id: "call-after-pre-stop",
        rule: "C-STOP-5",
        severity: Severity::Should,
        needs: &["pre-stop", "keepalive"],
        request: "GET /pre-stop, a call and GET /pre-stop again, all on one connection",
        expected: "2xx for the call, the connection stays open, and 200 or 404 for the second pre-stop",
        fix: "go on after pre-stop if a call comes: the instance may be frozen or saved, and not destroyed",
        run: call_after_pre_stop,
    },
    Check {
        id: "initialize-after-pre-stop",
        rule: "C-INIT-5",
        severity: Severity::Should,
        needs: &["initialize-again", "pre-stop"],
        request: "a call, GET /pre-stop, and POST /initialize",
        expected: "2xx",
        fix: "let the initializer run again after pre-stop: an instance that lives on may be initialized anew",
        run: initialize_after_pre_stop,
    },
    Check {
        id: "pre-stop-after-freeze",
        rule: "C-STOP-2",
        severity: Severity::Should,
        needs: &["pre-stop", "thaw-call"],
        request: "pre-freeze if configured, a freeze (--freeze-for), and GET /pre-stop as the first call after it",
        expected: "2xx within its time limit",
        fix: "let pre-stop work right after a thaw, without a call before it",
        run: pre_stop_after_freeze,
    },
    Check {
        id: "sigterm",
        rule: "C-STOP-3",
        severity: Severity::Should,
        needs: &[],
        request: "SIGTERM to the idle target",
        expected: "the target exits within the time limit (--term-timeout)",
        fix: "catch SIGTERM and exit; Docker and Kubernetes kill a process that does not",
        run: sigterm,
    },
    Check {
        id: "sigterm-code",
        rule: "C-STOP-3",
        severity: Severity::Note,
        needs: &["sigterm"],
        request: "SIGTERM to the idle target",
        expected: "exit code 0, or an end by SIGTERM (143)",
        fix: "exit with 0 after an orderly stop",
        run: sigterm_code,
    },
    Check {
        id: "pid-1",
        rule: "C-STOP-3",
        severity: Severity::Should,
        needs: &["sigterm"],
        request: "SIGTERM to the target as process 1, as in a container",
        expected: "the target exits within the time limit (--term-timeout)",
        fix: "install a handler, because the kernel ignores SIGTERM for process 1 without one; or start it by an init",
        run: pid_1,
    },
    Check {
        id: "pre-stop-then-sigterm",
        rule: "C-STOP-3",
        severity: Severity::Should,
        needs: &["pre-stop", "sigterm"],
        request: "GET /pre-stop, then SIGTERM",
        expected: "2xx, then an exit within the time limit (--term-timeout)",
        fix: "let SIGTERM work after pre-stop, too, without a second run of the hook that could hang",
        run: pre_stop_then_sigterm,
    },
];

fn pre_stop(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreStop)?;
    let instance = context.initialized()?;
    context.invoke(&instance)?;
    let started = Instant::now();
    match instance.hook(Hook::PreStop) {
        Ok(response) if response.status >= 500 => {
            blocked("hook-never-500", format!("GET /pre-stop: {}", response.status))
        }
        answer => success("GET /pre-stop", started, answer),
    }
}

fn pre_stop_twice(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreStop)?;
    let instance = context.initialized()?;
    success("the first call", Instant::now(), instance.hook(Hook::PreStop))?;
    success("the second call", Instant::now(), instance.hook(Hook::PreStop))
}

/// Pre-stop that was not the end: the platform may call it before a freeze or a snapshot, too.
fn call_after_pre_stop(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreStop)?;
    let instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    let hook = |conn: &mut Conn| {
        let limit = Deadline::after(instance.limits.pre_stop);
        conn.exchange(&instance.platform.hook(Hook::PreStop).bytes(), limit)
    };
    match hook(&mut conn) {
        Ok(response) if response.keeps_alive() => {}
        Ok(_) => return fail("the answer to pre-stop closes the connection"),
        Err(why) => return blocked("pre-stop", why),
    }
    let request = context.request(&instance).bytes();
    let started = Instant::now();
    let answer = conn.exchange(&request, instance.call_deadline());
    let keeps = answer.as_ref().is_ok_and(Response::keeps_alive);
    let actual = success("the call after pre-stop", started, answer)?;
    if !keeps {
        return fail(format!("{actual}; its answer closes the connection"));
    }
    match hook(&mut conn) {
        Ok(response) if matches!(response.status, 200..300 | 404) => {
            Ok(format!("{actual}; the next pre-stop: {}", response.status))
        }
        Ok(response) => fail(format!("{actual}; the next pre-stop: {} `{}`", response.status, response.body_text(80))),
        Err(why) => fail(format!("{actual}; the next pre-stop: {why}")),
    }
}

fn initialize_after_pre_stop(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    context.require(Hook::PreStop)?;
    // A shared server would take the pre-stop for its end.
    let instance = context.fresh()?;
    context.initialize(&instance)?;
    context.invoke(&instance)?;
    match instance.hook(Hook::PreStop) {
        Ok(response) if response.is_success() => {}
        Ok(response) => return blocked("pre-stop", format!("GET /pre-stop: {}", response.status)),
        Err(why) => return blocked("pre-stop", why),
    }
    success("POST /initialize after pre-stop", Instant::now(), instance.hook(Hook::Initialize))
}

fn pre_stop_after_freeze(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreStop)?;
    let mut instance = context.initialized()?;
    context.invoke(&instance)?;
    if instance.platform.calls(Hook::PreFreeze) {
        let _ = instance.hook(Hook::PreFreeze);
    }
    context.freeze(&mut instance, context.plan.freeze)?;
    instance.target.thaw()?;
    success("GET /pre-stop after the thaw", Instant::now(), instance.hook(Hook::PreStop))
}

/// Sends SIGTERM and waits for the exit.
fn terminated(context: &CheckContext<'_>, instance: &mut Instance) -> Result<(Exit, String), Stop> {
    let started = Instant::now();
    instance.terminate()?;
    let deadline = Deadline::after(instance.limits.term);
    match context.rest(|| target::wait_exit(&mut *instance.target, deadline)) {
        Some(exit) => Ok((exit, format!("the target {exit} after {}", millis(started.elapsed())))),
        None => fail(format!("the target still runs {} after SIGTERM", millis(started.elapsed()))),
    }
}

fn sigterm(context: &CheckContext<'_>) -> Verdict {
    context.require_signals()?;
    let mut instance = context.initialized()?;
    Ok(terminated(context, &mut instance)?.1)
}

fn sigterm_code(context: &CheckContext<'_>) -> Verdict {
    context.require_signals()?;
    let mut instance = context.initialized()?;
    let (exit, actual) = terminated(context, &mut instance)?;
    let orderly = matches!(exit, Exit::Code(0 | 143) | Exit::Signal(15));
    if orderly { Ok(actual) } else { fail(actual) }
}

fn pid_1(context: &CheckContext<'_>) -> Verdict {
    context.require_signals()?;
    if context.plan.setup.freeze_with == FreezeWith::Criu {
        return skip("a target that CRIU saves and restores is not process 1");
    }
    if let (Spec::Command(_), None) = (&context.plan.setup.spec, &context.plan.setup.machines)
        && !(cfg!(target_os = "linux") && rustix::process::geteuid().is_root())
    {
        return skip(
            "only root on Linux can start a process 1 outside a container: run as root, or give an image (--image)",
        );
    }
    if let (Spec::Command(_), None) = (&context.plan.setup.spec, &context.plan.setup.machines)
        && crate::vm::in_path("unshare").is_none()
    {
        return skip("there is no `unshare` (util-linux), which starts a process 1 outside a container");
    }
    let mut instance = context.start_as(&Variant { pid_one: true, ..Variant::default() })?;
    context.initialize(&instance)?;
    Ok(terminated(context, &mut instance)?.1)
}

fn pre_stop_then_sigterm(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::PreStop)?;
    context.require_signals()?;
    let mut instance = context.initialized()?;
    let stopped = success("GET /pre-stop", Instant::now(), instance.hook(Hook::PreStop))?;
    // A target that exits by itself after pre-stop passes, too.
    let actual = match instance.target.try_exit() {
        Some(exit) => format!("the target {exit} by itself"),
        None => terminated(context, &mut instance)?.1,
    };
    Ok(format!("{stopped}; {actual}"))
}
