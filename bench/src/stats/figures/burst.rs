//! Figures of bursts of cold starts.

use super::load::CLIENT_BUSY_MAX;
use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{BurstSample, Bursts, Results};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

/// The contender that stands for the project: ten lines of a function.
const OURS: &str = "hello";

/// All contenders in bursts of one size.
#[derive(Clone, Debug)]
pub struct BurstFigures<'a> {
    /// How many start at once.
    pub instances: u32,
    /// The client was busy in at least one burst, so ratios are those of the instances' processor time.
    pub client_limits: bool,
    /// The longest time between two looks for ports that are open, of the median burst.
    pub attempt_pause_us: Option<f64>,
    /// The baseline first.
    pub rows: Vec<BurstRow<'a>>,
}

/// One contender in bursts of one size. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct BurstRow<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// When half of the instances had answered, of each burst.
    pub middle: Sorted,
    /// When nine of ten had answered, of each burst.
    pub p90: Sorted,
    /// When the last had answered, of each burst.
    pub last: Sorted,
    /// The last as a ratio to the baseline's; where the client limits, the processor time.
    pub ratio: Option<Estimate>,
    /// The same of the project's ten lines, as a ratio to this one's. Not of the project's own.
    pub ours: Option<Estimate>,
    /// The processor time of all instances together, of each burst.
    pub cpu: Sorted,
    /// The same as a ratio to the baseline's.
    pub cpu_ratio: Option<Estimate>,
    /// The share of its processor's time that the client used; the largest of all bursts.
    pub client_busy: Option<f64>,
    /// The reasons of bursts in which not all answered.
    pub failures: &'a [String],
    /// Why there were fewer bursts than rounds, if so.
    pub stopped_by: Option<&'a str>,
}

/// Every size, the least first.
pub fn bursts(results: &Results) -> Vec<BurstFigures<'_>> {
    let all = results.burst.as_ref().map_or(&[][..], |burst| &burst.bursts);
    let mut sizes: Vec<u32> = all.iter().map(|bursts| bursts.instances).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of_size = |instances| {
        let mine = || all.iter().filter(move |bursts| bursts.instances == instances);
        let samples = || mine().flat_map(|bursts| &bursts.samples);
        let client_limits = samples().any(|sample| sample.client_busy > CLIENT_BUSY_MAX);
        let time: Value = if client_limits { cpu } else { last };
        let of = |name: Option<&str>, value: Value| {
            let named = mine().find(|bursts| Some(bursts.name.as_str()) == name);
            named.map(|bursts| by_round(bursts, value)).unwrap_or_default()
        };
        let (to, ours, to_cpu) = (of(baseline(results), time), of(Some(OURS), time), of(baseline(results), cpu));
        let with_ratios = |bursts| {
            let times = by_round(bursts, time);
            let ours = (bursts.name != OURS).then(|| ratio(&ours, &times)).flatten();
            let cpu_ratio = ratio(&by_round(bursts, cpu), &to_cpu);
            BurstRow { ratio: ratio(&times, &to), ours, cpu_ratio, ..row(results, bursts) }
        };
        let mut rows: Vec<BurstRow> = mine().map(with_ratios).collect();
        in_order(results, &mut rows, |row| row.contender.name);
        let attempt_pause_us = median(samples().map(|sample| sample.attempt_pause_us));
        BurstFigures { instances, client_limits, attempt_pause_us, rows }
    };
    sizes.into_iter().map(of_size).collect()
}

fn row<'a>(results: &'a Results, bursts: &'a Bursts) -> BurstRow<'a> {
    let of = |value: fn(&BurstSample) -> f64| sorted(&by_round(bursts, value));
    let share = |sample: &BurstSample, share| Sorted::new(sample.ready_us.iter().copied()).percentile(share);
    BurstRow {
        contender: contender(results, &bursts.name),
        middle: Sorted::new(bursts.samples.iter().filter_map(|sample| share(sample, 0.5))),
        p90: Sorted::new(bursts.samples.iter().filter_map(|sample| share(sample, 0.9))),
        last: of(last),
        ratio: None,
        ours: None,
        cpu: of(cpu),
        cpu_ratio: None,
        client_busy: Sorted::new(bursts.samples.iter().map(|sample| sample.client_busy)).largest(),
        failures: &bursts.failures,
        stopped_by: bursts.stopped_by.as_deref(),
    }
}

/// What is compared.
type Value = fn(&BurstSample) -> f64;

fn cpu(sample: &BurstSample) -> f64 {
    sample.cpu_us
}

/// When the last had answered.
fn last(sample: &BurstSample) -> f64 {
    Sorted::new(sample.ready_us.iter().copied()).largest().unwrap_or(f64::NAN)
}

fn by_round(bursts: &Bursts, value: Value) -> Vec<InRound> {
    bursts.samples.iter().map(|sample| (sample.round, value(sample))).collect()
}
