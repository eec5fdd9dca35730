//! JOB: web server mode off. IMG: the properties of an image that show without running it.

use std::time::Instant;

use super::context::CheckContext;
use super::{Check, Severity, Verdict, fail, skip};
use crate::clock::{Deadline, millis};
use crate::instance::{Instance, Variant};
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
    if !context.plan.job {
        return skip("the check runs only with --job, because few targets work with web server mode off");
    }
    context.require_signals()?;
    let event = String::from_utf8_lossy(&context.plan.event).into_owned();
    let env = vec![(JOB_EVENT.to_owned(), event)];
    let mut instance = Instance::start(&context.plan.setup, &Variant { env, ..Variant::default() })?;
    let started = Instant::now();
    let deadline = Deadline::after(instance.limits.call);
    match target::wait_exit(&mut *instance.target, deadline) {
        Some(Exit::Code(0)) => Ok(format!("the target exited with code 0 after {}", millis(started.elapsed()))),
        Some(exit) => fail(format!("the target {exit}")),
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
