//! Figures of thaws.

use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{Results, ThawSample, Thaws};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, difference, ratio};

/// The thaws of one contender, in microseconds.
#[derive(Clone, Debug)]
pub struct ThawFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// From the thaw to the reply.
    pub reply: Sorted,
    /// The same with their rounds, for pairs.
    pub by_round: Vec<InRound>,
    /// The same call once more, after the thaw.
    pub warm: Sorted,
    /// The time of the reply, as a ratio to the baseline's.
    pub ratio: Option<Estimate>,
    /// How much longer the reply took than the warm one after it.
    pub above_warm: Option<Estimate>,
    /// The median of minor page faults between the thaw and the reply.
    pub minor_faults: Option<f64>,
    /// The median of major page faults between the thaw and the reply.
    pub major_faults: Option<f64>,
    /// The reasons of thaws without a reply.
    pub failures: &'a [String],
}

/// The figures of every contender.
pub fn thaw<'a>(results: &'a Results) -> Vec<ThawFigures<'a>> {
    let all = results.thaw.as_ref().map_or(&[][..], |thaw| &thaw.contenders);
    let by_round = |thaws: &Thaws, value: fn(&ThawSample) -> f64| -> Vec<InRound> {
        thaws.samples.iter().map(|sample| (sample.round, value(sample))).collect()
    };
    let to = all.iter().find(|thaws| Some(thaws.name.as_str()) == baseline(results));
    let to = to.map(|thaws| by_round(thaws, |sample| sample.reply_us)).unwrap_or_default();
    let figures = |thaws: &'a Thaws| {
        let Thaws { name, samples, failures } = thaws;
        let reply = by_round(thaws, |sample| sample.reply_us);
        let warm = by_round(thaws, |sample| sample.warm_us);
        ThawFigures {
            contender: contender(results, name),
            reply: sorted(&reply),
            warm: sorted(&warm),
            ratio: ratio(&reply, &to),
            above_warm: difference(&reply, &warm),
            by_round: reply,
            minor_faults: median(samples.iter().map(|sample| sample.minor_faults as f64)),
            major_faults: median(samples.iter().map(|sample| sample.major_faults as f64)),
            failures,
        }
    };
    let mut rows: Vec<ThawFigures> = all.iter().map(figures).collect();
    in_order(results, &mut rows, |row| row.contender.name);
    rows
}
