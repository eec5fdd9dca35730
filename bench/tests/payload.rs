//! `fc-bench payload`: a server that echoes has every figure of every size, and one that does not is named.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use std::process::Command;

use common::fc_bench;
use measured::{Checkout, named, numbers};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn an_echo_has_all_figures() {
    let built = Command::new(format!("{ROOT}/bench/peers/build")).arg("baseline").output();
    if !built.is_ok_and(|it| it.status.success() && !String::from_utf8_lossy(&it.stdout).contains("skipped")) {
        return fc_testkit::skip("payloads: no C compiler builds the baseline's echo");
    }
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|it| it.status.success());
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (folder.path().join("payload.json"), folder.path().join("payload.html"));
    let [json, html] = [&file, &page].map(|it| it.display().to_string());
    let words = ["payload", "--quick", "--payload-sizes=100kB,2MB", "--only=baseline", "--root", ROOT];
    let output = fc_bench(&[&words[..], &["--export-json", &json, "--export-html", &html]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let payload = &results["payload"];
    let echo = named(&payload["echoes"], "baseline_echo");
    assert_eq!((&echo["of"], &echo["kind"], &echo["streams"]), (&"baseline".into(), &"baseline".into(), &false.into()));
    let cells = payload["cells"].as_array().unwrap();
    assert_eq!(cells.iter().map(|cell| cell["body_bytes"].as_u64().unwrap()).collect::<Vec<_>>(), [102_400, 2 << 20]);
    for cell in cells {
        assert_eq!(cell["failures"], Value::Array(vec![]));
        let runs = cell["runs"].as_array().unwrap();
        assert_eq!(runs.iter().filter_map(|run| run["round"].as_u64()).collect::<Vec<_>>(), [0, 1]);
        for run in runs {
            let calls = run["calls"].as_u64().unwrap();
            let counted = run["time_us"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap());
            assert!(calls >= 3 && counted.sum::<u64>() == calls, "{run:#}");
            let percentiles = numbers(&run["percentiles_us"]);
            assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{run:#}");
            assert!(run["server_cpu_us"].as_f64() > Some(0.0) && run["client_busy"].as_f64() > Some(0.0), "{run:#}");
        }
        // It holds each body once. The kernel is some pages late with such counts.
        let memory = &cell["memory"][0];
        let (idle, peak) = (memory["idle_kb"].as_u64().unwrap(), memory["peak_kb"].as_u64().unwrap());
        assert!(idle > 0 && memory["minor_faults"].as_u64() > Some(20), "{memory:#}");
        if cell["body_bytes"].as_u64() == Some(2 << 20) {
            assert!((idle + 1_500..idle + 3_000).contains(&peak), "{memory:#}");
        }
        let calls = cell["system_calls"].as_array().unwrap();
        let of = |name: &str| calls.iter().find(|pair| pair[0] == name).and_then(|pair| pair[1].as_f64());
        assert!(!strace || of("read") >= Some(1.0) && of("sendmsg") >= Some(1.0), "{calls:?}");
    }
    let skipped = results["skipped"].to_string();
    assert_eq!(skipped.contains("strace is not installed"), !strace, "{skipped}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for text in [table, std::fs::read_to_string(&page).unwrap()] {
        assert!(text.contains("baseline: C, echo") && text.contains("Payload of 2 MB"), "{text}");
    }
}

/// The one echoes small events and large ones, and the other is of no use here.
#[test]
fn whoever_does_not_echo_is_named() {
    let checkout = Checkout::new();
    let (well, ends) = (checkout.contender("well", None), checkout.contender("ends", Some("exits-at-start")));
    let words = ["payload", "--payload-rounds=1", "--payload-sizes=1kB"];
    let run = checkout.run(&[&words[..], &[&well, &ends, "--quick"]].concat());
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let cells = &run.results["payload"]["cells"];
    assert_eq!(named(cells, "well")["failures"], Value::Array(vec![]));
    assert_eq!(named(cells, "well")["runs"].as_array().map(Vec::len), Some(1));
    let failures = named(cells, "ends")["failures"].to_string();
    assert!(failures.contains("it ended before it listened"), "{failures}");
    assert_eq!(checkout.left(), Vec::<u32>::new());
    let nobody = checkout.run(&[&words[..], &[&ends]].concat());
    assert!(nobody.code == Some(2) && nobody.stderr.contains("it ended before it listened"), "{}", nobody.stderr);
    let large = checkout.run(&["payload", "--payload-sizes=33MB", &well]);
    assert!(large.code == Some(2) && large.stderr.contains("at most 32MB"), "{}", large.stderr);
}
