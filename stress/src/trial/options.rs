//! The options of all trials.

use std::time::{Duration, SystemTime};

use super::session::Start;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{FreezeArgs, OutputArgs, variable};
use fc_emulator::target::Spec;

/// Every time limit of the instance. Some freezes are longer, and an honest client takes far less.
pub const LIMIT: Duration = Duration::from_secs(1);

/// The options of all trials.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct CommonArgs {
    /// The seed of the plan, but not of the timing [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Set one more environment variable for the target; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// Connections that the target may keep to a program behind it, as the adapter does
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub kept: usize,

    /// How the target is frozen.
    #[command(flatten)]
    freeze: FreezeArgs,

    /// Where the result goes.
    #[command(flatten)]
    pub output: OutputArgs,

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

    /// How the target is started. These variables come before those of the command line.
    ///
    /// # Errors
    /// If there is no target.
    pub fn start(&self, image: Option<&str>, env: &[(&str, &str)]) -> Result<Start> {
        let words = self.words.clone();
        let spec = match image {
            Some(name) => Spec::Image { name: name.to_owned(), args: words },
            None if words.is_empty() => return Err(Error::new("give a target: `-- COMMAND ARGS`")),
            None => Spec::Command(words),
        };
        let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = own.chain(self.env.iter().cloned()).collect();
        Ok(Start { spec, freeze_with: self.freeze.freeze_with, env })
    }
}

/// Every time limit, as the target reads it.
pub fn limits() -> String {
    let names = ["head", "body", "stall", "linger", "drain"];
    names.map(|name| format!("{name}_ms_max={}", LIMIT.as_millis())).join(",")
}
