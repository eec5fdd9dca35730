//! `fc-emulator check` and `list` as commands: help, formats, choices, exit statuses, and a target that already runs.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{check, faulty, fc_emulator, stdout};
use fc_emulator::target::Port;
use predicates::str::contains;
use serde_json::Value;

/// Six checks that end soon. One of them finds the fault.
const SHORT: &[&str] = &["check", "--only=ready,initialize,pre-stop,C-INV-1", "--large-bytes=1000"];

fn with_a_fault(words: &[&str]) -> String {
    stdout(&[SHORT, words, &["--", faulty(), "--fault", "pre-stop-misspelt"]].concat(), 1)
}

#[test]
fn every_format_shows_the_fault() {
    let human = with_a_fault(&[]);
    for part in ["FAIL     must   C-STOP-1  pre-stop", "fix:      route GET /pre-stop", "1 failed (must)"] {
        assert!(human.contains(part), "{part:?} in {human}");
    }
    let junit = with_a_fault(&["--format=junit"]);
    assert!(
        junit.contains("<testsuites ") && junit.contains(r#"tests="6" skipped="0" errors="0" failures="1""#),
        "{junit}"
    );
    let tap = with_a_fault(&["--format=tap"]);
    assert!(tap.starts_with("TAP version 13\n1..6\n") && tap.contains("\nnot ok "), "{tap}");
    let json: Value = serde_json::from_str(&with_a_fault(&["--format=json"])).unwrap();
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(6));
}

#[test]
fn files_get_their_formats_beside_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let options = [("--export-json", file("a")), ("--junit", file("b")), ("--export-tap", file("c"))];
    let words: Vec<&str> = options.iter().flat_map(|(name, file)| [*name, file]).collect();
    assert!(with_a_fault(&words).contains("1 failed (must)"));
    let written = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    assert!(serde_json::from_str::<Value>(&written("a")).is_ok());
    assert!(written("b").starts_with("<?xml") && written("c").starts_with("TAP version 13"));

    let nowhere = file("no/such/folder");
    let words = ["check", "--only=ready", "--export-tap", &nowhere, "--", faulty()];
    fc_emulator(&words).assert().code(2).stderr(contains("failed to write"));
}

/// Text for people has colours only where they are wanted.
#[test]
fn colours_follow_the_environment() {
    let words = [SHORT, &["--", faulty()]].concat();
    let shown = |variable: &str| {
        let mut command = fc_emulator(&words);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env(variable, "1");
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    assert!(shown("CLICOLOR_FORCE").contains("\x1b["));
    assert!(!shown("NO_COLOR").contains('\x1b'));
}

#[test]
fn a_broken_should_violates_only_when_strict() {
    let words = ["check", "--only=ready,initialize,log-invoke", "--", faulty(), "--fault", "markers-indented"];
    fc_emulator(&words).assert().code(0);
    fc_emulator(&[&["check", "--strict"], &words[1..]].concat()).assert().code(1);
}

/// What a virtual machine lacks is named in one line, before anything is started.
#[test]
fn a_virtual_machine_that_cannot_be_had() {
    let nothing = tempfile::tempdir().unwrap();
    let words = ["run", "--freeze-with=vm-pause", "--", faulty()];
    let bare = |words: &[&str]| {
        let mut command = fc_emulator(words);
        command.env("PATH", nothing.path()).env("HOME", nothing.path()).env_remove("XDG_CACHE_HOME");
        let output = command.assert().code(2).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    let told = bare(&words);
    for part in ["`--freeze-with vm-pause`", "Debian: qemu-system-x86", "Debian: busybox-static"] {
        assert!(told.contains(part) && told.lines().count() == 1, "{part:?} in {told}");
    }
    let told = bare(&[&["run", "--vm-kernel=/proc/self/stat"], &words[1..]].concat());
    assert!(told.contains("/proc/self/stat") && told.lines().count() == 1, "{told}");
    let told = bare(&["check", "--vm-kernel=/proc/self/stat", "--", faulty()]);
    assert!(told.contains("--freeze-with vm-pause") && told.lines().count() == 1, "{told}");
}

#[test]
fn an_untested_target_does_not_pass() {
    for words in [
        &["check", "--only=C-NONE-9", "--", faulty()][..],
        &["check", "--", "./no-such-program"],
        &["check"],
        &["check", "--only=job", "--", faulty()],
    ] {
        fc_emulator(words).assert().code(2);
    }
}

#[test]
fn the_help_shows_every_option_with_its_default() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        // The help of `serve` is of a build with its store.
        let serve = cfg!(feature = "store").then_some("serve");
        for command in ["run", "check", "list", "completions", "man"].into_iter().chain(serve) {
            let help = fc_emulator(&[command, "-h"]).env_remove("COLUMNS").assert().success();
            let help = String::from_utf8(help.get_output().stdout.clone()).unwrap();
            insta::assert_snapshot!(format!("help-{command}"), help);
        }
    });
}

/// The options of a command that its help shows.
fn options(command: &str) -> Vec<String> {
    let help = stdout(&[command, "-h"], 0);
    let lines = help.lines().filter(|line| line.starts_with("      --"));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn a_manual_page_has_every_option() {
    assert!(stdout(&["man"], 0).contains(".TH fc-emulator 1"));
    for command in ["run", "check", "list", "completions", "man"] {
        let page = stdout(&["man", command], 0).replace('\\', "");
        assert!(page.contains(&format!(".TH fc-emulator-{command} 1")), "{page}");
        for option in options(command) {
            assert!(page.contains(&option), "{command} {option}");
        }
    }
    fc_emulator(&["man", "chek"]).assert().code(2).stderr(contains("there is no command `chek`"));
}

#[test]
fn completions_know_every_option() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell], 0);
        for option in options("check") {
            assert!(script.contains(option.trim_start_matches('-')), "{shell} {option}");
        }
    }
    let ask = r#"eval "$("$0" completions bash)"
        COMP_WORDS=(fc-emulator check --env) COMP_CWORD=2
        _fc__emulator fc-emulator --env check
        echo "${COMPREPLY[@]}""#;
    match Command::new("bash").args(["-c", ask, env!("CARGO_BIN_EXE_fc-emulator")]).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--env --env-file"),
        Err(why) => fc_testkit::skip(format!("completions in bash: {why}")),
    }
}

#[test]
fn variables_of_a_file_reach_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env").display().to_string();
    std::fs::write(&file, "# of the function\nA=from file\nB=from file\n").unwrap();
    let target = ["--", "sh", "-c", r#"echo "A=$A; B=$B"; exit 1"#];
    let words = [&["check", "--only=ready", "--format=json", "--env-file", &file, "--env=B=from option"], &target[..]];
    let report = stdout(&words.concat(), 1);
    assert!(report.contains("`A=from file; B=from option`"), "{report}");

    std::fs::write(&file, "A=1\nno name=2\n").unwrap();
    fc_emulator(&words.concat()).assert().code(2).stderr(contains("line 2: the name `no name` contains a space"));
}

#[test]
fn a_server_without_events_is_checked_by_its_http_call() {
    let target = ["--", faulty(), "--fault", "invoke-missing"];
    let options = ["--only=ready,initialize,invoke,http-call,keepalive"];
    let report = check(&[&options[..], &["--http", "GET /"]].concat(), &target);
    assert_eq!(report.details("failed"), Vec::<String>::new());
    assert!(report.ids("passed").is_superset(&["http-call", "keepalive"].into()), "{:?}", report.ids("passed"));
    assert!(report.ids("skipped").contains("invoke"));
    let report = check(&options, &target);
    assert_eq!(report.ids("failed"), ["invoke"].into());
}

#[test]
fn the_list_shows_every_check() {
    let list = stdout(&["list"], 0);
    let json: Value = serde_json::from_str(&stdout(&["list", "--format=json"], 0)).unwrap();
    let all = fc_emulator::check::all();
    assert_eq!(json.as_array().map(Vec::len), Some(all.len()));
    for (check, row) in all.iter().zip(json.as_array().unwrap()) {
        assert!(list.contains(check.id) && list.contains(check.rule), "{}", check.id);
        assert_eq!((row["id"].as_str(), row["fix"].as_str()), (Some(check.id), Some(check.fix)));
    }
}

/// A target that somebody else started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_already_runs_is_checked_as_far_as_possible() {
    let port = Port::free().unwrap();
    let addr = format!("127.0.0.1:{}", port.number());
    let child = Command::new(faulty())
        .env("FC_CUSTOM_LISTEN_PORT", port.number().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(&addr).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let report = check(&["--large-bytes=1000000"], &["--addr", &addr]);
    assert_eq!(report.details("failed"), Vec::<String>::new());
    assert_eq!(report.details("untested"), Vec::<String>::new());
    for id in ["thaw-call", "sigterm", "log-invoke", "call-before-initialize"] {
        assert!(report.ids("skipped").contains(id), "{id}");
    }
    for id in ["initialize", "invoke-large", "keepalive-idle", "pre-stop"] {
        assert!(report.ids("passed").contains(id), "{id}");
    }
    assert_eq!(report.code, Some(0));

    let table = stdout(&["run", "--addr", &addr], 0);
    assert!(table.contains("a server that already runs cannot be frozen"), "{table}");
}

#[test]
fn forgotten_dashes_are_named() {
    let output =
        assert_cmd::Command::new(env!("CARGO_BIN_EXE_fc-emulator")).args(["run", "python3", "app.py"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("write `--` before a command: `-- python3 ...`"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}
