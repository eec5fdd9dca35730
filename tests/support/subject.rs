//! The helper program: the example `subject`, a function that does what a test tells it to.
//!
//! `cargo test` builds examples, but `cargo test --test NAME` does not. So the program is built here if it is missing
//! or older than its sources. It is built for the profile, the target and the features of the test that asks.

use fc_testkit::build::is_newer;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The path of the built program.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let subject = profile.join("examples/subject");
        let sources = ["src", "tests/subject", "Cargo.toml"].map(|source| Path::new(ROOT).join(source));
        if !is_newer(&subject, &sources) {
            build(profile);
        }
        subject
    })
}

fn build(profile: &Path) {
    // Cargo marks the target directory by a file. Some versions also mark the directory of a target triple in it, which
    // may lie between it and this test. Triples have hyphens; nested target directories, as of `make test-poll`, do
    // not.
    let is_triple = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains('-'));
    let mut marked = profile.ancestors().skip(1).filter(|path| path.join("CACHEDIR.TAG").exists());
    let nearest = marked.next().expect("a target directory");
    let target = if is_triple(nearest) { marked.next().unwrap_or(nearest) } else { nearest };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(ROOT).args(["build", "--quiet", "--offline", "--package", "fc-hooks", "--example", "subject"]);
    cargo.arg("--target-dir").arg(target);
    if cfg!(feature = "tiny_http") {
        cargo.args(["--features", "tiny_http"]);
    }
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        Some(name) => _ = cargo.args(["--profile", name]),
        None => unreachable!("a profile's directory has a name"),
    }
    if profile.parent() != Some(target) {
        cargo.arg("--target").arg(profile.parent().and_then(Path::file_name).expect("a target triple"));
    }
    assert!(cargo.status().expect("cargo runs").success(), "cannot build the subject: {cargo:?}");
}
