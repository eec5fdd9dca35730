//! Figures of restores.

use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{RestoreSample, Restores, Results};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

/// The contender that stands for the project: ten lines of a function.
const OURS: &str = "hello";

/// All contenders in one way.
#[derive(Clone, Debug)]
pub struct RestoreFigures<'a> {
    /// The way.
    pub way: &'a str,
    /// The baseline first.
    pub rows: Vec<RestoreRow<'a>>,
}

/// One contender in one way. Times are in microseconds from the beginning of a restore.
#[derive(Clone, Debug)]
pub struct RestoreRow<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// The bytes that were saved.
    pub saved_bytes: Option<u64>,
    /// The same above the baseline's.
    pub above_bytes: Option<i64>,
    /// When the first call was answered.
    pub reply: Sorted,
    /// The median time from when it ran to the reply.
    pub call_us: Option<f64>,
    /// The reply, as a ratio to the baseline's.
    pub ratio: Option<Estimate>,
    /// The reply of the project's ten lines, as a ratio to this one's. Not of the project's own.
    pub ours: Option<Estimate>,
    /// The same of the time from when it ran to the reply.
    pub ours_call: Option<Estimate>,
    /// The median of page faults between the restore and the reply.
    pub faults: Option<f64>,
    /// The reasons of restores without a reply.
    pub failures: &'a [String],
}

/// Every way, in the order of the run.
pub fn restores(results: &Results) -> Vec<RestoreFigures<'_>> {
    let all = results.restore.as_ref().map_or(&[][..], |restore| &restore.restores);
    let mut ways: Vec<&str> = Vec::new();
    for restores in all {
        if !ways.contains(&restores.way.as_str()) {
            ways.push(&restores.way);
        }
    }
    let of = |way| {
        let mine: Vec<&Restores> = all.iter().filter(|restores| restores.way == way).collect();
        let mut rows: Vec<RestoreRow> = mine.iter().map(|restores| row(results, restores, &mine)).collect();
        in_order(results, &mut rows, |row| row.contender.name);
        RestoreFigures { way, rows }
    };
    ways.into_iter().map(of).collect()
}

fn row<'a>(results: &'a Results, restores: &'a Restores, all: &[&Restores]) -> RestoreRow<'a> {
    let find = |name: Option<&str>| all.iter().find(|it| Some(it.name.as_str()) == name).copied();
    let reply = |it: &Restores| in_rounds(it, |sample| sample.reply_us);
    let call = |it: &Restores| in_rounds(it, |sample| sample.reply_us - sample.restored_us);
    let (to, ours) = (find(baseline(results)), find(Some(OURS)).filter(|_| restores.name != OURS));
    let to_bytes = to.and_then(|it| it.saved_bytes);
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    RestoreRow {
        contender: contender(results, &restores.name),
        saved_bytes: restores.saved_bytes,
        above_bytes: restores.saved_bytes.zip(to_bytes).map(|(of, to)| bytes(of) - bytes(to)),
        reply: sorted(&reply(restores)),
        call_us: median(call(restores).into_iter().map(|(_, us)| us)),
        ratio: to.and_then(|it| ratio(&reply(restores), &reply(it))),
        ours: ours.and_then(|it| ratio(&reply(it), &reply(restores))),
        ours_call: ours.and_then(|it| ratio(&call(it), &call(restores))),
        faults: median(restores.faults.iter().map(|count| *count as f64)),
        failures: &restores.failures,
    }
}

fn in_rounds(restores: &Restores, value: fn(&RestoreSample) -> f64) -> Vec<InRound> {
    restores.samples.iter().map(|sample| (sample.round, value(sample))).collect()
}
