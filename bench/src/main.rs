//! The `fc-bench` command.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::cli::{CheckArgs, Cli, Command, ReportArgs, RunArgs};
use fc_bench::error::{Error, Result};
use fc_bench::measure::{self, MeasureArgs, Measures};
use fc_bench::report::{self, CheckProgress, LifeWatcher};
use fc_bench::results::{Results, SCHEMA};
use fc_bench::{attack, check, cleanup, endure, freezes, life};

/// The status for "could not test", misuse included (as the argument parser has it, too).
const COULD_NOT_TEST: u8 = 2;

/// What to print on standard output, and the status to exit with.
type Outcome = (String, u8);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cleanup::on_interrupt().and_then(|()| match &cli.command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(args),
        Command::Coldstart(it) => {
            measure(&it.common, &Measures { coldstart: Some(it.own.clone()), ..Measures::default() })
        }
        Command::Load(it) => measure(&it.common, &Measures { load: Some(it.own.clone()), ..Measures::default() }),
        Command::Thaw(it) => measure(&it.common, &Measures { thaw: Some(it.own.clone()), ..Measures::default() }),
        Command::Density(it) => measure(&it.common, &Measures { density: Some(it.own.clone()), ..Measures::default() }),
        Command::Bench(it) => measure(&it.common, &it.own.clone().into()),
        Command::Attack(args) => attack(args),
        Command::Freezes(args) => bout(&args.common, freezes::run(args, &mut report::bench::Bar::default())),
        Command::Endure(args) => bout(&args.common, endure::run(args, &mut report::bench::Bar::default())),
        Command::Report(args) => show_again(args),
    });
    cleanup::wait_if_interrupted();
    match done.and_then(|(text, code)| print(&text).map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The status says it too, if nobody can read this.
            let _ = writeln!(std::io::stderr(), "fc-bench: {error}");
            ExitCode::from(COULD_NOT_TEST)
        }
    }
}

fn run(args: &RunArgs) -> Result<Outcome> {
    let plan = args.plan()?;
    let mut watcher = LifeWatcher::new(args.json);
    let story = life::run(&plan, &mut watcher)?;
    let text = if args.json { report::json(&story) } else { format!("\n{}", report::table(&story)) };
    Ok((text, u8::from(!story.conforms)))
}

fn check(args: &CheckArgs) -> Result<Outcome> {
    if args.list {
        return Ok((report::list(&check::all()), 0));
    }
    let plan = args.plan()?;
    let progress = CheckProgress::new();
    let findings = check::run(&plan, |finding, total| progress.ended(finding, total))?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Ok((report::findings(&findings, args.format, colour), findings.exit_code(args.strict)))
}

fn measure(args: &MeasureArgs, measures: &Measures) -> Result<Outcome> {
    let results = measure::run(args, measures, &mut report::bench::Bar::default())?;
    if let Some(path) = args.json() {
        let text = serde_json::to_string(&results).map_err(|cause| Error::failed("write", path.display(), cause))?;
        write(path, &text)?;
    }
    if let Some(path) = args.html() {
        write(path, &report::bench::html(&results))?;
    }
    Ok((report::bench::table(&results), 0))
}

fn attack(args: &attack::Args) -> Result<Outcome> {
    if args.list {
        return Ok((attack::list(), 0));
    }
    let report = attack::run(args, &mut report::bench::Bar::default())?;
    if let Some(path) = &args.json {
        write(path, &report::json(&report))?;
    }
    Ok((report.table(), u8::from(!report.is_good())))
}

fn bout(args: &freezes::Common, done: Result<freezes::Report>) -> Result<Outcome> {
    let report = done?;
    if let Some(path) = &args.json {
        write(path, &report::json(&report))?;
    }
    Ok((freezes::text(&report), u8::from(report.faults > 0)))
}

fn show_again(args: &ReportArgs) -> Result<Outcome> {
    let read = std::fs::read_to_string(&args.results);
    let text = read.map_err(|cause| Error::failed("read", args.results.display(), cause))?;
    let results: Results =
        serde_json::from_str(&text).map_err(|cause| Error::failed("understand", args.results.display(), cause))?;
    if results.schema != SCHEMA {
        let found = format!("its form is number {}, not {SCHEMA}", results.schema);
        return Err(Error::failed("understand", args.results.display(), found));
    }
    if let Some(path) = &args.html {
        write(path, &report::bench::html(&results))?;
    }
    if let Some(path) = &args.svg {
        write(path, &report::bench::svg(&results))?;
    }
    let show = if args.markdown { report::bench::markdown } else { report::bench::table };
    Ok((show(&results), 0))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|cause| Error::failed("write", path.display(), cause))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|cause| Error::failed("write to", "standard output", cause))
}
