//! A run of measures: the contenders, one measure after the other, and the results.
//!
//! It decides the order, and describes the machine and the run. It does not know how a measure works.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use clap::Args;
use procfs::{CpuInfo, Current, LoadAverage, Meminfo};

use crate::harness::{Contender, Contenders, Echoes, Plan, Progress, StagedBinaries, distinct};
use crate::results::{Machine, Results, SCHEMA, Skipped};
use crate::{burst, coldstart, density, image, load, payload, proxy, restore, thaw};
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::FreezeWith;
use fc_emulator::options::DataOutputArgs;

/// The options of all measures.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// Measure only these contenders, and the baseline, to which ratios refer; one that was not built is named and
    /// skipped
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,

    /// Measure a server of your own, too; can be repeated. It gets its port in FC_SERVER_PORT, and for {port}
    #[arg(long = "contender", value_name = "NAME=COMMAND")]
    given: Vec<String>,

    /// Run fewer rounds: a first look in two minutes
    #[arg(long)]
    quick: bool,

    /// The seed of the order within rounds [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// The checkout whose builds are measured
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub root: PathBuf,

    /// Copy the programs that are measured into this folder [default: `target` in the checkout]
    #[arg(long, value_name = "FOLDER")]
    copies: Option<PathBuf>,

    /// Where the results go.
    #[command(flatten)]
    pub output: DataOutputArgs,

    /// Also write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub export_html: Option<PathBuf>,

    /// Also add the figures of the ten lines to this CSV file, and plot it on the page
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// The measures of a run, in their order.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// How thaw and density freeze.
    pub freeze_with: FreezeWith,
    /// From the start to the first reply.
    pub coldstart: Option<coldstart::Args>,
    /// From the start to the first reply on a share of a processor.
    pub quota: Option<coldstart::quota::Args>,
    /// Many starts at once.
    pub burst: Option<burst::Args>,
    /// From the freeze to the first reply.
    pub thaw: Option<thaw::Args>,
    /// Requests per second and latency.
    pub load: Option<load::Args>,
    /// Many instances at once.
    pub density: Option<density::Args>,
    /// From the restore of a saved instance to its first reply.
    pub restore: Option<restore::Args>,
    /// Events of several sizes, each answered with its own bytes.
    pub payload: Option<payload::Args>,
    /// The image of each contender.
    pub image: Option<image::Args>,
}

impl MeasureArgs {
    /// The contenders that the user has named.
    pub fn asked(&self) -> Vec<String> {
        let given = self.given.iter().filter_map(|text| text.split_once('=')).map(|(name, _)| name);
        distinct(&self.only.iter().map(String::as_str).chain(given).collect::<Vec<_>>())
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// The folder in which programs are copied.
    pub fn copies(&self) -> PathBuf {
        self.copies.clone().unwrap_or_else(|| self.root.join("target"))
    }

    fn list(&self) -> Result<Contenders> {
        let mut list = Contenders::find(&self.root)?;
        for text in &self.given {
            list.give(text)?;
        }
        if !self.only.is_empty() {
            let given = self.given.iter().filter_map(|text| text.split_once('=')).map(|(name, _)| name.to_owned());
            list.keep(&self.only.iter().cloned().chain(given).collect::<Vec<String>>())?;
        } else {
            list.sum_up(&self.root);
        }
        if list.contenders.is_empty() {
            let fix = "`make bench-targets` builds them, --root names their checkout, and --contender gives another";
            return Err(Error::new(format!("there are no contenders: {fix}")));
        }
        Ok(list)
    }
}

impl Measures {
    /// Whether one of them takes so long with heavy contenders that a quick run leaves them out.
    fn start_many(&self) -> bool {
        self.coldstart.is_some()
            || self.quota.is_some()
            || self.burst.is_some()
            || self.load.is_some()
            || self.density.is_some()
            || self.image.is_some()
    }
}

fn left_out(heavy: &Contender) -> Skipped {
    let reason = "a quick run leaves it out of counts, shares of a processor, bursts, density and images, which would \
                  take most of the time";
    Skipped { what: heavy.name().to_owned(), reason: reason.to_owned() }
}

/// Runs the measures.
///
/// # Errors
/// If there is no contender, or if a measure can measure no contender.
pub fn run(args: &MeasureArgs, measures: &Measures, progress: &mut dyn Progress) -> Result<Results> {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let clock = Instant::now();
    let Contenders { mut contenders, mut skipped, echoes: Echoes { mut echoes, skipped: mute } } = args.list()?;
    let mut results = empty(began.as_secs());
    results.contenders = contenders.iter().map(|contender| contender.described.clone()).collect();
    let seed = args.seed.unwrap_or(began.as_nanos() as u64);
    let mut staged = StagedBinaries::below(&args.copies());
    contenders.iter_mut().try_for_each(|contender| staged.take(contender))?;
    if measures.payload.is_some() {
        skipped.extend(mute);
        echoes.iter_mut().try_for_each(|echo| staged.take(&mut echo.contender))?;
    }
    let plan = Plan { contenders, echoes, quick: args.quick, seed };
    let skips = &mut skipped;
    let light = plan.without_heavy();
    if measures.start_many() {
        skips.extend(plan.contenders.iter().filter(|it| it.is_heavy && plan.quick).map(left_out));
    }
    results.coldstart =
        measures.coldstart.as_ref().map(|args| coldstart::run(&plan, args, progress, skips)).transpose()?;
    results.quota =
        measures.quota.as_ref().map(|args| coldstart::quota::run(&light, args, progress, skips)).transpose()?;
    results.burst = measures.burst.as_ref().map(|args| burst::run(&light, args, progress, skips)).transpose()?;
    results.thaw =
        measures.thaw.as_ref().map(|args| thaw::run(&plan, args, measures.freeze_with, progress, skips)).transpose()?;
    results.load = measures.load.as_ref().map(|args| load::run(&plan, args, progress, skips)).transpose()?;
    results.density =
        measures.density.as_ref().map(|args| density::run(&light, args, measures.freeze_with, progress)).transpose()?;
    results.payload = match measures.payload.as_ref().map(|args| payload::run(&plan, args, progress, skips)) {
        // A server of the user's own need not echo, and the other measures keep their results.
        Some(Err(cause)) if measures.coldstart.is_some() => {
            skips.push(Skipped { what: "payloads".to_owned(), reason: cause.to_string() });
            None
        }
        payload => payload.transpose()?,
    };
    let named = !(args.only.is_empty() && args.given.is_empty());
    results.restore =
        measures.restore.as_ref().map(|args| restore::run(&plan, named, args, progress, skips)).transpose()?;
    results.image = match measures.image.as_ref().map(|args| image::run(&light, args, progress, skips)) {
        // The last of several measures must not take the results of the others with it.
        Some(Err(cause)) if measures.coldstart.is_some() => {
            skips.push(Skipped { what: "images".to_owned(), reason: cause.to_string() });
            None
        }
        image => image.transpose()?,
    };
    results.skipped = skipped;
    results.seconds = clock.elapsed().as_secs_f64();
    Ok(results)
}

/// Measures proxies before a program, which is a run of its own: its contenders are the proxies.
///
/// # Errors
/// If nothing can be measured.
pub fn proxies(args: &MeasureArgs, own: &proxy::Args, progress: &mut dyn Progress) -> Result<Results> {
    if !args.given.is_empty() {
        return Err(Error::new("--contender names a server, and `proxy` measures proxies; leave it out"));
    }
    if args.copies.is_some() {
        return Err(Error::new("`proxy` measures programs where they are, without copies; leave out --copies"));
    }
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let clock = Instant::now();
    let mut results = empty(began.as_secs());
    let seed = args.seed.unwrap_or(began.as_nanos() as u64);
    proxy::run((&args.root, &args.only, args.quick, seed), own, progress, &mut results)?;
    results.seconds = clock.elapsed().as_secs_f64();
    Ok(results)
}

fn empty(began: u64) -> Results {
    Results {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        began,
        seconds: 0.0,
        command: std::env::args().skip(1).collect(),
        machine: machine(),
        contenders: Vec::new(),
        skipped: Vec::new(),
        coldstart: None,
        quota: None,
        burst: None,
        load: None,
        thaw: None,
        density: None,
        restore: None,
        payload: None,
        image: None,
        proxy: None,
    }
}

/// The machine of the run.
pub fn machine() -> Machine {
    let kernel = rustix::system::uname();
    let processor = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    Machine {
        processor: processor.unwrap_or_default(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_kb: Meminfo::current().map_or(0, |memory| memory.mem_total / 1024),
        kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
        load: LoadAverage::current().map_or(0.0, |load| load.one.into()),
    }
}
