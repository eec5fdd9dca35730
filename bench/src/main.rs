//! The `fc-bench` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::cli::{Cli, Command, ReportArgs};
use fc_bench::history;
use fc_bench::measure::{self, MeasureArgs, Measures};
use fc_bench::proxy;
use fc_bench::report::{self, TerminalProgress};
use fc_bench::results::{Results, SCHEMA};
use fc_emulator::cleanup;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::write_file;

/// The exit status if nothing could be measured. The argument parser uses it for wrong arguments, too.
const COULD_NOT_MEASURE: u8 = 2;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = cleanup::on_interrupt().and_then(|()| match (&command, command.measures()) {
        (_, Some((args, measures))) => measure(args, &measures),
        (Command::Report(args), _) => show(args),
        (Command::Proxy(args), _) => {
            write(&args.common, measure::proxies(&args.common, &args.own, &mut TerminalProgress::new("fc-bench")))
        }
        (Command::Program, _) => proxy::program::serve(),
        (_, None) => Ok(()),
    });
    cleanup::wait_if_interrupted();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit status says the same.
            let _ = writeln!(std::io::stderr(), "fc-bench: {error}");
            ExitCode::from(COULD_NOT_MEASURE)
        }
    }
}

fn measure(args: &MeasureArgs, measures: &Measures) -> Result<()> {
    write(args, measure::run(args, measures, &mut TerminalProgress::new("fc-bench")))
}

fn write(args: &MeasureArgs, results: Result<Results>) -> Result<()> {
    let results = results?;
    cleanup::wait_if_interrupted();
    let history = match &args.history {
        Some(path) => {
            let (history, left_out) = history::append(path, &args.root, &results)?;
            if let Some(reason) = left_out {
                // If standard error is closed, the file shows it.
                let _ = writeln!(std::io::stderr(), "fc-bench: {reason}");
            }
            Some(history)
        }
        None => None,
    };
    if let Some(path) = &args.export_html {
        write_file(path, &report::html_with_history(&results, history.as_ref())?)?;
    }
    args.output.write(&results, || report::table(&results))
}

fn show(args: &ReportArgs) -> Result<()> {
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
