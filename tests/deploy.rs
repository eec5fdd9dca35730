//! The manifests of `deploy/`: a platform calls only the hooks that a manifest has, so each has those of its function.
//!
//! `make manifests` validates the files by the schemas of their platforms. This compares them with the programs.

#![cfg(all(target_os = "linux", not(fc_hooks_poll)))]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use support::process::Setup;

const BINARY: &str = env!("CARGO_BIN_EXE_fc-hooks");

/// The hooks that a manifest can name. FC 3.0 and the other platforms have no pre-freeze.
const NAMED: [&str; 2] = ["initialize", "pre-stop"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

/// The text without comments: what the platform reads.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once('#') {
        Some((before, _)) if before.is_empty() || before.ends_with(' ') => before.trim_end(),
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines below a line, as far as they are indented more.
fn block(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| line.trim_start() != key);
    let first = lines.next()?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let inner = lines.take_while(|line| line.trim().is_empty() || indent(line) > indent(first));
    Some(inner.collect::<Vec<_>>().join("\n"))
}

/// The hooks that a manifest asks its platform to call.
fn hooks_of(name: &str, text: &str) -> BTreeSet<&'static str> {
    let text = code(text);
    let within = |key: &str| block(&text, key).unwrap_or_default();
    let has = |found: bool, hook: &'static str| found.then_some(hook);
    let found = match name {
        "s.yaml" => {
            let hooks = within("instanceLifecycleConfig:");
            let on = |key: &str| block(&hooks, key).is_some_and(|fields| fields.contains("handler: "));
            [has(on("initializer:"), "initialize"), has(on("preStop:"), "pre-stop")]
        }
        "function.tf" => {
            let hooks = within("instance_lifecycle_config {");
            let on = |key: &str| block(&hooks, key).is_some_and(|fields| fields.contains("handler = \""));
            [has(on("initializer {"), "initialize"), has(on("pre_stop {"), "pre-stop")]
        }
        "kubernetes.yaml" => {
            let stop = within("preStop:");
            [
                has(within("startupProbe:").contains("call, initialize"), "initialize"),
                has(stop.contains("path: /pre-stop") || stop.contains("call, pre-stop"), "pre-stop"),
            ]
        }
        // SIGTERM, which these always send, runs pre-stop.
        "stack.yaml" => {
            let time = text.contains("stop_grace_period: ");
            [has(within("healthcheck:").contains("call, initialize"), "initialize"), has(time, "pre-stop")]
        }
        "knative.yaml" => [has(text.contains("call, initialize"), "initialize"), Some("pre-stop")],
        _ => panic!("{name}"),
    };
    found.into_iter().flatten().collect()
}

/// Whether all outside callers are kept away from the hooks.
fn guards_hooks(text: &str) -> bool {
    code(text).contains("FC_HOOKS_HOOKS_FROM")
}

const MANIFESTS: [&str; 5] = ["s.yaml", "function.tf", "kubernetes.yaml", "knative.yaml", "stack.yaml"];

#[test]
fn manifests_of_the_inspector_have_the_hooks_of_the_binary() {
    let server = Setup::program(BINARY).start();
    // A call of a hook that the table does not have is answered with 404.
    let own = NAMED.into_iter().filter(|hook| {
        let method = if *hook == "initialize" { "POST" } else { "GET" };
        server.connect().call(method, &format!("/{hook}"), &[("x-fc-control-path", &format!("/{hook}"))], b"").status
            == 200
    });
    let own: BTreeSet<&str> = own.collect();
    assert_eq!(own, set(NAMED), "the inspector has both");
    for name in MANIFESTS {
        let text = read(&format!("deploy/inspector/{name}"));
        // Nothing in a pod of Knative can call the Initializer without letting strangers do it, too.
        let expected = if name == "knative.yaml" { set(["pre-stop"]) } else { own.clone() };
        assert_eq!(hooks_of(name, &text), expected, "inspector/{name}");
        let on_fc = matches!(name, "s.yaml" | "function.tf");
        assert_eq!(guards_hooks(&text), !on_fc, "inspector/{name}: only FC has a control path");
    }
}

/// The variables FC_HOOKS_… of a text, in the forms of YAML, HCL and a Dockerfile.
fn variables(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in code(text).lines() {
        let Some(at) = line.find("FC_HOOKS_") else { continue };
        let name: String = line[at..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let rest = line[at + name.len()..].trim_start_matches([',', ' ', ':', '=']);
        let rest = rest.strip_prefix("value:").unwrap_or(rest);
        let value = rest.trim_end_matches('\\').trim().trim_end_matches('}').trim_matches('"');
        found.insert(name, value.to_owned());
    }
    found
}

#[test]
fn manifests_of_the_adapter_have_the_hooks_of_its_example() {
    let image = variables(&read("examples/adapter/node/Dockerfile"));
    assert_eq!(image.len(), 5, "{image:?}");
    for name in MANIFESTS {
        let text = read(&format!("deploy/adapter/{name}"));
        let mut own = variables(&text);
        assert_eq!(guards_hooks(&text), !matches!(name, "s.yaml" | "function.tf"), "adapter/{name}");
        own.retain(|variable, _| image.contains_key(variable));
        let hooks = [("FC_HOOKS_INITIALIZE", "initialize"), ("FC_HOOKS_PRE_STOP", "pre-stop")];
        let on = |settings: &BTreeMap<String, String>| {
            set(hooks.into_iter().filter(|(variable, _)| settings.contains_key(*variable)).map(|(_, hook)| hook))
        };
        if matches!(name, "s.yaml" | "function.tf") {
            // A function on FC cannot set names that begin with FC_ (ENV): there the variables of the image count.
            assert_eq!(own.len(), 0, "adapter/{name}: {own:?}");
            assert_eq!(hooks_of(name, &text), on(&image), "adapter/{name}");
            continue;
        }
        let mut expected = image.clone();
        if name == "knative.yaml" {
            expected.remove("FC_HOOKS_INITIALIZE");
        }
        assert_eq!(own, expected, "adapter/{name}: the settings are those of the image");
        assert_eq!(hooks_of(name, &text), on(&own), "adapter/{name}");
        assert!(text.contains("/fc-hooks"), "adapter/{name} starts the adapter");
    }
}

#[test]
fn the_manifest_of_the_template_has_the_hooks_of_its_table() {
    let source = read("examples/template/src/main.rs");
    let routes = [(".initialize(", "initialize"), (".pre_stop(", "pre-stop")];
    let table = routes.into_iter().filter(|(route, _)| source.contains(route)).map(|(_, hook)| hook);
    let table: BTreeSet<&str> = table.collect();
    assert!(!table.is_empty(), "the template has hooks");
    assert_eq!(hooks_of("s.yaml", &read("examples/template/s.yaml")), table);
}

/// A hook that is taken out of a manifest, or commented out, is not found in it.
#[test]
fn a_missing_hook_is_found() {
    for (name, hook, gone) in [
        ("s.yaml", "pre-stop", "        preStop:\n"),
        ("s.yaml", "initialize", "          handler: initialize # any text switches the hook on\n"),
        ("function.tf", "pre-stop", "    pre_stop {\n"),
        (
            "kubernetes.yaml",
            "initialize",
            "            exec: {command: [/function, call, initialize, --timeout, 10s]}\n",
        ),
        ("kubernetes.yaml", "pre-stop", "              httpGet: {path: /pre-stop, port: http}\n"),
        ("stack.yaml", "initialize", "      test: [CMD, /function, call, initialize]\n"),
    ] {
        let text = read(&format!("deploy/inspector/{name}"));
        assert!(text.contains(gone), "{name}: {gone}");
        let hooks = hooks_of(name, &text.replace(gone, &format!("# {}", gone.trim_start())));
        assert!(!hooks.contains(hook), "{name}: {hooks:?}");
    }
}

/// The binary with the settings of a manifest: its hooks are called as that platform does, and its health is asked for.
#[test]
fn hooks_run_once_as_each_platform_calls_them() {
    for (name, open) in [("kubernetes.yaml", true), ("knative.yaml", false), ("stack.yaml", true)] {
        let mut settings = variables(&read(&format!("deploy/inspector/{name}")));
        settings.remove("FC_HOOKS_LISTEN");
        let mut setup = Setup::program(BINARY);
        for (variable, value) in &settings {
            setup = setup.env(variable, value.replace("$(NODE_ADDRESS)", "192.0.2.2"));
        }
        let server = setup.start();
        let health = &settings["FC_HOOKS_HEALTH_PATH"];
        assert_eq!(server.connect().get(health).status, 200, "{name}");
        let port = server.tcp().port().to_string();
        // The command of a probe, twice: the second gets the stored answer.
        for _ in 0..2 {
            let output =
                Command::new(BINARY).args(["call", "initialize", "--timeout", "10s", "--port", &port]).output();
            assert_eq!(output.expect("it starts").status.success(), open, "{name}");
        }
        let life = server.connect().get("/").json();
        let initialized = life["lifecycle"]["initialized"].as_u64();
        assert_eq!(initialized, Some(u64::from(open)), "{name}: {life}");
        if name == "kubernetes.yaml" {
            assert_eq!(server.connect().get("/pre-stop").status, 200);
        } else if !open {
            assert_eq!(server.connect().get("/pre-stop").status, 404, "{name}: a stranger");
        }
        let output = server.finish();
        assert_eq!(output.matches("FC PreStop Start").count(), 1, "{name}: {output}");
    }
}
