//! Freezes at random moments under load, by the real freezer, with short time limits.
//!
//! What must come of it: every call answered once, right and in order; no connection closed and no limit fired, though
//! many freezes are longer than all of them; one thaw callback for each freeze that had evidence.
//!
//! From the outside in: `bout` is the whole, with its checks; `driver` freezes by the `plan` and judges what the
//! callbacks say; `load` are the clients, each on a `wire`, by the `timekeeper`'s clock; `stage` holds the instance;
//! `report` tells. [`crate::endure`] is made of the same.

mod bout;
mod driver;
mod load;
mod plan;
mod report;
mod stage;
mod timekeeper;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use bout::{GROWTH_KB_MAX, Plan, Report, Until, run as bout};
pub use load::{Load, PATIENCE, get, post};
pub use plan::Rhythm;
pub use report::text;
pub use stage::{Stage, Start};
pub use timekeeper::Timekeeper;
pub use wire::{Reply, Wire};

use crate::contest::Progress;
use crate::error::{Error, Result};
use crate::freezer::Way;
use crate::subject::Spec;

/// Every time limit of the instance. Some freezes are longer, and what an honest client takes is far below.
pub const LIMIT: Duration = Duration::from_secs(1);

const RHYTHM: Rhythm = Rhythm { awake_ms_max: 30, frozen_ms_max: 1500 };

/// An engine takes so long to freeze and thaw that with less between an honest client would see nothing but freezes.
const RHYTHM_OF_ENGINES: Rhythm = Rhythm { awake_ms_max: 400, ..RHYTHM };

/// What can be set.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How often it is frozen
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cycles: u64,

    /// Clients with a connection each
    #[arg(long, default_value_t = 40, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,

    /// Freeze a container of this image, by docker pause
    #[arg(long, value_name = "IMAGE", conflicts_with = "way")]
    image: Option<String>,

    /// How a command is frozen: cgroup (version 1 or 2, whichever is there), cgroup-v1, cgroup-v2, stop (SIGSTOP)
    #[arg(long, default_value = "cgroup", value_name = "WAY", value_parser = parse_way)]
    way: Way,

    /// What all bouts are told
    #[command(flatten)]
    pub common: Common,
}

/// What bouts of all kinds are told.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Common {
    /// Decides the plan, not the timing (default: the time)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// A further environment variable for the subject; may be given again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,

    /// Write everything to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// The subject: a function that counts its callbacks, such as `env SUBJECT=tally target/release/examples/subject`
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<String>,
}

impl Common {
    /// The seed.
    pub fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.seed.unwrap_or_else(|| now().as_nanos() as u64 % 1_000_000_000)
    }

    /// How the subject is started, with these variables before those that were given.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(&self, image: Option<&str>, way: Way, env: &[(&str, &str)]) -> Result<Start> {
        let words = self.words.clone();
        let spec = match image {
            Some(name) => Spec::Image { name: name.to_owned(), args: words },
            None if words.is_empty() => return Err(Error::new("give a subject: `-- COMMAND ARGS`")),
            None => Spec::Command(words),
        };
        let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Start { spec, way, env: own.chain(self.env.iter().cloned()).collect() })
    }
}

/// Freezes.
///
/// # Errors
/// When it cannot be tried.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let plan = Plan {
        name: "freezes",
        start: args.common.start(args.image.as_deref(), args.way, &[("FC_HOOKS_LIMITS", &limits())])?,
        until: Until::Freezes(args.cycles),
        rhythm: if args.image.is_some() { RHYTHM_OF_ENGINES } else { RHYTHM },
        seed: args.common.seed(),
        clients: usize::from(args.clients),
        rest_ms_max: 40,
        limit: LIMIT,
        rascals: None,
        overture: initialize,
        failing_thaws: false,
    };
    bout(&plan, progress)
}

/// Every time limit there is, as the subject is told.
pub fn limits() -> String {
    let names = ["head", "body", "stall", "linger", "drain"];
    names.map(|name| format!("{name}_ms_max={}", LIMIT.as_millis())).join(",")
}

fn initialize(stage: &mut Stage) -> Result<Vec<String>> {
    let answer = stage.hook("POST /initialize", "")?;
    let wrong = (answer.status != 200).then(|| format!("initialize was answered {}", answer.status));
    Ok(wrong.into_iter().collect())
}

/// A way to freeze, by its name here.
///
/// # Errors
/// When there is none of that name.
pub fn parse_way(text: &str) -> std::result::Result<Way, String> {
    match text {
        "cgroup" => Ok(Way::Auto),
        "cgroup-v1" => Ok(Way::CgroupV1),
        "cgroup-v2" => Ok(Way::CgroupV2),
        "stop" => Ok(Way::Sigstop),
        _ => Err("it must be one of cgroup, cgroup-v1, cgroup-v2, stop".to_owned()),
    }
}

fn parse_env(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".to_owned()),
    }
}
