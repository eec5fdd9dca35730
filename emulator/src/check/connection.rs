//! CONN: versions, keep-alive, idle time, and connections side by side.

use std::time::Instant;

use super::context::{CheckContext, second_conn, success};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::clock::{Deadline, seconds};
use crate::http::Conn;
use crate::instance::Instance;

pub const CHECKS: &[Check] = &[
    Check {
        id: "http-1-1",
        rule: "C-CONN-4",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "a call as HTTP/1.1",
        expected: "an answer as HTTP/1.1",
        fix: "let the server speak HTTP/1.1 (in Python: protocol_version = \"HTTP/1.1\")",
        run: http_1_1,
    },
    Check {
        id: "keepalive",
        rule: "C-CONN-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "two calls on one connection",
        expected: "both answered, without Connection: close",
        fix: "keep connections open after an answer; send Content-Length or chunked bodies so that it can work",
        run: keepalive,
    },
    Check {
        id: "keepalive-idle",
        rule: "C-CONN-1",
        severity: Severity::Must,
        needs: &["keepalive"],
        request: "a call, idle time (--idle-secs), another call on the same connection",
        expected: "the connection stays open and the second call is answered",
        fix: "set no idle limit for connections, or one of at least 15 minutes",
        run: keepalive_idle,
    },
    Check {
        id: "pipelining",
        rule: "C-CONN-4",
        severity: Severity::Note,
        needs: &["keepalive"],
        request: "two calls in one packet",
        expected: "two answers, in order",
        fix: "keep what was read beyond the end of a request, and parse it as the next one",
        run: pipelining,
    },
    Check {
        id: "other-connection",
        rule: "C-START-3",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "a call on one connection, left open, then a probe and a call on others",
        expected: "both calls are answered",
        fix: "serve connections side by side: start-up probes and hooks come on connections of their own",
        run: other_connection,
    },
    Check {
        id: "concurrent-calls",
        rule: "C-INV-7",
        severity: Severity::Must,
        needs: &["other-connection"],
        request: "as many calls at once as the function is configured for (--concurrency)",
        expected: "2xx for each",
        fix: "serve connections side by side, or configure a concurrency of 1",
        run: concurrent_calls,
    },
];

fn http_1_1(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let (_, response) = context.invoke(&instance)?;
    let came = format!("HTTP/1.{}", response.minor_version);
    if response.minor_version == 1 { Ok(came) } else { fail(came) }
}

/// A connection on which one call was answered, and which is meant to stay.
pub fn kept(context: &CheckContext<'_>, instance: &Instance) -> Result<Conn, Stop> {
    let mut conn = instance.conn().map_err(Stop::Fail)?;
    let request = context.request(instance).bytes();
    let response = conn.exchange(&request, instance.call_deadline()).map_err(Stop::Fail)?;
    if !response.keeps_alive() {
        let header = response.header("connection").unwrap_or("no Connection header");
        return fail(format!("HTTP/1.{}, {header}: it will be closed", response.minor_version));
    }
    Ok(conn)
}

/// The next call on a connection that was kept.
pub fn next_call(context: &CheckContext<'_>, instance: &Instance, conn: &mut Conn) -> Verdict {
    let request = context.request(instance).bytes();
    success("the next call", Instant::now(), conn.exchange(&request, instance.call_deadline()))
}

fn keepalive(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    next_call(context, &instance, &mut conn)
}

fn keepalive_idle(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut conn = kept(context, &instance)?;
    let started = Instant::now();
    if conn.closes(Deadline::after(context.plan.idle)) {
        return fail(format!("it was closed after {} idle", seconds(started.elapsed())));
    }
    next_call(context, &instance, &mut conn)
}

fn pipelining(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let echoes = context.echoes(&instance);
    let mut conn = instance.conn().map_err(Stop::Fail)?;
    let requests = match echoes {
        true => [instance.platform.invoke("first"), instance.platform.invoke("second")],
        false => [context.request(&instance), context.request(&instance)],
    };
    let deadline = instance.call_deadline();
    conn.send(&requests.iter().flat_map(|request| request.bytes()).collect::<Vec<_>>(), deadline)
        .map_err(Stop::Fail)?;
    for (number, request) in (1..).zip(&requests) {
        match conn.read(deadline) {
            Ok(response) if echoes && response.body != request.body => {
                return fail(format!("answer {number} belongs to another call: `{}`", response.body_text(40)));
            }
            Ok(_) => {}
            Err(why) => return fail(format!("answer {number}: {why}")),
        }
    }
    Ok("two answers".into())
}

fn other_connection(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut first = instance.conn().map_err(Stop::Fail)?;
    let request = context.request(&instance).bytes();
    first.exchange(&request, instance.call_deadline()).map_err(Stop::Fail)?;
    drop(second_conn(&instance)?);
    match instance.send(&context.request(&instance)) {
        Ok(response) => Ok(format!("{} on the second while the first is open", response.status)),
        Err(why) => fail(format!("the second call, while the first connection is open: {why}")),
    }
}

/// Every call is begun before any is finished, and all are finished before any is read.
fn concurrent_calls(context: &CheckContext<'_>) -> Verdict {
    let count = context.plan.concurrency;
    if count < 2 {
        return skip("the function is configured for one call at a time (--concurrency)");
    }
    let instance = context.initialized()?;
    let deadline = instance.call_deadline();
    let request = context.request(&instance).bytes();
    let (begin, end) = request.split_at(request.len() - 1);
    let mut conns = Vec::new();
    for _ in 0..count {
        conns.push(instance.conn().map_err(Stop::Fail)?);
    }
    for part in [begin, end] {
        for conn in &mut conns {
            conn.send(part, deadline).map_err(Stop::Fail)?;
        }
    }
    for (number, conn) in (1..).zip(&mut conns) {
        success(&format!("call {number} of {count}"), Instant::now(), conn.read(deadline))?;
    }
    Ok(format!("{count} calls answered"))
}
