//! Reasons to doubt the figures. Each has a threshold with its reason.

mod order;

use order::indistinct;

use super::figures::{self, CLIENT_BUSY_MAX, ContenderInfo, LoadBlock, LoadFigures};
use super::order::Sorted;
use crate::results::{Kind, Results, Start};

/// The baseline does nearly nothing, so its times vary only because of the machine. If its interquartile range is above
/// this share of the median, noise hides differences of the size that matters here.
const BASELINE_IQR_MAX: f64 = 0.15;

/// At a fixed rate, a client that was late by more than this share of the 99th percentile causes a considerable part of
/// it.
const CLIENT_LATE_MAX: f64 = 0.25;

/// The load average for each processor before the run. Above it, other programs used the machine.
const LOAD_MAX: f64 = 0.25;

/// The share of outliers that the kernel's background work explains.
const FAR_OUT_MAX: f64 = 0.05;

/// One reason for doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The measure that it concerns.
    pub about: &'static str,
    /// The reason.
    pub text: String,
}

/// All warnings about these results, measure by measure.
pub fn warnings(results: &Results) -> Vec<Warning> {
    let mut warnings = Warnings::default();
    machine(results, &mut warnings);
    coldstart(results, &mut warnings);
    quota(results, &mut warnings);
    burst(results, &mut warnings);
    thaw(results, &mut warnings);
    load(results, &mut warnings);
    density(results, &mut warnings);
    restore(results, &mut warnings);
    payload(results, &mut warnings);
    warnings.0
}

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Warning { about, text: text.into() });
    }

    /// `what` is starts, thaws or runs.
    fn failures(&mut self, about: &'static str, contender: &str, what: &str, failures: &[String]) {
        if let Some(first) = failures.first() {
            let count = failures.len();
            self.add(about, format!("{contender}: failed {what}, which are in no figure: {count}; the first: {first}"));
        }
    }

    /// Warnings about times by rounds. The rounds of these rows interleave.
    fn timed(&mut self, about: &'static str, rows: &[Timed]) {
        for text in rows.iter().filter_map(|row| unsteady(row.contender, row.times)) {
            self.add(about, text);
        }
        let (out, all) =
            rows.iter().fold((0, 0), |(out, all), row| (out + row.times.outliers(), all + row.times.count()));
        if out as f64 > all as f64 * FAR_OUT_MAX {
            self.add(about, format!("{out} of {all} samples are outliers; they stay in every figure"));
        }
        self.rounds(about, rows.iter().map(|row| row.times));
        let targets: Vec<_> = rows.iter().map(|row| (row.contender.name.to_owned(), row.by_round)).collect();
        if let Some(text) = indistinct(&targets) {
            self.add(about, text);
        }
    }

    fn rounds<'a>(&mut self, about: &'static str, all: impl Iterator<Item = &'a Sorted>) {
        let fewest =
            all.filter_map(Sorted::estimate).filter(|estimate| !estimate.interval.is_sure()).min_by_key(|e| e.count);
        if let Some(count) = fewest.map(|estimate| estimate.count) {
            let text = format!(
                "too few rounds ({count}): intervals reach from the least sample to the largest, with a confidence \
                 below 95 %"
            );
            self.add(about, text);
        }
    }
}

/// Whether the baseline's own figures vary so much that others cannot be compared with them.
fn unsteady(contender: ContenderInfo, figures: &Sorted) -> Option<String> {
    let relative_iqr = figures
        .relative_iqr()
        .filter(|relative_iqr| contender.kind == Kind::Baseline && *relative_iqr > BASELINE_IQR_MAX)?;
    let percent = relative_iqr * 100.0;
    Some(format!("the machine was noisy: the interquartile range of the baseline is {percent:.0} % of its median"))
}

/// The times of one contender.
struct Timed<'a> {
    contender: ContenderInfo<'a>,
    times: &'a Sorted,
    by_round: &'a [(u32, f64)],
}

fn machine(results: &Results, warnings: &mut Warnings) {
    let machine = &results.machine;
    if machine.load > LOAD_MAX * machine.processors.max(1) as f64 {
        let (load, processors) = (machine.load, machine.processors);
        warnings.add(
            "machine",
            format!(
                "other programs used the machine: the load average was {load:.2} before the run, on {processors} \
                 processors"
            ),
        );
    }
    if figures::baseline(results).is_none() && !results.contenders.is_empty() {
        warnings.add("machine", "the baseline did not take part, so there are no ratios to it");
    }
}

fn coldstart(results: &Results, warnings: &mut Warnings) {
    let Some(coldstart) = &results.coldstart else { return };
    for (about, all) in [("cold start", &coldstart.process), ("cold start, containers", &coldstart.container)] {
        let rows = figures::starts(results, all);
        for row in &rows {
            warnings.failures(about, row.contender.label, "starts", row.failures);
        }
        let timed: Vec<Timed> = rows
            .iter()
            .map(|row| Timed { contender: row.contender, times: &row.initialize, by_round: &row.by_round })
            .collect();
        warnings.timed(about, &timed);
        let disorder =
            |start: &&Start| start.port_open_us > start.initialize_us || start.initialize_us > start.invoke_us;
        let wrong = all.iter().flat_map(|starts| &starts.samples).filter(disorder).count();
        if wrong > 0 {
            warnings.add(about, format!("{wrong} starts have times out of order, which is impossible"));
        }
    }
}

fn quota(results: &Results, warnings: &mut Warnings) {
    let Some(quota) = &results.quota else { return };
    for (what, all) in [("a process", &quota.process), ("a container", &quota.container)] {
        for shares in figures::quota(results, all) {
            let place = format!("{what} at {} vCPU", shares.vcpu);
            for row in &shares.rows {
                let label = format!("{}, {place}", row.contender.label);
                warnings.failures("shares of a processor", &label, "starts", row.failures);
                let noisy = unsteady(row.contender, &row.initialize);
                noisy.into_iter().for_each(|text| warnings.add("shares of a processor", format!("{place}: {text}")));
            }
        }
    }
}

fn burst(results: &Results, warnings: &mut Warnings) {
    for block in figures::bursts(results) {
        let place = format!("{} at once", block.instances);
        for row in &block.rows {
            warnings.failures("bursts", &format!("{}, {place}", row.contender.label), "bursts", row.failures);
            let noisy = unsteady(row.contender, &row.last);
            noisy.into_iter().for_each(|text| warnings.add("bursts", format!("{place}: {text}")));
        }
    }
}

fn restore(results: &Results, warnings: &mut Warnings) {
    for way in figures::restores(results) {
        for row in &way.rows {
            let label = format!("{}, {}", row.contender.label, way.way);
            warnings.failures("restores", &label, "restores", row.failures);
            let noisy = unsteady(row.contender, &row.reply);
            noisy.into_iter().for_each(|text| warnings.add("restores", format!("{}: {text}", way.way)));
        }
    }
}

fn payload(results: &Results, warnings: &mut Warnings) {
    let Some(payload) = &results.payload else { return };
    if payload.client_processors == payload.server_processors && !payload.cells.is_empty() {
        warnings.add("payload", "client and server shared a processor, so each took the other's time");
    }
    for block in figures::payloads(results) {
        let size = block.body_bytes;
        if block.client_limits {
            let text = "the client was busy for more than 70 % of its processor's time, so servers may be faster than \
                        measured";
            warnings.add("payload", format!("{size} bytes: {text}"));
        }
        for row in &block.rows {
            warnings.failures("payload", &format!("{}, {size} bytes", row.contender.label), "calls", row.failures);
            let noisy = unsteady(row.contender, &row.time);
            noisy.into_iter().for_each(|text| warnings.add("payload", format!("{size} bytes: {text}")));
        }
    }
}

fn thaw(results: &Results, warnings: &mut Warnings) {
    let rows = figures::thaw(results);
    for row in &rows {
        warnings.failures("thaw", row.contender.label, "thaws", row.failures);
    }
    let timed: Vec<Timed> =
        rows.iter().map(|row| Timed { contender: row.contender, times: &row.reply, by_round: &row.by_round }).collect();
    warnings.timed("thaw", &timed);
}

fn load(results: &Results, warnings: &mut Warnings) {
    let Some(load) = &results.load else { return };
    if load.client_processors == load.server_processors && !load.cells.is_empty() {
        warnings.add("load", "client and server shared a processor, so each took the other's time");
    }
    let blocks = figures::load(results);
    warnings.rounds("load", blocks.iter().flat_map(|block| &block.rows).map(|row| &row.per_second));
    for block in &blocks {
        load_block(block, warnings);
    }
    for row in figures::requests(results) {
        let label = format!("one request: {}", row.contender.label);
        warnings.failures("load", &label, "rounds", row.failures);
    }
}

fn load_block(block: &LoadBlock, warnings: &mut Warnings) {
    let pattern = block.pattern.to_string();
    let mut naming = |rows: &[&LoadFigures], text: &str| {
        if !rows.is_empty() {
            let names: Vec<String> = rows.iter().map(|row| row.title()).collect();
            warnings.add("load", format!("{pattern}: {text}: {}", names.join("; ")));
        }
    };
    let of = |wanted: fn(&LoadFigures) -> bool| block.rows.iter().filter(|row| wanted(row)).collect::<Vec<_>>();
    naming(
        &of(|row| row.client_busy.is_some_and(|busy| busy > CLIENT_BUSY_MAX)),
        "the client was busy for more than 70 % of its processor's time, so these may serve more requests/s than \
         measured",
    );
    naming(&of(|row| row.idle > 0), "answered nothing in at least one round, for an unknown reason");
    naming(
        &of(|row| row.fell_behind()),
        "did not keep up with the rate, so their latencies grow with the length of the run",
    );
    naming(
        &of(|row| row.client_late.is_some_and(|late| late > CLIENT_LATE_MAX)),
        "the client sent late, which causes a considerable part of the 99th percentile",
    );
    for row in &block.rows {
        if let Some(text) = unserved(row) {
            warnings.add("load", format!("{pattern}: {}: {text}", row.title()));
        }
        warnings.failures("load", &format!("{pattern}: {}", row.title()), "runs", row.failures);
    }
    // At a fixed rate all servers that keep up answer the same number.
    if block.pattern.rate.is_none() {
        let targets: Vec<_> = block.rows.iter().map(|row| (row.name(), &row.by_round[..])).collect();
        let noisy = block.rows.iter().filter_map(|row| unsteady(row.contender, &row.per_second));
        for text in noisy.chain(indistinct(&targets)) {
            warnings.add("load", format!("{pattern}: {text}"));
        }
    }
}

/// Requests without a good reply, in words. A server that cannot keep up leaves some waiting at the end of a run;
/// another warning says that already.
fn unserved(row: &LoadFigures) -> Option<String> {
    let slow = row.fell_behind();
    let failed = (row.errors > 0).then(|| format!("failed requests: {}", row.errors));
    let waited = (row.unanswered > 0 && !slow)
        .then(|| format!("requests without an answer when the run ended: {}", row.unanswered));
    let note = row.notes.first().filter(|_| !slow || row.errors > 0).map(|note| format!("the first note: {note}"));
    let parts: Vec<String> = [failed, waited, note].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn density(results: &Results, warnings: &mut Warnings) {
    for fleets in figures::fleets(results) {
        for row in fleets.rows {
            let (label, fleet) = (row.contender.label, row.fleet);
            if fleet.answered < fleet.wanted {
                let why = fleet.stopped_by.as_deref().unwrap_or("the reason is unknown");
                let text = format!("{label}: {} of {} instances answered: {why}", fleet.answered, fleet.wanted);
                warnings.add("density", text);
            }
            if let Some(first) = fleet.failures.first() {
                let count = fleet.failures.len();
                warnings.add(
                    "density",
                    format!("{label}, {} instances: failures: {count}; the first: {first}", fleet.wanted),
                );
            }
        }
    }
}
