//! Containers in place of commands, on a real engine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{LONGEST, LOOK_PAUSE, Served};

fn docker(args: &[&str]) -> Option<String> {
    let ran = Command::new("docker").args(args).stdin(Stdio::null()).output().ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// An image with the static program of this repository, which is removed at the end.
struct Image(String);

impl Image {
    /// `None` if there is no engine or no such program, which is said.
    fn make(name: &str) -> Option<Self> {
        if docker(&["version", "--format", "{{.Server.Version}}"]).is_none() {
            fc_testkit::skip("no Docker engine answers: containers are not served");
            return None;
        }
        let folder = format!("../target/{}-unknown-linux-musl/release", std::env::consts::ARCH);
        let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        if !folder.join("fc-hooks").exists() {
            fc_testkit::skip("no static program is built for an image (`make build`): containers are not served");
            return None;
        }
        let packed = Command::new("tar").arg("-C").arg(folder).args(["-c", "fc-hooks"]).output().expect("tar runs");
        let name = format!("fc-emulator-serve-{name}-{}", std::process::id());
        let change = "ENTRYPOINT [\"/fc-hooks\"]";
        let mut import = Command::new("docker");
        import.args(["import", "--change", change, "-", &name]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut import = import.spawn().expect("docker runs");
        import.stdin.take().expect("it is piped").write_all(&packed.stdout).expect("it reads");
        assert!(import.wait().is_ok_and(|status| status.success()), "docker import");
        Some(Self(name))
    }

    fn serve(&self) -> Served {
        Served::start_words(&["--memory", "--image", &self.0, "--ready-timeout=120s", "--initialize-timeout=30s"])
    }

    /// The containers of the image, running or not.
    fn containers(&self) -> Vec<String> {
        let filter = format!("ancestor={}", self.0);
        let listed =
            docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).expect("the engine answers");
        listed.lines().map(str::to_owned).collect()
    }

    fn wait_until_gone(&self) {
        let until = Instant::now() + LONGEST;
        while !self.containers().is_empty() {
            assert!(Instant::now() < until, "left: {:?}", self.containers());
            std::thread::sleep(LOOK_PAUSE);
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for container in self.containers() {
            docker(&["rm", "--force", "--volumes", &container]);
        }
        docker(&["rmi", "--force", &self.0]);
    }
}

#[test]
fn containers_are_frozen_thawed_and_removed_even_after_a_kill() {
    let Some(image) = Image::make("life") else { return };
    let mut served = image.serve();
    let event = |served: &Served, text: &str| {
        let (status, _, body) = served.invoke("", text.as_bytes());
        assert_eq!((status, String::from_utf8_lossy(&body)), (200, text.into()));
    };
    event(&served, "cold");
    served.wait_for(&["frozen"]);
    let container = image.containers();
    assert_eq!(container.len(), 1, "{container:?}");
    let paused = || docker(&["inspect", "--format", "{{.State.Paused}}", &container[0]]);
    assert_eq!(paused().as_deref(), Some("true"), "the engine has frozen it");
    event(&served, "thawed");
    served.wait_for(&["frozen"]);
    assert_eq!(image.containers(), container, "the call started no other one");
    // A kill leaves the container; the next start of the emulator removes it.
    served.child.kill().expect("it runs");
    served.child.wait().expect("it ends");
    assert_eq!(image.containers(), container);
    let next = image.serve();
    assert_eq!(image.containers(), Vec::<String>::new(), "what a killed run left is removed before the ready line");
    // So is the client of the engine that followed its output.
    super::hostile::wait_until_gone(&container[0]);
    event(&next, "anew");
    assert_eq!(image.containers().len(), 1);
    drop(next);
    image.wait_until_gone();
}

#[test]
fn an_image_that_is_nowhere_is_named() {
    let Some(image) = Image::make("missing") else { return };
    let missing = format!("localhost:1/no-such-{}", image.0);
    let served = Served::start_words(&["--memory", "--image", &missing]);
    let (status, _, body) = served.invoke("", b"x");
    let said = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 502 && said.contains(&format!("there is no image `{missing}` here")), "{status} {said}");
}
