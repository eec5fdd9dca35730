//! Freezes at random moments under load, by a real freezer, with short time limits.

use fc_bench::harness::Progress;
use fc_emulator::error::Result;

use crate::trial::{self, CommonArgs, LIMIT, Plan, Report, Rhythm, Session, Until, limits};

const RHYTHM: Rhythm = Rhythm { awake_ms_max: 30, frozen_ms_max: 1500 };

/// An engine takes long to freeze and thaw. With less time between two freezes, an honest client would do nothing but
/// wait.
const RHYTHM_OF_ENGINES: Rhythm = Rhythm { awake_ms_max: 400, ..RHYTHM };

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Number of freezes
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,

    /// Number of clients, each with one connection
    #[arg(long, default_value_t = 40, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,

    /// Freeze a container of this image, with `docker pause`
    #[arg(long, value_name = "NAME")]
    image: Option<String>,

    /// The options of all trials.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Runs the trial.
///
/// # Errors
/// If the test cannot run.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let plan = Plan {
        name: "freezes",
        start: args.common.start(args.image.as_deref(), &[("FC_HOOKS_LIMITS", &limits())])?,
        until: Until::Freezes(args.count),
        rhythm: if args.image.is_some() { RHYTHM_OF_ENGINES } else { RHYTHM },
        seed: args.common.seed(),
        clients: usize::from(args.clients),
        rest_ms_max: 40,
        limit: LIMIT,
        misbehaving: None,
        setup: initialize,
        kept: args.common.kept,
        failing_thaws: false,
    };
    trial::run(&plan, progress)
}

fn initialize(session: &mut Session) -> Result<Vec<String>> {
    let answer = session.hook("POST /initialize", "")?;
    let wrong = (answer.status != 200).then(|| format!("initialize was answered {}", answer.status));
    Ok(wrong.into_iter().collect())
}
