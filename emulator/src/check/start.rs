//! START: the open port, the start-up check, and probes, which must cause nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::context::{CheckContext, settle};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::clock::millis;
use crate::http::{Conn, cut};
use crate::instance::{Instance, Variant};
use crate::output::Line;
use crate::platform::PORT_NAMES;
use crate::target::{self, Port, Ready, Spec};

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
];

fn ready(context: &CheckContext<'_>) -> Verdict {
    let started = Instant::now();
    let mut instance = context.launch(&Variant::default())?;
    match instance.wait_ready() {
        Ready::Yes => Ok(format!("open after {}", millis(started.elapsed()))),
        Ready::Exited(exit) => {
            fail(format!("the target {exit} before it listened{}", target::last_words(&*instance.target)))
        }
        Ready::No(why) => fail(format!("{why}{}", target::last_words(&*instance.target))),
        Ready::Stranger(why) => Err(Stop::Untested(why)),
    }
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

fn port_from_environment(context: &CheckContext<'_>) -> Verdict {
    if !matches!(context.plan.setup.spec, Spec::Command(_)) || context.plan.setup.port.is_some() {
        return skip("the port is fixed here, so the target does not choose it");
    }
    let ports = (Port::free()?, Port::free()?);
    let (ours, other) = (ports.0.number(), ports.1.number());
    let env = vec![(PORT_NAMES[0].to_owned(), ours.to_string()), (PORT_NAMES[1].to_owned(), other.to_string())];
    let mut instance = context.launch(&Variant { env, port: Some(ours), ..Variant::default() })?;
    match instance.wait_ready() {
        Ready::Yes => Ok(format!("port {ours} is open")),
        Ready::Exited(exit) => fail(format!("the target {exit}{}", target::last_words(&*instance.target))),
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
