//! `fc-bench load`: what one request takes is counted, or the results name why not, and a thousand connections are held
//! although the shell allows few descriptors.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use measured::{Checkout, Run, named, numbers};
use serde_json::Value;

/// Whether the results say why this could not be counted. If so, it prints the reason.
fn is_skipped(run: &Run, what: &str) -> bool {
    let skipped = run.results["skipped"].as_array().into_iter().flatten();
    let why = skipped.into_iter().find(|it| it["what"].as_str().is_some_and(|text| text.starts_with(what)));
    why.inspect(|why| fc_testkit::skip(format!("{what}: {}", why["reason"]))).is_some()
}

/// A sound server that is quick enough to be loaded.
fn sound() -> String {
    format!("--contender=well={} plain", fc_testkit::build::helper("uneven").display())
}

#[test]
fn what_one_request_takes_is_counted_or_named() {
    let checkout = Checkout::new();
    let run = checkout.run(&["load", "--load-rounds=1", "--connections=2", "--load-for=300ms", &sound()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let counts = named(&run.results["load"]["counts"], "well");
    if !is_skipped(&run, "system calls of a request") {
        let calls = counts["system_calls"].as_array().unwrap();
        let sum: f64 = calls.iter().filter_map(|row| row[1].as_f64()).sum();
        // A request is received and answered, whatever else.
        assert!((2.0..100.0).contains(&sum), "{counts:#}");
    }
    if !is_skipped(&run, "instructions of a request") {
        let instructions = counts["instructions"].as_f64().unwrap();
        assert!(instructions > 500.0 && counts["instructions_by"].as_str().unwrap().contains("valgrind"), "{counts:#}");
    }
    let by_ticks = is_skipped(&run, "user-space time of a request by perf");
    let [time] = counts["times"].as_array().unwrap().as_slice() else { panic!("{counts:#}") };
    let of = |name: &str| time[name].as_f64().unwrap();
    assert!(of("cpu_us") > 0.0 && (0.0..=of("cpu_us")).contains(&of("user_us")) && of("looks") > 0.0, "{time:#}");
    assert_eq!(time["by_perf"], !by_ticks);
    assert_eq!(checkout.left(), Vec::<u32>::new());
}

#[test]
fn who_does_not_answer_is_named() {
    let checkout = Checkout::new();
    let words = ["load", "--quick", "--load-rounds=1", "--connections=2", "--load-for=300ms"];
    let (well, ends) = (sound(), checkout.contender("ends", Some("exits-at-start")));
    let run = checkout.run(&[&words[..], &[&well, &ends]].concat());
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let counts = named(&run.results["load"]["counts"], "ends");
    assert!(counts["system_calls"] == Value::Array(vec![]) && counts["times"] == Value::Array(vec![]), "{counts:#}");
    assert!(counts["failures"][0].as_str().unwrap().starts_with("round 0: it ended before it listened"), "{counts:#}");
    let skipped = run.results["skipped"].to_string();
    for what in ["system calls of a request", "instructions of a request"] {
        let tool_is_missing = skipped.contains(&format!("\"{what}\""));
        assert!(tool_is_missing || skipped.contains(&format!("\"{what} of ends\"")), "{what}: {skipped}");
    }
}

/// The limit of the shell is what a login has on many systems. The client has to get its turn within the time of load,
/// after it has opened all connections.
#[test]
fn a_thousand_connections_are_held() {
    let checkout = Checkout::new();
    let well = sound();
    let words = ["load", "--load-rounds=1", "--load-for=1s", "--connections=1024", "--no-request-counts", &well];
    let run = checkout.finish(checkout.start("ulimit -Sn 256;", &words));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let [cell] = run.results["load"]["cells"].as_array().unwrap().as_slice() else { panic!("{:#}", run.results) };
    assert_eq!((&cell["pattern"]["connections"], &cell["failures"]), (&Value::from(1024), &Value::Array(vec![])));
    let run = &cell["runs"][0];
    assert_eq!(run["errors"], 0, "{}", run["note"]);
    let of = |name: &str| run[name].as_u64().unwrap();
    assert!(of("requests") + of("unanswered") > 0 && numbers(&run["percentiles_us"]).len() == 5, "{run:#}");
}
