//! What a user may not do is told with the path, the cause and the fix: a user without rights in a checkout of another.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// A checkout in which nobody may write, and beside it a folder in which everybody may.
struct Place(TempDir);

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        set_mode(place.0.path(), 0o755);
        for (folder, mode) in [("checkout/bench/peers", 0o755), ("open", 0o777), ("closed", 0o555)] {
            fs::create_dir_all(place.path(folder)).unwrap();
            set_mode(&place.path(folder), mode);
        }
        let server = place.path("checkout/server");
        fs::copy(fc_testkit::build::helper("uneven"), &server).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_fc-bench"), place.path("fc-bench")).unwrap();
        let command = ["./server", "plain"];
        let peer = json!({ "name": "it", "label": "it", "command": command, "build": "none", "static": true });
        fs::write(place.path("checkout/bench/peers/peers.json"), json!([peer]).to_string()).unwrap();
        [server, place.path("fc-bench")].iter().for_each(|program| set_mode(program, 0o755));
        set_mode(&place.path("checkout"), 0o555);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `load` of the server as a user to whom nothing belongs; without root, as the user of the test.
    fn load(&self, folder_for_files: &str, words: &[String]) -> Output {
        let mut command = Command::new(self.path("fc-bench"));
        command.args(["load", "--load-connections=1", "--load-rounds=1", "--load-for=100ms", "--no-request-counts"]);
        command.arg("--root").arg(self.path("checkout")).args(words).env("TMPDIR", self.path(folder_for_files));
        command.current_dir(self.path("open"));
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        // Another test may fork in the moment of the copy: until its exec, the file counts as open for writing.
        let mut outputs = std::iter::repeat_with(|| command.output()).take(1_000);
        let is_busy = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ExecutableFileBusy;
        let output = outputs.find(|output| !output.as_ref().is_err_and(is_busy));
        output.expect("never free").expect("it starts")
    }

    fn assert_told(&self, folder_for_files: &str, words: &[String], parts: &[&str]) {
        let output = self.load(folder_for_files, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        for part in parts.iter().chain(&["Permission denied"]) {
            assert!(said.contains(part), "{words:?}: {part}: {said}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only in a folder that is writable, its owner can remove something.
        for folder in ["checkout", "closed"] {
            set_mode(&self.path(folder), 0o755);
        }
    }
}

#[test]
fn what_is_forbidden_is_told_with_its_fix() {
    let place = Place::new();
    let copies = format!("--copies={}", place.path("open").display());
    place.assert_told("open", &[], &["/checkout/target", "copied there", "--copies"]);
    place.assert_told("closed", std::slice::from_ref(&copies), &["/closed/fc-bench-", "TMPDIR"]);
    for option in ["--export-json", "--export-html", "--history"] {
        let file = format!("{option}={}", place.path("closed/file").display());
        place.assert_told("open", &[copies.clone(), file], &["/closed/file", &format!("give {option} a file")]);
    }
    // It may be executed but not read.
    set_mode(&place.path("checkout/server"), 0o111);
    place.assert_told("open", std::slice::from_ref(&copies), &["/server`", "copied first", "may read it"]);
    set_mode(&place.path("checkout/server"), 0o644);
    let own = format!("--contender=own={}", place.path("checkout/server").display());
    place.assert_told("open", &[copies.clone(), "--only=own".to_owned(), own], &["/checkout/server`", "chmod +x"]);
    set_mode(&place.path("checkout/bench/peers/peers.json"), 0o000);
    place.assert_told("open", &[copies], &["/peers.json", "--root"]);
}

#[test]
fn a_user_without_rights_in_the_checkout_can_measure() {
    let place = Place::new();
    let [copies, json] = [("--copies", ""), ("--export-json", "/it.json")]
        .map(|(option, file)| format!("{option}={}{file}", place.path("open").display()));
    let output = place.load("open", &[copies, json]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = fs::read_dir(place.path("open")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["it.json"]);
}
