//! A target in a container. We use the command `docker`, and with it the engine and the context that the user has set
//! up.
//!
//! On Linux with a local engine we call the container at its own address. Elsewhere the engine publishes its port on
//! loopback, and we call it through the proxy of the engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Exit, Launch, Target};
use crate::cleanup::{self, Guard, Undo};
use crate::error::{Error, Result};
use crate::freezer::{self, Proof};
use crate::output::{Output, Stream};

/// The freezer of a container, as reports name it.
const PAUSE: &str = "docker pause";

/// One container.
pub struct Container {
    name: String,
    addr: SocketAddr,
    pid: Option<u32>,
    output: Output,
    _guard: Guard,
}

/// Removes the container and the process that follows its output.
struct Removal {
    name: String,
    follower: Mutex<Option<Child>>,
}

impl Undo for Removal {
    fn undo(&self) {
        // The container may have been removed already.
        let _ = docker(&["rm", "--force", "--volumes", &self.name]);
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

impl Container {
    /// Starts a container of the image.
    pub fn start(image: &str, args: &[String], launch: &Launch) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fc-emulator-{}-{count}", std::process::id());
        // Registered before the container exists, so that an interrupt between the two does not leave it behind.
        let removal = Removal { name: name.clone(), follower: Mutex::new(None) };
        let removal = std::sync::Arc::new(removal);
        let guard = cleanup::register(SharedRemoval(removal.clone()));

        let published = is_remote();
        let mut words = vec!["run".to_owned(), "--detach".into(), "--name".into(), name.clone()];
        words.extend(launch.env.iter().flat_map(|(key, value)| ["--env".to_owned(), format!("{key}={value}")]));
        if published {
            words.extend(["--publish".to_owned(), format!("127.0.0.1::{}", launch.port)]);
        }
        words.push(image.to_owned());
        words.extend_from_slice(args);
        docker(&words)?;

        let output = Output::new();
        let follower = follow(&name, &output)?;
        *removal.follower.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(follower);
        let (addr, pid) = match published {
            true => (published_addr(&name, launch.port)?, None),
            false => own_addr(&name, launch.port)?,
        };
        Ok(Self { name, addr, pid, output, _guard: guard })
    }
}

struct SharedRemoval(std::sync::Arc<Removal>);

impl Undo for SharedRemoval {
    fn undo(&self) {
        self.0.undo();
    }
}

/// Reads both output streams of the container from its start.
fn follow(name: &str, output: &Output) -> Result<Child> {
    let mut command = Command::new("docker");
    command.args(["logs", "--follow", name]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| Error::failed("follow the output of", name, cause))?;
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

fn own_addr(name: &str, port: u16) -> Result<(SocketAddr, Option<u32>)> {
    const FORMAT: &str = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let shown = docker(&["inspect", "--format", FORMAT, name])?;
    let (pid, ip) = shown.split_once(' ').unwrap_or_default();
    // A container that ended at once has no address any more. The next look at it shows its exit.
    let ip = ip.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    Ok(((ip, port).into(), pid.parse().ok().filter(|pid| *pid != 0)))
}

fn published_addr(name: &str, port: u16) -> Result<SocketAddr> {
    let shown = docker(&["port", name, &port.to_string()])?;
    let first = shown.lines().next().unwrap_or_default();
    first.parse().map_err(|cause| Error::failed("understand the published address", first, cause))
}

/// Runs one `docker` command to its end and returns its output.
fn docker<S: AsRef<str>>(words: &[S]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let shown = format!("docker {}", words.iter().take(2).copied().collect::<Vec<_>>().join(" "));
    let ran = Command::new("docker").args(&words).stdin(Stdio::null()).output();
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

    fn freezer(&self) -> Option<&'static str> {
        Some(PAUSE)
    }

    fn freeze(&mut self) -> Result<Proof> {
        docker(&["pause", &self.name])?;
        let paused = docker(&["inspect", "--format", "{{.State.Paused}}", &self.name])?;
        if paused != "true" {
            return Err(Error::new("docker pause: the engine does not say that the container is paused"));
        }
        match self.pid {
            Some(pid) => freezer::stood_still(PAUSE, || vec![pid]),
            // We cannot watch tasks on another machine, so the engine is the only evidence.
            None => Ok(Proof::Engine { method: PAUSE }),
        }
    }

    fn thaw(&mut self) -> Result<()> {
        docker(&["unpause", &self.name]).map(drop)
    }

    fn terminate(&mut self) -> Result<()> {
        docker(&["kill", "--signal", "TERM", &self.name]).map(drop)
    }

    fn try_exit(&mut self) -> Option<Exit> {
        if let Some(pid) = self.pid
            && std::path::Path::new(&format!("/proc/{pid}")).exists()
        {
            return None;
        }
        let shown = docker(&["inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", &self.name]).ok()?;
        let (running, code) = shown.split_once(' ')?;
        (running == "false").then(|| Exit::Code(code.parse().unwrap_or(-1)))
    }
}
