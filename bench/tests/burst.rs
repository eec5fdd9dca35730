//! `fc-bench burst`: a burst counts when all of its instances have answered, whoever cannot start has a row with the
//! reason, and nothing stays behind.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use fc_bench::harness::Listening;
use measured::{Checkout, interrupt, named, numbers, wait};
use serde_json::Value;

/// Whether the kernel lists listeners here. If not, it prints the reason.
fn can_list() -> bool {
    Listening::open().inspect_err(|why| fc_testkit::skip(format!("bursts: {why}"))).is_ok()
}

fn of_size(results: &Value, size: u32) -> Value {
    let all = results["burst"]["bursts"].as_array().into_iter().flatten();
    Value::Array(all.filter(|bursts| bursts["instances"] == size).cloned().collect())
}

#[test]
fn every_burst_is_a_sample_or_a_failure_with_its_reason() {
    if !can_list() {
        return;
    }
    let checkout = Checkout::new();
    let run = checkout.run(&[
        "burst",
        "--burst-sizes=1,12",
        "--burst-rounds=3",
        "--burst-timeout=20s",
        &checkout.contender("well", None),
        &checkout.contender("ends", Some("exits-at-start")),
        // A supervisor that loses patience.
        "--contender=killed=timeout -s KILL 0.01 sleep 600",
    ]);
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    for size in [1, 12] {
        let bursts = of_size(&run.results, size);
        let well = named(&bursts, "well");
        let samples = well["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &well["failures"]), (3, &Value::Array(vec![])), "{well:#}");
        for (round, sample) in samples.iter().enumerate() {
            assert_eq!(sample["round"], round);
            let ready = numbers(&sample["ready_us"]);
            assert!(ready.len() == size as usize && ready.iter().all(|us| *us > 0.0), "{sample:#}");
            assert!(sample["cpu_us"].as_f64() > Some(0.0) && sample["client_busy"].as_f64() > Some(0.0), "{sample:#}");
        }
        for (name, why) in [("ends", "ended before it answered: exit status"), ("killed", "signal: 9")] {
            let bursts = named(&bursts, name);
            let failures = bursts["failures"].as_array().unwrap();
            assert!(bursts["samples"] == Value::Array(vec![]) && failures.len() == 2, "{bursts:#}");
            assert!(failures.iter().all(|it| it.as_str().unwrap().contains(why)), "{bursts:#}");
            assert_eq!(bursts["stopped_by"], "given up after 2 failures in a row");
        }
    }
    assert_eq!(checkout.left(), Vec::<u32>::new());
}

#[test]
fn nobody_to_measure_is_an_error() {
    if !can_list() {
        return;
    }
    let checkout = Checkout::new();
    let silent = checkout.contender("silent", Some("never-listens"));
    let run = checkout.run(&["burst", "--quick", "--burst-sizes=3", "--burst-timeout=300ms", &silent]);
    let said = run.stderr.contains("time: 0 of 3 answered within 0.3 s");
    assert!(run.code == Some(2) && said, "{:?}: {}", run.code, run.stderr);
    for wrong in ["0", "1001", "many"] {
        let run = checkout.run(&["burst", "--burst-sizes", wrong, &silent]);
        assert!(run.code == Some(2) && run.stderr.contains("--burst-sizes"), "{wrong}: {}", run.stderr);
    }
    assert_eq!(checkout.left(), Vec::<u32>::new());
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    if !can_list() {
        return;
    }
    let checkout = Checkout::new();
    let one = checkout.contender("one", None);
    let child = checkout.start("", &["burst", "--burst-sizes=20", "--burst-rounds=10000", &one]);
    let pid = child.id();
    assert!(wait(|| (checkout.left().len() > 5).then_some(())).is_some());
    interrupt(pid);
    let run = checkout.finish(child);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!(checkout.left(), Vec::<u32>::new());
}
