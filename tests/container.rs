//! The real image in a real engine: every hook, a pause in the middle of a call, and `docker stop`.
//!
//! Needs a Docker engine. Without one each test says so and passes. `make image` builds the image, so the test covers
//! this recipe as well. `Drop` removes containers and images, so a failing test leaves none behind.

#![cfg(all(target_os = "linux", not(fc_hooks_poll)))] // the image is built with the default backend

use fc_testkit::http::Decoder;
use fc_testkit::{say, skip};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The documentation promises half a megabyte.
const IMAGE_BYTES_MAX: u64 = 512 * 1024;

/// How long anything may take before a test gives up. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_image_is_the_binary_for_nobody_on_one_platform() {
    let Some(image) = Image::build("head") else { return };
    let head: Value = serde_json::from_str(&docker(&["image", "inspect", &image.name])).unwrap();
    let head = &head[0];
    assert_eq!((head["Os"].as_str(), head["Architecture"].as_str()), (Some("linux"), Some("amd64")), "C-IMG-1");
    assert_eq!(head["Config"]["User"], "65534:65534");
    assert_eq!(head["Config"]["Entrypoint"], serde_json::json!(["/function"]));
    assert_eq!(head["Config"]["ExposedPorts"], serde_json::json!({ "9000/tcp": {} }));
    assert_eq!(head["RootFS"]["Layers"].as_array().map(Vec::len), Some(1), "the binary is the only layer");
    let bytes = head["Size"].as_u64().unwrap();
    say(format_args!("image: {bytes} bytes of at most {IMAGE_BYTES_MAX}"));
    assert!(bytes <= IMAGE_BYTES_MAX);
}

#[test]
fn a_whole_life() {
    let Some(image) = Image::build("life") else { return };
    let container = Container::run(&image);
    let mut peer = container.connect();
    assert_eq!(peer.call("POST /initialize", "/initialize", ""), (200, "OK".to_owned()));
    assert_eq!(peer.call("POST /invoke", "/invoke", "an event"), (200, "an event".to_owned()));
    assert_eq!(peer.call("GET /pre-freeze", "/pre-freeze", ""), (200, "OK".to_owned()));
    assert_eq!(peer.lifecycle("phase"), "ready", "a call after pre-freeze is a thaw");
    assert_eq!(peer.call("GET /pre-stop", "/pre-stop", ""), (200, "OK".to_owned()));
    assert_eq!(container.stop(), 0);
    let log = container.log();
    for hook in ["Initialize", "Invoke", "PreFreeze", "PreStop"] {
        for edge in ["Start", "End"] {
            let marker = format!("FC {hook} {edge} RequestId: test-id\n");
            assert_eq!(log.matches(&marker).count(), 1, "{marker} in:\n{log}");
        }
    }
}

/// C-STOP-3: the function is PID 1. At SIGTERM it runs pre-stop, because the platform did not call it.
#[test]
fn stop_without_pre_stop() {
    let Some(image) = Image::build("stop") else { return };
    let container = Container::run(&image);
    assert_eq!(container.connect().call("POST /invoke", "/invoke", "x"), (200, "x".to_owned()));
    assert_eq!(container.stop(), 0);
    let log = container.log();
    assert!(log.contains("FC PreStop Start RequestId: ") && log.contains("FC PreStop End RequestId: "), "{log}");
}

/// A crate of one's own, made in an empty folder: its static binary lives a life in an image.
#[test]
fn a_crate_of_ones_own_in_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = Image::of("own", || Some(own_binary(folder.path()))) else { return };
    let container = Container::run(&image);
    let mut peer = container.connect();
    assert_eq!(peer.call("POST /initialize", "/initialize", ""), (200, "ready".to_owned()));
    assert_eq!(peer.call("POST /invoke", "/invoke", "an event"), (200, "an event".to_owned()));
    assert_eq!(peer.call("GET /served", "/http-invoke", ""), (200, "1".to_owned()));
    assert_eq!(peer.call("GET /pre-stop", "/pre-stop", ""), (200, "served 1".to_owned()));
    assert_eq!(container.stop(), 0);
}

/// Makes a crate by `make new` and builds it, with the versions of this checkout, because this machine has them.
fn own_binary(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crate_folder = folder.join("own-function");
    let triple = "x86_64-unknown-linux-musl";
    let run = |what: &str, command: &mut Command| {
        let output = command.output().expect(what);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let name = format!("NAME={}", crate_folder.display());
    run("make new", Command::new("make").args(["new", &name]).current_dir(root));
    std::fs::copy(root.join("Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template");
    let build = ["build", "--release", "--offline", "--target", triple, "--target-dir"];
    let mut cargo = Command::new(env!("CARGO"));
    run("cargo build", cargo.args(build).arg(&target).current_dir(&crate_folder).env_remove("RUSTFLAGS"));
    target.join(triple).join("release/own-function")
}

/// In FC 2.0 the platform announces the freeze.
#[test]
fn a_pause_after_pre_freeze() {
    let Some(image) = Image::build("announced") else { return };
    let container = Container::run(&image);
    let mut peer = container.connect();
    assert_eq!(peer.call("GET /pre-freeze", "/pre-freeze", ""), (200, "OK".to_owned()));
    let (thaw, paused) = call_across_a_pause(&container, &mut peer);
    assert_eq!(thaw["evidence"]["preFreeze"], true, "{thaw}");
    assert_gap(&thaw, paused);
}

/// C-FRZ-2: in FC 3.0 the platform does not announce the freeze. The interrupted wait shows that the control group was
/// frozen.
#[test]
fn an_unannounced_pause() {
    let Some(image) = Image::build("unannounced") else { return };
    let container = Container::run(&image);
    let mut peer = container.connect();
    assert_eq!(peer.lifecycle("lastThaw"), Value::Null);
    let (thaw, paused) = call_across_a_pause(&container, &mut peer);
    assert_eq!(thaw["evidence"]["preFreeze"], false, "{thaw}");
    assert_eq!(thaw["evidence"]["interrupted"], true, "{thaw}");
    assert_gap(&thaw, paused);
    let again = peer.lifecycle("thawed");
    assert_eq!(again, 1, "one freeze is one thaw");
}

/// Pauses the container, sends a call on a connection that was open before, and unpauses the container. Returns the
/// thaw that the function saw, and a lower bound of the time for which it was paused.
fn call_across_a_pause(container: &Container, peer: &mut Connection) -> (Value, Duration) {
    docker(&["pause", &container.id]);
    let paused_at = Instant::now();
    peer.send("GET /", "/http-invoke", "");
    // The container was paused before the request was sent, and is still paused after this look.
    assert!(!peer.has_answer_within(Duration::from_millis(100)), "answered while paused");
    assert_eq!(container.state("Paused"), "true");
    let paused = paused_at.elapsed();
    docker(&["unpause", &container.id]);
    let (status, body) = peer.receive();
    assert_eq!(status, 200, "{body}");
    let document: Value = serde_json::from_str(&body).unwrap();
    (document["lifecycle"]["lastThaw"].clone(), paused)
}

fn assert_gap(thaw: &Value, paused: Duration) {
    let gap_ms = thaw["gapMs"].as_u64().unwrap();
    assert!(u128::from(gap_ms) >= paused.as_millis(), "a gap of {gap_ms} ms, but the pause lasted {paused:?}");
}

/// An image that only this test uses; dropping it removes it. It locks the engine, because removing one image takes
/// layers away that another build has just found in the cache.
struct Image {
    name: String,
    _engine: MutexGuard<'static, ()>,
}

static ENGINE: Mutex<()> = Mutex::new(());

impl Image {
    /// Says so and returns `None` if no engine answers.
    fn build(what: &str) -> Option<Image> {
        Image::of(what, || None)
    }

    /// The image of the binary that `binary` builds, by default the inspector.
    fn of(what: &str, binary: impl FnOnce() -> Option<PathBuf>) -> Option<Image> {
        let engine = Command::new("docker").args(["info", "--format", "{{.ServerVersion}}"]).output();
        if !engine.as_ref().is_ok_and(|output| output.status.success()) {
            let why = match engine {
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => format!("docker: {error}"),
            };
            skip(format_args!("container test '{what}', no Docker engine answers: {why}"));
            return None;
        }
        // A test that panicked has removed its image too.
        let guard = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let image = Image { name: format!("fc-hooks-test:{what}-{}", std::process::id()), _engine: guard };
        let binary = binary().map(|path| format!("BIN={}", path.display()));
        let make = Command::new("make")
            .args(["image", &format!("IMAGE={}", image.name)])
            .args(binary)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("make");
        assert!(make.status.success(), "make image: {}", String::from_utf8_lossy(&make.stderr));
        Some(image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "--force", &self.name]).output();
    }
}

/// A running container without the rights that the platform may take away.
struct Container {
    id: String,
}

impl Container {
    fn run(image: &Image) -> Container {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fc-hooks-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Its name is known before it exists, so that `Drop` removes it even if `docker run` fails.
        let container = Container { id: name };
        #[rustfmt::skip]
        docker(&[
            "run", "--detach", "--name", &container.id, "--publish", "127.0.0.1::9000", "--read-only",
            "--cap-drop", "ALL", "--security-opt", "no-new-privileges", &image.name,
        ]);
        container
    }

    /// A connection to the function, once it listens. The engine's proxy would accept connections before that.
    fn connect(&self) -> Connection {
        let address = docker(&["port", &self.id, "9000/tcp"]);
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("fc-hooks: listening on ") {
            assert_eq!(self.state("Running"), "true", "{}", self.log());
            assert!(Instant::now() < deadline, "does not listen:\n{}", self.log());
        }
        let stream = TcpStream::connect(address.lines().next().unwrap()).expect("connect to the published port");
        Connection { stream, decoder: Decoder::default() }
    }

    fn state(&self, field: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{.State.{field}}}}}"), &self.id])
    }

    /// Stops the container by SIGTERM, and returns its exit code: 137 if the engine had to kill it.
    fn stop(&self) -> i32 {
        docker(&["stop", "-t", "20", &self.id]);
        self.state("ExitCode").parse().unwrap()
    }

    /// Standard output and standard error so far.
    fn log(&self) -> String {
        let output = Command::new("docker").args(["logs", &self.id]).output().expect("docker");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.id]).output();
    }
}

/// A keep-alive connection, as the platform holds one.
struct Connection {
    stream: TcpStream,
    decoder: Decoder,
}

impl Connection {
    fn call(&mut self, line: &str, control_path: &str, body: &str) -> (u16, String) {
        self.send(line, control_path, body);
        self.receive()
    }

    /// A field of the lifecycle in the inspector's document.
    fn lifecycle(&mut self, field: &str) -> Value {
        let (status, body) = self.call("GET /", "/http-invoke", "");
        assert_eq!(status, 200, "{body}");
        let document: Value = serde_json::from_str(&body).unwrap();
        document["lifecycle"][field].clone()
    }

    fn send(&mut self, line: &str, control_path: &str, body: &str) {
        // Another id, because the tests count the log markers of `test-id`.
        let id = if control_path == "/http-invoke" { "http-id" } else { "test-id" };
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: test\r\nx-fc-request-id: {id}\r\nx-fc-control-path: {control_path}\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).unwrap();
    }

    fn has_answer_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        match self.stream.peek(&mut [0]) {
            Ok(_) => true,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => false,
            Err(error) => panic!("the pause ended the connection: {error}"),
        }
    }

    /// Status and body of the next reply.
    fn receive(&mut self) -> (u16, String) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            if let Some(reply) = self.decoder.response().unwrap() {
                return (reply.status, String::from_utf8(reply.body).unwrap());
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).expect("a reply");
            assert!(count > 0, "closed after {}", self.decoder.unread().escape_ascii());
            self.decoder.feed(&bytes[..count]);
        }
    }
}

/// Runs the Docker client, and returns its standard output without the last line feed.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
