//! The `fc-bench` command.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::cli::{Cli, Command, ReportArgs};
use fc_bench::harness::{self, RunFolder, Watcher};
use fc_bench::history;
use fc_bench::measure::{self, MeasureArgs};
use fc_bench::proxy;
use fc_bench::report::{self, TerminalProgress};
use fc_bench::results::{Results, SCHEMA};
use fc_bench::stats::{Failed, failed};
use fc_emulator::cleanup;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::{check_file, write_file};

/// The exit status if a contender that was asked for has no figure in a measure.
const HAS_NO_FIGURE: u8 = 1;

/// The exit status if nothing could be measured. The argument parser uses it for wrong arguments, too.
const COULD_NOT_MEASURE: u8 = 2;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let mut progress = TerminalProgress::new("fc-bench");
    let done = cleanup::on_interrupt().and_then(|()| match (&command, command.measures()) {
        (_, Some((args, measures))) => measure(args, || measure::run(args, &measures, &mut progress)),
        (Command::Report(args), _) => show(args).map(|()| 0),
        (Command::Proxy(args), _) => measure(&args.common, || measure::proxies(&args.common, &args.own, &mut progress)),
        (Command::Program, _) => proxy::program::serve().map(|()| 0),
        (Command::Watch { copies, run }, _) => {
            harness::watch(copies, run);
            Ok(0)
        }
        (_, None) => Ok(0),
    });
    cleanup::wait_if_interrupted();
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // If standard error is closed, the exit status says the same.
            let _ = writeln!(std::io::stderr(), "fc-bench: {error}");
            ExitCode::from(COULD_NOT_MEASURE)
        }
    }
}

/// Measures, prints the results, and writes the files that were asked for. One that cannot be written is found before.
fn measure(args: &MeasureArgs, run: impl FnOnce() -> Result<Results>) -> Result<u8> {
    let files = [
        (&args.output.export_json, "--export-json"),
        (&args.export_html, "--export-html"),
        (&args.history, "--history"),
    ];
    files.into_iter().try_for_each(check)?;
    for said in harness::end_leftovers(&args.copies()) {
        // If standard error is closed, nobody misses it.
        let _ = writeln!(std::io::stderr(), "fc-bench: {said}");
    }
    let watcher = Watcher::start(&args.copies())?;
    // Held here, it is made once and not for each start.
    let folder = RunFolder::shared()?;
    let results = run()?;
    drop((folder, watcher));
    cleanup::wait_if_interrupted();
    // The results first: if a file cannot be written now, they are not lost.
    let written = args.output.write(&results, || report::table(&results));
    written.and(write_pages(args, &results))?;
    let failed = failed(&results, &args.asked());
    for Failed { name, measure, reason } in &failed {
        // If standard error is closed, the exit status says the same.
        let _ = writeln!(std::io::stderr(), "fc-bench: `{name}` has no figure of {measure}: {reason}");
    }
    Ok(if failed.is_empty() { 0 } else { HAS_NO_FIGURE })
}

fn check((path, option): (&Option<PathBuf>, &str)) -> Result<()> {
    let failed = |cause| Error::new(format!("{cause}: give {option} a file that you may write to"));
    path.as_ref().map_or(Ok(()), |path| check_file(path)).map_err(failed)
}

fn write_pages(args: &MeasureArgs, results: &Results) -> Result<()> {
    let history = match &args.history {
        Some(path) => {
            let (history, left_out) = history::append(path, &args.root, results)?;
            if let Some(reason) = left_out {
                // If standard error is closed, the file shows it.
                let _ = writeln!(std::io::stderr(), "fc-bench: {reason}");
            }
            Some(history)
        }
        None => None,
    };
    match &args.export_html {
        Some(path) => write_file(path, &report::html_with_history(results, history.as_ref())?),
        None => Ok(()),
    }
}

fn show(args: &ReportArgs) -> Result<()> {
    let files = [
        (&args.output.export_json, "--export-json"),
        (&args.export_html, "--export-html"),
        (&args.export_svg, "--export-svg"),
        (&args.export_markdown, "--export-markdown"),
    ];
    files.into_iter().try_for_each(check)?;
    let name = args.results.display();
    let text = std::fs::read_to_string(&args.results).map_err(|cause| Error::failed("read", name, cause))?;
    let name = args.results.display();
    let results: Results = serde_json::from_str(&text).map_err(|cause| Error::failed("parse", &name, cause))?;
    if results.schema != SCHEMA {
        let found = format!("its format has version {}, not {SCHEMA}", results.schema);
        return Err(Error::failed("parse", name, found));
    }
    if let Some(path) = &args.export_html {
        write_file(path, &report::html(&results)?)?;
    }
    let files = [(&args.export_svg, report::svg as fn(&Results) -> String), (&args.export_markdown, report::markdown)];
    for (path, make) in files {
        if let Some(path) = path {
            write_file(path, &make(&results))?;
        }
    }
    args.output.write(&results, || report::table(&results))
}
