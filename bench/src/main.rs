//! The `fc-bench` command.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::cli::{Cli, Command, ReportArgs};
use fc_bench::measure::{self, MeasureArgs, Measures};
use fc_bench::report::{self, TerminalProgress};
use fc_bench::results::{Results, SCHEMA};
use fc_emulator::cleanup;
use fc_emulator::error::{Error, Result};

/// The status for "could not test", misuse included (as the argument parser has it, too).
const COULD_NOT_TEST: u8 = 2;

/// What to print on standard output, and the status to exit with.
type Outcome = (String, u8);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cleanup::on_interrupt().and_then(|()| match &cli.command {
        Command::Coldstart(it) => {
            measure(&it.common, &Measures { coldstart: Some(it.own.clone()), ..Measures::default() })
        }
        Command::Load(it) => measure(&it.common, &Measures { load: Some(it.own.clone()), ..Measures::default() }),
        Command::Thaw(it) => measure(&it.common, &Measures { thaw: Some(it.own.clone()), ..Measures::default() }),
        Command::Density(it) => measure(&it.common, &Measures { density: Some(it.own.clone()), ..Measures::default() }),
        Command::Bench(it) => measure(&it.common, &it.own.clone().into()),
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

fn measure(args: &MeasureArgs, measures: &Measures) -> Result<Outcome> {
    let results = measure::run(args, measures, &mut TerminalProgress::new("fc-bench"))?;
    if let Some(path) = args.json() {
        let text = serde_json::to_string(&results).map_err(|cause| Error::failed("write", path.display(), cause))?;
        write(path, &text)?;
    }
    if let Some(path) = args.html() {
        write(path, &report::html(&results))?;
    }
    Ok((report::table(&results), 0))
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
        write(path, &report::html(&results))?;
    }
    if let Some(path) = &args.svg {
        write(path, &report::svg(&results))?;
    }
    let show = if args.markdown { report::markdown } else { report::table };
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
