//! DISPATCH: who may run a hook, and how it is recognised.
//!
//! Whether a hook ran cannot be seen directly. Taken as signs that it did: its log marker, or an
//! answer like the genuine one and unlike that of a path that nobody knows. A server that answers
//! everything alike gives no sign, and that is what is then said.

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
        expected: "2xx where it is 2xx with the header",
        fix: "where x-fc-control-path is absent, and only there, let method and path decide",
        run: without_control_path,
    },
    Check {
        id: "outside-callers",
        rule: "C-DISP-2",
        severity: Severity::Should,
        needs: &["initialize"],
        request: "method and path of every hook with x-fc-control-path: /http-invoke, as an outside client could",
        expected: "no hook runs",
        fix: "look at x-fc-control-path first: /http-invoke is a client's call, whatever its path",
        run: outside_callers,
    },
    Check {
        id: "wrong-method",
        rule: "C-DISP-4",
        severity: Severity::Note,
        needs: &["initialize"],
        request: "GET /initialize, POST /pre-freeze, POST /pre-stop, without x-fc-control-path",
        expected: "no hook runs",
        fix: "let a hook answer to its own method only (405 otherwise)",
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
    let mut count = 0;
    if !context.plan.http_only {
        local(&instance, "POST", "/invoke")?;
        count += 1;
    }
    for hook in context.hooks(&instance) {
        // Each follows a call, as on the platform.
        context.invoke(&instance)?;
        match local(&instance, hook.method(), hook.path()) {
            Ok(_) => count += 1,
            // A hook that fails with the header too is another check's finding.
            Err(stop) if context.initialized()?.hook(hook).is_ok_and(|response| response.is_success()) => {
                return Err(stop);
            }
            Err(_) => {}
        }
    }
    if count == 0 {
        skip("neither events nor hooks are called under these options")
    } else {
        Ok(format!("{count} calls answered with 2xx"))
    }
}

fn outside_callers(context: &CheckContext<'_>) -> Verdict {
    if !context.plan.setup.settings.control_path {
        return skip("without x-fc-control-path outside callers cannot be told apart");
    }
    each_hook(context, |hook| (Caller::Http, hook.method()))
}

fn wrong_method(context: &CheckContext<'_>) -> Verdict {
    each_hook(context, |hook| (Caller::Local, if hook.method() == "GET" { "POST" } else { "GET" }))
}

fn each_hook(context: &CheckContext<'_>, how: fn(Hook) -> (Caller, &'static str)) -> Verdict {
    let mut came = Vec::new();
    let mut undecided = Vec::new();
    for hook in Hook::ALL {
        if context.require(hook).is_err() {
            continue;
        }
        let genuine = prepared(context, hook)?;
        let real = genuine.platform.hook(hook);
        // A hook that does not work for the platform is another check's finding.
        let Ok(real_answer) = genuine.send(&real) else { continue };
        if !real_answer.is_success() {
            continue;
        }
        let (caller, method) = how(hook);
        match attempt(&prepared(context, hook)?, hook, caller, method, (&real, &real_answer))? {
            Sign::Ran(sign) => return fail(sign),
            Sign::None(status) => came.push(format!("{method} {}: {status}", hook.path())),
            Sign::Undecided => undecided.push(hook.path()),
        }
    }
    match (came.is_empty(), undecided.is_empty()) {
        (false, _) => Ok(came.join(", ")),
        (true, false) => skip(format!("it answers any path like {}, so it cannot be told", undecided.join(", "))),
        (true, true) => skip("no hook works under these options"),
    }
}

/// A fresh instance, initialized unless that is the hook in question.
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
        (true, false) => Sign::Ran(format!("{line}, as for the platform itself")),
        (true, true) => Sign::Undecided,
    })
}
