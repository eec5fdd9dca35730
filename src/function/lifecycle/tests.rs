use super::*;
use Admission::{Refuse, Replay, Run};
use Phase::*;
use std::time::{Instant, SystemTime};

const PHASES: [Phase; 7] = [Created, Initializing, Ready, Freezing, Frozen, Stopping, Stopped];

fn start() -> (Lifecycle, ClockReading) {
    let now = ClockReading { instant: Instant::now(), wall: SystemTime::now() };
    (Lifecycle::new(now), now)
}

fn in_phase(phase: Phase, initialized: bool) -> Lifecycle {
    let (mut life, _) = start();
    life.phase = phase;
    life.is_initialized = initialized;
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
        (Stopped, false, Run, Refuse, Replay),  // C-INIT-5, C-STOP-5
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
        (CallBegins, Ready),
        (HookBegins(Hook::Initialize), Initializing),
        (HookSucceeds(Hook::Initialize), Ready),
        (HookBegins(Hook::PreStop), Stopping),
        (HookSucceeds(Hook::PreStop), Stopped),
        (HookBegins(Hook::Initialize), Initializing),
        (HookSucceeds(Hook::Initialize), Ready),
        (HookBegins(Hook::PreStop), Stopping),
        (HookSucceeds(Hook::PreStop), Stopped),
        (Thaws, Ready),
        (CallBegins, Ready),
    ];
    for (event, phase) in steps {
        life.apply(event);
        assert_eq!(life.phase(), phase, "{event:?}");
    }
    let expected = Counts {
        calls: 4,
        initialized: 3,
        initialize_failed: 1,
        frozen: 1,
        thawed: 0,
        stopped: 3,
        revived: 3,
        replayed: 0,
    };
    assert_eq!(life.counts(), expected);
}

#[test]
fn pre_freeze_is_evidence_once() {
    let (mut life, _) = start();
    life.apply(Event::HookBegins(Hook::PreFreeze));
    life.apply(Event::HookSucceeds(Hook::PreFreeze));
    let thaw = life.thaw().expect("the platform said so");
    assert_eq!((thaw.evidence.to_string(), life.phase()), ("pre-freeze".to_owned(), Ready));
    assert_eq!(life.thaw(), None);
}
