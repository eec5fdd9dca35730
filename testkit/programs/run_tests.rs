//! Runs tests as `cargo test` does, but several test binaries at the same time: most tests wait most of the time.
//!
//! `run-tests [ARGUMENTS OF cargo test] [-- ARGUMENTS OF THE HARNESS]`
//!
//! What a binary prints is shown when it has ended, whole, with the summary of its harness. Every binary runs, so
//! `--no-fail-fast` changes nothing. `TEST_AT_ONCE=n` runs n binaries at a time. With `TEST_TIMES=n` each binary runs
//! one test at a time, and the n slowest tests come last.

use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many binaries run at the same time, for each processor. Each runs as many tests at a time as there are
/// processors. With more, tests of freezes and time limits fail, because nothing gets its turn in time.
const AT_ONCE: usize = 1;

/// What selects targets. With one of these `cargo test` leaves the doc tests out.
const SELECTIONS: &[&str] = &[
    "--lib",
    "--bin",
    "--bins",
    "--test",
    "--tests",
    "--example",
    "--examples",
    "--bench",
    "--benches",
    "--all-targets",
];

/// Between two looks at what a binary has printed, and whether it has ended.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The name of the job that runs all doc tests.
const DOC_TESTS: &str = "Doc-tests";

/// One test binary, or the doc tests.
struct Job {
    /// As cargo names a binary when it runs it.
    name: String,
    command: Command,
}

/// What came of a job.
struct Outcome {
    name: String,
    /// How it ended, if it failed.
    failure: Option<String>,
    took: Duration,
    printed: String,
    /// How long each test took, if one ran at a time.
    tests: Vec<(Duration, String)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (cargo, harness) = match arguments.iter().position(|word| word == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (&arguments[..], &[][..]),
    };
    let times: Option<usize> = env::var("TEST_TIMES").ok().and_then(|text| text.parse().ok());
    // One test at a time, so that the time between two lines is that of a test.
    let harness = [harness, &times.map_or(Vec::new(), |_| vec!["--test-threads=1".to_owned()])].concat();
    let Some(mut jobs) = binaries(cargo, &harness) else { return ExitCode::from(101) };
    let memory = memory(&jobs);
    if !cargo.iter().any(|word| SELECTIONS.contains(&word.split('=').next().unwrap_or_default())) {
        jobs.push(doc_tests(cargo, &harness));
    }
    let before = memory.as_deref().map(durations).unwrap_or_default();
    // The longest first, so that none runs alone at the end. One that is new may be long.
    jobs.sort_by_key(|job| before.get(&job.name).copied().unwrap_or(Duration::MAX));
    let began = Instant::now();
    let outcomes = run(jobs);
    if let Some(path) = memory {
        remember(&path, before, &outcomes);
    }
    if let Some(count) = times {
        show_times(&outcomes, count, began.elapsed());
    }
    conclude(&outcomes)
}

fn cargo_test(arguments: &[String]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("test").args(arguments);
    command
}

/// Builds the tests. `None` if that fails; cargo has said why.
fn binaries(arguments: &[String], harness: &[String]) -> Option<Vec<Job>> {
    let mut cargo = cargo_test(arguments);
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo starts");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| messages.lines().filter_map(|line| binary(line, harness)).collect())
}

/// The test binary in one line of cargo's JSON messages, if the line announces one. It gets the folder and the
/// variables that it gets from cargo.
fn binary(line: &str, harness: &[String]) -> Option<Job> {
    let message: Value = serde_json::from_str(line).ok()?;
    let (target, manifest) = (&message["target"], Path::new(message["manifest_path"].as_str()?));
    let executable = PathBuf::from(message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?);
    let (folder, source) = (manifest.parent()?, Path::new(target["src_path"].as_str()?));
    let unit = if target["kind"][0] == "test" { "" } else { "unittests " };
    let here = env::current_dir().ok()?;
    let shown = |path: &Path, base: &Path| path.strip_prefix(base).unwrap_or(path).display().to_string();
    // The workspace has several `tests/run.rs`, so the package belongs to the name.
    let name = format!("{unit}{} ({})", shown(source, &here), shown(&executable, &here));
    let mut command = Command::new(executable);
    command.args(harness).current_dir(folder);
    command.env("CARGO_MANIFEST_DIR", folder).env("CARGO_MANIFEST_PATH", manifest);
    command.env("CARGO_PKG_NAME", package(message["package_id"].as_str()?));
    Some(Job { name, command })
}

/// The name in `path+file:///FOLDER#NAME@VERSION`, or in `path+file:///NAME#VERSION`, where both are the same.
fn package(id: &str) -> &str {
    let (folder, end) = id.split_once('#').unwrap_or((id, ""));
    end.split_once('@').map_or_else(|| folder.rsplit('/').next().unwrap_or_default(), |(name, _)| name)
}

fn doc_tests(arguments: &[String], harness: &[String]) -> Job {
    let mut command = cargo_test(arguments);
    command.args(["--doc", "--"]).args(harness);
    Job { name: DOC_TESTS.to_owned(), command }
}

/// Runs all jobs, those at the end first, and prints each when it has ended.
fn run(jobs: Vec<Job>) -> Vec<Outcome> {
    let usual = || AT_ONCE * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = env::var("TEST_AT_ONCE").ok().and_then(|text| text.parse().ok());
    let workers = wanted.filter(|count| *count > 0).unwrap_or_else(usual);
    let (jobs, outcomes) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let next = || jobs.lock().expect("no worker panics").pop();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let outcome = run_one(job);
                    // The lock keeps the blocks apart as well.
                    let mut outcomes = outcomes.lock().expect("no worker panics");
                    let _ = write!(io::stdout(), "     Running {}\n{}", outcome.name, outcome.printed);
                    outcomes.push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("no worker panics")
}

/// Both outputs go to one file, so that their lines keep their order. At a pipe this would wait for whatever process a
/// failed test has left, too.
fn run_one(Job { name, mut command }: Job) -> Outcome {
    let began = Instant::now();
    let output = nameless_file().expect("a file in the folder for temporary files");
    let clone = || output.try_clone().expect("a descriptor");
    command.stdin(Stdio::null()).stdout(clone()).stderr(clone());
    let mut child = command.spawn().unwrap_or_else(|cause| panic!("{name} cannot be started: {cause}"));
    let mut watch = Watch { printed: Vec::new(), seen: 0, test: None, since: began, tests: Vec::new() };
    let status = loop {
        let status = child.try_wait().expect("a child can be waited for");
        watch.look(&output).expect("what was written can be read");
        if let Some(status) = status {
            break status;
        }
        std::thread::sleep(LOOK_PAUSE);
    };
    let failure = (!status.success()).then(|| status.to_string());
    let printed = String::from_utf8_lossy(&watch.printed).into_owned();
    Outcome { name, failure, took: began.elapsed(), printed, tests: watch.tests }
}

/// What a harness has printed so far, and when its tests ended.
struct Watch {
    printed: Vec<u8>,
    /// The lines up to here were looked at.
    seen: usize,
    /// The test at work, if its line came without its result, because it printed something itself.
    test: Option<String>,
    /// When the test before ended.
    since: Instant,
    tests: Vec<(Duration, String)>,
}

impl Watch {
    fn look(&mut self, output: &File) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            // The descriptors share one offset, which is where the tests write.
            let bytes = output.read_at(&mut piece, self.printed.len() as u64)?;
            if bytes == 0 {
                return Ok(());
            }
            self.printed.extend_from_slice(&piece[..bytes]);
            while let Some(length) = self.printed[self.seen..].iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.printed[self.seen..self.seen + length]).into_owned();
                self.seen += length + 1;
                self.take(&line);
            }
        }
    }

    /// Reads `test NAME ... ok`, which can be the ends of two lines.
    fn take(&mut self, line: &str) {
        if line.starts_with("running ") {
            self.since = Instant::now();
        }
        let begun = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        self.test = begun.map(|(name, _)| name.to_owned()).or(self.test.take());
        if ["ok", "FAILED"].iter().any(|result| line.ends_with(result)) {
            let (now, test) = (Instant::now(), self.test.take());
            self.tests.extend(test.map(|test| (now - self.since, test)));
            self.since = now;
        }
    }
}

/// A file that ends with its last descriptor.
fn nameless_file() -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("run-tests-{}-{count}", std::process::id()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// The file that keeps how long each binary took, beside the binaries.
fn memory(jobs: &[Job]) -> Option<PathBuf> {
    Some(Path::new(jobs.first()?.command.get_program()).parent()?.with_file_name("test-times"))
}

/// The lines of that file: milliseconds, a blank, the name.
fn durations(path: &Path) -> BTreeMap<String, Duration> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(ms, name)| Some((name.to_owned(), Duration::from_millis(ms.parse().ok()?)))).collect()
}

fn remember(path: &Path, mut durations: BTreeMap<String, Duration>, outcomes: &[Outcome]) {
    durations.extend(outcomes.iter().map(|outcome| (outcome.name.clone(), outcome.took)));
    let lines: String = durations.iter().map(|(name, took)| format!("{} {name}\n", took.as_millis())).collect();
    // Without the file the next run only takes longer.
    let _ = std::fs::write(path, lines);
}

/// The slowest tests and the slowest binaries.
fn show_times(outcomes: &[Outcome], count: usize, took: Duration) {
    let mut binaries: Vec<_> = outcomes.iter().map(|it| (it.took, it.name.clone())).collect();
    let of_all = outcomes.iter().flat_map(|outcome| outcome.tests.iter().map(move |test| (test, &outcome.name)));
    let mut tests: Vec<_> = of_all.map(|((took, test), binary)| (*took, format!("{test}, {binary}"))).collect();
    println!("\n{} tests in {} binaries took {:.1} s", tests.len(), binaries.len(), took.as_secs_f64());
    for (what, rows) in [("tests", &mut tests), ("binaries, one test at a time", &mut binaries)] {
        rows.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        println!("the slowest {what}, in seconds:");
        rows.iter().take(count).for_each(|(took, name)| println!("{:9.3}  {name}", took.as_secs_f64()));
    }
}

fn conclude(outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<_> = outcomes.iter().filter_map(|it| Some((&it.name, it.failure.as_ref()?))).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {} of {} targets failed:", failed.len(), outcomes.len());
    failed.iter().for_each(|(name, how)| eprintln!("    {name}: {how}"));
    ExitCode::from(101)
}
