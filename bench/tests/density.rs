//! `fc-bench density`: a fleet of a real server from start to end, the reasons that stop it, and nothing left behind.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use common::can_freeze_by;
use measured::{Checkout, WAYS, interrupt, named, numbers, wait};
use serde_json::Value;

/// Long enough for a busy machine; no test waits for it to pass.
const LIMIT: &str = "--fleet-timeout=60s";

#[test]
fn a_fleet_lives_its_whole_life_by_every_way_that_works_here() {
    let checkout = Checkout::new();
    let one = checkout.contender("one", None);
    for (way, name) in WAYS.into_iter().filter(|(way, _)| can_freeze_by(way)) {
        let run = checkout.run(&["density", "--instances=3,12", LIMIT, "--freeze-with", way, &one]);
        assert_eq!(run.code, Some(0), "{way}: {}", run.stderr);
        let density = &run.results["density"];
        assert_eq!(density["freezer"], name);
        let fleets = density["fleets"].as_array().unwrap();
        assert_eq!(fleets.len(), 2, "{way}");
        for (fleet, count) in fleets.iter().zip([3, 12]) {
            is_whole(fleet, count);
        }
        assert_eq!((checkout.left(), run.groups), (vec![], vec![]), "{way}");
    }
}

/// Every figure of a fleet that met no obstacle.
fn is_whole(fleet: &Value, count: usize) {
    for figure in ["wanted", "started", "answered"] {
        assert_eq!(fleet[figure], count, "{figure}: {fleet:#}");
    }
    assert_eq!((&fleet["name"], &fleet["stopped_by"]), (&Value::from("one"), &Value::Null));
    let time = |name: &str| fleet[name].as_f64().unwrap_or_else(|| panic!("no {name}: {fleet:#}"));
    assert!(0.0 < time("started_us") && time("started_us") < time("all_answered_us"), "{fleet:#}");
    assert!(time("all_frozen_us") > 0.0);
    let thaws = numbers(&fleet["thaws_us"]);
    assert!(thaws.iter().all(|thaw| *thaw > 0.0) && thaws.iter().sum::<f64>() <= time("all_thawed_us"), "{fleet:#}");
    let [private, proportional, resident] =
        ["private_kb", "proportional_kb", "resident_kb"].map(|name| numbers(&fleet[name]));
    assert_eq!([thaws.len(), private.len(), proportional.len(), resident.len()], [count; 4]);
    for ((private, proportional), resident) in private.iter().zip(&proportional).zip(&resident) {
        assert!(0.0 < *private && private <= proportional && proportional <= resident, "{fleet:#}");
    }
    // Other programs that free memory can make this one figure impossible. The report then says so.
    let failures = fleet["failures"].as_array().unwrap();
    match fleet["machine_kb"].as_f64() {
        Some(machine) => assert!(machine > 0.0 && failures.is_empty(), "{fleet:#}"),
        None => {
            assert!(failures[0].to_string().contains("other programs freed some") && failures.len() == 1, "{fleet:#}")
        }
    }
}

#[test]
fn what_stopped_a_fleet_is_said() {
    let checkout = Checkout::new();
    let words = [
        "density",
        "--instances=5",
        LIMIT,
        &checkout.contender("good", None),
        &checkout.contender("ends", Some("exits-at-start")),
        &checkout.contender("refuses", Some("invoke-missing")),
    ];
    let run = checkout.run(&words);
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let fleets = &run.results["density"]["fleets"];
    assert_eq!((&named(fleets, "good")["answered"], &named(fleets, "good")["stopped_by"]), (&5.into(), &Value::Null));
    for (name, reason) in [("ends", "exit status: 13"), ("refuses", "404")] {
        let fleet = named(fleets, name);
        assert_eq!((&fleet["started"], &fleet["answered"]), (&5.into(), &0.into()), "{fleet:#}");
        assert!(fleet["stopped_by"].as_str().is_some_and(|text| text.contains(reason)), "{fleet:#}");
        let nothing = [&fleet["private_kb"], &fleet["thaws_us"], &fleet["failures"]];
        assert!(nothing.iter().all(|list| **list == Value::Array(vec![])), "{fleet:#}");
        assert_eq!((&fleet["machine_kb"], &fleet["all_thawed_us"]), (&Value::Null, &Value::Null));
    }
    assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
}

/// 230 descriptors are enough for 15 instances, of which each takes two.
#[test]
fn as_many_come_as_fit() {
    let checkout = Checkout::new();
    let contender = checkout.contender("one", None);
    let run = checkout.finish(checkout.start("ulimit -n 230;", &["density", "--instances=40", LIMIT, &contender]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let fleet = named(&run.results["density"]["fleets"], "one");
    assert_eq!([&fleet["wanted"], &fleet["started"], &fleet["answered"]], [40, 15, 15], "{fleet:#}");
    assert!(fleet["stopped_by"].as_str().is_some_and(|text| text.contains("open files")), "{fleet:#}");
    assert_eq!(numbers(&fleet["thaws_us"]).len(), 15);
    assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let checkout = Checkout::new();
    let (good, ends) = (checkout.contender("good", None), checkout.contender("ends", Some("exits-at-start")));
    let silent = checkout.contender("silent", Some("never-listens"));
    for (words, reason) in [
        (&["density", "--instances=2", &ends][..], "exit status: 13"),
        (&["density", "--instances=2", "--fleet-timeout=500ms", &silent], "time: it took more than 0.5 s"),
        (&["density", "--quick"], "there are no contenders"),
        (&["density", "--fleet-timeout=8", &good], "such as 500ms, 10s or 2m"),
        (&["density", "--instances=0", &good], "--instances"),
    ] {
        let run = checkout.run(words);
        assert_eq!(run.code, Some(2), "{words:?}");
        assert!(run.stderr.contains(reason), "{words:?}: {}", run.stderr);
        assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
    }
}

#[test]
fn an_interrupt_in_the_middle_leaves_nothing_behind() {
    let checkout = Checkout::new();
    let child = checkout.start("", &["density", "--instances=400", LIMIT, &checkout.contender("one", None)]);
    assert!(wait(|| (checkout.left().len() > 20).then_some(())).is_some());
    interrupt(child.id());
    let run = checkout.finish(child);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!((checkout.left(), run.groups), (vec![], vec![]));
}
