//! LOG: the markers by which the console divides logs, output that appears before the freeze, and secrets, which must
//! not be printed.

use super::context::{CheckContext, OUTPUT_WAIT, line, settle};
use super::{Check, Severity, Stop, Verdict, blocked, fail, skip};
use crate::clock::Deadline;
use crate::http::cut;
use crate::instance::Instance;
use crate::output::{Line, Output, Stream};
use crate::platform::Hook;
use crate::target;

/// The platform cuts a longer line (C-LIM-6).
const LINE_BYTES_MAX: usize = 32 * 1024;

/// This many characters of a secret in the output reveal it.
const REVEALING_CHARS: usize = 16;

/// The end of the last line of a call that failed.
const FAILED: &str = ", Error: Unhandled function error";

/// So many calls fill any usual output buffer, if each prints a line.
const FILLING_CALLS: usize = 300;

pub const CHECKS: &[Check] = &[
    Check {
        id: "output-unbuffered",
        rule: "C-FRZ-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call; then more calls and SIGTERM, to make the target print what it buffers",
        expected: "the output of the call appears soon after its answer, because the freeze may follow at once",
        fix: "flush standard output after each line (Python: -u or flush=True; C: setvbuf)",
        run: output_unbuffered,
    },
    Check {
        id: "log-invoke",
        rule: "C-LOG-1",
        severity: Severity::Should,
        needs: &["output-unbuffered"],
        request: "a call",
        expected: "`FC Invoke Start RequestId: <id>` and `FC Invoke End RequestId: <id>` on standard output, at \
                   column 0",
        fix: "print both lines to standard output, spelt exactly so, with nothing before them",
        run: log_invoke,
    },
    Check {
        id: "log-initialize",
        rule: "C-LOG-1",
        severity: Severity::Should,
        needs: &["output-unbuffered", "initialize", "hooks-recognised"],
        request: "POST /initialize",
        expected: "`FC Initialize Start RequestId: <id>` and `FC Initialize End RequestId: <id>`, likewise",
        fix: "print both lines for the initializer, too",
        run: log_initialize,
    },
    Check {
        id: "log-failed-call",
        rule: "C-LOG-3",
        severity: Severity::Note,
        needs: &["log-invoke"],
        request: "POST /invoke with an event that fails (--fail-event)",
        expected: "`FC Invoke End RequestId: <id>, Error: Unhandled function error`",
        fix: "end the second line of a call that failed with `, Error: Unhandled function error`",
        run: log_failed_call,
    },
    Check {
        id: "log-line-length",
        rule: "C-LIM-6",
        severity: Severity::Note,
        needs: &["invoke"],
        request: "POST /invoke with an event of 40 KB",
        expected: "no line of output has more than 32 KB",
        fix: "do not print whole events: the platform cuts lines at 32 KB",
        run: log_line_length,
    },
];

/// Checks that end the instance, or that need the hooks of its end. They come later in the list.
pub const LATE_CHECKS: &[Check] = &[
    Check {
        id: "log-hooks",
        rule: "C-LOG-2",
        severity: Severity::Note,
        needs: &["output-unbuffered", "hooks-recognised"],
        request: "GET /pre-freeze and GET /pre-stop",
        expected: "`FC PreFreeze Start RequestId: <id>` and `FC PreFreeze End RequestId: <id>`; the same with PreStop",
        fix: "print both lines for these hooks, too",
        run: log_hooks,
    },
    Check {
        id: "secrets-silent",
        rule: "C-LOG-5",
        severity: Severity::Must,
        needs: &[],
        request: "a whole lifecycle with credentials: hooks, events, HTTP calls, malformed requests, SIGTERM",
        expected: "the output holds no credential, not even its first 16 characters",
        fix: "do not print headers or the environment as they are: tail logs can reach anonymous callers",
        run: secrets_silent,
    },
];

fn output_unbuffered(context: &CheckContext<'_>) -> Verdict {
    let mut instance = context.initialized()?;
    let output = context.output(&instance)?.clone();
    let lines_out = || output.all().iter().filter(|line| line.stream == Stream::Out).count();
    let (request, _) = context.invoke(&instance)?;
    let has_id = |line: &Line| line.text.contains(&request.id);
    if line(&output, 0, has_id).is_some() {
        return Ok("a line with the request id appeared".into());
    }
    let (mark, printed) = (output.mark(), lines_out());
    let mut calls = 0;
    while calls < FILLING_CALLS && instance.send(&context.request(&instance)).is_ok() {
        calls += 1;
    }
    let late = output.wait_for(mark, Deadline::after(std::time::Duration::from_millis(300)), has_id).is_some();
    let _ = instance.terminate();
    target::wait_exit(&mut *instance.target, Deadline::after(instance.limits.term));
    output.wait_end(Deadline::after(OUTPUT_WAIT));
    match (late, output.all().iter().any(has_id)) {
        (true, _) => fail(format!("the line of the call appeared only during {FILLING_CALLS} more calls")),
        (false, true) => fail("the line of the call appeared only when the process ended"),
        // A line for each call, but none for the first one when it was answered.
        (false, false) if printed == 0 && calls == FILLING_CALLS && lines_out() > calls => {
            fail(format!("no line when the first call was answered, and {} lines after {calls} more", lines_out()))
        }
        (false, false) => skip("the target prints no request id, so there is no line to wait for"),
    }
}

/// Finds both markers of a call that was answered.
fn markers(output: &Output, mark: usize, word: &str, id: &str) -> Verdict {
    let (start, end) = (format!("FC {word} Start RequestId: {id}"), format!("FC {word} End RequestId: {id}"));
    let is_out = |line: &Line| line.stream == Stream::Out;
    let is_end = |line: &Line| {
        let rest = line.text.strip_prefix(&end);
        is_out(line) && rest.is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(", Error: "))
    };
    let seen_end = line(output, mark, is_end).is_some();
    let seen_start = output.since(mark).iter().any(|line| is_out(line) && line.text.trim_end() == start);
    let missing = match (seen_start, seen_end) {
        (true, true) => return Ok("both lines".into()),
        (false, false) => format!("neither `{start}` nor `{end}`"),
        (false, true) => format!("no `{start}`"),
        (true, false) => format!("no `{end}`"),
    };
    let lower = format!("fc {} ", word.to_lowercase());
    // The marker that is right does not explain why the other one is missing.
    let right = |line: &&Line| seen_start && line.text.trim_end() == start || seen_end && is_end(line);
    let near = |line: &&Line| line.text.to_lowercase().contains(&lower) || line.text.contains(id);
    let lines = output.since(mark);
    let near = lines.iter().filter(|line| !right(line)).find(near);
    fail(match near {
        Some(near) => format!("{missing}; the most similar line is `{}`", cut(&near.text, 120)),
        None => missing,
    })
}

fn log_invoke(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let output = context.output(&instance)?;
    settle(output);
    let mark = output.mark();
    let (request, _) = context.invoke(&instance)?;
    markers(output, mark, "Invoke", &request.id)
}

fn log_failed_call(context: &CheckContext<'_>) -> Verdict {
    let Some(event) = &context.plan.fail_event else {
        return skip("no event is known that makes the function fail (--fail-event FILE)");
    };
    let instance = context.initialized()?;
    let output = context.output(&instance)?;
    let request = instance.platform.invoke(event.clone());
    let response = instance.send(&request).map_err(Stop::Untested)?;
    if response.is_success() {
        return Err(Stop::Untested(format!("the event of --fail-event was answered {}", response.status)));
    }
    let end = format!("FC Invoke End RequestId: {}", request.id);
    match line(output, 0, |line| line.text.starts_with(&end)) {
        Some(line) if line.text.trim_end() == format!("{end}{FAILED}") => Ok(format!("`{}`", line.text)),
        Some(line) => fail(format!("`{}`", cut(&line.text, 160))),
        None => fail(format!("no `{end}` after the answer {}", response.status)),
    }
}

/// Calls a hook and looks for its markers. Another check reports a hook that fails.
fn hook_markers(context: &CheckContext<'_>, instance: &Instance, hook: Hook) -> Verdict {
    let output = context.output(instance)?;
    settle(output);
    let mark = output.mark();
    let request = instance.platform.hook(hook);
    match instance.send(&request) {
        Ok(response) if response.is_success() => markers(output, mark, hook.marker(), &request.id),
        Ok(response) => blocked(super::invoke::own_check(hook), format!("{}: {}", request.line, response.status)),
        Err(why) => blocked(super::invoke::own_check(hook), why),
    }
}

fn log_initialize(context: &CheckContext<'_>) -> Verdict {
    context.require(Hook::Initialize)?;
    hook_markers(context, &context.fresh()?, Hook::Initialize)
}

fn log_hooks(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let hooks = context.hooks(&instance).into_iter().filter(|hook| *hook != Hook::Initialize);
    let mut hooks = hooks.peekable();
    if hooks.peek().is_none() {
        return skip("the platform calls neither pre-freeze nor pre-stop under these options");
    }
    let mut seen = Vec::new();
    let mut hindered = None;
    for hook in hooks {
        // Pre-freeze and pre-stop each follow a call, as on the platform.
        context.invoke(&instance)?;
        match hook_markers(context, &instance, hook) {
            Ok(_) => seen.push(hook.path()),
            Err(Stop::Fail(actual)) => return fail(actual),
            // Another check reports a hook that does not work. It says nothing about the markers of the others.
            Err(stop) => hindered = Some(stop),
        }
    }
    match hindered {
        Some(stop) if seen.is_empty() => Err(stop),
        _ => Ok(format!("both lines of {}", seen.join(" and "))),
    }
}

fn log_line_length(context: &CheckContext<'_>) -> Verdict {
    context.require_events()?;
    let instance = context.initialized()?;
    let output = context.output(&instance)?;
    let event = format!("\"{}\"", "e".repeat(40 * 1024));
    instance.send(&instance.platform.invoke(event)).map_err(Stop::Untested)?;
    settle(output);
    let longest = output.all().iter().map(|line| line.text.len()).max().unwrap_or_default();
    let actual = format!("the longest line has {longest} bytes");
    if longest <= LINE_BYTES_MAX { Ok(actual) } else { fail(actual) }
}

/// The answers do not matter here: the target must print no secret in any case.
fn secrets_silent(context: &CheckContext<'_>) -> Verdict {
    let mut instance = context.start()?;
    let output = context.output(&instance)?.clone();
    let platform = instance.platform.clone();
    let _ = instance.hook(Hook::Initialize);
    let requests = [
        platform.invoke(context.plan.event.clone()),
        platform.invoke(context.plan.fail_event.clone().unwrap_or_default()),
        platform.http(&context.plan.http_method, &context.plan.http_path, &[], Vec::new()),
        platform.http("PURGE", "/fc-emulator-nowhere", &[], Vec::new()),
        platform.hook(Hook::PreFreeze),
        platform.hook(Hook::PreStop),
    ];
    for request in &requests {
        let _ = instance.send(request);
    }
    send_malformed(&instance, &requests[0].head);
    let _ = instance.terminate();
    target::wait_exit(&mut *instance.target, Deadline::after(instance.limits.term));
    settle(&output);
    let lines = output.all();
    for (name, secret) in platform.secrets() {
        let revealing = revealing_part(secret);
        if let Some(line) = lines.iter().find(|line| line.text.contains(revealing)) {
            let shown = line.text.replace(revealing, "<secret>");
            return fail(format!("{name} in `{}`", cut(&shown, 100)));
        }
    }
    Ok(format!("{} lines without a secret", lines.len()))
}

/// Its first characters, or for an endpoint the first ones after the host, which is no secret.
fn revealing_part(secret: &str) -> &str {
    let start = secret.find("adapt_").unwrap_or_default();
    secret.get(start..start + REVEALING_CHARS).unwrap_or(secret)
}

/// Sends malformed requests, which a server may quote when it logs them.
fn send_malformed(instance: &Instance, head: &[u8]) {
    let text = String::from_utf8_lossy(head);
    let bad_length = text.replace("Content-Length: ", "Content-Length: x");
    let bad_line = text.replacen(" HTTP/1.1", " HTTP/9.9", 1);
    let bad_header = text.replace("Host: ", "Host ");
    for request in [bad_length, bad_line, bad_header] {
        if let Ok(mut conn) = instance.conn() {
            let soon = Deadline::after(std::time::Duration::from_millis(300));
            let _ = conn.exchange(request.as_bytes(), soon);
        }
    }
}
