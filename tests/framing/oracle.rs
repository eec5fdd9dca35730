//! The oracles: other parsers of HTTP, and their verdicts on each case.
//!
//! `verdicts.txt` records their verdicts, so that the default test needs none of them. Each oracle is a program:
//! `oracles/ask NAME FOLDER` builds it in the folder and runs it. It reads one case in hexadecimal per line. It prints
//! a line with its version, and then one line per case, separated by spaces: the accepted requests as
//! `METHOD:TARGET:BODY` in hexadecimal, and the end (`waits`, `closed`, `refused WHY`). Exit code 77 means that it
//! cannot be built or run here; standard error says why.

use super::corpus::Case;
use super::support::temp_dir;
use super::verdict::{self, End, Verdict};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Three parsers that share no code with each other, nor with ours.
pub const NAMES: [&str; 3] = ["h11", "hyper", "node"];

/// Building an oracle may take minutes, asking takes seconds.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(420);

/// The verdicts of one oracle.
#[derive(PartialEq)]
pub struct Testimony {
    pub version: String,
    pub verdicts: Vec<Verdict>,
}

/// Asks an oracle. `None` if it cannot be built or run here.
pub fn ask(name: &str, cases: &[Case]) -> Option<Testimony> {
    // Two tests must not build an oracle at the same time.
    static ASKING: Mutex<()> = Mutex::new(());
    let _alone = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = temp_dir();
    let (questions, answers) = (folder.path().join("questions"), folder.path().join("answers"));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> = cases.iter().map(|case| hex(&case.bytes) + "\n").collect();
    fs::write(&questions, lines.concat()).expect("a file of questions");
    let mut child = Command::new(root().join("tests/framing/oracles/ask"))
        .arg(name)
        .arg(target().join("framing"))
        .stdin(File::open(&questions).expect("a file of questions"))
        .stdout(File::create(&answers).expect("a file of answers"))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the script runs");
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().and_then(|()| child.wait()).expect("our child");
            panic!("{name} does not answer");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    if status.code() == Some(77) {
        fc_testkit::skip(format_args!("{name}: see above"));
        return None;
    }
    assert!(status.success(), "{name}: {status}");
    let text = fs::read_to_string(&answers).expect("answers");
    let mut lines = text.lines();
    let version = lines.next().expect("a version").to_owned();
    let verdicts: Vec<Verdict> = lines
        .zip(cases)
        .map(|(line, case)| read_answer(line).unwrap_or_else(|| panic!("{name}, {}: no answer: {line}", case.name)))
        .collect();
    assert_eq!(verdicts.len(), cases.len(), "{name}: answers");
    Some(Testimony { version, verdicts })
}

fn read_answer(line: &str) -> Option<Verdict> {
    let mut requests = Vec::new();
    let mut rest = line;
    while let Some((first, behind)) = rest.split_once(' ').filter(|(first, _)| first.contains(':')) {
        let mut parts = first.split(':').map(unhex);
        let (method, target, body) = (parts.next()??, parts.next()??, parts.next()??);
        requests.push(verdict::request(&method, &target, &body));
        rest = behind;
    }
    let end = match rest {
        "waits" => End::Waits,
        "closed" => End::Closed,
        why => End::Refused(why.strip_prefix("refused ")?.to_owned()),
    };
    Some(Verdict { requests, end })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// The recorded verdicts of all oracles, in the order of their names and of the cases.
pub fn recorded(cases: &[Case]) -> Vec<Testimony> {
    let text = fs::read_to_string(path()).unwrap_or_else(|error| panic!("{}: {error}", path().display()));
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let versions = lines.next().expect("the versions").split('\t').skip(1);
    let mut all: Vec<Testimony> =
        versions.map(|version| Testimony { version: version.to_owned(), verdicts: Vec::new() }).collect();
    let mut names = Vec::new();
    for line in lines {
        let mut columns = line.split('\t');
        names.push(columns.next().expect("a name"));
        let mut before = "";
        for (testimony, column) in all.iter_mut().zip(columns) {
            before = if column == "=" { before } else { column };
            testimony.verdicts.push(Verdict::parse(before).unwrap_or_else(|| panic!("no verdict: {line}")));
        }
    }
    let expected: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert!(names == expected, "verdicts.txt is not about this corpus: make framing RECORD=1");
    assert!(all.len() == NAMES.len() && all.iter().all(|testimony| testimony.verdicts.len() == cases.len()));
    all
}

/// Writes `verdicts.txt`. `=` means the same verdict as in the column before.
pub fn record(cases: &[Case], all: &[Testimony]) {
    let mut text = "# What the oracles make of each case; see oracle.rs. Made by `make framing RECORD=1`.\n".to_owned();
    text += "versions";
    for testimony in all {
        text += &format!("\t{}", testimony.version);
    }
    text.push('\n');
    for (index, case) in cases.iter().enumerate() {
        text += &case.name;
        let mut before = String::new();
        for testimony in all {
            let verdict = testimony.verdicts[index].to_string();
            text += &format!("\t{}", if verdict == before { "=" } else { &verdict });
            before = verdict;
        }
        text.push('\n');
    }
    fs::write(path(), text).expect("verdicts.txt");
}

fn path() -> PathBuf {
    root().join("tests/framing/verdicts.txt")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target directory, which cargo marks by a file.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().find(|path| path.join("CACHEDIR.TAG").exists()).expect("a target directory").to_owned()
}
