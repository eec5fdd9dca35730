//! CONN: the framing of replies, judged as strictly as RFC 9112 demands it of senders.
//!
//! Where two readers can differ about the end of a reply, a reused connection gives one caller the reply to another.
//! Every other check builds on this one: behind a reply that cannot be read, none of them could judge anything.

use std::time::Duration;

use super::context::CheckContext;
use super::{Check, Severity, Verdict, fail};
use crate::http::{Conn, is_broken_framing};
use crate::instance::Instance;
use crate::platform::{Hook, Request};

/// Bytes that follow a reply and belong to no reply arrive within this time.
const SURPLUS_WAIT: Duration = Duration::from_millis(20);

pub const CHECKS: &[Check] = &[Check {
    id: super::FRAMING,
    rule: "C-CONN-4",
    severity: Severity::Must,
    needs: &[],
    request: "every hook, a call, and an HTTP call (--http)",
    expected: "replies whose framing keeps RFC 9112, and no byte behind them",
    fix: "let a library write the head and the framing of a reply: one whole number as Content-Length or \
          `Transfer-Encoding: chunked`, CRLF at each line end, no control character in a header",
    run: response_framing,
}];

fn response_framing(context: &CheckContext<'_>) -> Verdict {
    let instance = context.start()?;
    let mut count = 0;
    for request in requests(context, &instance) {
        let deadline = instance.call_deadline();
        let answer = Conn::open(instance.target.addr(), deadline).and_then(|mut conn| {
            let response = conn.exchange(&request.bytes(), deadline)?;
            Ok((response, conn.surplus(SURPLUS_WAIT)))
        });
        match answer {
            Ok((_, None)) => count += 1,
            Ok((response, Some(surplus))) => {
                return fail(format!("{}: {}, and behind its end {surplus}", request.line, response.status));
            }
            Err(why) if is_broken_framing(&why) => return fail(format!("{}: {why}", request.line)),
            // Another check reports a missing reply.
            Err(_) => {}
        }
    }
    Ok(format!("the framing of {count} replies is sound"))
}

/// The calls of a short life. A shared server goes on, so it gets no hook that another check should call first.
fn requests(context: &CheckContext<'_>, instance: &Instance) -> Vec<Request> {
    let (method, path) = (&context.plan.http_method, &context.plan.http_path);
    let http = instance.platform.http(method, path, &[], Vec::new());
    if context.is_shared() {
        return vec![http];
    }
    let hooks = context.hooks(instance);
    let (first, last): (Vec<Hook>, Vec<Hook>) = hooks.into_iter().partition(|hook| *hook == Hook::Initialize);
    let mut requests: Vec<_> = first.into_iter().map(|hook| instance.platform.hook(hook)).collect();
    requests.extend([context.request(instance), http]);
    requests.extend(last.into_iter().map(|hook| instance.platform.hook(hook)));
    requests
}
