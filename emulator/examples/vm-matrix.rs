//! `make vm`: freezes a program in virtual machines in every way, and prints what it noticed, as a table in Markdown.
//!
//! ```sh
//! cargo run -p fc-emulator --example vm-matrix -- target/x86_64-unknown-linux-musl/release/fc-hooks
//! ```
//!
//! Exits with 0 if every freeze that can be noticed was noticed, and if nothing could be tried because something is
//! missing (then it says SKIPPED); with 1 if one was missed; with 2 if a row could not be tried.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use fc_emulator::cleanup;
use fc_emulator::clock::seconds;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{DURATION, duration};
use fc_emulator::vm::matrix::{self, Outcome, Plan, ROWS, Row};
use fc_emulator::vm::{self, Program, Tools};

/// The port of the programs in their guests.
const PORT: u16 = 9000;

/// Freezes a program in virtual machines in every way, and prints what it noticed.
#[derive(Parser)]
struct Args {
    /// The rows to try, with commas between them [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rows: Vec<Row>,

    /// The kernel to boot
    #[arg(long, value_name = "FILE")]
    vm_kernel: Option<PathBuf>,

    /// Number of freezes in a row
    #[arg(long, default_value_t = 3, value_name = "N")]
    freezes: u32,

    /// Length of a freeze
    #[arg(long, default_value = "5s", value_name = DURATION, value_parser = duration)]
    freeze_for: Duration,

    /// Number of guests at the same time
    #[arg(long, default_value_t = 3, value_name = "N")]
    jobs: usize,

    /// The example `reseed`, for the comparison of what clones draw [default: no comparison]
    #[arg(long, value_name = "FILE")]
    reseed: Option<String>,

    /// The inspector: a static program, with its arguments
    #[arg(required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let tried = cleanup::on_interrupt().and_then(|()| try_all(&args));
    cleanup::wait_if_interrupted();
    tried.unwrap_or_else(|error| {
        eprintln!("vm-matrix: {error}");
        ExitCode::from(2)
    })
}

fn try_all(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let tools = match vm::requirements(args.vm_kernel.as_deref()) {
        Ok(tools) => tools,
        Err(missing) => {
            println!("SKIPPED: {missing}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    println!("{}", tools.versions());
    let program = Program::command(&args.program, &[])?;
    let mut worst = table(args, &tools, &program);
    if let Some(reseed) = &args.reseed {
        worst = worst.max(draws(args, &tools, reseed));
    }
    println!("\n{} in all", seconds(started.elapsed()));
    Ok(ExitCode::from(worst))
}

/// The rows that were asked for, without those that cannot be tried here.
fn rows(args: &Args) -> Vec<Row> {
    let all = || ROWS.iter().filter_map(|text| text.parse().ok()).collect();
    let mut rows: Vec<Row> = if args.rows.is_empty() { all() } else { args.rows.clone() };
    if let Err(missing) = vm::requires_criu() {
        let before = rows.len();
        rows.retain(|row| !row.needs_criu());
        if rows.len() < before {
            println!("SKIPPED: criu: {missing}");
        }
    }
    rows
}

/// Tries the rows, several at the same time, and prints them in order. Returns the exit status.
fn table(args: &Args, tools: &Tools, program: &Program) -> u8 {
    let plan = Plan {
        pause: args.freeze_for,
        long_pause: args.freeze_for + Duration::from_secs(7),
        idle: Duration::from_millis(1500),
        freezes: args.freezes,
    };
    let rows = rows(args);
    println!("\n{}", Outcome::HEAD);
    let next = AtomicUsize::new(0);
    let (send, received) = mpsc::channel();
    let mut ended: Vec<Option<Result<Outcome>>> = rows.iter().map(|_| None).collect();
    let mut worst = 0;
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let (send, rows, next, plan) = (send.clone(), &rows, &next, &plan);
            scope.spawn(move || {
                while let Some((index, row)) = rows.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = matrix::run(tools, program, PORT, row, plan);
                    // The receiver outlives the threads.
                    let _ = send.send((index, outcome));
                }
            });
        }
        drop(send);
        let mut shown = 0;
        for (index, outcome) in received {
            ended[index] = Some(outcome);
            while let Some(Some(outcome)) = ended.get(shown) {
                worst = worst.max(show(&rows[shown], outcome));
                shown += 1;
            }
        }
    });
    worst
}

fn show(row: &Row, outcome: &Result<Outcome>) -> u8 {
    match outcome {
        Ok(outcome) => {
            println!("{outcome}");
            u8::from(!outcome.is_complete())
        }
        Err(cause) => {
            println!("| {row} | could not be tried: {cause} |");
            2
        }
    }
}

/// What two clones of the example `reseed` draw, with and without reseeding. Returns the exit status.
fn draws(args: &Args, tools: &Tools, reseed: &str) -> u8 {
    println!("\n| example | VMGENID | first clone | second clone | the ids |");
    println!("|---|---|---|---|---|");
    let programs =
        [("reseed", vec![reseed.to_owned()]), ("reseed --keep-seed", vec![reseed.into(), "--keep-seed".into()])];
    let mut worst = 0;
    std::thread::scope(|scope| {
        let draw = |words: &Vec<String>, generation_id| {
            let program = Program::command(words, &[])?;
            vm::draw(tools, &program, PORT, "/id", args.freeze_for, generation_id)
        };
        let tried = programs.iter().flat_map(|(name, words)| {
            [false, true].map(|generation_id| (name, generation_id, scope.spawn(move || draw(words, generation_id))))
        });
        for (name, generation_id, drawn) in tried.collect::<Vec<_>>() {
            let generation_id = if generation_id { "yes" } else { "no" };
            let drawn = drawn.join().unwrap_or_else(|_| Err(Error::new("the comparison panicked")));
            worst = worst.max(match drawn {
                Ok([one, two]) => {
                    let differ = one != two;
                    let word = if differ { "differ" } else { "coincide" };
                    println!("| {name} | {generation_id} | {one} | {two} | {word} |");
                    u8::from(differ != (*name == "reseed"))
                }
                Err(cause) => {
                    println!("| {name} | {generation_id} | could not be tried: {cause} |");
                    2
                }
            });
        }
    });
    worst
}
