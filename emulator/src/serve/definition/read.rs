//! Reads one function: each field that the emulator uses, and the names of those that it ignores.

use super::node::{Entry, Node, Value, Wrong};
use super::parts::{asynchronous, health_check, lifecycle, session};
use super::{map, text_of, unknown};
use crate::platform::Credentials;
use crate::serve::config::is_function_name;

/// A part of a file, or what is wrong with it.
pub(super) type Read<T> = Result<T, Wrong>;

/// One function of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Where it stands.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// What runs.
    pub program: Program,
    /// The environment variables.
    pub env: Vec<(String, String)>,
    /// The handler.
    pub handler: Option<String>,
    /// The memory.
    pub memory_mb: Option<u64>,
    /// The time limit of a call.
    pub timeout_secs: Option<u64>,
    /// Where credentials are given.
    pub credentials: Credentials,
    /// Calls at the same time.
    pub concurrency: Option<u64>,
    /// Instances at most.
    pub instances_max: Option<u64>,
    /// Instances at least.
    pub instances_min: Option<u64>,
    /// How long an instance is idle before it is reclaimed.
    pub idle_secs: Option<u64>,
    /// The hooks that are configured.
    pub hooks: Hooks,
    /// The health check.
    pub health: Option<HealthDefinition>,
    /// Session affinity.
    pub session: Option<SessionDefinition>,
    /// How often a failed asynchronous call is tried again.
    pub retries: Option<u64>,
    /// The age at which an asynchronous call is not tried any more.
    pub event_age_secs: Option<u64>,
    /// The URL that is told of a success.
    pub on_success: Option<String>,
    /// The URL that is told of a failure.
    pub on_failure: Option<String>,
    /// The fields that are used.
    pub read: Vec<String>,
    /// The fields that are ignored, with their lines.
    pub ignored: Vec<(String, usize)>,
}

/// What an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A container.
    Image {
        /// The image.
        name: String,
        /// The arguments for its entry point.
        args: Vec<String>,
        /// Its port.
        port: Option<u16>,
    },
    /// A program in a folder, relative to the folder of the file.
    Command {
        /// The program with its arguments.
        words: Vec<String>,
        /// The folder.
        folder: String,
    },
}

impl Default for Program {
    fn default() -> Self {
        Self::Command { words: Vec::new(), folder: ".".to_owned() }
    }
}

/// The time limits of the configured hooks, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The Initializer.
    pub initialize: Option<u64>,
    /// Pre-freeze, which FC 2.0 has.
    pub pre_freeze: Option<u64>,
    /// Pre-stop.
    pub pre_stop: Option<u64>,
}

/// The health check (C-HLT-1), in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthDefinition {
    /// The path.
    pub path: String,
    /// From the start of traffic to the first check after it.
    pub initial_delay: u64,
    /// Between two checks.
    pub period: u64,
    /// For one check.
    pub timeout: u64,
    /// Failures in a row that make an instance unhealthy.
    pub failures: u32,
    /// Successes in a row that make it healthy again.
    pub successes: u32,
}

/// Session affinity (C-SES-1, C-SES-3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDefinition {
    /// The header, or none for a cookie.
    pub header: Option<String>,
    /// Sessions of an instance.
    pub per_instance: Option<u64>,
    /// How long a session lives.
    pub life_secs: Option<u64>,
    /// How long it lives without a call.
    pub idle_secs: Option<u64>,
    /// Whether a session has an instance for itself.
    pub exclusive: bool,
}

/// Fields of the platform that mean nothing on one machine.
const IGNORED: [&str; 32] = [
    "accelerationType",
    "aliases",
    "cpu",
    "customDNS",
    "customDomain",
    "description",
    "disableOndemand",
    "diskSize",
    "enableLongLiving",
    "gpuConfig",
    "internetAccess",
    "juiceFsConfig",
    "layers",
    "logConfig",
    "nasConfig",
    "ossMountConfig",
    "polarFsConfig",
    "provisionConfig",
    "concurrencyConfig",
    "region",
    "resourceGroupId",
    "role",
    "tags",
    "tracingConfig",
    "triggers",
    "vpcBinding",
    "vpcConfig",
    "instanceType",
    "invocationRestriction",
    "extensions",
    "annotations",
    "nonProvisionedConfig",
];

const USED: [&str; 21] = [
    "disableInjectCredentials",
    "functionName",
    "runtime",
    "handler",
    "memorySize",
    "timeout",
    "instanceConcurrency",
    "environmentVariables",
    "customContainerConfig",
    "customRuntimeConfig",
    "code",
    "instanceLifecycleConfig",
    "instanceIsolationMode",
    "sessionAffinity",
    "sessionAffinityConfig",
    "idleTimeout",
    "scalingConfig",
    "asyncInvokeConfig",
    "image",
    "command",
    "instancesMax",
];

/// Reads a function. `name` is given where its place names it.
pub(super) fn function(line: usize, name: Option<&str>, entries: &[Entry]) -> Read<Definition> {
    let mut function = Definition { line, name: name.unwrap_or_default().to_owned(), ..Definition::default() };
    let find = |name: &str| entries.iter().find(|entry| entry.key == name);
    if let Some(folder) = find("code") {
        function.program = Program::Command { words: Vec::new(), folder: text_of(&folder.node)? };
    }
    let mut health = None;
    let (mut isolated, mut affinity) = (false, None);
    for entry in entries {
        let node = &entry.node;
        match entry.key.as_str() {
            "functionName" => function.name = text_of(node)?,
            "runtime" => runtime(node)?,
            "handler" => function.handler = Some(text_of(node)?),
            "memorySize" => function.memory_mb = Some(number(entry, 64, 1024 * 1024)?),
            "timeout" => function.timeout_secs = Some(number(entry, 1, 86_400)?),
            "instanceConcurrency" => function.concurrency = Some(number(entry, 1, 200)?),
            "environmentVariables" => function.env = variables(node)?,
            "customContainerConfig" => container(node, &mut function, &mut health)?,
            "customRuntimeConfig" => custom_runtime(node, &mut function, &mut health)?,
            "code" => {}
            "instanceLifecycleConfig" => function.hooks = lifecycle(node, &mut function.ignored)?,
            "instanceIsolationMode" => {
                isolated = match text_of(node)?.as_str() {
                    "SHARE" | "" => false,
                    "SESSION_EXCLUSIVE" => true,
                    other => {
                        let text = format!("`{other}` is no isolation mode here: expected SHARE or SESSION_EXCLUSIVE");
                        return Err(Wrong::new(node.line, text));
                    }
                }
            }
            "sessionAffinity" => affinity = Some((node.line, text_of(node)?)),
            "sessionAffinityConfig" => {}
            "disableInjectCredentials" => function.credentials = credentials(node)?,
            "idleTimeout" => function.idle_secs = Some(number(entry, 1, 86_400)?),
            "scalingConfig" => {
                for field in map(node, "scalingConfig")? {
                    match field.key.as_str() {
                        "minInstances" => function.instances_min = Some(number(field, 0, 1000)?),
                        _ => function.ignored.push((format!("scalingConfig.{}", field.key), field.line)),
                    }
                }
            }
            "asyncInvokeConfig" => asynchronous(node, &mut function)?,
            "image" | "command" => {}
            "instancesMax" => function.instances_max = Some(number(entry, 1, 1000)?),
            name if IGNORED.contains(&name) => {
                function.ignored.push((entry.key.clone(), entry.line));
                continue;
            }
            _ => return Err(unknown(entry, &[&USED[..], &IGNORED[..]].concat(), "the function")),
        }
        function.read.push(entry.key.clone());
    }
    own_program(&mut function, find("image"), find("command"))?;
    function.health = health;
    function.session = session(affinity, find("sessionAffinityConfig"), isolated)?;
    if !is_function_name(&function.name) {
        let rule = "expected `functionName` with 1 to 64 letters, digits, `_` and `-`, no digit or `-` first";
        return Err(Wrong::new(line, rule));
    }
    match &function.program {
        Program::Command { words, .. } if words.is_empty() => {
            Err(Wrong::new(line, format!("the function {} has nothing to run: no image and no command", function.name)))
        }
        _ => Ok(function),
    }
}

/// Where credentials are not given.
fn credentials(node: &Node) -> Read<Credentials> {
    match text_of(node)?.as_str() {
        "None" | "" => Ok(Credentials::Everywhere),
        "Env" => Ok(Credentials::InHeaders),
        "Request" => Ok(Credentials::InEnvironment),
        "All" => Ok(Credentials::Nowhere),
        other => Err(Wrong::new(node.line, format!("`{other}`: expected None, Env, Request or All"))),
    }
}

fn runtime(node: &Node) -> Read<()> {
    let runtime = text_of(node)?;
    match runtime == "custom-container" || runtime == "custom" || runtime.starts_with("custom.") {
        true => Ok(()),
        false => Err(Wrong::new(
            node.line,
            format!("the runtime {runtime} is not for the emulator: it has custom-container, custom and custom.*"),
        )),
    }
}

/// The fields of `fc.toml` that need no runtime.
fn own_program(function: &mut Definition, image: Option<&Entry>, command: Option<&Entry>) -> Read<()> {
    match (image, command) {
        (Some(image), Some(command)) => {
            let line = image.line.max(command.line);
            Err(Wrong::new(line, "`image` and `command` exclude each other"))
        }
        (Some(image), None) => {
            function.program = Program::Image { name: text_of(&image.node)?, args: Vec::new(), port: None };
            Ok(())
        }
        (None, Some(command)) => set_words(function, texts(&command.node)?),
        (None, None) => Ok(()),
    }
}

fn set_words(function: &mut Definition, new: Vec<String>) -> Read<()> {
    if let Program::Command { words, .. } = &mut function.program {
        *words = new;
    }
    Ok(())
}

fn container(node: &Node, function: &mut Definition, health: &mut Option<HealthDefinition>) -> Read<()> {
    const ELSE: [&str; 5] =
        ["registryConfig", "accelerationInfo", "accelerationType", "acrInstanceId", "resolvedImageUri"];
    let (mut name, mut args, mut port) = (None, Vec::new(), None);
    for field in map(node, "customContainerConfig")? {
        match field.key.as_str() {
            "image" => name = Some(text_of(&field.node)?),
            "port" => port = Some(number(field, 1, 65_535)? as u16),
            "command" => args = texts(&field.node)?,
            "entrypoint" if texts(&field.node)?.is_empty() => {}
            "entrypoint" => {
                let text = "the emulator runs the entry point of the image: leave `entrypoint` out, or put it there";
                return Err(Wrong::new(field.line, text));
            }
            "healthCheckConfig" => *health = health_check(&field.node)?,
            name if ELSE.contains(&name) => {
                function.ignored.push((format!("customContainerConfig.{name}"), field.line));
            }
            _ => {
                let names = [&["image", "port", "command", "entrypoint", "healthCheckConfig"][..], &ELSE[..]].concat();
                return Err(unknown(field, &names, "customContainerConfig"));
            }
        }
    }
    let name = name.ok_or_else(|| Wrong::new(node.line, "`customContainerConfig` names no `image`"))?;
    function.program = Program::Image { name, args, port };
    Ok(())
}

fn custom_runtime(node: &Node, function: &mut Definition, health: &mut Option<HealthDefinition>) -> Read<()> {
    let (mut words, mut args) = (Vec::new(), Vec::new());
    for field in map(node, "customRuntimeConfig")? {
        match field.key.as_str() {
            "command" => words = texts(&field.node)?,
            "args" => args = texts(&field.node)?,
            // Each instance gets a port of its own in the environment, because all share one machine.
            "port" => function.ignored.push(("customRuntimeConfig.port".to_owned(), field.line)),
            "healthCheckConfig" => *health = health_check(&field.node)?,
            _ => {
                let names = ["command", "args", "port", "healthCheckConfig"];
                return Err(unknown(field, &names, "customRuntimeConfig"));
            }
        }
    }
    words.extend(args);
    set_words(function, words)
}

fn variables(node: &Node) -> Read<Vec<(String, String)>> {
    let variable = |entry: &Entry| match entry.key.starts_with("FC_") {
        true => {
            let text = format!("`{}`: names that begin with FC_ are the platform's (ENV)", entry.key);
            Err(Wrong::new(entry.line, text))
        }
        false => Ok((entry.key.clone(), text_of(&entry.node)?)),
    };
    map(node, "environmentVariables")?.iter().map(variable).collect()
}

pub(super) fn texts(node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::List(list) => list.iter().map(text_of).collect(),
        Value::Null => Ok(Vec::new()),
        _ => Err(Wrong::new(node.line, "expected a list of texts")),
    }
}

pub(super) fn number(entry: &Entry, min: u64, max: u64) -> Read<u64> {
    let found = text_of(&entry.node)?.parse().ok().filter(|number| (min..=max).contains(number));
    found.ok_or_else(|| Wrong::new(entry.line, format!("`{}` must be a whole number from {min} to {max}", entry.key)))
}
