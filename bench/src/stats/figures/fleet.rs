//! Figures of many instances at once.

use super::{ContenderInfo, contender, in_order, median};
use crate::results::{Fleet, Results};

/// All contenders with the same number of instances.
#[derive(Clone, Debug)]
pub struct Fleets<'a> {
    /// The number of instances that were requested.
    pub wanted: u32,
    /// The baseline first.
    pub rows: Vec<FleetFigures<'a>>,
}

/// The instances of one contender. Memory is the median over them, in kilobytes each.
#[derive(Clone, Debug)]
pub struct FleetFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// The measured fleet.
    pub fleet: &'a Fleet,
    /// Private memory.
    pub private_kb: Option<f64>,
    /// Proportional share of memory.
    pub proportional_kb: Option<f64>,
    /// Resident memory.
    pub resident_kb: Option<f64>,
    /// Median time from the thaw of an instance to its reply, in microseconds.
    pub thaw_us: Option<f64>,
    /// Instances that answered, divided by the time until all had answered: starts per second.
    pub starts_per_second: Option<f64>,
}

/// Every number of instances, the least first.
pub fn fleets(results: &Results) -> Vec<Fleets<'_>> {
    let all = results.density.as_ref().map_or(&[][..], |density| &density.fleets);
    let mut sizes: Vec<u32> = all.iter().map(|fleet| fleet.wanted).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let fleets = |wanted| {
        let mine = all.iter().filter(|fleet| fleet.wanted == wanted);
        let mut rows: Vec<FleetFigures> = mine.map(|fleet| figures(results, fleet)).collect();
        in_order(results, &mut rows, |row| row.contender.name);
        Fleets { wanted, rows }
    };
    sizes.into_iter().map(fleets).collect()
}

fn figures<'a>(results: &'a Results, fleet: &'a Fleet) -> FleetFigures<'a> {
    let all_answered = fleet.answered > 0 && fleet.all_answered_us > 0.0;
    FleetFigures {
        contender: contender(results, &fleet.name),
        fleet,
        private_kb: median(fleet.private_kb.iter().copied()),
        proportional_kb: median(fleet.proportional_kb.iter().copied()),
        resident_kb: median(fleet.resident_kb.iter().copied()),
        thaw_us: median(fleet.thaws_us.iter().copied()),
        starts_per_second: all_answered.then(|| f64::from(fleet.answered) * 1e6 / fleet.all_answered_us),
    }
}
