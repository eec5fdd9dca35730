//! Builds programs of this workspace, in the target folder that the outer build uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The root of the workspace.
pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A program that cargo built.
#[derive(Clone, Debug)]
pub struct Program {
    /// The name of its cargo target.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// The source file of its `main`.
    pub source: PathBuf,
}

/// Runs `cargo build --package=PACKAGE ARGUMENTS` and returns every program that was asked for.
///
/// # Panics
/// If cargo cannot be started, or the build fails.
pub fn build(package: &str, arguments: &[&str]) -> Vec<Program> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(WORKSPACE).args(["build", "--quiet", "--message-format=json", "--package", package]);
    // The target of the outer build is for the outer build.
    cargo.args(arguments).env_remove("CARGO_BUILD_TARGET");
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo build of {package} {arguments:?} failed");
    String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect()
}

/// Builds one program of the testkit, `faulty` or `uneven`, once for each process that calls this.
///
/// # Panics
/// As [`build`], or if the testkit has no program of that name.
pub fn helper(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = built.entry(name).or_insert_with(|| {
        let program = build("fc-testkit", &["--bin", name]).pop();
        program.unwrap_or_else(|| panic!("cargo built no program {name}")).path
    });
    path.clone()
}

/// The program in one line of cargo's JSON messages, if the line announces one.
fn program(line: &str) -> Option<Program> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    Some(Program {
        path: PathBuf::from(message["executable"].as_str()?),
        name: target["name"].as_str()?.to_owned(),
        source: PathBuf::from(target["src_path"].as_str()?),
    })
}

/// Whether rustc has the standard library for a target.
///
/// # Panics
/// If rustc cannot be started.
pub fn has_target(triple: &str) -> bool {
    let root = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc starts");
    let root = String::from_utf8_lossy(&root.stdout).trim().to_owned();
    Path::new(&root).join("lib/rustlib").join(triple).exists()
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn only_messages_with_an_executable_are_programs() {
        let target = r#""target":{"name":"it","src_path":"/src/it.rs"}"#;
        let built = program(&format!(r#"{{"reason":"compiler-artifact",{target},"executable":"/target/it"}}"#));
        assert!(built.is_some_and(|it| it.name == "it" && it.path.ends_with("target/it")));
        assert!(program(&format!(r#"{{"reason":"compiler-artifact",{target},"executable":null}}"#)).is_none());
        assert!(program("no JSON").is_none());
    }
}
