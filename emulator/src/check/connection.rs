//! CONN: the HTTP version, keep-alive, idle time, and several connections at the same time.

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
        request: "an HTTP/1.1 call",
        expected: "an HTTP/1.1 answer",
        fix: "answer with HTTP/1.1 (in Python: protocol_version = \"HTTP/1.1\")",
        run: http_1_1,
    },
    Check {
        id: "keepalive",
        rule: "C-CONN-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "two calls on one connection",
        expected: "an answer to both, without Connection: close",
        fix: "keep connections open after an answer; that needs Content-Length or chunked bodies",
        run: keepalive,
    },
    Check {
        id: "keepalive-idle",
        rule: "C-CONN-1",
        severity: Severity::Must,
        needs: &["keepalive"],
        request: "a call, idle time (--idle-for), another call on the same connection",
        expected: "the connection stays open, and the target answers the second call",
        fix: "set no idle limit for connections, or at least 15 minutes",
        run: keepalive_idle,
    },
    Check {
        id: "pipelining",
        rule: "C-CONN-4",
        severity: Severity::Note,
        needs: &["keepalive"],
        request: "two calls in one packet",
        expected: "two answers, in order",
        fix: "keep the bytes after the end of a request, and parse them as the next request",
        run: pipelining,
    },
    Check {
        id: "other-connection",
        rule: "C-START-3",
        severity: Severity::Should,
        needs: &["invoke"],
        request: "a call on one connection, which stays open, then a probe and a call on other connections",
        expected: "the target answers both calls",
        fix: "serve several connections at the same time: probes and hooks use connections of their own",
        run: other_connection,
    },
    Check {
        id: "concurrent-calls",
        rule: "C-INV-7",
        severity: Severity::Must,
        needs: &["other-connection"],
        request: "as many calls at the same time as the function is configured to handle (--concurrency)",
        expected: "2xx for each",
        fix: "serve several connections at the same time, or configure a concurrency of 1",
        run: concurrent_calls,
    },
];

fn http_1_1(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let (_, response) = context.invoke(&instance)?;
    let actual = format!("HTTP/1.{}", response.minor_version);
    if response.minor_version == 1 { Ok(actual) } else { fail(actual) }
}

/// A connection on which one call was answered, and which the target promised to keep.
pub fn kept(context: &CheckContext<'_>, instance: &Instance) -> Result<Conn, Stop> {
    let mut conn = instance.conn().map_err(Stop::Fail)?;
    let request = context.request(instance).bytes();
    let response = conn.exchange(&request, instance.call_deadline()).map_err(Stop::Fail)?;
    if !response.keeps_alive() {
        let header = response.header("connection").unwrap_or("no Connection header");
        return fail(format!("HTTP/1.{}, {header}: the target will close the connection", response.minor_version));
    }
    Ok(conn)
}

/// Sends the next call on a connection that was kept.
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
    if context.rest(|| conn.closes(Deadline::after(context.plan.idle))) {
        return fail(format!("the target closed the connection after {} of idle time", seconds(started.elapsed())));
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
        Ok(response) => Ok(format!("{} on the second connection while the first one is open", response.status)),
        Err(why) => fail(format!("the second call, while the first connection is open: {why}")),
    }
}

/// Sends the beginnings of all calls, then the ends of all calls, and only then reads the answers.
fn concurrent_calls(context: &CheckContext<'_>) -> Verdict {
    let count = context.plan.concurrency;
    if count < 2 {
        return skip("the function is configured to handle one call at a time (--concurrency)");
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
