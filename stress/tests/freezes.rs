//! `fc-stress freezes` and `fc-stress soak` against the function that counts its callbacks: correct, and with each of
//! its faults. Longer trials: `make freezes`, `make soak`.

#![cfg(target_os = "linux")] // freezers and /proc

mod common;

use common::{can_freeze_by, fc_stress, new_file};
use serde_json::Value;

/// The exit code, the report, and the output.
fn trial(command: &str, options: &[&str], fault: Option<&str>) -> (i32, Value, String) {
    let (target, fault) = (fc_testkit::build::subject(), fault.map(|fault| format!("TALLY_FAULT={fault}")));
    let json = new_file();
    let mut words = vec![command, "--export-json", json.to_str().expect("a name in UTF-8")];
    words.extend(options);
    words.extend(["--", "env", "SUBJECT=tally"]);
    words.extend(fault.as_deref());
    words.push(target.to_str().expect("a name in UTF-8"));
    let output = fc_stress(&words);
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let code = output.status.code().expect("it ends by itself");
    let text = std::fs::read_to_string(&json).unwrap_or_else(|cause| panic!("{words:?}: {cause}: {told}"));
    std::fs::remove_file(&json).expect("it was there");
    (code, serde_json::from_str(&text).expect("a report"), told)
}

#[test]
fn a_few_freezes_by_each_way() {
    for way in ["cgroup-v1", "cgroup-v2", "sigstop"].into_iter().filter(|way| can_freeze_by(way)) {
        let options = ["--count=8", "--clients=12", "--seed=3", "--freeze-with", way];
        let (code, report, told) = trial("freezes", &options, None);
        assert_eq!((code, &report["faults"]), (0, &Value::from(0)), "{way}: {told}");
        let figures = &report["figures"];
        assert_eq!(figures["freezes"], 8, "{way}");
        let (must, noticed) = (figures["must"].as_u64().unwrap(), figures["noticed"].as_u64().unwrap());
        assert!(must > 0 && noticed >= must && (noticed == 8 || way != "sigstop"), "{way}: {told}");
        assert!(report["calls"].as_u64() > Some(0) && report["seed"] == 3, "{way}: {told}");
    }
}

/// Faults that a short trial finds. `every_fault_is_found` has those that take minutes.
#[test]
fn faults_that_show_at_once() {
    for (fault, wanted) in [
        ("mixed", "a wrong answer"),
        ("stop", "at the end it exited with code 3"),
        ("death", "at the end it exited with code 9"),
    ] {
        let options = ["--count=8", "--clients=12", "--seed=3", "--freeze-with=sigstop"];
        let (code, _, told) = trial("freezes", &options, Some(fault));
        assert!(code == 1 && told.contains(wanted), "{fault}: {told}");
    }
}

#[test]
#[ignore = "five minutes: make torture"]
fn every_fault_is_found() {
    let freezes = ["--count=60", "--seed=3", "--freeze-with=sigstop"];
    let soak = ["--run-for=2m", "--seed=3", "--freeze-with=sigstop"];
    for (command, options, fault, wanted) in [
        ("freezes", freezes, "twice", "calls were answered"),
        ("freezes", freezes, "descriptors", "descriptors were open before"),
        ("soak", soak, "memory", "memory grows by"),
    ] {
        let (code, _, told) = trial(command, &options, Some(fault));
        assert!(code == 1 && told.contains(wanted), "{fault}: {told}");
    }
    let (code, report, told) = trial("soak", &soak, None);
    assert!(code == 0 && report["trend"].is_object(), "{told}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    for (words, wanted) in [
        (&["freezes"][..], "give a target"),
        (&["freezes", "--", "true"], "failed to start"),
        (&["freezes", "--freeze-with=magic", "--", "true"], "cgroup-v1, cgroup-v2, sigstop"),
        (&["freezes", "--image=x", "--freeze-with=sigstop"], "cannot freeze a container"),
        (&["soak", "--run-for=10", "--", "true"], "such as 500ms, 10s or 2m"),
    ] {
        let output = fc_stress(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(wanted), "{words:?}: {told}");
    }
}
