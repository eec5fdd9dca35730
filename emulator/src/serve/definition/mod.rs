//! Functions in a file: `s.yaml` of Serverless Devs (component fc3), or `fc.toml` with the same names of fields.
//!
//! What the emulator reads of a function and what it ignores are said at the start. A field that the platform does not
//! have is a fault, named with its line.

mod node;
mod parts;
mod read;

use std::path::Path;

pub use self::node::Wrong;
use self::node::{Entry, Node, Value};
pub use self::read::{Definition, HealthDefinition, Hooks, Program, SessionDefinition};
use crate::error::{Error, Result};

/// All functions of a file.
///
/// # Errors
/// If the file cannot be read or has a fault; the text names the line.
pub fn load(path: &Path) -> Result<Vec<Definition>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::failed("read", path.display(), cause))?;
    let is_toml = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
    let functions = if is_toml { from_toml(&text) } else { from_yaml(&text) };
    functions.map_err(|wrong| Error::new(format!("{}, line {}: {}", path.display(), wrong.line, wrong.text)))
}

/// The functions of `fc.toml`: a table below `functions` for each.
fn from_toml(text: &str) -> std::result::Result<Vec<Definition>, Wrong> {
    let root = node::toml(text)?;
    let mut functions = Vec::new();
    for entry in map(&root, "the file")? {
        if entry.key != "functions" {
            return Err(Wrong::new(
                entry.line,
                format!("unknown field `{}`: there are only tables [functions.NAME]", entry.key),
            ));
        }
        for entry in map(&entry.node, "functions")? {
            functions.push(read::function(entry.line, Some(&entry.key), map(&entry.node, &entry.key)?)?);
        }
    }
    distinct(functions)
}

/// The functions of `s.yaml`: the properties of each resource whose component is fc3.
fn from_yaml(text: &str) -> std::result::Result<Vec<Definition>, Wrong> {
    const TOP: [&str; 9] = ["edition", "name", "access", "vars", "resources", "template", "actions", "env", "flow"];
    const RESOURCE: [&str; 5] = ["component", "props", "actions", "access", "extend"];
    let root = node::yaml(text)?;
    let top = map(&root, "the file")?;
    known(top, &TOP, "the file")?;
    let Some(resources) = top.iter().find(|entry| entry.key == "resources") else {
        return Err(Wrong::new(1, "there is no `resources`, below which functions stand"));
    };
    let mut functions = Vec::new();
    for resource in map(&resources.node, "resources")? {
        let fields = map(&resource.node, &resource.key)?;
        known(fields, &RESOURCE, &resource.key)?;
        let field = |name: &str| fields.iter().find(|entry| entry.key == name);
        let component = field("component").map(|entry| text_of(&entry.node)).transpose()?.unwrap_or_default();
        // A later version is written fc3@1.2.3, and a component in a folder by its path.
        if !component.starts_with("fc3") && !component.starts_with('.') && !component.starts_with('/') {
            continue;
        }
        let Some(props) = field("props") else {
            return Err(Wrong::new(resource.line, format!("the resource `{}` has no `props`", resource.key)));
        };
        functions.push(read::function(props.line, None, map(&props.node, "props")?)?);
    }
    if functions.is_empty() {
        return Err(Wrong::new(resources.line, "no resource has the component fc3"));
    }
    distinct(functions)
}

fn distinct(functions: Vec<Definition>) -> std::result::Result<Vec<Definition>, Wrong> {
    for (index, one) in functions.iter().enumerate() {
        if functions[..index].iter().any(|other| other.name == one.name) {
            return Err(Wrong::new(one.line, format!("there are two functions with the name {}", one.name)));
        }
    }
    match functions.is_empty() {
        true => Err(Wrong::new(1, "there is no function in the file")),
        false => Ok(functions),
    }
}

/// The entries of a map.
fn map<'a>(node: &'a Node, name: &str) -> std::result::Result<&'a [Entry], Wrong> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => Err(Wrong::new(node.line, format!("`{name}` must hold fields"))),
    }
}

/// A text, or another plain value as it stands.
fn text_of(node: &Node) -> std::result::Result<String, Wrong> {
    match &node.value {
        Value::Scalar(text) if text.contains("${") || text.contains("{{") => Err(Wrong::new(
            node.line,
            format!("`{text}`: the emulator fills in no variables, so write the value itself in a copy of the file"),
        )),
        Value::Scalar(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        _ => Err(Wrong::new(node.line, "expected a plain value, not a list or fields")),
    }
}

fn known(entries: &[Entry], names: &[&str], place: &str) -> std::result::Result<(), Wrong> {
    match entries.iter().find(|entry| !names.contains(&entry.key.as_str())) {
        Some(entry) => Err(unknown(entry, names, place)),
        None => Ok(()),
    }
}

/// The fault of an unknown field, with the name that was probably meant.
fn unknown(entry: &Entry, names: &[&str], place: &str) -> Wrong {
    let near = names.iter().min_by_key(|name| distance(name, &entry.key));
    let hint = match near.filter(|name| distance(name, &entry.key) <= 2) {
        Some(name) => format!(": did you mean `{name}`?"),
        None => String::new(),
    };
    Wrong::new(entry.line, format!("unknown field `{}` in {place}{hint}", entry.key))
}

/// How many letters must be changed, added or removed to make one word of the other, case aside.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
edition: 3.0.0
name: demo
access: default
resources:
  web:
    component: fc3
    props:
      region: cn-hangzhou
      functionName: web
      runtime: custom-container
      cpu: 0.5
      memorySize: 1024
      timeout: 30
      instanceConcurrency: 5
      customContainerConfig:
        image: demo/web:1
        port: 8080
        command: ['--verbose']
        healthCheckConfig: {httpGetUrl: /health, periodSeconds: 10}
      environmentVariables:
        COLOUR: blue
      instanceLifecycleConfig:
        initializer: {handler: index.init, timeout: 20}
        preStop: {handler: '', timeout: 3}
      asyncInvokeConfig:
        maxAsyncRetryAttempts: 1
  bucket:
    component: oss
    props: {whatever: 1}
  worker:
    component: fc3@0.1.2
    props:
      functionName: worker
      runtime: custom.debian12
      code: ./worker
      customRuntimeConfig: {command: [./serve], args: [-v]}
      sessionAffinity: HEADER_FIELD
      sessionAffinityConfig: '{\"affinityHeaderFieldName\": \"x-chat\", \"sessionConcurrencyPerInstance\": 3}'
";

    #[test]
    fn functions_of_serverless_devs() {
        let functions = from_yaml(YAML).unwrap();
        assert_eq!(functions.len(), 2);
        let web = &functions[0];
        assert_eq!(
            (web.name.as_str(), web.memory_mb, web.timeout_secs, web.concurrency),
            ("web", Some(1024), Some(30), Some(5))
        );
        let args = vec!["--verbose".to_owned()];
        assert_eq!(web.program, Program::Image { name: "demo/web:1".to_owned(), args, port: Some(8080) });
        assert_eq!(web.env, [("COLOUR".to_owned(), "blue".to_owned())]);
        assert_eq!(web.hooks, Hooks { initialize: Some(20), pre_freeze: None, pre_stop: None });
        let health = web.health.as_ref().unwrap();
        assert_eq!((health.path.as_str(), health.period, health.failures), ("/health", 10, 3));
        assert_eq!(web.retries, Some(1));
        assert!(web.ignored.contains(&("region".to_owned(), 8)) && web.ignored.contains(&("cpu".to_owned(), 11)));
        assert!(web.read.contains(&"customContainerConfig".to_owned()));
        let worker = &functions[1];
        let words = vec!["./serve".to_owned(), "-v".to_owned()];
        assert_eq!(worker.program, Program::Command { words, folder: "./worker".to_owned() });
        let session = worker.session.as_ref().unwrap();
        assert_eq!(
            (session.header.as_deref(), session.per_instance, session.exclusive),
            (Some("x-chat"), Some(3), false)
        );
    }

    #[test]
    fn the_file_of_the_readme_is_one() {
        let readme = include_str!("../../../README.md");
        let text = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let functions = from_toml(text).unwrap();
        assert_eq!(functions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["orders", "bills"]);
        assert!(functions.iter().all(|one| one.ignored.is_empty()));
    }

    #[test]
    fn functions_of_toml() {
        let text = "[functions.a]\ncommand = [\"./a\"]\ntimeout = 5\ninstancesMax = 3\n\
                    [functions.b]\nimage = \"b:1\"\n[functions.b.environmentVariables]\nX = 1\n";
        let functions = from_toml(text).unwrap();
        assert_eq!((functions[0].name.as_str(), functions[0].instances_max), ("a", Some(3)));
        let words = vec!["./a".to_owned()];
        assert_eq!(functions[0].program, Program::Command { words, folder: ".".to_owned() });
        assert_eq!(functions[1].program, Program::Image { name: "b:1".to_owned(), args: vec![], port: None });
        assert_eq!(functions[1].env, [("X".to_owned(), "1".to_owned())]);
        assert_eq!(functions[1].hooks, Hooks::default(), "only configured hooks are called");
    }

    #[test]
    fn a_hook_as_a_command_is_ignored_and_said_and_credentials_can_be_withheld() {
        let text = "[functions.a]\ncommand = [\"./a\"]\ndisableInjectCredentials = \"Env\"\n\
                    [functions.a.instanceLifecycleConfig]\n\
                    initializer = {command = [\"./init\", \"--now\"], timeout = 9}\n";
        let functions = from_toml(text).unwrap();
        assert_eq!(functions[0].hooks, Hooks::default(), "no request takes the place of the command");
        assert_eq!(functions[0].ignored, [("instanceLifecycleConfig.initializer.command".to_owned(), 5)]);
        assert_eq!(functions[0].credentials, crate::platform::Credentials::InHeaders);
    }

    #[test]
    fn faults_name_the_line_and_the_field() {
        let function = |field: &str| format!("[functions.a]\ncommand = [\"a\"]\n{field}\n");
        for (field, told) in [
            ("timeuot = 3", "unknown field `timeuot` in the function: did you mean `timeout`?"),
            ("whatever = 3", "unknown field `whatever` in the function"),
            ("timeout = \"x\"", "`timeout` must be a whole number from 1 to 86400"),
            ("instanceConcurrency = 201", "`instanceConcurrency` must be a whole number from 1 to 200"),
            ("image = \"b\"", "`image` and `command` exclude each other"),
            (
                "instanceLifecycleConfig = {preStop = {handlr = 1}}",
                "unknown field `handlr` in preStop: did you mean `handler`?",
            ),
            ("disableInjectCredentials = \"Some\"", "expected None, Env, Request or All"),
            (
                "instanceLifecycleConfig = {initializer = {handler = \"a\", command = [\"b\"]}}",
                "`handler` and `command` of initializer exclude each other",
            ),
            ("sessionAffinity = \"STRONG\"", "expected NONE, HEADER_FIELD, GENERATED_COOKIE"),
            ("environmentVariables = {FC_X = 1}", "`FC_X`: names that begin with FC_ are the platform's"),
            ("handler = \"${vars.h}\"", "fills in no variables"),
        ] {
            let wrong = from_toml(&function(field)).unwrap_err();
            assert!(wrong.line == 3 && wrong.text.contains(told), "{field}: {wrong:?}");
        }
        for (text, line, told) in [
            ("resources:\n  a:\n    component: oss\n", 1, "no resource has the component fc3"),
            ("name: a\n", 1, "there is no `resources`"),
            ("resource: {}\n", 1, "did you mean `resources`?"),
            ("resources:\n  a:\n    component: fc3\n    prop: {}\n", 4, "did you mean `props`?"),
            ("resources:\n  a:\n    component: fc3\n    props:\n      runtime: python3.10\n", 5, "custom-container"),
            ("resources:\n  a:\n    component: fc3\n    props:\n      runtime: custom-container\n", 4, "functionName"),
        ] {
            let wrong = from_yaml(text).unwrap_err();
            assert!(wrong.line == line && wrong.text.contains(told), "{text}: {wrong:?}");
        }
    }
}
