//! The few figures at the head of the page: of the first of ours, beside the floor and the best peer.

use crate::report::bench::digest::{Digest, Line};
use crate::report::bench::plot::escape;
use crate::report::bench::units::{NONE, count, duration, kilobytes, number, times};
use crate::results::{Kind, Results};
use crate::stats::Estimate;

/// One figure.
struct Card {
    what: String,
    value: String,
    beside: Vec<String>,
}

/// All there are figures for. None if ours did not take part.
pub fn cards(results: &Results) -> String {
    let digest = Digest::new(results);
    let Some(ours) = digest.ours() else { return String::new() };
    let cards = [start(&digest, &ours), load(&digest, &ours), latency(&digest, &ours), memory(&digest, &ours)];
    let cards = cards.into_iter().chain([thaw(&digest, &ours), counts(&digest, &ours)]).flatten();
    let html: String = cards.map(|card| html(&card)).collect();
    if html.is_empty() {
        return String::new();
    }
    format!("<h2>{}</h2>\n<div class=\"cards\">\n{html}</div>\n", escape(ours.who.label))
}

fn html(card: &Card) -> String {
    let beside: String = card.beside.iter().map(|line| format!("<span>{}</span>", escape(line))).collect();
    let (what, value) = (escape(&card.what), escape(&card.value));
    format!("<div class=\"card\"><span class=\"what\">{what}</span><b>{value}</b>{beside}</div>\n")
}

fn start(digest: &Digest, ours: &Line) -> Option<Card> {
    let start = ours.start?;
    let of = |line: &Line| line.start.and_then(|start| start.initialize.median());
    Some(Card {
        what: "exec → /initialize answered".to_owned(),
        value: duration(start.initialize.median()?),
        beside: vec![floor_ratio(start.ratio), best(digest, of, f64::total_cmp, duration)],
    })
}

fn load(digest: &Digest, ours: &Line) -> Option<Card> {
    let load = ours.closed?;
    let of = |line: &Line| line.closed.and_then(|load| load.per_second.median());
    let mut ratio = floor_ratio(load.ratio);
    if let Some(with) = ours.with_markers.and_then(|load| load.ratio) {
        ratio.push_str(&format!("; {} with log markers", times(with.median)));
    }
    Some(Card {
        what: format!("requests/s on {} connections", digest.closed.as_ref()?.pattern.connections),
        value: number(load.per_second.median()?, 0),
        beside: vec![ratio, best(digest, of, |left, right| right.total_cmp(left), |per_second| number(per_second, 0))],
    })
}

fn latency(digest: &Digest, ours: &Line) -> Option<Card> {
    let (load, pattern) = (ours.open?, &digest.open.as_ref()?.pattern);
    let of = |line: &Line| line.open.and_then(|load| load.percentiles_us[2]);
    Some(Card {
        what: format!("p99 at {} requests/s", number(pattern.rate, 0)),
        value: duration(load.percentiles_us[2]?),
        beside: vec![floor_ratio(load.p99_ratio), best(digest, of, f64::total_cmp, duration)],
    })
}

fn memory(digest: &Digest, ours: &Line) -> Option<Card> {
    let of = |line: &Line| line.crowd.and_then(|crowd| crowd.private_kb);
    let floor = digest.lines().find(|line| line.who.kind == Kind::Floor).and_then(|line| of(&line));
    let floor = floor.map_or_else(String::new, |kb| format!("the floor {}", kilobytes(kb)));
    Some(Card {
        what: format!("private memory, each of {}", digest.crowds.as_ref()?.wanted),
        value: kilobytes(of(ours)?),
        beside: vec![floor, best(digest, of, f64::total_cmp, kilobytes)],
    })
}

fn thaw(digest: &Digest, ours: &Line) -> Option<Card> {
    let thaw = ours.thaw?;
    let of = |line: &Line| line.thaw.and_then(|thaw| thaw.reply.median());
    Some(Card {
        what: "thaw → reply".to_owned(),
        value: duration(thaw.reply.median()?),
        beside: vec![floor_ratio(thaw.ratio), best(digest, of, f64::total_cmp, duration)],
    })
}

fn counts(digest: &Digest, ours: &Line) -> Option<Card> {
    let counts = ours.counts?;
    let of = |line: &Line| line.counts.and_then(|it| it.counts.minor_faults_to_ready).map(|faults| faults as f64);
    let floor = counts.faults_ratio.map_or_else(String::new, |ratio| format!("{} the floor", times(ratio)));
    Some(Card {
        what: "page faults, exec → ready".to_owned(),
        value: count(of(ours)?),
        beside: vec![floor, best(digest, of, f64::total_cmp, count)],
    })
}

fn floor_ratio(ratio: Option<Estimate>) -> String {
    ratio.map_or_else(
        || "without a floor to compare with".to_owned(),
        |ratio| format!("{} the floor", times(ratio.median)),
    )
}

/// The peer that is ahead of the others.
fn best(
    digest: &Digest,
    of: impl Fn(&Line) -> Option<f64>,
    order: fn(&f64, &f64) -> std::cmp::Ordering,
    unit: fn(f64) -> String,
) -> String {
    let peers = digest.lines().filter(|line| line.who.kind == Kind::Peer);
    let best =
        peers.filter_map(|line| Some((line.who.label, of(&line)?))).min_by(|left, right| order(&left.1, &right.1));
    best.map_or_else(|| NONE.to_owned(), |(label, value)| format!("best peer {}, {label}", unit(value)))
}
