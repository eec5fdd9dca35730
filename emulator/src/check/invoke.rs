//! INVOKE: events of every shape, HTTP calls, and the status that answers carry.

use std::time::Instant;

use super::context::{CheckContext, line, success};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::http::{BODY_BYTES_MAX, Response};
use crate::instance::Instance;
use crate::platform::{Hook, Request};

pub const CHECKS: &[Check] = &[
    Check {
        id: "invoke",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["initialize"],
        request: "POST /invoke with an event (--event)",
        expected: "2xx",
        fix: "route POST /invoke to the function; give an event that it accepts (--event FILE), or use --http 'GET /'",
        run: invoke,
    },
    Check {
        id: "invoke-empty",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with an empty body",
        expected: "a status below 500: a result, or 404 with x-fc-status 404",
        fix: "accept an empty event: answer a failure of the function with 404, and do not close the connection",
        run: invoke_empty,
    },
    Check {
        id: "invoke-binary",
        rule: "C-INV-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with every byte from 0 to 255",
        expected: "a status below 500; from a function that echoes, the same bytes",
        fix: "read the event as bytes, not as text",
        run: invoke_binary,
    },
    Check {
        id: "invoke-large",
        rule: "C-LIM-3",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "POST /invoke with the largest event that the platform sends (32 MB, --large-bytes)",
        expected: "a status below 500 and not 413; from a function that echoes, the same bytes",
        fix: "raise the limit of the server for request bodies to 32 MB",
        run: invoke_large,
    },
    Check {
        id: "retried-call",
        rule: "C-INV-8",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "an event again with the same request id and x-fc-retry-count: 1; likewise one that fails (--fail-event)",
        expected: "the same status again; after a failure a second run, where log markers show runs",
        fix: "do not refuse or replay a call because its request id is known: asynchronous calls are retried",
        run: retried_call,
    },
    Check {
        id: "http-call",
        rule: "C-INV-2",
        severity: Severity::Must,
        needs: &["initialize"],
        request: "a client's HTTP call (--http or --http-beside-events), with x-fc-control-path: /http-invoke",
        expected: "a status below 500",
        fix: "answer every method and path, an unknown one with 404",
        run: http_call,
    },
    Check {
        id: "status-header",
        rule: "C-INV-3",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "a call and every hook",
        expected: "each answer has x-fc-status: 200 or 404",
        fix: "set x-fc-status beside the HTTP status: without it, the platform counts every call as a success",
        run: status_header,
    },
    Check {
        id: "status-header-truthful",
        rule: "C-INV-3",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call, every hook, and an event that fails (--fail-event), if one is known",
        expected: "x-fc-status, where an answer has it, is 200 with 2xx and 404 with a failure",
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

/// Sends an event and passes if the status is below 500 and does not refuse the size. A function that echoes other
/// events must return the same bytes.
fn accepts(context: &CheckContext<'_>, event: &[u8]) -> Verdict {
    context.require_events()?;
    let instance = context.initialized()?;
    let echoes = context.echoes(&instance);
    let answer = instance.send(&instance.platform.invoke(event));
    match answer {
        Ok(response) if response.status >= 500 || response.status == 413 => {
            fail(format!("{} `{}`", response.status, response.body_text(80)))
        }
        Ok(response) if echoes && response.body_is(event) == Some(false) => fail(format!(
            "{} with {} bytes that differ from the {} bytes of the event, although the function echoes other events",
            response.status,
            response.body_bytes,
            event.len()
        )),
        Ok(response) if echoes && response.body_is(event).is_none() => Err(Stop::Untested(format!(
            "the answers take more than {BODY_BYTES_MAX} bytes together, so this one could not be compared: give a \
             smaller --large-bytes"
        ))),
        Ok(response) => Ok(format!("{}{}", response.status, if echoes { ", echoed byte for byte" } else { "" })),
        Err(why) => fail(why),
    }
}

fn invoke_empty(context: &CheckContext<'_>) -> Verdict {
    accepts(context, b"")
}

fn invoke_binary(context: &CheckContext<'_>) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    accepts(context, &every_byte)
}

fn invoke_large(context: &CheckContext<'_>) -> Verdict {
    const PATTERN: &[u8] = b"fc-emulator ";
    let mut pattern = PATTERN.repeat(context.plan.large_bytes / PATTERN.len() + 1);
    pattern.truncate(context.plan.large_bytes);
    accepts(context, &pattern)
}

fn retried_call(context: &CheckContext<'_>) -> Verdict {
    context.require_events()?;
    let instance = context.initialized()?;
    let (request, first) = context.invoke(&instance)?;
    let again = instance.send(&request.retried()).map_err(|why| Stop::Fail(format!("the retry: {why}")))?;
    if !again.is_success() {
        return fail(format!("{}, then for the retry {} `{}`", first.status, again.status, again.body_text(80)));
    }
    let Some(event) = &context.plan.fail_event else { return Ok(format!("{} both times", again.status)) };
    let request = instance.platform.invoke(event.clone());
    let run = |request: &Request| {
        let mark = instance.target.output().map_or(0, |output| output.mark());
        let answer = instance.send(request).map_err(|why| Stop::Fail(format!("with the event that fails: {why}")))?;
        Ok::<_, Stop>((answer, mark))
    };
    let (failed, mark) = run(&request)?;
    if failed.is_success() {
        return Err(Stop::Untested(format!("the event of --fail-event was answered {}", failed.status)));
    }
    let ran_at_first = ran(&instance, mark, &request.id);
    let (again, mark) = run(&request.retried())?;
    if ran_at_first && !ran(&instance, mark, &request.id) {
        return fail("the log has no marker of a second run after a failure");
    }
    Ok(format!("{} both times; after a failure with {}: {}", first.status, failed.status, again.status))
}

/// Whether the log has the marker of a run with this id.
fn ran(instance: &Instance, mark: usize, id: &str) -> bool {
    let start = format!("FC Invoke Start RequestId: {id}");
    let output = instance.target.output();
    output.is_some_and(|output| line(output, mark, |line| line.text.starts_with(&start)).is_some())
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

/// The answers to a call and to every hook, each with its request line.
pub fn answers(context: &CheckContext<'_>, instance: &Instance) -> Result<Vec<(String, Response)>, Stop> {
    let (request, response) = context.invoke(instance)?;
    let mut answers = vec![(request.line, response)];
    for hook in context.hooks(instance) {
        let request = instance.platform.hook(hook);
        match instance.send(&request) {
            Ok(response) => answers.push((request.line, response)),
            // The check of that hook reports its faults.
            Err(why) => return blocked(own_check(hook), format!("{}: {why}", request.line)),
        }
    }
    Ok(answers)
}

/// The check of a hook that finds whether it works at all.
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
    Ok("every answer has it".into())
}

fn status_header_truthful(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut all = answers(context, &instance)?;
    if let Some(event) = &context.plan.fail_event {
        let response = instance.send(&instance.platform.invoke(event.clone()));
        match response {
            Ok(response) => all.push(("POST /invoke with the event that fails".into(), response)),
            Err(why) => return fail(format!("POST /invoke with the event that fails: {why}")),
        }
    }
    let mut count = 0;
    for (line, response) in &all {
        let truth = if response.is_success() { "200" } else { "404" };
        match response.header("x-fc-status") {
            None => {}
            Some(said) if said == truth => count += 1,
            Some(said) => return fail(format!("{line}: {} with x-fc-status: {said}", response.status)),
        }
    }
    Ok(format!("{count} of {} answers have it, and all are truthful", all.len()))
}

fn error_body(context: &CheckContext<'_>) -> Verdict {
    let Some(event) = &context.plan.fail_event else {
        return skip("no event is known that makes the function fail (--fail-event FILE)");
    };
    let instance = context.initialized()?;
    let response = instance.send(&instance.platform.invoke(event.clone())).map_err(Stop::Fail)?;
    if response.is_success() {
        return Err(Stop::Untested(format!(
            "the event of --fail-event was answered {}, so it does not fail",
            response.status
        )));
    }
    let shown = format!("{} `{}`", response.status, response.body_text(120));
    let json = serde_json::from_slice::<serde_json::Value>(&response.body).unwrap_or_default();
    let has = |key: &str| json.get(key).is_some_and(serde_json::Value::is_string);
    if has("errorMessage") && has("errorType") { Ok(shown) } else { fail(shown) }
}
