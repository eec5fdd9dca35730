//! A mistake in a table is a compile error with a readable message, and a table without one compiles.
//!
//! Each case is a binary of one generated package, checked by one run of cargo, so that dependencies are built once.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Name of the case, type of the state, table, and the message of the compile error; empty if the table compiles. A
/// table that begins with a dot is a chain of the builder's methods.
type Case = (&'static str, &'static str, &'static str, &'static str);

const SAME_CALL: &str = "fc-hooks: two routes have the same method and path";
const SAME_HOOK: &str = "fc-hooks: the table has the same hook twice: row 2, hook /initialize";
const HOOKS_PATH: &str = "fc-hooks: the path belongs to a hook; only the hook's own constructor in Route can serve it";
const NO_PATH: &str = "fc-hooks: the path holds a blank, '?', '#', a control character or a character beyond ASCII";
const NO_METHOD: &str = "fc-hooks: invalid HTTP method; ";

/// The number of rustc's error that a closure with variables is no function. rustc may change its words.
const NO_CLOSURE: &str = "error[E0308]";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Every kind of row, and every pair that is allowed. Without these, cases could fail for another reason.
    ("good_every_row", "()", "[
        Route::initialize(hook), Route::pre_freeze(hook), Route::pre_stop(hook), Route::on_thaw(|_, _, _| Ok(())),
        Route::invoke(call), Route::get(\"/a\", call), Route::post(\"/a\", call), Route::on(\"BREW-IT\", \"/a\", call),
        Route::any(\"/b\", call), Route::prefix(\"/a\", call), Route::prefix(\"/\", call), Route::fallback(call)
    ]", ""),
    ("good_health_path", "()", "[Route::get(\"/a\", call)]).health_path(\"/health\"", ""),
    ("good_state_is_not_send", "std::rc::Rc<std::cell::Cell<u8>>", "[Route::invoke(call)]", ""),
    ("good_closure", "()", "[Route::initialize(|_, _| Ok(().into()))]", ""),

    ("good_options", "u8", "[
        Route::invoke(|served, _, _| Ok(served.to_string().into())), Route::health_path(\"/health\"),
        Route::require_control_path(), Route::show_errors(), Route::observe_hooks(|_, _, _, _| {}),
        Route::caller_clock(\"x-start\", fc_hooks::TimeFormat::UnixMillis)
    ]", ""),
    ("good_builder", "u8", ".initialize(hook).on(\"BREW-IT\", \"/a\", call).prefix(\"/\", call).fallback(call)", ""),

    ("initialize_twice", "()", "[Route::initialize(hook), Route::initialize(hook)]", SAME_HOOK),
    ("builder_initialize_twice", "()", ".initialize(hook).initialize(hook)", SAME_HOOK),
    ("builder_same_call_twice", "()", ".get(\"/a\", call).post(\"/a\", call).get(\"/a\", call)",
        "fc-hooks: two routes have the same method and path: row 3, GET /a"),
    ("builder_path", "()", ".fallback(call).prefix(\"orders/\", call)",
        "fc-hooks: the path does not begin with '/': row 2, prefix orders/"),
    ("builder_health_on_a_route", "()", ".health_path(\"/a\").get(\"/a\", call)",
        "fc-hooks: a route of the table has the health check's path: row 2, GET /a"),
    ("option_twice", "()", "[Route::show_errors(), Route::invoke(call), Route::show_errors()]",
        "fc-hooks: the table has the same option twice: row 3, show_errors"),
    ("pre_freeze_twice", "()", "[Route::pre_freeze(hook), Route::invoke(call), Route::pre_freeze(hook)]",
        "fc-hooks: the table has the same hook twice"),
    ("pre_stop_twice", "()", "[Route::pre_stop(hook), Route::pre_stop(hook)]",
        "fc-hooks: the table has the same hook twice"),
    ("on_thaw_twice", "()", "[Route::on_thaw(|_, _, _| Ok(())), Route::on_thaw(|_, _, _| Ok(()))]",
        "fc-hooks: the table has on_thaw twice"),
    ("invoke_twice", "()", "[Route::invoke(call), Route::invoke(call)]", "fc-hooks: the table has invoke twice"),
    ("two_fallbacks", "()", "[Route::fallback(call), Route::fallback(call)]", "fc-hooks: the table has two fallbacks"),
    ("two_prefixes", "()", "[Route::prefix(\"/a/\", call), Route::get(\"/a\", call), Route::prefix(\"/a/\", call)]",
        "fc-hooks: two routes have the same prefix"),

    ("same_call_twice", "()", "[Route::get(\"/a\", call), Route::get(\"/a\", call)]", SAME_CALL),
    ("same_call_far_apart", "()",
        "[Route::put(\"/a\", call), Route::get(\"/b\", call), Route::on(\"PUT\", \"/a\", call)]", SAME_CALL),
    ("any_over_a_method", "()", "[Route::delete(\"/a\", call), Route::any(\"/a\", call)]", SAME_CALL),

    ("path_without_slash", "()", "[Route::get(\"orders\", call)]", "fc-hooks: the path does not begin with '/'"),
    ("prefix_without_slash", "()", "[Route::prefix(\"orders/\", call)]",
        "fc-hooks: the path does not begin with '/'"),
    ("empty_path", "()", "[Route::get(\"\", call)]", "fc-hooks: the path is empty"),
    ("query_in_path", "()", "[Route::get(\"/a?b\", call)]", NO_PATH),
    ("fragment_in_path", "()", "[Route::get(\"/a#b\", call)]", NO_PATH),
    ("blank_in_path", "()", "[Route::get(\"/a b\", call)]", NO_PATH),
    ("letter_in_path", "()", "[Route::get(\"/ä\", call)]", NO_PATH),

    ("on_initialize", "()", "[Route::post(\"/initialize\", call)]", HOOKS_PATH),
    ("on_pre_freeze", "()", "[Route::any(\"/pre-freeze\", call)]", HOOKS_PATH),
    ("on_pre_stop", "()", "[Route::get(\"/pre-stop\", call)]", HOOKS_PATH),
    ("on_invoke", "()", "[Route::post(\"/invoke\", call)]",
        "fc-hooks: the path belongs to events; only Route::invoke can serve it"),

    ("blank_in_method", "()", "[Route::on(\"GET IT\", \"/a\", call)]", NO_METHOD),
    ("line_in_method", "()", "[Route::on(\"GET\\r\\n\", \"/a\", call)]", NO_METHOD),

    ("health_on_a_route", "()", "[Route::get(\"/a\", call)]).health_path(\"/a\"",
        "fc-hooks: a route of the table has the health check's path"),
    ("health_on_a_hook", "()", "[Route::get(\"/a\", call)]).health_path(\"/pre-stop\"", HOOKS_PATH),
    ("health_without_slash", "()", "[Route::get(\"/a\", call)]).health_path(\"health\"",
        "fc-hooks: the path does not begin with '/'"),

    ("hook_captures", "()", "[Route::initialize({ let seen = 1; move |_, _| Ok(seen.to_string().into()) })]",
        NO_CLOSURE),
    ("call_captures", "()", "[Route::invoke({ let seen = [1]; move |_, _, _| Ok(seen[..].to_vec().into()) })]",
        NO_CLOSURE),
];

/// `hook` and `call` are generic, so that a case can have any state.
fn source((_, state, table, _): &Case) -> String {
    let app = match table.strip_prefix('.') {
        Some(chain) => format!("App::<{state}>::builder().{chain}.build()"),
        None => format!("App::new(&{table})"),
    };
    format!(
        "#![allow(dead_code, unused_imports)]\n\
         use fc_hooks::{{App, Context, Request, Result, Route}};\n\
         fn hook<S>(_: &mut S, _: &Context<'_>) -> Result {{ Ok(().into()) }}\n\
         fn call<S>(_: &mut S, _: &Context<'_>, _: &Request<'_>) -> Result {{ Ok(().into()) }}\n\
         static APP: App<{state}> = {app};\n\
         fn main() {{ let _ = &APP; }}\n"
    )
}

#[test]
fn mistakes_in_tables_do_not_compile() {
    let package = generate();
    let found = check(&package);
    for (name, _, _, expected) in CASES {
        let errors = found.get(*name).map(Vec::as_slice).unwrap_or_default();
        if expected.is_empty() {
            assert!(errors.is_empty(), "{name} should compile:\n{}", errors.concat());
        } else {
            let all = errors.concat();
            assert!(all.contains(expected), "{name} should fail with '{expected}', but:\n{all}");
            assert_eq!(errors.len(), 1, "{name} has other errors too:\n{all}");
        }
    }
}

/// Writes the package, and returns its folder.
fn generate() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    let source_folder = folder.join("src");
    // A case that was renamed must not linger.
    let _ = fs::remove_dir_all(&source_folder);
    fs::create_dir_all(&source_folder).unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifest = format!(
        "[package]\nname = \"compile-fail\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nfc-hooks = {{ path = {checkout:?}, default-features = false }}\n"
    );
    for case in CASES {
        let file = source_folder.join(case.0).with_extension("rs");
        fs::write(&file, source(case)).unwrap();
        writeln!(manifest, "[[bin]]\nname = \"{}\"\npath = {file:?}", case.0).unwrap();
    }
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The same versions as those of the library, because this machine has them already.
    fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Checks every binary, and returns the errors of each. Fails if cargo did not check one.
fn check(package: &Path) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--bins", "--message-format=json", "--quiet"])
        .current_dir(package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let Some(name) = message["target"]["name"].as_str() else { continue };
        let errors = found.entry(name.to_owned()).or_default();
        // The last error of rustc has no place: it counts the others.
        let rustc = &message["message"];
        if rustc["level"] == "error" && rustc["spans"].as_array().is_some_and(|spans| !spans.is_empty()) {
            errors.push(rustc["rendered"].as_str().unwrap().to_owned());
        }
    }
    for (name, ..) in CASES {
        assert!(found.contains_key(*name), "{name} was not checked: {}", String::from_utf8_lossy(&output.stderr));
    }
    found
}
