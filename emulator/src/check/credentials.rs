//! ENV: a function can be configured so that it gets no credentials.

use std::time::Instant;

use super::context::{CheckContext, success};
use super::{Check, Severity, Stop, Verdict, fail};
use crate::instance::{Instance, Variant};
use crate::platform::Hook;
use crate::target::{self, Ready};

pub const CHECKS: &[Check] = &[Check {
    id: "no-credentials",
    rule: "C-ENV-1",
    severity: Severity::Should,
    needs: &["invoke"],
    request: "a start without credentials in the environment; a call and every hook without them in the headers",
    expected: "2xx for each that is answered 2xx with credentials",
    fix: "fetch credentials when you need them: disableInjectCredentials leaves them out, and that is no error",
    run: no_credentials,
}];

fn no_credentials(context: &CheckContext<'_>) -> Verdict {
    let variant = Variant { no_credentials: true, ..Variant::default() };
    let mut instance = context.launch(&variant)?;
    match instance.wait_ready() {
        Ready::Yes => {}
        Ready::Exited(exit) => {
            return fail(format!("the target {exit} before it listened{}", target::last_words(&*instance.target)));
        }
        Ready::No(why) => return fail(why),
        Ready::Stranger(why) => return Err(Stop::Untested(why)),
    }
    let without = live(context, &instance);
    // With a fixed port, only one instance can be there.
    drop(instance);
    let (count, failed) = without?;
    if failed.is_empty() {
        return Ok(format!("calls answered 2xx: {count}"));
    }
    // Another check reports a hook that also fails with credentials.
    let (_, with) = live(context, &context.start()?)?;
    match failed.into_iter().find(|(hook, _)| with.iter().all(|(other, _)| other != hook)) {
        Some((_, stop)) => Err(stop),
        None => Ok(format!("calls answered 2xx: {count}")),
    }
}

/// The number of calls that were answered 2xx in one life, and the hooks that failed.
fn live(context: &CheckContext<'_>, instance: &Instance) -> Result<(usize, Vec<(Hook, Stop)>), Stop> {
    let (mut count, mut failed) = (0, Vec::new());
    // The hooks come in the order of a life, and the call after the first of them.
    let hooks = context.hooks(instance);
    let (before, after): (Vec<_>, Vec<_>) = hooks.into_iter().partition(|hook| hook.method() == "POST");
    for hook in before.into_iter().map(Some).chain([None]).chain(after.into_iter().map(Some)) {
        let request = hook.map_or_else(|| context.request(instance), |hook| instance.platform.hook(hook));
        match (hook, success(&request.line, Instant::now(), instance.send(&request))) {
            (_, Ok(_)) => count += 1,
            (None, Err(stop)) => return Err(stop),
            (Some(hook), Err(stop)) => failed.push((hook, stop)),
        }
    }
    Ok((count, failed))
}
