//! Runs one trial: an instance, its load, its freezes and its end, and all checks on the way.
//!
//! Random freezes and soak tests are the same trial with different plans: many freezes and honest clients only, or a
//! long time and all kinds of clients.

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

/// The most that memory may grow in a minute, in kB, beyond its noise.
pub const GROWTH_KB_MAX: f64 = 16.0;

/// One in this many calls may be too slow by the client's own clock. With more, the trial proves nothing.
const LATE_ONE_IN: u64 = 50;

/// The trial ends after this many faults.
const GIVE_UP: u64 = 20;

/// How long the instance may take to close connections that clients have closed.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// When the trial ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this many freezes.
    Freezes(u64),
    /// After this time.
    Time(Duration),
}

/// Misbehaving clients: each is called with its number and its random numbers, and runs until the load ends.
pub type Misbehaving<'a> = &'a (dyn Fn(&Load<'_>, &AwakeClock, Rng) + Sync);

/// The plan of a trial.
pub struct Plan<'a> {
    /// The name of the measure, for the progress.
    pub name: &'static str,
    /// The instance.
    pub start: Start,
    /// When the trial ends.
    pub until: Until,
    /// How freezes are drawn.
    pub rhythm: Rhythm,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The number of honest clients.
    pub clients: usize,
    /// The longest rest between two calls of a client, in milliseconds.
    pub rest_ms_max: u64,
    /// The shortest time limit of the instance.
    pub limit: Duration,
    /// The number of misbehaving clients, and what they do.
    pub misbehaving: Option<(usize, Misbehaving<'a>)>,
    /// Runs before the load starts, and returns faults.
    pub setup: fn(&mut Session) -> Result<Vec<String>>,
    /// The connections that the target may keep to a program behind it.
    pub kept: usize,
    /// Whether thaw callbacks are told to fail or panic at times.
    pub failing_thaws: bool,
}

/// The result of a trial.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The command of this program.
    pub name: &'static str,
    /// The seed.
    pub seed: u64,
    /// The name of the freezer.
    pub freezer: &'static str,
    /// How long the trial took, in seconds.
    pub seconds: f64,
    /// The time limits of the instance, in milliseconds.
    pub limit_ms: u64,
    /// The freezes.
    pub figures: Figures,
    /// Calls with a random number that were answered.
    pub calls: u64,
    /// The number of calls of each kind.
    pub kinds: Vec<(&'static str, u64)>,
    /// Calls that were too slow by the client's own clock.
    pub late: u64,
    /// The counts of the callbacks.
    pub counters: Counters,
    /// The samples of the process.
    pub samples: Vec<Sample>,
    /// The trend of its memory. `None` if the trial was too short.
    pub trend: Option<Trend>,
    /// Open descriptors before the load and after it.
    pub descriptors: Option<(usize, usize)>,
    /// How the instance ended.
    pub exit: String,
    /// The number of faults.
    pub faults: u64,
    /// The texts of the first faults.
    pub fault_texts: Vec<String>,
}

/// Ends the load however a trial ends: clients must not wait for a frozen instance.
struct Over<'a>(&'a AwakeClock);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.thaws();
        self.0.thawed();
        self.0.end();
    }
}

/// Runs a trial.
///
/// # Errors
/// If the instance cannot be started or frozen. If it ends or stops answering, that is a fault.
pub fn run(plan: &Plan<'_>, progress: &mut dyn Progress) -> Result<Report> {
    let began = Instant::now();
    let mut session = Session::start(&plan.start)?;
    let freezer = session.freezer();
    let opening = match ((plan.setup)(&mut session), session.lost()) {
        (Ok(faults), _) => faults,
        // Without an instance there is nothing more to test.
        (Err(_), Some(lost)) => return Ok(broken_off(plan, freezer, began, lost)),
        (Err(cause), None) => return Err(cause),
    };
    let mut watch = session.pid().map(Watch::new);
    let before = watch.as_ref().map(Watch::descriptors).transpose()?;
    let time = AwakeClock::default();
    let load = Load::new(session.addr(), &time, plan.limit, plan.clients, plan.rest_ms_max);
    let mut driver = Driver::new(&mut session, &time, &load, plan.limit)?;
    opening.into_iter().for_each(|fault| driver.load.report_fault(fault));

    let closed = drive(plan, &mut driver, &mut watch, progress).and_then(|()| {
        let come_back =
            |before| watch.as_ref().map(|watch| come_back(watch, before, plan.kept).map(|after| (before, after)));
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
    let beyond = descriptors.filter(|(before, after)| !(*before..=before + plan.kept).contains(after));
    judge_end(&mut driver, beyond, watch.as_ref());
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
        name: plan.name,
        seed: plan.seed,
        freezer,
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

/// The instance was lost before the load started.
fn broken_off(plan: &Plan<'_>, freezer: &'static str, began: Instant, lost: String) -> Report {
    Report {
        name: plan.name,
        seed: plan.seed,
        freezer,
        seconds: began.elapsed().as_secs_f64(),
        limit_ms: plan.limit.as_millis() as u64,
        exit: lost.clone(),
        faults: 1,
        fault_texts: vec![lost],
        ..Report::default()
    }
}

/// Runs load and freezes side by side until the trial ends and no client is connected any more.
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

/// The number of open descriptors: as soon as it is that of before, or else when it stays the same.
fn come_back(watch: &Watch, before: usize, kept: usize) -> Result<usize> {
    let back = Deadline::after(CLOSE_WAIT).until(|| watch.descriptors().ok().filter(|now| *now <= before + kept));
    back.map_or_else(|| watch.descriptors(), Ok)
}

fn judge_end(driver: &mut Driver<'_>, beyond: Option<(usize, usize)>, watch: Option<&Watch>) {
    if let Some((before, after)) = beyond {
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
            "{late} of {calls} calls were too slow by our own clock: this machine is too busy for a result"
        ));
    }
    if calls == 0 {
        driver.load.report_fault("no call was answered".into());
    }
}
