//! The `fc-emulator` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use fc_emulator::cli::{CheckArgs, Cli, Command, ListArgs, RunArgs};
use fc_emulator::error::{Error, Result};
use fc_emulator::report::{self, CheckProgress, Format, LifecycleWatcher};
use fc_emulator::target::Spec;
use fc_emulator::{check, cleanup, leftovers, lifecycle_run};

/// The exit status of a target that could not be tested. The argument parser uses it for wrong arguments, too.
const COULD_NOT_TEST: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| with_dashes(error).exit());
    let done = cleanup::on_interrupt().and_then(|()| match &cli.command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(args),
        Command::List(args) => list(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve(args),
        Command::Completions(args) => print(&args.script()),
        Command::Man(args) => args.page().and_then(|page| print(&page)),
    });
    cleanup::wait_if_interrupted();
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // If standard error is closed, the exit status says the same.
            let _ = writeln!(std::io::stderr(), "fc-emulator: {error}");
            ExitCode::from(COULD_NOT_TEST)
        }
    }
}

/// Somebody who forgets the two dashes before the command learns of them.
fn with_dashes(mut error: clap::Error) -> clap::Error {
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && !word.starts_with('-')
    {
        let tip = format!("write `--` before a command: `-- {word} ...`").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

fn run(args: &RunArgs) -> Result<u8> {
    let plan = args.plan()?;
    end_leftovers(&plan.setup.spec);
    let mut watcher = LifecycleWatcher::new(args.output.format != Format::Human);
    let timeline = lifecycle_run::run(&plan, &mut watcher)?;
    drop(watcher);
    cleanup::wait_if_interrupted();
    args.output.write(&timeline)?;
    Ok(u8::from(!timeline.conforms))
}

fn check(args: &CheckArgs) -> Result<u8> {
    let plan = args.plan()?;
    end_leftovers(&plan.setup.spec);
    let progress = CheckProgress::new();
    let findings = check::run(&plan, &progress)?;
    drop(progress);
    cleanup::wait_if_interrupted();
    args.output.write(&findings)?;
    Ok(findings.exit_code())
}

#[cfg(feature = "serve")]
fn serve(args: &fc_emulator::serve::args::ServeArgs) -> Result<u8> {
    let plan = args.plan()?;
    for function in &plan.functions {
        end_leftovers(&function.setup.spec);
    }
    fc_emulator::serve::run(plan).map(|()| 0)
}

/// Ends what killed runs left, and says so.
fn end_leftovers(spec: &Spec) {
    for said in leftovers::end(spec) {
        // If standard error is closed, nobody misses it.
        let _ = writeln!(std::io::stderr(), "fc-emulator: {said}");
    }
}

fn list(args: &ListArgs) -> Result<u8> {
    let checks = check::all();
    args.output.write(&checks, || report::list(&checks))?;
    Ok(0)
}

fn print(bytes: &[u8]) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(bytes).and_then(|()| stdout.flush());
    printed.map(|()| 0).map_err(|cause| Error::failed("write to", "standard output", cause))
}
