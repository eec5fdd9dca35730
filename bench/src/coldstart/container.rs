//! Starts as containers: `docker run` of images from scratch that hold one static file each.
//!
//! The clock starts before `docker run`, so the engine's own time is part of every figure; the baseline shows how much
//! that is. Everything is the engine's default except the network: containers use the network of the host. With a
//! published port, the engine's proxy would accept connections before the server listens. A container's own address is
//! known only after a further request to the engine. In both cases the client would measure something other than the
//! server. The figures therefore lack the cost of a container's own network, which is the same for all.
//!
//! No process is pinned to a processor, because the engine starts them. The removal of a container is not measured.

use std::io::{Read, Seek};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::Timespec;

use super::client::{Client, PollInterval, Timestamps};
use super::{Outcome, Series, ending};
use crate::harness::{Archive, Contender, Plan, Progress, Tree, now};
use crate::results::{Skipped, Starts};
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::Error;
use fc_emulator::owner::Owner;
use fc_emulator::platform::PORT_NAMES;
use fc_emulator::target::{self, Port};

/// The engine uses all processors during a start, so attempts must be rare. A start takes a thousand times longer than
/// a pause.
const POLL_INTERVAL: PollInterval =
    PollInterval { pause_ns: 100_000..300_000, of_elapsed: 0.0, patience: Duration::from_secs(60) };

/// How often we ask the engine whether a container still runs while its port is closed.
const INSPECT_EVERY: Duration = Duration::from_millis(500);

/// How long `docker run` may take to end by itself before we kill it.
const RUN_WAIT: Duration = Duration::from_secs(30);

/// The beginning of the names of images and containers. The run follows.
const PREFIX: &str = "fc-bench";

/// Measures all contenders that can run from a scratch image.
pub(super) fn measure(
    series: &Series<'_>,
    client: &mut Client,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Vec<Starts> {
    if let Err(reason) = local_engine() {
        skipped.push(Skipped { what: "cold start as a container".to_owned(), reason });
        return Vec::new();
    }
    let images = images(series.plan, false, skipped);
    let contenders: Vec<&Contender> = images.iter().map(|(contender, _)| *contender).collect();
    progress.begin("cold start, container", series.steps(contenders.len()));
    let image_of = |name: &str| images.iter().find(|(contender, _)| contender.name() == name).map(|(_, image)| image);
    let mut all = series.run(&contenders, progress, |contender| {
        let image = image_of(contender.name()).ok_or("it has no image")?;
        start(contender, image, client)
    });
    all.iter_mut().for_each(|starts| starts.image_bytes = image_of(&starts.name).and_then(|image| image.bytes));
    all
}

/// An image of each contender: of those that are one static file, or of all.
pub(super) fn images<'a>(plan: &'a Plan, all: bool, skipped: &mut Vec<Skipped>) -> Vec<(&'a Contender, Image)> {
    let mut images = Vec::new();
    for contender in &plan.contenders {
        let image = match contender.static_file.is_some() || all {
            true => Tree::of(contender).map_err(|cause| cause.to_string()).and_then(|it| Image::import(contender, &it)),
            false => Err("its program is not one static file, and a scratch image holds nothing else".to_owned()),
        };
        match image {
            Ok(image) => images.push((contender, image)),
            Err(reason) => {
                let skip = Skipped { what: format!("{} as a container", contender.name()), reason };
                if !skipped.contains(&skip) {
                    skipped.push(skip);
                }
            }
        }
    }
    images
}

/// Checks that an engine runs on this machine and shares our network.
pub(crate) fn local_engine() -> Outcome<()> {
    if !cfg!(target_os = "linux") || std::env::var_os("DOCKER_HOST").is_some() {
        return Err("the Docker engine may be on another machine, and then its network is not ours".to_owned());
    }
    target::engine_answers().map_err(|cause| format!("no Docker engine answers: {cause}"))?;
    remove_those_of_dead_runs();
    Ok(())
}

/// Removes the containers and images of runs that ended without doing so themselves.
fn remove_those_of_dead_runs() {
    let listed = |words: &[&str]| docker(words).unwrap_or_default();
    let removed = |name: &str, end: char, words: &[&str]| {
        let run = name.split(end).next().unwrap_or_default();
        if Owner::of_name(run, PREFIX).is_some_and(|run| run.is_dead()) {
            // Another run may be doing the same.
            let _ = docker(&[words, &[name]].concat());
        }
    };
    let containers = listed(&["ps", "--all", "--format", "{{.Names}}", "--filter", &format!("name={PREFIX}-")]);
    containers.lines().for_each(|name| removed(name, '.', &["rm", "--force", "--volumes"]));
    let images = listed(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    images.lines().for_each(|name| removed(name, ':', &["rmi", "--force"]));
}

fn start(contender: &Contender, image: &Image, client: &mut Client) -> Outcome<(Timespec, Timestamps)> {
    let port = Port::free().map_err(|cause| cause.to_string())?;
    let from = now();
    let container = Container::run(contender, image, port.number(), &[])?;
    let address = (Ipv4Addr::LOCALHOST, port.number()).into();
    let timestamps = client.first_replies(contender, address, &POLL_INTERVAL, || container.ended())?;
    Ok((from, timestamps))
}

/// An image. Dropping it removes the image.
pub(crate) struct Image {
    tag: String,
    bytes: Option<u64>,
    _guard: Guard,
}

struct ImageRemoval(String);

impl Undo for ImageRemoval {
    fn undo(&self) {
        // The image may be removed already.
        let _ = docker(&["rmi", "--force", &self.0]);
    }
}

impl Image {
    /// Makes an image with these files alone. An interrupt waits until the engine has it.
    pub(crate) fn import(contender: &Contender, tree: &Tree) -> Outcome<Self> {
        let archive = tree.archive().map_err(|cause| cause.to_string())?;
        let tag = format!("{}:{}", Owner::this_run().name(PREFIX), contender.name());
        let (bytes, guard) = cleanup::make(|| {
            let removal = ImageRemoval(tag.clone());
            import(archive, tree.program(), &tag).map_err(|why| {
                removal.undo();
                Error::new(why)
            })?;
            let bytes = docker(&["image", "inspect", "--format", "{{.Size}}", &tag]);
            Ok((bytes.ok().and_then(|bytes| bytes.parse().ok()), removal))
        })
        .map_err(|cause| cause.to_string())?;
        Ok(Self { tag, bytes, _guard: guard })
    }

    /// Its name in the engine.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }
}

fn import(mut archive: Archive, program: &str, tag: &str) -> Outcome<()> {
    archive.file.rewind().map_err(|cause| format!("docker import: {cause}"))?;
    let words = ["import", "--change", &entrypoint(program), "-", tag];
    docker_with(&words, Stdio::from(archive.file), None).map(drop)
}

/// The program. Its arguments hold the port, and so they come with `docker run`.
fn entrypoint(program: &str) -> String {
    format!("ENTRYPOINT {}", serde_json::Value::from(vec![program]))
}

/// A container. Dropping it removes the container.
pub(crate) struct Container {
    name: String,
    run: Arc<Mutex<Child>>,
    inspected: Mutex<Instant>,
    _guard: Guard,
}

struct ContainerRemoval {
    name: String,
    run: Arc<Mutex<Child>>,
}

impl Undo for ContainerRemoval {
    fn undo(&self) {
        // Until `docker run` has ended, the engine may still be creating the container.
        let mut run = lock(&self.run);
        let ended = Deadline::after(RUN_WAIT).until(|| run.try_wait().map_or(Some(()), |status| status.map(drop)));
        if ended.is_none() {
            let _ = run.kill();
            let _ = run.wait();
        }
        let _ = docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

impl Container {
    /// Runs it on a port, with further options of `docker run`.
    pub(crate) fn run(contender: &Contender, image: &Image, port: u16, options: &[String]) -> Outcome<Self> {
        let name = format!("{}-{port}", image.tag.replace(':', "."));
        let mut command = Command::new("docker");
        command.args(["run", "--detach", "--pull", "never", "--network", "host", "--name", &name]);
        let ports = PORT_NAMES.map(|name| format!("{name}={port}"));
        let own = contender.described.env.iter().map(|(name, value)| format!("{name}={value}"));
        command.args(ports.into_iter().chain(own).flat_map(|variable| ["--env".to_owned(), variable]));
        command.args(options).arg(&image.tag).args(contender.words(port).iter().skip(1));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // An interrupt from the terminal must not end `docker run` half-way: the clean-up waits for it and then removes
        // the container.
        command.process_group(0);
        let (run, guard) = cleanup::make(|| {
            let _alone = target::no_fork();
            let spawned = command.spawn().map_err(|cause| Error::failed("start", "docker run", cause))?;
            let run = Arc::new(Mutex::new(spawned));
            Ok((run.clone(), ContainerRemoval { name: name.clone(), run }))
        })
        .map_err(|cause| cause.to_string())?;
        Ok(Self { name, run, inspected: Mutex::new(Instant::now()), _guard: guard })
    }

    /// Its process 1, in the numbers of this machine.
    pub(super) fn pid(&self) -> Outcome<u32> {
        let told = docker(&["inspect", "--format", "{{.State.Pid}}", &self.name])?;
        told.parse().map_err(|_| format!("docker inspect: `{told}` is no process"))
    }

    /// Why the port will never be open, if the container has ended.
    pub(crate) fn ended(&self) -> Option<String> {
        let mut run = lock(&self.run);
        let status = run.try_wait().ok().flatten()?;
        if !status.success() {
            let mut said = String::new();
            if let Some(mut stderr) = run.stderr.take() {
                let _ = stderr.read_to_string(&mut said);
            }
            return Some(format!("docker run failed ({}): {}", ending(status), said.trim().replace('\n', " ")));
        }
        let mut inspected = lock(&self.inspected);
        if inspected.elapsed() < INSPECT_EVERY {
            return None;
        }
        *inspected = Instant::now();
        let state = docker(&["inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", &self.name]);
        match state.as_deref().map(|state| state.split_once(' ').unwrap_or_default()) {
            Ok(("true", _)) => None,
            Ok((_, code)) => Some(format!("it exited with code {code}")),
            Err(why) => Some(why.to_string()),
        }
    }
}

/// Runs one Docker command to its end and returns its output. An interrupt from the terminal does not reach it.
pub(crate) fn docker(words: &[&str]) -> Outcome<String> {
    docker_with(words, Stdio::null(), None)
}

/// The same with another input, and an output that goes elsewhere.
pub(crate) fn docker_with(words: &[&str], input: Stdio, output: Option<Stdio>) -> Outcome<String> {
    let what = words.first().copied().unwrap_or_default();
    let mut command = Command::new("docker");
    command.args(words).stdin(input).stdout(output.unwrap_or_else(Stdio::piped)).stderr(Stdio::piped());
    let ran = command.process_group(0).spawn().and_then(Child::wait_with_output);
    let ran = ran.map_err(|cause| format!("docker {what}: {cause}"))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    Err(format!("docker {what}: {}", String::from_utf8_lossy(&ran.stderr).trim().replace('\n', " ")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_point_is_one_word() {
        assert_eq!(entrypoint("/a \"server\""), r#"ENTRYPOINT ["/a \"server\""]"#);
    }
}
