//! `README.md` of the emulator and the recipes for continuous integration say what works: their commands are run as
//! written, in a fresh folder with the servers of the page, and the options that they name exist.

#[cfg(feature = "serve")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(feature = "serve")]
use common::stdout;

const README: &str = include_str!("../README.md");
const RECIPES: [(&str, &str); 2] = [
    ("github-actions.yml", include_str!("../ci/github-actions.yml")),
    ("gitlab-ci.yml", include_str!("../ci/gitlab-ci.yml")),
];

/// The first lines of blocks that install, or that need Docker and a terminal. Other tests and make targets cover them.
/// `serve` runs until it is ended.
const NOT_RUN: [&str; 5] = [
    "make emulator",
    "cargo install --path emulator",
    "source <(fc-emulator completions bash)",
    "docker run --rm",
    "fc-emulator serve",
];

/// The exit code of a block that shows a fault, by its first line. The other blocks succeed.
const FAILS: [&str; 1] = ["sed '/protocol_version/d' app.py > old.py"];

/// The contents of the blocks in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).filter_map(|rest| rest.split_once("```").map(|(block, _)| block)).collect()
}

/// A folder with the servers of the page, and the emulator in `bin`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (language, name) in [("python", "app.py"), ("js", "app.js"), ("go", "app.go"), ("java", "App.java")] {
        std::fs::write(folder.path().join(name), blocks(language)[0]).unwrap();
    }
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_fc-emulator"), folder.path().join("bin/fc-emulator")).unwrap();
    folder
}

fn has(program: &str) -> bool {
    let found = |folder: PathBuf| folder.join(program).is_file();
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(found)
}

/// Runs a script as a shell would that has the emulator installed. `None` if a program is missing, which is said.
fn run(script: &str, folder: &Path) -> Option<(Option<i32>, String)> {
    let words = || script.split_whitespace();
    for program in ["python3", "node", "go", "java", "javac", "curl"] {
        if words().any(|word| word == program) && !has(program) {
            fc_testkit::skip(format!("{program} is not installed: `{}`", script.trim()));
            return None;
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder);
    command.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    command.env("FC_EMULATOR_URL", format!("file://{}/bin/fc-emulator", folder.display()));
    command.env("GOCACHE", folder.join("cache")).env("GOPATH", folder.join("go"));
    let output = command.output().expect("sh can be started");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// The lines of a recipe that a shell carries out.
fn script(recipe: &str) -> Vec<String> {
    let commands = ["curl ", "chmod ", "./fc-emulator "];
    let lines = recipe.lines().map(|line| line.trim_start().trim_start_matches("- ").trim_start_matches("run: "));
    lines.filter(|line| commands.iter().any(|command| line.starts_with(command))).map(str::to_owned).collect()
}

#[test]
fn recipes_run_the_commands_of_the_page() {
    let page = blocks("sh").concat();
    let mut scripts = Vec::new();
    for (name, recipe) in RECIPES {
        let script = script(recipe);
        let ours: Vec<_> = script.iter().filter_map(|line| line.strip_prefix("./")).collect();
        assert_eq!(ours.len(), 2, "{name}: {script:?}");
        assert!(ours.iter().all(|line| page.lines().any(|shown| shown == *line)), "{name}: {ours:?}");
        scripts.push(script);
    }
    assert_eq!(scripts[0], scripts[1], "both recipes do the same");
}

#[test]
fn recipes_are_yaml() {
    const PARSE: &str = "import sys, yaml\nfor name in sys.argv[1:]: yaml.safe_load(open(name))";
    let path = |name: &str| format!("{}/ci/{name}", env!("CARGO_MANIFEST_DIR"));
    let can_parse = Command::new("python3").args(["-c", "import yaml"]).output();
    if !can_parse.is_ok_and(|output| output.status.success()) {
        fc_testkit::skip("recipes as YAML: Python has no module yaml");
        return;
    }
    let output = Command::new("python3").args(["-c", PARSE]).args(RECIPES.map(|(name, _)| path(name))).output();
    let output = output.expect("python3 can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(feature = "serve")]
#[test]
fn the_options_of_the_page_exist() {
    let help = ["run", "check", "serve"].map(|command| stdout(&[command, "-h"], 0)).concat();
    let ours = README.lines().filter(|line| line.starts_with("fc-emulator ") || line.starts_with('|'));
    let words = ours.flat_map(|line| line.split([' ', '`', ',', '|'])).filter(|word| word.starts_with("--"));
    let options: Vec<_> = words.filter(|word| *word != "--" && word.as_bytes()[2].is_ascii_lowercase()).collect();
    assert!(options.len() > 20, "{options:?}");
    let known = |option: &&str| [' ', '\n', ']'].iter().any(|end| help.contains(&format!("{option}{end}")));
    // `--protocol` is an option of Python's server.
    let unknown: Vec<_> = options.iter().filter(|option| **option != "--protocol" && !known(option)).collect();
    assert_eq!(unknown, Vec::<&&str>::new());
}

#[test]
#[ignore = "a minute: make test-all"]
fn the_commands_of_the_page_do_what_it_says() {
    let folder = folder();
    let mut tried = 0;
    for block in blocks("sh") {
        if NOT_RUN.iter().any(|first| block.starts_with(first)) {
            continue;
        }
        let Some((code, said)) = run(block, folder.path()) else { continue };
        let first = block.lines().next().unwrap_or_default();
        assert_eq!(code, Some(i32::from(FAILS.contains(&first))), "{block}{said}");
        if FAILS.contains(&first) {
            assert!(said.contains(blocks("text")[0]), "{said}");
        }
        tried += 1;
    }
    assert!(tried >= 4, "only {tried} blocks were run");
}

#[test]
#[ignore = "a quarter of a minute: make test-all"]
fn the_recipes_work_in_a_fresh_folder() {
    for (name, recipe) in RECIPES {
        let folder = folder();
        let Some((code, said)) = run(&script(recipe).join("\n"), folder.path()) else { return };
        assert_eq!(code, Some(0), "{name}: {said}");
        let report = std::fs::read_to_string(folder.path().join("fc-emulator.xml")).unwrap();
        assert!(report.contains("<testsuites "), "{report}");
    }
}
