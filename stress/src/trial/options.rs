//! What trials of all kinds are told.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::session::Start;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::FreezeWith;
use fc_emulator::target::Spec;

/// Every time limit of the instance. Some freezes are longer, and what an honest client takes is far below.
pub const LIMIT: Duration = Duration::from_secs(1);

/// What trials of all kinds are told.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct CommonArgs {
    /// Decides the plan, not the timing (default: the time)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// A further environment variable for the target; may be given again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,

    /// Write everything to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// The target: a function that counts its callbacks, such as `env SUBJECT=tally target/release/examples/subject`
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<String>,
}

impl CommonArgs {
    /// The seed.
    pub fn seed(&self) -> u64 {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.seed.unwrap_or_else(|| now().as_nanos() as u64 % 1_000_000_000)
    }

    /// How the target is started, with these variables before those that were given.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(&self, image: Option<&str>, method: FreezeWith, env: &[(&str, &str)]) -> Result<Start> {
        let words = self.words.clone();
        let spec = match image {
            Some(name) => Spec::Image { name: name.to_owned(), args: words },
            None if words.is_empty() => return Err(Error::new("give a target: `-- COMMAND ARGS`")),
            None => Spec::Command(words),
        };
        let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Start { spec, method, env: own.chain(self.env.iter().cloned()).collect() })
    }
}

/// Every time limit there is, as the target is told.
pub fn limits() -> String {
    let names = ["head", "body", "stall", "linger", "drain"];
    names.map(|name| format!("{name}_ms_max={}", LIMIT.as_millis())).join(",")
}

/// A way to freeze, by its name here.
///
/// # Errors
/// If there is none of that name.
pub fn parse_method(text: &str) -> std::result::Result<FreezeWith, String> {
    match text {
        "cgroup" => Ok(FreezeWith::Auto),
        "cgroup-v1" => Ok(FreezeWith::CgroupV1),
        "cgroup-v2" => Ok(FreezeWith::CgroupV2),
        "stop" => Ok(FreezeWith::Sigstop),
        _ => Err("it must be one of cgroup, cgroup-v1, cgroup-v2, stop".to_owned()),
    }
}

fn parse_env(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".to_owned()),
    }
}
