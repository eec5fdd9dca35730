//! What an engine makes of the images: layers, and the times to load one and to make a container of it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use super::Packed;
use crate::coldstart::Outcome;
use crate::coldstart::container::{self, Container, docker};
use crate::harness::{Call, Client, Contender, Plan, Progress, micros, now, shuffled};
use crate::results::{Image, Images};
use fc_emulator::cleanup::{self, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::Error;
use fc_emulator::target::Port;

/// From `docker run` to the reply that proves that an image serves.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Imports each image, proves it, saves it as `docker save` does, and then loads it and makes a container of it in
/// every round.
pub fn measure(plan: &Plan, rounds: u32, packed: &[Packed<'_>], found: &mut Images, progress: &mut dyn Progress) {
    found.engine = docker(&["version", "--format", "Docker {{.Server.Version}}"]).ok();
    progress.begin("image, engine", packed.len() as u64 * (u64::from(rounds) + 1));
    let mut saved = Vec::new();
    for (contender, (tree, _), index) in packed {
        let row = &mut found.contenders[*index];
        match Saved::make(contender, tree) {
            Ok(image) => {
                row.layers = image.layers;
                saved.push((image, *index));
            }
            Err(why) => row.failures.push(why),
        }
        progress.step(contender.name());
    }
    for round in 0..rounds {
        for at in shuffled(saved.len(), plan.seed, round) {
            let (image, index) = &saved[at];
            let row = &mut found.contenders[*index];
            if let Err(why) = image.round(round, row) {
                row.failures.push(format!("round {round}: {why}"));
            }
            progress.step(&row.name);
        }
    }
}

/// An image as `docker save` writes it. Dropping it removes what the engine has of it.
struct Saved {
    image: container::Image,
    archive: File,
    layers: Option<u64>,
}

/// A container that is never started.
struct Created(String);

impl Undo for Created {
    fn undo(&self) {
        // It may not exist yet.
        let _ = docker(&["rm", "--force", "--volumes", &self.0]);
    }
}

impl Saved {
    fn make(contender: &Contender, tree: &crate::harness::Tree) -> Outcome<Self> {
        let image = container::Image::import(contender, tree)?;
        prove(contender, &image).map_err(|why| format!("its image does not serve: {why}"))?;
        let layers = docker(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", image.tag()])?;
        let archive = tempfile::tempfile().map_err(|cause| format!("docker save: {cause}"))?;
        let out = archive.try_clone().map_err(|cause| format!("docker save: {cause}"))?;
        container::docker_with(&["save", image.tag()], Stdio::null(), Some(out.into()))?;
        Ok(Self { image, archive, layers: layers.parse().ok() })
    }

    fn round(&self, round: u32, row: &mut Image) -> Outcome<()> {
        docker(&["rmi", "--force", self.image.tag()])?;
        let mut input = self.archive.try_clone().map_err(|cause| format!("docker load: {cause}"))?;
        std::io::Seek::rewind(&mut input).map_err(|cause| format!("docker load: {cause}"))?;
        let began = now();
        container::docker_with(&["load", "--quiet"], input.into(), None)?;
        row.load_us.push((round, micros(began, now())));
        let name = format!("{}-{round}", self.image.tag().replace(':', "-"));
        let (took, _guard) = cleanup::make(|| {
            let began = now();
            let created = docker(&["create", "--pull", "never", "--name", &name, self.image.tag()]);
            created.map(|_| (micros(began, now()), Created(name.clone()))).map_err(Error::new)
        })
        .map_err(|cause| cause.to_string())?;
        row.create_us.push((round, took));
        Ok(())
    }
}

/// Runs a container of it until it has answered.
fn prove(contender: &Contender, image: &container::Image) -> Outcome<()> {
    let port = Port::free().map_err(|cause| cause.to_string())?;
    let container = Container::run(contender, image, port.number(), &[])?;
    let (client, deadline) = (Client::default(), Deadline::after(ANSWER_WAIT));
    let address = (Ipv4Addr::LOCALHOST, port.number()).into();
    let mut conn =
        client.connect_to(contender, address, deadline, || container.ended()).map_err(|cause| cause.to_string())?;
    conn.call(Call::Initialize, deadline).map_err(|cause| cause.to_string())
}
