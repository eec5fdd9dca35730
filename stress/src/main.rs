//! The `fc-stress` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::report::TerminalProgress;
use fc_emulator::cleanup;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::OutputArgs;
use fc_emulator::report::Report;
use fc_stress::cli::{Cli, Command};
use fc_stress::{at_reply, attack, freezes, soak};

/// The exit status if the test could not run. The argument parser uses it for wrong arguments, too.
const COULD_NOT_TEST: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cleanup::on_interrupt().and_then(|()| run(&cli.command));
    cleanup::wait_if_interrupted();
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // If standard error is closed, the exit status says the same.
            let _ = writeln!(std::io::stderr(), "fc-stress: {error}");
            ExitCode::from(COULD_NOT_TEST)
        }
    }
}

fn run(command: &Command) -> Result<u8> {
    let mut progress = TerminalProgress::new("fc-stress");
    match command {
        Command::Attack(args) if args.list => print(&attack::list()).map(|()| 0),
        Command::Attack(args) => {
            let report = attack::run(args, &mut progress)?;
            show(&args.output, &report, report.is_good(), progress)
        }
        Command::FreezeAtReply(args) => {
            let report = at_reply::run(args, &mut progress)?;
            show(&args.output, &report, report.is_good(), progress)
        }
        Command::Freezes(args) => {
            let report = freezes::run(args, &mut progress)?;
            show(&args.common.output, &report, report.faults == 0, progress)
        }
        Command::Soak(args) => {
            let report = soak::run(args, &mut progress)?;
            show(&args.common.output, &report, report.faults == 0, progress)
        }
    }
}

/// Writes the report and returns the exit status. The progress ends first, because it draws on the same terminal.
fn show(output: &OutputArgs, report: &impl Report, is_good: bool, progress: TerminalProgress) -> Result<u8> {
    drop(progress);
    cleanup::wait_if_interrupted();
    output.write(report)?;
    Ok(u8::from(!is_good))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|cause| Error::failed("write to", "standard output", cause))
}
