//! A target in a container. We use the command `docker`, and with it the engine and the context that the user has set
//! up.
//!
//! On Linux with a local engine we call the container at its own address. Elsewhere the engine publishes its port on
//! loopback, and we call it through the proxy of the engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::{Exit, Launch, Target};
use crate::cleanup::{self, Guard, Undo};
use crate::error::{Error, Result};
use crate::freezer::{self, Proof};
use crate::output::{Output, Stream};
use crate::owner::Owner;
use crate::platform::ids;
use crate::process;

/// The label of a container with the run of the emulator that created it.
const OWNER_LABEL: &str = "fc-emulator.owner";

/// The freezer of a container, as reports name it.
const PAUSE: &str = "docker pause";

/// One container.
pub struct Container {
    id: String,
    addr: SocketAddr,
    pid: Option<u32>,
    output: Output,
    _guard: Guard,
}

/// Removes the container and the process that follows its output.
struct Removal {
    id: String,
    follower: Mutex<Option<Child>>,
}

impl Undo for Removal {
    fn undo(&self) {
        // The container may have been removed already.
        let _ = docker(&["rm", "--force", "--volumes", &self.id]);
        let mut follower = self.follower.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(mut follower) = follower.take() {
            let _ = follower.kill();
            let _ = follower.wait();
        }
    }
}

/// Makes sure that a Docker engine answers.
///
/// # Errors
/// If there is no command `docker`, or it reaches no engine; the text shows its message.
pub fn engine_answers() -> Result<()> {
    docker(&["version", "--format", "{{.Server.Version}}"]).map(drop)
}

/// The operating system and the architecture of a local image, such as `linux/amd64`.
///
/// # Errors
/// If there is no such image.
pub fn image_platform(name: &str) -> Result<String> {
    docker(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", name])
}

/// The containers of runs of the emulator that ended without removing them. They are removed, paused ones too.
/// Returns their names.
pub(crate) fn end_containers_of_dead_runs() -> Vec<(Owner, String)> {
    let format = format!("{{{{.ID}}}} {{{{.Names}}}} {{{{.Label \"{OWNER_LABEL}\"}}}}");
    let filter = format!("label={OWNER_LABEL}");
    // Without an engine there is nothing to remove, and the start says what is missing.
    let listed = docker(&["ps", "--all", "--filter", &filter, "--format", &format]).unwrap_or_default();
    let left = listed.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (id, name, owner) = (fields.next()?, fields.next()?, fields.next()?.parse::<Owner>().ok()?);
        owner.is_dead().then(|| docker(&["rm", "--force", "--volumes", id]).ok())??;
        Some((owner, name.to_owned()))
    });
    left.collect()
}

/// A name that no other container has: two runs of the emulator may use the same engine from two machines.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{:08x}-{}", Owner::this_run(), ids::random() as u32, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Gets the image if it is not there, which takes a while and can be interrupted.
fn ensure_image(image: &str) -> Result<()> {
    match image_platform(image) {
        Ok(_) => Ok(()),
        Err(_) => docker(&["pull", "--quiet", image])
            .map(drop)
            .map_err(|cause| Error::new(format!("there is no image `{image}` here, and it cannot be had: {cause}"))),
    }
}

impl Container {
    /// Starts a container of the image.
    pub fn start(image: &str, args: &[String], launch: &Launch) -> Result<Self> {
        let published = is_remote();
        ensure_image(image)?;
        let name = new_name();
        let mut words = vec!["create".to_owned(), "--name".into(), name.clone()];
        words.extend(["--label".to_owned(), format!("{OWNER_LABEL}={}", Owner::this_run())]);
        words.extend(launch.env.iter().flat_map(|(key, value)| ["--env".to_owned(), format!("{key}={value}")]));
        if published {
            words.extend(["--publish".to_owned(), format!("127.0.0.1::{}", launch.port)]);
        }
        words.push(image.to_owned());
        words.extend_from_slice(args);
        // An interrupt waits for the end of this step, so it finds the container or none. The id is that of the
        // container that was created here: if the name is taken, nothing is removed.
        let ((id, removal), guard) = cleanup::make(|| {
            let id = docker(&words)?;
            let removal = Arc::new(Removal { id: id.clone(), follower: Mutex::new(None) });
            Ok(((id, removal.clone()), SharedRemoval(removal)))
        })?;
        docker(&["start", &id])?;

        let output = Output::new();
        let follower = follow(&id, &output)?;
        *removal.follower.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(follower);
        let (addr, pid) = match published {
            true => (published_addr(&id, launch.port)?, None),
            false => own_addr(&id, launch.port)?,
        };
        Ok(Self { id, addr, pid, output, _guard: guard })
    }
}

struct SharedRemoval(Arc<Removal>);

impl Undo for SharedRemoval {
    fn undo(&self) {
        self.0.undo();
    }
}

/// Reads both output streams of the container from its start.
fn follow(id: &str, output: &Output) -> Result<Child> {
    let mut command = Command::new("docker");
    command.args(["logs", "--follow", id]);
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| Error::failed("follow the output of", id, cause))?;
    if let Some(stdout) = child.stdout.take() {
        output.follow(Stream::Out, stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        output.follow(Stream::Err, stderr);
    }
    Ok(child)
}

/// Whether we cannot reach containers at their own addresses.
fn is_remote() -> bool {
    cfg!(not(target_os = "linux")) || std::env::var_os("DOCKER_HOST").is_some()
}

fn own_addr(id: &str, port: u16) -> Result<(SocketAddr, Option<u32>)> {
    const FORMAT: &str = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let shown = docker(&["inspect", "--format", FORMAT, id])?;
    let (pid, ip) = shown.split_once(' ').unwrap_or_default();
    // A container that ended at once has no address any more. The next look at it shows its exit.
    let ip = ip.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    Ok(((ip, port).into(), pid.parse().ok().filter(|pid| *pid != 0)))
}

fn published_addr(id: &str, port: u16) -> Result<SocketAddr> {
    let shown = docker(&["port", id, &port.to_string()])?;
    let first = shown.lines().next().unwrap_or_default();
    first.parse().map_err(|cause| Error::failed("understand the published address", first, cause))
}

/// Runs one `docker` command to its end and returns its output.
fn docker<S: AsRef<str>>(words: &[S]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let shown = format!("docker {}", words.iter().take(2).copied().collect::<Vec<_>>().join(" "));
    // In a process group of its own: Ctrl-C must not end a command that we need for the clean-up.
    let ran = Command::new("docker").args(&words).process_group(0).stdin(Stdio::null()).output();
    let ran = ran.map_err(|cause| Error::failed("run", &shown, cause))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&ran.stderr).trim().replace('\n', " ");
    Err(Error::failed("run", shown, complaint))
}

impl Target for Container {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The own address of the container is not its loopback address, and neither is the one behind a published port.
    fn outer_addr(&self) -> Option<SocketAddr> {
        Some(self.addr)
    }

    fn output(&self) -> Option<&Output> {
        Some(&self.output)
    }

    fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Orphans in a container become children of its first process, so all are below it.
    fn pids(&self) -> Vec<u32> {
        self.pid.map_or(Vec::new(), process::descendants)
    }

    fn freezer(&self) -> Option<&'static str> {
        Some(PAUSE)
    }

    fn freeze(&mut self) -> Result<Proof> {
        docker(&["pause", &self.id])?;
        let paused = docker(&["inspect", "--format", "{{.State.Paused}}", &self.id])?;
        if paused != "true" {
            return Err(Error::new("docker pause: the engine does not say that the container is paused"));
        }
        match self.pid {
            Some(_) => freezer::stood_still(PAUSE, || self.pids()),
            // We cannot watch tasks on another machine, so the engine is the only evidence.
            None => Ok(Proof::Engine { method: PAUSE }),
        }
    }

    fn thaw(&mut self) -> Result<()> {
        docker(&["unpause", &self.id]).map(drop)
    }

    fn terminate(&mut self) -> Result<()> {
        docker(&["kill", "--signal", "TERM", &self.id]).map(drop)
    }

    fn try_exit(&mut self) -> Option<Exit> {
        if let Some(pid) = self.pid
            && std::path::Path::new(&format!("/proc/{pid}")).exists()
        {
            return None;
        }
        let shown = docker(&["inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", &self.id]).ok()?;
        let (running, code) = shown.split_once(' ')?;
        (running == "false").then(|| Exit::Code(code.parse().unwrap_or(-1)))
    }
}
