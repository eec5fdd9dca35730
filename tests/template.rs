//! A crate of one's own: what `make new` makes builds outside this repository, passes its test, is small and static.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use fc_testkit::skip;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// The promise of the README for the ten lines; the template is a little more.
const BYTES_MAX: u64 = 360_000;

/// Makes a crate in an empty folder by `make new`, with the versions of this checkout, because this machine has them.
fn new(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let output = Command::new("make").arg("new").arg(format!("NAME={}", path.display())).current_dir(root()).output();
    assert_success("make new", &output.unwrap());
    fs::copy(root().join("Cargo.lock"), path.join("Cargo.lock")).unwrap();
    folder
}

fn cargo(crate_folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--target-dir"])
        // One folder for all, so that the dependencies are built once.
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("template"))
        .current_dir(crate_folder)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo")
}

fn binary(profile: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("template").join(TRIPLE).join(profile).join(name)
}

#[test]
fn a_new_function_passes_its_test() {
    let folder = new("first-function");
    let crate_folder = folder.path().join("first-function");
    let manifest = fs::read_to_string(crate_folder.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"first-function\""), "{manifest}");
    for file in ["Dockerfile", ".dockerignore", "s.yaml"] {
        let text = fs::read_to_string(crate_folder.join(file)).unwrap();
        assert!(text.contains("first-function") && !text.contains("my-function"), "{file}: {text}");
    }
    let output = cargo(&crate_folder, &["test"]);
    assert_success("cargo test", &output);
    assert!(text(&output.stdout).contains("test result: ok. 2 passed"), "{}", text(&output.stdout));
}

/// Without `env_logger`, a failure still says so on standard error, in one line.
#[test]
fn a_failure_without_a_logger_is_said() {
    let folder = new("loud-function");
    let crate_folder = folder.path().join("loud-function");
    let main = crate_folder.join("src/main.rs");
    let source = "use fc_hooks::{App, Route};\n\
         static APP: App<()> = App::new(&[Route::pre_stop(|_, _| Err(\"a\\nb\")?)]);\n\
         fn main() {\n\
             let server = fc_hooks::Server::bind(fc_hooks::Config::new().listen(\"127.0.0.1:0\").unwrap()).unwrap();\n\
             let stopper = server.stopper().unwrap();\n\
             stopper.stop();\n\
             server.run(&APP, ()).unwrap();\n\
         }\n";
    fs::write(main, source).unwrap();
    let output = cargo(&crate_folder, &["run", "--quiet"]);
    assert_success("cargo run", &output);
    let expected = "[ERROR fc_hooks::function::dispatch] /pre-stop failed: Error: a\\nb, request -";
    assert_eq!(text(&output.stderr), expected);
}

/// `make image` takes a binary from anywhere: the engine gets a folder that holds it and nothing else, and anyone may
/// run it there, although the file itself has no such permission.
#[test]
fn an_image_of_a_binary_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (binary, engine, seen) = (folder.path().join("mine"), folder.path().join("docker"), folder.path().join("seen"));
    fs::write(&binary, "a binary").unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o600)).unwrap();
    // An engine that shows what it would build from, without Buildx.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = buildx ] && exit 1\n[ \"$1\" = build ] || exit 0\n\
         for last; do :; done\necho \"$*\" >{seen:?}\nls -A \"$last\" >>{seen:?}\n\
         stat -c %a \"$last/function\" >>{seen:?}\ncat \"$last/function\" >>{seen:?}\n"
    );
    fs::write(&engine, script).unwrap();
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), env::var("PATH").unwrap());
    let output = Command::new("make")
        .args(["image", "IMAGE=mine"])
        .arg(format!("BIN={}", binary.display()))
        .env("PATH", path)
        .current_dir(root())
        .output()
        .unwrap();
    assert_success("make image", &output);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.starts_with("build --platform linux/amd64 -f Dockerfile.scratch -t mine --build-arg BIN=function "),
        "{seen}"
    );
    assert!(seen.ends_with("\nfunction\n755\na binary"), "{seen}");
    let context = root().join(seen.lines().next().unwrap().rsplit_once(' ').unwrap().1);
    assert!(!context.exists(), "{} stays", context.display());
}

#[test]
#[ignore = "builds the standard library's users in five ways: make test-all"]
fn static_binaries_of_every_profile() {
    let libdir = Command::new("rustc").args(["--print", "target-libdir", "--target", TRIPLE]).output().unwrap();
    if !Path::new(&text(&libdir.stdout)).is_dir() {
        skip(format_args!("static binaries of one's own: no {TRIPLE}"));
        return;
    }
    let folder = new("small-function");
    let crate_folder = folder.path().join("small-function");
    let build = ["build", "--target", TRIPLE];
    let release = ["build", "--release", "--target", TRIPLE];
    let ways: [(&[&str], &str); 4] = [
        (&[], "debug"),
        (&["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"], "release"),
        (&["--config", "profile.release.lto='thin'"], "release"),
        (&["--config", "profile.release.panic='abort'"], "release"),
    ];
    for (options, profile) in ways {
        let arguments = [if profile == "debug" { &build[..] } else { &release[..] }, options].concat();
        assert_success(&arguments.join(" "), &cargo(&crate_folder, &arguments));
        assert_static(&binary(profile, "small-function"));
    }
    assert_success("cargo build --release", &cargo(&crate_folder, &release));
    let file = binary("release", "small-function");
    assert_static(&file);
    let bytes = fs::metadata(file).unwrap().len();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

/// No program header asks for an interpreter or a dynamic linker (elf(5)).
fn assert_static(file: &Path) {
    let binary = fs::read(file).unwrap();
    let number = |at: usize, bytes: usize| {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&binary[at..at + bytes]);
        u64::from_le_bytes(number) as usize
    };
    let (segments, segment_bytes, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    for index in 0..count {
        let kind = number(segments + index * segment_bytes, 4);
        assert!(kind != 2 && kind != 3, "{}: a segment of type {kind}", file.display());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_success(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
