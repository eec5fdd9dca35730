//! The file system and the configuration of an image, by the Docker command line.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::program::{Files, Program};
use crate::cleanup::{self, Undo};
use crate::error::{Error, Result};

/// A container that is created and never started: `docker export` needs one.
struct Removal(String);

impl Undo for Removal {
    fn undo(&self) {
        // If the container is gone already, there is nothing to do.
        let _ = docker(&["rm", "--force", "--volumes", &self.0], Stdio::piped());
    }
}

/// Exports the image `name`. The archive is an open file without a name, so nothing of it stays behind.
pub(super) fn export(name: &str, args: &[String], env: &[(String, String)]) -> Result<Program> {
    let told = docker(&["image", "inspect", "--format", "{{json .Config}}", name], Stdio::piped())?;
    let config: Value =
        serde_json::from_str(&told).map_err(|cause| Error::failed("understand the configuration of", name, cause))?;
    // An image without a command needs one here, and a container that is never started never runs it.
    let container = docker(&["create", name, "none"], Stdio::piped())?;
    let _guard = cleanup::register(Removal(container.clone()));
    let archive = tempfile::tempfile().map_err(|cause| Error::failed("make a file for", name, cause))?;
    let target = archive.try_clone().map_err(|cause| Error::failed("make a file for", name, cause))?;
    docker(&["export", &container], Stdio::from(target))?;
    let bytes = pad(&archive).map_err(|cause| Error::failed("export", name, cause))?;
    program(&config, args, env, Files::Image { archive: Arc::new(archive), bytes })
        .ok_or_else(|| Error::failed("run", name, "the image has no command"))
}

/// A disk has whole sectors.
pub(super) fn pad(archive: &File) -> std::io::Result<u64> {
    let bytes = archive.metadata()?.len().next_multiple_of(512);
    archive.set_len(bytes)?;
    Ok(bytes)
}

/// What `docker run` makes of an image's configuration.
fn program(config: &Value, args: &[String], env: &[(String, String)], files: Files) -> Option<Program> {
    let list = |name: &str| -> Vec<String> {
        let items = config[name].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |name: &str| config[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut words = list("Entrypoint");
    words.extend(if args.is_empty() { list("Cmd") } else { args.to_vec() });
    let own = list("Env").into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let path = ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let env = std::iter::once(path).chain(own).chain(env.iter().cloned()).collect();
    let folder = text("WorkingDir").unwrap_or_else(|| "/".to_owned());
    (!words.is_empty()).then(|| Program { words, env, folder, user: text("User"), files })
}

/// Runs one Docker command to its end and gives what it printed, unless that went elsewhere.
fn docker(words: &[&str], stdout: Stdio) -> Result<String> {
    let shown = format!("docker {}", words.iter().take(2).copied().collect::<Vec<_>>().join(" "));
    let mut command = Command::new("docker");
    command.args(words).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let child = command.spawn().map_err(|cause| Error::failed("run", &shown, cause))?;
    let ran = child.wait_with_output().map_err(|cause| Error::failed("run", &shown, cause))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    Err(Error::failed("run", shown, String::from_utf8_lossy(&ran.stderr).trim().replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files() -> Files {
        Files::Alone { file: "/x".into(), name: "x".into() }
    }

    #[test]
    fn an_image_runs_as_docker_runs_it() {
        let config = json!({
            "Entrypoint": ["node"], "Cmd": ["a.js"], "Env": ["PATH=/bin", "A=b=c"], "WorkingDir": "/app", "User": "",
        });
        let ours = [("A".to_owned(), "ours".to_owned())];
        let made = program(&config, &[], &ours, files()).unwrap();
        assert_eq!((made.words.join(" "), made.folder.as_str(), made.user), ("node a.js".into(), "/app", None));
        // `env -i` takes the last value of a name.
        let last = |name: &str| made.env.iter().rfind(|(own, _)| own == name).map(|(_, value)| value.as_str());
        assert_eq!((last("PATH"), last("A")), (Some("/bin"), Some("ours")));
        let made = program(&config, &["b.js".to_owned()], &[], files()).unwrap();
        assert_eq!(made.words, ["node", "b.js"]);
    }

    #[test]
    fn an_image_without_a_command_is_none() {
        assert!(program(&json!({ "Entrypoint": null, "Cmd": null }), &[], &[], files()).is_none());
    }
}
