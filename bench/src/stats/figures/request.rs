//! Figures of one request under load.

use super::{ContenderInfo, baseline, contender, in_order, median, sorted};
use crate::results::{RequestCounts, RequestTime, Results};
use crate::stats::order::{Estimate, Sorted};
use crate::stats::paired::{InRound, ratio};

/// The contender that stands for the project: ten lines of a function.
const OURS: &str = "hello";

/// What one request takes of one contender. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct RequestFigures<'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// System calls of all names.
    pub calls: Option<f64>,
    /// Instructions in user space.
    pub instructions: Option<f64>,
    /// How they were counted.
    pub instructions_by: Option<&'a str>,
    /// The instructions of the project's ten lines, as a ratio to this one's. Not of the project's own.
    pub ours_instructions: Option<f64>,
    /// Processor time in user space, of each round.
    pub user: Sorted,
    /// The median of processor time in the kernel.
    pub kernel_us: Option<f64>,
    /// The time in user space, as a ratio to the baseline's.
    pub user_ratio: Option<Estimate>,
    /// The time in user space of the project's ten lines, as a ratio to this one's. Not of the project's own.
    pub ours_user: Option<Estimate>,
    /// How often it was looked in all rounds whether the server is in user space.
    pub looks: u64,
    /// The reasons of rounds without a time.
    pub failures: &'a [String],
}

/// All contenders.
pub fn requests<'a>(results: &'a Results) -> Vec<RequestFigures<'a>> {
    let all = results.load.as_ref().map_or(&[][..], |load| &load.counts);
    let find = |name: Option<&str>| all.iter().find(|counts| Some(counts.name.as_str()) == name);
    let (to, ours) = (find(baseline(results)), find(Some(OURS)));
    let figures = |counts: &'a RequestCounts| {
        let others = ours.filter(|ours| ours.name != counts.name);
        let to_this = |ours: &RequestCounts| ratio(&user(ours), &user(counts));
        RequestFigures {
            user_ratio: to.and_then(|to| ratio(&user(counts), &user(to))),
            ours_user: others.and_then(to_this),
            ours_instructions: others.and_then(|ours| Some(ours.instructions? / counts.instructions?)),
            ..alone(results, counts)
        }
    };
    let mut rows: Vec<RequestFigures> = all.iter().map(figures).collect();
    in_order(results, &mut rows, |row| row.contender.name);
    rows
}

fn alone<'a>(results: &'a Results, counts: &'a RequestCounts) -> RequestFigures<'a> {
    let RequestCounts { name, system_calls, instructions, instructions_by, times, failures } = counts;
    RequestFigures {
        contender: contender(results, name),
        calls: (!system_calls.is_empty()).then(|| system_calls.iter().map(|(_, count)| count).sum()),
        instructions: *instructions,
        instructions_by: instructions_by.as_deref(),
        ours_instructions: None,
        user: sorted(&user(counts)),
        kernel_us: median(times.iter().map(|time| time.cpu_us - time.user_us)),
        user_ratio: None,
        ours_user: None,
        looks: times.iter().map(|time| time.looks).sum(),
        failures,
    }
}

fn user(counts: &RequestCounts) -> Vec<InRound> {
    counts.times.iter().map(|RequestTime { round, user_us, .. }| (*round, *user_us)).collect()
}
