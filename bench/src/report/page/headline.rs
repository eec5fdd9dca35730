//! The few figures at the head of the page: those of our first contender, with the baseline and the best peer.

use crate::report::summary::{Summary, SummaryRow};
use crate::report::units::{NONE, count, duration, kilobytes, number, times};
use crate::results::{Kind, Results};
use crate::stats::Estimate;

/// One figure.
pub struct Card {
    /// What it is.
    pub title: String,
    /// The value with its unit.
    pub value: String,
    /// Values to compare with.
    pub beside: Vec<String>,
}

/// The figures of a contender.
pub struct Headline {
    /// The contender.
    pub label: String,
    /// Its figures.
    pub cards: Vec<Card>,
}

/// A card for each figure that was measured. `None` if none of our contenders took part.
pub fn headline(results: &Results) -> Option<Headline> {
    let summary = Summary::new(results);
    let ours = summary.ours()?;
    let cards = [start(&summary, &ours), load(&summary, &ours), latency(&summary, &ours), memory(&summary, &ours)];
    let cards = cards.into_iter().chain([thaw(&summary, &ours), counts(&summary, &ours)]).flatten();
    let cards: Vec<Card> = cards.collect();
    (!cards.is_empty()).then(|| Headline { label: ours.contender.label.to_owned(), cards })
}

fn start(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let start = ours.start?;
    let of = |line: &SummaryRow| line.start.and_then(|start| start.initialize.median());
    Some(Card {
        title: "exec → /initialize answered".to_owned(),
        value: duration(start.initialize.median()?),
        beside: vec![baseline_ratio(start.ratio), best(summary, of, f64::total_cmp, duration)],
    })
}

fn load(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let load = ours.closed?;
    let of = |line: &SummaryRow| line.closed.and_then(|load| load.per_second.median());
    let mut ratio = baseline_ratio(load.ratio);
    if let Some(with) = ours.with_markers.and_then(|load| load.ratio) {
        ratio.push_str(&format!("; {} with log markers", times(with.median)));
    }
    Some(Card {
        title: format!("requests/s on {} connections", summary.closed.as_ref()?.pattern.connections),
        value: number(load.per_second.median()?, 0),
        beside: vec![ratio, best(summary, of, |left, right| right.total_cmp(left), |per_second| number(per_second, 0))],
    })
}

fn latency(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let (load, pattern) = (ours.open?, &summary.open.as_ref()?.pattern);
    let of = |line: &SummaryRow| line.open.and_then(|load| load.percentiles_us[2]);
    Some(Card {
        title: format!("p99 at {} requests/s", number(pattern.rate, 0)),
        value: duration(load.percentiles_us[2]?),
        beside: vec![baseline_ratio(load.p99_ratio), best(summary, of, f64::total_cmp, duration)],
    })
}

fn memory(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let of = |line: &SummaryRow| line.fleet.and_then(|fleet| fleet.private_kb);
    let baseline = summary.lines().find(|line| line.contender.kind == Kind::Baseline).and_then(|line| of(&line));
    let baseline = baseline.map_or_else(String::new, |kb| format!("the baseline {}", kilobytes(kb)));
    Some(Card {
        title: format!("private memory, each of {}", summary.fleets.as_ref()?.wanted),
        value: kilobytes(of(ours)?),
        beside: vec![baseline, best(summary, of, f64::total_cmp, kilobytes)],
    })
}

fn thaw(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let thaw = ours.thaw?;
    let of = |line: &SummaryRow| line.thaw.and_then(|thaw| thaw.reply.median());
    Some(Card {
        title: "thaw → reply".to_owned(),
        value: duration(thaw.reply.median()?),
        beside: vec![baseline_ratio(thaw.ratio), best(summary, of, f64::total_cmp, duration)],
    })
}

fn counts(summary: &Summary, ours: &SummaryRow) -> Option<Card> {
    let counts = ours.counts?;
    let of = |line: &SummaryRow| line.counts.and_then(|it| it.counts.minor_faults_to_ready).map(|faults| faults as f64);
    let baseline = counts.faults_ratio.map_or_else(String::new, |ratio| format!("{} the baseline", times(ratio)));
    Some(Card {
        title: "page faults, exec → ready".to_owned(),
        value: count(of(ours)?),
        beside: vec![baseline, best(summary, of, f64::total_cmp, count)],
    })
}

fn baseline_ratio(ratio: Option<Estimate>) -> String {
    ratio.map_or_else(|| "no baseline took part".to_owned(), |ratio| format!("{} the baseline", times(ratio.median)))
}

/// The best peer and its figure.
fn best(
    summary: &Summary,
    of: impl Fn(&SummaryRow) -> Option<f64>,
    order: fn(&f64, &f64) -> std::cmp::Ordering,
    unit: fn(f64) -> String,
) -> String {
    let peers = summary.lines().filter(|line| line.contender.kind == Kind::Peer);
    let best = peers
        .filter_map(|line| Some((line.contender.label, of(&line)?)))
        .min_by(|left, right| order(&left.1, &right.1));
    best.map_or_else(|| NONE.to_owned(), |(label, value)| format!("best peer {}, {label}", unit(value)))
}
