//! The examples of the adapter: each server behind the real binary, with the environment and the command of its
//! Dockerfile.

#![cfg(all(target_os = "linux", not(fc_hooks_poll)))]

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::process::{Server, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_fc-hooks");

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/adapter").join(name)
}

/// What a Dockerfile says: its variables and its command.
struct Image {
    environment: Vec<(String, String)>,
    command: Vec<String>,
    health_check: Vec<String>,
}

fn image(name: &str) -> Image {
    let text = std::fs::read_to_string(folder(name).join("Dockerfile")).expect("a Dockerfile").replace("\\\n", "");
    let instruction = |word: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(word));
        found.unwrap_or_else(|| panic!("{name}: no {word}"))
    };
    let list = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("the exec form");
    let words = |text: &str| {
        let list = list(text);
        list.as_array().expect("a list").iter().map(|word| word.as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let mut environment = Vec::new();
    let mut rest = instruction("ENV ").trim();
    while let Some((variable, behind)) = rest.split_once("=\"") {
        let (value, behind) = behind.split_once('"').expect("a closed quote");
        environment.push((variable.trim().to_owned(), value.to_owned()));
        rest = behind;
    }
    Image {
        environment,
        command: words(instruction("ENTRYPOINT ")),
        health_check: words(instruction("HEALTHCHECK CMD ")),
    }
}

/// Starts the example, if this machine has what it runs on.
fn start(name: &str) -> Option<(Image, Server)> {
    let image = image(name);
    let [adapter, dashes, runtime, script] = &image.command[..] else { panic!("{:?}", image.command) };
    assert_eq!((adapter.as_str(), dashes.as_str()), ("/fc-hooks", "--"));
    if Command::new(runtime).arg("--version").output().is_err() {
        fc_testkit::skip(format_args!("the example {name}: this machine has no {runtime}"));
        return None;
    }
    // In the image the script stands at the root.
    let script = folder(name).join(script.trim_start_matches('/'));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let setup = Setup::program(BINARY).env("PATH", path).arg("--").arg(runtime).arg(script).expect_stderr();
    let setup = image.environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    Some((image, setup.start()))
}

fn check_health(image: &Image, server: &Server) {
    let [client, arguments @ ..] = &image.health_check[..] else { panic!("{:?}", image.health_check) };
    assert_eq!(client, "/fc-hooks");
    let port = server.tcp().port().to_string();
    let output = Command::new(BINARY).args(arguments).env_clear().env("PORT", port).output().expect("the client");
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

/// A freeze that cannot be missed.
fn freeze_and_thaw(server: &Server) {
    server.process.signal(libc::SIGSTOP);
    server.process.wait_for_state('T');
    server.process.signal(libc::SIGCONT);
    server.process.wait_for_state('S');
}

#[test]
fn python() {
    let Some((image, server)) = start("python") else { return };
    let post = |path: &str, body: &str| server.connect().call("POST", path, &[], body.as_bytes());
    for _ in 0..2 {
        let reply = post("/initialize", "");
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"items": 2}"#), "it runs once");
    }
    assert_eq!(server.connect().get("/").json()["connectionsOpened"], 1);
    let sold = post("/invoke", r#"{"item": "apples"}"#);
    assert_eq!((sold.status, sold.header("x-fc-status"), sold.text()), (200, Some("200"), r#"{"left": 2}"#.to_owned()));
    let failed = post("/invoke", r#"{"item": "plums"}"#);
    assert_eq!(failed.header("x-fc-status"), Some("404"));
    assert!(failed.text().contains("no plums left"), "the body is untouched");
    for spelled in ["/warm-up", "/Warm-Up", "//warm-up", "/%77arm-up", "/x/../reconnect"] {
        assert_eq!(post(spelled, "").status, 403, "{spelled}");
    }
    freeze_and_thaw(&server);
    assert_eq!(server.connect().get("/").json()["connectionsOpened"], 2, "on_thaw ran before the call");
    check_health(&image, &server);
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert!(ended.code == 0 && ended.stderr.contains("the shop is closed"), "{} {}", ended.code, ended.stderr);
    assert!(ended.stdout.contains("FC PreStop Start"), "{}", ended.stdout);
}

#[test]
fn node() {
    let Some((image, server)) = start("node") else { return };
    let post = |path: &str, body: &str| server.connect().call("POST", path, &[], body.as_bytes());
    assert_eq!(post("/initialize", "").text(), "warm");
    let good = post("/invoke", "event");
    assert_eq!((good.status, good.header("x-fc-status"), good.text()), (200, Some("200"), "EVENT".to_owned()));
    let bad = post("/invoke", "bad");
    assert_eq!((bad.header("x-fc-status"), bad.text()), (Some("404"), "no event".to_owned()));
    assert_eq!(post("/flush", "").status, 403);
    freeze_and_thaw(&server);
    assert_eq!(server.connect().get("/").json(), serde_json::json!({"events": 2, "thaws": 1}));
    check_health(&image, &server);
    let stopped = server.connect().get("/pre-stop");
    assert_eq!((stopped.status, stopped.text().as_str()), (200, "2 events"));
    server.process.signal(libc::SIGTERM);
    assert_eq!(server.process.ended().code, 0, "node closes its server");
}
