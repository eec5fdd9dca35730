//! Freezes and thaws the instance under its load, and checks after each freeze what its callbacks report.
//!
//! After each thaw the driver makes a call of its own, so that two freezes cannot count as one. Between two answers to
//! this call, the thaw callback may have run once or not at all. It must have run once if the server had to notice the
//! freeze: after SIGCONT always, by the other methods if the instance was asleep in its wait, and whenever pre-freeze
//! was called.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::awake_clock::AwakeClock;
use super::load::{Load, PATIENCE, SPOTS};
use super::plan::{Cycle, Moment};
use super::session::{Counters, Session};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};

/// This many freezes may be refused, and one in ten in addition.
const REFUSED_MIN: u64 = 3;

/// A wait must be overslept by this much to count as evidence (ARCHITECTURE.md).
const OVERSLEPT_MIN: Duration = Duration::from_secs(1);

/// This many waits may be overslept without a freeze, and one in a hundred freezes in addition.
const STALLS_MIN: u64 = 3;

/// The counts of a trial.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Freezes.
    pub freezes: u64,
    /// Freezes in the middle of the load.
    pub busy: u64,
    /// Freezes at rest.
    pub quiet: u64,
    /// Freezes that pre-freeze announced.
    pub announced: u64,
    /// Calls of pre-freeze, including repeated ones.
    pub pre_freeze_calls: u64,
    /// Freezes that were longer than the shortest time limit.
    pub longer_than_limits: u64,
    /// Freezes that did not come into force. They are not part of the other counts.
    pub refused: u64,
    /// Waits that the instance overslept although no freeze was that long. The machine was too busy.
    pub stalls: u64,
    /// Time frozen, in seconds.
    pub frozen_secs: f64,
    /// Freezes that the server had to notice.
    pub must: u64,
    /// Freezes that the server noticed.
    pub noticed: u64,
    /// What the clients were doing when a freeze came: idle, mid-head, mid-body, before a reply, mid-reply.
    pub caught: [u64; SPOTS.len()],
    /// The same for freezes longer than the shortest limit.
    pub caught_longer: [u64; SPOTS.len()],
}

/// Freezes and checks.
pub struct Driver<'a> {
    /// The instance.
    pub session: &'a mut Session,
    /// The clock of the clients.
    pub time: &'a AwakeClock,
    /// The load.
    pub load: &'a Load<'a>,
    /// The shortest time limit.
    pub limit: Duration,
    /// The counts so far.
    pub figures: Figures,
    known: Counters,
}

impl<'a> Driver<'a> {
    /// Begins with the present counts of the callbacks.
    ///
    /// # Errors
    /// If the instance does not report them.
    pub fn new(session: &'a mut Session, time: &'a AwakeClock, load: &'a Load<'a>, limit: Duration) -> Result<Self> {
        let known = session.counters()?;
        Ok(Self { session, time, load, limit, figures: Figures::default(), known })
    }

    /// Runs one freeze. `handler` is the function handler of the call after the thaw.
    ///
    /// # Errors
    /// If the instance cannot be frozen or does not answer any more.
    pub fn cycle(&mut self, cycle: Cycle, handler: &str) -> Result<()> {
        std::thread::sleep(cycle.awake);
        let must = self.prepare(cycle.moment)? || self.session.freezer() == "SIGSTOP";
        self.time.freezes();
        let asked = Instant::now();
        if let Err(cause) = self.session.freeze() {
            return self.refused(cause);
        }
        self.time.frozen();
        let began = Instant::now();
        let census = self.load.census();
        std::thread::sleep(cycle.frozen);
        if cycle.asked {
            self.session.request_counters(handler)?;
        }
        self.time.thaws();
        let took = began.elapsed();
        let thawed = self.session.thaw();
        self.time.thawed();
        thawed?;
        let at_most = asked.elapsed();
        if !cycle.asked {
            self.session.request_counters(handler)?;
        }
        let counters = self.session.read_counters()?;
        self.time.release();
        self.count(cycle.moment, took, census);
        self.judge(cycle, must, at_most, counters);
        Ok(())
    }

    /// The freeze did not come into force, as it happens with engines on a busy machine. The instance may have noticed
    /// the attempt, so its present counts are the start of the next freeze.
    fn refused(&mut self, cause: Error) -> Result<()> {
        self.time.thawed();
        self.figures.refused += 1;
        if self.figures.refused > REFUSED_MIN + self.figures.freezes / 10 {
            return Err(cause);
        }
        self.known = self.session.counters()?;
        self.time.release();
        Ok(())
    }

    /// Brings the instance to the moment of the freeze. Returns true if the server must notice the freeze.
    fn prepare(&mut self, moment: Moment) -> Result<bool> {
        if moment == Moment::Busy {
            return Ok(false);
        }
        if !self.time.hold(Deadline::after(PATIENCE)) {
            self.load.report_fault("the load did not come to rest: an answer is missing".into());
            return Ok(false);
        }
        if let Moment::Announced(times) = moment {
            let mut first = None;
            for _ in 0..times {
                let answer = self.session.hook("GET /pre-freeze", "")?;
                self.figures.pre_freeze_calls += 1;
                if answer.status != 200 || first.as_ref().is_some_and(|first| *first != answer.body) {
                    self.load.report_fault(format!(
                        "pre-freeze was answered {}: {}",
                        answer.status,
                        answer.body_text(80)
                    ));
                }
                first = Some(answer.body);
            }
        }
        let asleep = self.session.falls_asleep();
        if asleep == Some(false) {
            self.load.report_fault("the instance has nothing to do and does not sleep".into());
        }
        Ok(asleep == Some(true))
    }

    /// Calls `look` while the load is at rest.
    ///
    /// # Errors
    /// The errors of `look`.
    pub fn at_rest(&mut self, look: impl FnOnce() -> Result<()>) -> Result<()> {
        self.prepare(Moment::Quiet)?;
        let looked = look();
        self.time.release();
        looked
    }

    fn count(&mut self, moment: Moment, took: Duration, census: [u64; SPOTS.len()]) {
        let figures = &mut self.figures;
        figures.freezes += 1;
        figures.frozen_secs += took.as_secs_f64();
        match moment {
            Moment::Busy => figures.busy += 1,
            Moment::Quiet => figures.quiet += 1,
            Moment::Announced(_) => figures.announced += 1,
        }
        let add = |sums: &mut [u64; SPOTS.len()]| sums.iter_mut().zip(census).for_each(|(sum, count)| *sum += count);
        add(&mut figures.caught);
        if took > self.limit {
            figures.longer_than_limits += 1;
            add(&mut figures.caught_longer);
        }
    }

    fn judge(&mut self, cycle: Cycle, must: bool, at_most: Duration, counters: Counters) {
        let number = self.figures.freezes;
        let thaws = counters.thaws - self.known.thaws;
        let evidence: Vec<u64> =
            counters.evidence.iter().zip(self.known.evidence).map(|(now, then)| now - then).collect();
        self.figures.must += u64::from(must);
        self.figures.noticed += thaws;
        // If no freeze was that long, the machine stopped the instance. From inside, that is a thaw like any other.
        let stalls = if at_most < OVERSLEPT_MIN { evidence[3] } else { 0 };
        self.figures.stalls += stalls;
        if self.figures.stalls > STALLS_MIN + number / 100 {
            self.load.report_fault(format!("{} waits overslept without a freeze that long", self.figures.stalls));
        }
        if thaws > 1 + stalls {
            self.load
                .report_fault(format!("freeze {number}, {cycle:?}: {thaws} thaws for one freeze, by {evidence:?}"));
        }
        if thaws == 0 && must {
            self.load.report_fault(format!("freeze {number}, {cycle:?}: not noticed"));
        }
        let announced = u64::from(matches!(cycle.moment, Moment::Announced(_)));
        let pre_freezes = counters.pre_freeze - self.known.pre_freeze;
        if pre_freezes != announced || evidence[0] != announced {
            self.load.report_fault(format!(
                "freeze {number}, {cycle:?}: pre-freeze ran {pre_freezes} times, evidence {evidence:?}"
            ));
        }
        if counters.thaws != counters.lifecycle.thawed {
            self.load.report_fault(format!(
                "{} thaws were noticed, {} callbacks ran",
                counters.lifecycle.thawed, counters.thaws
            ));
        }
        self.known = counters;
    }

    /// Compares the counts of the callbacks at the end, when the load is at rest, with the calls that were made.
    ///
    /// # Errors
    /// If the instance does not report them.
    pub fn close(&mut self) -> Result<Counters> {
        let counters = self.session.counters()?;
        let (calls, sum) = self.load.answered();
        if counters.calls != calls || counters.sum != format!("{sum:016x}") {
            self.load.report_fault(format!(
                "{calls} calls were answered, {} have run; the sums of their numbers are {sum:016x} and {}",
                counters.calls, counters.sum
            ));
        }
        Ok(counters)
    }
}
