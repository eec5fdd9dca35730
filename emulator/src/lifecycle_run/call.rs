//! The calls of a lifecycle: events or HTTP calls, one after the other or many at the same time.

use std::time::Instant;

use super::{Plan, Step, ms};
use crate::http::{Conn, Response};
use crate::instance::Instance;
use crate::platform::{Platform, Request};

/// More calls than this share one step.
pub const SINGLE_CALLS_MAX: usize = 10;

/// The request of a call.
pub fn request(plan: &Plan, platform: &Platform) -> Request {
    match &plan.http {
        Some((method, path)) => platform.http(method, path, &[], Vec::new()),
        None => platform.invoke(plan.event.clone()),
    }
}

/// One answer, or the reason why there is none, and the time in milliseconds.
type Timed = (Result<Response, String>, f64);

/// Makes `count` calls, `at_once` at the same time, on connections that are kept.
pub fn many(plan: &Plan, instance: &Instance, count: usize, at_once: usize) -> Step {
    let at_once = at_once.min(count.max(1));
    let share = |worker: usize| count / at_once + usize::from(worker < count % at_once);
    let (addr, platform, limit) = (instance.target.addr(), &instance.platform, instance.limits.call);
    let mut all: Vec<Timed> = std::thread::scope(|scope| {
        let worker = |number| {
            scope.spawn(move || {
                let mut conn = None;
                (0..share(number)).map(|_| one(plan, platform, addr, limit, &mut conn)).collect::<Vec<_>>()
            })
        };
        let workers: Vec<_> = (0..at_once).map(worker).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    summary(&mut all)
}

fn one(
    plan: &Plan,
    platform: &Platform,
    addr: std::net::SocketAddr,
    limit: std::time::Duration,
    kept: &mut Option<Conn>,
) -> Timed {
    let deadline = crate::clock::Deadline::after(limit);
    let started = Instant::now();
    let conn = kept.take().map_or_else(|| Conn::open(addr, deadline), Ok);
    let answer = conn.and_then(|mut conn| {
        let response = conn.exchange(&request(plan, platform).bytes(), deadline)?;
        if response.keeps_alive() {
            *kept = Some(conn);
        }
        Ok(response)
    });
    (answer, ms(started.elapsed()))
}

fn summary(all: &mut [Timed]) -> Step {
    all.sort_by(|one, other| one.1.total_cmp(&other.1));
    let median = all.get(all.len() / 2).map_or(0.0, |(_, ms)| *ms);
    let largest = all.last().map_or(0.0, |(_, ms)| *ms);
    let bad = all.iter().find(|(answer, _)| !answer.as_ref().is_ok_and(Response::is_success));
    let shown = bad.or(all.first());
    let mut step =
        Step { note: format!("median {median} ms, maximum {largest} ms"), ok: bad.is_none(), ..Step::default() };
    match shown {
        Some((Ok(response), _)) => {
            step.status = Some(response.status);
            step.body = response.body_text(super::BODY_CHARS);
        }
        Some((Err(why), _)) => step.note = why.clone(),
        None => {}
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_a_bad_answer() {
        let mut all = vec![(Err("no answer in time".to_owned()), 3.0), (Err("reset".to_owned()), 1.0)];
        let step = summary(&mut all);
        assert!(!step.ok);
        assert_eq!(step.note, "reset");
        assert!(summary(&mut []).ok);
    }
}
