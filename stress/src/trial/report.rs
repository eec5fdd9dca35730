//! Shows a trial in a few lines.

use super::load::SPOTS;
use super::run::{GROWTH_KB_MAX, Report};
use fc_emulator::clock::seconds;
use fc_emulator::report::{self, Case, CaseOutcome, Suite};

const EVIDENCE: [&str; 5] = ["pre-freeze", "SIGCONT", "clocks", "overslept", "interrupted"];

impl report::Report for Report {
    fn human(&self) -> String {
        text(self)
    }

    fn suite(&self) -> Suite {
        let outcome = if self.faults == 0 { CaseOutcome::Passed } else { CaseOutcome::Failed { tolerated: false } };
        let ms = self.seconds * 1e3;
        let case = Case {
            name: self.name.to_owned(),
            class: "trial".to_owned(),
            kind: "",
            outcome,
            message: self.fault_texts.join("; "),
            details: vec![("seed", self.seed.to_string()), ("freezer", self.freezer.to_owned())],
            ms,
        };
        Suite { name: format!("fc-stress {}", self.name), ms, cases: vec![case] }
    }
}

/// The table, and every fault at its end.
fn text(report: &Report) -> String {
    let Report { figures, counters, .. } = report;
    let took = seconds(std::time::Duration::from_secs_f64(report.seconds));
    let mut text = format!("{} freezes by {} in {took}, seed {}\n", figures.freezes, report.freezer, report.seed);
    let mut row = |name: &str, value: String| text.push_str(&format!("  {name:<10} {value}\n"));
    row(
        "moments",
        format!(
            "{} under load, {} at rest, {} announced by {} calls of pre-freeze",
            figures.busy, figures.quiet, figures.announced, figures.pre_freeze_calls
        ),
    );
    row(
        "frozen",
        format!(
            "{:.1} s in all; {} times longer than the time limits of {} ms; {} freezes did not come into force",
            figures.frozen_secs, figures.longer_than_limits, report.limit_ms, figures.refused
        ),
    );
    row("caught", spots(&figures.caught));
    row("… longer", spots(&figures.caught_longer));
    let evidence: Vec<String> =
        EVIDENCE.iter().zip(counters.evidence).map(|(name, count)| format!("{name} {count}")).collect();
    row("noticed", format!("{} thaws, {} had to be; {}", figures.noticed, figures.must, evidence.join(", ")));
    let kinds: Vec<String> = report.kinds.iter().map(|(name, count)| format!("{name} {count}")).collect();
    row("calls", format!("{} with a random number, all answered once; {}", report.calls, kinds.join(", ")));
    row(
        "too slow",
        format!(
            "{} calls by the client's own clock, {} waits of the instance without a freeze",
            report.late, figures.stalls
        ),
    );
    if let (Some(first), Some(last)) = (report.samples.first(), report.samples.last()) {
        let most = report.samples.iter().map(|sample| sample.anonymous_kb).max().unwrap_or_default();
        row(
            "memory",
            format!(
                "heap and stack {} kB at first, at most {most}, {} at last; resident {}; {}",
                first.anonymous_kb,
                last.anonymous_kb,
                last.resident_kb,
                growth(report)
            ),
        );
        let per_second = (last.minor_faults - first.minor_faults) as f64 / (last.at - first.at).max(1.0);
        row("faults", format!("{per_second:.0} minor page faults a second; threads {}", last.threads));
    }
    if let Some((before, after)) = report.descriptors {
        row("files", format!("{before} descriptors before the load, {after} after it"));
    }
    row("end", report.exit.clone());
    for fault in &report.fault_texts {
        text.push_str(&format!("FAULT {fault}\n"));
    }
    match report.faults {
        0 => text.push_str("no fault\n"),
        count => text.push_str(&format!("{count} faults; --seed {} repeats the plan\n", report.seed)),
    }
    text
}

fn growth(report: &Report) -> String {
    match report.trend {
        None => "too short to tell a trend".to_owned(),
        Some(trend) => {
            let [first, second] = trend.halves;
            format!(
                "{:+.1} ± {:.1} kB a minute over the last four fifths ({:+.1} ± {:.1}, {:+.1} ± {:.1} in halves), \
                 bound {GROWTH_KB_MAX}",
                trend.whole.per_minute,
                trend.whole.standard_error,
                first.per_minute,
                first.standard_error,
                second.per_minute,
                second.standard_error
            )
        }
    }
}

fn spots(counts: &[u64; SPOTS.len()]) -> String {
    let told: Vec<String> = SPOTS.iter().zip(counts).map(|((_, name), count)| format!("{count} {name}")).collect();
    told.join(", ")
}
