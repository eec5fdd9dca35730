//! STATUS: the status that hooks answer with, whatever the request carries.

use super::context::CheckContext;
use super::invoke::own_check;
use super::{Check, Severity, Verdict, blocked, fail};
use crate::instance::Instance;
use crate::platform::{Caller, Hook, Request};

pub const CHECKS: &[Check] = &[
    Check {
        id: "hook-never-500",
        rule: "C-FRZ-4",
        severity: Severity::Must,
        needs: &[],
        request: "every hook as the platform calls it",
        expected: "a status below 500",
        fix: "catch every error and panic in a hook and answer 404: after a 500 the platform restarts the instance",
        run: hook_never_500,
    },
    Check {
        id: "hook-odd-headers",
        rule: "C-FRZ-4",
        severity: Severity::Should,
        needs: &["hook-never-500"],
        request: "every hook without any common header, then with malformed common headers",
        expected: "a status below 500",
        fix: "accept that any common header is absent, empty or malformed: local tools send none of them",
        run: hook_odd_headers,
    },
    Check {
        id: "hook-status-exact",
        rule: "C-STAT-1",
        severity: Severity::Should,
        needs: &["hook-never-500"],
        request: "every hook",
        expected: "200 or 404",
        fix: "answer 200 if a hook succeeds and 404 if it fails: the older documentation knows no other status",
        run: hook_status_exact,
    },
];

/// Makes one request for a hook.
type MakeCall = fn(&Instance, Hook) -> Request;

fn hook_never_500(context: &CheckContext<'_>) -> Verdict {
    never_500(context, &[("as the platform calls it", |instance, hook| instance.platform.hook(hook))])
}

fn hook_odd_headers(context: &CheckContext<'_>) -> Verdict {
    let variants: [(&str, MakeCall); 2] = [
        ("without common headers", |instance, hook| {
            instance.platform.request(Caller::Stranger, hook.method(), hook.path(), &[], Vec::new())
        }),
        ("with malformed headers", |instance, hook| {
            let malformed = [
                ("X-Fc-Request-Id", ""),
                ("X-Fc-Function-Memory", "much"),
                ("X-Fc-Initialization-Timeout", "-1"),
                ("X-Fc-Tracing-Opentracing-Span-Baggages", "%%% no base64 %%%"),
            ];
            instance.platform.request(Caller::Stranger, hook.method(), hook.path(), &malformed, Vec::new())
        }),
    ];
    never_500(context, &variants)
}

/// Calls every hook once on an instance of its own, for each variant of the call. Other checks repeat calls.
fn never_500(context: &CheckContext<'_>, variants: &[(&str, MakeCall)]) -> Verdict {
    let mut count = 0;
    for (name, make) in variants {
        let instance = context.start()?;
        for hook in context.hooks(&instance) {
            let request = make(&instance, hook);
            // Another check reports a missing answer.
            let Ok(response) = instance.send(&request) else { continue };
            if response.status >= 500 {
                return fail(format!("{} {name}: {} `{}`", request.line, response.status, response.body_text(80)));
            }
            count += 1;
        }
    }
    Ok(format!("{count} answers with a status below 500"))
}

fn hook_status_exact(context: &CheckContext<'_>) -> Verdict {
    let instance = context.start()?;
    let mut actual = Vec::new();
    for hook in context.hooks(&instance) {
        match instance.hook(hook) {
            Ok(response) if matches!(response.status, 200 | 404) => {
                actual.push(format!("{} {}", hook.path(), response.status));
            }
            Ok(response) => return fail(format!("{}: {}", hook.path(), response.status)),
            Err(why) => return blocked(own_check(hook), format!("{}: {why}", hook.path())),
        }
    }
    if actual.is_empty() {
        super::skip("the platform calls no hook under these options")
    } else {
        Ok(actual.join(", "))
    }
}
