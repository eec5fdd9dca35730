use super::*;
use Admission::{Refuse, Replay, Run};
use Phase::*;

const PHASES: [Phase; 7] = [Created, Initializing, Ready, Freezing, Frozen, Stopping, Stopped];

fn start() -> (Lifecycle, ClockReading) {
    let now = ClockReading { instant: Instant::now(), wall: SystemTime::now() };
    (Lifecycle::new(now), now)
}

fn later(moment: ClockReading, monotonic: Duration, wall: Duration) -> ClockReading {
    ClockReading { instant: moment.instant + monotonic, wall: moment.wall + wall }
}

fn in_phase(phase: Phase, initialized: bool) -> Lifecycle {
    let (mut life, _) = start();
    life.phase = phase;
    life.counts.initialized = u64::from(initialized);
    life
}

/// Initialize until it succeeds once (C-INIT-2), pre-freeze once per freeze, pre-stop once (C-STOP-4).
#[test]
fn admission() {
    let cases = [
        // phase, initialized, initialize, pre-freeze, pre-stop
        (Created, false, Run, Run, Run),
        (Ready, false, Run, Run, Run),
        (Ready, true, Replay, Run, Run),
        (Frozen, true, Refuse, Replay, Refuse), // never asked: what is not pre-freeze thaws first
        (Stopped, false, Refuse, Refuse, Replay),
        (Stopped, true, Replay, Refuse, Replay),
        (Initializing, false, Refuse, Refuse, Refuse),
        (Freezing, false, Refuse, Refuse, Refuse),
        (Stopping, false, Refuse, Refuse, Refuse),
    ];
    for (phase, initialized, initialize, pre_freeze, pre_stop) in cases {
        let life = in_phase(phase, initialized);
        let seen = [Hook::Initialize, Hook::PreFreeze, Hook::PreStop].map(|hook| life.admit(hook));
        assert_eq!(seen, [initialize, pre_freeze, pre_stop], "{phase}, initialized: {initialized}");
    }
}

/// An admitted hook can begin, and it can end both ways in the phase that it leads to. So `apply` never meets an event
/// without a transition.
#[test]
fn admitted_hooks_have_transitions() {
    for phase in PHASES {
        for &hook in Hook::ALL {
            if in_phase(phase, false).admit(hook) == Run {
                let running = next(phase, Event::HookBegins(hook)).expect("an admitted hook can begin");
                assert!(next(running, Event::HookSucceeds(hook)).is_some(), "{phase} {hook:?}");
                assert!(next(running, Event::HookFails(hook)).is_some(), "{phase} {hook:?}");
            }
        }
        let at_rest = !matches!(phase, Initializing | Freezing | Stopping);
        assert_eq!(next(phase, Event::CallBegins).is_some(), at_rest && phase != Frozen, "a call in {phase}");
        assert_eq!(next(phase, Event::Thaws).is_some(), at_rest, "a thaw in {phase}");
    }
}

#[test]
fn a_whole_life() {
    use Event::*;
    let (mut life, _) = start();
    let steps = [
        (HookBegins(Hook::Initialize), Initializing),
        (HookFails(Hook::Initialize), Created),
        (HookBegins(Hook::Initialize), Initializing),
        (HookSucceeds(Hook::Initialize), Ready),
        (CallBegins, Ready),
        (HookBegins(Hook::PreFreeze), Freezing),
        (HookSucceeds(Hook::PreFreeze), Frozen),
        (Thaws, Ready),
        (CallBegins, Ready),
        (HookBegins(Hook::PreStop), Stopping),
        (HookFails(Hook::PreStop), Stopped),
        (CallBegins, Stopped),
    ];
    for (event, phase) in steps {
        life.apply(event);
        assert_eq!(life.phase(), phase, "{event:?}");
    }
    let expected = Counts { calls: 3, initialized: 1, initialize_failed: 1, frozen: 1, thawed: 0, replayed: 0 };
    assert_eq!(life.counts(), expected);
}

/// C-FRZ-6: each sign alone is enough; an idle gap is none, however long.
#[test]
fn evidence() {
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    let sigcont = Evidence { sigcont: true, ..Evidence::default() };
    let interrupted = Evidence { interrupted: true, ..Evidence::default() };
    let overslept = Evidence { overslept: Some(second), ..Evidence::default() };
    let jumped = Evidence { clocks_disagree: Some(hour), ..Evidence::default() };
    // noted, monotonic time passed, wall time passed, expected
    let cases = [
        (Evidence::default(), hour, hour, None),
        (Evidence::default(), second, second * 2 - Duration::from_millis(1), None),
        (Evidence::default(), hour, Duration::ZERO, None),
        (sigcont, second, second, Some((sigcont, second))),
        (interrupted, second, second, Some((interrupted, second))),
        (overslept, second, second, Some((overslept, second))),
        (Evidence::default(), second, hour + second, Some((jumped, hour + second))),
    ];
    for (noted, monotonic, wall, expected) in cases {
        let (mut life, now) = start();
        life.record_evidence(noted);
        let thaw = life.thaw(later(now, monotonic, wall));
        assert_eq!(thaw.map(|thaw| (thaw.evidence, thaw.gap)), expected);
        life.mark_idle(later(now, monotonic, wall));
        assert_eq!(life.thaw(later(now, monotonic, wall)), None, "evidence is used once");
        assert_eq!(life.counts().thawed, u64::from(expected.is_some()));
    }
}

#[test]
fn a_wall_clock_set_back_is_no_freeze_and_no_panic() {
    let (mut life, now) = start();
    let back =
        ClockReading { instant: now.instant + Duration::from_secs(5), wall: now.wall - Duration::from_secs(500) };
    assert_eq!(life.thaw(back), None);
}

#[test]
fn pre_freeze_is_evidence_once() {
    let (mut life, now) = start();
    life.apply(Event::HookBegins(Hook::PreFreeze));
    life.apply(Event::HookSucceeds(Hook::PreFreeze));
    let thaw = life.thaw(now).expect("the platform said so");
    assert_eq!((thaw.evidence.to_string(), life.phase()), ("pre-freeze".to_owned(), Ready));
    assert_eq!(life.thaw(now), None);
}

#[test]
fn evidence_adds_up() {
    let (mut life, now) = start();
    life.record_evidence(Evidence { overslept: Some(Duration::from_secs(2)), ..Evidence::default() });
    life.record_evidence(Evidence { overslept: Some(Duration::from_secs(1)), sigcont: true, ..Evidence::default() });
    let thaw = life.thaw(now).unwrap();
    assert_eq!(thaw.evidence.overslept, Some(Duration::from_secs(2)));
    assert_eq!(thaw.evidence.to_string(), "sigcont+overslept");
}
