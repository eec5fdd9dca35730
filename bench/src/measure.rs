//! A run of measures: who takes part, one measure after the other, and the files that come of it.
//!
//! Owns the order and the description of machine and run. What a measure does is its own affair.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use clap::Args;

use crate::harness::{Contenders, Plan, Progress, StagedBinaries};
use crate::results::{Machine, Results, SCHEMA};
use crate::{coldstart, density, load, thaw};
use fc_emulator::error::{Error, Result};

/// What every measure is told.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// Only these contenders, and the baseline, which ratios refer to
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,

    /// A server of your own beside them; may be given again. It gets its port in FC_SERVER_PORT
    #[arg(long = "contender", value_name = "NAME=COMMAND")]
    given: Vec<String>,

    /// Fewer rounds: a first look in a minute
    #[arg(long)]
    quick: bool,

    /// Decides the order within rounds (default: the time)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Write every sample to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// The checkout whose builds take part
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    root: PathBuf,
}

/// Which measures, in the order they are run.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// Start to first answer.
    pub coldstart: Option<coldstart::Args>,
    /// Freeze to first answer.
    pub thaw: Option<thaw::Args>,
    /// Requests per second and latency.
    pub load: Option<load::Args>,
    /// Many instances at once.
    pub density: Option<density::Args>,
}

impl MeasureArgs {
    /// The file for every sample.
    pub fn json(&self) -> Option<&Path> {
        self.json.as_deref()
    }

    /// The file for the page.
    pub fn html(&self) -> Option<&Path> {
        self.html.as_deref()
    }

    fn list(&self) -> Result<Contenders> {
        let mut list = Contenders::find(&self.root)?;
        for text in &self.given {
            list.give(text)?;
        }
        if !self.only.is_empty() {
            let given = self.given.iter().filter_map(|text| text.split_once('=')).map(|(name, _)| name.to_owned());
            list.keep(&self.only.iter().cloned().chain(given).collect::<Vec<String>>())?;
        }
        if list.contenders.is_empty() {
            return Err(Error::new("there is nobody to measure; `make bench-targets` builds what it can"));
        }
        Ok(list)
    }
}

/// Measures.
///
/// # Errors
/// When there is nobody to measure, or a measure can measure nobody.
pub fn run(args: &MeasureArgs, measures: &Measures, progress: &mut dyn Progress) -> Result<Results> {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let clock = Instant::now();
    let Contenders { mut contenders, mut skipped } = args.list()?;
    let mut results = Results {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        began: began.as_secs(),
        seconds: 0.0,
        command: std::env::args().skip(1).collect(),
        machine: machine(),
        contenders: contenders.iter().map(|contender| contender.described.clone()).collect(),
        skipped: Vec::new(),
        coldstart: None,
        load: None,
        thaw: None,
        density: None,
    };
    let seed = args.seed.unwrap_or(began.as_nanos() as u64);
    let staged = StagedBinaries::below(&args.root)?;
    contenders.iter_mut().try_for_each(|contender| staged.take(contender))?;
    let plan = Plan { contenders, quick: args.quick, seed };
    let skips = &mut skipped;
    results.coldstart =
        measures.coldstart.as_ref().map(|args| coldstart::run(&plan, args, progress, skips)).transpose()?;
    results.thaw = measures.thaw.as_ref().map(|args| thaw::run(&plan, args, progress, skips)).transpose()?;
    results.load = measures.load.as_ref().map(|args| load::run(&plan, args, progress, skips)).transpose()?;
    results.density = measures.density.as_ref().map(|args| density::run(&plan, args, progress, skips)).transpose()?;
    results.skipped = skipped;
    results.seconds = clock.elapsed().as_secs_f64();
    Ok(results)
}

/// What it runs on.
pub fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kernel = rustix::system::uname();
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_kb: memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0),
        kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
        load: read("/proc/loadavg").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0),
    }
}
