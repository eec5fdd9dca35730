//! The component of Serverless Devs: `s local invoke` and `s local start` run a function on the emulator. Where the
//! command is installed (`make manifests` does it), it loads the component; a driver that calls it in the same way
//! stands in for it elsewhere.

#![cfg(all(feature = "serve", target_os = "linux"))]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What the command does with a component of a folder: an instance of the class, and one call with these inputs.
const DRIVER: &str = "
const [component, path, ...words] = process.argv.slice(1);
const Component = require(require('path').resolve(component, require(component + '/package.json').main));
const [command, ...args] = words;
const { props } = JSON.parse(require('fs').readFileSync(path)).resources.counter;
const inputs = { cwd: require('path').dirname(path), props, command, args, yaml: { path } };
new Component({})[command](inputs).catch((error) => { console.error(error.message); process.exit(101); });
";

struct Project {
    folder: tempfile::TempDir,
    /// The command of Serverless Devs, or none for the driver.
    command: Option<PathBuf>,
}

impl Project {
    fn new(command: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("code")).expect("a folder");
        std::fs::copy(file("tests/targets/calls.py"), folder.path().join("code/calls.py")).expect("a copy");
        // JSON is YAML.
        let yaml = serde_json::json!({
            "edition": "3.0.0", "name": "app",
            "resources": {"counter": {"component": file("serverless-devs"), "props": {
                "region": "cn-hangzhou", "functionName": "counter", "runtime": "custom.debian12", "code": "./code",
                "timeout": 60, "customRuntimeConfig": {"command": ["python3", "calls.py"]},
                "environmentVariables": {"CALLS_FILE": folder.path().join("calls")},
                "instanceLifecycleConfig": {
                    "initializer": {"handler": "any", "timeout": 60}, "preStop": {"handler": "any", "timeout": 60},
                },
            }}},
        });
        std::fs::write(folder.path().join("s.yaml"), yaml.to_string()).expect("a file");
        Self { folder, command }
    }

    fn local(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.command.as_deref().unwrap_or(Path::new("node")));
        if self.command.is_none() {
            command.args(["-e", DRIVER, "--"]).arg(file("serverless-devs")).arg(self.folder.path().join("s.yaml"));
        }
        command.arg("local").args(words).current_dir(&self.folder);
        // No account, and nothing of the caller's.
        command.env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command.env("FC_EMULATOR", env!("CARGO_BIN_EXE_fc-emulator"));
        command
    }

    /// The emulator was given a folder, and nobody needs it any more.
    fn assert_nothing_is_left(&self) {
        let names = std::fs::read_dir(&self.folder).expect("the folder");
        let left = names.flatten().filter(|one| one.file_name().to_string_lossy().starts_with("fc-emulator-"));
        assert_eq!(left.count(), 0, "a folder of the component is left");
    }
}

/// The driver, and the command itself where it is installed.
fn projects() -> Vec<Project> {
    if !common::has_python() {
        return Vec::new();
    }
    if Command::new("node").arg("--version").output().is_err() {
        fc_testkit::skip("the component of Serverless Devs: there is no node here");
        return Vec::new();
    }
    let command = file("../target/deploy/node/node_modules/.bin/s");
    if !command.exists() {
        fc_testkit::skip("the command of Serverless Devs is not installed: `make manifests` does it");
    }
    let commands = [None].into_iter().chain(command.exists().then_some(Some(command)));
    commands.map(Project::new).collect()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_event_is_answered_and_a_failure_has_an_exit_code() {
    for project in projects() {
        let output = project.local(&["invoke", "-e", r#"{"a": 1}"#]).output().expect("it starts");
        assert!(output.status.success(), "{}", text(&output));
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("{\"a\": 1}\n"), "{}", text(&output));
        assert!(text(&output).contains("the event has 8 bytes"), "the log is shown: {}", text(&output));
        project.assert_nothing_is_left();

        std::fs::write(project.folder.path().join("event"), r#"{"fails": 9}"#).expect("a file");
        let output = project.local(&["invoke", "-f", "event"]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(101), "{}", text(&output));
        assert!(text(&output).contains("the call failed: UnhandledInvocationError"), "{}", text(&output));

        let output = project.local(&["invoke", "--evnt", "x"]).output().expect("it starts");
        assert!(text(&output).contains("unknown option `--evnt`"), "{}", text(&output));
        let calls = std::fs::read_to_string(project.folder.path().join("calls")).expect("the calls");
        assert_eq!(calls, "0 {\"a\": 1}\n0 {\"fails\": 9}\n");
    }
}

#[test]
fn an_emulator_that_is_missing_is_named() {
    for project in projects() {
        let output = project.local(&["invoke"]).env("FC_EMULATOR", "/no/such/emulator").output().expect("it starts");
        assert_eq!(output.status.code(), Some(101), "{}", text(&output));
        assert!(
            text(&output).contains("there is no /no/such/emulator: build it by `cargo install"),
            "{}",
            text(&output)
        );
        project.assert_nothing_is_left();
    }
}

/// A process that is killed if the test fails.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_served_function_ends_with_the_command() {
    for project in projects() {
        let mut command = project.local(&["start", "--listen=127.0.0.1:0", "--memory"]);
        let mut started = Started(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"));
        let mut lines = BufReader::new(started.0.stdout.take().expect("it is piped")).lines();
        let address = loop {
            let line = lines.next().expect("a ready line").expect("text");
            if let Some((_, rest)) = line.split_once("at http://") {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
        };
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        // Ctrl-C of a terminal. The command itself ends at once; its output ends when the emulator has.
        let killed = Command::new("kill").args(["-INT", &started.0.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        lines.by_ref().for_each(drop);
        assert!(TcpStream::connect(&address).is_err(), "the emulator has ended");
        project.assert_nothing_is_left();
    }
}
