//! The official clients of the platform, unmodified, call a function of `fc-emulator serve`. `make sdk` installs them
//! below `target/`; where one is missing, its test says so and is skipped.

#![cfg(feature = "serve")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// An emulator that refuses every signature but that of its key.
struct Served(Child, String);

impl Served {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fc-emulator"));
        command.args(["serve", "--listen=127.0.0.1:0", "--quiet", "--memory", "--async-backoff=50ms"]);
        command.arg("--session-header=my-session");
        command.args(["--strict-auth", "--access-key=AK:SK", "--", "python3"]).arg(file("tests/targets/calls.py"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let addr = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let addr = addr.expect("the ready line has the address").to_owned();
        Self(child, addr)
    }

    fn lines_of(&self, program: &Path, script: &str, env: &[(&str, PathBuf)]) -> Vec<String> {
        let mut command = Command::new(program);
        command.arg(file(script)).args([&self.1, "AK", "SK"]).envs(env.iter().cloned());
        // One client sends even calls of this machine to a proxy.
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(name);
        }
        let output = command.output().expect("the client starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn is_missing(path: &Path, client: &str) -> bool {
    let missing = !path.exists();
    if missing {
        fc_testkit::skip(format!("the {client} client is not installed: `make sdk` does it"));
    }
    missing
}

#[test]
fn the_python_client_calls_at_once_and_later_and_reads_every_error() {
    let program = file("../target/sdk/python/bin/python");
    if is_missing(&program, "Python") {
        return;
    }
    let lines = Served::start().lines_of(&program, "tests/sdk/client.py", &[]);
    let expected = [
        "sync status=200 body=b'{\"a\": 1}' log=True",
        "failed status=200 type=UnhandledInvocationError body=True",
        "async status=202",
        "task status=Succeeded retries=2 payload={\"fails\": 2}",
        "list count=1",
        "stopped status=Stopped",
        "config retries=5 age=86400",
        "session id=mine status=Active kind=HEADER_FIELD",
        "in-session status=200",
        "paused status=Paused then=Active",
        "unknown code=FunctionNotFound request=True",
        "unknown-blank code=FunctionNotFound request=True",
        "denied code=SignatureNotMatch",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_node_client_calls_at_once_and_later_and_reads_every_error() {
    let modules = file("../target/sdk/node/node_modules");
    if is_missing(&modules.join("@alicloud/fc20230330"), "Node.js") || !common::has_python() {
        return;
    }
    let lines = Served::start().lines_of(Path::new("node"), "tests/sdk/client.js", &[("NODE_PATH", modules)]);
    let expected = [
        "sync status=200 body={\"a\": 1} log=true",
        "failed status=200 type=UnhandledInvocationError",
        "async status=202",
        "task status=Succeeded retries=1",
        "paused status=Paused then=Active",
        "unknown code=FunctionNotFound status=404",
    ];
    assert_eq!(lines, expected);
}
