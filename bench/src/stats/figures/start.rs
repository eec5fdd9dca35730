//! Figures of cold starts.

use super::{ContenderInfo, baseline, contender, in_order, sorted};
use crate::results::{Counts, Results, Start, Starts};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, difference, ratio};

/// The starts of one contender, in microseconds since the exec.
#[derive(Clone, Debug)]
pub struct StartFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// When a connection was accepted.
    pub port_open: Sorted,
    /// When `/initialize` was answered.
    pub initialize: Sorted,
    /// The same with their rounds, for pairs.
    pub by_round: Vec<InRound>,
    /// When the first `/invoke` was answered.
    pub invoke: Sorted,
    /// `/initialize`, as a ratio to the baseline's.
    pub ratio: Option<Estimate>,
    /// `/initialize`, as a difference to the baseline's.
    pub above: Option<Estimate>,
    /// The size of the image, for containers.
    pub image_bytes: Option<u64>,
    /// The reasons of starts that got no reply.
    pub failures: &'a [String],
}

/// The figures of processes or of containers.
pub fn starts<'a>(results: &'a Results, all: &'a [Starts]) -> Vec<StartFigures<'a>> {
    let by_round = |starts: &Starts, value: fn(&Start) -> f64| -> Vec<InRound> {
        starts.samples.iter().map(|sample| (sample.round, value(sample))).collect()
    };
    let to = all.iter().find(|starts| Some(starts.name.as_str()) == baseline(results));
    let to: Vec<InRound> = to.map(|starts| by_round(starts, |start| start.initialize_us)).unwrap_or_default();
    let figures = |starts: &'a Starts| {
        let rounds = by_round(starts, |start| start.initialize_us);
        StartFigures {
            contender: contender(results, &starts.name),
            port_open: sorted(&by_round(starts, |start| start.port_open_us)),
            initialize: sorted(&rounds),
            invoke: sorted(&by_round(starts, |start| start.invoke_us)),
            ratio: ratio(&rounds, &to),
            above: difference(&rounds, &to),
            by_round: rounds,
            image_bytes: starts.image_bytes,
            failures: &starts.failures,
        }
    };
    let mut rows: Vec<StartFigures> = all.iter().map(figures).collect();
    in_order(results, &mut rows, |row| row.contender.name);
    rows
}

/// The counts of one contender.
#[derive(Clone, Debug)]
pub struct CountFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// The counts.
    pub counts: &'a Counts,
    /// Minor page faults from the exec until ready, as a ratio to the baseline's.
    pub faults_ratio: Option<f64>,
}

/// The counts, which do not depend on time.
pub fn counts<'a>(results: &'a Results) -> Vec<CountFigures<'a>> {
    let all = results.coldstart.as_ref().map_or(&[][..], |coldstart| &coldstart.counts);
    let to = all.iter().find(|counts| Some(counts.name.as_str()) == baseline(results));
    let to = to.and_then(|counts| counts.minor_faults_to_ready).filter(|faults| *faults > 0);
    let figures = |counts: &'a Counts| {
        let Counts { name, minor_faults_to_ready: of, .. } = counts;
        let faults_ratio = of.zip(to).map(|(of, to)| of as f64 / to as f64);
        CountFigures { contender: contender(results, name), counts, faults_ratio }
    };
    let mut rows: Vec<CountFigures> = all.iter().map(figures).collect();
    in_order(results, &mut rows, |row| row.contender.name);
    rows
}
