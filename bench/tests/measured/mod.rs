//! Shared by the tests of measures: a checkout without builds, contenders that the test gives, and the results.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Every method of freezing, and its name in results.
pub const WAYS: [(&str, &str); 3] =
    [("sigstop", "SIGSTOP"), ("cgroup-v1", "the cgroup v1 freezer"), ("cgroup-v2", "the cgroup v2 freezer")];

/// A folder of its own with an empty table of peers, and the server that contenders run. The server has a path that no
/// other process runs, so a process that is left behind is found.
pub struct Checkout(TempDir);

/// How a command ended.
pub struct Run {
    pub code: Option<i32>,
    pub stderr: String,
    /// Its results.
    pub results: Value,
    /// Control groups that it left behind.
    pub groups: Vec<String>,
}

impl Checkout {
    pub fn new() -> Self {
        let checkout = tempfile::tempdir().unwrap();
        let folder = checkout.path();
        fs::create_dir_all(folder.join("bench/peers")).unwrap();
        fs::write(folder.join("bench/peers/peers.json"), "[]").unwrap();
        symlink(fc_testkit::build::helper("faulty"), folder.join("faulty")).unwrap();
        let server = folder.join("server");
        let script = "#!/bin/sh\nexport FC_CUSTOM_LISTEN_PORT=\"$FC_SERVER_PORT\"\nexec \"${0%/*}/faulty\" \"$@\"\n";
        fs::write(&server, script).unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        Self(checkout)
    }

    /// A contender: the correct server, or the one with this fault.
    pub fn contender(&self, name: &str, fault: Option<&str>) -> String {
        let fault = fault.map(|fault| format!(" --fault {fault}")).unwrap_or_default();
        format!("--contender={name}={}{fault}", self.0.path().join("server").display())
    }

    /// The correct server, which works for some time before it listens.
    pub fn busy(&self, name: &str) -> String {
        let script = self.0.path().join("busy");
        let text = "#!/bin/sh\ni=0\nwhile [ $i -lt 100000 ]; do i=$((i+1)); done\nexec \"${0%/*}/server\"\n";
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        format!("--contender={name}={}", script.display())
    }

    /// Starts `fc-bench` with these arguments, after this shell command line.
    pub fn start(&self, before: &str, words: &[&str]) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} exec \"$@\""), "sh", env!("CARGO_BIN_EXE_fc-bench")]);
        command.args(words).arg("--root").arg(self.0.path()).arg("--export-json").arg(self.results());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for its end.
    pub fn finish(&self, child: Child) -> Run {
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let text = fs::read_to_string(self.results()).unwrap_or_default();
        Run {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            results: serde_json::from_str(&text).unwrap_or_default(),
            groups: groups_of(pid).iter().map(|path| path.display().to_string()).collect(),
        }
    }

    pub fn run(&self, words: &[&str]) -> Run {
        self.finish(self.start("", words))
    }

    /// Processes of its contenders that still run.
    pub fn left(&self) -> Vec<u32> {
        let programs = ["server", "faulty"].map(|name| self.0.path().join(name).display().to_string());
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).split('\0').any(|word| programs.iter().any(|program| program == word))
        })
        .collect()
    }

    fn results(&self) -> PathBuf {
        self.0.path().join("results.json")
    }
}

/// The control groups that this process made and that still exist, in both hierarchies.
pub fn groups_of(pid: u32) -> Vec<PathBuf> {
    fc_testkit::cgroup::groups_named(&format!("fc-emulator-{pid}-"))
}

/// Waits until `look` returns something.
pub fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn interrupt(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// The entry of this name in a list of results.
pub fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut entries = list.as_array().into_iter().flatten();
    entries.find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("no {name} in {list:#}"))
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
