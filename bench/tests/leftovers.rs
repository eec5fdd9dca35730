//! A run that is killed leaves nothing: its watcher ends what it has left, and otherwise the next run does. What
//! belongs to a living run stays.

#![cfg(target_os = "linux")] // /proc tells what is left

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::can_freeze_by;
use fc_emulator::clock::Deadline;
use fc_emulator::owner::Owner;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

/// A checkout with one contender: a script that starts the server below it, in a process group of its own.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        for folder in ["bench/peers", "tmp", "target"] {
            std::fs::create_dir_all(checkout.path(folder)).unwrap();
        }
        std::fs::copy(fc_testkit::build::helper("faulty"), checkout.path("server")).unwrap();
        let script = format!("#!/bin/sh\ntimeout 1h {} &\nwait\n", checkout.path("server").display());
        std::fs::write(checkout.path("script"), script).unwrap();
        std::fs::set_permissions(checkout.path("script"), PermissionsExt::from_mode(0o755)).unwrap();
        // A static program is copied, whatever it is.
        let peer = json!({ "name": "it", "label": "it", "command": ["./script"], "build": "none", "static": true });
        std::fs::write(checkout.path("bench/peers/peers.json"), json!([peer]).to_string()).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-bench"));
        command.args(words).arg("--root").arg(self.0.path()).env("TMPDIR", self.path("tmp"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("fc-bench can be started")
    }

    /// Processes of this checkout that run, apart from zombies.
    fn servers(&self) -> Vec<u32> {
        let runs = |pid: &u32| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program.starts_with(self.0.path()))
        };
        processes().into_iter().filter(runs).collect()
    }

    /// Folders of runs.
    fn folders(&self) -> Vec<PathBuf> {
        let entries = ["tmp", "target"].map(|place| std::fs::read_dir(self.path(place)).unwrap());
        entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

fn processes() -> Vec<u32> {
    let names = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    Deadline::after(Duration::from_secs(60)).until(look).unwrap_or_else(|| panic!("did not happen in time: {what}"))
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// The watcher of a run.
fn watcher(run: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let is_watcher = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"watch")
    };
    until("a watcher", || {
        let children = std::fs::read_to_string(&children).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_watcher)
    })
}

const LOAD: [&str; 5] = ["load", "--load-connections=1", "--load-rounds=1", "--load-for=10m", "--no-request-counts"];

/// Another run, of a contender that is given.
const OTHER: [&str; 5] = ["coldstart", "--start-rounds=1", "--no-counts", "--container-rounds=0", "--only=ends"];

#[test]
fn the_watcher_ends_what_a_killed_run_has_left() {
    let checkout = Checkout::new();
    let mut run = checkout.start(&LOAD);
    until("the server", || (checkout.servers().len() == 1).then_some(()));
    assert_eq!(checkout.folders().len(), 2, "its own folder, and the copies");
    kill(run.id());
    run.wait().unwrap();
    until("nothing is left", || (checkout.servers().is_empty() && checkout.folders().is_empty()).then_some(()));
}

#[test]
fn the_next_run_ends_what_a_killed_run_and_its_watcher_have_left() {
    let frozen = ["thaw", "--freeze-with=cgroup-v1", "--freeze-for=1h", "--thaw-rounds=1"];
    let all = [(&LOAD[..], 'S'), (&frozen[..], 'D')];
    for (words, state) in all.into_iter().filter(|(words, _)| words[0] != "thaw" || can_freeze_by("cgroup-v1")) {
        let checkout = Checkout::new();
        let mut run = checkout.start(words);
        let server = until("the server", || checkout.servers().first().copied());
        let is_in_state = || fc_testkit::proc::status(server, "State").is_ok_and(|it| it.starts_with(state));
        until("its state", || is_in_state().then_some(()));
        kill(watcher(&run));
        kill(run.id());
        run.wait().unwrap();
        // Any run of the machine may end what is left in a control group.
        let is_private = words == LOAD;
        assert!(!is_private || checkout.servers().contains(&server), "nobody has ended it");
        assert_eq!(checkout.folders().len(), 2);

        // This process lives, and of a process in another namespace nothing is known.
        let own = format!("{}-0", Owner::this_run().name("fc-bench"));
        let kept = [&own, "fc-bench-1-1-1-00000001-0", "fc-bench-mine"].map(|name| checkout.path("tmp").join(name));
        kept.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let ends = format!("--contender=ends={} --fault exits-at-start", checkout.path("server").display());
        let next = checkout.start(&[&OTHER[..], &[&ends]].concat());
        let said = String::from_utf8(next.wait_with_output().unwrap().stderr).unwrap();
        assert!(said.contains("removed the folder"), "{said}");
        assert!(!is_private || said.contains("ended 2 processes that an earlier run"), "{said}");
        until("the end of the server", || checkout.servers().is_empty().then_some(()));
        let mut left = checkout.folders();
        left.sort();
        let mut kept = Vec::from(kept);
        kept.sort();
        assert_eq!(left, kept);
    }
}

#[test]
fn a_run_that_lives_keeps_what_it_has() {
    let checkout = Checkout::new();
    let mut run = checkout.start(&LOAD);
    let server = until("the server", || checkout.servers().first().copied());
    let before = checkout.folders();
    let ends = format!("--contender=ends={} --fault exits-at-start", checkout.path("server").display());
    let mut other = checkout.start(&[&OTHER[..], &[&ends]].concat());
    other.wait().unwrap();
    assert!(before.iter().all(|folder| folder.exists()) && Path::new(&format!("/proc/{server}")).exists());
    kill(run.id());
    run.wait().unwrap();
    until("nothing is left", || (checkout.servers().is_empty() && checkout.folders().is_empty()).then_some(()));
}
