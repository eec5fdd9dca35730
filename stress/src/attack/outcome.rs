//! The outcome of an attack, and whether it is acceptable. Pure: it turns figures into faults and text.

use serde::Serialize;

use super::bound::Term;
use super::clients::AttackStats;
use super::healthy::CallSample;
use super::table::Attack;
use fc_bench::results::Machine;
use fc_bench::stats::{Sorted, ratio};
use fc_emulator::report::{self, Case, CaseOutcome, Suite};

/// How much the 99th percentile of the healthy client may grow beside attackers that only hold connections.
const RATIO_MAX: f64 = 2.0;

/// A run of attacks.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of the program that attacked.
    pub version: &'static str,
    /// The command that was attacked.
    pub command: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// Whether attackers and server had separate processors.
    pub apart: bool,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// One for each attack.
    pub attacks: Vec<Outcome>,
}

/// One attack.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What the attackers did.
    pub what: &'static str,
    /// How long the attack took, in milliseconds.
    pub ms: f64,
    /// The healthy client's calls on the connection that stays open.
    pub kept: Calls,
    /// The healthy client's calls on new connections.
    pub fresh: Calls,
    /// Latency on the open connection without attackers.
    pub before: Latency,
    /// Latency with attackers.
    pub during: Latency,
    /// Latency after they have left for good. `None` if they stayed until the end.
    pub after: Option<Latency>,
    /// The median of the ratios of each attacked window's 99th percentile to that of the window before it.
    pub p99_ratio: Option<f64>,
    /// Its memory.
    pub memory: Memory,
    /// Its descriptors.
    pub descriptors: Descriptors,
    /// The most attackers that were in place at once.
    pub in_place: usize,
    /// How the server responded to the attackers.
    pub stats: AttackStats,
    /// How it ended after SIGTERM.
    pub exit: String,
    /// What could not be judged, and why.
    pub notes: Vec<String>,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Calls of the healthy client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Calls with a correct answer.
    pub answered: u64,
    /// Calls with no answer or a wrong one.
    pub lost: u64,
    /// Calls without an answer while all descriptors of the server were taken, which is no fault.
    pub waited: u64,
    /// The first call that was lost or had to wait.
    pub first: Option<String>,
}

/// In microseconds: medians over windows of the percentiles within each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The 50th percentile.
    pub p50_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
    /// The largest latency of all windows.
    pub largest_us: f64,
}

/// Kilobytes of 1,024 bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// Resident memory before the attack.
    pub ready_kb: u64,
    /// The peak of resident memory.
    pub peak_kb: u64,
    /// Resident memory after the attack. `None` if the attack lasted until the end.
    pub after_kb: Option<u64>,
    /// The allowed peak. `None` for other servers.
    pub bound_kb: Option<u64>,
    /// The parts of the allowed peak.
    pub bound: Vec<Term>,
    /// The most memory that the kernel held for the connections of the whole machine.
    pub kernel_kb: u64,
}

/// Open descriptors of the server.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Descriptors {
    /// Before the attack, without connections.
    pub before: usize,
    /// The most during the attack.
    pub most: usize,
    /// After the attack. `None` if the attack lasted until the end.
    pub after: Option<usize>,
    /// Connections that the server may keep to a program behind it.
    pub kept: usize,
}

/// The windows of an attack: odd numbers without attackers, even numbers with attackers, 0 for the time between
/// windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// The number of pairs.
    pub cycles: u32,
}

impl Windows {
    /// The window without attackers before a cycle. The number after the last cycle is the window after all.
    pub fn quiet(cycle: u32) -> u32 {
        1 + 2 * cycle
    }

    /// The window with attackers.
    pub fn attacked(cycle: u32) -> u32 {
        2 + 2 * cycle
    }

    /// The latencies of some windows.
    pub fn latency(calls: &[CallSample], windows: impl Iterator<Item = u32>) -> Option<Latency> {
        let of: Vec<Sorted> = windows.map(|window| in_window(calls, window)).filter(|it| it.count() > 0).collect();
        let median = |share| Sorted::new(of.iter().filter_map(|window| window.percentile(share))).median();
        let largest = of.iter().filter_map(Sorted::largest).fold(0.0, f64::max);
        Some(Latency { p50_us: median(0.5)?, p99_us: median(0.99)?, largest_us: largest })
    }

    /// The ratio of the 99th percentile under attack to that without: the median over cycles.
    pub fn p99_ratio(self, calls: &[CallSample]) -> Option<f64> {
        let of = |window: fn(u32) -> u32| -> Vec<(u32, f64)> {
            let p99 = |cycle| in_window(calls, window(cycle)).percentile(0.99);
            (0..self.cycles).filter_map(|cycle| Some((cycle, p99(cycle)?))).collect()
        };
        ratio(&of(Self::attacked), &of(Self::quiet)).map(|estimate| estimate.median)
    }

    /// Counts calls. If there are too few descriptors for all, a call may wait for one until the attackers are gone.
    pub fn count(self, calls: &[CallSample], may_wait: bool) -> Calls {
        let last = Self::quiet(self.cycles);
        let mut counts = Calls::default();
        for CallSample { window, outcome } in calls {
            match outcome {
                Ok(_) => counts.answered += 1,
                Err(cause) => {
                    let count = if may_wait && *window != last { &mut counts.waited } else { &mut counts.lost };
                    *count += 1;
                    counts.first.get_or_insert_with(|| cause.clone());
                }
            }
        }
        counts
    }
}

fn in_window(calls: &[CallSample], window: u32) -> Sorted {
    let calls = calls.iter().filter(|call| call.window == window);
    Sorted::new(calls.filter_map(|call| call.outcome.as_ref().ok().copied()))
}

impl Outcome {
    /// What is wrong, in addition to the faults that the attack found on the way.
    pub fn judge(&self, attack: &Attack, is_peer: bool, strict: bool) -> Vec<String> {
        let mut faults = Vec::new();
        for (way, calls) in [("its kept connection", &self.kept), ("new connections", &self.fresh)] {
            if calls.lost > 0 {
                let first = calls.first.as_deref().unwrap_or("the cause is unknown");
                faults.push(format!("{} healthy calls on {way} were lost, the first: {first}", calls.lost));
            }
            if calls.answered == 0 {
                faults.push(format!("no healthy call on {way} was answered"));
            }
        }
        let Memory { peak_kb, bound_kb, .. } = self.memory;
        if let Some(bound_kb) = bound_kb.filter(|bound_kb| peak_kb > *bound_kb) {
            faults.push(format!("it took {peak_kb} kB of memory, and {bound_kb} is the bound"));
        }
        let Descriptors { before, after, kept, .. } = self.descriptors;
        if let Some(after) = after.filter(|after| !(before..=before + kept).contains(after)) {
            faults.push(format!("{after} descriptors are open after the attack, {before} were before"));
        }
        // Another server may die of the signal: there is no rule about how it ends.
        if self.exit != EXIT_0 && !(is_peer && self.exit.starts_with(BY_SIGTERM)) {
            faults.push(format!("SIGTERM did not end it in order: {}", self.exit));
        }
        let wanted = attack.wanted();
        if self.stats.connected < wanted {
            faults.push(format!(
                "only {} attackers connected, not {wanted}: the attack did not take place",
                self.stats.connected
            ));
        }
        if !is_peer {
            faults.extend(self.wrong_answers(attack));
        }
        if let Some(ratio) = self.p99_ratio.filter(|ratio| strict && attack.steady && *ratio > RATIO_MAX) {
            faults.push(format!("the healthy p99 grew by {ratio:.2}, more than {RATIO_MAX}"));
        }
        faults
    }

    fn wrong_answers(&self, attack: &Attack) -> Vec<String> {
        let seen = &self.stats.statuses;
        let wrong = seen.iter().filter(|(status, _)| !attack.may.contains(status));
        let missing = attack.must.iter().filter(|status| !seen.contains_key(status));
        wrong
            .map(|(status, count)| format!("{count} attackers were answered with {status}"))
            .chain(missing.map(|status| format!("no attacker was answered with {status}")))
            .collect()
    }
}

/// Stands for a missing value.
const NONE: &str = "–";

/// The exit of a server that ends in order.
const EXIT_0: &str = "exit status: 0";

/// The exit of a server that does not handle the signal.
const BY_SIGTERM: &str = "signal: 15";

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.attacks.iter().all(|attack| attack.faults.is_empty())
    }
}

impl report::Report for Report {
    /// A line for each attack, and below it what is wrong or was not judged.
    fn human(&self) -> String {
        let mut text = format!("attacked: {}\n\n{}", self.command.join(" "), row(COLUMNS.map(str::to_owned)));
        self.attacks.iter().for_each(|attack| text.push_str(&row(attack.cells())));
        text.push_str("\nattackers\n");
        for attack in &self.attacks {
            text.push_str(&format!("{:<18} {}\n", attack.name, attack.attackers()));
        }
        for attack in &self.attacks {
            attack.notes.iter().for_each(|note| text.push_str(&format!("\nnote {}: {note}", attack.name)));
            attack.faults.iter().for_each(|fault| text.push_str(&format!("\nFAIL {}: {fault}", attack.name)));
        }
        if !self.apart {
            text.push_str("\nnote: there is only one processor, so the attackers took processor time from the server");
        }
        let bad = self.attacks.iter().filter(|attack| !attack.faults.is_empty()).count();
        text.push_str(&format!("\n{} attacks in {:.0} s: {bad} failed\n", self.attacks.len(), self.seconds));
        text
    }

    fn suite(&self) -> Suite {
        let case = |attack: &Outcome| Case {
            name: attack.name.to_owned(),
            class: "attack".to_owned(),
            kind: "",
            outcome: match attack.faults.is_empty() {
                true => CaseOutcome::Passed,
                false => CaseOutcome::Failed { tolerated: false },
            },
            message: attack.faults.join("; "),
            details: vec![("attackers", attack.what.to_owned())],
            ms: attack.ms,
        };
        let name = format!("fc-stress attack: {}", self.command.join(" "));
        Suite { name, ms: self.seconds * 1e3, cases: self.attacks.iter().map(case).collect() }
    }
}

/// The titles of the table. Calls are those of the healthy client. Latencies are those on its open connection: medians
/// over windows, in microseconds, without attackers → with them → after them. Memory is in megabytes.
const COLUMNS: [&str; 13] = [
    "attack",
    "calls",
    "lost",
    "p50",
    "p99",
    "p99 ×",
    "largest, ms",
    "ready",
    "peak",
    "bound",
    "after",
    "kernel",
    "descriptors",
];

/// The name on the left, numbers on the right.
fn row(cells: [String; COLUMNS.len()]) -> String {
    const WIDTHS: [usize; COLUMNS.len()] = [0, 6, 4, 17, 24, 6, 11, 6, 6, 6, 6, 7, 14];
    let pad = |(cell, width): (&String, usize)| format!(" {cell:>width$}");
    let numbers: String = cells.iter().zip(WIDTHS).skip(1).map(pad).collect();
    format!("{:<18}{numbers}\n", cells[0])
}

impl Outcome {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let us = |latency: Latency| format!("{:.0}", latency.p99_us);
        let mb = |kb: Option<u64>| kb.map_or(NONE.into(), |kb| format!("{:.1}", kb as f64 / 1024.0));
        let Descriptors { before, most, after, .. } = self.descriptors;
        let memory = &self.memory;
        [
            self.name.into(),
            (self.kept.answered + self.fresh.answered).to_string(),
            (self.kept.lost + self.fresh.lost).to_string(),
            format!("{:.0} → {:.0}", self.before.p50_us, self.during.p50_us),
            format!("{} → {} → {}", us(self.before), us(self.during), self.after.map_or(NONE.into(), us)),
            self.p99_ratio.map_or(NONE.into(), |ratio| format!("{ratio:.2}")),
            format!("{:.1}", self.during.largest_us / 1e3),
            mb(Some(memory.ready_kb)),
            mb(Some(memory.peak_kb)),
            mb(memory.bound_kb),
            mb(memory.after_kb),
            mb(Some(memory.kernel_kb)),
            format!("{before} → {most} → {}", after.map_or(NONE.into(), |after| after.to_string())),
        ]
    }

    /// How the server responded to the attackers.
    fn attackers(&self) -> String {
        let statuses = self.stats.statuses.iter().map(|(status, count)| format!("{count} × {status}"));
        let answers: Vec<String> = statuses.collect();
        let waited = self.kept.waited + self.fresh.waited;
        format!(
            "{} connections, {} at once; answers: {}; {} closed, {} reset, {} refused; {:.0} MB sent{}",
            self.stats.connected,
            self.in_place,
            if answers.is_empty() { NONE.into() } else { answers.join(", ") },
            self.stats.closed,
            self.stats.reset,
            self.stats.refused,
            self.stats.sent_bytes as f64 / 1e6,
            if waited > 0 { format!("; {waited} healthy calls waited for a descriptor") } else { String::new() },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::table::ATTACKS;

    fn attack(name: &str) -> &'static Attack {
        ATTACKS.iter().find(|attack| attack.name == name).unwrap()
    }

    /// An outcome without a fault.
    fn good() -> Outcome {
        let calls = Calls { answered: 100, ..Calls::default() };
        Outcome {
            name: "slow-readers",
            what: "",
            ms: 1.0,
            kept: calls.clone(),
            fresh: calls,
            before: Latency::default(),
            during: Latency::default(),
            after: None,
            p99_ratio: Some(2.0),
            memory: Memory { peak_kb: 1000, bound_kb: Some(1000), ..Memory::default() },
            descriptors: Descriptors { before: 7, most: 1007, after: Some(7), kept: 0 },
            in_place: 1000,
            stats: AttackStats { connected: 1000, statuses: [(200, 1000)].into(), ..AttackStats::default() },
            exit: EXIT_0.into(),
            notes: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// A change, and the one fault that it must cause.
    type Row = (fn(&mut Outcome), &'static str);

    #[test]
    fn each_thing_that_goes_wrong_is_one_fault() {
        let cases: [Row; 11] = [
            (|it| it.kept.lost = 1, "healthy calls on its kept connection were lost"),
            (|it| it.fresh.lost = 1, "healthy calls on new connections were lost"),
            (|it| it.fresh.answered = 0, "no healthy call on new connections"),
            (|it| it.memory.peak_kb = 1001, "1001 kB of memory, and 1000 is the bound"),
            (|it| it.descriptors.after = Some(8), "8 descriptors are open"),
            (|it| it.exit = "it still runs".into(), "it still runs"),
            (|it| it.exit = "signal: 15 (SIGTERM)".into(), "signal: 15"),
            (|it| it.stats.connected = 999, "the attack did not take place"),
            (|it| it.stats.statuses.clear(), "no attacker was answered with 200"),
            (|it| it.stats.statuses.extend([(500, 3)]), "3 attackers were answered with 500"),
            (|it| it.p99_ratio = Some(2.01), "p99 grew by 2.01"),
        ];
        let attack = attack("slow-readers");
        assert_eq!(good().judge(attack, false, true), Vec::<String>::new());
        for (change, fault) in cases {
            let mut outcome = good();
            change(&mut outcome);
            let faults = outcome.judge(attack, false, true);
            assert!(faults.len() == 1 && faults[0].contains(fault), "{fault}: {faults:?}");
        }
    }

    #[test]
    fn strangers_are_judged_by_less() {
        let mut outcome = good();
        outcome.stats.statuses = [(500, 1)].into();
        outcome.memory.bound_kb = None;
        outcome.exit = "signal: 15 (SIGTERM)".into();
        outcome.p99_ratio = Some(9.0);
        assert_eq!(outcome.judge(attack("slow-readers"), true, false), Vec::<String>::new());
        outcome.kept.lost = 1;
        assert_eq!(outcome.judge(attack("slow-readers"), true, false).len(), 1);
    }

    #[test]
    fn windows_are_kept_apart_and_ratios_taken_within_cycles() {
        let call = |window, us: f64| CallSample { window, outcome: Ok(us) };
        let mut calls = vec![call(0, 9e9)];
        for cycle in 0..3 {
            // The machine gets slower. Under attack it is three times as slow every time.
            let us = 10f64.powi(cycle as i32);
            calls.push(call(Windows::quiet(cycle), us));
            calls.push(call(Windows::attacked(cycle), 3.0 * us));
        }
        let windows = Windows { cycles: 3 };
        assert_eq!(windows.p99_ratio(&calls), Some(3.0));
        let during = Windows::latency(&calls, (0..3).map(Windows::attacked)).unwrap();
        assert_eq!(during, Latency { p50_us: 30.0, p99_us: 30.0, largest_us: 300.0 });
        assert_eq!(Windows::latency(&calls, std::iter::once(Windows::quiet(3))), None);
    }

    #[test]
    fn who_waits_for_a_descriptor_is_lost_only_if_it_waits_in_the_end() {
        let failed = |window| CallSample { window, outcome: Err("no answer in time".into()) };
        let (windows, last) = (Windows { cycles: 2 }, Windows::quiet(2));
        let calls = [failed(Windows::attacked(0)), failed(0), failed(last)];
        let (patient, strict) = (windows.count(&calls, true), windows.count(&calls, false));
        assert_eq!((patient.waited, patient.lost), (2, 1));
        assert_eq!((strict.waited, strict.lost), (0, 3));
    }
}
