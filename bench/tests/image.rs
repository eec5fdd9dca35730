//! `fc-bench image`: the files of a contender are all that it needs and no more, sizes add up, whoever cannot be packed
//! has a row with the reason, and the engine keeps nothing.

#![cfg(target_os = "linux")] // measures read /proc

mod common;
mod measured;

use std::process::Command;

use measured::{Checkout, named, numbers};
use serde_json::Value;

fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        fc_testkit::skip(format!("images: {program} is not installed"));
    }
    there
}

#[test]
fn sizes_add_up_and_whoever_cannot_be_packed_is_named() {
    if !has("strace") {
        return;
    }
    let checkout = Checkout::new();
    let words = ["image", "--image-rounds=0", &checkout.contender("well", None)];
    let run = checkout.run(&[&words[..], &[&checkout.contender("ends", Some("exits-at-start"))]].concat());
    assert_eq!(run.code, Some(1), "not everybody has a figure: {}", run.stderr);
    let image = &run.results["image"];
    assert_eq!(image["engine"], Value::Null);
    let well = named(&image["contenders"], "well");
    let of = |name: &str| well[name].as_u64().unwrap_or_else(|| panic!("no {name}: {well:#}"));
    // The script, its interpreter, the program that it becomes, and their libraries.
    assert!(of("files") >= 3, "{well:#}");
    assert!(of("unpacked_bytes") < of("tar_bytes"), "{well:#}");
    for (program, name) in [("gzip", "gzip_bytes"), ("zstd", "zstd_bytes")] {
        if has(program) {
            assert!(0 < of(name) && of(name) < of("tar_bytes"), "{well:#}");
        }
    }
    let ends = named(&image["contenders"], "ends");
    assert_eq!((&ends["files"], &ends["gzip_bytes"]), (&0.into(), &Value::Null));
    assert!(ends["failures"][0].as_str().is_some_and(|why| why.contains("ended before it answered")), "{ends:#}");
    assert_eq!(checkout.left(), Vec::<u32>::new());
    let nobody = checkout.run(&["image", &checkout.contender("ends", Some("exits-at-start"))]);
    assert!(nobody.code == Some(2) && nobody.stderr.contains("ended before it answered"), "{}", nobody.stderr);
}

/// The engine runs a container with these files alone, so none is missing.
#[test]
fn an_engine_runs_what_was_found() {
    if let Err(why) = fc_emulator::target::engine_answers() {
        return fc_testkit::skip(format!("images in an engine: no Docker engine answers: {why}"));
    }
    if !has("strace") {
        return;
    }
    let checkout = Checkout::new();
    let child = checkout.start("", &["image", "--image-rounds=2", &checkout.contender("well", None)]);
    let pid = child.id();
    let run = checkout.finish(child);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let image = &run.results["image"];
    assert!(image["engine"].as_str().is_some_and(|name| name.starts_with("Docker ")), "{image:#}");
    let well = named(&image["contenders"], "well");
    assert_eq!((&well["layers"], &well["failures"]), (&1.into(), &Value::Array(vec![])), "{well:#}");
    for name in ["load_us", "create_us"] {
        let rounds = well[name].as_array().unwrap();
        assert!(rounds.len() == 2 && rounds.iter().all(|round| numbers(round)[1] > 0.0), "{well:#}");
    }
    for words in [
        &["images", "--quiet", "--filter", &format!("reference=fc-bench-{pid}-*")][..],
        &["ps", "--all", "--quiet", "--filter", &format!("name=fc-bench-{pid}-")],
    ] {
        let left = Command::new("docker").args(words).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{words:?}");
    }
    assert_eq!(checkout.left(), Vec::<u32>::new());
}
