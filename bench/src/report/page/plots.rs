//! The plots of the page, with their captions.

use super::{Figure, Section, amounts, spreads};
use crate::report::plot::{Anchor, Bar, Bars, Curve, Distribution, Distributions, STYLE, Svg, curves};
use crate::report::summary::Summary;
use crate::report::text::machine;
use crate::report::units::{NONE, bytes, count, cut, date, duration, number, times, whole};
use crate::results::{Kind, Results, Starts};
use crate::stats::Estimate;
use crate::stats::figures::{
    self, CountFigures, FleetFigures, LoadBlock, LoadFigures, PayloadFigures, PayloadRow, StartFigures, ThawFigures,
};

const WIDE: f64 = 800.0;
pub(super) const HALF: f64 = 480.0;

/// All plots, in the order of measures.
pub fn sections(results: &Results) -> Vec<Section> {
    let coldstart = |pick: fn(&crate::results::Coldstart) -> &[Starts]| {
        results.coldstart.as_ref().map(|it| figures::starts(results, pick(it))).unwrap_or_default()
    };
    let (process, container) = (coldstart(|it| &it.process), coldstart(|it| &it.container));
    let thaws = figures::thaw(results);
    vec![
        Section {
            title: "Cold start",
            figures: [starts(&process), start_ratios(&process), containers(&container)].into_iter().flatten().collect(),
        },
        Section { title: "Counts of a cold start", figures: counted(results) },
        spreads::quota(results),
        spreads::bursts(results),
        Section { title: "Thaw", figures: thawed(results, &thaws).into_iter().collect() },
        Section { title: "Load", figures: loads(results) },
        Section { title: "Density", figures: crowded(results).into_iter().collect() },
        Section { title: "Payloads", figures: payloads(results) },
        spreads::restores(results),
        amounts::images(results),
    ]
}

/// The plot for the README: cold starts as processes, as a file of its own. It is empty if there are none.
pub fn svg(results: &Results) -> String {
    const SIDE: f64 = 20.0;
    const TOP: f64 = 62.0;
    let all = results.coldstart.as_ref().map_or(&[][..], |it| &it.process);
    let rows = figures::starts(results, all);
    let plot = start_spreads(&rows);
    let height = TOP + plot.height() + 34.0;
    let mut svg = Svg::default();
    svg.text((SIDE + 8.0, 34.0), Anchor::Start, "title", "Cold start: exec → first /initialize answered");
    let rounds = rows.iter().map(|row| row.initialize.count()).max().unwrap_or(0);
    let below = format!("a dot for each start, a line for the median, a band for its 95 % interval; {rounds} rounds");
    svg.text((SIDE + 8.0, 54.0), Anchor::Start, "axis", &below);
    plot.draw(&mut svg, SIDE, TOP, WIDE);
    let from = format!("{}, {}", date(results.began), machine(&results.machine));
    svg.text((SIDE + 8.0, height - 14.0), Anchor::Start, "axis", &cut(&from, 122));
    svg.file(WIDE + 2.0 * SIDE, height, &words_of_starts(&rows), STYLE)
}

fn start_spreads(rows: &[StartFigures]) -> Distributions {
    let row = |row: &StartFigures| Distribution {
        label: row.contender.label.to_owned(),
        kind: row.contender.kind,
        aside: ratio_text(row.contender.kind, row.ratio),
        words: told(row.contender.label, row.initialize.estimate(), row.ratio, row.initialize.outliers()),
        samples: row.initialize.clone(),
        mark: None,
    };
    Distributions {
        rows: rows.iter().map(row).collect(),
        axis: "exec → first /initialize answered".into(),
        aside: "× baseline",
    }
}

fn starts(rows: &[StartFigures]) -> Option<Figure> {
    let plot = start_spreads(rows);
    let picture = spread_picture(&plot, &words_of_starts(rows))?;
    Some(Figure {
        title: "From exec to the first reply".to_owned(),
        caption:
            "Each dot is one start: the time from the exec until the whole reply to POST /initialize had arrived. All \
             contenders start once in each round, in shuffled order. The line is the median, the band its 95 % \
             interval, and the dashed line the baseline's median. Equal distances are equal ratios."
                .to_owned(),
        picture,
        wide: true,
    })
}

fn words_of_starts(rows: &[StartFigures]) -> String {
    let middle =
        |row: &StartFigures| row.initialize.median().map(|us| format!("{} {}", row.contender.label, duration(us)));
    let all: Vec<String> = rows.iter().filter_map(middle).collect();
    format!("Cold starts, medians: {}", all.join("; "))
}

fn start_ratios(rows: &[StartFigures]) -> Option<Figure> {
    let rows: Vec<Bar> = rows.iter().filter(|row| row.ratio.is_some()).map(ratio_bar).collect();
    let columns = [("× baseline", 54.0), ("95 % interval", 118.0)];
    let picture = bar_picture(rows, Some(1.0), WIDE, &columns, "Cold starts as ratios to the baseline")?;
    Some(Figure {
        title: "Ratio to the baseline".to_owned(),
        caption: "How many times as long as the baseline a start takes: the median of the ratios within each round, \
                  with its 95 % interval. A broken bar is longer than the axis."
            .to_owned(),
        picture,
        wide: true,
    })
}

fn containers(rows: &[StartFigures]) -> Option<Figure> {
    let above = |row: &StartFigures| match (row.contender.kind, row.above) {
        (Kind::Baseline, _) | (_, None) => NONE.to_owned(),
        (_, Some(above)) => signed(above),
    };
    let spread = |row: &StartFigures| Distribution {
        label: row.contender.label.to_owned(),
        kind: row.contender.kind,
        aside: above(row),
        words: told(row.contender.label, row.initialize.estimate(), row.ratio, row.initialize.outliers()),
        samples: row.initialize.clone(),
        mark: None,
    };
    let plot = Distributions {
        rows: rows.iter().map(spread).collect(),
        axis: "docker run → first /initialize answered".to_owned(),
        aside: "above baseline",
    };
    Some(Figure {
        title: "As a container".to_owned(),
        caption:
            "The same from docker run of scratch images. The baseline's row shows the engine's own time. The time \
             that a server adds to it is the median of the differences within each round."
                .to_owned(),
        picture: spread_picture(&plot, "Cold starts of containers")?,
        wide: true,
    })
}

fn counted(results: &Results) -> Vec<Figure> {
    type Pair = (Option<u64>, Option<u64>);
    let rows = figures::counts(results);
    let panel = |title: &str, caption: &str, columns: &[(&'static str, f64)], value: fn(&CountFigures) -> Pair| {
        let bar = |row: &CountFigures| {
            let (ready, answered) = value(row);
            let [value, more] = [ready, answered].map(|it| it.map(|it| it as f64));
            let texts = match columns.len() {
                1 => vec![value.map_or(NONE.to_owned(), count)],
                _ => vec![whole(ready), whole(answered)],
            };
            Bar {
                label: row.contender.label.into(),
                kind: Some(row.contender.kind),
                value,
                more,
                texts,
                ..Bar::default()
            }
        };
        let bars: Vec<Bar> = rows.iter().map(bar).filter(|bar| bar.value.or(bar.more).is_some()).collect();
        let picture = bar_picture(bars, None, HALF, columns, title)?;
        Some(Figure { title: title.to_owned(), caption: caption.to_owned(), picture, wide: false })
    };
    let both = [("ready", 46.0), ("first reply", 66.0)];
    let panels = [
        panel(
            "System calls",
            "From the exec, which counts, until the server waits for connections; paler: until the \
             first POST /initialize was answered.",
            &both,
            |row| (row.counts.calls_to_ready, row.counts.calls_to_initialize),
        ),
        panel(
            "Minor page faults",
            "From the exec until the server waits for connections; paler: until the first POST \
             /initialize was answered.",
            &both,
            |row| (row.counts.minor_faults_to_ready, row.counts.minor_faults_to_initialize),
        ),
        panel(
            "Instructions",
            "In user space, from the exec until the first POST /initialize was answered.",
            &[("instructions", 70.0)],
            |row| (row.counts.instructions, None),
        ),
        panel(
            "Bytes of the binary",
            "The program's own file. A script for an interpreter has no figure.",
            &[("bytes", 70.0)],
            |row| (row.contender.binary_bytes, None),
        ),
    ];
    panels.into_iter().flatten().collect()
}

fn thawed(results: &Results, rows: &[ThawFigures]) -> Option<Figure> {
    let thaw = results.thaw.as_ref()?;
    let spread = |row: &ThawFigures| Distribution {
        label: row.contender.label.to_owned(),
        kind: row.contender.kind,
        aside: row.above_warm.map_or(NONE.to_owned(), signed),
        words: told(row.contender.label, row.reply.estimate(), row.ratio, row.reply.outliers()),
        samples: row.reply.clone(),
        mark: row.warm.median(),
    };
    let plot =
        Distributions {
            rows: rows.iter().map(spread).collect(), axis: "thaw → reply".to_owned(), aside: "above warm"
        };
    Some(Figure {
        title: "From the thaw to the reply".to_owned(),
        caption: format!(
            "Each dot is one thaw after {} s frozen by {}, with a call that was sent during the freeze on a \
             connection from before. The small triangle is the median of the same call once more, after the thaw.",
            number(thaw.frozen_secs, 1),
            thaw.freezer
        ),
        picture: spread_picture(&plot, "Times from the thaw to the reply")?,
        wide: true,
    })
}

fn loads(results: &Results) -> Vec<Figure> {
    let blocks = figures::load(results);
    let (closed, open): (Vec<&LoadBlock>, Vec<&LoadBlock>) =
        blocks.iter().partition(|block| block.pattern.rate.is_none());
    let figures = closed.into_iter().filter_map(rates).chain(open.into_iter().filter_map(latencies));
    figures.chain(amounts::requests(results)).collect()
}

fn rates(block: &LoadBlock) -> Option<Figure> {
    // A bar for each contender: with log markers, and paler without.
    let first_of = |row: &&LoadFigures| {
        let first = block.rows.iter().find(|other| other.contender == row.contender);
        first.is_some_and(|first| first.markers == row.markers)
    };
    let bar = |row: &LoadFigures| {
        let per_second = |markers| {
            let row = block.rows.iter().find(|other| other.contender == row.contender && other.markers == markers);
            row.and_then(|row| row.per_second.estimate())
        };
        let (on, off) = (per_second(Some(true)), per_second(Some(false)).or_else(|| per_second(None)));
        let best = off.or(on);
        Bar {
            label: row.contender.label.to_owned(),
            kind: Some(row.contender.kind),
            value: least(on, off),
            more: off.map(|it| it.median),
            range: best.map(|best| (best.interval.low, best.interval.high)),
            texts: vec![number(best.map(|it| it.median), 0), ratio_text(row.contender.kind, row_ratio(block, row))],
            words: told_load(block, row),
        }
    };
    let bars: Vec<Bar> = block.rows.iter().filter(first_of).map(bar).collect();
    let baseline =
        block.rows.iter().find(|row| row.contender.kind == Kind::Baseline).and_then(|row| row.per_second.median());
    let title = block.pattern.to_string();
    let picture = bar_picture(bars, baseline, HALF, &[("requests/s", 70.0), ("× baseline", 66.0)], &title)?;
    let caption = "Requests per second, the median of the rounds with their range. Our bars are with log markers, \
                   and paler without; the numbers are those without, because no peer has log markers.";
    Some(Figure { title, caption: caption.to_owned(), picture, wide: false })
}

fn least(left: Option<Estimate>, right: Option<Estimate>) -> Option<f64> {
    [left, right].into_iter().flatten().map(|it| it.median).reduce(f64::min)
}

/// The ratio of the contender without markers, if it was measured without.
fn row_ratio(block: &LoadBlock, row: &LoadFigures) -> Option<Estimate> {
    let mine = || block.rows.iter().filter(|other| other.contender == row.contender);
    mine().find(|row| row.markers != Some(true)).or_else(|| mine().next())?.ratio
}

fn told_load(block: &LoadBlock, row: &LoadFigures) -> String {
    let mine = block.rows.iter().filter(|other| other.contender == row.contender);
    let tell = |row: &LoadFigures| {
        let p99 = row.percentiles_us[2].map_or(NONE.to_owned(), duration);
        format!("{}: {} requests/s, p99 {p99}", row.title(), number(row.per_second.median(), 0))
    };
    mine.map(tell).collect::<Vec<_>>().join("; ")
}

fn latencies(block: &LoadBlock) -> Option<Figure> {
    let rows = || block.rows.iter().filter(|row| row.markers != Some(true) && row.latency.count() > 0);
    let (mut ours, mut others) = (0, 0);
    let curve = |row: &LoadFigures| {
        let next = |number: &mut usize| {
            *number += 1;
            *number - 1
        };
        let class = match row.contender.kind {
            Kind::Baseline => "baseline thick dashed".to_owned(),
            Kind::Ours => ["ours thick", "ours dashed", "ours dotted", "ours"][next(&mut ours) % 4].to_owned(),
            Kind::Peer | Kind::Custom => format!("c{}", next(&mut others) % 8),
        };
        let label = format!("{}{}", row.contender.label, if row.fell_behind() { " ⚠" } else { "" });
        let all = row.latency.count() as f64;
        // With n requests, nothing rarer than one in n can be known.
        let points = row.latency.points().map(|(us, seen)| (us, (seen as f64 / all).min(1.0 - 1.0 / all)));
        Curve { label, class, words: told_load(block, row), points: points.collect() }
    };
    let all: Vec<Curve> = rows().map(curve).collect();
    if all.is_empty() {
        return None;
    }
    let title = block.pattern.to_string();
    let caption = "Latency since a request was due by the clock, whether or not the server had answered the \
                   requests before; log markers off. Both axes are logarithmic: to the right, each step is ten times \
                   rarer. ⚠ marks a server that did not keep up with the rate, so its latencies only grow. ▴ marks a \
                   curve above the plot; the table has its figures.";
    let picture = curves(&all, WIDE, &title);
    Some(Figure { title, caption: caption.to_owned(), picture, wide: true })
}

fn crowded(results: &Results) -> Option<Figure> {
    let fleets = Summary::new(results).fleets?;
    let bar = |row: &FleetFigures| Bar {
        label: row.contender.label.to_owned(),
        kind: Some(row.contender.kind),
        value: row.private_kb,
        more: row.proportional_kb,
        texts: [row.private_kb, row.proportional_kb, row.fleet.machine_kb].map(|kb| number(kb, 0)).to_vec(),
        words: format!("{}: {} of {} answered", row.contender.label, row.fleet.answered, row.fleet.wanted),
        ..Bar::default()
    };
    let bars: Vec<Bar> = fleets.rows.iter().map(bar).collect();
    let title = format!("Memory of each of {} instances", fleets.wanted);
    let columns = [("private kB", 76.0), ("PSS", 60.0), ("machine", 66.0)];
    Some(Figure {
        picture: bar_picture(bars, None, WIDE, &columns, &title)?,
        title,
        caption:
            "Medians over the instances: private memory; paler, the proportional share (PSS), which divides shared \
             memory; machine, the decrease of the machine's free memory for each, kernel memory included."
                .to_owned(),
        wide: true,
    })
}

/// Times of each size; processor time and memory of the largest, where they are more than noise.
fn payloads(results: &Results) -> Vec<Figure> {
    let blocks = figures::payloads(results);
    let costs = blocks.last().map(|largest| [payload_cpu(largest), payload_memory(largest)]);
    blocks.iter().map(payload_times).chain(costs.into_iter().flatten()).flatten().collect()
}

fn payload_bar(row: &PayloadRow, value: Option<f64>, texts: Vec<String>) -> Bar {
    let words = told(row.contender.label, row.time.estimate(), row.ratio, row.time.outliers());
    let kind = Some(row.contender.kind);
    Bar { label: row.contender.label.to_owned(), kind, value, texts, words, ..Bar::default() }
}

fn payload_times(block: &PayloadFigures) -> Option<Figure> {
    let bar = |row: &PayloadRow| {
        let time = row.time.estimate();
        let texts = vec![time.map_or(NONE.to_owned(), |time| duration(time.median)), ratio_text(Kind::Ours, row.ours)];
        let range = time.map(|time| (time.interval.low / 1e3, time.interval.high / 1e3));
        Bar { range, ..payload_bar(row, time.map(|time| time.median / 1e3), texts) }
    };
    let title = format!("{} and back, milliseconds", bytes(block.body_bytes));
    let reference =
        block.rows.iter().find(|row| row.contender.name == figures::OUR_ECHO).and_then(|row| row.time.median());
    let bars = block.rows.iter().map(bar).collect();
    let columns = [("time", 66.0), ("echo ÷ it", 68.0)];
    let limits = if block.client_limits { " The client was busy and may be the limit." } else { "" };
    Some(Figure {
        picture: bar_picture(bars, reference.map(|us| us / 1e3), HALF, &columns, &title)?,
        title,
        caption: format!(
            "From the first byte of the event to the last byte of the reply, the median of the rounds with its \
             interval. Echo ÷ it: the time of fc-hooks with Reply::echo, as a ratio within each round.{limits}"
        ),
        wide: false,
    })
}

fn payload_cpu(block: &PayloadFigures) -> Option<Figure> {
    let bar = |row: &PayloadRow| {
        let cpu = row.cpu_us.map(|us| us / 1e3);
        let texts = vec![row.cpu_us.map_or(NONE.to_owned(), duration), ratio_text(Kind::Ours, row.ours_cpu)];
        let user = cpu.zip(row.user).map(|(ms, user)| ms * user);
        Bar { more: cpu, ..payload_bar(row, user, texts) }
    };
    let title = format!("Processor time for {}, milliseconds", bytes(block.body_bytes));
    let columns = [("time", 66.0), ("echo ÷ it", 68.0)];
    Some(Figure {
        picture: bar_picture(block.rows.iter().map(bar).collect(), None, HALF, &columns, &title)?,
        title,
        caption:
            "Of the server, for one call: user time; paler, with system time, in which the kernel copies the bytes \
                  and finds the memory for them."
                .to_owned(),
        wide: false,
    })
}

fn payload_memory(block: &PayloadFigures) -> Option<Figure> {
    let bar = |row: &PayloadRow| payload_bar(row, row.peak, vec![number(row.peak, 2), number(row.faults, 0)]);
    let title = format!("Peak memory ÷ body, {}", bytes(block.body_bytes));
    let columns = [("÷ body", 56.0), ("faults", 60.0)];
    Some(Figure {
        picture: bar_picture(block.rows.iter().map(bar).collect(), Some(1.0), HALF, &columns, &title)?,
        title,
        caption:
            "What the resident memory of a fresh process grew by in its first call, as a multiple of the body, and \
                  the page faults of that call. The dashed line is the body. What the kernel holds for the connection \
                  is not in it."
                .to_owned(),
        wide: false,
    })
}

pub(super) fn spread_picture(plot: &Distributions, words: &str) -> Option<String> {
    let measured = plot.rows.iter().any(|row| row.samples.count() > 0);
    let mut svg = Svg::default();
    plot.draw(&mut svg, 0.0, 0.0, WIDE);
    measured.then(|| svg.inline(WIDE, plot.height(), words))
}

pub(super) fn bar_picture(
    rows: Vec<Bar>,
    reference: Option<f64>,
    width: f64,
    columns: &[(&'static str, f64)],
    words: &str,
) -> Option<String> {
    let measured = rows.iter().any(|bar| bar.value.or(bar.more).is_some());
    let labels = if width < WIDE { 172.0 } else { 178.0 };
    measured.then(|| Bars { rows, reference, labels, columns: columns.to_vec() }.svg(width, words))
}

fn ratio_bar(row: &StartFigures) -> Bar {
    let range = row
        .ratio
        .filter(|_| row.contender.kind != Kind::Baseline)
        .map(|ratio| (ratio.interval.low, ratio.interval.high));
    let interval =
        range.map_or(String::new(), |(low, high)| format!("{} – {}", times(low), times(high)).replace('×', ""));
    Bar {
        label: row.contender.label.to_owned(),
        kind: Some(row.contender.kind),
        value: row.ratio.map(|ratio| ratio.median),
        range,
        texts: vec![ratio_text(row.contender.kind, row.ratio), interval],
        ..Bar::default()
    }
}

pub(super) fn ratio_text(kind: Kind, ratio: Option<Estimate>) -> String {
    match (kind, ratio) {
        (_, None) => NONE.to_owned(),
        (Kind::Baseline, Some(_)) => "1×".to_owned(),
        (_, Some(ratio)) => times(ratio.median),
    }
}

fn signed(difference: Estimate) -> String {
    format!("{}{}", if difference.median < 0.0 { "" } else { "+" }, duration(difference.median))
}

pub(super) fn told(label: &str, estimate: Option<Estimate>, ratio: Option<Estimate>, outliers: usize) -> String {
    let Some(Estimate { median, interval, count }) = estimate else { return format!("{label}: no sample") };
    let mut words = format!("{label}: {} [{}, {}]", duration(median), duration(interval.low), duration(interval.high));
    if let Some(Estimate { median, interval, .. }) = ratio {
        words.push_str(&format!(
            ", {} [{}, {}] the baseline",
            times(median),
            times(interval.low),
            times(interval.high)
        ));
    }
    words + &format!(", {count} samples, {outliers} outliers")
}
