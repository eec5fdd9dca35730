//! The groups of fields of one function: hooks, health checks, sessions and asynchronous calls.

use super::node::{Entry, Node, Value, Wrong};
use super::read::{Definition, HealthDefinition, Hooks, Read, SessionDefinition, number, texts};
use super::{known, map, text_of, unknown};

pub(super) fn health_check(node: &Node) -> Read<Option<HealthDefinition>> {
    let mut health =
        HealthDefinition { path: String::new(), initial_delay: 0, period: 3, timeout: 1, failures: 3, successes: 1 };
    for field in map(node, "healthCheckConfig")? {
        match field.key.as_str() {
            "httpGetUrl" => health.path = text_of(&field.node)?,
            "initialDelaySeconds" => health.initial_delay = number(field, 0, 120)?,
            "periodSeconds" => health.period = number(field, 1, 120)?,
            "timeoutSeconds" => health.timeout = number(field, 1, 3)?,
            "failureThreshold" => health.failures = number(field, 1, 120)? as u32,
            "successThreshold" => health.successes = number(field, 1, 120)? as u32,
            _ => {
                const NAMES: [&str; 6] = [
                    "httpGetUrl",
                    "initialDelaySeconds",
                    "periodSeconds",
                    "timeoutSeconds",
                    "failureThreshold",
                    "successThreshold",
                ];
                return Err(unknown(field, &NAMES, "healthCheckConfig"));
            }
        }
    }
    Ok((!health.path.is_empty()).then_some(health))
}

/// A hook is on if it has a handler that is not empty (C-DEP-2).
pub(super) fn lifecycle(node: &Node, ignored: &mut Vec<(String, usize)>) -> Read<Hooks> {
    let mut hooks = Hooks::default();
    let entries = map(node, "instanceLifecycleConfig")?;
    known(entries, &["initializer", "preFreeze", "preStop"], "instanceLifecycleConfig")?;
    for entry in entries {
        let (mut is_on, mut timeout, mut command) = (false, 3, None);
        for field in map(&entry.node, &entry.key)? {
            match field.key.as_str() {
                "handler" => is_on = !text_of(&field.node)?.is_empty(),
                "timeout" => timeout = number(field, 1, 300)?,
                // A command runs inside of the instance, where the emulator cannot start one.
                "command" if texts(&field.node)?.is_empty() => {}
                "command" => {
                    command = Some(field.line);
                    ignored.push((format!("instanceLifecycleConfig.{}.command", entry.key), field.line));
                }
                _ => return Err(unknown(field, &["handler", "timeout", "command"], &entry.key)),
            }
        }
        if let (true, Some(line)) = (is_on, command) {
            let text = format!("`handler` and `command` of {} exclude each other (C-CMD-1)", entry.key);
            return Err(Wrong::new(line, text));
        }
        let hook = match entry.key.as_str() {
            "initializer" => &mut hooks.initialize,
            "preFreeze" => &mut hooks.pre_freeze,
            _ => &mut hooks.pre_stop,
        };
        *hook = is_on.then_some(timeout);
    }
    Ok(hooks)
}

pub(super) fn session(
    affinity: Option<(usize, String)>,
    config: Option<&Entry>,
    exclusive: bool,
) -> Read<Option<SessionDefinition>> {
    let Some((line, affinity)) = affinity else { return Ok(None) };
    let by_header = match affinity.as_str() {
        "NONE" | "" => return Ok(None),
        "HEADER_FIELD" => true,
        "GENERATED_COOKIE" => false,
        other => {
            let text = format!("`{other}`: expected NONE, HEADER_FIELD, GENERATED_COOKIE, which the emulator has");
            return Err(Wrong::new(line, text));
        }
    };
    let mut session = SessionDefinition { exclusive, ..SessionDefinition::default() };
    // The API has it as a text with JSON, and JSON is YAML.
    let parsed = match config.map(|entry| &entry.node) {
        Some(Node { line, value: Value::Scalar(text) }) => {
            let parsed = super::node::yaml(text);
            Some(parsed.map_err(|wrong| Wrong::new(*line, format!("`sessionAffinityConfig`: {}", wrong.text)))?)
        }
        Some(node) => Some(node.clone()),
        None => None,
    };
    let at = config.map_or(line, |entry| entry.line);
    let entries = match &parsed {
        Some(node) => map(node, "sessionAffinityConfig")?,
        None => &[],
    };
    for field in entries {
        let field = &Entry { line: field.line.max(at), ..field.clone() };
        match field.key.as_str() {
            "affinityHeaderFieldName" => session.header = Some(text_of(&field.node)?),
            "sessionConcurrencyPerInstance" => session.per_instance = Some(number(field, 1, 200)?),
            "sessionTTLInSeconds" => session.life_secs = Some(number(field, 1, 21_600)?),
            "sessionIdleTimeoutInSeconds" => session.idle_secs = Some(number(field, 0, 21_600)?),
            "disableSessionIdReuse" => {}
            _ => {
                const NAMES: [&str; 5] = [
                    "affinityHeaderFieldName",
                    "sessionConcurrencyPerInstance",
                    "sessionTTLInSeconds",
                    "sessionIdleTimeoutInSeconds",
                    "disableSessionIdReuse",
                ];
                return Err(unknown(field, &NAMES, "sessionAffinityConfig"));
            }
        }
    }
    match (by_header, &session.header) {
        (true, None) => Err(Wrong::new(at, "HEADER_FIELD needs `affinityHeaderFieldName` in `sessionAffinityConfig`")),
        (false, _) => Ok(Some(SessionDefinition { header: None, ..session })),
        _ => Ok(Some(session)),
    }
}

pub(super) fn asynchronous(node: &Node, function: &mut Definition) -> Read<()> {
    for field in map(node, "asyncInvokeConfig")? {
        match field.key.as_str() {
            "maxAsyncRetryAttempts" => function.retries = Some(number(field, 0, 8)?),
            "maxAsyncEventAgeInSeconds" => function.event_age_secs = Some(number(field, 1, 604_800)?),
            "asyncTask" | "qualifier" => {}
            "destinationConfig" => {
                for side in map(&field.node, "destinationConfig")? {
                    let target = match side.key.as_str() {
                        "onSuccess" => &mut function.on_success,
                        "onFailure" => &mut function.on_failure,
                        _ => return Err(unknown(side, &["onSuccess", "onFailure"], "destinationConfig")),
                    };
                    for entry in map(&side.node, &side.key)? {
                        if entry.key != "destination" {
                            return Err(unknown(entry, &["destination"], &side.key));
                        }
                        let url = text_of(&entry.node)?;
                        match crate::serve::tasks::check_url(&url) {
                            Ok(url) => *target = Some(url),
                            // The name of a service of the platform, which is not here.
                            Err(_) => {
                                let name = format!("destinationConfig.{}.destination {url}", side.key);
                                function.ignored.push((name, entry.line));
                            }
                        }
                    }
                }
            }
            _ => {
                const NAMES: [&str; 5] = [
                    "maxAsyncRetryAttempts",
                    "maxAsyncEventAgeInSeconds",
                    "asyncTask",
                    "qualifier",
                    "destinationConfig",
                ];
                return Err(unknown(field, &NAMES, "asyncInvokeConfig"));
            }
        }
    }
    Ok(())
}
