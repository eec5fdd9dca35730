//! Figures of cold starts on a share of a processor.

use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{QuotaStart, QuotaStarts, Results};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

/// The contender that stands for the project: ten lines of a function.
const OURS: &str = "hello";

/// All contenders on one share.
#[derive(Clone, Debug)]
pub struct QuotaFigures<'a> {
    /// The share, in processors.
    pub vcpu: f64,
    /// The baseline first.
    pub rows: Vec<QuotaRow<'a>>,
}

/// One contender on one share. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct QuotaRow<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// When `/initialize` was answered.
    pub initialize: Sorted,
    /// The same as a ratio to the baseline's.
    pub ratio: Option<Estimate>,
    /// The time of the project's ten lines, as a ratio to this one's. Not of the project's own.
    pub ours: Option<Estimate>,
    /// The share of starts that were throttled at least once.
    pub throttled: Option<f64>,
    /// The median time for which a start stood still.
    pub throttled_us: Option<f64>,
    /// The median processor time.
    pub cpu_us: Option<f64>,
    /// The reasons of starts that got no reply.
    pub failures: &'a [String],
    /// Why there were fewer starts than rounds, if so.
    pub stopped_by: Option<&'a str>,
}

/// Every share, the least first.
pub fn quota<'a>(results: &'a Results, all: &'a [QuotaStarts]) -> Vec<QuotaFigures<'a>> {
    let mut shares: Vec<f64> = all.iter().map(|starts| starts.vcpu).filter(|share| share.is_finite()).collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    let on = |vcpu: f64| {
        let mine = || all.iter().filter(|starts| starts.vcpu == vcpu);
        let of = |name: Option<&str>| {
            mine().find(|starts| Some(starts.name.as_str()) == name).map(by_round).unwrap_or_default()
        };
        let (to, ours) = (of(baseline(results)), of(Some(OURS)));
        let mut rows: Vec<QuotaRow> = mine().map(|starts| row(results, starts, &to, &ours)).collect();
        in_order(results, &mut rows, |row| row.contender.name);
        QuotaFigures { vcpu, rows }
    };
    shares.into_iter().map(on).collect()
}

fn row<'a>(results: &'a Results, starts: &'a QuotaStarts, to: &[InRound], ours: &[InRound]) -> QuotaRow<'a> {
    let rounds = by_round(starts);
    let samples = &starts.samples;
    let throttled = samples.iter().filter(|start| start.throttled_periods > 0).count();
    QuotaRow {
        contender: contender(results, &starts.name),
        initialize: sorted(&rounds),
        ratio: ratio(&rounds, to),
        ours: (starts.name != OURS).then(|| ratio(ours, &rounds)).flatten(),
        throttled: (!samples.is_empty()).then(|| throttled as f64 / samples.len() as f64),
        throttled_us: median(samples.iter().map(|start| start.throttled_us)),
        cpu_us: median(samples.iter().filter_map(|start| start.cpu_us)),
        failures: &starts.failures,
        stopped_by: starts.stopped_by.as_deref(),
    }
}

fn by_round(starts: &QuotaStarts) -> Vec<InRound> {
    starts.samples.iter().map(|QuotaStart { round, initialize_us, .. }| (*round, *initialize_us)).collect()
}
