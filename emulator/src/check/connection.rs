//! CONN: the HTTP version, keep-alive, idle time, and several connections at the same time.

use std::time::{Duration, Instant};

use super::context::{CheckContext, second_conn, success};
use super::{Check, Severity, Stop, Verdict, fail, servers, skip};
use crate::clock::{Deadline, seconds};
use crate::http::{Conn, Response};
use crate::instance::Instance;

/// A connection must be kept for so long without a call (C-CONN-1).
const IDLE_LEAST: Duration = Duration::from_secs(15 * 60);

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
        expected: "the connection stays open, the second call is answered, no limit under 900 s is advertised",
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
    kept_by(context, instance).map(|(conn, _)| conn)
}

/// The same, with the answer that made the promise.
fn kept_by(context: &CheckContext<'_>, instance: &Instance) -> Result<(Conn, Response), Stop> {
    let mut conn = instance.conn().map_err(Stop::Fail)?;
    let request = context.request(instance).bytes();
    let response = conn.exchange(&request, instance.call_deadline()).map_err(Stop::Fail)?;
    context.recognise(instance, &response);
    if !response.keeps_alive() {
        let header = response.header("connection").unwrap_or("no Connection header");
        return fail(format!("HTTP/1.{}, {header}: the target will close the connection", response.minor_version));
    }
    Ok((conn, response))
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
    let (mut conn, response) = kept_by(context, &instance)?;
    let advertised = servers::advertised_idle_limit(&response);
    if let Some(limit) = advertised.filter(|limit| *limit < IDLE_LEAST) {
        let header = response.header("keep-alive").unwrap_or_default();
        let limits = (limit.as_secs(), IDLE_LEAST.as_secs());
        return fail(format!("`Keep-Alive: {header}` says {} s, and the platform needs {} s", limits.0, limits.1));
    }
    let started = Instant::now();
    // The call belongs to the rest: to wait for our turn before it would be more idle time.
    let (idle, answered) = context.rest(|| {
        let closed = conn.closes(Deadline::after(context.plan.idle));
        let idle = seconds(started.elapsed());
        match closed {
            true => fail(format!("the target closed the connection after {idle} of idle time")),
            false => next_call(context, &instance, &mut conn).map(|answered| (idle, answered)),
        }
    })?;
    Ok(match advertised {
        Some(limit) => format!("{answered}, after {idle} of idle time; it advertises {} s", limit.as_secs()),
        None if context.plan.idle >= IDLE_LEAST => format!("{answered}, after {idle} of idle time"),
        None => {
            let least = IDLE_LEAST.as_secs();
            format!("{answered}, after {idle} of idle time; a limit from there to {least} s would not show")
        }
    })
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
