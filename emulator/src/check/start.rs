//! START and HEALTH: the open port, the start-up check, the health check, and probes, which must cause nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::context::{CheckContext, settle};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::clock::millis;
use crate::http::{Conn, cut};
use crate::instance::{Instance, Variant};
use crate::output::Line;
use crate::platform::PORT_NAMES;
use crate::target::{Port, Ready, Spec};

/// The number of probes of each kind.
const PROBES: usize = 20;

/// Within this time the target notices every connection that was closed.
const NOTICE_WAIT: Duration = Duration::from_millis(200);

pub const CHECKS: &[Check] = &[
    Check {
        id: "ready",
        rule: "C-START-2",
        severity: Severity::Must,
        needs: &[],
        request: "TCP connections to the port, until one is accepted",
        expected: "the port is open within the time limit (120 s on the platform), and the target does not exit",
        fix: "listen on 0.0.0.0, on the port in FC_CUSTOM_LISTEN_PORT, and do slow work in /initialize",
        run: ready,
    },
    Check {
        id: "port-from-environment",
        rule: "C-START-1",
        severity: Severity::Should,
        needs: &[],
        request: "a start with different ports in FC_CUSTOM_LISTEN_PORT and FC_SERVER_PORT",
        expected: "the port in FC_CUSTOM_LISTEN_PORT is open",
        fix: "read the port from FC_CUSTOM_LISTEN_PORT, else from FC_SERVER_PORT, else use 9000",
        run: port_from_environment,
    },
    Check {
        id: "listen-all-interfaces",
        rule: "C-START-1",
        severity: Severity::Must,
        needs: &[],
        request: "a TCP connection to an address that is not 127.0.0.1",
        expected: "the target accepts it",
        fix: "listen on 0.0.0.0, not on 127.0.0.1 or localhost",
        run: listen_all_interfaces,
    },
    Check {
        id: "probe-hangup",
        rule: "C-START-3",
        severity: Severity::Must,
        needs: &[],
        request: "20 connections closed and 20 reset without a byte, then an HTTP call",
        expected: "the target keeps running and answers",
        fix: "ignore a connection that ends before a request: it is a start-up probe",
        run: probe_hangup,
    },
    Check {
        id: "probe-silent",
        rule: "C-START-3",
        severity: Severity::Should,
        needs: &["probe-hangup"],
        request: "20 connections closed and 20 reset without a byte, and the same again",
        expected: "the target prints nothing that comes with each volley",
        fix: "log a connection that ends before a request at level debug, or not at all",
        run: probe_silent,
    },
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
];

fn ready(context: &CheckContext<'_>) -> Verdict {
    let started = Instant::now();
    let mut instance = Instance::start(&context.plan.setup, &Variant::default())?;
    match instance.wait_ready() {
        Ready::Yes => Ok(format!("open after {}", millis(started.elapsed()))),
        Ready::Exited(exit) => fail(format!("the target {exit} before it listened{}", last_output(&instance))),
        Ready::No(why) => fail(format!("{why}{}", last_output(&instance))),
        Ready::Stranger(why) => Err(Stop::Untested(why)),
    }
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// The last line that the target printed, as the end of a message.
fn last_output(instance: &Instance) -> String {
    let Some(output) = instance.target.output() else { return String::new() };
    settle(output);
    let lines = output.all();
    let last = lines.iter().rev().map(|line| &*line.text).find(|text| !text.trim().is_empty());
    last.map_or_else(String::new, |text| format!("; its last line of output: `{}`", cut(text, 120)))
}

fn port_from_environment(context: &CheckContext<'_>) -> Verdict {
    if !matches!(context.plan.setup.spec, Spec::Command(_)) || context.plan.setup.port.is_some() {
        return skip("the port is fixed here, so the target does not choose it");
    }
    let ports = (Port::free()?, Port::free()?);
    let (ours, other) = (ports.0.number(), ports.1.number());
    let env = vec![(PORT_NAMES[0].to_owned(), ours.to_string()), (PORT_NAMES[1].to_owned(), other.to_string())];
    let mut instance = Instance::start(&context.plan.setup, &Variant { env, port: Some(ours), pid_one: false })?;
    match instance.wait_ready() {
        Ready::Yes => Ok(format!("port {ours} is open")),
        Ready::Exited(exit) => fail(format!("the target {exit}{}", last_output(&instance))),
        Ready::No(_) if Conn::open(([127, 0, 0, 1], other).into(), instance.call_deadline()).is_ok() => {
            fail("the port in FC_SERVER_PORT is open in its place")
        }
        Ready::No(why) => fail(why),
        Ready::Stranger(why) => Err(Stop::Untested(why)),
    }
}

fn listen_all_interfaces(context: &CheckContext<'_>) -> Verdict {
    let instance = context.start()?;
    let Some(addr) = instance.target.outer_addr() else {
        return skip("the interfaces of a server that already runs cannot be seen from here");
    };
    match Conn::open(addr, instance.call_deadline()) {
        Ok(_) => Ok(format!("{addr} accepts connections")),
        Err(why) => fail(format!("{addr}: {why}; 127.0.0.1 accepts connections")),
    }
}

fn probe(instance: &Instance) -> Result<(), Stop> {
    for count in 0..2 * PROBES {
        let conn = instance.conn().map_err(|why| Stop::Fail(format!("probe {}: {why}", count + 1)))?;
        if count % 2 == 0 { drop(conn) } else { conn.reset() }
    }
    Ok(())
}

fn probe_hangup(context: &CheckContext<'_>) -> Verdict {
    let mut instance = context.start()?;
    probe(&instance)?;
    let call = || instance.send(&instance.platform.http("GET", &context.plan.http_path, &[], Vec::new()));
    // Two calls: the target may notice the last closed connections only after the first one.
    let answer = call().and_then(|_| {
        std::thread::sleep(NOTICE_WAIT);
        call()
    });
    match (answer, instance.target.try_exit()) {
        (_, Some(exit)) => fail(format!("the target {exit}")),
        (Err(why), None) => fail(format!("a call after the probes: {why}")),
        (Ok(response), None) => Ok(format!("a call after the probes: {}", response.status)),
    }
}

/// A target may still print lines of its start. Only what comes again with a second volley has to do with probes.
fn probe_silent(context: &CheckContext<'_>) -> Verdict {
    let instance = context.start()?;
    let output = context.output(&instance)?;
    settle(output);
    let volley = || {
        let mark = output.mark();
        probe(&instance)?;
        settle(output);
        Ok::<_, Stop>(output.since(mark))
    };
    let (first, second) = (volley()?, volley()?);
    let texts = |lines: &[Line]| lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    let again = again(&texts(&first), &texts(&second));
    match (again.first(), first.len() + second.len()) {
        (Some(line), _) => fail(format!("it printed {}, the first: `{}`", lines(again.len()), cut(line, 120))),
        (None, 0) => Ok("the target printed nothing".into()),
        (None, count) => Ok(format!("the target printed {}, but none with each volley of probes", lines(count))),
    }
}

/// The lines of the second volley of which the first one had the same kind.
fn again<T: AsRef<str> + Clone>(first: &[T], second: &[T]) -> Vec<T> {
    let kinds: HashSet<String> = first.iter().map(|line| kind(line.as_ref())).collect();
    second.iter().filter(|line| kinds.contains(&kind(line.as_ref()))).cloned().collect()
}

/// The line without what differs from one time to the next: numbers, times, ports, ids.
fn kind(line: &str) -> String {
    let varies = |word: &str| word.chars().any(|c| c.is_ascii_digit());
    let words = line.split(|c: char| c.is_whitespace() || c == ':').filter(|word| !varies(word));
    words.collect::<Vec<_>>().join(" ")
}

/// FC takes every status from 200 to 399 for healthy (C-HLT-2), but 200 is the safe answer.
fn health_url(context: &CheckContext<'_>) -> Verdict {
    const WAIT: Duration = Duration::from_secs(1);
    let Some(path) = &context.plan.health_path else {
        return skip("the function is configured without an HTTP health check (--health PATH)");
    };
    let instance = context.start()?;
    let request = instance.platform.request(crate::platform::Caller::Stranger, "GET", path, &[], Vec::new());
    let deadline = crate::clock::Deadline::after(WAIT);
    let answer = Conn::open(instance.target.addr(), deadline).and_then(|mut c| c.exchange(&request.bytes(), deadline));
    match answer {
        Ok(response) if response.status == 200 => Ok("200".into()),
        Ok(response) => fail(format!("{} `{}`", response.status, response.body_text(80))),
        Err(why) => fail(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_come_with_each_volley_are_blamed() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let probe = |port| format!("12:00:01 connection from 127.0.0.1:{port} ended");
        for (first, second, blamed) in [
            (lines(&["cache loaded"]), lines(&[]), 0),
            (lines(&["cache loaded"]), lines(&["ready"]), 0),
            (lines(&[]), lines(&["cache loaded"]), 0),
            (lines(&[&probe(5301), "cache loaded"]), lines(&[&probe(5302), &probe(5303), "ready"]), 2),
        ] {
            assert_eq!(again(&first, &second).len(), blamed, "{first:?} {second:?}");
        }
    }
}
