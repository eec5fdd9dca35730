//! A soak test: load, faults and freezes for minutes, and no resource may grow.
//!
//! It has honest clients as in [`crate::freezes`], and misbehaving clients beside them: calls that fail and panic,
//! streams that break, invalid requests, and connections that open, close, stop half-way or are reset. The caller of
//! the initializer goes away, and the initializer fails and panics before it succeeds. Thaw callbacks fail and panic.
//! Each second `watch` records memory, descriptors and threads; `trend` decides whether one of them grows.

mod misbehaving;

use std::time::Duration;

use fc_bench::harness::Progress;
use fc_emulator::clock::Deadline;
use fc_emulator::error::Result;
use fc_emulator::options::{DURATION, duration};

use crate::trial::{self, CommonArgs, LIMIT, PATIENCE, Plan, Report, Rhythm, Session, SlowClient, Until, limits};

/// A few freezes per second.
const RHYTHM: Rhythm = Rhythm { awake_ms_max: 400, frozen_ms_max: 1500 };

const CLIENTS: usize = 24;

const MISBEHAVING: usize = 12;

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Length of the test
    #[arg(long, default_value = "10m", value_name = DURATION, value_parser = duration)]
    run_for: Duration,

    /// The options of all trials.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Runs the soak test.
///
/// # Errors
/// If the test cannot run.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let plan = Plan {
        name: "soak",
        start: args.common.start(None, &[("FC_HOOKS_LIMITS", &limits())])?,
        until: Until::Time(args.run_for),
        rhythm: RHYTHM,
        seed: args.common.seed(),
        clients: CLIENTS,
        rest_ms_max: 40,
        limit: LIMIT,
        misbehaving: Some((MISBEHAVING, &misbehaving::misbehave)),
        setup: initialize_badly,
        kept: args.common.kept,
        failing_thaws: true,
    };
    trial::run(&plan, progress)
}

/// The caller of the initializer goes away; then the initializer fails, panics, succeeds, and is called once more.
fn initialize_badly(session: &mut Session) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let abandoned = SlowClient::open(session.addr(), Deadline::after(PATIENCE)).and_then(|mut client| {
        let head = "POST /initialize HTTP/1.1\r\nhost: a\r\nx-fc-function-handler: fail\r\ncontent-length: 0\r\n\r\n";
        client.send(head.as_bytes(), Deadline::after(PATIENCE))
    });
    faults.extend(abandoned.err());
    // Nobody reads its answer, but it has run.
    let ran = Deadline::after(PATIENCE).until(|| match session.counters() {
        Ok(counters) => (counters.initialize > 0).then_some(Ok(())),
        Err(cause) => Some(Err(cause)),
    });
    match ran {
        Some(ran) => ran?,
        None => faults.push("the initializer whose caller went away did not run".to_owned()),
    }
    let mut first = None;
    for (handler, status) in [("fail", 404), ("panic", 404), ("", 200), ("", 200), ("fail", 200)] {
        let answer = session.hook("POST /initialize", handler)?;
        if answer.status != status || (status == 200 && first.get_or_insert(answer.body.clone()) != &answer.body) {
            faults.push(format!("initialize, asked to `{handler}`: {} {}", answer.status, answer.body_text(80)));
        }
    }
    let counters = session.counters()?;
    let life = &counters.lifecycle;
    if (counters.initialize, life.initialized, life.initialize_failed) != (4, 1, 3) {
        faults.push(format!("initialize must have failed 3 times and succeeded once; the counts are {counters:?}"));
    }
    Ok(faults)
}
