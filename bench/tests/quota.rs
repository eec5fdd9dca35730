//! `fc-bench quota`: starts on a share of a processor are samples or failures with their reasons, whoever cannot start
//! has a row all the same, and no control group stays behind. And: a server of one's own is measured anywhere.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::fc_bench;
use fc_bench::harness::CpuLimit;
use measured::{Checkout, interrupt, named, numbers, wait};
use serde_json::Value;

/// Whether there can be shares of a processor here. If not, it prints the reason.
fn can_limit() -> bool {
    let limit = CpuLimit::new(0.05);
    limit.inspect_err(|why| fc_testkit::skip(format!("shares of a processor: {why}"))).is_ok()
}

/// The groups that this process made and that still exist, in all hierarchies of this machine.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("fc-bench-cpu-{pid}-");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter(|line| line.starts_with("cgroup")).filter_map(|line| line.split(' ').nth(1));
    let entries = points.filter_map(|point| fs::read_dir(point).ok()).flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))).collect()
}

#[test]
fn every_start_is_a_sample_or_a_failure_with_its_reason() {
    if !can_limit() {
        return;
    }
    let checkout = Checkout::new();
    let words = [
        "quota",
        "--vcpus=0.5,1",
        "--quota-rounds=3",
        "--quota-container-rounds=0",
        &checkout.contender("well", None),
        &checkout.contender("ends", Some("exits-at-start")),
        // A supervisor that loses patience.
        "--contender=killed=timeout -s KILL 0.01 sleep 600",
    ];
    let child = checkout.start("", &words);
    let pid = child.id();
    let run = checkout.finish(child);
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let quota = &run.results["quota"];
    assert!(quota["limited_by"].as_str().is_some_and(|text| text.contains("cgroup")), "{quota:#}");
    for vcpu in [0.5, 1.0] {
        let on = quota["process"].as_array().unwrap().iter().filter(|starts| starts["vcpu"] == vcpu);
        let on = Value::Array(on.cloned().collect());
        let well = named(&on, "well");
        let samples = well["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &well["failures"]), (3, &Value::Array(vec![])), "{well:#}");
        for (round, sample) in samples.iter().enumerate() {
            assert_eq!(sample["round"], round);
            assert!(sample["initialize_us"].as_f64() > Some(0.0), "{sample:#}");
            let stood = sample["throttled_us"].as_f64().unwrap() > 0.0;
            assert_eq!(stood, sample["throttled_periods"].as_u64() > Some(0), "{sample:#}");
        }
        for (name, why) in [("ends", "it exited with code "), ("killed", "it was ended by signal 9")] {
            let starts = named(&on, name);
            let failures = starts["failures"].as_array().unwrap();
            assert!(starts["samples"] == Value::Array(vec![]) && failures.len() == 3, "{starts:#}");
            assert!(failures.iter().all(|it| it.as_str().unwrap().contains(why)), "{starts:#}");
            assert_eq!(starts["stopped_by"], "given up after 3 failures in a row");
        }
    }
    assert_eq!((checkout.left(), groups_of(pid)), (vec![], vec![]));
}

#[test]
fn nobody_to_measure_is_an_error() {
    if !can_limit() {
        return;
    }
    let checkout = Checkout::new();
    let silent = checkout.contender("silent", Some("never-listens"));
    let words = ["quota", "--quick", "--quota-rounds=3", "--quota-timeout=300ms", &silent];
    let run = checkout.run(&words);
    assert!(run.code == Some(2) && run.stderr.contains("not open in time"), "{:?}: {}", run.code, run.stderr);
    for wrong in ["0", "0.001", "17", "half"] {
        let run = checkout.run(&["quota", "--vcpus", wrong, &silent]);
        assert!(run.code == Some(2) && run.stderr.contains("number of processors"), "{wrong}: {}", run.stderr);
    }
    assert_eq!(checkout.left(), Vec::<u32>::new());
}

/// A server that works before it listens stands still meanwhile, and the kernel says so.
#[test]
fn a_start_that_needs_more_than_its_share_is_throttled() {
    if !can_limit() {
        return;
    }
    let checkout = Checkout::new();
    let busy = checkout.busy("busy");
    let run = checkout.run(&["quota", "--quick", "--vcpus=0.05", "--quota-rounds=2", &busy]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let samples = named(&run.results["quota"]["process"], "busy")["samples"].clone();
    let of = |name: &str| -> Vec<f64> {
        numbers(&samples.as_array().unwrap().iter().map(|sample| sample[name].clone()).collect())
    };
    assert!(of("throttled_periods").len() == 2 && of("throttled_periods").iter().all(|count| *count >= 1.0));
    // Time of the whole start, and the part of it that it stood still.
    assert!(of("initialize_us").iter().zip(of("throttled_us")).all(|(whole, stood)| stood > 0.0 && stood < *whole));
    // Another kernel need not tell processor time.
    assert!(of("cpu_us").iter().all(|cpu| *cpu > 5_000.0), "{samples:#}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    if !can_limit() {
        return;
    }
    let checkout = Checkout::new();
    let child = checkout.start("", &["quota", "--quota-rounds=100000", &checkout.contender("one", None)]);
    let pid = child.id();
    assert!(wait(|| (!checkout.left().is_empty() && !groups_of(pid).is_empty()).then_some(())).is_some());
    interrupt(pid);
    let run = checkout.finish(child);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!((checkout.left(), groups_of(pid)), (vec![], vec![]));
}

/// In a folder that is no checkout: a server that is given is measured, one line names what is not there, and nothing
/// is written.
#[test]
fn a_server_of_ones_own_is_measured_anywhere() {
    let (checkout, nowhere) = (Checkout::new(), tempfile::tempdir().unwrap());
    let root = nowhere.path().display().to_string();
    let mine = checkout.contender("mine", None);
    let measured = |words: &[&str]| {
        let output = fc_bench(&[words, &["--root", &root, "--format=json", &mine]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let results = measured(&["coldstart", "--start-rounds=2", "--container-rounds=0", "--no-counts"]);
    let found = named(&results["coldstart"]["process"], "mine");
    assert_eq!(found["samples"].as_array().unwrap().len(), 2, "{found:#}");
    let [skipped] = results["skipped"].as_array().unwrap().as_slice() else { panic!("{results:#}") };
    assert!(skipped["reason"].as_str().unwrap().contains("is no checkout of fc-hooks"), "{skipped:#}");
    // Who asks for a contender of the checkout reads the name of that one.
    let results = measured(&["load", "--quick", "--only=hyper,mine"]);
    assert_eq!(results["skipped"][0]["what"], "hyper", "{results:#}");
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
    let nobody = Command::new(env!("CARGO_BIN_EXE_fc-bench")).args(["density", "--root", &root]).output().unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(nobody.status.code() == Some(2) && said.contains("--contender gives another"), "{said}");
}
