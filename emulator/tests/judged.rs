//! What is judged is what was started: the port belongs to the target, everything that the target started is frozen and
//! ended with it, and nothing of the caller reaches it. And nothing stays behind, even if the emulator is killed.

mod common;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use common::{can_freeze_with, faulty, fc_emulator};
use fc_emulator::target::Port;
use fc_testkit::{cgroup, proc};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A lifecycle with a short freeze.
const RUN: &[&str] = &["run", "--freeze-for=200ms", "--call-timeout=4s", "--term-timeout=2s", "--format=json"];

fn run(options: &[&str], target: &[&str]) -> (Option<i32>, Value) {
    let words = [RUN, options, &["--"], target].concat();
    let output = fc_emulator(&words).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{options:?}: {cause}: {stderr}"));
    (output.status.code(), json)
}

/// The last step of a timeline.
fn last(timeline: &Value) -> &Value {
    timeline["steps"].as_array().and_then(|steps| steps.last()).expect("there are steps")
}

/// Starts the server in a session of its own below a shell that goes on. The server is an orphan.
fn orphan() -> String {
    format!("(setsid {} &) ; sleep 600", faulty())
}

/// A running emulator that a test kills or waits for.
struct Emulator(Child, Option<BufReader<ChildStderr>>);

impl Emulator {
    fn start(words: &[&str], envs: &[(&str, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        command.args(words).envs(envs.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().map(BufReader::new);
        Self(child, stderr)
    }

    /// Waits for a line on standard error.
    fn says(&mut self, wanted: &str) -> String {
        let stderr = self.1.as_mut().unwrap();
        let line = stderr.lines().map_while(Result::ok).find(|line| line.contains(wanted));
        line.unwrap_or_else(|| panic!("it ended and did not say {wanted}"))
    }

    /// The processes below it. The first is the supervisor of a target.
    fn below(&self) -> Vec<u32> {
        proc::family(self.0.id()).split_off(1)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: u32) -> bool {
    matches!(proc::state(pid), Err(_) | Ok('Z' | 'X'))
}

fn assert_gone(pids: &[u32]) {
    let left = || pids.iter().copied().filter(|pid| !is_gone(*pid)).collect::<Vec<_>>();
    assert!(wait(|| left().is_empty().then_some(())).is_some(), "{:?} of {pids:?}", left());
}

/// The groups of this run of the emulator.
fn groups(pid: u32) -> Vec<std::path::PathBuf> {
    cgroup::groups_named(&format!("fc-emulator-{pid}-"))
}

#[test]
fn a_port_that_is_taken_is_refused_with_its_holder() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port={}", listener.local_addr().unwrap().port());
    let holder = format!("(pid {})", std::process::id());
    for command in ["run", "check"] {
        let refused = fc_emulator(&[command, &port, "--", "sleep", "100"]).assert().code(2);
        refused.stdout("").stderr(contains("is taken").and(contains(holder.as_str())).and(contains("--port")));
    }
}

/// With a fixed port one instance follows the other, also within a check that starts several.
#[test]
fn checks_of_several_instances_work_with_a_fixed_port() {
    // Held, so that no emulator beside this one takes it.
    let held = Port::free().unwrap();
    let port = format!("--port={}", held.number());
    for fault in [&[][..], &["--fault", "needs-credentials"], &["--fault", "needs-control-path"]] {
        let report = common::check(&[&port, "--only=ready,C-DISP,C-ENV,C-FRZ-4"], &[&["--", faulty()], fault].concat());
        assert_eq!(report.details("untested"), Vec::<String>::new(), "{fault:?}");
        assert_eq!(report.ids("failed").len(), fault.len() / 2, "{fault:?}: {:?}", report.details("failed"));
    }
}

/// The listener comes after the start, so the port was free.
fn refused_beside_a_stranger(words: &[&str], envs: &[(&str, String)]) -> String {
    let port = Port::free().unwrap();
    let number = port.number();
    let option = format!("--port={number}");
    let mut emulator = Emulator::start(&[&["run", &option, "--"], words].concat(), envs);
    wait(|| (emulator.below().len() > 1).then_some(())).expect("the target runs");
    let _listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
    let said = emulator.says("no process of the target");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    assert_eq!(emulator.0.wait().unwrap().code(), Some(2));
    said
}

#[test]
fn a_stranger_is_not_judged_in_place_of_the_target() {
    let said = refused_beside_a_stranger(&["sleep", "600"], &[]);
    assert!(!said.contains("--image"), "{said}");
}

/// What `docker run` starts is no process of the target. The fake client does nothing, as the real one.
#[test]
fn a_client_of_a_container_engine_is_told_from_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("docker");
    std::fs::write(&client, "#!/bin/sh\nsleep 600\n").unwrap();
    std::fs::set_permissions(&client, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let said = refused_beside_a_stranger(&["docker", "run", "image"], &[("PATH", path)]);
    assert!(said.contains("`docker`") && said.contains("--image NAME"), "{said}");
}

#[test]
fn an_orphan_in_a_session_of_its_own_is_frozen_and_ended() {
    for method in ["sigstop", "cgroup-v1", "cgroup-v2"].into_iter().filter(|method| can_freeze_with(method)) {
        let script = orphan();
        let words = ["run", "--freeze-for=60s", "--freeze-with", method, "--", "sh", "-c", &script];
        let mut emulator = Emulator::start(&words, &[]);
        emulator.says("GET /pre-freeze");
        let below =
            wait(|| Some(emulator.below()).filter(|pids| pids.len() == 4)).expect("supervisor, sh, sleep, server");
        let group = groups(emulator.0.id()).pop();
        let frozen = || match &group {
            Some(group) => cgroup::is_frozen(group),
            None => below[1..].iter().all(|pid| proc::state(*pid).is_ok_and(|state| state == 'T')),
        };
        assert!(wait(|| frozen().then_some(())).is_some(), "{method}");
        if let Some(group) = &group {
            let inside = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
            assert_eq!(inside.lines().count(), 3, "{method}: {inside}");
        }
        emulator.kill();
        assert_gone(&below);
        assert!(wait(|| group.as_ref().is_none_or(|group| !group.exists()).then_some(())).is_some(), "{method}");
    }
}

/// The shell starts programs all the time, by vfork where it can: some freezes fall between that and the exec.
#[test]
fn a_whole_lifecycle_of_an_orphan() {
    for method in ["sigstop", "auto"] {
        let script = format!("(setsid {} &) ; trap 'exit 0' TERM; while :; do /bin/true; done", faulty());
        let options = ["--freeze-with", method, "--freezes=20", "--freeze-for=10ms"];
        let (code, timeline) = run(&options, &["sh", "-c", &script]);
        assert_eq!(code, Some(0), "{method}: {timeline:#}");
    }
}

/// Beside each other, instances have their own orphans: no check meets a process of another one.
#[test]
fn orphans_belong_to_their_instance() {
    let script = format!("(setsid {} &) ; trap 'exit 0' TERM; while :; do sleep 0.05; done", faulty());
    let options = ["--jobs=8", "--freeze-with=sigstop", "--only=C-START,C-INIT,C-FRZ-2,C-FRZ-5,C-STOP-1"];
    let report = common::check(&options, &["--", "sh", "-c", &script]);
    for outcome in ["failed", "untested", "blocked"] {
        assert_eq!(report.details(outcome), Vec::<String>::new(), "{outcome}");
    }
}

#[test]
fn a_daemon_that_outlives_its_first_process_is_named_and_ended() {
    // It ends as soon as its daemon has its name, and so at the beginning, however busy the machine is.
    let script = format!("setsid {} & until grep -q faulty /proc/$!/comm; do :; done; exit 0", faulty());
    let (code, timeline) = run(&[], &["sh", "-c", &script]);
    let note = last(&timeline)["note"].as_str().unwrap();
    assert_eq!(code, Some(1), "{timeline:#}");
    assert!(note.contains("exited with code 0") && note.contains("(`faulty`)"), "{note}");
    assert!(note.contains("in the foreground"), "{note}");
}

#[test]
fn nothing_of_the_caller_reaches_the_target() {
    let words = [RUN, &["--env=MINE=yes", "--", "env"]].concat();
    let mut command = fc_emulator(&words);
    command.env("PYTHONUNBUFFERED", "1").env("HOME", "/nowhere").env("FC_REGION", "cn-mine");
    let timeline: Value = serde_json::from_slice(&command.assert().code(1).get_output().stdout).unwrap();
    let log: Vec<&str> = last(&timeline)["log"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let names: Vec<&str> = log.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(
        names.contains(&"PATH") && names.contains(&"FC_CUSTOM_LISTEN_PORT") && log.contains(&"MINE=yes"),
        "{log:?}"
    );
    let expected = |name: &&str| {
        ["PATH", "HOME", "MINE"].contains(name) || name.starts_with("FC_") || name.starts_with("ALIBABA_")
    };
    assert_eq!(names.into_iter().filter(|name| !expected(name)).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!log.contains(&"HOME=/nowhere") && !log.contains(&"FC_REGION=cn-mine"), "{log:?}");
}

/// The time limit is longer than the test may take.
#[test]
fn a_fixed_port_ends_the_wait_with_both_fixes() {
    let held = Port::free().unwrap();
    let port = held.number();
    let older = format!("--env=FC_SERVER_PORT={port}");
    let (code, timeline) = run(&["--ready-timeout=1h", &older], &[faulty(), "--fault", "legacy-port"]);
    let note = last(&timeline)["note"].as_str().unwrap();
    assert_eq!(code, Some(1));
    for part in [&format!("0.0.0.0:{port}"), &format!("--port {port}"), "FC_CUSTOM_LISTEN_PORT", "read the variable"] {
        assert!(note.contains(part), "{note}");
    }
}

/// A port that may be an administrator's is told at once, and the wait goes on.
#[test]
fn another_port_is_noticed_while_the_wait_goes_on() {
    let held = Port::free().unwrap();
    let port = held.number();
    let script = format!("echo starting; FC_CUSTOM_LISTEN_PORT={port} exec {}", faulty());
    let mut emulator = Emulator::start(&["run", "--ready-timeout=1h", "--", "sh", "-c", &script], &[]);
    emulator.says("| starting");
    emulator.says(&format!("! the target listens on 0.0.0.0:{port}"));
    assert!(emulator.0.try_wait().unwrap().is_none());
}

/// Nobody watches a blank screen for two minutes.
#[test]
fn a_long_wait_says_what_it_waits_for() {
    let mut emulator = Emulator::start(&["run", "--ready-timeout=1h", "--", "sleep", "1000"], &[]);
    emulator.says("yet; it may take 3600 s (--ready-timeout)");
    assert!(emulator.0.try_wait().unwrap().is_none());
}

#[test]
fn a_target_that_dies_keeps_its_timeline() {
    for path in ["/initialize", "/invoke", "/pre-freeze", "/pre-stop"] {
        let (code, timeline) = run(&["--env", &format!("DIE_AT={path}")], &[faulty()]);
        assert_eq!(code, Some(1), "{path}: {timeline:#}");
        let note = last(&timeline)["note"].as_str().unwrap();
        assert_eq!((last(&timeline)["name"].as_str(), note), (Some("end"), "the target exited with code 3 by itself"));
    }
    let (code, timeline) = run(&["--freeze-for=1200ms"], &[faulty(), "--fault", "watchdog-on-thaw"]);
    assert_eq!(code, Some(1), "{timeline:#}");
    assert!(last(&timeline)["note"].as_str().unwrap().contains("exited with code 3"), "{timeline:#}");
}

/// In so many calls a target prints many times what may be kept.
#[test]
fn memory_is_bounded_whatever_the_target_prints() {
    is_bounded_for("--calls=500");
}

#[test]
#[ignore = "a quarter of a minute: make test-all"]
fn memory_is_bounded_whatever_the_target_prints_for_long() {
    is_bounded_for("--calls=2000");
}

/// 64 MiB is the bound of what is kept. The rest of the emulator is small.
fn is_bounded_for(calls: &str) {
    const LARGEST_KB: u64 = 96 * 1024;
    for flood in ["yes", "yes \"$(head -c 3000 /dev/zero | tr '\\0' x)\"", "tr '\\0' x </dev/zero"] {
        let script = format!("{flood} & exec {}", faulty());
        let words = ["run", "--freezes=0", calls, "--call-timeout=20s", "--", "sh", "-c", &script];
        let mut emulator = Emulator::start(&words, &[]);
        let (stdout, stderr) = (emulator.0.stdout.take().unwrap(), emulator.1.take().unwrap());
        let said = std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).collect::<Vec<_>>());
        let shown = std::thread::spawn(move || stderr.lines().map_while(Result::ok).count());
        let mut peak = 0;
        while emulator.0.try_wait().unwrap().is_none() {
            peak = peak.max(proc::peak_kb(emulator.0.id()).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(peak > 0 && peak < LARGEST_KB, "{flood}: {peak} kB");
        let said = said.join().unwrap().join("\n");
        assert!(said.contains("dropped") || said.contains("more lines]"), "{flood}: {said}");
        assert!(shown.join().unwrap() < said.len(), "{flood}");
    }
}

/// If the supervisor is killed, too, a frozen group stays. The next run ends it, and leaves that of a living run alone.
#[test]
fn the_next_run_ends_what_a_killed_one_left_and_nothing_else() {
    for method in ["cgroup-v1", "cgroup-v2"].into_iter().filter(|method| can_freeze_with(method)) {
        let start = || {
            let words = ["run", "--freeze-for=60s", "--freeze-with", method, "--", faulty()];
            let mut emulator = Emulator::start(&words, &[]);
            emulator.says("GET /pre-freeze");
            let group = groups(emulator.0.id()).pop().expect("it has a group");
            wait(|| cgroup::is_frozen(&group).then_some(())).expect("it is frozen");
            let below = emulator.below();
            (emulator, group, below)
        };
        let (living, living_group, living_pids) = start();
        let (killed, group, pids) = start();
        kill_process(Pid::from_raw(pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
        killed.kill();
        let (code, _) = run(&["--freezes=0"], &[faulty()]);
        assert_eq!(code, Some(0));
        assert_gone(&pids);
        assert!(wait(|| (!group.exists()).then_some(())).is_some(), "{}", group.display());
        assert!(cgroup::is_frozen(&living_group) && living_pids.iter().all(|pid| !is_gone(*pid)));
        living.kill();
        assert_gone(&living_pids);
        assert!(wait(|| (!Path::new(&living_group).exists()).then_some(())).is_some());
    }
}
