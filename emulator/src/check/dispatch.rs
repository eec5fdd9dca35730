//! DISPATCH: which callers may run a hook, and how a server recognises them.
//!
//! We cannot see directly whether a hook ran. Two signs show it: its log marker, or an answer that is like the answer
//! to the platform and unlike the answer to an unknown path. A server that answers every path alike gives no sign, and
//! the check says so.

use std::time::Instant;

use super::context::{CheckContext, alike, settle, success};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::http::Response;
use crate::instance::Instance;
use crate::platform::{Caller, Hook, Request, ids};

pub const CHECKS: &[Check] = &[
    Check {
        id: "without-control-path",
        rule: "C-DISP-4",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "POST /invoke and every hook without x-fc-control-path, as local tools and Kubernetes do",
        expected: "2xx for each call that is answered 2xx with the header",
        fix: "if x-fc-control-path is absent, and only then, let method and path decide",
        run: without_control_path,
    },
    Check {
        id: "outside-callers",
        rule: "C-DISP-2",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "method and path of every hook with x-fc-control-path: /http-invoke, as from an outside client",
        expected: "no hook runs",
        fix: "read x-fc-control-path first: with /http-invoke it is the call of a client, whatever its path",
        run: outside_callers,
    },
    Check {
        id: "wrong-method",
        rule: "C-DISP-4",
        severity: Severity::Note,
        needs: &["initialize"],
        request: "GET /initialize, POST /pre-freeze, POST /pre-stop, without x-fc-control-path",
        expected: "no hook runs",
        fix: "run a hook only for its own method, and answer 405 to others",
        run: wrong_method,
    },
];

fn without_control_path(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let local = |instance: &Instance, method: &str, path: &str| {
        let event = if path == "/invoke" { context.plan.event.clone() } else { Vec::new() };
        let request = instance.platform.request(Caller::Local, method, path, &[], event);
        success(&request.line, Instant::now(), instance.send(&request))
    };
    let (mut count, mut failed) = (0, Vec::new());
    if !context.plan.http_only {
        local(&instance, "POST", "/invoke")?;
        count += 1;
    }
    for hook in context.hooks(&instance) {
        // Each follows a call, as on the platform.
        context.invoke(&instance)?;
        match local(&instance, hook.method(), hook.path()) {
            Ok(_) => count += 1,
            Err(stop) => failed.push((hook, stop)),
        }
    }
    // With a fixed port, only one instance can be there.
    drop(instance);
    for (hook, stop) in failed {
        // Another check reports a hook that also fails with the header.
        if context.initialized()?.hook(hook).is_ok_and(|response| response.is_success()) {
            return Err(stop);
        }
    }
    if count == 0 {
        skip("the platform sends neither events nor hooks under these options")
    } else {
        Ok(format!("calls answered 2xx: {count}"))
    }
}

fn outside_callers(context: &CheckContext<'_>) -> Verdict {
    if !context.plan.setup.settings.control_path {
        return skip("without x-fc-control-path a server cannot recognise outside callers");
    }
    each_hook(context, |hook| (Caller::Http, hook.method()))
}

fn wrong_method(context: &CheckContext<'_>) -> Verdict {
    each_hook(context, |hook| (Caller::Local, if hook.method() == "GET" { "POST" } else { "GET" }))
}

fn each_hook(context: &CheckContext<'_>, how: fn(Hook) -> (Caller, &'static str)) -> Verdict {
    let mut actual = Vec::new();
    let mut undecided = Vec::new();
    for hook in Hook::ALL {
        if context.require(hook).is_err() {
            continue;
        }
        let genuine = prepared(context, hook)?;
        let real = genuine.platform.hook(hook);
        // Another check reports a hook that does not work for the platform.
        let Ok(real_answer) = genuine.send(&real) else { continue };
        if !real_answer.is_success() {
            continue;
        }
        // With a fixed port, only one instance can be there.
        drop(genuine);
        let (caller, method) = how(hook);
        match attempt(&prepared(context, hook)?, hook, caller, method, (&real, &real_answer))? {
            Sign::Ran(sign) => return fail(sign),
            Sign::None(status) => actual.push(format!("{method} {}: {status}", hook.path())),
            Sign::Undecided => undecided.push(hook.path()),
        }
    }
    match (actual.is_empty(), undecided.is_empty()) {
        (false, _) => Ok(actual.join(", ")),
        (true, false) => {
            skip(format!("the target answers every path like {}, so no sign shows a hook", undecided.join(", ")))
        }
        (true, true) => skip("no hook works under these options"),
    }
}

/// A fresh instance, which is initialized unless the hook is the initializer itself.
fn prepared(context: &CheckContext<'_>, hook: Hook) -> Result<Instance, Stop> {
    let instance = context.fresh()?;
    if hook != Hook::Initialize {
        context.initialize(&instance)?;
    }
    Ok(instance)
}

enum Sign {
    Ran(String),
    None(u16),
    Undecided,
}

fn attempt(
    instance: &Instance,
    hook: Hook,
    caller: Caller,
    method: &str,
    genuine: (&Request, &Response),
) -> Result<Sign, Stop> {
    let nowhere = format!("/fc-emulator-{:x}", ids::random());
    let unknown = instance.platform.request(caller, method, &nowhere, &[], Vec::new());
    let unknown_answer = instance.send(&unknown).map_err(Stop::Fail)?;
    let output = instance.target.output();
    let mark = output.map_or(0, |output| output.mark());
    let tried = instance.platform.request(caller, method, hook.path(), &[], Vec::new());
    let answer = instance.send(&tried).map_err(Stop::Fail)?;
    let line = format!("{method} {}: {} `{}`", hook.path(), answer.status, answer.body_text(60));

    let marker = format!("FC {} Start", hook.marker());
    if let Some(output) = output {
        settle(output);
        if output.since(mark).iter().any(|line| line.text.starts_with(&marker)) {
            return Ok(Sign::Ran(format!("{line}, and the log says `{marker}`")));
        }
    }
    let as_genuine = alike((&tried, &answer), genuine);
    let as_unknown = alike((&tried, &answer), (&unknown, &unknown_answer));
    Ok(match (answer.is_success() && as_genuine, as_unknown) {
        (false, _) => Sign::None(answer.status),
        (true, false) => Sign::Ran(format!("{line}, like the answer to the platform")),
        (true, true) => Sign::Undecided,
    })
}
