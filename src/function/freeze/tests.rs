use super::*;
use std::cell::Cell;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A machine with its clocks, as far as the detector can see them.
struct World {
    detector: FreezeDetector,
    now: ClockReading,
    /// The caller's clock, in milliseconds since 1970.
    caller_ms: u64,
}

thread_local! {
    static RAW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static PLACE: Cell<u64> = const { Cell::new(0) };
}

const MACHINE: Machine = Machine { raw: || RAW.get(), place: || Some(Place(PLACE.get())) };

impl World {
    fn new() -> World {
        let now = ClockReading { instant: Instant::now(), wall: UNIX_EPOCH + HOUR * 500_000 };
        let caller_ms = HOUR.as_millis() as u64 * 500_000;
        let mut world = World { detector: FreezeDetector::new(now), now, caller_ms };
        assert_eq!(world.request(), None);
        world.detector.settle_in(MACHINE);
        world
    }

    /// Time that every clock counts.
    fn passes(&mut self, time: Duration) -> &mut World {
        self.clocks(time, time, time)
    }

    /// The virtual machine is paused: only the caller's clock runs.
    fn pauses(&mut self, time: Duration) -> &mut World {
        self.caller_ms += time.as_millis() as u64;
        self
    }

    fn clocks(&mut self, monotonic: Duration, wall: Duration, caller: Duration) -> &mut World {
        self.now = ClockReading { instant: self.now.instant + monotonic, wall: self.now.wall + wall };
        RAW.set(RAW.get() + monotonic);
        self.pauses(caller)
    }

    /// A request that carries the caller's time in whole seconds.
    fn request(&mut self) -> Option<Thaw> {
        let caller = CallerTime(self.caller_ms / 1000 * 1000);
        self.request_with(Some(caller))
    }

    fn request_with(&mut self, caller: Option<CallerTime>) -> Option<Thaw> {
        self.detector.look(self.now, caller, MACHINE);
        let thaw = self.detector.conclude();
        self.detector.mark_idle(self.now);
        thaw
    }
}

/// C-FRZ-6: each sign alone is enough, and says how sure it is.
#[test]
fn each_sign_alone_is_enough() {
    use Confidence::*;
    let none = Evidence::default();
    let cases = [
        (Evidence { pre_freeze: true, ..none }, Likely, "pre-freeze"),
        (Evidence { sigcont: true, ..none }, Certain, "sigcont"),
        (Evidence { overslept: Some(SECOND), ..none }, Certain, "overslept"),
        (Evidence { interrupted: true, ..none }, Likely, "interrupted"),
    ];
    for (evidence, confidence, name) in cases {
        let mut world = World::new();
        world.passes(SECOND).detector.record(&evidence);
        let thaw = world.request().expect(name);
        assert_eq!((thaw.evidence, thaw.confidence, &*thaw.evidence.to_string()), (evidence, confidence, name));
        assert_eq!((thaw.gap, thaw.gap_clock), (SECOND, Clock::Monotonic));
        assert_eq!(world.request(), None, "evidence is used once");
    }
}

#[test]
fn signs_add_up_and_the_surest_counts() {
    let mut world = World::new();
    world.detector.record(&Evidence { overslept: Some(SECOND * 2), ..Evidence::default() });
    world.detector.record(&Evidence { overslept: Some(SECOND), interrupted: true, ..Evidence::default() });
    let thaw = world.request().expect("evidence");
    assert_eq!((thaw.evidence.overslept, thaw.confidence), (Some(SECOND * 2), Confidence::Certain));
    assert_eq!(thaw.evidence.to_string(), "overslept+interrupted");
    assert_eq!(thaw.gap, SECOND * 2, "the gap is never shorter than the evidence");
}

/// C-FRZ-6, C-FRZ-9, C-FRZ-10: a paused virtual machine, whose clocks all stand still.
#[test]
fn a_paused_machine_shows_by_the_callers_clock() {
    let mut world = World::new();
    let thaw = world.passes(SECOND).pauses(SECOND * 60).request().expect("a pause");
    assert_eq!(thaw.evidence, Evidence { caller_clock: Some(SECOND * 60), ..Evidence::default() });
    assert_eq!((thaw.confidence, thaw.gap, thaw.gap_clock), (Confidence::Certain, SECOND * 61, Clock::Caller));
    assert_eq!(world.detector.gap(), Gap { length: SECOND * 61, clock: Clock::Caller });
    assert_eq!(world.passes(SECOND).request(), None, "once");
    assert!(world.passes(SECOND).pauses(SECOND * 5).request().is_some(), "a second pause");
}

/// C-FRZ-10: somebody sets the clock right after the pause was noticed, in one step or in two.
#[test]
fn a_known_correction_is_no_second_freeze() {
    for steps in [1, 2] {
        let mut world = World::new();
        assert!(world.passes(SECOND).pauses(SECOND * 60).request().is_some());
        for step in 0..steps {
            let thaw = world.clocks(SECOND, SECOND + SECOND * 60 / steps, SECOND).request();
            assert_eq!(thaw, None, "step {step} of {steps}");
        }
        let thaw = world.clocks(SECOND, SECOND * 61, SECOND).request().expect("there is nothing left to correct");
        assert_eq!(thaw.evidence.to_string(), "clocks-disagree");
    }
}

/// The clock is set right before the first request: both signs say the same, and once.
#[test]
fn a_pause_and_its_correction_before_the_first_request() {
    let mut world = World::new();
    let thaw = world.clocks(SECOND, SECOND * 61, SECOND * 61).request().expect("a pause");
    assert_eq!(thaw.evidence.to_string(), "clocks-disagree+caller-clock");
    assert_eq!((thaw.gap, thaw.gap_clock), (SECOND * 61, Clock::Caller));
    assert_eq!(world.passes(SECOND).request(), None);
    assert_eq!(world.detector.behind, Duration::ZERO);
}

/// C-FRZ-13: what sets or slews a clock is no freeze, whatever it does to the two clocks of this machine.
#[test]
fn clocks_that_are_set_back_or_slewed_show_nothing() {
    let mut world = World::new();
    // Set back by ten minutes.
    world.now.wall -= SECOND * 600;
    assert_eq!(world.passes(SECOND).request(), None);
    // Slewed by a tenth for an hour: both clocks of the machine lose time, the raw one does not.
    RAW.set(RAW.get() + HOUR / 10);
    assert_eq!(world.clocks(HOUR * 9 / 10, HOUR * 9 / 10, HOUR).request(), None);
    // A drift of less than a second between the two.
    assert_eq!(world.clocks(SECOND, SECOND * 2 - Duration::from_millis(1), SECOND).request(), None);
}

/// A request id without a time says nothing, whatever it says nothing about.
#[test]
fn requests_without_a_time_say_nothing() {
    let mut world = World::new();
    assert_eq!(world.passes(SECOND).pauses(SECOND * 60).request_with(None), None);
    assert!(world.passes(SECOND).request().is_some(), "the next one with a time does");
}

/// C-FRZ-1: where idle instances are frozen, a gap is evidence, and the weakest.
#[test]
fn idle_gaps_are_evidence_only_where_they_are_suspect() {
    let mut world = World::new();
    assert_eq!(world.passes(HOUR).request(), None);
    world.detector.suspect_idle_gaps(SECOND * 10);
    assert_eq!(world.passes(SECOND * 10 - Duration::from_millis(1)).request(), None);
    let thaw = world.passes(SECOND * 10).request().expect("an idle gap");
    assert_eq!((thaw.evidence.idle, thaw.confidence), (Some(SECOND * 10), Confidence::Possible));
    world.detector.suspect_idle_gaps(Duration::ZERO);
    assert_eq!(world.passes(HOUR).request(), None, "0 turns it off");
}

/// C-RST-7: another host name or address, looked at only where there is another sign.
#[test]
fn another_place_is_a_restore() {
    let mut world = World::new();
    PLACE.set(1);
    assert_eq!(world.passes(SECOND).request(), None, "no other sign");
    let thaw = world.passes(SECOND).pauses(SECOND * 60).request().expect("a restore");
    assert_eq!((thaw.evidence.restored, thaw.confidence), (true, Confidence::Certain));
    let thaw = world.passes(SECOND).pauses(SECOND * 60).request().expect("a pause in the same place");
    assert!(!thaw.evidence.restored);
    PLACE.set(0);
}
