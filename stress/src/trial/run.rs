//! One trial: an instance, its load, its freezes and its end, and everything that is checked on the way.
//!
//! Random freezes and soak tests are the same trial with other measures: many freezes and honest clients only, or a
//! long time and everybody.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::awake_clock::AwakeClock;
use super::driver::{Driver, Figures};
use super::load::Load;
use super::plan::Rhythm;
use super::session::{Counters, Session, Start};
use super::trend::Trend;
use super::watch::{Sample, Watch};
use fc_bench::harness::Progress;
use fc_emulator::clock::Deadline;
use fc_emulator::error::Result;
use fc_emulator::target::Exit;
use fc_testkit::Rng;

/// What memory may grow by in a minute, in kB, beyond its noise.
pub const GROWTH_KB_MAX: f64 = 16.0;

/// Of so many calls one may be too slow by our own clock; more, and nothing is told.
const LATE_ONE_IN: u64 = 50;

/// So many faults are enough.
const GIVE_UP: u64 = 20;

/// How long what clients have closed may take to be closed by the instance.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// When it is over.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many freezes.
    Freezes(u64),
    /// After so long.
    Time(Duration),
}

/// Clients that are not honest: one is called with its number and its random numbers, until all is over.
pub type Misbehaving<'a> = &'a (dyn Fn(&Load<'_>, &AwakeClock, Rng) + Sync);

/// What is done.
pub struct Plan<'a> {
    /// The name of the measure, for the progress.
    pub name: &'static str,
    /// The instance.
    pub start: Start,
    /// How long.
    pub until: Until,
    /// How freezes are drawn.
    pub rhythm: Rhythm,
    /// The seed of all.
    pub seed: u64,
    /// Honest clients.
    pub clients: usize,
    /// The longest rest between two calls of one, in milliseconds.
    pub rest_ms_max: u64,
    /// The shortest time limit of the instance.
    pub limit: Duration,
    /// So many others, and what they do.
    pub misbehaving: Option<(usize, Misbehaving<'a>)>,
    /// What is done before there is any load; it returns faults.
    pub setup: fn(&mut Session) -> Result<Vec<String>>,
    /// Callbacks of the thaw are asked to fail or panic at times.
    pub failing_thaws: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// By which means it was frozen.
    pub method: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// The time limits of the instance, in milliseconds.
    pub limit_ms: u64,
    /// The freezes.
    pub figures: Figures,
    /// Calls with an unguessable number that were answered.
    pub calls: u64,
    /// In which ways.
    pub kinds: Vec<(&'static str, u64)>,
    /// Calls that were too slow by our own clock.
    pub late: u64,
    /// What its callbacks did.
    pub counters: Counters,
    /// Looks at the process.
    pub samples: Vec<Sample>,
    /// How its memory went; none if it was too short to tell.
    pub trend: Option<Trend>,
    /// Open descriptors before the load and after it.
    pub descriptors: Option<(usize, usize)>,
    /// How it ended.
    pub exit: String,
    /// How many faults.
    pub faults: u64,
    /// The first of them.
    pub fault_texts: Vec<String>,
}

/// Ends the load however a trial ends: clients must not wait for what stands still.
struct Over<'a>(&'a AwakeClock);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.thaws();
        self.0.thawed();
        self.0.end();
    }
}

/// Carries it out.
///
/// # Errors
/// If the instance cannot be started or frozen. That it ends or falls silent is a fault.
pub fn run(plan: &Plan<'_>, progress: &mut dyn Progress) -> Result<Report> {
    let began = Instant::now();
    let mut session = Session::start(&plan.start)?;
    let method = session.method();
    let opening = match ((plan.setup)(&mut session), session.lost()) {
        (Ok(faults), _) => faults,
        // Without an instance there is no more to try.
        (Err(_), Some(lost)) => return Ok(broken_off(plan, method, began, lost)),
        (Err(cause), None) => return Err(cause),
    };
    let mut watch = session.pid().map(Watch::new);
    let before = watch.as_ref().map(Watch::descriptors).transpose()?;
    let time = AwakeClock::default();
    let load = Load::new(session.addr(), &time, plan.limit, plan.clients, plan.rest_ms_max);
    let mut driver = Driver::new(&mut session, &time, &load, plan.limit)?;
    opening.into_iter().for_each(|fault| driver.load.report_fault(fault));

    let closed = drive(plan, &mut driver, &mut watch, progress).and_then(|()| {
        let come_back = |before| watch.as_ref().map(|watch| come_back(watch, before).map(|after| (before, after)));
        Ok((driver.close()?, before.and_then(come_back).transpose()?))
    });
    let (counters, descriptors) = match (closed, driver.session.lost()) {
        (Ok(closed), _) => closed,
        (Err(_), Some(lost)) => {
            driver.load.report_fault(lost);
            (Counters::default(), None)
        }
        (Err(cause), None) => return Err(cause),
    };
    judge_end(&mut driver, descriptors, watch.as_ref());
    let figures = driver.figures.clone();
    let (mut faults, mut fault_texts) = driver.load.faults();
    let exit = session.stop()?;
    let panics = session.panics();
    let mut more: Vec<String> = panics.into_iter().map(|line| format!("it panicked: {line}")).collect();
    if exit != Some(Exit::Code(0)) {
        more.push(exit.map_or("it does not end after SIGTERM".to_owned(), |exit| format!("at the end it {exit}")));
    }
    faults += more.len() as u64;
    fault_texts.append(&mut more);
    Ok(Report {
        seed: plan.seed,
        method,
        seconds: began.elapsed().as_secs_f64(),
        limit_ms: plan.limit.as_millis() as u64,
        figures,
        calls: load.answered().0,
        kinds: load.kinds(),
        late: load.late(),
        counters,
        trend: watch.as_ref().and_then(Watch::trend),
        samples: watch.map(|watch| watch.samples().to_vec()).unwrap_or_default(),
        descriptors,
        exit: exit.map_or("still running".to_owned(), |exit| exit.to_string()),
        faults,
        fault_texts,
    })
}

/// The instance was lost before there was any load.
fn broken_off(plan: &Plan<'_>, method: &'static str, began: Instant, lost: String) -> Report {
    Report {
        seed: plan.seed,
        method,
        seconds: began.elapsed().as_secs_f64(),
        limit_ms: plan.limit.as_millis() as u64,
        exit: lost.clone(),
        faults: 1,
        fault_texts: vec![lost],
        ..Report::default()
    }
}

/// Load and freezes, side by side, until it is over and nobody is connected any more.
fn drive(
    plan: &Plan<'_>,
    driver: &mut Driver<'_>,
    watch: &mut Option<Watch>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let (time, load, seeds) = (driver.time, driver.load, Rng::new(plan.seed));
    progress.begin(
        plan.name,
        match plan.until {
            Until::Freezes(count) => count,
            Until::Time(span) => span.as_secs(),
        },
    );
    std::thread::scope(|scope| {
        let _over = Over(time);
        for number in 0..plan.clients {
            let rng = seeds.fork(1 + number as u64);
            scope.spawn(move || load.client(number, rng));
        }
        let (count, misbehave) = plan.misbehaving.map_or((0, None), |(count, work)| (count, Some(work)));
        for number in 0..count {
            let rng = seeds.fork(10_000 + number as u64);
            scope.spawn(move || misbehave.map(|work| work(load, time, rng)));
        }
        freeze_and_thaw(plan, driver, watch, progress)
    })
}

fn freeze_and_thaw(
    plan: &Plan<'_>,
    driver: &mut Driver<'_>,
    watch: &mut Option<Watch>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let began = Instant::now();
    let mut rng = Rng::new(plan.seed).fork(0);
    let mut shown = 0;
    loop {
        let over = match plan.until {
            Until::Freezes(count) => driver.figures.freezes >= count,
            Until::Time(span) => began.elapsed() >= span,
        };
        if over || driver.load.faults().0 >= GIVE_UP {
            return Ok(());
        }
        let cycle = plan.rhythm.cycle(&mut rng);
        let handler = match plan.failing_thaws.then(|| rng.within(0, 9)) {
            Some(0) => "fail",
            Some(1) => "panic",
            _ => "",
        };
        driver.cycle(cycle, handler)?;
        if let Some(watch) = watch.as_mut().filter(|watch| watch.is_due()) {
            driver.at_rest(|| watch.look())?;
        }
        let done = match plan.until {
            Until::Freezes(_) => driver.figures.freezes,
            Until::Time(_) => began.elapsed().as_secs(),
        };
        (shown..done).for_each(|_| progress.step(&format!("{} faults", driver.load.faults().0)));
        shown = done;
    }
}

/// Open descriptors, once as many as before; else as many as stay.
fn come_back(watch: &Watch, before: usize) -> Result<usize> {
    let back = Deadline::after(CLOSE_WAIT).until(|| watch.descriptors().ok().filter(|now| *now <= before));
    back.map_or_else(|| watch.descriptors(), Ok)
}

fn judge_end(driver: &mut Driver<'_>, descriptors: Option<(usize, usize)>, watch: Option<&Watch>) {
    if let Some((before, after)) = descriptors.filter(|(before, after)| before != after) {
        driver.load.report_fault(format!("{before} descriptors were open before the load, {after} are after it"));
    }
    if let Some(trend) = watch.and_then(Watch::trend).filter(|trend| trend.exceeds(GROWTH_KB_MAX)) {
        let line = trend.whole;
        driver
            .load
            .report_fault(format!("memory grows by {:.1} ± {:.1} kB a minute", line.per_minute, line.standard_error));
    }
    let samples = watch.map(Watch::samples).unwrap_or_default();
    if let Some(other) = samples.iter().find(|sample| sample.threads != samples[0].threads) {
        driver.load.report_fault(format!("{} threads, and {} at {:.0} s", samples[0].threads, other.threads, other.at));
    }
    let (calls, late) = (driver.load.answered().0, driver.load.late());
    if late * LATE_ONE_IN > calls {
        driver.load.report_fault(format!(
            "{late} of {calls} calls were too slow by our own clock: this machine is too busy to tell"
        ));
    }
    if calls == 0 {
        driver.load.report_fault("no call was answered".into());
    }
}
