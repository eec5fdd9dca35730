//! `fc-bench thaw`: real freezes of a real server, every failure with its reason, and nothing left behind.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use common::can_freeze_by;
use measured::{Checkout, WAYS, groups_of, interrupt, named, wait};
use serde_json::Value;

#[test]
fn every_way_to_freeze_that_works_here() {
    let checkout = Checkout::new();
    let (one, two) = (checkout.contender("one", None), checkout.contender("two", None));
    for (way, name) in WAYS.into_iter().filter(|(way, _)| can_freeze_by(way)) {
        let run = checkout.run(&["thaw", "--thaw-rounds=2", "--freeze-for=50ms", "--freeze-with", way, &one, &two]);
        assert_eq!(run.code, Some(0), "{way}: {}", run.stderr);
        let thaw = &run.results["thaw"];
        assert_eq!((&thaw["freezer"], &thaw["frozen_secs"]), (&Value::from(name), &Value::from(0.05)));
        for contender in ["one", "two"] {
            let thaws = named(&thaw["contenders"], contender);
            assert_eq!(thaws["failures"], Value::Array(vec![]), "{way}");
            let samples = thaws["samples"].as_array().unwrap();
            let rounds: Vec<u64> = samples.iter().filter_map(|sample| sample["round"].as_u64()).collect();
            assert_eq!(rounds, [0, 1], "{way}");
            let times = samples.iter().flat_map(|sample| [&sample["reply_us"], &sample["warm_us"]]);
            assert!(times.filter_map(Value::as_f64).all(|time| time > 0.0), "{way}: {samples:?}");
            assert!(samples.iter().all(|sample| sample["minor_faults"].is_u64() && sample["major_faults"].is_u64()));
        }
        assert_eq!((checkout.left(), run.groups), (vec![], vec![]), "{way}");
    }
}

#[test]
fn failures_have_their_reasons_and_do_not_go_on_for_ever() {
    let checkout = Checkout::new();
    let words = [
        "thaw",
        "--thaw-rounds=5",
        "--freeze-for=0s",
        &checkout.contender("good", None),
        &checkout.contender("hangs-up", Some("connection-close")),
        &checkout.contender("refuses", Some("invoke-missing")),
        &checkout.contender("ends", Some("exits-at-start")),
    ];
    let run = checkout.run(&words);
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let contenders = &run.results["thaw"]["contenders"];
    assert_eq!(named(contenders, "good")["samples"].as_array().map(Vec::len), Some(5));
    for (name, reason) in [("hangs-up", "POST /invoke"), ("refuses", "404"), ("ends", "exit status: 13")] {
        let thaws = named(contenders, name);
        let failures = thaws["failures"].as_array().unwrap();
        assert_eq!((failures.len(), &thaws["samples"]), (3, &Value::Array(vec![])), "{name}: {failures:?}");
        assert!(
            failures.iter().all(|failure| failure.as_str().is_some_and(|text| text.contains(reason))),
            "{failures:?}"
        );
    }
    assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let checkout = Checkout::new();
    let (good, ends) = (checkout.contender("good", None), checkout.contender("ends", Some("exits-at-start")));
    for (words, reason) in [
        (&["thaw", "--quick", "--freeze-for=0s", &ends][..], "exit status: 13"),
        (&["thaw", "--quick"], "there are no contenders"),
        (&["thaw", "--freeze-for=1", &good], "such as 500ms, 10s or 2m"),
        (&["thaw", "--thaw-rounds=0", &good], "--thaw-rounds"),
    ] {
        let run = checkout.run(words);
        assert_eq!(run.code, Some(2), "{words:?}");
        assert!(run.stderr.contains(reason), "{words:?}: {}", run.stderr);
        assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
    }
}

#[test]
fn an_interrupt_while_all_are_frozen_leaves_nothing_behind() {
    for (way, _) in WAYS.into_iter().filter(|(way, _)| can_freeze_by(way)) {
        let checkout = Checkout::new();
        let (one, two) = (checkout.contender("one", None), checkout.contender("two", None));
        let mut child = checkout.start("", &["thaw", "--freeze-for=600s", "--freeze-with", way, &one, &two]);
        let pid = child.id();
        let began = wait(|| match child.try_wait().unwrap() {
            Some(status) => Some(Err(status.code())),
            None => (checkout.left().len() == 2 && are_frozen(way, &checkout, pid)).then_some(Ok(())),
        });
        assert_eq!(began.expect("they freeze"), Ok(()), "{way}");
        interrupt(pid);
        let run = checkout.finish(child);
        assert_eq!(run.code, Some(130), "{way}: {}", run.stderr);
        assert_eq!((checkout.left(), run.groups), (vec![], vec![]), "{way}");
    }
}

/// Whether the kernel says that it is frozen by `way`.
fn are_frozen(way: &str, checkout: &Checkout, pid: u32) -> bool {
    let says = |path: &std::path::Path, sign: &str| std::fs::read_to_string(path).is_ok_and(|text| text.contains(sign));
    if way == "sigstop" {
        return checkout.left().iter().all(|pid| says(format!("/proc/{pid}/stat").as_ref(), ") T "));
    }
    let (file, sign) = if way == "cgroup-v1" { ("freezer.state", "FROZEN") } else { ("cgroup.events", "frozen 1") };
    let frozen = groups_of(pid).iter().filter(|group| says(&group.join(file), sign)).count();
    frozen == 2
}
