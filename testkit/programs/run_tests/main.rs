//! Runs tests as `cargo test` does, but several test binaries at the same time: most tests wait most of the time.
//!
//! `run-tests [ARGUMENTS OF cargo test] [-- ARGUMENTS OF THE HARNESS]`
//!
//! A binary starts when the processors have time for it, by what it needed in the runs before. What it prints is shown
//! when it has ended, whole, with the summary of its harness. Every binary runs, so `--no-fail-fast` changes nothing.
//! `TEST_AT_ONCE=n` runs n binaries at a time. With `TEST_TIMES=n` each binary runs one test at a time, and the n tests
//! that took longest come last.

mod queue;

use fc_testkit::proc;
use queue::Queue;
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How many binaries run at the same time at most, for each processor: those that hardly work have a use for it.
const AT_ONCE_MAX: usize = 4;

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
    /// What it cost before.
    cost: Cost,
}

/// What a job costs.
#[derive(Clone, Copy)]
struct Cost {
    /// From its start to its end.
    took: Duration,
    /// How busy it kept the processors on average, in hundredths of one.
    need: u64,
}

impl Cost {
    /// Of a job that is new. It may be long.
    const UNKNOWN: Self = Self { took: Duration::MAX, need: 100 };

    /// A job gets less than it needs beside others, so that it once needed more is forgotten slowly.
    fn after(self, earlier: Option<&Self>) -> Self {
        Self { need: self.need.max(earlier.map_or(0, |earlier| earlier.need * 9 / 10)), ..self }
    }
}

/// What came of a job.
struct Outcome {
    name: String,
    /// How it ended, if it failed.
    failure: Option<String>,
    cost: Cost,
    /// The time of processors, in its processes and in the kernel for them. Zero where there is no `/proc`.
    worked: Duration,
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
    let before = memory.as_deref().map(costs).unwrap_or_default();
    for job in &mut jobs {
        job.cost = before.get(&job.name).copied().unwrap_or(Cost::UNKNOWN);
    }
    // The longest first, so that none runs alone at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.cost.took));
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
    Some(Job { name, command, cost: Cost::UNKNOWN })
}

/// The name in `path+file:///FOLDER#NAME@VERSION`, or in `path+file:///NAME#VERSION`, where both are the same.
fn package(id: &str) -> &str {
    let (folder, end) = id.split_once('#').unwrap_or((id, ""));
    end.split_once('@').map_or_else(|| folder.rsplit('/').next().unwrap_or_default(), |(name, _)| name)
}

fn doc_tests(arguments: &[String], harness: &[String]) -> Job {
    let mut command = cargo_test(arguments);
    command.args(["--doc", "--"]).args(harness);
    Job { name: DOC_TESTS.to_owned(), command, cost: Cost::UNKNOWN }
}

/// Runs all jobs, and prints each when it has ended.
fn run(jobs: Vec<Job>) -> Vec<Outcome> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = env::var("TEST_AT_ONCE").ok().and_then(|text| text.parse().ok()).filter(|count| *count > 0);
    let all = wanted.is_none().then_some(100 * processors as u64);
    let waiting = jobs.into_iter().map(|job| (job.cost.need, job)).collect();
    let (queue, changed) = (Mutex::new(Queue::new(waiting, all)), Condvar::new());
    let outcomes = Mutex::new(Vec::new());
    let next = || {
        let mut queue = queue.lock().expect("no worker panics");
        loop {
            if queue.is_empty() {
                return None;
            }
            if let Some(job) = queue.start() {
                return Some(job);
            }
            queue = changed.wait(queue).expect("no worker panics");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.unwrap_or(AT_ONCE_MAX * processors) {
            scope.spawn(|| {
                while let Some((need, job)) = next() {
                    let outcome = run_one(job);
                    queue.lock().expect("no worker panics").ended(need);
                    changed.notify_all();
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
fn run_one(Job { name, mut command, .. }: Job) -> Outcome {
    let began = Instant::now();
    let output = nameless_file().expect("a file in the folder for temporary files");
    let clone = || output.try_clone().expect("a descriptor");
    command.stdin(Stdio::null()).stdout(clone()).stderr(clone());
    let mut child = command.spawn().unwrap_or_else(|cause| panic!("{name} cannot be started: {cause}"));
    let mut watch = Watch { printed: Vec::new(), seen: 0, test: None, since: began, tests: Vec::new() };
    let mut worked = Duration::ZERO;
    let status = loop {
        // A child that has ended keeps its figures until somebody has waited for it.
        worked = proc::processor_time(child.id()).unwrap_or(worked);
        let status = child.try_wait().expect("a child can be waited for");
        watch.look(&output).expect("what was written can be read");
        if let Some(status) = status {
            break status;
        }
        std::thread::sleep(LOOK_PAUSE);
    };
    let took = began.elapsed();
    let need = 100 * worked.as_millis() as u64 / (took.as_millis() as u64).max(1);
    let failure = (!status.success()).then(|| status.to_string());
    let printed = String::from_utf8_lossy(&watch.printed).into_owned();
    Outcome { name, failure, cost: Cost { took, need }, worked, printed, tests: watch.tests }
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

/// The lines of that file: the milliseconds that a job took, what it needs, its name.
fn costs(path: &Path) -> BTreeMap<String, Cost> {
    let cost = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let took = Duration::from_millis(words.next()?.parse().ok()?);
        let need = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), Cost { took, need }))
    };
    std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(cost).collect()
}

fn remember(path: &Path, mut costs: BTreeMap<String, Cost>, outcomes: &[Outcome]) {
    for Outcome { name, cost, .. } in outcomes {
        let cost = cost.after(costs.get(name));
        costs.insert(name.clone(), cost);
    }
    let line = |(name, cost): (&String, &Cost)| format!("{} {} {name}\n", cost.took.as_millis(), cost.need);
    let lines: String = costs.iter().map(line).collect();
    // Without the file the next run only takes longer.
    let _ = std::fs::write(path, lines);
}

/// The slowest tests and the slowest binaries.
fn show_times(outcomes: &[Outcome], count: usize, took: Duration) {
    let mut binaries: Vec<_> = outcomes.iter().map(|it| (it.cost.took, it.name.clone())).collect();
    let mut workers: Vec<_> = outcomes.iter().map(|it| (it.worked, it.name.clone())).collect();
    let of_all = outcomes.iter().flat_map(|outcome| outcome.tests.iter().map(move |test| (test, &outcome.name)));
    let mut tests: Vec<_> = of_all.map(|((took, test), binary)| (*took, format!("{test}, {binary}"))).collect();
    println!("\n{} tests in {} binaries took {:.1} s", tests.len(), binaries.len(), took.as_secs_f64());
    for (what, rows) in [
        ("tests", &mut tests),
        ("binaries, one test at a time", &mut binaries),
        ("binaries, by the time of processors", &mut workers),
    ] {
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
