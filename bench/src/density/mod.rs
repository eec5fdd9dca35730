//! Many instances at once: the memory of each, how fast they start, and how they bear a freeze.
//!
//! One fleet runs after the other, each of one contender. `fleet` runs it. Client and instances share all processors,
//! because a fleet in production has no quiet processor either. The times are therefore those of the whole machine. The
//! kernel counts memory page by page, so memory does not depend on time.

mod fleet;

use std::time::Duration;

use clap::Args as Arguments;

use self::fleet::Host;
use crate::harness::{Client, Contender, Plan, Progress, distinct};
use crate::results::{Density, Fleet, Kind};
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use fc_emulator::options::{DURATION, duration};

/// The size of the fleet of every contender, with and without `--quick`.
const FLEET: u32 = 200;
const FLEET_QUICK: u32 = 50;

/// The size of the large fleet, for three contenders only, because it takes long.
const FLEET_LARGE: u32 = 2_000;
const LARGE: [&str; 2] = ["hello", "hyper"];

/// Options of the measure.
#[derive(Clone, Debug, Arguments)]
#[group(skip)]
pub struct Args {
    /// Instances at once, as many as fit; a list for several fleets [default: 200, or 50 with --quick; and 2000 of the
    /// baseline, hello and hyper]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: Vec<u32>,

    /// Time limit for a fleet to start, again to answer, and again to be frozen and thawed
    #[arg(long, default_value = "8s", value_name = DURATION, value_parser = duration)]
    fleet_timeout: Duration,
}

/// Measures all contenders. A failure in a fleet is written beside its figures.
///
/// # Errors
/// If no instance can be frozen by this method, or none answered.
pub fn run(plan: &Plan, args: &Args, freeze_with: FreezeWith, progress: &mut dyn Progress) -> Result<Density> {
    let host = Host { client: Client::default(), freeze_with, limit: args.fleet_timeout };
    let freezer = FreezeGroup::new(freeze_with)?.name().to_owned();
    let wanted = wanted(plan, &args.instances);
    progress.begin("density", wanted.len() as u64);
    let mut fleets: Vec<Fleet> = Vec::with_capacity(wanted.len());
    for (contender, instances) in wanted {
        fleets.push(host.gather(contender, instances)?);
        progress.step(&format!("{} × {instances}", contender.name()));
    }
    if fleets.iter().all(|fleet| fleet.answered == 0) {
        let first = fleets.iter().find_map(|fleet| fleet.stopped_by.as_deref());
        return Err(Error::failed("run a fleet of", "any contender", first.unwrap_or("there are no contenders")));
    }
    Ok(Density { freezer, fleets })
}

/// The contenders of each fleet.
fn wanted<'a>(plan: &'a Plan, instances: &[u32]) -> Vec<(&'a Contender, u32)> {
    let everybody = |count: u32| plan.contenders.iter().map(move |contender| (contender, count));
    if !instances.is_empty() {
        return distinct(instances).into_iter().flat_map(everybody).collect();
    }
    let is_large =
        |contender: &Contender| contender.described.kind == Kind::Baseline || LARGE.contains(&contender.name());
    match plan.quick {
        true => everybody(FLEET_QUICK).collect(),
        false => everybody(FLEET).chain(everybody(FLEET_LARGE).filter(|(contender, _)| is_large(contender))).collect(),
    }
}
