//! Endurance: for minutes everything at once, and nothing may pile up.
//!
//! Honest clients as in [`crate::freezes`], and beside them misbehaving clients: calls that fail and panic, streams
//! that break, requests that are none, connections that come, go, stop half way or are reset. The initializer is
//! abandoned, fails and panics before it succeeds; thaw callbacks fail and panic. Each second `watch` looks at memory,
//! descriptors and threads; `trend` says whether something grows.

mod misbehaving;

use std::time::Duration;

use fc_bench::harness::Progress;
use fc_emulator::clock::Deadline;
use fc_emulator::error::Result;
use fc_emulator::freezer::FreezeWith;

use crate::trial::{
    self, CommonArgs, LIMIT, PATIENCE, Plan, Report, Rhythm, Session, SlowClient, Until, limits, parse_method,
};

/// Some freezes a second.
const RHYTHM: Rhythm = Rhythm { awake_ms_max: 400, frozen_ms_max: 1500 };

const CLIENTS: usize = 24;

const MISBEHAVING: usize = 12;

/// What can be set.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// For how long
    #[arg(long, default_value = "10", value_name = "M", value_parser = parse_minutes)]
    minutes: Duration,

    /// How it is frozen: as in `freezes`
    #[arg(long, default_value = "cgroup", value_name = "WAY", value_parser = parse_method)]
    way: FreezeWith,

    /// What all trials are told
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Soaks.
///
/// # Errors
/// If it cannot be tried.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let plan = Plan {
        name: "soak",
        start: args.common.start(None, args.way, &[("FC_HOOKS_LIMITS", &limits())])?,
        until: Until::Time(args.minutes),
        rhythm: RHYTHM,
        seed: args.common.seed(),
        clients: CLIENTS,
        rest_ms_max: 40,
        limit: LIMIT,
        misbehaving: Some((MISBEHAVING, &misbehaving::misbehave)),
        setup: initialize_badly,
        failing_thaws: true,
    };
    trial::run(&plan, progress)
}

/// The initializer is abandoned by its caller, fails, panics, succeeds, and is called once more.
fn initialize_badly(session: &mut Session) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let abandoned = SlowClient::open(session.addr(), Deadline::after(PATIENCE)).and_then(|mut client| {
        let head = "POST /initialize HTTP/1.1\r\nhost: a\r\nx-fc-function-handler: fail\r\ncontent-length: 0\r\n\r\n";
        client.send(head.as_bytes(), Deadline::after(PATIENCE))
    });
    faults.extend(abandoned.err());
    // Its answer goes nowhere, but it has run.
    let ran = Deadline::after(PATIENCE).until(|| match session.counters() {
        Ok(counters) => (counters.initialize > 0).then_some(Ok(())),
        Err(cause) => Some(Err(cause)),
    });
    match ran {
        Some(ran) => ran?,
        None => faults.push("the initializer whose caller had gone did not run".to_owned()),
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
        faults.push(format!("initialize failed 3 times and succeeded once; seen was {counters:?}"));
    }
    Ok(faults)
}

fn parse_minutes(text: &str) -> std::result::Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.01..=24.0 * 60.0).contains(&minutes) => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err("it must be a number of minutes, 0.01 to a day".to_owned()),
    }
}
