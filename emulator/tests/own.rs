//! The binary and the examples of this project keep every rule, as processes and as containers.
//!
//! `cargo build` builds them in the workspace. Containers are tested only if a Docker engine answers and the static
//! target is installed. If not, the test says so and is skipped.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Report, check};
use fc_testkit::build::{Program, WORKSPACE};

const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// Long time limits: unoptimized examples on a busy machine, and containers, take seconds where other targets take
/// milliseconds.
const PATIENT: &[&str] = &[
    "--ready-timeout=30s",
    "--initialize-timeout=20s",
    "--pre-freeze-timeout=20s",
    "--pre-stop-timeout=20s",
    "--term-timeout=20s",
    "--call-timeout=30s",
];

/// Builds programs of fc-hooks, without the helpers of its tests, which cargo builds as examples.
fn build(what: &[&str]) -> Vec<Program> {
    let programs = fc_testkit::build::build("fc-hooks", what).into_iter();
    programs.filter(|program| !program.source.to_string_lossy().contains("/tests/")).collect()
}

fn assert_passes(name: &str, report: &Report) {
    for outcome in ["failed", "untested", "blocked"] {
        assert_eq!(report.details(outcome), Vec::<String>::new(), "{name}: {outcome}");
    }
    assert_eq!(report.code, Some(0), "{name}: {}", report.stderr);
}

/// The hooks that a program has. An example need not have all three.
fn hooks(target: &[&str]) -> String {
    let report = check(&[PATIENT, &["--only=initialize,pre-freeze,pre-stop"]].concat(), target);
    let passed: Vec<_> = report.ids("passed").into_iter().collect();
    if passed.is_empty() { "none".to_owned() } else { passed.join(",") }
}

#[test]
fn the_binary_as_a_process() {
    for Program { name, path, .. } in build(&["--bin=fc-hooks"]) {
        let report =
            check(&[PATIENT, &["--job", "--concurrency=8", "--jobs=8"]].concat(), &["--", path.to_str().unwrap()]);
        assert_passes(&name, &report);
    }
}

#[test]
#[ignore = "a quarter of a minute: make test-all"]
fn the_examples_as_processes() {
    if !Path::new(WORKSPACE).join("examples").exists() {
        fc_testkit::skip("there are no examples");
        return;
    }
    for Program { name, path, .. } in build(&["--examples"]) {
        let target = ["--", path.to_str().unwrap()];
        let report = check(&[PATIENT, &["--jobs=8", "--hooks", &hooks(&target)]].concat(), &target);
        assert_passes(&name, &report);
    }
}

#[test]
#[ignore = "half a minute: make test-all"]
fn the_binary_as_a_container() {
    let Some(image) = own_image() else { return };
    let report = check(&[PATIENT, &["--job", "--concurrency=8", "--jobs=8"]].concat(), &["--image", &image.0]);
    assert_passes("container", &report);
    assert!(report.actual("thaw-call").starts_with("docker pause"), "{}", report.actual("thaw-call"));
}

#[test]
#[ignore = "minutes of emulation: make test-all"]
fn the_binary_in_a_virtual_machine() {
    if let Err(missing) = fc_emulator::vm::requirements(None) {
        fc_testkit::skip(missing);
        return;
    }
    if !has_static_target() {
        return;
    }
    let Program { path, .. } = build(&["--bin=fc-hooks", "--target", STATIC_TARGET]).pop().expect("there is a binary");
    let target = ["--", path.to_str().unwrap()];
    const ONLY: &str = "--only=ready,thaw-call,keepalive-over-freeze,pre-stop-after-freeze,call-after-pre-stop,pid-1";
    for (method, skipped) in [("vm-pause", None), ("vm-snapshot", Some("keepalive-over-freeze")), ("vmm-stop", None)] {
        let report = check(&[PATIENT, &[ONLY, "--jobs=2", "--freeze-with", method]].concat(), &target);
        assert_passes(method, &report);
        assert_eq!(report.ids("skipped"), skipped.into_iter().collect(), "{method}");
        assert!(report.actual("thaw-call").starts_with(method), "{}", report.actual("thaw-call"));
    }
}

#[test]
fn a_faulty_image_is_found() {
    let Some(image) = own_image() else { return };
    relabel(&image.0);
    let report = check(&[PATIENT, &["--only=image-platform"]].concat(), &["--image", &image.0]);
    assert_eq!(report.details("failed"), [r#""image-platform": "linux/arm64""#]);
    assert_eq!(report.code, Some(1));
}

#[test]
fn a_message_names_a_container_that_listens_on_loopback() {
    let Some(image) = own_image() else { return };
    let words = ["--image", &image.0, "--", "--listen", "127.0.0.1:9000"];
    let report = check(&["--ready-timeout=2s", "--only=ready"], &words);
    assert_eq!(report.code, Some(1));
    assert!(report.actual("ready").contains("127.0.0.1"), "{}", report.actual("ready"));
}

#[test]
fn an_image_that_is_not_there_cannot_be_tested() {
    if !engine_answers() {
        return;
    }
    let output = common::fc_emulator(&["run", "--image", "fc-emulator.invalid/nowhere:0"]).assert().code(2);
    output.stderr(predicates::str::contains("failed to run `docker pull"));
}

/// Dropping this value removes the image.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

/// An image with the static binary and nothing else.
fn own_image() -> Option<Image> {
    if !engine_answers() || !has_static_target() {
        return None;
    }
    let Program { path, .. } = build(&["--bin=fc-hooks", "--target", STATIC_TARGET]).pop().expect("there is a binary");
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("fc-emulator-test-{}:{count}", std::process::id());
    let folder = tempfile::tempdir().expect("a folder can be created");
    let archive = folder.path().join("image.tar");
    let packed = Command::new("tar").arg("-C").arg(path.parent()?).arg("-cf").arg(&archive).arg("fc-hooks").status();
    assert!(packed.expect("tar can be started").success());
    let mut import = Command::new("docker");
    import.args(["import", "--change", r#"ENTRYPOINT ["/fc-hooks"]"#]).arg(&archive).arg(&name);
    let imported = import.output().expect("docker can be started");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    Some(Image(name))
}

/// Makes the image claim another processor, as if it was built on such a machine.
fn relabel(image: &str) {
    const SCRIPT: &str = r#"set -e
        old=$(docker image inspect --format '{{.Id}}' "$0")
        docker save "$0" | tar -x
        config=$(grep -o '"Config":"[^"]*"' manifest.json | cut -d'"' -f4)
        sed -i 's/"architecture":"amd64"/"architecture":"arm64"/' "$config"
        tar -c . | docker load
        docker rmi "$old"
    "#;
    let folder = tempfile::tempdir().expect("a folder can be created");
    let ran = Command::new("sh").args(["-c", SCRIPT, image]).current_dir(&folder).output().expect("sh can be started");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

fn engine_answers() -> bool {
    let answers = fc_emulator::target::engine_answers();
    if let Err(why) = &answers {
        fc_testkit::skip(format!("no Docker engine answers: {why}"));
    }
    answers.is_ok()
}

fn has_static_target() -> bool {
    let there = fc_testkit::build::has_target(STATIC_TARGET);
    if !there {
        fc_testkit::skip(format!("the target {STATIC_TARGET} is not installed"));
    }
    there
}
