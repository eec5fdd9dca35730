//! Runs the checks of a plan and collects their findings. [`super::schedule`] decides when each begins.

use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use super::context::CheckContext;
use super::schedule::{Bounds, Schedule};
use super::servers::{self, Server};
use super::{Check, Finding, Findings, Outcome, Plan, Progress};
use crate::clock::seconds;
use crate::error::Result;
use crate::target::{self, Spec};

/// So many checks are in progress at the same time unless the plan says otherwise: all of those that freeze, and some
/// more. A target of 100 MB then takes less than 2 GB.
const INSTANCES_MAX: usize = 16;

/// Runs the checks of a plan, and tells `progress` which begin, wait and end.
///
/// # Errors
/// If a name in the plan names no check, or no Docker engine answers for an image.
pub fn run(plan: &Plan, progress: &impl Progress) -> Result<Findings> {
    let checks = plan.selected()?;
    if let Spec::Image { .. } = plan.setup.spec {
        target::engine_answers()?;
    }
    let started = Instant::now();
    let initialized = Mutex::new(false);
    let server = OnceLock::new();
    let bounds = bounds(plan);
    let schedule = Schedule::new(checks, bounds, progress);
    std::thread::scope(|scope| {
        for _ in 0..bounds.in_progress {
            scope.spawn(|| schedule.work(|check| CheckContext::new(plan, &initialized, &server, &schedule, check)));
        }
    });
    let findings = schedule.findings();
    let circumstances = circumstances(plan, &findings, server.get().copied());
    Ok(Findings {
        target: plan.setup.spec.to_string(),
        circumstances,
        findings,
        strict: plan.strict,
        ms: started.elapsed().as_millis() as u64,
    })
}

/// Two checks cannot use one instance, or one fixed port, at the same time. A virtual machine takes hundreds of
/// megabytes even while it stands still.
fn bounds(plan: &Plan) -> Bounds {
    let shared = matches!(plan.setup.spec, Spec::Addr(_));
    let here = matches!(plan.setup.spec, Spec::Command(_)) && plan.setup.machines.is_none();
    let in_progress = match plan.instances {
        _ if shared || (plan.setup.port.is_some() && here) => 1,
        Some(count) => count,
        None if plan.setup.machines.is_some() => plan.jobs,
        None => INSTANCES_MAX,
    };
    Bounds { in_progress: in_progress.max(1), working: plan.jobs.clamp(1, in_progress.max(1)) }
}

fn circumstances(plan: &Plan, findings: &[Finding], server: Option<&'static Server>) -> Vec<String> {
    let mut lines = Vec::new();
    let tried = |finding: &&Finding| matches!(finding.outcome, Outcome::Passed | Outcome::Failed);
    let any = |checks: &[Check]| findings.iter().filter(tried).any(|f| checks.iter().any(|check| check.id == f.id));
    if any(super::freeze::CHECKS) || any(super::waiting::CHECKS) {
        let frozen = findings.iter().find(|f| f.id == "thaw-call" && f.outcome == Outcome::Passed);
        lines.push(match frozen {
            Some(finding) => format!("freezes of {}: {}", seconds(plan.freeze), finding.actual),
            None => format!("freezes of {}", seconds(plan.freeze)),
        });
        lines.push(servers::hidden_limits(plan.freeze, server));
    }
    if findings.iter().filter(tried).any(|finding| finding.id == "keepalive-idle") {
        lines.push(format!("connections idle for {}", seconds(plan.idle)));
    }
    if matches!(plan.setup.spec, Spec::Addr(_)) {
        lines.push(
            "a server that already runs: no freezes, no signals, no checks of its log or of a fresh instance".into(),
        );
    }
    lines
}
