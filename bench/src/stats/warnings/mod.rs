//! Why somebody might not believe the figures. Each reason has a bound, and the bound its reason.

mod order;

use order::indistinct;

use super::figures::{self, LoadBlock, LoadFigures, Who};
use super::order::Sorted;
use crate::results::{Kind, Results, Start};

/// The baseline does next to nothing, so its times differ only because of the machine. Above this share of the median
/// between its quartiles, differences of the size that matters here drown.
const BASELINE_IQR_MAX: f64 = 0.15;

/// A client that is busier than this is what was measured.
const CLIENT_BUSY_MAX: f64 = 0.9;

/// At a fixed rate, a client that was late by more than this share of the 99th percentile is a good part of it.
const CLIENT_LATE_MAX: f64 = 0.25;

/// Load average for each processor before the run. More, and something else was at work.
const LOAD_MAX: f64 = 0.25;

/// Share of samples far out of the quartiles. A few are the machine's housekeeping.
const FAR_OUT_MAX: f64 = 0.05;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which measure it concerns.
    pub about: &'static str,
    /// What is doubtful, and why.
    pub text: String,
}

/// Every reason that the results hold, measure by measure.
pub fn warnings(results: &Results) -> Vec<Warning> {
    let mut warnings = Warnings::default();
    machine(results, &mut warnings);
    coldstart(results, &mut warnings);
    thaw(results, &mut warnings);
    load(results, &mut warnings);
    density(results, &mut warnings);
    warnings.0
}

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Warning { about, text: text.into() });
    }

    /// `what`: starts, thaws, runs.
    fn failures(&mut self, about: &'static str, who: &str, what: &str, failures: &[String]) {
        if let Some(first) = failures.first() {
            let count = failures.len();
            self.add(about, format!("{who}: failed {what}, which are in no figure: {count}; the first: {first}"));
        }
    }

    /// What times by rounds can be doubted for; the rows' rounds interleave.
    fn timed(&mut self, about: &'static str, rows: &[Timed]) {
        for text in rows.iter().filter_map(|row| unsteady(row.who, row.times)) {
            self.add(about, text);
        }
        let (out, all) =
            rows.iter().fold((0, 0), |(out, all), row| (out + row.times.outliers(), all + row.times.count()));
        if out as f64 > all as f64 * FAR_OUT_MAX {
            self.add(about, format!("{out} of {all} samples are far out; they stay in every figure"));
        }
        self.rounds(about, rows.iter().map(|row| row.times));
        let targets: Vec<_> = rows.iter().map(|row| (row.who.name.to_owned(), row.by_round)).collect();
        if let Some(text) = indistinct(&targets) {
            self.add(about, text);
        }
    }

    fn rounds<'a>(&mut self, about: &'static str, all: impl Iterator<Item = &'a Sorted>) {
        let fewest =
            all.filter_map(Sorted::estimate).filter(|estimate| !estimate.interval.is_sure()).min_by_key(|e| e.count);
        if let Some(count) = fewest.map(|estimate| estimate.count) {
            let text = format!(
                "too few rounds ({count}): intervals are from the least to the largest, and less sure than 95 %"
            );
            self.add(about, text);
        }
    }
}

/// Why others' figures cannot be compared with these, if they are the baseline's.
fn unsteady(who: Who, figures: &Sorted) -> Option<String> {
    let relative_iqr =
        figures.relative_iqr().filter(|relative_iqr| who.kind == Kind::Baseline && *relative_iqr > BASELINE_IQR_MAX)?;
    let percent = relative_iqr * 100.0;
    Some(format!(
        "the machine was noisy: half of the baseline's own figures are spread over {percent:.0} % of their median"
    ))
}

/// Times of one target.
struct Timed<'a> {
    who: Who<'a>,
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
                "something else was at work: the load average was {load:.2} before the run, on {processors} processors"
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
            warnings.failures(about, row.who.label, "starts", row.failures);
        }
        let timed: Vec<Timed> =
            rows.iter().map(|row| Timed { who: row.who, times: &row.initialize, by_round: &row.by_round }).collect();
        warnings.timed(about, &timed);
        let disorder =
            |start: &&Start| start.port_open_us > start.initialize_us || start.initialize_us > start.invoke_us;
        let wrong = all.iter().flat_map(|starts| &starts.samples).filter(disorder).count();
        if wrong > 0 {
            warnings.add(about, format!("{wrong} starts have times out of order, which cannot be"));
        }
    }
}

fn thaw(results: &Results, warnings: &mut Warnings) {
    let rows = figures::thaw(results);
    for row in &rows {
        warnings.failures("thaw", row.who.label, "thaws", row.failures);
    }
    let timed: Vec<Timed> =
        rows.iter().map(|row| Timed { who: row.who, times: &row.reply, by_round: &row.by_round }).collect();
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
        "the client had no time left, so what was measured is the client; these may be faster than they seem",
    );
    naming(&of(|row| row.idle > 0), "answered nothing at all in at least one round, and nobody said why");
    naming(
        &of(|row| row.fell_behind()),
        "did not keep up with the rate, so their latencies grow with the length of the run",
    );
    naming(
        &of(|row| row.client_late.is_some_and(|late| late > CLIENT_LATE_MAX)),
        "the client sent late, which is a good part of the 99th percentile",
    );
    for row in &block.rows {
        if let Some(text) = unserved(row) {
            warnings.add("load", format!("{pattern}: {}: {text}", row.title()));
        }
        warnings.failures("load", &format!("{pattern}: {}", row.title()), "runs", row.failures);
    }
    // At a fixed rate everyone answers as many.
    if block.pattern.rate.is_none() {
        let targets: Vec<_> = block.rows.iter().map(|row| (row.name(), &row.by_round[..])).collect();
        let noisy = block.rows.iter().filter_map(|row| unsteady(row.who, &row.per_second));
        for text in noisy.chain(indistinct(&targets)) {
            warnings.add("load", format!("{pattern}: {text}"));
        }
    }
}

/// Requests that came to nothing, in words. That some wait at the end of a run is no wonder where a server cannot keep
/// up, which is said already.
fn unserved(row: &LoadFigures) -> Option<String> {
    let slow = row.fell_behind();
    let failed = (row.errors > 0).then(|| format!("failed requests: {}", row.errors));
    let waited = (row.unanswered > 0 && !slow)
        .then(|| format!("requests without an answer when the run was over: {}", row.unanswered));
    let note = row.notes.first().filter(|_| !slow || row.errors > 0).map(|note| format!("the first note: {note}"));
    let parts: Vec<String> = [failed, waited, note].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn density(results: &Results, warnings: &mut Warnings) {
    for fleets in figures::fleets(results) {
        for row in fleets.rows {
            let (label, fleet) = (row.who.label, row.fleet);
            if fleet.answered < fleet.wanted {
                let why = fleet.stopped_by.as_deref().unwrap_or("nobody said why");
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
