//! The static binaries keep their budgets of bytes, are static, and have no symbols.
//!
//! `make` builds them, as users do, so that the tests cover these recipes as well.

#![cfg(not(fc_hooks_poll))] // the shipped binary is built with the default backend

use fc_testkit::{say, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// Well below the promise of the documentation, so that a change that adds much fails here first.
const STABLE_BYTES_MAX: u64 = 450_000;
const TINY_BYTES_MAX: u64 = 270_000;

#[test]
fn the_stable_binary() {
    let target = make(&format!("target-{TRIPLE}"));
    if !target.status.success() {
        skip(format_args!("size of the stable binary, no {TRIPLE}: {}", text(&target.stderr)));
        return;
    }
    assert_success("make build", &make("build"));
    let binary = fs::read(checkout().join("target").join(TRIPLE).join("release/fc-hooks")).unwrap();
    let (bytes, baseline_bytes) = (binary.len() as u64, hello_world_bytes());
    say(format_args!(
        "stable: {bytes} bytes of at most {STABLE_BYTES_MAX}, {} more than a hello world built alike",
        bytes.saturating_sub(baseline_bytes)
    ));
    assert!(bytes <= STABLE_BYTES_MAX);
    assert_static_and_stripped(&binary);
    assert_no_paths_of_this_machine(&binary);
}

#[test]
#[ignore = "rebuilds the standard library: make test-all"]
fn the_tiny_binary() {
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        // `make tiny` would install one; a test does not.
        skip("size of the tiny binary: no nightly toolchain is installed");
        return;
    }
    assert_success("make tiny", &make("tiny"));
    let binary = fs::read(checkout().join("target/tiny").join(TRIPLE).join("release/fc-hooks")).unwrap();
    let bytes = binary.len() as u64;
    say(format_args!("tiny: {bytes} bytes of at most {TINY_BYTES_MAX}"));
    assert!(bytes <= TINY_BYTES_MAX);
    assert_static_and_stripped(&binary);
    assert_no_paths_of_this_machine(&binary);
}

/// The size of a program that does nothing, built with our profile and linker settings: mostly the standard library.
fn hello_world_bytes() -> u64 {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::create_dir_all(folder.join(".cargo")).unwrap();
    for named_in_config in [".cargo/layout.ld", ".cargo/startup-order.txt"] {
        write(&folder.join(named_in_config), &fs::read_to_string(checkout().join(named_in_config)).unwrap());
    }
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    let profile = manifest.split("\n[").find(|section| section.starts_with("profile.release]")).expect("a profile");
    let manifest = format!("[package]\nname = \"hello\"\nedition = \"2024\"\n[workspace]\n[{profile}\n");
    write(&folder.join("Cargo.toml"), &manifest);
    write(&folder.join("src/main.rs"), "fn main() {\n    println!(\"hello\");\n}\n");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--target", TRIPLE, "--target-dir", "target", "--config"])
        .arg(checkout().join(".cargo/config.toml"))
        .current_dir(&folder)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    assert_success("hello world", &output);
    fs::metadata(folder.join("target").join(TRIPLE).join("release/hello")).unwrap().len()
}

/// Leaves a file alone that is as it should be, so that cargo builds only what has changed.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return;
    }
    fs::write(path, text).unwrap();
}

/// Reads the program and section headers (elf(5)): no interpreter, no dynamic section, no symbol table.
fn assert_static_and_stripped(binary: &[u8]) {
    const INTERPRETER: u32 = 3;
    const DYNAMIC: u32 = 2;
    const SYMBOL_TABLE: u32 = 2;
    let number = |at: usize, bytes: usize| {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&binary[at..at + bytes]);
        u64::from_le_bytes(number) as usize
    };
    assert_eq!(binary[..6], *b"\x7fELF\x02\x01", "ELF, 64 bits, little endian");
    let (segments, segment_bytes, segment_count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    for index in 0..segment_count {
        let kind = number(segments + index * segment_bytes, 4) as u32;
        assert!(kind != INTERPRETER && kind != DYNAMIC, "not static: a segment of type {kind}");
    }
    let (sections, section_bytes, section_count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    for index in 0..section_count {
        let kind = number(sections + index * section_bytes + 4, 4) as u32;
        assert_ne!(kind, SYMBOL_TABLE, "not stripped");
    }
}

/// Panic messages hold paths of sources. They must not tell where the machine that built the binary keeps them.
fn assert_no_paths_of_this_machine(binary: &[u8]) {
    let folders = ["HOME", "CARGO_HOME", "RUSTUP_HOME"].map(|name| env::var(name).unwrap_or_default());
    let checkout = checkout().to_str().unwrap().to_owned();
    for folder in folders.iter().chain([&checkout]).filter(|folder| folder.len() > 1) {
        let folder = format!("{}/", folder.trim_end_matches('/'));
        let found = binary.windows(folder.len()).any(|window| window == folder.as_bytes());
        assert!(!found, "the binary names {folder}");
    }
}

fn make(goal: &str) -> Output {
    Command::new("make").arg(goal).current_dir(checkout()).output().expect("make")
}

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn assert_success(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
