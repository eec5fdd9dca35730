//! Counts of one start: the median of several starts, each with an instance of its own.

use super::client::Client;
use super::{Outcome, callgrind, trace};
use crate::harness::{Callgrind, Contender, Plan, Progress};
use crate::results::{Counts, Skipped};

/// Starts of each contender. The number of page faults varies by one or two, because addresses are random.
const STARTS: u32 = 5;
const STARTS_QUICK: u32 = 2;

/// Starts under callgrind. Each takes long, and their counts hardly vary.
const SLOW_STARTS: u32 = 3;

/// Counts for all contenders. The list of skipped measures names everything that cannot be counted.
pub fn measure(plan: &Plan, client: &Client, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Vec<Counts> {
    let plan = &plan.without_heavy();
    let most = if plan.quick { STARTS_QUICK } else { STARTS };
    let valgrind = Callgrind::version();
    if let Err(why) = &valgrind {
        skipped.push(Skipped { what: "instructions of a start".to_owned(), reason: why.to_string() });
    }
    progress.begin("cold start, counts", plan.contenders.len() as u64 * if valgrind.is_ok() { 2 } else { 1 });
    let mut all = Vec::new();
    for contender in &plan.contenders {
        let traced: Outcome<Vec<Counts>> = (0..most).map(|_| trace::count(contender, client)).collect();
        progress.step(contender.name());
        match traced {
            Ok(starts) => all.push(medians(&starts)),
            Err(reason) => {
                skipped.push(Skipped { what: format!("counts of {}", contender.name()), reason });
                all.push(Counts { name: contender.name().to_owned(), ..Counts::default() });
            }
        }
    }
    if let Ok(version) = valgrind {
        for (contender, counts) in plan.contenders.iter().zip(&mut all) {
            match instructions(contender, client, plan.quick) {
                Ok((median, starts)) => {
                    counts.instructions = Some(median);
                    let starts =
                        if starts == 1 { "one start".to_owned() } else { format!("median of {starts} starts") };
                    counts.instructions_by = Some(format!("callgrind of {version}, {starts}"));
                }
                Err(reason) => {
                    skipped.push(Skipped { what: format!("instructions of {}", contender.name()), reason });
                }
            }
            progress.step(contender.name());
        }
    }
    all.retain(|counts| *counts != Counts { name: counts.name.clone(), ..Counts::default() });
    all
}

/// The median of as many starts as there is time for, and their number.
fn instructions(contender: &Contender, client: &Client, quick: bool) -> Outcome<(u64, usize)> {
    let mut found = Vec::new();
    let most = if quick { 1 } else { SLOW_STARTS };
    for _ in 0..most {
        let start = callgrind::count(contender, client, quick)?;
        found.push(Some(start.instructions));
        if start.slow {
            break;
        }
    }
    median(&found).map(|median| (median, found.len())).ok_or_else(|| "nothing was counted".to_owned())
}

fn medians(starts: &[Counts]) -> Counts {
    let of = |field: fn(&Counts) -> Option<u64>| median(&starts.iter().map(field).collect::<Vec<_>>());
    Counts {
        name: starts.first().map(|start| start.name.clone()).unwrap_or_default(),
        calls_to_ready: of(|start| start.calls_to_ready),
        calls_to_initialize: of(|start| start.calls_to_initialize),
        minor_faults_to_ready: of(|start| start.minor_faults_to_ready),
        minor_faults_to_initialize: of(|start| start.minor_faults_to_initialize),
        major_faults_to_initialize: of(|start| start.major_faults_to_initialize),
        instructions: None,
        instructions_by: None,
        resident_kb: of(|start| start.resident_kb),
        private_kb: of(|start| start.private_kb),
        threads: of(|start| start.threads),
    }
}

/// The lower of the two middle counts, so that the result is a count that was seen.
fn median(values: &[Option<u64>]) -> Option<u64> {
    let mut values: Vec<u64> = values.iter().copied().flatten().collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_were_seen() {
        assert_eq!(median(&[Some(9), Some(1), Some(2)]), Some(2));
        assert_eq!(median(&[Some(9), None, Some(1)]), Some(1));
        assert_eq!(median(&[None]), None);
        let start = |calls, threads| Counts { calls_to_ready: Some(calls), threads, ..Counts::default() };
        let found = medians(&[start(30, Some(1)), start(28, None), start(40, Some(1))]);
        assert_eq!((found.calls_to_ready, found.threads, found.private_kb), (Some(30), Some(1), None));
    }
}
