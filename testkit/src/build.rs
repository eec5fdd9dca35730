//! Builds programs of this workspace, in the target folder that the outer build uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

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

/// One program of the testkit, `faulty` or `uneven`. It is built if it is missing beside this test, or not newer than
/// all its sources: to ask cargo each time would take longer than many a test.
///
/// # Panics
/// As [`build`], or if the testkit has no program of that name.
pub fn helper(name: &'static str) -> PathBuf {
    program_of("fc-testkit", "--bin", name, "testkit")
}

/// The binary of fc-hooks, built like [`helper`].
///
/// # Panics
/// As [`build`].
pub fn server() -> PathBuf {
    program_of("fc-hooks", "--bin", "fc-hooks", "src")
}

/// The helper program of the tests of fc-hooks, built like [`helper`].
///
/// # Panics
/// As [`build`].
pub fn subject() -> PathBuf {
    program_of("fc-hooks", "--example", "subject", "tests/subject")
}

/// A program of this package, from the library of the package and the sources in this folder.
fn program_of(package: &str, kind: &str, name: &'static str, folder: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = built.entry(name).or_insert_with(|| {
        let test = std::env::current_exe().expect("the path of this test");
        let beside = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let beside = beside.join(if kind == "--example" { "examples" } else { "" }).join(name);
        let library = if package == "fc-hooks" { "src" } else { folder };
        let sources = [library, folder, "Cargo.toml", "Cargo.lock"].map(|source| Path::new(WORKSPACE).join(source));
        if is_newer(&beside, &sources) {
            return beside;
        }
        let program = build(package, &[kind, name]).pop();
        program.unwrap_or_else(|| panic!("cargo built no program {name}")).path
    });
    path.clone()
}

/// Whether a program is there and newer than each of these files, and than each file in these folders.
pub fn is_newer(program: &Path, sources: &[PathBuf]) -> bool {
    let newest = sources.iter().filter_map(|source| newest(source)).max();
    modified(program).is_some_and(|built| newest.is_some_and(|newest| newest < built))
}

fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = fs::read_dir(path) else { return modified(path) };
    entries.flatten().filter_map(|entry| newest(&entry.path())).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
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
    use super::{is_newer, program};
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_program_is_newer_than_every_source() {
        let folder = std::env::temp_dir().join(format!("fc-testkit-{}", std::process::id()));
        let [inner, program, source] = ["sources/inner", "program", "sources/inner/it.rs"].map(|it| folder.join(it));
        fs::create_dir_all(&inner).unwrap();
        let is_newer = || is_newer(&program, &[folder.join("sources")]);
        let write = |path, age_secs| {
            let time = SystemTime::now() - Duration::from_secs(age_secs);
            File::create(path).and_then(|file| file.set_modified(time)).unwrap();
        };
        write(&source, 10);
        let missing = is_newer();
        write(&program, 5);
        let newer = is_newer();
        write(&source, 5 - 1);
        let older = is_newer();
        fs::remove_dir_all(&folder).unwrap();
        let of_nothing = is_newer();
        assert_eq!((missing, newer, older, of_nothing), (false, true, false, false));
    }

    #[test]
    fn only_messages_with_an_executable_are_programs() {
        let target = r#""target":{"name":"it","src_path":"/src/it.rs"}"#;
        let built = program(&format!(r#"{{"reason":"compiler-artifact",{target},"executable":"/target/it"}}"#));
        assert!(built.is_some_and(|it| it.name == "it" && it.path.ends_with("target/it")));
        assert!(program(&format!(r#"{{"reason":"compiler-artifact",{target},"executable":null}}"#)).is_none());
        assert!(program("no JSON").is_none());
    }
}
