//! Freezes at random moments under load, by a real freezer, with short time limits.

use fc_bench::harness::Progress;
use fc_emulator::error::Result;
use fc_emulator::freezer::FreezeWith;

use crate::trial::{self, CommonArgs, LIMIT, Plan, Report, Rhythm, Session, Until, limits, parse_method};

const RHYTHM: Rhythm = Rhythm { awake_ms_max: 30, frozen_ms_max: 1500 };

/// An engine takes so long to freeze and thaw that with less between an honest client would see nothing but freezes.
const RHYTHM_OF_ENGINES: Rhythm = Rhythm { awake_ms_max: 400, ..RHYTHM };

/// What can be set.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How often it is frozen
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cycles: u64,

    /// Clients with a connection each
    #[arg(long, default_value_t = 40, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,

    /// Freeze a container of this image, by docker pause
    #[arg(long, value_name = "IMAGE", conflicts_with = "way")]
    image: Option<String>,

    /// How a command is frozen: cgroup (version 1 or 2, whichever is there), cgroup-v1, cgroup-v2, stop (SIGSTOP)
    #[arg(long, default_value = "cgroup", value_name = "WAY", value_parser = parse_method)]
    way: FreezeWith,

    /// What all trials are told
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Freezes.
///
/// # Errors
/// If it cannot be tried.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let plan = Plan {
        name: "freezes",
        start: args.common.start(args.image.as_deref(), args.way, &[("FC_HOOKS_LIMITS", &limits())])?,
        until: Until::Freezes(args.cycles),
        rhythm: if args.image.is_some() { RHYTHM_OF_ENGINES } else { RHYTHM },
        seed: args.common.seed(),
        clients: usize::from(args.clients),
        rest_ms_max: 40,
        limit: LIMIT,
        misbehaving: None,
        setup: initialize,
        failing_thaws: false,
    };
    trial::run(&plan, progress)
}

fn initialize(session: &mut Session) -> Result<Vec<String>> {
    let answer = session.hook("POST /initialize", "")?;
    let wrong = (answer.status != 200).then(|| format!("initialize was answered {}", answer.status));
    Ok(wrong.into_iter().collect())
}
