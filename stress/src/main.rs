//! The `fc-stress` command.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use fc_bench::report::TerminalProgress;
use fc_emulator::error::{Error, Result};
use fc_emulator::{cleanup, report};
use fc_stress::cli::{Cli, Command};
use fc_stress::{at_reply, attack, freezes, soak, trial};

/// The exit status for "could not test". The argument parser uses the same one for misuse.
const COULD_NOT_TEST: u8 = 2;

/// What to print on standard output, and the status to exit with.
type Outcome = (String, u8);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut progress = TerminalProgress::new("fc-stress");
    let done = cleanup::on_interrupt().and_then(|()| match &cli.command {
        Command::Attack(args) => attack(args, &mut progress),
        Command::Freezes(args) => trial(&args.common, freezes::run(args, &mut progress)),
        Command::FreezeAtReply(args) => freeze_at_reply(args, &mut progress),
        Command::Soak(args) => trial(&args.common, soak::run(args, &mut progress)),
    });
    drop(progress);
    cleanup::wait_if_interrupted();
    match done.and_then(|(text, code)| print(&text).map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The exit status says it too, if nobody can read this.
            let _ = writeln!(std::io::stderr(), "fc-stress: {error}");
            ExitCode::from(COULD_NOT_TEST)
        }
    }
}

fn attack(args: &attack::Args, progress: &mut TerminalProgress) -> Result<Outcome> {
    if args.list {
        return Ok((attack::list(), 0));
    }
    let report = attack::run(args, progress)?;
    if let Some(path) = &args.json {
        write(path, &report::json(&report))?;
    }
    Ok((report.table(), u8::from(!report.is_good())))
}

fn freeze_at_reply(args: &at_reply::Args, progress: &mut TerminalProgress) -> Result<Outcome> {
    let report = at_reply::run(args, progress)?;
    if let Some(path) = &args.json {
        write(path, &report::json(&report))?;
    }
    Ok((report.table(), u8::from(!args.is_good(&report))))
}

fn trial(args: &trial::CommonArgs, done: Result<trial::Report>) -> Result<Outcome> {
    let report = done?;
    if let Some(path) = &args.json {
        write(path, &report::json(&report))?;
    }
    Ok((trial::text(&report), u8::from(report.faults > 0)))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|cause| Error::failed("write", path.display(), cause))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|cause| Error::failed("write to", "standard output", cause))
}
