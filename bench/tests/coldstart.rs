//! `fc-bench coldstart`: every start is a sample or a failure with its reason, counts add up, and nothing stays behind.
//!
//! The assertions also hold on a busy machine: they test orders and sums, never times.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fc_bench::results::{Coldstart, Results, Starts};
use fc_emulator::cleanup::INTERRUPTED;
use serde_json::json;
use tempfile::TempDir;

const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// A checkout with only the contenders that a test puts there, and its own copy of the faulty helper: every process
/// that runs this file was started by the test.
struct Checkout(TempDir);

impl Checkout {
    fn new(peers: &serde_json::Value) -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(checkout.path("bench/peers")).unwrap();
        std::fs::create_dir(checkout.path("tmp")).unwrap();
        std::fs::write(checkout.path("bench/peers/peers.json"), peers.to_string()).unwrap();
        std::fs::copy(fc_testkit::build::helper("faulty"), checkout.path("server")).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `NAME=COMMAND` for the faulty helper with this fault.
    fn server(&self, name: &str, arguments: &str) -> String {
        format!("--contender={name}={} {arguments}", self.path("server").display())
    }

    fn coldstart(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-bench"));
        command
            .args(["coldstart", "--quick", "--root"])
            .arg(self.0.path())
            .arg("--export-json")
            .arg(self.path("results.json"));
        command.args(words).env("TMPDIR", self.path("tmp")).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("fc-bench can be started")
    }

    fn results(&self) -> Results {
        serde_json::from_slice(&std::fs::read(self.path("results.json")).unwrap()).unwrap()
    }

    /// Processes that run the copy, and files in the folder for temporary files.
    fn left_behind(&self) -> Vec<PathBuf> {
        let in_proc = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let runs_copy = |process: &PathBuf| {
            std::fs::read_link(process.join("exe")).is_ok_and(|program| program == self.path("server"))
        };
        let files = std::fs::read_dir(self.path("tmp")).unwrap().flatten().map(|entry| entry.path());
        in_proc.filter(runs_copy).chain(files).collect()
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn end(child: &mut Child) -> ExitStatus {
    until("the end of fc-bench", || child.try_wait().unwrap())
}

fn starts<'a>(all: &'a [Starts], name: &str) -> &'a Starts {
    all.iter().find(|starts| starts.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn assert_samples(starts: &Starts, rounds: u32) {
    assert_eq!(starts.failures, Vec::<String>::new(), "{}", starts.name);
    assert_eq!(starts.samples.iter().map(|start| start.round).collect::<Vec<_>>(), Vec::from_iter(0..rounds));
    for start in &starts.samples {
        let ordered = 0.0 < start.port_open_us
            && start.port_open_us < start.initialize_us
            && start.initialize_us < start.invoke_us;
        assert!(ordered, "{}: {start:?}", starts.name);
    }
}

#[test]
fn every_start_is_a_sample_or_a_failure() {
    let wrong = json!({ "name": "wrong", "label": "wrong", "command": ["./server"], "build": "none" });
    let checkout = Checkout::new(&json!([wrong]));
    let contenders = [
        checkout.server("well", ""),
        checkout.server("closes", "--fault connection-close"),
        checkout.server("refuses", "--fault initialize-missing"),
        checkout.server("ends", "--fault exits-at-start"),
    ];
    let contenders: Vec<&str> = contenders.iter().map(String::as_str).collect();
    let options = ["--start-rounds=4", "--container-rounds=0", "--no-counts"];
    let status = end(&mut checkout.coldstart(&[&options, &contenders[..]].concat()));
    assert_eq!(status.code(), Some(1), "not everybody has a figure");

    let results = checkout.results();
    let found: Coldstart = results.coldstart.unwrap();
    assert_samples(starts(&found.process, "well"), 4);
    assert_samples(starts(&found.process, "closes"), 4);
    for (name, why) in [
        ("wrong", "POST /initialize: the body is `initialized`, not `ready` or `OK`"),
        ("refuses", "POST /initialize: status 404"),
        ("ends", "it exited with code "),
    ] {
        let starts = starts(&found.process, name);
        let told = |failure: &String| failure.split_once(": ").is_some_and(|(_, told)| told.starts_with(why));
        assert!(starts.samples.is_empty() && starts.failures[..3].iter().all(told), "{name}: {:?}", starts.failures);
        assert_eq!(starts.failures[3..], ["given up after 3 failures in a row"]);
    }
    assert!(0.0 < found.attempt_pause_median_us && found.attempt_pause_median_us <= found.attempt_pause_us);
    assert!(found.container.is_empty() && found.counts.is_empty());
    assert_eq!(checkout.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn counts_add_up_and_who_cannot_be_counted_is_named() {
    let checkout = Checkout::new(&json!([]));
    let contenders = [checkout.server("well", ""), checkout.server("ends", "--fault exits-at-start")];
    let options = ["--start-rounds=0", "--container-rounds=0", &contenders[0], &contenders[1]];
    assert_eq!(end(&mut checkout.coldstart(&options)).code(), Some(1), "not everybody has a figure");

    let results = checkout.results();
    let found = results.coldstart.unwrap();
    let [counts] = &found.counts[..] else { panic!("{:?}", found.counts) };
    assert_eq!(counts.name, "well");
    // The exec, and the calls that every server needs: socket, bind, listen, a wait.
    assert!(counts.calls_to_ready >= Some(5), "{counts:?}");
    assert!(counts.calls_to_initialize > counts.calls_to_ready, "{counts:?}");
    assert!(counts.minor_faults_to_ready > Some(0), "{counts:?}");
    assert!(counts.minor_faults_to_initialize >= counts.minor_faults_to_ready, "{counts:?}");
    assert!(counts.major_faults_to_initialize.is_some() && counts.threads >= Some(1), "{counts:?}");
    assert!(Some(0) < counts.private_kb && counts.private_kb <= counts.resident_kb, "{counts:?}");

    let why = |what: &str| results.skipped.iter().find(|skipped| skipped.what == what).map(|it| it.reason.as_str());
    assert!(why("counts of ends").is_some_and(|why| why.starts_with("it exited with code ")), "{:?}", results.skipped);
    if let Some(why) = why("instructions of a start") {
        fc_testkit::skip(format!("instructions: {why}"));
        assert_eq!(counts.instructions, None);
    } else {
        let late = why("instructions of well");
        assert!(counts.instructions > Some(1000) || late.is_some_and(|why| why.contains("in time")), "{late:?}");
        assert!(why("instructions of ends").is_some());
    }
    assert_eq!(checkout.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    for (part, options) in [("process", ["--start-rounds=100000", "--no-counts"]), ("counts", ["--start-rounds=0"; 2])]
    {
        let checkout = Checkout::new(&json!([]));
        let server = checkout.server("well", "");
        let mut child = checkout.coldstart(&[&options[..], &["--container-rounds=0", &server]].concat());
        until("a start", || (!checkout.left_behind().is_empty()).then_some(()));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(end(&mut child).code(), Some(INTERRUPTED), "{part}");
        assert_eq!(checkout.left_behind(), Vec::<PathBuf>::new(), "{part}");
    }
}

#[test]
fn nobody_to_measure_is_an_error() {
    let checkout = Checkout::new(&json!([]));
    let ends = checkout.server("ends", "--fault exits-at-start");
    let mut child = checkout.coldstart(&["--start-rounds=3", "--container-rounds=0", "--no-counts", &ends]);
    assert_eq!(end(&mut child).code(), Some(2));
}

#[test]
fn containers_are_started_and_removed() {
    let Some(program) = static_program() else { return };
    let peer = |name: &str, arguments: &[&str]| {
        let command = [&[program.to_str().unwrap()], arguments].concat();
        json!({ "name": name, "label": name, "command": command, "build": "none", "static": true })
    };
    let checkout = Checkout::new(&json!([peer("well", &[]), peer("ends", &["--no-such-option"])]));
    let server = checkout.server("given", "");
    let mut child = checkout.coldstart(&["--start-rounds=0", "--container-rounds=2", "--no-counts", &server]);
    let pid = child.id();
    assert!(end(&mut child).success());

    let results = checkout.results();
    let found = results.coldstart.unwrap();
    let well = starts(&found.container, "well");
    assert_samples(well, 2);
    assert!(well.image_bytes >= program.metadata().ok().map(|file| file.len()), "{:?}", well.image_bytes);
    let ends = starts(&found.container, "ends");
    assert!(ends.samples.is_empty(), "{ends:?}");
    assert!(ends.failures[0].starts_with("warm-up: it exited with code "), "{:?}", ends.failures);
    assert!(results.skipped.iter().any(|skipped| skipped.what == "given as a container"), "{:?}", results.skipped);
    for words in [
        &["images", "--quiet", "--filter", &format!("reference=fc-bench-{pid}-*")][..],
        &["ps", "--all", "--quiet", "--filter", &format!("name=fc-bench-{pid}-")],
    ] {
        let left = Command::new("docker").args(words).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{words:?}");
    }
}

/// The project's own binary, linked so that it runs from a scratch image.
fn static_program() -> Option<PathBuf> {
    if let Err(why) = fc_emulator::target::engine_answers() {
        fc_testkit::skip(format!("no Docker engine answers: {why}"));
        return None;
    }
    if !fc_testkit::build::has_target(STATIC_TARGET) {
        fc_testkit::skip(format!("the target {STATIC_TARGET} is not installed"));
        return None;
    }
    let programs = fc_testkit::build::build("fc-hooks", &["--bin=fc-hooks", "--target", STATIC_TARGET]);
    programs.into_iter().next().map(|program| program.path)
}
