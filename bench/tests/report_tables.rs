//! Reports: the tables of images, restores and payloads.

mod fixtures;

use fc_bench::report::{markdown, table};
use fixtures::results;

#[test]
fn images_have_sizes_times_and_reasons() {
    let mut results = results();
    let text = table(&results);
    let (_, text) = text.split_once("\nImage\n").expect("the table");
    let row = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).expect("a row").to_owned();
    let (ours, go, python) = (row("fc-hooks, ten lines"), row("Go net/http"), row("Python"));
    assert!(ours.contains("452,104") && ours.contains("203,446") && ours.contains("25.5"), "{ours}");
    assert!(go.contains("–") && !python.contains(|c: char| c.is_ascii_digit()), "{go}\n{python}");
    assert!(text.contains("Python http.server: no strace") && text.contains("by Docker 27.0"), "{text}");
    results.image.as_mut().unwrap().engine = None;
    assert!(table(&results).contains("No engine answered"));
}

#[test]
fn restores_have_a_table_for_each_way() {
    let text = table(&results());
    let (_, text) = text.split_once("\nRestore of a virtual machine\n").expect("the first table");
    let (snapshot, criu) = text.split_once("\nRestore of a process by CRIU\n").expect("the second table");
    let row = |text: &str, name: &str| {
        text.lines().find(|line| line.trim_start().starts_with(name)).expect("a row").to_owned()
    };
    let (ours, go) = (row(snapshot, "fc-hooks, ten lines"), row(criu, "Go net/http"));
    assert!(ours.contains("89.45") && ours.contains("0.43"), "{ours}");
    assert!(go.contains("–"), "{go}");
    for note in ["Go net/http: failures: 1; the first: it could not be saved: CRIU said no", "of guest 6.12; QEMU 7.2"]
    {
        assert!(criu.contains(note), "{criu}");
    }
}

/// The target of payloads is a ratio to hyper, which collects, too; the other servers have theirs. A small body has no
/// figure of memory.
#[test]
fn payloads_have_a_table_for_each_size() {
    let mut results = results();
    let text = table(&results);
    let (_, text) = text.split_once("\nPayload of 1 kB\n").expect("the first table");
    let (small, large) = text.split_once("\nPayload of 32 MB\n").expect("the second table");
    let row = |text: &str, name: &str| {
        text.lines().find(|line| line.trim_start().starts_with(name)).expect("a row").to_owned()
    };
    let words = |row: String| row.split_whitespace().rev().take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(row(large, "fc-hooks, a copy")), ["4", "8,212", "2.00"]);
    assert_eq!(words(row(small, "fc-hooks, a copy")), ["4", "20", "–"]);
    let blocks = fc_bench::stats::figures::payloads(&results);
    let of = |name: &str| blocks[1].rows.iter().find(|row| row.contender.name == name).unwrap();
    let hyper = of("hyper_collect").ours.unwrap();
    assert!((0.5..0.8).contains(&hyper.median) && of("echo").ours.is_none(), "{hyper:?}");
    assert_eq!(blocks[1].rows[0].contender.name, "baseline_echo");
    for note in
        ["event cannot do: hyper 1, streaming.", "at most 40 %", "Go, io.ReadAll: failures: 1; the first: round"]
    {
        assert!(large.contains(note), "{note} in {large}");
    }
    assert!(markdown(&results).contains("| 32 MB echoed, ms | peak memory ÷ body |"), "{}", markdown(&results));
    results.payload.as_mut().unwrap().cells[1].runs[0].client_busy = 0.75;
    let text = table(&results).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Payload of 32 MB The client was busy for more than 70 %"), "{text}");
}
