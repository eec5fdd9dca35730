//! The tables of proxies: the figures of each, and ours compared with each other one.

use super::{Table, estimate, row};
use crate::report::units::{NONE, number};
use crate::results::{Kind, Proxies, ProxyRow, ProxyRun, Results};
use crate::stats::figures::{self, ContenderInfo};
use crate::stats::{Sorted, difference, ratio};

type InRound = (u32, f64);

pub fn tables(results: &Results) -> Vec<Table> {
    let Some(proxy) = &results.proxy else { return Vec::new() };
    vec![speed(results, proxy), costs(results, proxy), compared(results, proxy)]
}

fn of(row: &ProxyRow, value: fn(&ProxyRun) -> f64) -> Vec<InRound> {
    row.runs.iter().map(|run| (run.round, value(run))).collect()
}

fn median(samples: &[InRound]) -> Option<f64> {
    Sorted::new(samples.iter().map(|(_, value)| *value)).median()
}

/// The row of the program alone.
fn direct(proxy: &Proxies) -> ProxyRow {
    proxy.rows.iter().find(|row| row.name == "direct").cloned().unwrap_or_default()
}

/// The time that a proxy adds to one call, in each round.
fn added(row: &ProxyRow, direct: &ProxyRow) -> Vec<InRound> {
    let alone = of(direct, |run| run.one_us);
    let alone = |round| alone.iter().find(|(other, _)| *other == round).map(|(_, us)| *us);
    of(row, |run| run.one_us).into_iter().filter_map(|(round, us)| Some((round, us - alone(round)?))).collect()
}

fn info<'a>(results: &'a Results, row: &'a ProxyRow) -> ContenderInfo<'a> {
    figures::contender(results, &row.name)
}

fn speed(results: &Results, proxy: &Proxies) -> Table {
    let direct = direct(proxy);
    let cells = |it: &ProxyRow| {
        let start = difference(&it.starts_us, &direct.starts_us).filter(|_| it.name != direct.name);
        let added = added(it, &direct);
        let cells = [
            number(median(&of(it, |run| run.per_second)), 0),
            number(median(&of(it, |run| run.cpu_us)), 1),
            number(median(&of(it, |run| run.one_us)), 1),
            if it.name == direct.name { NONE.to_owned() } else { number(median(&added), 1) },
            number(median(&it.starts_us), 0),
            estimate(start, 1.0, 0),
        ];
        let info = info(results, it);
        row(info, info.label, cells)
    };
    Table {
        title: "Proxies: speed".to_owned(),
        says: "Requests per second on 16 connections, and the proxy's processor time for each; a call on one \
               connection, and how much more that is than without a proxy; from the exec to the first reply, if the \
               proxy starts the program. Microseconds, medians of rounds."
            .to_owned(),
        columns: vec!["contender", "requests/s", "CPU\nµs", "one call\nµs", "added\nµs", "start\nµs", "added\n[95 %]"],
        rows: proxy.rows.iter().map(cells).collect(),
        notes: Vec::new(),
    }
}

fn costs(results: &Results, proxy: &Proxies) -> Table {
    let cells = |it: &ProxyRow| {
        let kb = |kb: Option<u64>| number(kb.map(|kb| kb as f64), 0);
        let calls: f64 = it.system_calls.iter().map(|(_, calls)| calls).sum();
        let us = |pair: Option<(f64, f64)>, pick: fn((f64, f64)) -> f64| number(pair.map(pick), 0);
        let cells = [
            number((!it.system_calls.is_empty()).then_some(calls), 1),
            kb(it.idle_switches),
            kb(it.resident_kb),
            kb(it.request_body_peak_kb),
            kb(it.reply_body_peak_kb),
            kb(it.stalled_kb),
            kb(it.long_stalled_kb),
            us(it.unharmed_us, |pair| pair.0),
            us(it.healthy_us, |pair| pair.0),
            us(it.healthy_us, |pair| pair.1),
        ];
        let info = info(results, it);
        row(info, info.label, cells)
    };
    let is_proxy = |it: &&ProxyRow| it.resident_kb.is_some() || it.idle_switches.is_some();
    Table {
        title: "Proxies: costs".to_owned(),
        says: format!(
            "System calls for one call; context switches in {} idle seconds; resident memory in kB: after a call, at \
             most while {} MB pass to the program and from it, and beside {} streams of {} MB, and {} of {} MB, whose \
             clients stopped reading after {} MB. A call before there are streams (median), and beside the many \
             (median, longest), in µs.",
            number(proxy.idle_secs, 0),
            proxy.body_bytes >> 20,
            proxy.streams.0,
            proxy.streams.1 >> 20,
            proxy.long_streams.0,
            proxy.long_streams.1 >> 20,
            proxy.stalled_at_bytes >> 20
        ),
        columns: vec![
            "contender",
            "system\ncalls",
            "idle\nswitches",
            "RSS\nkB",
            "to\nkB",
            "from\nkB",
            "many\nkB",
            "long\nkB",
            "before\nµs",
            "beside\nµs",
            "longest\nµs",
        ],
        rows: proxy.rows.iter().filter(is_proxy).map(cells).collect(),
        notes: Vec::new(),
    }
}

fn compared(results: &Results, proxy: &Proxies) -> Table {
    let direct = direct(proxy);
    let ours = proxy.rows.iter().find(|it| info(results, it).kind == Kind::Ours && !it.runs.is_empty());
    let cells = |ours: &ProxyRow, it: &ProxyRow| {
        let by = |value: fn(&ProxyRun) -> f64| estimate(ratio(&of(ours, value), &of(it, value)), 1.0, 2);
        let added = estimate(ratio(&added(ours, &direct), &added(it, &direct)), 1.0, 2);
        let info = info(results, it);
        row(info, info.label, [by(|run| run.cpu_us), by(|run| run.per_second), added])
    };
    let is_peer = |it: &&ProxyRow| info(results, it).kind == Kind::Peer && !it.runs.is_empty();
    let starts = ours.and_then(|ours| {
        let parent = proxy.rows.iter().find(|it| it.name == "fork-exec")?;
        let [ours, parent] = [ours, parent].map(|it| difference(&it.starts_us, &direct.starts_us));
        let share = ours?.median / parent?.median;
        let kept = number(Some(share), 2);
        Some(format!("The first reply: the adapter adds {kept} times what fork, exec and wait add."))
    });
    let rows = ours.map(|ours| proxy.rows.iter().filter(is_peer).map(|it| cells(ours, it)).collect());
    Table {
        title: "Proxies: the adapter compared with each".to_owned(),
        says: "Ratios of the adapter's figure to that of each other proxy, within rounds.".to_owned(),
        columns: vec!["contender", "CPU\n[95 %]", "requests/s\n[95 %]", "added time\n[95 %]"],
        rows: rows.unwrap_or_default(),
        notes: starts.into_iter().collect(),
    }
}
