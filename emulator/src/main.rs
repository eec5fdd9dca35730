//! The `fc-emulator` command.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use fc_emulator::cli::{CheckArgs, Cli, Command, RunArgs};
use fc_emulator::error::{Error, Result};
use fc_emulator::report::{self, CheckProgress, LifecycleWatcher};
use fc_emulator::{check, cleanup, lifecycle_run};

/// The exit status for "could not test". The argument parser uses the same one for misuse.
const COULD_NOT_TEST: u8 = 2;

/// What to print on standard output, and the status to exit with.
type Outcome = (String, u8);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cleanup::on_interrupt().and_then(|()| match &cli.command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(args),
        Command::List => Ok((report::list(&check::all()), 0)),
    });
    cleanup::wait_if_interrupted();
    match done.and_then(|(text, code)| print(&text).map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The exit status says it too, if nobody can read this.
            let _ = writeln!(std::io::stderr(), "fc-emulator: {error}");
            ExitCode::from(COULD_NOT_TEST)
        }
    }
}

fn run(args: &RunArgs) -> Result<Outcome> {
    let plan = args.plan()?;
    let mut watcher = LifecycleWatcher::new(args.json);
    let timeline = lifecycle_run::run(&plan, &mut watcher)?;
    let text = if args.json { report::json(&timeline) } else { format!("\n{}", report::table(&timeline)) };
    Ok((text, u8::from(!timeline.conforms)))
}

fn check(args: &CheckArgs) -> Result<Outcome> {
    let plan = args.plan()?;
    let progress = CheckProgress::new();
    let findings = check::run(&plan, |finding, total| progress.ended(finding, total))?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Ok((report::findings(&findings, args.format, colour), findings.exit_code(args.strict)))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|cause| Error::failed("write to", "standard output", cause))
}
