//! `fc-bench restore`: a contender is saved and restored in both ways, whoever cannot be saved is named, and nothing
//! stays behind.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use std::fs;

use common::fc_bench;
use fc_emulator::vm;
use measured::{Checkout, named};
use serde_json::{Value, json};

const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

#[test]
#[ignore = "half a minute of virtual machines: make test-all"]
fn a_contender_is_restored_in_both_ways() {
    if let Err(missing) = vm::requirements(None) {
        return fc_testkit::skip(format!("restores: {missing}"));
    }
    if !fc_testkit::build::has_target(STATIC_TARGET) {
        return fc_testkit::skip(format!("restores: the target {STATIC_TARGET} is not installed"));
    }
    let programs = fc_testkit::build::build("fc-hooks", &["--bin=fc-hooks", "--target", STATIC_TARGET]);
    let program = programs[0].path.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("bench/peers")).unwrap();
    let well = json!({ "name": "well", "label": "well", "command": [program], "build": "none", "static": true });
    fs::write(folder.path().join("bench/peers/peers.json"), json!([well]).to_string()).unwrap();
    let (root, checkout) = (folder.path().display().to_string(), Checkout::new());
    let ends = checkout.contender("ends", Some("exits-at-start"));
    let words = ["restore", "--restore-rounds=2", "--only=well", &ends, "--root", &root, "--format=json"];
    let output = fc_bench(&words);
    assert_eq!(output.status.code(), Some(1), "one has no figure: {}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = results["restore"]["restores"].as_array().unwrap();
    let mut ways = vec!["vm-snapshot"];
    match vm::requires_criu() {
        Ok(()) => ways.push("criu"),
        Err(missing) => fc_testkit::skip(format!("restores by CRIU: {missing}")),
    }
    assert_eq!(all.len(), ways.len() * 2, "{all:#?}");
    for way in ways {
        let of_way = Value::Array(all.iter().filter(|restores| restores["way"] == way).cloned().collect());
        let well = named(&of_way, "well");
        let samples = well["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &well["failures"]), (2, &Value::Array(vec![])), "{well:#}");
        for sample in samples {
            let (restored, reply) = (sample["restored_us"].as_f64(), sample["reply_us"].as_f64());
            assert!(Some(0.0) < restored && restored < reply, "{well:#}");
        }
        assert!(well["saved_bytes"].as_u64() > Some(10_000), "{well:#}");
        // One for each round, or one of a further restore.
        let faults = well["faults"].as_array().unwrap().len();
        assert_eq!(faults, if way == "criu" { 1 } else { 2 }, "{well:#}");
        let ends = named(&of_way, "ends");
        assert!(ends["samples"] == Value::Array(vec![]) && ends["saved_bytes"] == Value::Null, "{ends:#}");
        assert!(ends["failures"][0].as_str().unwrap().starts_with("it could not be saved: "), "{ends:#}");
    }
    assert_eq!(checkout.left(), Vec::<u32>::new());
}

#[test]
fn a_kernel_that_is_not_there_is_an_error() {
    let checkout = Checkout::new();
    let run = checkout.run(&["restore", "--vm-kernel=/no/such/kernel", &checkout.contender("well", None)]);
    assert_eq!(run.code, Some(2));
    let missing = ["/no/such/kernel", "a virtual machine needs"];
    assert!(missing.iter().any(|text| run.stderr.contains(text)), "{}", run.stderr);
}
