//! HEALTH: the HTTP health check goes on for the whole life, and it is no call.

use std::time::Duration;

use super::context::{CheckContext, settle};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::clock::Deadline;
use crate::http::{Conn, Response};
use crate::instance::Instance;
use crate::platform::{Caller, Hook};

/// A health check must be answered within this time (C-HLT-1).
const TIMEOUT: Duration = Duration::from_secs(1);

/// So many failures in a row make an instance unhealthy (C-HLT-1).
const FAILURE_THRESHOLD: usize = 3;

pub const CHECKS: &[Check] = &[
    Check {
        id: "health-url",
        rule: "C-START-4",
        severity: Severity::Should,
        needs: &[],
        request: "GET of the path of the health check (--health)",
        expected: "200 within 1 s",
        fix: "answer the path of the health check with 200 as soon as the port is open, even before /initialize",
        run: health_url,
    },
    Check {
        id: "health-is-no-call",
        rule: "C-HLT-5",
        severity: Severity::Should,
        needs: &["health-url"],
        request: "GET of the path of the health check (--health)",
        expected: "the target prints no log marker of a call or of a hook",
        fix: "answer a health check before the code that prints log markers and runs hooks: it is no call",
        run: health_is_no_call,
    },
];

/// Checks that freeze the instance. They come later in the list.
pub const LATE_CHECKS: &[Check] = &[Check {
    id: "health-for-life",
    rule: "C-HLT-3",
    severity: Severity::Must,
    needs: &["health-url", "thaw-call"],
    request: "GET of the path of the health check (--health) after the initializer, after a call, after a thaw",
    expected: "each time a status from 200 to 399 within 1 s, at least once in three attempts",
    fix: "go on answering the path of the health check: three failures in a row make the instance unhealthy",
    run: health_for_life,
}];

/// Makes one health check.
fn health(instance: &Instance, path: &str) -> Result<Response, String> {
    let request = instance.platform.request(Caller::Stranger, "GET", path, &[], Vec::new());
    let deadline = Deadline::after(TIMEOUT);
    Conn::open(instance.target.addr(), deadline).and_then(|mut conn| conn.exchange(&request.bytes(), deadline))
}

fn path<'c>(context: &CheckContext<'c>) -> Result<&'c str, Stop> {
    match &context.plan.health_path {
        Some(path) => Ok(path),
        None => skip("the function is configured without an HTTP health check (--health PATH)"),
    }
}

/// FC takes every status from 200 to 399 for healthy (C-HLT-2), but 200 is the safe answer.
fn health_url(context: &CheckContext<'_>) -> Verdict {
    let path = path(context)?;
    let instance = context.start()?;
    match health(&instance, path) {
        Ok(response) if response.status == 200 => Ok("200".into()),
        Ok(response) => fail(format!("{} `{}`", response.status, response.body_text(80))),
        Err(why) => fail(why),
    }
}

fn health_is_no_call(context: &CheckContext<'_>) -> Verdict {
    let path = path(context)?;
    let instance = context.initialized()?;
    let output = context.output(&instance)?;
    settle(output);
    let mark = output.mark();
    health(&instance, path).map_err(|why| Stop::Blocked { by: "health-url", why })?;
    settle(output);
    let words = Hook::ALL.iter().map(|hook| hook.marker()).chain(["Invoke"]);
    let starts: Vec<String> = words.map(|word| format!("FC {word} Start")).collect();
    let lines = output.since(mark);
    match lines.iter().find(|line| starts.iter().any(|start| line.text.starts_with(start))) {
        Some(line) => fail(format!("the target printed `{}`", crate::http::cut(&line.text, 120))),
        None => Ok("no log marker".into()),
    }
}

fn health_for_life(context: &CheckContext<'_>) -> Verdict {
    let path = path(context)?;
    let mut instance = context.initialized()?;
    let mut seen = Vec::new();
    let mut look = |instance: &Instance, when: &str| match healthy(instance, path) {
        Ok(status) => {
            seen.push(format!("{status} {when}"));
            Ok(())
        }
        Err(why) => fail(format!("{when}, {FAILURE_THRESHOLD} times in a row: {why}")),
    };
    look(&instance, "after the initializer")?;
    context.invoke(&instance)?;
    look(&instance, "after a call")?;
    if !context.is_shared() {
        context.freeze(&mut instance, context.plan.freeze / 8)?;
        instance.target.thaw()?;
        look(&instance, "after a thaw")?;
    }
    Ok(seen.join(", "))
}

/// The status of the first good one of as many checks as make an instance unhealthy, or why the last one failed.
fn healthy(instance: &Instance, path: &str) -> Result<u16, String> {
    let mut last = String::new();
    for _ in 0..FAILURE_THRESHOLD {
        match health(instance, path) {
            Ok(response) if matches!(response.status, 200..400) => return Ok(response.status),
            Ok(response) => last = format!("{} `{}`", response.status, response.body_text(80)),
            Err(why) => last = why,
        }
    }
    Err(last)
}
