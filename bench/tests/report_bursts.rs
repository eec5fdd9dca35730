//! Reports of bursts: a table for each size, and everybody without a burst is named.

mod fixtures;

use fc_bench::report::{html, table};
use fc_bench::results::{Kind, Results};
use fixtures::results;

/// No report shows what is no number, and the page is well-formed.
fn assert_sound(results: &Results) {
    let page = html(results).expect("the template is filled");
    roxmltree::Document::parse_with_options(&page, roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() })
        .unwrap_or_else(|cause| panic!("{cause} in {page}"));
    for text in [page, table(results)] {
        let bad = |word: &str| ["nan", "inf"].contains(&word.to_lowercase().as_str());
        assert!(!text.split(|c: char| !c.is_alphanumeric()).any(bad), "{text}");
    }
}

#[test]
fn bursts_have_a_table_for_each_size_and_name_who_has_none() {
    let text = table(&results());
    let (_, text) = text.split_once("\nBurst: 10 cold starts at once\n").expect("the table");
    let (ten, hundred) = text.split_once("\nBurst: 100 cold starts at once\n").expect("the next table");
    let ten_words = ten.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ten_words.starts_with("The client was busy for more than 70 %"), "{ten_words}");
    let row = |name: &str| hundred.lines().find(|line| line.trim_start().starts_with(name)).expect("a row").to_owned();
    let (ours, failed, large) = (row("fc-hooks, ten lines"), row("actix-web 4"), row("Python"));
    assert!(ours.contains("1.1") && ours.contains("31 %"), "{ours}");
    assert!([&failed, &large].iter().all(|row| row.contains("–") && !row.contains('%')), "{failed}\n{large}");
    for note in [
        "actix-web 4, one worker: failed bursts: 2; the first: round 0: time: 97 of 100 answered",
        "actix-web 4, one worker: given up after 2 failures in a row",
        "Python http.server: not started: memory: 100 instances of 9 MB each do not fit",
    ] {
        assert!(hundred.contains(note), "{note} in {hundred}");
    }
    let mut alone = results();
    alone.contenders.retain(|it| it.kind != Kind::Ours);
    alone.burst.as_mut().unwrap().bursts.retain(|bursts| bursts.name != "hello" && bursts.name != "baseline");
    assert_sound(&alone);
    alone.burst.as_mut().unwrap().bursts.iter_mut().for_each(|bursts| bursts.samples.clear());
    assert_sound(&alone);
}
