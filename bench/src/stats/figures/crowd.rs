//! Figures of many instances at once.

use super::{Who, in_order, median, who};
use crate::results::{Crowd, Results};

/// All contenders with the same number of instances.
#[derive(Clone, Debug)]
pub struct Crowds<'a> {
    /// How many were asked for.
    pub wanted: u32,
    /// The floor first.
    pub rows: Vec<CrowdFigures<'a>>,
}

/// The instances of one contender. Memory is the median over them, in kilobytes each.
#[derive(Clone, Debug)]
pub struct CrowdFigures<'a> {
    /// Whose.
    pub who: Who<'a>,
    /// What was seen.
    pub crowd: &'a Crowd,
    /// Private memory.
    pub private_kb: Option<f64>,
    /// Proportional share of memory.
    pub proportional_kb: Option<f64>,
    /// Resident memory.
    pub resident_kb: Option<f64>,
    /// Median time from the thaw of an instance to its reply, in microseconds.
    pub thaw_us: Option<f64>,
    /// Instances that answered, by the time until every one had: starts per second.
    pub starts_per_second: Option<f64>,
}

/// Every number of instances, from the least.
pub fn crowds(results: &Results) -> Vec<Crowds<'_>> {
    let all = results.density.as_ref().map_or(&[][..], |density| &density.crowds);
    let mut sizes: Vec<u32> = all.iter().map(|crowd| crowd.wanted).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let crowds = |wanted| {
        let mine = all.iter().filter(|crowd| crowd.wanted == wanted);
        let mut rows: Vec<CrowdFigures> = mine.map(|crowd| figures(results, crowd)).collect();
        in_order(results, &mut rows, |row| row.who.name);
        Crowds { wanted, rows }
    };
    sizes.into_iter().map(crowds).collect()
}

fn figures<'a>(results: &'a Results, crowd: &'a Crowd) -> CrowdFigures<'a> {
    let all_answered = crowd.answered > 0 && crowd.all_answered_us > 0.0;
    CrowdFigures {
        who: who(results, &crowd.name),
        crowd,
        private_kb: median(crowd.private_kb.iter().copied()),
        proportional_kb: median(crowd.proportional_kb.iter().copied()),
        resident_kb: median(crowd.resident_kb.iter().copied()),
        thaw_us: median(crowd.thaws_us.iter().copied()),
        starts_per_second: all_answered.then(|| f64::from(crowd.answered) * 1e6 / crowd.all_answered_us),
    }
}
