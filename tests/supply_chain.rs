//! The dependencies: their sources, their licences, and the code that they run while they are built.
//!
//! `make deny` checks more, with a tool and a database that a machine may not have. These tests need only cargo and the
//! lock files.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates of the default build that run a script while they are built. Read a script before this list grows, because it
/// has all rights of the user who builds. These scripts ask the compiler for its version and set `cfg` flags.
const BUILD_SCRIPTS: [&str; 5] = ["libc", "rustix", "serde_core", "serde_json", "zmij"];

/// The number of unsafe blocks, implementations and foreign declarations in each file that has any.
/// docs/dependencies.md gives the reasons.
const UNSAFE: [(&str, usize); 10] = [
    ("src/server/sys/environment.rs", 2),
    ("src/server/sys/find_socket_by_peer.rs", 4),
    ("src/server/sys/forks.rs", 2),
    ("src/server/sys/machine.rs", 1),
    ("src/server/sys/mod.rs", 2),
    ("src/server/sys/no_backtrace.rs", 2),
    ("src/server/sys/poll.rs", 1),
    ("src/server/sys/process.rs", 12),
    ("src/server/sys/signals.rs", 10),
    ("src/server/sys/stdout.rs", 3),
];

#[test]
fn every_crate_is_from_crates_io_with_its_checksum() {
    let mut faults = Vec::new();
    for (path, packages) in lock_files() {
        for package in packages {
            // A package without a source is one of this repository.
            let Some(source) = package.get("source") else { continue };
            let checksum = package.get("checksum").is_some_and(|sum| sum.len() == 64);
            if source != CRATES_IO || !checksum {
                faults.push(format!("{}: {} from {source}, checksum: {checksum}", path.display(), package["name"]));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Two versions of one crate cost twice the bytes and twice the maintenance. The peers of the benchmark have a lock
/// file of their own, in which some crates occur twice.
#[test]
fn no_crate_is_locked_twice() {
    let packages = packages_of(&root().join("Cargo.lock"));
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> =
        packages.iter().map(|package| &*package["name"]).filter(|name| !seen.insert(*name)).collect();
    assert!(twice.is_empty() && !seen.is_empty(), "{twice:?}");
}

#[test]
fn the_default_build_needs_only_the_mit_licence() {
    for package in default_build() {
        let licence = package["license"].as_str().unwrap_or_default();
        let choices: Vec<&str> = licence.split(" OR ").flat_map(|choice| choice.split('/')).map(str::trim).collect();
        assert!(choices.contains(&"MIT"), "{} is under '{licence}'", package["name"]);
    }
}

#[test]
fn code_that_runs_while_building_is_known() {
    let has = |package: &Value, kind: &str| {
        let targets = package["targets"].as_array().expect("targets");
        targets.iter().any(|target| target["kind"].as_array().expect("kinds").iter().any(|known| known == kind))
    };
    let named = |kind: &str| -> Vec<String> {
        let packages = default_build().iter().filter(|package| has(package, kind));
        let names: BTreeSet<String> = packages.map(|package| package["name"].as_str().expect("text").into()).collect();
        names.into_iter().collect()
    };
    assert_eq!(named("custom-build"), BUILD_SCRIPTS);
    assert_eq!(named("proc-macro"), [""; 0]);
}

#[test]
fn unsafe_is_counted() {
    let mut files = Vec::new();
    collect(&root().join("src"), &|path| path.extension().is_some_and(|extension| extension == "rs"), &mut files);
    let mut counts = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a source file");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let count: usize =
            code.map(|line| ["{", "impl", "extern"].map(|what| uses(line, what)).iter().sum::<usize>()).sum();
        if count > 0 {
            let name = path.strip_prefix(root()).expect("below the root").to_str().expect("text").to_owned();
            counts.insert(name, count);
        }
    }
    assert_eq!(counts, UNSAFE.map(|(path, count)| (path.to_owned(), count)).into());
}

/// The word is in two halves, so that a search for it does not find this file.
fn uses(line: &str, what: &str) -> usize {
    line.matches(&["unsa", "fe ", what].concat()).count()
}

/// SECURITY.md names a test for each of its claims. Each of these tests exists.
#[test]
fn tests_that_security_md_cites_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    let cited: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    let mut missing = Vec::new();
    for name in &cited {
        let (file, test) = name.rsplit_once("::").expect("filtered");
        let folder = if file.starts_with("src/") { root() } else { root().join("tests") };
        let mut files = vec![folder.join(format!("{file}.rs"))];
        collect(&folder.join(file), &|path| path.extension().is_some_and(|extension| extension == "rs"), &mut files);
        let declared = format!("#[test]\nfn {test}()");
        let has_it = |path: &PathBuf| {
            fs::read_to_string(path).is_ok_and(|text| text.replace("\n    ", "\n").contains(&declared))
        };
        if !files.iter().any(has_it) {
            missing.push(*name);
        }
    }
    assert!(missing.is_empty() && cited.len() > 50, "of {}: {missing:?}", cited.len());
}

/// Every lock file of the repository with its packages.
fn lock_files() -> Vec<(PathBuf, Vec<BTreeMap<String, String>>)> {
    let mut files = Vec::new();
    collect(&root(), &|path| path.ends_with("Cargo.lock"), &mut files);
    assert!(files.len() >= 2, "{files:?}");
    files.into_iter().map(|path| (path.clone(), packages_of(&path))).collect()
}

/// The fields of each package whose value is one quoted text.
fn packages_of(lock_file: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(lock_file).expect("a lock file");
    let field = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        Some((name.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    };
    text.split("[[package]]\n").skip(1).map(|package| package.lines().filter_map(field).collect()).collect()
}

/// The packages that the default build links, apart from fc-hooks.
fn default_build() -> &'static [Value] {
    static PACKAGES: LazyLock<Vec<Value>> = LazyLock::new(ask_cargo);
    &PACKAGES
}

fn ask_cargo() -> Vec<Value> {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let platform = "x86_64-unknown-linux-musl";
    let tree = run(&[
        "tree",
        "-p",
        "fc-hooks",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--offline",
        "--locked",
        "--target",
        platform,
    ]);
    let tree = String::from_utf8(tree).expect("text");
    let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let metadata = run(&["metadata", "--format-version", "1", "--locked", "--filter-platform", platform]);
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    let is_linked = |package: &Value| {
        let name = package["name"].as_str().expect("a name");
        linked.contains(name) && name != "fc-hooks"
    };
    let linked: Vec<Value> = packages.into_iter().filter(is_linked).collect();
    assert!(linked.len() > 5, "{tree}");
    linked
}

/// Adds the files that `wanted` picks below a folder, if the folder exists. Leaves out build outputs and the files of
/// git.
fn collect(folder: &Path, wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && name != "target" && name != ".git" {
            collect(&path, wanted, files);
        } else if path.is_file() && wanted(&path) {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
