//! The repository tests itself: rules that reviewers would otherwise have to check, each with its reason.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use fc_hooks::Config;
#[cfg(feature = "adapter")]
use fc_hooks::adapter::Settings;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const LINE_CHARS_MAX: usize = 120;
const MARKDOWN_CHARS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// The crates that the default build links. A dependency has to earn its bytes, so one more is a decision, and
/// docs/dependencies.md gives its cost.
const DEPENDENCIES: [&str; 11] = [
    "bitflags",
    "itoa",
    "libc",
    "linux-raw-sys",
    "log",
    "memchr",
    "rustix",
    "safe_arch",
    "serde_core",
    "serde_json",
    "zmij",
];

#[test]
fn formatting() {
    for package in ["--all", "--manifest-path=tests/fuzz/Cargo.toml"] {
        let output =
            Command::new(env!("CARGO")).args(["fmt", "--check", package]).current_dir(root()).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "run `cargo fmt {package}`:\n{}", text(&printed));
    }
}

#[test]
fn lines_functions_and_files_stay_short() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX {
                faults.push(format!("{path}:{}: over {LINE_CHARS_MAX} characters", index + 1));
            }
        }
        if path.ends_with(".rs") {
            if text.lines().count() > FILE_LINES_MAX {
                faults.push(format!("{path}: over {FILE_LINES_MAX} lines"));
            }
            faults.extend(long_functions(&path, &text));
        }
    }
    assert_none(&faults);
}

/// The limit does not hold for rows of tables and for lines that are one link: Markdown cannot break them.
#[test]
fn lines_of_markdown_stay_short() {
    let mut faults = Vec::new();
    for (path, text) in documents() {
        for (index, line) in text.lines().enumerate() {
            let unbreakable =
                line.starts_with('|') || line.split_once("](").is_some_and(|(_, link)| link.ends_with(')'));
            if line.chars().count() > MARKDOWN_CHARS_MAX && !unbreakable {
                faults.push(format!("{path}:{}: over {MARKDOWN_CHARS_MAX} characters", index + 1));
            }
        }
    }
    assert_none(&faults);
}

/// A link to a file of the repository leads to a file, and its anchor to a heading.
#[test]
fn links_of_markdown_lead_somewhere() {
    let (mut faults, mut followed) = (Vec::new(), 0);
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let defined =
            text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, link)| (link, ""));
        for (link, _) in inline.chain(defined).filter(|(link, _)| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let leads = fs::read_to_string(&target).is_ok_and(|text| anchor.is_empty() || has_heading(&text, anchor));
            if !leads {
                faults.push(format!("{path}: {link} leads nowhere"));
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found: the search is broken");
    assert_none(&faults);
}

/// The anchor of a heading, as GitHub makes it: lower case, spaces as hyphens, punctuation left out.
fn has_heading(text: &str, anchor: &str) -> bool {
    let anchor_of = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor_of(line.trim_start_matches(['#', ' '])) == anchor)
}

/// rustfmt puts the last brace of a function below its first word, so indentation is enough to find the end.
fn long_functions(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match open {
            None if is_function(line) && !line.trim_end().ends_with(['}', ';']) => open = Some((index, indent)),
            Some((start, of_start)) if line.trim_start().starts_with('}') && indent == of_start => {
                if index - start + 1 > FUNCTION_LINES_MAX {
                    faults.push(format!("{path}:{}: a function of {} lines", start + 1, index - start + 1));
                }
                open = None;
            }
            _ => {}
        }
    }
    faults
}

fn is_function(line: &str) -> bool {
    let before = line.trim_start().split("fn ").next().unwrap_or_default();
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    line.contains("fn ") && before.split_whitespace().all(|word| qualifiers.contains(&word))
}

#[test]
fn nothing_is_left_over() {
    // Each is in two halves, so that this file does not find itself.
    let leftovers = [
        ["to", "do!("],
        ["unimple", "mented!("],
        ["db", "g!("],
        ["FIX", "ME"],
        ["TO", "DO"],
        ["XX", "X"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
    ];
    let leftovers = leftovers.map(|halves| halves.concat());
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().chain(documents()) {
        for (index, line) in text.lines().enumerate() {
            faults.extend(
                leftovers
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{path}:{}: {word}", index + 1)),
            );
        }
    }
    assert_none(&faults);
}

#[test]
fn the_changelog_has_this_version_once() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md");
    let is_heading = |line: &&str| {
        line.starts_with('#') && line.split(|c: char| !(c.is_alphanumeric() || ".-".contains(c))).any(|w| w == version)
    };
    assert_eq!(changelog.lines().filter(is_heading).count(), 1, "headings of {version} in CHANGELOG.md");
}

/// The Rust code in the README compiles: each block stands in an example as it is.
#[test]
fn the_readme_shows_the_examples() {
    let examples: Vec<String> =
        sources().into_iter().filter(|(path, _)| path.starts_with("examples/")).map(|(_, text)| text).collect();
    let readme = read("README.md");
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "the README shows no Rust");
    for block in blocks {
        assert!(examples.iter().any(|text| text.contains(block.trim())), "in no example:\n{block}");
    }
}

#[test]
fn the_default_build_has_these_dependencies() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "fc-hooks", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline"])
        .args(["--target", "x86_64-unknown-linux-musl"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name != "fc-hooks" && !name.is_empty());
    assert_eq!(names, DEPENDENCIES);
}

/// Users get the sources, the examples and the documents. Only tests use the rest, so it is not published.
#[test]
fn the_package_holds_no_tests() {
    const FOLDERS: [&str; 3] = ["docs/", "examples/", "src/"];
    let arguments = ["package", "-p", "fc-hooks", "--list", "--allow-dirty", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let packaged: Vec<&str> = listed.lines().collect();
    let is_published = |path: &str| !path.contains('/') || FOLDERS.iter().any(|folder| path.starts_with(folder));
    let surplus = packaged.iter().filter(|path| !is_published(path)).map(|path| format!("{path} is packaged"));
    // Cargo leaves out a folder that is a package of its own.
    let texts = sources().into_iter().chain(documents()).map(|(path, _)| path);
    let missing = texts
        .filter(|path| !path.starts_with("examples/template/"))
        .filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)) && !packaged.contains(&path.as_str()))
        .map(|path| format!("{path} is not packaged"));
    assert_none(&surplus.chain(missing).collect::<Vec<_>>());
    assert!(packaged.contains(&"docs/contract.md") && packaged.contains(&"examples/hello.rs"), "{packaged:?}");
}

/// All `unsafe` of the server is in one folder, and a comment at each says why it is sound.
#[test]
fn unsafe_is_in_one_place_and_justified() {
    // In two halves, so that this file does not find itself. Unsafe functions are left out: their callers need a
    // comment.
    let kinds = [["unsa", "fe {"], ["unsa", "fe impl"]].map(|halves| halves.concat());
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = without_comment(line);
            if !kinds.iter().any(|kind| code.contains(kind)) {
                continue;
            }
            if path.starts_with("src/") && !path.starts_with("src/server/sys/") {
                faults.push(format!("{path}:{}: unsafe outside src/server/sys/", index + 1));
            }
            let above = lines[..index].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            if !above.into_iter().any(|line| line.contains("SAFETY: ")) {
                faults.push(format!("{path}:{}: unsafe without a SAFETY comment right above", index + 1));
            }
        }
    }
    assert_none(&faults);
}

/// The core takes bytes and times and returns bytes, so that tests can run all of it without a kernel. Only the
/// servers, the job mode and the binary do I/O.
#[test]
fn only_the_shell_touches_the_outside() {
    // run.rs holds `run` and `serve`, which print errors and read the environment.
    const SHELL: [&str; 3] = ["src/job.rs", "src/main.rs", "src/run.rs"];
    const OUTSIDE: [&str; 17] = [
        "fs::",
        "TcpListener",
        "TcpStream",
        "UdpSocket",
        "UnixListener",
        "UnixStream",
        "print!(",
        "println!(",
        "stdin()",
        "stdout()",
        "stderr()",
        "Instant::now",
        "SystemTime::now",
        "rustix::",
        "libc::",
        "process::",
        "thread::",
    ];
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let server = path.starts_with("src/server/") || path.starts_with("src/tiny_http");
        let core = path.starts_with("src/") && !server && !SHELL.contains(&path.as_str());
        if !core || path.ends_with("/tests.rs") {
            continue;
        }
        let untested = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        for (index, line) in untested.lines().enumerate() {
            let code = without_comment(line);
            faults.extend(
                OUTSIDE.iter().filter(|name| code.contains(*name)).map(|name| format!("{path}:{}: {name}", index + 1)),
            );
        }
    }
    assert_none(&faults);
}

/// The server has one thread, always.
#[test]
fn no_thread_is_started() {
    let starts = |(path, text): &(String, String)| {
        path.starts_with("src/") && text.lines().map(without_comment).any(|code| code.contains("thread::"))
    };
    let faults: Vec<String> = sources().into_iter().filter(starts).map(|(path, _)| path).collect();
    assert_none(&faults);
}

/// README.md and the documentation of `Config::from_env` list the settings that there are.
#[test]
fn the_settings_are_documented() {
    let (readme, config) = (read("README.md"), read("src/config.rs"));
    let mut faults = Vec::new();
    for setting in Config::SETTINGS {
        let variables = setting.variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", else ");
        let row = format!("| {variables} | {} | {} |", setting.meaning, setting.default).replace("|  |", "| |");
        if !readme.lines().any(|line| line == row) {
            faults.push(format!("README.md needs this row: {row}"));
        }
        if !config.lines().any(|line| line.trim_start().starts_with(&format!("/// | {variables} |"))) {
            faults.push(format!("the table at Config::from_env needs a row for {variables}"));
        }
    }
    assert_none(&faults);
    let known = |name: &str| Config::SETTINGS.iter().any(|setting| setting.variables.contains(&name));
    let cells = readme.lines().chain(config.lines().map(|line| line.trim_start().trim_start_matches("/// ")));
    let cells = cells.filter_map(|line| line.strip_prefix("| `FC_")).filter_map(|rest| rest.split('`').next());
    let unknown: Vec<String> = cells.map(|name| format!("FC_{name}")).filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "no setting has these variables: {unknown:?}");
}

/// docs/adapter.md lists the settings of the adapter.
#[cfg(feature = "adapter")]
#[test]
fn the_settings_of_the_adapter_are_documented() {
    let (adapter, mut faults) = (read("docs/adapter.md"), Vec::new());
    for row in Settings::ROWS {
        let is_row = |line: &&str| {
            let ends = format!(" | {} | {} |", row.meaning, row.default);
            line.starts_with(&format!("| `{}` | `", row.variable)) && line.ends_with(&ends)
        };
        if adapter.lines().filter(is_row).count() != 1 {
            let end = format!("{} | {} |", row.meaning, row.default);
            faults.push(format!("docs/adapter.md needs this row: | `{}` | … | {end}", row.variable));
        }
    }
    assert_none(&faults);
}

/// The map in ARCHITECTURE.md names every folder of the repository and every folder of `src/`.
#[test]
fn the_map_is_whole() {
    let architecture = read("ARCHITECTURE.md");
    let map = architecture.split("```").nth(1).expect("the map");
    let named: BTreeSet<&str> = map.split_whitespace().filter_map(|word| word.strip_suffix('/')).collect();
    let is_built = |name: &str| name == "target";
    let mut folders = BTreeSet::new();
    for parent in [root(), root().join("src")] {
        let entries = fs::read_dir(parent).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
        folders.extend(entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| !is_built(name)));
    }
    let is_hidden = |name: &str| name.starts_with('.');
    let missing: Vec<_> = folders.iter().filter(|name| !is_hidden(name) && !named.contains(&***name)).collect();
    assert!(missing.is_empty() && folders.len() > 10, "not on the map: {missing:?}");
    for name in named.iter().filter(|name| !["peers", "sys"].contains(name)) {
        assert!(folders.contains(*name), "on the map, but not there: {name}");
    }
}

/// Modules below `src/` import in one direction, so that each can be read after those that it imports. What a module
/// shares with its own folder (`super::`) is not looked at: such files are one thing in several.
#[test]
fn no_imports_in_a_circle() {
    let file = |name: &str, text: &str| (format!("src/{name}.rs"), text.to_owned());
    let planted = [
        file("a/b", "use crate::c::{D, E};"),
        file("c", "use crate::{f, g};\nuse crate::f::mod_of_f;"),
        file("f", "fn x() { crate::a::b::y() } // crate::g"),
        file("g/mod", "use crate::c;"),
        file("h", "use crate::c;"),
        file("i", "// use crate::h;\nuse crate::h;\n#[cfg(test)]\nmod tests { use crate::i; }"),
    ];
    assert_eq!(in_circles(&planted), ["a::b", "c", "f", "g", "h", "i"], "and what imports them");
    assert_eq!(in_circles(&planted[3..]), [""; 0]);
    let sources = sources();
    assert_eq!(in_circles(&sources), [""; 0]);
}

/// The modules that import each other, and those that import such modules.
fn in_circles(sources: &[(String, String)]) -> Vec<String> {
    let module = |path: &str| path.strip_prefix("src/")?.strip_suffix(".rs").map(str::to_owned);
    let files: BTreeMap<String, &str> = sources
        .iter()
        .filter_map(|(path, text)| Some((module(path)?, text.as_str())))
        .filter(|(path, _)| !["lib", "main"].contains(&&**path) && !path.ends_with("tests"))
        .map(|(path, text)| (path.trim_end_matches("/mod").replace('/', "::"), text))
        .collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, text) in &files {
        let untested = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        let code: String = untested.lines().filter(|line| !line.is_empty()).map(without_comment).collect();
        let targets = code.replace("#[cfg(doc)]use crate::", "");
        let targets = targets.split("crate::").skip(1).flat_map(paths).filter_map(|path| {
            // The longest name that the path begins with.
            let is_of = |module: &&String| path == **module || path.starts_with(&format!("{module}::"));
            files.keys().filter(is_of).max_by_key(|module| module.len()).map(String::as_str)
        });
        imports.insert(name, targets.filter(|target| target != name).collect());
    }
    // Takes away what imports nothing that is left, until nothing changes.
    loop {
        let left: BTreeSet<&str> = imports.keys().copied().collect();
        imports.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        if imports.len() == left.len() {
            return left.into_iter().map(str::to_owned).collect();
        }
    }
}

/// The paths that a piece of code begins with: `a::b`, or of `a::{b, c}` both.
fn paths(code: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let path = &code[..code.find(|c| !is_path(c)).unwrap_or(code.len())];
    match code[path.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next()) {
        Some(names) => names.split(',').map(|name| format!("{path}{}", name.trim())).collect(),
        None => vec![path.to_owned()],
    }
}

fn without_comment(line: &str) -> &str {
    match line.find("//") {
        Some(at) if line.trim_start().starts_with("//") || line[..at].ends_with(' ') => &line[..at],
        _ => line,
    }
}

/// Every text that people write code in: its path in the checkout and itself. No recorded data.
fn sources() -> Vec<(String, String)> {
    const ENDINGS: [&str; 5] = [".rs", ".toml", ".sh", ".py", "Dockerfile.scratch"];
    texts(&|name| !name.contains('.') || ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// Every document: its path in the checkout and itself.
fn documents() -> Vec<(String, String)> {
    texts(&|name| name.ends_with(".md"))
}

/// The texts of all folders, so that a new folder cannot be forgotten. Build outputs, the files of git, and the inputs
/// of fuzzers are left out.
fn texts(wanted: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    let (mut texts, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let of_fuzzers =
                ["corpus", "regressions", "artifacts"].iter().any(|name| path.ends_with(Path::new("fuzz").join(name)));
            let left_out = of_fuzzers || name == "target" || name == ".git";
            if path.is_dir() && !path.is_symlink() && !left_out {
                folders.push(path);
            } else if path.is_file() && wanted(name) {
                let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                texts.extend(fs::read_to_string(&path).ok().map(|text| (relative, text)));
            }
        }
    }
    assert!(!texts.is_empty(), "no text was found: the search is broken");
    texts
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
