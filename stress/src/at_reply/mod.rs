//! Freezes at the worst moment: when the client has just read the reply, or in the middle of a large call.
//!
//! A platform that freezes idle instances at once can freeze the server between its reply and its next wait. The kernel
//! then interrupts no wait, so this freeze is the hardest to notice. The client writes into the open file of the
//! freezer directly after it has read the last byte of the reply.
//!
//! The place of the client decides whether it is early enough. On the server's own processor, the reply wakes the
//! client up during the server's system call, and the server does not run again before the freeze. On another
//! processor, the server is back in its wait in nearly every trial before the freeze arrives.
//!
//! Several instances take turns: one is called while the others are frozen. So the critical moments follow one another,
//! and only the freezes overlap.

mod quick_client;
mod report;
mod target;

use std::time::{Duration, Instant};

use fc_bench::harness::{Contender, Pinned, Processors, Progress, RealTime};
use fc_bench::measure::machine;
use fc_bench::results::Kind;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use fc_emulator::options::{DURATION, FreezeArgs, OutputArgs, duration};

use quick_client::Waiting;
pub use report::{Noticed, Report, Trial};
use target::{Frozen, Lifecycle, Moment, Target};

/// One turn of an instance, with the proof of its freeze, takes less than this.
const TURN: Duration = Duration::from_millis(120);

/// More instances would not save time.
const INSTANCES_MAX: u128 = 16;

/// The fractional part of the golden ratio. Its multiples are spread evenly for any count.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Number of freezes
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,

    /// Length of a freeze
    #[arg(long, default_value = "1.5s", value_name = DURATION, value_parser = duration)]
    freeze_for: Duration,

    /// Time from the reply to the freeze
    #[arg(long, default_value = "0s", value_name = DURATION, value_parser = duration, conflicts_with = "in_call")]
    delay: Duration,

    /// Freeze in the middle of `POST /invoke` with a body of this many bytes, which the server echoes, in place of at
    /// the reply. Each freeze comes at another point of the call
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=32_000_000))]
    in_call: Option<u32>,

    /// How the server is frozen.
    #[command(flatten)]
    freeze: FreezeArgs,

    /// Where the client runs
    #[arg(long, value_enum, default_value_t, value_name = "PLACE")]
    client_on: Place,

    /// Servers that take turns [default: as many as can be called during one freeze, at most 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    instances: Option<u8>,

    /// The number of freezes that may be missed
    #[arg(long, default_value_t = 0, value_name = "N")]
    misses_max: usize,

    /// Where the result goes.
    #[command(flatten)]
    pub output: OutputArgs,

    /// The server: the inspector, such as `./fc-hooks`. It gets its port in FC_SERVER_PORT
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    fn moment(&self, trial: usize) -> Moment {
        match self.in_call {
            None => Moment::AfterReply(self.delay),
            Some(bytes) => Moment::InCall(bytes as usize, 0.01 + 0.98 * ((trial + 1) as f64 * GOLDEN).fract()),
        }
    }

    fn instances(&self) -> usize {
        let fit = (self.freeze_for.as_micros() / TURN.as_micros()).clamp(1, INSTANCES_MAX) as usize;
        self.instances.map_or(fit, usize::from).min(self.count as usize)
    }
}

/// The processor of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The server's processor, with real-time priority: the server stops where its reply wakes the client up
    #[default]
    SameProcessor,
    /// A processor of its own, on which the client polls its socket
    OtherProcessor,
}

/// An instance and its present freeze.
struct Turn {
    target: Target,
    /// Thaws that the server has noticed so far.
    known: u64,
    /// The number of its last trial, which is its index in the list of all.
    last: Option<usize>,
    frozen: Option<Frozen>,
}

/// Runs the trials.
///
/// # Errors
/// If the servers cannot be started, frozen or called.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let clock = Instant::now();
    let processors = Processors::split()?;
    let (place, waiting) = match args.client_on {
        Place::SameProcessor => (&processors.server, Waiting::Asleep),
        Place::OtherProcessor if processors.apart() => (&processors.client, Waiting::Polling),
        Place::OtherProcessor => return Err(Error::new("there is only one processor")),
    };
    let method = control_group(args.freeze.freeze_with)?;
    let freezer = FreezeGroup::new(method)?.name().to_owned();
    let contender = Contender::of_command("target", Kind::Custom, args.command.clone());
    let body_bytes_max = args.in_call.unwrap_or(0) as usize;
    let start = |_| Target::start(&contender, method, &processors.server, waiting, body_bytes_max);
    let targets: Vec<Target> = (0..args.instances()).map(start).collect::<Result<_>>()?;
    let mut turns: Vec<Turn> = targets.into_iter().map(Turn::new).collect::<Result<_>>()?;
    progress.begin("freeze-at-reply", u64::from(args.count));
    let _pinned = Pinned::to(place)?;
    let _prompt = match args.client_on {
        Place::SameProcessor => Some(RealTime::take()?),
        Place::OtherProcessor => None,
    };
    let instances = turns.len();
    let mut trials: Vec<Trial> = Vec::new();
    for number in 0..args.count as usize {
        let turn = &mut turns[number % instances];
        turn.end(args.freeze_for, &mut trials)?;
        turn.begin(args.moment(number), number % instances, &mut trials)?;
        progress.step("");
    }
    for turn in &mut turns {
        turn.end(args.freeze_for, &mut trials)?;
        let lifecycle = turn.target.lifecycle()?;
        turn.look_back(&lifecycle, &mut trials);
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        command: args.command.clone(),
        machine: machine(),
        freezer,
        freeze_for_ms: args.freeze_for.as_millis() as u64,
        delay_us: args.delay.as_micros() as u64,
        in_call_bytes: args.in_call.map(|bytes| bytes as usize),
        instances,
        client_on: args.client_on,
        client_processor: place[0],
        server_processor: processors.server[0],
        seconds: clock.elapsed().as_secs_f64(),
        misses_max: args.misses_max,
        missed: trials.iter().filter(|trial| report::is_missed(trial.noticed)).count(),
        trials,
    })
}

impl Turn {
    fn new(mut target: Target) -> Result<Self> {
        let known = target.lifecycle()?.thawed;
        Ok(Self { target, known, last: None, frozen: None })
    }

    /// Freezes the instance.
    fn begin(&mut self, moment: Moment, instance: usize, trials: &mut Vec<Trial>) -> Result<()> {
        let in_call = matches!(moment, Moment::InCall(..));
        if in_call {
            let lifecycle = self.target.lifecycle()?;
            self.look_back(&lifecycle, trials);
        }
        let (frozen, lifecycle) = self.target.freeze_at(moment)?;
        if let Some(lifecycle) = lifecycle {
            self.look_back(&lifecycle, trials);
        }
        // Every second freeze of an instance. In the middle of a call, the rest of that call comes first.
        let sent_frozen = !in_call && self.last.is_some_and(|last| !trials[last].sent_frozen);
        self.last = Some(trials.len());
        trials.push(Trial {
            instance,
            share: if let Moment::InCall(_, share) = moment { Some(share) } else { None },
            requested_us: frozen.requested_us,
            frozen_ms: 0,
            sent_frozen,
            noticed: Noticed::Never,
            evidence: Vec::new(),
            gap_ms: None,
        });
        self.frozen = Some(frozen);
        Ok(())
    }

    /// Ends the freeze of the instance, if there is one, when it has lasted long enough.
    fn end(&mut self, freeze_for: Duration, trials: &mut [Trial]) -> Result<()> {
        let (Some(frozen), Some(last)) = (self.frozen.take(), self.last) else { return Ok(()) };
        std::thread::sleep(freeze_for.saturating_sub(frozen.span()));
        let trial = &mut trials[last];
        let (span, lifecycle) = self.target.thaw(frozen, trial.sent_frozen)?;
        trial.frozen_ms = span.as_millis() as u64;
        self.judge(&lifecycle, trial, Noticed::InTime);
        Ok(())
    }

    /// Records whether the server noticed the last freeze too late, or once more.
    fn look_back(&mut self, lifecycle: &Lifecycle, trials: &mut [Trial]) {
        if let Some(last) = self.last {
            self.judge(lifecycle, &mut trials[last], Noticed::Late);
        }
    }

    fn judge(&mut self, lifecycle: &Lifecycle, trial: &mut Trial, when: Noticed) {
        let more = lifecycle.thawed.saturating_sub(self.known);
        self.known = lifecycle.thawed;
        if more == 0 {
            return;
        }
        trial.noticed = if more == 1 && trial.noticed == Noticed::Never { when } else { Noticed::Twice };
        if let Some(thaw) = &lifecycle.last_thaw {
            (trial.evidence, trial.gap_ms) = (thaw.evidence(), Some(thaw.gap_ms));
        }
    }
}

/// The kind of control group. Only a control group can be frozen by a single write.
fn control_group(method: FreezeWith) -> Result<FreezeWith> {
    match method {
        FreezeWith::Auto => FreezeGroup::new(FreezeWith::CgroupV1)
            .map(|_| FreezeWith::CgroupV1)
            .or_else(|_| FreezeGroup::new(FreezeWith::CgroupV2).map(|_| FreezeWith::CgroupV2)),
        FreezeWith::CgroupV1 | FreezeWith::CgroupV2 => Ok(method),
        _ => Err(Error::new(format!(
            "`--freeze-with {method}` is too slow here, because a freeze must be a single write: take cgroup-v1 or \
             cgroup-v2"
        ))),
    }
}
