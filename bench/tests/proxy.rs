//! `fc-bench proxy`: every figure of a proxy that is there, the missing ones by name, and nothing left behind.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use common::fc_bench;
use measured::{named, numbers};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// nginx has the most figures to write and to read, and Debian has it.
#[test]
fn a_proxy_gets_all_its_figures() {
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().any(|file| Path::new(file).is_file());
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|it| it.status.success());
    let built = Command::new(format!("{ROOT}/bench/peers/build")).arg("baseline").output();
    if !nginx || !strace || !built.is_ok_and(|it| it.status.success()) {
        return fc_testkit::skip("proxies: needs nginx, strace and a C compiler (`bench/proxies/build` says which)");
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (folder.path().join("proxy.json"), folder.path().join("proxy.html"));
    let [json, html] = [&file, &page].map(|it| it.display().to_string());
    let words = ["proxy", "--quick", "--only", "nginx", "--root", ROOT, "--export-json", &json, "--export-html", &html];
    let output = fc_bench(&words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let proxy = &results["proxy"];
    assert_eq!((&proxy["streams"][0], &proxy["body_bytes"]), (&Value::from(100), &Value::from(32 << 20)));
    let row = named(&proxy["rows"], "nginx");
    assert_eq!(row["failures"], Value::Array(vec![]));
    let runs = row["runs"].as_array().unwrap();
    assert_eq!(runs.iter().filter_map(|run| run["round"].as_u64()).collect::<Vec<_>>(), [0, 1]);
    for name in ["per_second", "cpu_us", "one_us"] {
        assert!(runs.iter().all(|run| run[name].as_f64().is_some_and(|it| it > 0.0)), "{name}: {runs:?}");
    }
    // Both sides are read and written, and the proxy waits for both.
    let calls: f64 = row["system_calls"].as_array().unwrap().iter().filter_map(|pair| pair[1].as_f64()).sum();
    assert!((4.0..100.0).contains(&calls), "{row:#}");
    for name in ["resident_kb", "request_body_peak_kb", "reply_body_peak_kb", "stalled_kb", "long_stalled_kb"] {
        assert!(row[name].as_u64().is_some_and(|it| it > 0), "{name}: {row:#}");
    }
    assert!(row["idle_switches"].is_u64() && numbers(&row["healthy_us"]).iter().all(|us| *us > 0.0));
    let direct = named(&proxy["rows"], "direct");
    assert_eq!(
        (direct["runs"].as_array().map(Vec::len), direct["starts_us"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for text in [table, std::fs::read_to_string(&page).unwrap()] {
        assert!(text.contains("nginx proxy_pass") && text.contains("Proxies: costs"), "{text}");
    }
}

#[test]
fn what_is_missing_or_unknown_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    for (words, reason) in [
        (&["proxy", "--root", &root][..], "`bench/peers/build baseline` builds it"),
        (&["proxy", "--root", &root, "--only", "squid"], "unknown proxy `squid`"),
        (&["proxy", "--root", &root, "--contender", "mine=./server"], "--contender"),
        (&["proxy", "--proxy-rounds", "0"], "--proxy-rounds"),
    ] {
        let output = fc_bench(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(reason), "{words:?}: {text}");
    }
}
