//! The exit status tells whether every contender that was asked for has figures.

mod common;

use std::path::PathBuf;

use common::fc_bench;
use serde_json::json;
use tempfile::TempDir;

/// A checkout with three peers: one that answers, one that ends at its start, and one that was not built.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(checkout.path("bench/peers")).unwrap();
        std::fs::copy(fc_testkit::build::helper("uneven"), checkout.path("uneven")).unwrap();
        std::fs::copy(fc_testkit::build::helper("faulty"), checkout.path("faulty")).unwrap();
        std::fs::copy("/bin/false", checkout.path("false")).unwrap();
        let peer = |name: &str, command: &[&str]| {
            let build = "make it";
            json!({ "name": name, "label": name, "command": command, "build": build })
        };
        let peers = [peer("well", &["./uneven", "plain"]), peer("ends", &["./false"]), peer("gone", &["./none"])];
        std::fs::write(checkout.path("bench/peers/peers.json"), json!(peers).to_string()).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The exit status, and what was said.
    fn run(&self, measure: &[&str], words: &[&str]) -> (Option<i32>, String) {
        let root = self.0.path().display().to_string();
        let output = fc_bench(&[measure, &["--root", &root], words].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn own(&self, name: &str, command: &str) -> String {
        format!("--contender={name}={}", self.path(command).display())
    }
}

const STARTS: [&str; 4] = ["coldstart", "--start-rounds=1", "--container-rounds=0", "--no-counts"];
const LOAD: [&str; 5] = ["load", "--load-connections=1", "--load-rounds=1", "--load-for=100ms", "--no-request-counts"];

#[test]
fn a_contender_that_was_asked_for_and_has_no_figure_is_a_failure() {
    let checkout = Checkout::new();
    let ends = checkout.own("mine", "false");
    for (measure, what) in [(&STARTS[..], "cold starts"), (&LOAD, "load")] {
        for words in [&[ends.as_str()][..], &["--only=well", &ends], &["--only=well,ends"]] {
            let (code, said) = checkout.run(measure, words);
            let name = if words.contains(&ends.as_str()) { "mine" } else { "ends" };
            assert_eq!(code, Some(1), "{words:?}: {said}");
            assert!(said.contains(&format!("`{name}` has no figure of {what}: ")), "{words:?}: {said}");
        }
        let (code, said) = checkout.run(measure, &["--only=mine", &ends]);
        assert_eq!(code, Some(2), "it is alone: {said}");
    }
}

#[test]
fn wrong_answers_are_no_figures() {
    let checkout = Checkout::new();
    for (measure, fault, what) in
        [(&STARTS[..], "initialize-missing", "cold starts"), (&LOAD, "invoke-missing", "load")]
    {
        let wrong = checkout.own("mine", &format!("faulty --fault {fault}"));
        let (code, said) = checkout.run(measure, &["--only=well", &wrong]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("`mine` has no figure of {what}: ")) && said.contains("404"), "{said}");
    }
}

#[test]
fn what_was_not_asked_for_or_not_built_is_no_failure() {
    let checkout = Checkout::new();
    for words in [&[][..], &["--only=well"], &["--only=well,gone"]] {
        let (code, said) = checkout.run(&STARTS, words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
        assert_eq!(said.contains("gone"), words != ["--only=well"], "{words:?}: {said}");
    }
}
