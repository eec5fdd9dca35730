//! The result of all freezes, as a table and as data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Place;
use fc_bench::results::Machine;
use fc_emulator::report::{self, Case, CaseOutcome, Suite};

/// One freeze.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The number of the instance.
    pub instance: usize,
    /// For a freeze in the middle of a call: the share of request and reply together that had been moved.
    pub share: Option<f64>,
    /// From the last byte that was read to the end of the write that requested the freeze, in microseconds.
    pub requested_us: f64,
    /// The proven length of the freeze in milliseconds.
    pub frozen_ms: u64,
    /// Whether the first request after the freeze was in the socket before the thaw.
    pub sent_frozen: bool,
    /// When the server noticed.
    pub noticed: Noticed,
    /// The evidence that the server had, as the inspector names it.
    pub evidence: Vec<String>,
    /// The length of the freeze as the server reports it, in milliseconds.
    pub gap_ms: Option<u64>,
}

/// When the server noticed a thaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Noticed {
    /// Before the first request after the freeze was answered.
    InTime,
    /// At a later request.
    Late,
    /// Not at all.
    Never,
    /// More than once for one freeze.
    Twice,
}

/// The result of all freezes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The command that starts the server.
    pub command: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// The name of the freezer.
    pub freezer: String,
    /// The length of each freeze in milliseconds.
    pub freeze_for_ms: u64,
    /// From the reply to the freeze, in microseconds.
    pub delay_us: u64,
    /// The size of the echo, for freezes in the middle of a call.
    pub in_call_bytes: Option<usize>,
    /// The number of instances that took turns.
    pub instances: usize,
    /// Where the client ran.
    pub client_on: Place,
    /// The processor of the client.
    pub client_processor: usize,
    /// The processor of the servers.
    pub server_processor: usize,
    /// How long all took, in seconds.
    pub seconds: f64,
    /// Freezes that may be missed.
    pub misses_max: usize,
    /// Freezes that the server did not notice, or noticed too late.
    pub missed: usize,
    /// All freezes, in order.
    pub trials: Vec<Trial>,
}

impl Report {
    fn count(&self, wanted: Noticed) -> usize {
        self.trials.iter().filter(|trial| trial.noticed == wanted).count()
    }

    /// Whether no more freezes were missed than may be, and none was noticed twice.
    pub fn is_good(&self) -> bool {
        self.missed <= self.misses_max && self.count(Noticed::Twice) == 0
    }
}

impl report::Report for Report {
    fn human(&self) -> String {
        let count = self.trials.len();
        let moment = match (self.in_call_bytes, self.delay_us) {
            (Some(bytes), _) => format!("in the middle of an echo of {bytes} bytes"),
            (None, 0) => "at the moment of the reply".to_owned(),
            (None, us) => format!("{us} µs after the reply"),
        };
        let mut text = format!(
            "freeze-at-reply: {count} freezes of {} ms by {}, {moment}\n\
             client on processor {}, {} servers on processor {}, in {:.0} s\n\n",
            self.freeze_for_ms,
            self.freezer,
            self.client_processor,
            self.instances,
            self.server_processor,
            self.seconds
        );
        let mut row = |label: &str, value: String| text.push_str(&format!("{label:<38} {value}\n"));
        row("missed", format!("{} of {count}; {} may be", self.missed, self.misses_max));
        row("  noticed never", self.count(Noticed::Never).to_string());
        row("  noticed too late", format!("{} (not by the first request after the freeze)", self.count(Noticed::Late)));
        row("noticed more than once", self.count(Noticed::Twice).to_string());
        row("noticed in time", self.count(Noticed::InTime).to_string());
        let mut kinds: BTreeMap<String, Vec<&Trial>> = BTreeMap::new();
        for trial in self.trials.iter().filter(|trial| !trial.evidence.is_empty()) {
            kinds.entry(trial.evidence.join(", ")).or_default().push(trial);
        }
        for (evidence, trials) in &kinds {
            row(&format!("  by {evidence}"), trials.len().to_string());
        }
        let gaps: Vec<f64> = self.trials.iter().filter_map(|trial| trial.gap_ms).map(|gap| gap as f64).collect();
        if !gaps.is_empty() {
            let short = self.trials.iter().filter(|trial| trial.gap_ms.is_some_and(|gap| gap + 1 < trial.frozen_ms));
            row("gap", format!("{} ms; shorter than the freeze {} times", range(gaps), short.count()));
        }
        row("freeze", format!("{} ms", range(self.trials.iter().map(|trial| trial.frozen_ms as f64).collect())));
        row("requested after", format!("{} µs", range(self.trials.iter().map(|trial| trial.requested_us).collect())));
        let missed = |sent_frozen: bool| {
            let of: Vec<_> = self.trials.iter().filter(|trial| trial.sent_frozen == sent_frozen).collect();
            let missed = of.iter().filter(|trial| is_missed(trial.noticed)).count();
            format!("{missed} of {}", of.len())
        };
        if self.in_call_bytes.is_none() {
            row(
                "missed, by next request",
                format!("sent while frozen {}, sent after the thaw {}", missed(true), missed(false)),
            );
        }
        text
    }

    fn suite(&self) -> Suite {
        let case = |(index, trial): (usize, &Trial)| {
            let noticed = match trial.noticed {
                Noticed::InTime => format!("in time, by {}", trial.evidence.join(", ")),
                Noticed::Late => "too late".to_owned(),
                Noticed::Never => "never".to_owned(),
                Noticed::Twice => "more than once".to_owned(),
            };
            Case {
                name: format!("freeze {}", index + 1),
                class: "freeze-at-reply".to_owned(),
                kind: "",
                outcome: match trial.noticed {
                    Noticed::InTime => CaseOutcome::Passed,
                    _ => CaseOutcome::Failed { tolerated: self.is_good() },
                },
                message: format!("the server noticed the freeze {noticed}"),
                details: vec![("noticed", noticed), ("frozen_ms", trial.frozen_ms.to_string())],
                ms: trial.frozen_ms as f64,
            }
        };
        let name = format!("fc-stress freeze-at-reply: {}", self.command.join(" "));
        Suite { name, ms: self.seconds * 1e3, cases: self.trials.iter().enumerate().map(case).collect() }
    }
}

/// Whether the function could not know of the freeze at its next request.
pub fn is_missed(noticed: Noticed) -> bool {
    matches!(noticed, Noticed::Never | Noticed::Late)
}

fn range(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let of = |share: f64| values.get((share * values.len().saturating_sub(1) as f64) as usize).copied();
    match (of(0.0), of(0.5), of(1.0)) {
        (Some(least), Some(median), Some(most)) => format!("{least:.0} to {most:.0}, median {median:.0}"),
        _ => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_emulator::report::Report as _;

    #[test]
    fn the_table_counts_what_was_missed_and_which_evidence_there_was() {
        let trial = |noticed, evidence: &[&str], gap_ms| Trial {
            instance: 0,
            share: None,
            requested_us: 3.0,
            frozen_ms: 1500,
            sent_frozen: noticed == Noticed::Never,
            noticed,
            evidence: evidence.iter().map(|&name| name.to_owned()).collect(),
            gap_ms,
        };
        let report = Report {
            version: "0",
            command: vec!["./server".into()],
            machine: fc_bench::measure::machine(),
            freezer: "the cgroup v2 freezer".into(),
            freeze_for_ms: 1500,
            delay_us: 0,
            in_call_bytes: None,
            instances: 2,
            client_on: Place::OtherProcessor,
            client_processor: 0,
            server_processor: 1,
            seconds: 3.0,
            misses_max: 0,
            missed: 2,
            trials: vec![
                trial(Noticed::InTime, &["interrupted"], Some(1502)),
                trial(Noticed::Never, &[], None),
                trial(Noticed::Late, &["oversleptMs"], Some(200)),
            ],
        };
        let table = report.human();
        for wanted in [
            "3 freezes of 1500 ms by the cgroup v2 freezer, at the moment of the reply",
            "2 of 3; 0 may be",
            "by interrupted",
            "200 to 1502, median 200 ms; shorter than the freeze 1 times",
            "sent while frozen 1 of 1, sent after the thaw 1 of 2",
        ] {
            assert!(table.contains(wanted), "{wanted} in\n{table}");
        }
    }
}
