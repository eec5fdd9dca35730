//! Reports of the benchmarks: they contain every contender, name every doubt, and stay well-formed with any input.

mod fixtures;

use std::process::{Command, Output};

use fc_bench::history::History;
use fc_bench::report::{markdown, svg, table};
use fc_bench::results::{Burst, Coldstart, Density, Kind, Load, Payload, Quota, Results, Start, Starts, Thaw};
use fc_bench::stats::warnings;
use fixtures::results;
use roxmltree::{Document, Node, ParsingOptions};

/// A name that would break every format that does not escape it.
const NASTY: &str = "<b>\"x\" & 'y'|z`*_\u{1b}[31m";

fn reports(results: &Results) -> [(&'static str, String); 4] {
    [("table", table(results)), ("markdown", markdown(results)), ("html", html(results)), ("svg", svg(results))]
}

fn html(results: &Results) -> String {
    fc_bench::report::html(results).expect("the template is filled")
}

/// Parses the text as XML, which our HTML is, too.
fn parsed(text: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).unwrap_or_else(|cause| panic!("{cause} in {text}"))
}

fn all<'a>(document: &'a Document, tag: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.tag_name().name() == tag).collect()
}

fn number(node: Node, attribute: &str) -> f64 {
    node.attribute(attribute).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{attribute} of {node:?}"))
}

fn assert_sound(results: &Results, what: &str) {
    for (name, text) in reports(results) {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let bad: Vec<&str> = words.filter(|word| ["nan", "inf"].contains(&word.to_lowercase().as_str())).collect();
        assert!(bad.is_empty(), "{what}: {bad:?} in {name}:\n{text}");
    }
    parsed(&html(results));
    parsed(&svg(results));
}

#[test]
fn everybody_is_in_every_report() {
    let results = results();
    for (name, text) in reports(&results) {
        for contender in &results.contenders {
            let label = if name == "markdown" { contender.label.replace('_', "\\_") } else { contender.label.clone() };
            assert!(text.contains(&label), "{label} in {name}");
        }
    }
    for text in [table(&results), html(&results)] {
        for skipped in &results.skipped {
            assert!(text.contains(&skipped.what) && text.contains(&skipped.reason), "{skipped:?}");
        }
        for warning in warnings(&results) {
            let words = warning.text.split_whitespace().filter(|word| word.chars().all(char::is_alphanumeric));
            assert!(words.clone().all(|word| text.contains(word)), "{warning:?}");
        }
        for part in [&results.machine.processor, &results.machine.kernel, "2025-11-23 20:08 UTC", "bench --export-json"]
        {
            assert!(text.contains(part), "{part}");
        }
    }
}

#[test]
fn the_table_fits_a_terminal_and_its_columns_are_straight() {
    let text = table(&results());
    for line in text.lines() {
        assert!(line.chars().count() <= 120 && line == line.trim_end(), "{line:?}");
    }
    for block in text.split("\n\n").filter(|block| block.contains("  contender ")) {
        let rows: Vec<&str> = block.lines().skip_while(|line| !line.contains("  contender ")).collect();
        let [head, rows @ ..] = &rows[..] else { panic!("{block}") };
        let wide = rows.iter().filter(|line| line.chars().count() == head.chars().count()).count();
        assert!(wide >= 6, "{block}");
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let page = html(&results());
    let document = parsed(&page);
    assert!(["script", "link", "img", "iframe", "object"].iter().all(|tag| all(&document, tag).is_empty()));
    let outside = document.descendants().flat_map(|node| node.attributes().collect::<Vec<_>>());
    assert!(outside.into_iter().all(|attribute| !["src", "href", "xlink:href"].contains(&attribute.name())));
    assert!(!page.contains("url(") && !page.contains("@import"));
    // Four of cold starts' counts, four, two and two of load, three of shares and of bursts, two of restores, of
    // images, of payloads' times and of their costs, and one each of: starts, ratios, containers, thaw, density.
    assert_eq!(all(&document, "svg").len(), 31);
    assert_eq!(all(&document, "figcaption").len(), 31);
    assert!(all(&document, "figcaption").iter().all(|caption| caption.text().is_some_and(|text| text.len() > 40)));
}

/// Every shape is drawn inside its picture.
#[test]
fn pictures_keep_to_their_frames() {
    let results = results();
    let (page, file) = (html(&results), svg(&results));
    let (page, file) = (parsed(&page), parsed(&file));
    for svg in all(&page, "svg").into_iter().chain(all(&file, "svg")) {
        let view: Vec<f64> = svg.attribute("viewBox").unwrap().split(' ').map(|part| part.parse().unwrap()).collect();
        let inside = |x: f64, y: f64| (0.0..=view[2]).contains(&x) && (0.0..=view[3]).contains(&y);
        for node in svg.descendants() {
            let points: &[(&str, &str)] = match node.tag_name().name() {
                "text" | "rect" => &[("x", "y")],
                "line" => &[("x1", "y1"), ("x2", "y2")],
                "circle" => &[("cx", "cy")],
                _ => &[],
            };
            for (x, y) in points {
                assert!(inside(number(node, x), number(node, y)), "{node:?} in {svg:?}");
            }
        }
    }
}

/// Beyond the axis or on it: the dots and the counts at the edge are all samples.
#[test]
fn no_sample_is_cut_in_silence() {
    let mut results = results();
    results.coldstart.as_mut().unwrap().process[1].samples[3].initialize_us = 9e9;
    let file = svg(&results);
    let document = parsed(&file);
    let samples = &results.coldstart.as_ref().unwrap().process;
    let rows: Vec<Node> = document.root_element().children().filter(|node| node.tag_name().name() == "g").collect();
    assert_eq!(rows.len(), samples.len());
    for (row, starts) in rows.iter().zip(samples) {
        let dots = row.children().filter(|node| node.tag_name().name() == "circle").count();
        let beyond = row.children().filter_map(|node| node.text()?.strip_prefix("▸ ")?.split(',').next());
        let beyond: usize = beyond.map(|count| count.parse().unwrap_or(starts.samples.len())).sum();
        assert_eq!(dots + beyond, starts.samples.len(), "{}", starts.name);
    }
    assert!(file.contains("▸ all, to ") && file.contains("to 9,000 s"), "{file}");
}

#[test]
fn names_are_escaped() {
    let mut results = results();
    for it in &mut results.contenders {
        it.label = NASTY.into();
        it.note = NASTY.into();
        it.command = vec![NASTY.into()];
    }
    results.skipped[0].reason = NASTY.into();
    results.command = vec![NASTY.into()];
    results.machine.processor = NASTY.into();
    results.version = NASTY.into();
    results.thaw.as_mut().unwrap().freezer = NASTY.into();
    results.density.as_mut().unwrap().fleets[0].failures = vec![NASTY.into()];
    results.load.as_mut().unwrap().cells[0].failures = vec![NASTY.into()];
    assert_sound(&results, "nasty names");
    for (name, text) in reports(&results) {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{name}: {text}");
    }
    let page = html(&results);
    assert!(!page.contains("<b>\"") && page.contains("&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;|z"), "{page}");
    let rows = markdown(&results);
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let counts: Vec<usize> = rows.lines().take_while(|line| !line.is_empty()).map(cells).collect();
    assert_eq!(counts.len(), 2 + results.contenders.len());
    assert!(counts.iter().all(|count| *count == counts[0]), "{rows}");
}

#[test]
fn the_markdown_has_a_line_for_each_and_no_empty_column() {
    let mut results = results();
    let text = markdown(&results);
    assert!(text.starts_with("| | bytes | exec → first `/initialize`, ms | × baseline |"), "{text}");
    assert!(text.contains("\n| **fc-hooks, ten lines** | 452,104 | 0.62 | 1.16 | 35 | 71 |"), "{text}");
    assert!(text.contains("\n| baseline: C, epoll | 17,720 | 0.54 | 1 |"), "{text}");
    // Requests/s without log markers, its ratio, the ratio with them, and p99 at the fixed rate without them.
    assert!(text.contains(" | 74,586 | 0.99 | 0.83 | 1,007 | 203 | 16.8 | 1.00 | 112 |\n"), "{text}");
    assert!(text.contains("baseline: C, echo; fc-hooks, Reply::echo; hyper 1, collect(); Go, io.ReadAll"), "{text}");
    results.load = None;
    results.density = None;
    let text = markdown(&results);
    assert!(!text.contains("requests/s") && !text.contains("private") && text.contains("thaw"), "{text}");
}

#[test]
fn whoever_cannot_start_on_a_share_has_a_row_and_a_reason() {
    let text = table(&results());
    let (_, text) = text.split_once("Cold start of a process at 0.05 vCPU\n").expect("the table");
    let row = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).expect("a row").to_owned();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("gets 5 ms of processor time in every 100 ms, by cpu.max of cgroup v2"), "{words}");
    let (ours, failed, slow) = (row("fc-hooks, ten lines"), row("actix-web 4"), row("Python"));
    assert!(ours.contains("1.1") && ours.contains("0 %"), "{ours}");
    assert!(failed.contains("–") && !failed.contains("0 %"), "{failed}");
    assert!(slow.contains("100 %"), "{slow}");
    for note in ["failed starts: 3; the first: round 0: its port", "given up after 3 failures in a row"] {
        assert!(text.contains(&format!("actix-web 4, one worker: {note}")), "{note}");
    }
    assert!(text.contains("Cold start of a container at 0.05 vCPU"));
    let mut alone = results();
    alone.contenders.retain(|it| it.kind != Kind::Ours);
    alone.quota.as_mut().unwrap().process.retain(|starts| starts.name != "hello" && starts.name != "baseline");
    assert_sound(&alone, "shares without baseline and ours");
}

#[test]
fn what_is_missing_breaks_nothing() {
    let mut none = results();
    (none.coldstart, none.load, none.thaw, none.density) = (None, None, None, None);
    (none.quota, none.image, none.restore, none.burst, none.payload) = (None, None, None, None, None);
    assert_sound(&none, "no measure");
    assert!(table(&none).contains("nothing was measured") && html(&none).contains("Nothing was measured"));

    let mut empty = none.clone();
    empty.coldstart = Some(Coldstart::default());
    empty.quota = Some(Quota::default());
    empty.burst = Some(Burst::default());
    (empty.load, empty.thaw) = (Some(Load::default()), Some(Thaw::default()));
    empty.density = Some(Density::default());
    empty.payload = Some(Payload::default());
    assert_sound(&empty, "measures without anybody");
    empty.contenders.clear();
    empty.skipped.clear();
    assert_sound(&empty, "nobody");

    let mut silent = results();
    let coldstart = silent.coldstart.as_mut().unwrap();
    coldstart.process.iter_mut().chain(&mut coldstart.container).for_each(|starts| starts.samples.clear());
    silent.thaw.as_mut().unwrap().contenders.iter_mut().for_each(|thaws| thaws.samples.clear());
    silent.load.as_mut().unwrap().cells.iter_mut().for_each(|cell| cell.runs.clear());
    for cell in &mut silent.payload.as_mut().unwrap().cells {
        (cell.runs, cell.memory, cell.system_calls) = (Vec::new(), Vec::new(), Vec::new());
    }
    for fleet in &mut silent.density.as_mut().unwrap().fleets {
        fleet.answered = 0;
        [&mut fleet.private_kb, &mut fleet.proportional_kb, &mut fleet.resident_kb].into_iter().for_each(Vec::clear);
    }
    assert_sound(&silent, "no sample");

    let mut one = results();
    one.coldstart.as_mut().unwrap().process[2].samples.clear();
    one.load.as_mut().unwrap().cells[3].runs.clear();
    one.thaw.as_mut().unwrap().contenders[2].samples.truncate(1);
    assert_sound(&one, "one without samples");
    assert!(html(&one).contains("no sample"));

    let mut without_baseline = results();
    without_baseline.contenders.retain(|it| it.kind != Kind::Baseline);
    assert_sound(&without_baseline, "no baseline");
    assert!(warnings(&without_baseline).iter().any(|warning| warning.text.contains("the baseline did not take part")));
    without_baseline.contenders.retain(|it| it.kind != Kind::Ours);
    assert_sound(&without_baseline, "neither baseline nor ours");

    let mut undescribed = results();
    undescribed.contenders.clear();
    assert_sound(&undescribed, "samples of nobody");
}

#[test]
fn what_is_no_number_is_never_shown() {
    let mut results = results();
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -5.0, f64::MAX, f64::MIN_POSITIVE];
    let coldstart = results.coldstart.as_mut().unwrap();
    coldstart.attempt_pause_us = f64::NAN;
    for (starts, us) in coldstart.process.iter_mut().zip(odd.iter().cycle()) {
        let sample = Start { round: 0, port_open_us: *us, initialize_us: *us, invoke_us: *us };
        starts.samples.iter_mut().step_by(2).for_each(|start| *start = Start { round: start.round, ..sample });
    }
    for (cell, value) in results.load.as_mut().unwrap().cells.iter_mut().zip(odd.iter().cycle()) {
        for run in &mut cell.runs {
            (run.seconds, run.client_busy, run.server_cpu_us) = (*value, *value, *value);
            run.percentiles_us = [*value; 5];
            run.latency_us.push((*value, 3));
        }
    }
    for (thaws, us) in results.thaw.as_mut().unwrap().contenders.iter_mut().zip(odd) {
        thaws.samples.iter_mut().for_each(|sample| (sample.reply_us, sample.warm_us) = (us, us));
    }
    for (fleet, value) in results.density.as_mut().unwrap().fleets.iter_mut().zip(odd) {
        (fleet.all_answered_us, fleet.machine_kb) = (value, Some(value));
        fleet.private_kb = vec![value];
    }
    for (starts, us) in results.quota.as_mut().unwrap().process.iter_mut().zip(odd.iter().cycle()) {
        starts.vcpu = *us;
        for start in &mut starts.samples {
            (start.initialize_us, start.throttled_us, start.cpu_us) = (*us, *us, Some(*us));
        }
    }
    for (restores, us) in results.restore.as_mut().unwrap().restores.iter_mut().zip(odd.iter().cycle()) {
        restores.samples.iter_mut().for_each(|sample| (sample.restored_us, sample.reply_us) = (*us, *us));
    }
    for (cell, us) in results.payload.as_mut().unwrap().cells.iter_mut().zip(odd.iter().cycle()) {
        cell.body_bytes = if *us == 0.0 { 0 } else { cell.body_bytes };
        cell.runs.iter_mut().for_each(|run| {
            (run.percentiles_us, run.client_busy, run.server_cpu_us) = ([*us; 3], *us, *us);
            (run.user_us, run.system_us) = (*us, *us);
        });
    }
    (results.machine.load, results.seconds) = (f64::NAN, f64::INFINITY);
    assert_sound(&results, "odd numbers");
}

/// The warnings of a run that was changed, without the warnings that it had before.
fn new_warnings(change: impl FnOnce(&mut Results)) -> Vec<String> {
    let before = warnings(&results());
    let mut results = results();
    change(&mut results);
    warnings(&results).into_iter().filter(|warning| !before.contains(warning)).map(|warning| warning.text).collect()
}

#[track_caller]
fn assert_warning(found: &[String], words: &str) {
    assert!(found.iter().any(|text| text.contains(words)), "{words:?} in {found:#?}");
}

#[test]
fn the_fixture_has_the_doubts_that_were_put_into_it() {
    let found: Vec<String> = warnings(&results()).into_iter().map(|warning| warning.text).collect();
    for words in [
        "the load average was 0.74 before the run, on 2 processors",
        "actix-web 4, one worker: failed starts, which are in no figure: 2; the first: the port",
        "the client was busy for more than 70 %",
        "did not keep up with the rate",
        "Python http.server: failed requests: 9; the first note: 3 connections were reset",
        "actix-web 4, one worker, a process at 0.05 vCPU: failed starts, which are in no figure: 3; the first: round 0",
        "actix-web 4, one worker, 100 at once: failed bursts, which are in no figure: 2; the first: round 0: time: 97",
        "Go net/http, criu: failed restores, which are in no figure: 1; the first: it could not be saved",
        "Go, io.ReadAll, 33554432 bytes: failed calls, which are in no figure: 1; the first: round 0: the reply did",
        "1340 of 2000 instances answered: less than 10 %",
        "too few rounds (3): intervals reach from the least sample to the largest",
    ] {
        assert_warning(&found, words);
    }
    // Ratios of 1.16 and 1.62 are far from each other's noise; those of containers are not.
    let coldstart = warnings(&results()).into_iter().filter(|warning| warning.text.contains(" ≈ "));
    let about: Vec<&str> = coldstart.map(|warning| warning.about).collect();
    assert!(about.contains(&"cold start, containers") && !about.contains(&"cold start"), "{about:?}");
}

#[test]
fn a_quiet_run_leaves_no_doubt() {
    let mut results = results();
    (results.thaw, results.load, results.density) = (None, None, None);
    (results.quota, results.restore, results.burst, results.payload) = (None, None, None, None);
    results.machine.load = 0.1;
    let coldstart = results.coldstart.as_mut().unwrap();
    coldstart.container.clear();
    coldstart.process.retain(|starts| starts.failures.is_empty());
    assert_eq!(warnings(&results), []);
}

#[test]
fn noise_is_doubted() {
    let starts = |results: &mut Results, change: fn(&mut Starts)| {
        results.coldstart.as_mut().unwrap().process.iter_mut().for_each(change);
    };
    let swing = |starts: &mut Starts| {
        starts.samples.iter_mut().for_each(|start| start.initialize_us *= f64::from(1 + start.round % 3));
    };
    assert_warning(&new_warnings(|results| starts(results, swing)), "the interquartile range of the baseline is");
    let rarely = |starts: &mut Starts| {
        starts.samples.iter_mut().step_by(12).for_each(|start| start.initialize_us *= 50.0);
    };
    assert_warning(&new_warnings(|results| starts(results, rarely)), "samples are outliers; they stay in every figure");
    let few = |starts: &mut Starts| starts.samples.truncate(4);
    assert_warning(&new_warnings(|results| starts(results, few)), "too few rounds (4): intervals reach");
    let same = |results: &mut Results| {
        let all = &mut results.coldstart.as_mut().unwrap().process;
        let baseline = all[0].samples.clone();
        for (own, baseline) in all[1].samples.iter_mut().zip(baseline) {
            own.initialize_us = baseline.initialize_us * if own.round % 2 == 0 { 0.98 } else { 1.05 };
        }
    };
    let slow = |results: &mut Results| {
        let baseline = &mut results.quota.as_mut().unwrap().process[0];
        baseline.samples.iter_mut().for_each(|start| start.initialize_us *= f64::from(1 + start.round % 3));
    };
    assert_warning(&new_warnings(slow), "a process at 0.05 vCPU: the machine was noisy");
    assert_warning(&new_warnings(same), "differences within the noise: baseline ≈ hello");
    let disorder = |starts: &mut Starts| starts.samples[0].port_open_us = 1e9;
    assert_warning(&new_warnings(|results| starts(results, disorder)), "11 starts have times out of order");
}

/// A run becomes a line with a value in every column, and the page has a plot of each figure.
#[test]
fn the_page_plots_earlier_runs() {
    let results = results();
    let mut history = History::parse("").unwrap();
    for commit in ["a1", "b2 <c>"] {
        history.add(&fc_bench::history::run(&results, commit));
    }
    let text = history.to_csv().unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let of_column: Vec<_> = lines[0].iter().zip(&lines[1]).filter(|(_, value)| value.is_empty()).collect();
    assert!(lines.len() == 3 && of_column.is_empty(), "{of_column:?} in {text}");
    let page = fc_bench::report::html_with_history(&results, Some(&history)).unwrap();
    let page =
        Document::parse_with_options(&page, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap();
    let labels: Vec<_> = page.descendants().filter_map(|node| node.attribute("aria-label")).collect();
    for column in &lines[0][2..] {
        assert!(labels.contains(&&*column.replace('_', " ")), "{column} in {labels:?}");
    }
}

/// Where the client may be the limit, a server that takes half the processor time counts as twice as fast, whatever the
/// requests per second say.
#[test]
fn a_busy_client_leaves_the_ratio_to_the_servers_processor_time() {
    let mut results = results();
    let load = results.load.as_mut().unwrap();
    load.cells.retain(|cell| cell.pattern.rate.is_none() && cell.pattern.connections == 16);
    for cell in &mut load.cells {
        let cpu_us = if cell.name == "hyper" { 4.0 } else { 8.0 };
        for run in &mut cell.runs {
            (run.server_cpu_us, run.client_busy, run.seconds, run.requests) = (cpu_us, 0.5, 1.0, 1_000);
        }
    }
    let ratio_of_hyper = |results: &Results| {
        let blocks = fc_bench::stats::figures::load(results);
        let row = blocks[0].rows.iter().find(|row| row.contender.name == "hyper").unwrap();
        (blocks[0].client_limits, row.ratio.unwrap().median)
    };
    assert_eq!(ratio_of_hyper(&results), (false, 1.0));
    results.load.as_mut().unwrap().cells[0].runs[0].client_busy = 0.75;
    assert_eq!(ratio_of_hyper(&results), (true, 2.0));
    let text = table(&results).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("the ratios are those of the server's processor time"), "{text}");
}

#[test]
fn load_that_measures_the_client_is_doubted() {
    let runs = |results: &mut Results, change: fn(&mut fc_bench::results::LoadRun)| {
        let load = results.load.as_mut().unwrap();
        load.cells.iter_mut().filter(|cell| cell.name == "hyper").flat_map(|cell| &mut cell.runs).for_each(change);
    };
    let words = "these may serve more requests/s than measured: hyper 1";
    assert_warning(&new_warnings(|results| runs(results, |run| run.client_busy = 0.95)), words);
    let late = new_warnings(|results| runs(results, |run| run.client_late_us = Some(1e6)));
    assert_warning(&late, "the client sent late, which causes a considerable part of the 99th percentile: hyper 1");
    let hung = new_warnings(|results| runs(results, |run| run.unanswered = 4));
    assert_warning(&hung, "hyper 1, current-thread: requests without an answer when the run ended: 12");
    let shared = new_warnings(|results| results.load.as_mut().unwrap().server_processors = vec![0]);
    assert_warning(&shared, "client and server shared a processor");
    let failed = new_warnings(|results| results.load.as_mut().unwrap().cells[0].failures = vec!["no port".into()]);
    assert_warning(
        &failed,
        "1 connection, kept alive: baseline: C, epoll: failed runs, which are in no figure: 1; the first: no port",
    );
    let fleet = new_warnings(|results| results.density.as_mut().unwrap().fleets[1].failures = vec!["no thaw".into()]);
    assert_warning(&fleet, "200 instances: failures: 1; the first: no thaw");
}

fn report(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fc-bench")).arg("report").args(words).output().unwrap()
}

#[test]
fn the_command_shows_results_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let [json, page, plot, readme] = ["bench.json", "page.html", "plot.svg", "readme.md"].map(file);
    let results = results();
    std::fs::write(&json, serde_json::to_string(&results).unwrap()).unwrap();

    let shown = report(&[&json, "--export-html", &page, "--export-svg", &plot, "--export-markdown", &readme]);
    assert_eq!((shown.status.code(), String::from_utf8_lossy(&shown.stderr)), (Some(0), "".into()));
    assert_eq!(String::from_utf8_lossy(&shown.stdout), table(&results));
    assert_eq!(std::fs::read_to_string(page).unwrap(), html(&results));
    assert_eq!(std::fs::read_to_string(plot).unwrap(), svg(&results));
    assert_eq!(std::fs::read_to_string(readme).unwrap(), markdown(&results));
    let again: Results = serde_json::from_slice(&report(&[&json, "--format", "json"]).stdout).unwrap();
    assert_eq!(table(&again), table(&results));

    std::fs::write(&json, serde_json::to_string(&Results { schema: 0, ..results }).unwrap()).unwrap();
    let other = report(&[&json]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("its format has version 0, not 2"));
    assert_eq!(report(&[&file("none.json")]).status.code(), Some(2));
}
