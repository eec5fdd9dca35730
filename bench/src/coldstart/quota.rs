//! Starts on a share of a processor: exec → first `/initialize` while a control group grants 5 ms of every 100.
//!
//! The child enters its group before its exec, and the client stays outside on another processor. Each start has a
//! group of its own, which begins with the whole share of a period. A start that needs less is as quick as on a whole
//! processor; one that needs more stands still until the next period begins, at a moment that the kernel draws at
//! random. So the samples have steps, and the share of throttled starts says more than a mean.
//!
//! The server's processes share one processor, as in the other measures. With several, a thread on each would take its
//! part of the share in pieces, and might find none left.
//!
//! Slow contenders get fewer starts: a start of seconds has its median after a few rounds.

use std::time::{Duration, Instant};

use clap::Args as Arguments;

use super::client::{Client, PollInterval};
use super::{FAILURES_MAX, Outcome, ROUNDS_MAX, container, ending, failure};
use crate::harness::{
    Contender, CpuLimit, Instance, PERIOD_US, Pinned, Plan, Processors, Progress, Start, Throttling, distinct, micros,
    now, shuffled,
};
use crate::results::{Quota, QuotaStart, QuotaStarts, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{DURATION, duration};
use fc_emulator::target::Port;
use fc_testkit::proc::family;

/// The shares: FC's smallest, and steps to a whole processor.
const VCPUS: [f64; 4] = [0.05, 0.1, 0.5, 1.0];
const VCPUS_QUICK: [f64; 1] = [0.05];

/// What can be asked for: the kernel grants no less than 1 ms of a period, and FC no more than 16 processors.
const VCPU_MIN: f64 = 0.01;
const VCPU_MAX: f64 = 16.0;

/// Contenders are started at least this often, however long that takes.
const STARTS_MIN: usize = 5;

/// Options of the measure.
#[derive(Clone, Debug, Arguments)]
#[group(skip)]
pub struct Args {
    /// Shares of a processor to start on [default: 0.05,0.1,0.5,1, or 0.05 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = vcpu)]
    vcpus: Vec<f64>,

    /// Starts of each contender as a process on each share; 0 for none [default: 100, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=ROUNDS_MAX))]
    quota_rounds: Option<u32>,

    /// Starts of each contender as a container on each share; 0 for none [default: 3, or 0 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=ROUNDS_MAX))]
    quota_container_rounds: Option<u32>,

    /// Time limit of a start on a share
    #[arg(long, default_value = "30s", value_name = DURATION, value_parser = duration)]
    quota_timeout: Duration,

    /// A contender whose starts on one share have taken this long gets no more of them, after five
    #[arg(long, default_value = "6s", value_name = DURATION, value_parser = duration)]
    quota_budget: Duration,
}

fn vcpu(text: &str) -> std::result::Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number| (VCPU_MIN..=VCPU_MAX).contains(number));
    number.ok_or_else(|| format!("`{text}` is no number of processors from {VCPU_MIN} to {VCPU_MAX}"))
}

/// Measures all contenders on all shares. A failure of a contender is written beside its samples.
///
/// # Errors
/// If no start was answered.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Quota> {
    let rounds = |set: Option<u32>, whole, quick| set.unwrap_or(if plan.quick { quick } else { whole });
    let vcpus = match args.vcpus.is_empty() {
        false => distinct(&args.vcpus),
        true if plan.quick => VCPUS_QUICK.into(),
        true => VCPUS.into(),
    };
    let mut found = Quota { period_us: PERIOD_US.into(), ..Quota::default() };
    let mut bench = Bench { plan, args, client: Client::default() };
    let process_rounds = rounds(args.quota_rounds, 100, 2);
    if process_rounds > 0 {
        // The first group shows whether there can be any.
        match CpuLimit::new(vcpus[0]) {
            Ok(limit) => {
                found.limited_by = limit.name().to_owned();
                drop(limit);
                found.process = bench.processes(&vcpus, process_rounds, progress, skipped)?;
            }
            Err(cause) => skipped.push(Skipped {
                what: "cold start of a process on a share of a processor".to_owned(),
                reason: cause.to_string(),
            }),
        }
    }
    let container_rounds = rounds(args.quota_container_rounds, 3, 0);
    if container_rounds > 0 {
        found.container = bench.containers(&vcpus, container_rounds, progress, skipped);
    }
    let all = || found.process.iter().chain(&found.container);
    // A machine without control groups is no error of a run of all measures, which names what it skipped.
    if all().next().is_some() && all().all(|starts| starts.samples.is_empty()) {
        let why = all().flat_map(|starts| &starts.failures).next().map_or("no start was requested", String::as_str);
        return Err(Error::failed("measure", "cold starts on a share of a processor", why));
    }
    Ok(found)
}

struct Bench<'a> {
    plan: &'a Plan,
    args: &'a Args,
    client: Client,
}

impl Bench<'_> {
    fn processes(
        &mut self,
        vcpus: &[f64],
        rounds: u32,
        progress: &mut dyn Progress,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<QuotaStarts>> {
        let processors = Processors::split()?;
        if !processors.apart() {
            let reason = "there is only one processor, so the times on a share of it include time of the client";
            let what = "a processor for the client beside shares of one".to_owned();
            skipped.push(Skipped { what, reason: reason.to_owned() });
        }
        let contenders: Vec<&Contender> = self.plan.contenders.iter().collect();
        let _pinned = Pinned::to(&processors.client)?;
        if !self.plan.quick {
            // One start of each without a limit brings its files into memory. A failure shows again below.
            for contender in &contenders {
                let _ = self.process(contender, None, &processors);
            }
        }
        let mut all = Vec::new();
        for &vcpu in vcpus {
            progress.begin(&format!("cold start, process at {vcpu} vCPU"), u64::from(rounds) * contenders.len() as u64);
            all.extend(self.rounds(&contenders, vcpu, rounds, progress, |bench, contender| {
                bench.process(contender, Some(vcpu), &processors)
            }));
        }
        Ok(all)
    }

    fn process(&mut self, contender: &Contender, vcpu: Option<f64>, processors: &Processors) -> Outcome<QuotaStart> {
        let limit = vcpu.map(CpuLimit::new).transpose().map_err(|cause| cause.to_string())?;
        let start = Start { processors: &processors.server, limit: limit.as_ref(), ..Start::default() };
        let instance = Instance::start(contender, &start).map_err(|cause| cause.to_string())?;
        let interval = PollInterval { pause_ns: 10_000..30_000, of_elapsed: 0.001, patience: self.args.quota_timeout };
        let ended = || instance.try_exit().map(ending);
        let replied = self.client.first_reply(contender, instance.address(), &interval, ended)?;
        let cpu_us = cpu_us(instance.pid());
        let throttling = limit.as_ref().map(CpuLimit::throttling).transpose().map_err(|cause| cause.to_string())?;
        let Throttling { periods, micros: throttled_us } = throttling.unwrap_or_default();
        let initialize_us = micros(instance.exec_at(), replied);
        Ok(QuotaStart { round: 0, initialize_us, throttled_periods: periods, throttled_us, cpu_us })
    }

    fn containers(
        &mut self,
        vcpus: &[f64],
        rounds: u32,
        progress: &mut dyn Progress,
        skipped: &mut Vec<Skipped>,
    ) -> Vec<QuotaStarts> {
        if let Err(reason) = container::local_engine() {
            let what = "cold start of a container on a share of a processor".to_owned();
            skipped.push(Skipped { what, reason });
            return Vec::new();
        }
        let images = container::images(self.plan, true, skipped);
        let contenders: Vec<&Contender> = images.iter().map(|(contender, _)| *contender).collect();
        let image_of = |name: &str| images.iter().find(|(contender, _)| contender.name() == name).map(|(_, it)| it);
        let mut all = Vec::new();
        for &vcpu in vcpus {
            let steps = u64::from(rounds) * contenders.len() as u64;
            progress.begin(&format!("cold start, container at {vcpu} vCPU"), steps);
            all.extend(self.rounds(&contenders, vcpu, rounds, progress, |bench, contender| {
                let image = image_of(contender.name()).ok_or("it has no image")?;
                bench.container(contender, image, vcpu)
            }));
        }
        all
    }

    fn container(&mut self, contender: &Contender, image: &container::Image, vcpu: f64) -> Outcome<QuotaStart> {
        let port = Port::free().map_err(|cause| cause.to_string())?;
        let from = now();
        let options = [format!("--cpus={vcpu}")];
        let container = container::Container::run(contender, image, port.number(), &options)?;
        let address = (std::net::Ipv4Addr::LOCALHOST, port.number()).into();
        let interval =
            PollInterval { pause_ns: 100_000..300_000, of_elapsed: 0.001, patience: self.args.quota_timeout };
        let replied = self.client.first_reply(contender, address, &interval, || container.ended())?;
        let throttling = container.pid().and_then(|pid| Throttling::of_process(pid).map_err(|cause| cause.to_string()));
        let Throttling { periods, micros: throttled_us } = throttling?;
        let initialize_us = micros(from, replied);
        Ok(QuotaStart { round: 0, initialize_us, throttled_periods: periods, throttled_us, cpu_us: None })
    }

    /// Starts each contender in every round, until its time is used up or it has failed too often.
    fn rounds(
        &mut self,
        contenders: &[&Contender],
        vcpu: f64,
        rounds: u32,
        progress: &mut dyn Progress,
        mut start: impl FnMut(&mut Self, &Contender) -> Outcome<QuotaStart>,
    ) -> Vec<QuotaStarts> {
        let empty = |it: &&Contender| QuotaStarts { name: it.name().to_owned(), vcpu, ..QuotaStarts::default() };
        let mut all: Vec<QuotaStarts> = contenders.iter().map(empty).collect();
        let mut spent = vec![Duration::ZERO; contenders.len()];
        let mut in_a_row = vec![0; contenders.len()];
        for round in 0..rounds {
            for index in shuffled(contenders.len(), self.plan.seed, round) {
                let (contender, starts) = (contenders[index], &mut all[index]);
                if starts.stopped_by.is_none() {
                    let began = Instant::now();
                    match start(self, contender) {
                        Ok(sample) => {
                            in_a_row[index] = 0;
                            starts.samples.push(QuotaStart { round, ..sample });
                        }
                        Err(why) => {
                            in_a_row[index] += 1;
                            starts.failures.push(failure(round, 0, &why));
                        }
                    }
                    spent[index] += began.elapsed();
                    starts.stopped_by = if in_a_row[index] == FAILURES_MAX {
                        Some(format!("given up after {FAILURES_MAX} failures in a row"))
                    } else if spent[index] > self.args.quota_budget && starts.samples.len() >= STARTS_MIN {
                        let count = starts.samples.len();
                        (round + 1 < rounds).then(|| format!("{count} starts, which took the time of this measure"))
                    } else {
                        None
                    };
                }
                progress.step(contender.name());
            }
        }
        all
    }
}

/// The processor time of a process and of everything that it has started, threads that have ended left out.
fn cpu_us(pid: u32) -> Option<f64> {
    let threads = family(pid).into_iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    let nanos = |thread: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let sum: f64 = threads.flatten().flatten().filter_map(nanos).sum();
    (sum > 0.0).then_some(sum / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_of_processors() {
        assert_eq!(["0.05", " 1", "16"].map(|text| vcpu(text).ok()), [Some(0.05), Some(1.0), Some(16.0)]);
        for wrong in ["", "0", "0.001", "17", "NaN", "-1", "five"] {
            assert!(vcpu(wrong).unwrap_err().contains("no number of processors"), "{wrong}");
        }
    }

    #[test]
    fn our_own_processor_time_is_read() {
        let before = cpu_us(std::process::id());
        match before {
            Some(micros) => assert!(micros > 0.0),
            None => fc_testkit::skip("processor time of a start: the kernel has no /proc/PID/schedstat"),
        }
    }
}
