//! Differential framing: requests that our server accepts must have the same boundaries for other parsers.
//!
//! If two readers see the end of a request at different bytes, a client can smuggle a second request past the first
//! reader. So our server gets every case of a generated corpus, and the requests that reach its callback are compared
//! with those that h11, hyper and node see in the same bytes. `differences.txt` lists every case in which we differ, by
//! reason. A difference without a reason, or one that is not on the list, fails the test.
//!
//! `make framing` asks the oracles again; `make framing RECORD=1` records both files anew.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

mod behind;
mod corpus;
mod mutants;
mod oracle;
mod ours;
mod reasons;
mod replies;
#[path = "../support/mod.rs"]
mod support;
mod verdict;

use corpus::Case;
use fc_testkit::{say, skip};
use oracle::Testimony;
use reasons::REASONS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use support::seeded;
use verdict::{End, Relation, Verdict, relate};

const MUTANTS: usize = 20_000;

/// Longer cases are there to exceed a limit, and take too long byte by byte.
const CUT_BYTES_MAX: usize = 300;

#[test]
fn the_corpus_is_sound() {
    let cases = corpus::all();
    let mut names = BTreeSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "two cases of one name: {}", case.name);
        assert!(!case.name.contains(char::is_whitespace) && case.bytes.ends_with(corpus::CANARY), "{}", case.name);
    }
    assert!(cases.len() > 4000, "only {} cases", cases.len());
}

/// Compares with the recorded verdicts of the oracles.
#[test]
fn request_boundaries_match_other_parsers() {
    let cases = corpus::all();
    let recorded = oracle::recorded(&cases);
    let ours = observe_whole(&cases);
    compare(&cases, &ours, &recorded);
}

/// A sample of the cases. Its step is a prime that is the length of no table. `make framing` cuts all cases.
#[test]
fn boundaries_are_the_same_however_cut() {
    cut(13);
}

#[test]
#[ignore = "asks the network: make framing"]
fn the_oracles_say_what_is_recorded() {
    let cases = corpus::all();
    let asked: Vec<Option<Testimony>> = oracle::NAMES.iter().map(|name| oracle::ask(name, &cases)).collect();
    if std::env::var_os("FC_HOOKS_FRAMING_RECORD").is_some() {
        let all: Vec<Testimony> = asked.into_iter().flatten().collect();
        assert_eq!(all.len(), oracle::NAMES.len(), "only all oracles together can be recorded");
        oracle::record(&cases, &all);
        let text = differences(&cases, &observe_whole(&cases), &oracle::recorded(&cases)).expect("reasons for all");
        std::fs::write(differences_path(), text).expect("differences.txt");
        return;
    }
    let mut same = 0;
    for ((name, asked), recorded) in oracle::NAMES.iter().zip(asked).zip(oracle::recorded(&cases)) {
        let Some(asked) = asked else { continue };
        if asked.version != recorded.version {
            skip(format_args!("{name}: here is {}, recorded was {}", asked.version, recorded.version));
            continue;
        }
        for ((case, asked), recorded) in cases.iter().zip(&asked.verdicts).zip(&recorded.verdicts) {
            assert_eq!(asked.to_string(), recorded.to_string(), "{name} now says something else about {}", case.name);
        }
        say(format_args!("{} gives the recorded verdicts in all {} cases", asked.version, cases.len()));
        same += 1;
    }
    assert!(same > 0, "no oracle could be asked");
}

/// For mutants no difference has a reason: no oracle may see other boundaries, and one must accept what we accept.
#[test]
#[ignore = "a quarter of a minute, asks the network: make framing"]
fn mutants_are_framed_alike() {
    let mut random = seeded("mutants");
    let cases = mutants::of(&corpus::all(), MUTANTS, &mut random);
    let asked: Vec<(&str, Testimony)> =
        oracle::NAMES.iter().filter_map(|name| Some((*name, oracle::ask(name, &cases)?))).collect();
    assert!(!asked.is_empty(), "no oracle could be asked");
    let ours = observe_whole(&cases);
    for (index, (case, ours)) in cases.iter().zip(&ours).enumerate() {
        let mut alone = asked.len() == oracle::NAMES.len();
        for (name, oracle) in &asked {
            let theirs = &oracle.verdicts[index];
            let relation = relate(ours, theirs);
            alone &= relation == Relation::Laxer;
            // After a request with Upgrade, node reads nothing more.
            let dropped = *name == "node" && mutants::names_upgrade(case);
            let alike = relation != Relation::Differs || dropped;
            assert!(alike, "{}: we see {ours}, {name} sees {theirs}", case.bytes.escape_ascii());
        }
        assert!(!alone, "no oracle accepts {}: {ours}", case.bytes.escape_ascii());
    }
    say(format_args!("{} mutants: {} oracles see the same boundaries", cases.len(), asked.len()));
}

#[test]
#[ignore = "a quarter of a minute: make framing"]
fn boundaries_of_all_cases_are_the_same_however_cut() {
    cut(1);
}

/// With the adapter in the middle, the program gets the requests that our server would accept, with the same bodies,
/// and no others.
#[test]
fn the_adapter_passes_on_what_was_sent() {
    let cases = corpus::all();
    let (behind, forwarded) = observe_behind(&cases);
    compare_behind(&cases.iter().collect::<Vec<_>>(), &observe_whole(&cases), &behind);
    agree_on_forwarded(forwarded, &[]);
}

/// All readers agree about each request that the adapter writes: of the corpus and of mutants.
#[test]
#[ignore = "a minute, asks the network: make framing"]
fn what_the_adapter_writes_is_framed_alike_by_all() {
    let mut random = seeded("mutants behind the adapter");
    let mut cases = corpus::all();
    cases.extend(mutants::of(&corpus::all(), MUTANTS, &mut random));
    let (behind, forwarded) = observe_behind(&cases);
    compare_behind(&cases.iter().collect::<Vec<_>>(), &observe_whole(&cases), &behind);
    agree_on_forwarded(forwarded, &oracle::NAMES);
}

/// A sample of the cases, in pieces of random length, with the adapter in the middle.
#[test]
fn the_adapter_passes_on_the_same_however_cut() {
    let cases = corpus::all();
    let sample: Vec<&Case> = cases.iter().step_by(5).filter(|case| case.bytes.len() < CUT_BYTES_MAX).collect();
    let server = ours::start();
    let whole = ours::whole(&server, &sample);
    server.finish();
    let mut random = seeded("pieces behind the adapter");
    let behind = behind::Behind::start();
    let lasting = sample.into_iter().zip(whole).filter(|(_, whole)| whole.end != End::Closed);
    let (sample, whole): (Vec<&Case>, Vec<Verdict>) = lasting.unzip();
    let in_pieces = ours::in_pieces(&behind.server, &sample, |case| {
        let ends = std::iter::successors(Some(0), |end| Some(end + 1 + random.below(40)));
        ends.skip(1).take_while(|end| *end < case.bytes.len()).collect()
    });
    behind.finish();
    compare_behind(&sample, &whole, &in_pieces);
}

fn observe_behind(cases: &[Case]) -> (Vec<Verdict>, Vec<(Case, String)>) {
    let behind = behind::Behind::start();
    let verdicts = ours::whole(&behind.server, &cases.iter().collect::<Vec<_>>());
    (verdicts, behind.finish())
}

fn compare_behind(cases: &[&Case], direct: &[Verdict], behind: &[Verdict]) {
    let mut differences = Vec::new();
    for ((case, direct), behind) in cases.iter().zip(direct).zip(behind) {
        // After a request that asks for another protocol, what follows could belong to that.
        let declined = mutants::names_upgrade(case) && relate(behind, direct) == Relation::ClosesFirst;
        // Where a head has several faults, or more of it has arrived, another one may be named.
        let status = |verdict: &Verdict| match &verdict.end {
            End::Refused(why) => Some(why[..3].to_owned()),
            _ => None,
        };
        let alike = behind.requests == direct.requests && status(behind).is_some() && status(behind) == status(direct);
        let shape = |verdict: &Verdict| matches!(&verdict.end, End::Refused(why) if why.ends_with(" to HEAD"));
        if behind != direct && !declined && !(alike && shape(behind) == shape(direct)) {
            differences.push(format!("{}: {direct}; behind the adapter {behind}", case.name));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Our server, and these oracles, see one request in the bytes of each, and behind it the canary.
fn agree_on_forwarded(forwarded: Vec<(Case, String)>, names: &[&str]) {
    let (cases, texts): (Vec<Case>, Vec<String>) = forwarded.into_iter().unzip();
    assert!(cases.len() > 500, "only {} different requests were passed on", cases.len());
    let ours = observe_whole(&cases);
    let asked: Vec<(&str, Testimony)> =
        names.iter().filter_map(|name| Some((*name, oracle::ask(name, &cases)?))).collect();
    assert!(names.is_empty() || !asked.is_empty(), "no oracle could be asked");
    for (index, (case, text)) in cases.iter().zip(&texts).enumerate() {
        let shown = || case.bytes.escape_ascii();
        let expected = Verdict { requests: vec![text.clone(), verdict::CANARY_SHORT.to_owned()], end: End::Waits };
        assert_eq!(ours[index].requests, expected.requests, "our server sees {} in {}", ours[index], shown());
        let mut alone = asked.len() == oracle::NAMES.len();
        for (name, oracle) in &asked {
            let relation = relate(&expected, &oracle.verdicts[index]);
            alone &= relation == Relation::Laxer;
            // After a request with Upgrade, node reads nothing more.
            let dropped = *name == "node" && mutants::names_upgrade(case);
            let alike = dropped || matches!(relation, Relation::Same | Relation::Laxer);
            assert!(alike, "{name} sees {} in {}", oracle.verdicts[index], shown());
        }
        assert!(!alone, "no oracle accepts {}", shown());
    }
    say(format_args!("{} requests that the adapter wrote: {} other parsers see the same", cases.len(), asked.len()));
}

fn observe_whole(cases: &[Case]) -> Vec<Verdict> {
    let server = ours::start();
    let ours = ours::whole(&server, &cases.iter().collect::<Vec<_>>());
    server.finish();
    ours
}

/// Sends one of every so many cases whole, byte by byte, and in pieces of random length.
fn cut(every: usize) {
    let cases = corpus::all();
    let sample: Vec<&Case> = cases.iter().step_by(every).filter(|case| case.bytes.len() < CUT_BYTES_MAX).collect();
    let server = ours::start();
    let whole = ours::whole(&server, &sample);
    server.finish();
    // After a request that closes, the server may be gone before the next piece arrives; so such cases are left out.
    let lasting = sample.into_iter().zip(whole).filter(|(_, whole)| whole.end != End::Closed);
    let (sample, whole): (Vec<&Case>, Vec<Verdict>) = lasting.unzip();
    assert!(sample.len() * every > 4000, "only {} cases", sample.len());
    let server = ours::start();
    let mut random = seeded("framing");
    let byte_by_byte = ours::in_pieces(&server, &sample, |case| (1..case.bytes.len()).collect());
    let in_pieces = ours::in_pieces(&server, &sample, |case| {
        let ends = std::iter::successors(Some(0), |end| Some(end + 1 + random.below(40)));
        ends.skip(1).take_while(|end| *end < case.bytes.len()).collect()
    });
    for (((case, whole), byte_by_byte), in_pieces) in sample.iter().zip(whole).zip(byte_by_byte).zip(in_pieces) {
        assert_eq!(byte_by_byte, whole, "byte by byte and whole: {}", case.name);
        assert_eq!(in_pieces, whole, "in pieces and whole: {}", case.name);
    }
    server.finish();
}

fn compare(cases: &[Case], ours: &[Verdict], oracles: &[Testimony]) {
    let text = differences(cases, ours, oracles).unwrap_or_else(|unexplained| {
        panic!("{} differences that no reason explains:\n{}", unexplained.len(), unexplained.join("\n"))
    });
    let listed = std::fs::read_to_string(differences_path()).expect("differences.txt");
    let (now, before): (BTreeSet<&str>, BTreeSet<&str>) = (text.lines().collect(), listed.lines().collect());
    let only = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| {
        these.difference(those).take(20).copied().collect::<Vec<_>>().join("\n")
    };
    assert!(
        text == listed,
        "differences.txt is out of date; not on the list:\n{}\nonly on the list:\n{}",
        only(&now, &before),
        only(&before, &now)
    );
}

/// The list of all differences by reason. The error holds those without a reason.
fn differences(cases: &[Case], ours: &[Verdict], oracles: &[Testimony]) -> Result<String, Vec<String>> {
    let mut by_reason: Vec<BTreeMap<&str, Vec<&str>>> = REASONS.iter().map(|_| BTreeMap::new()).collect();
    let mut unexplained = Vec::new();
    let mut agreed = 0;
    for (index, (case, ours)) in cases.iter().zip(ours).enumerate() {
        let (mut all_agree, mut alone) = (true, true);
        for (name, oracle) in oracle::NAMES.iter().zip(oracles) {
            let theirs = &oracle.verdicts[index];
            let relation = relate(ours, theirs);
            all_agree &= relation == Relation::Same;
            alone &= relation == Relation::Laxer;
            if relation == Relation::Same {
                continue;
            }
            let word = if let End::Refused(word) = &ours.end { word } else { "" };
            match REASONS.iter().position(|reason| reason.explains(relation, name, &case.name, word)) {
                Some(reason) => by_reason[reason].entry(&case.name).or_default().push(name),
                None => unexplained.push(format!("{} {relation:?} {name}: ours {ours}; {theirs}", case.name)),
            }
        }
        if alone {
            unexplained.push(format!("no oracle accepts {}: {ours}", case.name));
        }
        agreed += usize::from(all_agree && ours.requests.last().is_some_and(|last| last == verdict::CANARY_SHORT));
    }
    let idle = REASONS.iter().zip(&by_reason).filter(|(_, cases)| cases.is_empty());
    unexplained.extend(idle.map(|(reason, _)| format!("a reason that explains no difference: {}", reason.why)));
    if !unexplained.is_empty() {
        return Err(unexplained);
    }
    let mut text =
        "# Where we differ from the oracles, and why; see reasons.rs. Made by `make framing RECORD=1`.\n".to_owned();
    text += &format!("# {} cases, {agreed} accepted by all to the last byte.\n", cases.len());
    for (reason, cases) in REASONS.iter().zip(by_reason) {
        text += &format!("\n## {:?} ({}): {}\n", reason.relation, cases.len(), reason.why);
        for (case, oracles) in cases {
            text += &format!("{case} {}\n", oracles.join(" "));
        }
    }
    Ok(text)
}

fn differences_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/framing/differences.txt")
}
