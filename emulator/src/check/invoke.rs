//! INVOKE: events of every shape, HTTP calls, and what the answers say of themselves.

use std::time::Instant;

use super::context::{CheckContext, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::http::Response;
use crate::instance::Instance;
use crate::platform::Hook;

pub const CHECKS: &[Check] = &[
    Check {
        id: "invoke",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["initialize"],
        request: "POST /invoke with an event (--event)",
        expected: "2xx",
        fix: "route POST /invoke to the function; give an event that it takes with --event FILE; or say --http-only",
        run: invoke,
    },
    Check {
        id: "invoke-empty",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with an empty body",
        expected: "an answer below 500: a result, or 404 with x-fc-status 404",
        fix: "an event may be empty: answer a failure of the function with 404, and never hang up",
        run: invoke_empty,
    },
    Check {
        id: "invoke-binary",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with every byte from 0 to 255",
        expected: "an answer below 500; from a function that echoes, the same bytes",
        fix: "take the event as bytes, not as text",
        run: invoke_binary,
    },
    Check {
        id: "invoke-large",
        rule: "C-LIM",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with the largest event there is (32 MB, --large-bytes)",
        expected: "an answer below 500, and no refusal (413); from a function that echoes, the same bytes",
        fix: "raise the server's limit for bodies to 32 MB",
        run: invoke_large,
    },
    Check {
        id: "http-call",
        rule: "C-INV-2",
        severity: Severity::Must,
        needs: &["initialize"],
        request: "a client's own method and path (--http), with x-fc-control-path: /http-invoke",
        expected: "an answer below 500",
        fix: "answer any method and path; an unknown one with 404",
        run: http_call,
    },
    Check {
        id: "status-header",
        rule: "C-INV-3",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "a call and every hook",
        expected: "x-fc-status: 200 or 404 in each answer",
        fix: "set x-fc-status beside the HTTP status: without it the platform counts every call as successful",
        run: status_header,
    },
    Check {
        id: "status-header-truthful",
        rule: "C-INV-3",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call, every hook, and an event that fails (--fail-event) if one is known",
        expected: "where x-fc-status is there, it says 200 with 2xx and 404 with a failure",
        fix: "set x-fc-status to 404 when the function failed, and to 200 otherwise",
        run: status_header_truthful,
    },
    Check {
        id: "error-body",
        rule: "C-INV-5",
        severity: Severity::Note,
        needs: &["invoke"],
        request: "POST /invoke with an event that fails (--fail-event)",
        expected: "a failure whose body is JSON with errorMessage and errorType",
        fix: "answer a failed call with {\"errorMessage\": …, \"errorType\": …}",
        run: error_body,
    },
];

fn invoke(context: &CheckContext<'_>) -> Verdict {
    context.require_events()?;
    let instance = context.initialized()?;
    let request = instance.platform.invoke(context.plan.event.clone());
    success("POST /invoke", Instant::now(), instance.send(&request))
}

/// Sends `event`; an answer below 500 that is no refusal of its size is good. A function known to
/// echo must return the same bytes.
fn takes(context: &CheckContext<'_>, event: &[u8]) -> Verdict {
    context.require_events()?;
    let instance = context.initialized()?;
    let echoes = context.echoes(&instance);
    let answer = instance.send(&instance.platform.invoke(event));
    match answer {
        Ok(response) if response.status >= 500 || response.status == 413 => {
            fail(format!("{} `{}`", response.status, response.body_text(80)))
        }
        Ok(response) if echoes && response.body != event => fail(format!(
            "{} with {} other bytes than the {} sent, although it echoes other events",
            response.status,
            response.body.len(),
            event.len()
        )),
        Ok(response) => Ok(format!("{}{}", response.status, if echoes { ", echoed byte for byte" } else { "" })),
        Err(why) => fail(why),
    }
}

fn invoke_empty(context: &CheckContext<'_>) -> Verdict {
    takes(context, b"")
}

fn invoke_binary(context: &CheckContext<'_>) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    takes(context, &every_byte)
}

fn invoke_large(context: &CheckContext<'_>) -> Verdict {
    const PATTERN: &[u8] = b"fc-emulator ";
    let mut pattern = PATTERN.repeat(context.plan.large_bytes / PATTERN.len() + 1);
    pattern.truncate(context.plan.large_bytes);
    takes(context, &pattern)
}

fn http_call(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let (method, path) = (&context.plan.http_method, &context.plan.http_path);
    let request = instance.platform.http(method, path, &[], Vec::new());
    let deadline = instance.call_deadline();
    let answer = instance.conn().and_then(|mut conn| {
        conn.send(&request.bytes(), deadline)?;
        if method == "HEAD" { conn.read_head_only(deadline) } else { conn.read(deadline) }
    });
    match answer {
        Ok(response) if response.status < 500 => Ok(format!("{}: {}", request.line, response.status)),
        Ok(response) => fail(format!("{}: {} `{}`", request.line, response.status, response.body_text(80))),
        Err(why) => fail(format!("{}: {why}", request.line)),
    }
}

/// The answers to an event and to every hook, with the names of what was sent.
pub fn answers(context: &CheckContext<'_>, instance: &Instance) -> Result<Vec<(String, Response)>, Stop> {
    let (request, response) = context.invoke(instance)?;
    let mut answers = vec![(request.line, response)];
    for hook in context.hooks(instance) {
        let request = instance.platform.hook(hook);
        match instance.send(&request) {
            Ok(response) => answers.push((request.line, response)),
            // The hook's own check says what is wrong with it.
            Err(why) => return blocked(own_check(hook), format!("{}: {why}", request.line)),
        }
    }
    Ok(answers)
}

/// The check that a hook works at all.
pub fn own_check(hook: Hook) -> &'static str {
    match hook {
        Hook::Initialize => "initialize",
        Hook::PreFreeze => "pre-freeze",
        Hook::PreStop => "pre-stop",
    }
}

fn status_header(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    for (line, response) in answers(context, &instance)? {
        if response.header("x-fc-status").is_none() {
            return fail(format!("{line}: {} without x-fc-status", response.status));
        }
    }
    Ok("in every answer".into())
}

fn status_header_truthful(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut all = answers(context, &instance)?;
    if let Some(event) = &context.plan.fail_event {
        let response = instance.send(&instance.platform.invoke(event.clone()));
        match response {
            Ok(response) => all.push(("POST /invoke with the failing event".into(), response)),
            Err(why) => return fail(format!("POST /invoke with the failing event: {why}")),
        }
    }
    let mut told = 0;
    for (line, response) in &all {
        let truth = if response.is_success() { "200" } else { "404" };
        match response.header("x-fc-status") {
            None => {}
            Some(said) if said == truth => told += 1,
            Some(said) => return fail(format!("{line}: {} with x-fc-status: {said}", response.status)),
        }
    }
    Ok(format!("{told} of {} answers carry it, all truthful", all.len()))
}

fn error_body(context: &CheckContext<'_>) -> Verdict {
    let Some(event) = &context.plan.fail_event else {
        return skip("no event is known that fails (--fail-event FILE)");
    };
    let instance = context.initialized()?;
    let response = instance.send(&instance.platform.invoke(event.clone())).map_err(Stop::Fail)?;
    if response.is_success() {
        return Err(Stop::Cannot(format!("the event given with --fail-event was answered {}", response.status)));
    }
    let shown = format!("{} `{}`", response.status, response.body_text(120));
    let json = serde_json::from_slice::<serde_json::Value>(&response.body).unwrap_or_default();
    let has = |key: &str| json.get(key).is_some_and(serde_json::Value::is_string);
    if has("errorMessage") && has("errorType") { Ok(shown) } else { fail(shown) }
}
