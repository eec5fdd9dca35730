//! Calls while instances are frozen, thawed, reclaimed and killed at random.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{Served, common};

/// Orders random changes of instances until `done`. Returns how many were killed.
fn disturb(served: &Served, seed: u64, done: &AtomicBool) -> usize {
    let (mut rng, mut killed) = (fc_testkit::Rng::new(seed), 0);
    while !done.load(Ordering::SeqCst) {
        let instances = served.instances();
        if instances.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let id = instances[rng.below(instances.len())]["id"].as_u64().expect("a number");
        // Starts take long, so most orders cost none.
        let wish = match rng.below(40) {
            0 => "kill",
            1 => "reclaim",
            number => ["freeze", "thaw"][number % 2],
        };
        let known = served.order(id, wish) == 200;
        killed += usize::from(known && wish == "kill");
        std::thread::sleep(Duration::from_millis(rng.below(20) as u64));
    }
    killed
}

/// Ends the disturbance, even if the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// `SERVE_CALLS=10000` makes so many calls; `make serve-calls` does. An answer of 200 means that the function saw the
/// call once. Only a kill of its instance may cost a call, whose caller reads that; it was seen once or not at all.
#[test]
fn no_call_is_lost_or_doubled_while_instances_come_and_go() {
    if !common::has_python() {
        return;
    }
    let count: usize = std::env::var("SERVE_CALLS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(15);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls");
    let options = ["--memory", "--instances-max=6", "--async-backoff=10ms", "--async-retries=8"];
    let served = Served::calls(&options, &file);
    let (done, next, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let killed = std::thread::scope(|scope| {
        let killer = scope.spawn(|| disturb(&served, seed, &done));
        let end = Done(&done);
        let callers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            return;
                        }
                        let event = format!("{{\"n\": {number}}}").into_bytes();
                        if number % 4 == 3 {
                            assert_eq!(served.later(&format!("\r\nX-Fc-Async-Task-Id: n{number}"), &event).0, 202);
                            continue;
                        }
                        let (status, _, body) = match number % 4 {
                            0 => served.request("POST /x HTTP/1.1", &event),
                            _ => served.invoke("", &event),
                        };
                        match status {
                            200 => assert_eq!(body, event, "an answer belongs to its call"),
                            502 => drop(refused.fetch_add(1, Ordering::SeqCst)),
                            _ => panic!("{status} {}", String::from_utf8_lossy(&body)),
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("every call has its answer");
        }
        served.wait_until_no_task_is_open();
        drop(end);
        killer.join().expect("the orders are taken")
    });
    let refused = refused.into_inner();
    let calls = std::fs::read_to_string(&file).expect("the function noted its calls");
    let (mut seen, mut tries) = (vec![0usize; count], 0);
    for line in calls.lines() {
        let (_, event) = line.split_once(' ').expect("the retries and the event");
        let event: Value = serde_json::from_str(event).expect("the event is JSON");
        let number = event["n"].as_u64().expect("a number") as usize;
        seen[number] += 1;
        tries += 1;
    }
    let lost: Vec<usize> = (0..count).filter(|number| number % 4 == 3 && seen[*number] == 0).collect();
    assert!(lost.is_empty(), "accepted with 202 and never carried out: {lost:?}");
    let missed = (0..count).filter(|number| seen[*number] == 0).count();
    let doubled: Vec<usize> = (0..count).filter(|number| number % 4 != 3 && seen[*number] > 1).collect();
    println!("{count} calls, {tries} tries, {killed} kills, {refused} calls lost to a kill and told so");
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert!(missed <= refused, "{missed} calls were never seen, but only {refused} callers read an error");
    assert!(refused <= killed, "{refused} callers read an error after {killed} kills");
}
