//! Many instances at once: what each costs, how fast they come, and how they take a freeze.
//!
//! One fleet after the other, each of one contender: `fleet` leads it through its life, `capacity` says how many the
//! machine can take. Client and instances share all processors, because a fleet gets no quiet one in production either;
//! its times are those of the whole machine. Memory is counted by the kernel, page by page, and no noise touches it.

mod capacity;
mod fleet;

use std::time::Duration;

use clap::Args as Arguments;

use self::fleet::Host;
use crate::harness::{Client, Contender, Plan, Progress};
use crate::results::{Density, Fleet, Kind, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FreezeGroup, FreezeWith};

/// The fleet that everybody is measured in, with and without `--quick`.
const FLEET: u32 = 200;
const FLEET_QUICK: u32 = 50;

/// The fleet for a few, beside the baseline: it takes its time.
const FLEET_LARGE: u32 = 2_000;
const LARGE: [&str; 2] = ["hello", "hyper"];

/// What can be set.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// Instances at once, as many as fit; a list for several fleets (default: 200, or 50 with --quick; and 2000 of the
    /// baseline, hello and hyper)
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: Vec<u32>,

    /// Time limit for a fleet to start, again for it to answer, and again for it to be frozen and thawed (default: 8)
    #[arg(long, value_name = "SECS")]
    limit_secs: Option<f64>,

    /// How they are frozen
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    density_freeze_by: FreezeWith,
}

/// Measures all contenders. What goes wrong with a fleet is written beside its figures.
///
/// # Errors
/// When nobody can be frozen in the wanted way, or nobody answered.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, _skipped: &mut Vec<Skipped>) -> Result<Density> {
    let limit_secs = args.limit_secs.unwrap_or(8.0);
    let bad = |cause| Error::failed("wait for", format!("{limit_secs} s"), cause);
    let limit = Duration::try_from_secs_f64(limit_secs).map_err(bad)?;
    let host = Host { client: Client::default(), method: args.density_freeze_by, limit };
    let freezer = FreezeGroup::new(host.method)?.name().to_owned();
    let wanted = wanted(plan, &args.instances);
    progress.begin("density", wanted.len() as u64);
    let mut fleets: Vec<Fleet> = Vec::with_capacity(wanted.len());
    for (contender, instances) in wanted {
        fleets.push(host.gather(contender, instances)?);
        progress.step(&format!("{} × {instances}", contender.name()));
    }
    if fleets.iter().all(|fleet| fleet.answered == 0) {
        let first = fleets.iter().find_map(|fleet| fleet.stopped_by.as_deref());
        return Err(Error::failed("fleet", "anybody", first.unwrap_or("there is nobody")));
    }
    Ok(Density { freezer, fleets })
}

/// Who is measured in which fleet.
fn wanted<'a>(plan: &'a Plan, instances: &[u32]) -> Vec<(&'a Contender, u32)> {
    let everybody = |count: u32| plan.contenders.iter().map(move |contender| (contender, count));
    if !instances.is_empty() {
        return instances.iter().flat_map(|count| everybody(*count)).collect();
    }
    let is_large =
        |contender: &Contender| contender.described.kind == Kind::Baseline || LARGE.contains(&contender.name());
    match plan.quick {
        true => everybody(FLEET_QUICK).collect(),
        false => everybody(FLEET).chain(everybody(FLEET_LARGE).filter(|(contender, _)| is_large(contender))).collect(),
    }
}
