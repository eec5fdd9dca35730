//! The rules in `docs/contract.md`: whatever cites one names a rule that is there, and each rule that binds a server is
//! cited by a test or by a check of the emulator, or is listed as untested with the reason.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CONTRACT: &str = "docs/contract.md";
/// The section whose table lists the rules without a test.
const UNTESTED: &str = "## Rules without a test";
/// It cites rules that do not exist, as this file does; so neither is searched.
const OWN_FILE: &str = "tests/contract_rules.rs";
/// Cited on purpose although no such rule exists: the emulator must refuse the name.
const NO_RULE: &str = "C-NONE-9";

#[test]
fn every_cited_rule_exists_and_every_binding_rule_is_tested() {
    let files = tracked_files();
    let citations: usize = files.iter().map(|(_, text)| citations(text).len()).sum();
    assert!(citations > 200, "only {citations} citations were found: the search is broken");
    let faults = faults(&read(CONTRACT), &files);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// One rule of the contract.
struct Rule {
    line: usize,
    binds: bool,
}

/// What is wrong, one line each: the rule, the file, and what to do about it.
fn faults(contract: &str, files: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let rules = rules(contract, &mut faults);
    let untested = untested(contract, &mut faults);
    let mut tested: BTreeMap<&str, String> = BTreeMap::new();
    for (path, text) in files {
        let proof_from = proof_from(path, text);
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            if let Some(short) = short_form(line) {
                faults.push(format!("{place}: `{short}` hides a rule from a search: write each rule out in full"));
            }
            for rule in citations(line).into_iter().filter(|rule| *rule != NO_RULE) {
                if !rules.contains_key(rule) {
                    faults.push(format!("{rule}, cited in {place}, is not in {CONTRACT}: correct it, or add the rule"));
                } else if proof_from.is_some_and(|from| index >= from) {
                    tested.entry(rule).or_insert_with(|| place.clone());
                }
            }
        }
    }
    for (rule, Rule { line, binds }) in &rules {
        match (tested.get(rule.as_str()), untested.get(rule)) {
            (None, None) if *binds => faults.push(format!(
                "{rule} binds a server ({CONTRACT}:{line}), but no test and no check cites it: name it in the doc \
                 comment of the test that proves it, or list it under \"{UNTESTED}\" with the reason"
            )),
            (Some(test), Some(row)) => {
                faults
                    .push(format!("{rule} is listed as untested ({CONTRACT}:{row}), but {test} cites it: remove one"));
            }
            (None, Some(row)) if !*binds => {
                faults.push(format!("{rule} is listed as untested ({CONTRACT}:{row}), but binds no server: remove it"));
            }
            _ => {}
        }
    }
    for (rule, row) in untested.iter().filter(|(rule, _)| !rules.contains_key(*rule)) {
        faults.push(format!("{rule} is listed as untested ({CONTRACT}:{row}), but there is no such rule: remove it"));
    }
    faults
}

/// The rules by their names. A rule is stated where its name stands in bold, followed by its confidence and, if a
/// server can break it, by the word `binds`.
fn rules(contract: &str, faults: &mut Vec<String>) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    for (index, line) in contract.lines().enumerate() {
        let line_number = index + 1;
        let stated = line.trim_start_matches(['-', '|', ' ']).strip_prefix("**C-");
        let Some((heading, _)) = stated.and_then(|rest| rest.split_once("**")) else { continue };
        let (name, about) = heading.split_once(' ').unwrap_or((heading, ""));
        let (confidence, binds) = match about.trim_end_matches('.').split_once(", ") {
            None => (about.trim_end_matches('.'), false),
            Some((confidence, "binds")) => (confidence, true),
            Some((_, word)) => {
                faults.push(format!("C-{name} ({CONTRACT}:{line_number}): `{word}` should be `binds`, or nothing"));
                continue;
            }
        };
        if confidence.is_empty()
            || !confidence.split('/').all(|letter| ["D", "X", "C", "F", "I", "M"].contains(&letter))
        {
            faults.push(format!("C-{name} ({CONTRACT}:{line_number}): `{confidence}` is not a confidence"));
        }
        if let Some(Rule { line, .. }) = rules.insert(format!("C-{name}"), Rule { line: line_number, binds }) {
            faults.push(format!("C-{name} is stated twice ({CONTRACT}:{line} and {line_number}): renumber one"));
        }
    }
    rules
}

/// The rows of the table of rules without a test: each rule with its line.
fn untested(contract: &str, faults: &mut Vec<String>) -> BTreeMap<String, usize> {
    let lines = contract.lines().enumerate().skip_while(|(_, line)| *line != UNTESTED).skip(1);
    let mut untested = BTreeMap::new();
    for (index, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let Some(rule) = cells.next().filter(|cell| cell.starts_with("C-")) else { continue };
        if cells.next().is_none_or(|reason| reason.len() < 20) {
            faults.push(format!("{rule} is listed as untested ({CONTRACT}:{}) without a reason: give one", index + 1));
        }
        untested.insert(rule.to_owned(), index + 1);
    }
    untested
}

/// From which line on a citation in this file is a proof. A test file proves as a whole, and so does a check; a source
/// file from its test module on. Helpers, subjects and documents prove nothing.
fn proof_from(path: &str, text: &str) -> Option<usize> {
    let test_module = text.lines().position(|line| line.trim() == "#[cfg(test)]");
    match path {
        _ if !path.ends_with(".rs") => None,
        _ if path.contains("/src/check/") => Some(0),
        _ if path.starts_with("tests/") || path.starts_with("src/") && path.contains("/tests") => {
            text.contains("#[test]").then_some(0)
        }
        _ if path.starts_with("src/") => test_module,
        _ => None,
    }
}

/// The rules that a text names, in order.
fn citations(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("C-") {
        let rest = &text[at..];
        let family = rest[2..].bytes().take_while(u8::is_ascii_uppercase).count();
        let number = rest[2 + family..].strip_prefix('-').unwrap_or_default();
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let follows_a_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        if family > 0 && digits > 0 && !follows_a_word {
            found.push(&rest[..2 + family + 1 + digits]);
        }
    }
    found
}

/// A list or a range of rules in which one is named by its number alone.
fn short_form(line: &str) -> Option<&str> {
    let cited = citations(line).into_iter();
    let mut from = 0;
    for rule in cited {
        let at = from + line[from..].find(rule)?;
        from = at + rule.len();
        let rest = line[from..].trim_start_matches([' ', 'D', 'X', 'C', 'F', 'I', 'M']);
        for separator in [", -", "/-", "to -", "and -", "or -", "..", "–"] {
            let number = rest.strip_prefix(separator).unwrap_or_default();
            if number.starts_with(|c: char| c.is_ascii_digit()) {
                let end = line.len() - number.len() + 1;
                return Some(&line[at..end]);
            }
        }
    }
    None
}

/// Every text file of the repository with its path, apart from the contract itself and this file; not what was built,
/// nor what fuzzers found.
fn tracked_files() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    let relative = |path: &Path| path.strip_prefix(root()).expect("below the root").to_str().expect("text").to_owned();
    let files = paths.iter().map(|path| (relative(path), path));
    let files = files.filter(|(path, _)| path != OWN_FILE);
    files.filter_map(|(path, file)| Some((path, fs::read_to_string(file).ok()?))).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let found = ["corpus", "regressions", "artifacts"].contains(&name) && folder.ends_with("fuzz");
        if path.is_symlink() || name == "target" || name == ".git" || found {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The search itself finds each kind of fault, and nothing in a tree without one.
#[test]
fn each_kind_of_fault_is_found() {
    const SOUND: &str = "- **C-AB-1 D, binds.** One.\n- **C-AB-2 X/F.** Two.\n| **C-CD-3 I, binds** | three |\n\
                         ## Rules without a test\n| rule | reason |\n|---|---|\n\
                         | C-CD-3 | No kernel can be asked for it. |\n";
    const TEST: &str = "/// C-AB-1: it holds.\n#[test]\nfn holds() {}\n";
    let check = |contract: &str, path: &str, text: &str| faults(contract, &[(path.to_owned(), text.to_owned())]);
    assert_eq!(check(SOUND, "tests/a.rs", TEST), [""; 0]);
    let in_source = format!("/// C-AB-2\nfn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n{TEST}}}\n");
    assert_eq!(check(SOUND, "src/a.rs", &in_source), [""; 0]);
    assert_eq!(check(SOUND, "emulator/src/check/a.rs", "rule: \"C-AB-1\","), [""; 0]);

    let unproven = "C-AB-1 binds a server (docs/contract.md:1), but no test and no check cites it";
    let cases: [(&str, &str, String, &str); 12] = [
        (SOUND, "src/a.rs", "/// C-AB-1".into(), unproven),
        (SOUND, "tests/support/a.rs", "/// C-AB-1".into(), unproven),
        (SOUND, "README.md", "C-AB-1".into(), unproven),
        (SOUND, "tests/a.rs", format!("{TEST}// C-AB-4"), "C-AB-4, cited in tests/a.rs:4, is not in docs/contract.md"),
        (SOUND, "tests/a.rs", format!("{TEST}// C-CD-3"), "(docs/contract.md:7), but tests/a.rs:4 cites it"),
        (SOUND, "tests/a.rs", format!("{TEST}// C-AB-1, -2"), "tests/a.rs:4: `C-AB-1, -2` hides a rule"),
        (SOUND, "tests/a.rs", format!("{TEST}// C-AB-1 D, -2 X"), "`C-AB-1 D, -2` hides a rule"),
        (SOUND, "tests/a.rs", format!("{TEST}// C-AB-1 to -2"), "`C-AB-1 to -2` hides a rule"),
        ("- **C-AB-1 D.** One.\n- **C-AB-1 D.** Two.\n", "a", String::new(), "C-AB-1 is stated twice"),
        ("- **C-AB-1 Z.** One.\n", "a", String::new(), "`Z` is not a confidence"),
        ("- **C-AB-1 D, bind.** One.\n", "a", String::new(), "`bind` should be `binds`"),
        ("## Rules without a test\n| C-AB-9 | It is too far away. |\n", "a", String::new(), "there is no such rule"),
    ];
    for (contract, path, text, expected) in cases {
        let found = check(contract, path, &text);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{path}: {text}: {found:?}");
    }
    let rows = "- **C-AB-1 D.** One.\n- **C-AB-2 D, binds.** Two.\n## Rules without a test\n\
                | C-AB-1 | It binds nobody, and has a row. |\n| C-AB-2 | no |\n";
    let found = check(rows, "a", "").join("\n");
    assert!(found.contains("C-AB-1 is listed as untested (docs/contract.md:4), but binds no server"), "{found}");
    assert!(found.contains("C-AB-2 is listed as untested (docs/contract.md:5) without a reason"), "{found}");
}

/// What looks like a rule and is none is not taken for one.
#[test]
fn citations_are_whole_names() {
    let text = "(C-INV-1) FC-INV-2 ABC-INV-3 C-INV C-inv-4 C-5 C-INV- C-INV-10, C-LIM-6: x-C-INV-7";
    assert_eq!(citations(text), ["C-INV-1", "C-INV-10", "C-LIM-6"]);
    assert_eq!(short_form("C-INV-1, C-INV-2 and 3 to -4"), None);
}
