//! The names that the platform gives stand in `src/platform/` alone: no other file of `src/` spells one, in one piece
//! or put together from several literals. Comments and test modules may.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use std::fs;
use std::path::Path;

/// What the platform names begin with, or what they are. Upper and lower case differ.
const NAMES: [&str; 11] = [
    "FC",
    "ALIBABA_CLOUD",
    "RequestId",
    "Unhandled function error",
    "runtime inited",
    "errorMessage",
    "errorType",
    "/initialize",
    "/pre-freeze",
    "/pre-stop",
    "/invoke",
];

/// Parts of the names of headers, in any case. The name of this package is none.
const HEADER_PARTS: [&str; 2] = ["-fc", "fc-"];
const PACKAGE: &str = "fc-hooks";

#[test]
fn only_the_platform_module_spells_them() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for (path, text) in sources() {
        let names = names_in(&text);
        if path.starts_with("src/platform/") {
            continue;
        }
        checked += 1;
        faults.extend(names.into_iter().map(|name| format!("{path}: {name}")));
    }
    assert!(checked > 30, "only {checked} files were found: the search is broken");
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The search finds a name wherever code could hide one, and nowhere else.
#[test]
fn the_search_finds_what_is_planted() {
    let planted = [
        r#"const A: &str = "x-fc-status";"#,
        r#"const A: &str = "X-Fc-Status";"#,
        r#"const A: &[u8] = b"\r\nx-fc-status: 200";"#,
        r##"const A: &str = r#"x-fc-status"#;"##,
        r###"const A: &[u8] = br##"x-fc-status"##;"###,
        r#"const A: &str = "x-\u{66}c-status";"#,
        r#"const A: &str = "\x78\x2dfc\x2dstatus";"#,
        "const A: &str = \"x-f\\\n    c-status\";",
        r#"const A: &str = concat!("x-", "fc", "-status");"#,
        r#"const A: &str = concat!("x-f", /* "hooks" */ "c-", "status");"#,
        r#"fn a() -> String { ["x", "-f", "c-", "a"].concat() }"#,
        r#"fn a() -> String { format!("{}-fc-{}", "x", "a") }"#,
        "fn a() -> [char; 5] { ['x', '-', 'f', 'c', '-'] }",
        "fn a() -> [u8; 5] { [b'x', b'-', b'f', b'c', b'-'] }",
        r#"#[doc = "x-fc-status"] fn a() {}"#,
        r#"const A: &str = "FC_HOOKS_LISTEN";"#,
        r#"const A: &str = concat!("F", "C_HOOKS_LISTEN");"#,
        "const A: &str = stringify!(FC_HOOKS_LISTEN);",
        r#"const A: &str = env!("FC_REGION");"#,
        r#"const A: &str = "FC Invoke Start RequestId: ";"#,
        r#"const A: [&str; 2] = ["F", "C Invoke"];"#,
        r#"const A: &str = " RequestId: ";"#,
        r#"const A: &str = ", Error: Unhandled function error";"#,
        r#"const A: &str = "runtime inited.";"#,
        r#"const A: &str = "/pre-stop";"#,
        r#"const A: &str = concat!("/", "pre-", "freeze");"#,
        r#"const A: &str = "{\"errorMessage\":\"";"#,
        "const QUOTE: char = '\"'; const A: &str = \"x-fc-\"; const END: char = '\"';",
        "fn a<'x>(_: &'x str) -> &'x str { \"x-fc-\" }",
        "#[cfg(test)]\nmod tests {\n    const A: u8 = 0;\n}\nconst B: &str = \"x-fc-\";",
    ];
    let harmless = [
        "// \"x-fc-status\" and FC_HOOKS_LISTEN",
        "/// FC Invoke Start RequestId: \nconst A: u8 = 0;",
        "/* \"FC_A\" /* nested */ \"x-fc-\" */ const A: u8 = 0;",
        "const A: &str = \"// not a comment\"; // \"x-fc-status\"",
        r#"const A: &str = "fc-hooks: cannot listen";"#,
        r#"use fc_hooks::Config; const A: &str = "prefix-first";"#,
        "#[cfg(test)]\nmod tests {\n    const A: &str = \"x-fc-status\";\n}\n",
    ];
    let (path, host) = sources().into_iter().find(|(path, _)| path == "src/job.rs").expect("a file to plant in");
    assert_eq!(names_in(&host), [""; 0], "{path}");
    for code in planted {
        assert!(!names_in(code).is_empty(), "not found: {code}");
        // In front of everything else, so that the file's own literals and test module cannot hide it.
        assert!(!names_in(&format!("{code}\n{host}")).is_empty(), "not found in {path}: {code}");
    }
    for code in harmless {
        assert_eq!(names_in(code), [""; 0], "{code}");
    }
}

/// The names that a source text spells, each with the text around it.
fn names_in(source: &str) -> Vec<String> {
    let (code, literals) = split(without_tests(source));
    let whole: String = literals.iter().map(|literal| without_placeholders(literal)).collect();
    let mut names = Vec::new();
    for text in literals.iter().chain([&whole, &code]) {
        let found = NAMES.iter().filter_map(|name| text.find(name)).map(|at| around(text, at));
        names.extend(found);
    }
    // Code subtracts: `x - fc` is no header.
    for text in literals.iter().chain([&whole]) {
        let text = text.to_ascii_lowercase().replace(PACKAGE, "");
        names.extend(HEADER_PARTS.iter().filter_map(|part| text.find(part)).map(|at| around(&text, at)));
    }
    names
}

fn around(text: &str, at: usize) -> String {
    let from = text[..at].char_indices().rev().nth(10).map_or(0, |(index, _)| index);
    text[from..].chars().take(40).collect()
}

/// Without the test module, if it is the last item: what stands behind it is no test.
fn without_tests(source: &str) -> &str {
    let Some(at) = source.find("#[cfg(test)]\nmod tests {") else { return source };
    let ends = source[at..].find("\n}\n").map(|end| at + end + 3);
    if ends == Some(source.len()) { &source[..at] } else { source }
}

/// `{}`, `{0}` and `{name}` put other texts in their places.
fn without_placeholders(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        rest = match behind.split_once('}') {
            Some((inside, after)) if inside.len() < 40 && !inside.contains('{') => after,
            _ => behind,
        };
    }
    text + rest
}

/// Code without comments and literals, and the literals with their escapes resolved.
fn split(source: &str) -> (String, Vec<String>) {
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest);
        } else if first == '"' {
            let (literal, behind) = if let Some(end) = raw_end(&code) {
                rest[1..].split_once(&*end).map(|(literal, behind)| (literal.to_owned(), behind)).expect("a raw string")
            } else {
                unescaped(&rest[1..], '"')
            };
            literals.push(literal);
            rest = behind;
        } else if first == '\'' && is_char_literal(rest) {
            let (literal, behind) = unescaped(&rest[1..], '\'');
            literals.push(literal);
            rest = behind;
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (code, literals)
}

/// Behind a comment with comments in it.
fn behind_comment(mut rest: &str) -> &str {
    let mut depth = 0;
    loop {
        rest = if let Some(inside) = rest.strip_prefix("/*") {
            depth += 1;
            inside
        } else if let Some(behind) = rest.strip_prefix("*/") {
            depth -= 1;
            behind
        } else {
            rest.char_indices().nth(1).map_or("", |(at, _)| &rest[at..])
        };
        if depth == 0 || rest.is_empty() {
            return rest;
        }
    }
}

/// What ends a raw string that begins behind this code; none if no raw string begins there.
fn raw_end(code: &str) -> Option<String> {
    let before = code.trim_end_matches('#');
    let prefix = ["br", "cr", "r"].iter().find_map(|prefix| before.strip_suffix(prefix))?;
    let is_word = prefix.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    (!is_word).then(|| format!("\"{}", "#".repeat(code.len() - before.len())))
}

/// A lifetime has no second quote right behind its first character.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// A literal up to its closing quote, with its escapes resolved, and what stands behind it.
fn unescaped(text: &str, quote: char) -> (String, &str) {
    let mut literal = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next().filter(|next| *next != quote) {
        if next != '\\' {
            literal.push(next);
            continue;
        }
        let code = match chars.next().expect("an escape") {
            'x' => chars.by_ref().take(2).collect(),
            'u' => chars.by_ref().skip(1).take_while(|digit| *digit != '}').collect(),
            '\n' => {
                let behind = chars.as_str().trim_start();
                chars = behind.chars();
                continue;
            }
            other => {
                literal.push(if other.is_alphanumeric() { ' ' } else { other });
                continue;
            }
        };
        let code: String = code;
        literal.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).expect("a character"));
    }
    (literal, chars.as_str())
}

/// Every source of the library and the binary but for files of tests: its path in the checkout and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}
