//! JOB: web server mode off. IMG: the properties of an image that show without running it.

use std::time::Instant;

use super::context::CheckContext;
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::clock::{Deadline, millis};
use crate::instance::Variant;
use crate::platform::JOB_EVENT;
use crate::target::{self, Exit, Spec};

pub const CHECKS: &[Check] = &[
    Check {
        id: "job",
        rule: "C-JOB-1",
        severity: Severity::Must,
        needs: &[],
        request: "a start with the event in FC_CUSTOM_CONTAINER_EVENT (with --job only)",
        expected: "the target handles the event and exits with 0",
        fix: "if FC_CUSTOM_CONTAINER_EVENT is set, handle that one event and exit; do not listen",
        run: job,
    },
    Check {
        id: "job-failure",
        rule: "C-JOB-1",
        severity: Severity::Must,
        needs: &["job"],
        request: "a start with an event that fails (--fail-event) in FC_CUSTOM_CONTAINER_EVENT (with --job only)",
        expected: "the target exits with another code than 0",
        fix: "exit with a code other than 0 if the event could not be handled: 0 means success",
        run: job_failure,
    },
    Check {
        id: "image-platform",
        rule: "C-IMG-1",
        severity: Severity::Must,
        needs: &[],
        request: "an inspection of the image",
        expected: "the image is built for linux/amd64",
        fix: "build with --platform linux/amd64 (and with --provenance=false)",
        run: image_platform,
    },
];

fn job(context: &CheckContext<'_>) -> Verdict {
    match handled(context, &context.plan.event)? {
        (Exit::Code(0), took) => Ok(format!("the target exited with code 0 after {took}")),
        (exit, _) => fail(format!("the target {exit}")),
    }
}

fn job_failure(context: &CheckContext<'_>) -> Verdict {
    let Some(event) = &context.plan.fail_event else {
        return skip("no event is known that makes the function fail (--fail-event FILE)");
    };
    match handled(context, event)? {
        (Exit::Code(0), _) => fail("the target exited with code 0"),
        (exit, took) => Ok(format!("the target {exit} after {took}")),
    }
}

/// Starts the target for one event, and waits for its exit.
fn handled(context: &CheckContext<'_>, event: &[u8]) -> Result<(Exit, String), Stop> {
    if !context.plan.job {
        return skip("the check runs only with --job, because few targets work with web server mode off");
    }
    context.require_signals()?;
    let env = vec![(JOB_EVENT.to_owned(), String::from_utf8_lossy(event).into_owned())];
    let mut instance = context.launch(&Variant { env, ..Variant::default() })?;
    let started = Instant::now();
    let deadline = Deadline::after(instance.limits.call);
    match target::wait_exit(&mut *instance.target, deadline) {
        Some(exit) => Ok((exit, millis(started.elapsed()))),
        None => fail(format!("the target still runs after {}", millis(started.elapsed()))),
    }
}

fn image_platform(context: &CheckContext<'_>) -> Verdict {
    let Spec::Image { name, .. } = &context.plan.setup.spec else {
        return skip("the target is not an image");
    };
    let platform = target::image_platform(name)?;
    if platform == "linux/amd64" { Ok(platform) } else { fail(platform) }
}
