//! Which call may run now: the lifecycle of the library, for hooks that take their time.
//!
//! In the library a hook runs on the server's one thread, so nothing else happens meanwhile. Here the program runs the
//! hook, and other calls may come before it has ended. They wait: what a call finds must not depend on how far a hook
//! has come, as one thread guarantees. Only health checks pass. Calls that were begun before the hook go on.
//!
//! Pure: clock readings come in. Must not know sockets.

use crate::function::call::Call;
use crate::function::caller_clock::CallerTime;
use crate::function::freeze::{Evidence, Thaw};
use crate::function::lifecycle::{Admission, ClockReading, Event, Lifecycle, Machine, Phase};
use crate::function::per_hook::PerHook;
use crate::platform::hooks::Hook;

/// What runs behind the gate while calls wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    Hook(Hook),
    Thaw(Thaw),
}

/// What becomes of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The program gets it.
    Pass,
    /// It asks again when the task in hand has ended.
    Wait,
    /// This runs first. A hook answers its call; after a thaw the call asks again.
    Run(Task),
    /// The stored answer of the hook.
    Replay(Hook),
    /// The hook has no action.
    NotSet(Hook),
    /// The hook has no place in this phase.
    Refused(Hook),
}

/// The answer of a hook, for repeated calls (C-INIT-2, C-STOP-4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookAnswer {
    pub(crate) succeeded: bool,
    pub(crate) body: Vec<u8>,
}

/// The time at which a call has come, and what it tells of other clocks.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) now: ClockReading,
    pub(crate) caller: Option<CallerTime>,
    pub(crate) machine: Machine,
}

pub(crate) struct Gate {
    lifecycle: Lifecycle,
    has_action: PerHook<Option<()>>,
    has_on_thaw: bool,
    stored: PerHook<Option<HookAnswer>>,
    running: Option<Task>,
    /// The program does not serve yet.
    is_shut: bool,
    /// Calls that the program has.
    calls: usize,
    /// A freeze has ended since the last look: connections from before may be dead.
    has_thawed: bool,
}

impl Gate {
    pub(crate) fn new(now: ClockReading, has_action: PerHook<Option<()>>, has_on_thaw: bool) -> Gate {
        Gate {
            lifecycle: Lifecycle::new(now),
            has_action,
            has_on_thaw,
            stored: PerHook::none(),
            running: None,
            is_shut: true,
            calls: 0,
            has_thawed: false,
        }
    }

    pub(crate) fn lifecycle(&mut self) -> &mut Lifecycle {
        &mut self.lifecycle
    }

    /// The program serves.
    pub(crate) fn open(&mut self) {
        self.is_shut = false;
    }

    pub(crate) fn record_evidence(&mut self, evidence: &Evidence) {
        self.lifecycle.freezes().record(evidence);
    }

    /// Whether there is evidence of a freeze that no call has ended yet.
    pub(crate) fn suspects_freeze(&self) -> bool {
        self.lifecycle.seems_frozen()
    }

    /// Whether a freeze has ended since the last time this was asked.
    pub(crate) fn take_thawed(&mut self) -> bool {
        std::mem::take(&mut self.has_thawed)
    }

    /// Decides about a call that has come, or that has waited. Health checks and refusals need no decision.
    pub(crate) fn admit(&mut self, call: &Call, arrival: Arrival) -> Verdict {
        if self.is_shut || self.running.is_some() {
            return Verdict::Wait;
        }
        if let Call::Hook(hook) = call
            && self.has_action.get(*hook).is_none()
        {
            if *hook == Hook::PreFreeze {
                // The freeze comes all the same (C-FRZ-4), and the next request must thaw.
                self.record_evidence(&Evidence { pre_freeze: true, ..Evidence::default() });
            }
            return Verdict::NotSet(*hook);
        }
        if self.calls > 0 {
            // A call has been in progress until now, so there was no gap.
            self.lifecycle.mark_idle(arrival.now);
        }
        self.lifecycle.look(arrival.now, arrival.caller, arrival.machine);
        if let Some(thaw) = self.thaw(call) {
            self.has_thawed = true;
            self.lifecycle.mark_idle(arrival.now);
            if self.has_on_thaw {
                return self.run(Task::Thaw(thaw));
            }
        }
        match call {
            Call::Hook(hook) => self.admit_hook(*hook),
            _ => {
                self.lifecycle.apply(Event::CallBegins);
                self.calls += 1;
                Verdict::Pass
            }
        }
    }

    fn admit_hook(&mut self, hook: Hook) -> Verdict {
        match self.lifecycle.admit(hook) {
            Admission::Run => {
                self.lifecycle.apply(Event::HookBegins(hook));
                self.run(Task::Hook(hook))
            }
            Admission::Replay if self.stored.get(hook).is_some() => {
                self.lifecycle.replayed();
                Verdict::Replay(hook)
            }
            Admission::Replay | Admission::Refuse => Verdict::Refused(hook),
        }
    }

    fn run(&mut self, task: Task) -> Verdict {
        self.running = Some(task);
        Verdict::Run(task)
    }

    /// Ends a freeze if there is evidence of one, and if this call is not one that leaves the instance as it is.
    fn thaw(&mut self, call: &Call) -> Option<Thaw> {
        let leaves_it_as_it_is = match self.lifecycle.phase() {
            Phase::Frozen => matches!(call, Call::Hook(Hook::PreFreeze)),
            Phase::Stopped => !matches!(call, Call::Event | Call::Http | Call::Hook(Hook::Initialize)),
            _ => false,
        };
        if leaves_it_as_it_is || !self.lifecycle.seems_frozen() {
            return None;
        }
        self.lifecycle.thaw()
    }

    /// Pre-stop before the process ends, if the platform did not call it (C-STOP-3).
    pub(crate) fn stop(&mut self, arrival: Arrival) -> Option<Task> {
        let has_action = self.has_action.get(Hook::PreStop).is_some();
        if !has_action || self.lifecycle.phase() == Phase::Stopped || self.is_shut || self.running.is_some() {
            return None;
        }
        match self.admit(&Call::Hook(Hook::PreStop), arrival) {
            Verdict::Run(task) => Some(task),
            _ => None,
        }
    }

    /// The task in hand has ended. The answer of a hook is stored.
    pub(crate) fn task_ended(&mut self, now: ClockReading, answer: HookAnswer) {
        match self.running.take() {
            Some(Task::Hook(hook)) => {
                let event = if answer.succeeded { Event::HookSucceeds(hook) } else { Event::HookFails(hook) };
                self.lifecycle.apply(event);
                *self.stored.get_mut(hook) = Some(answer);
            }
            Some(Task::Thaw(_)) | None => {}
        }
        self.lifecycle.mark_idle(now);
    }

    pub(crate) fn stored(&self, hook: Hook) -> Option<&HookAnswer> {
        self.stored.get(hook).as_ref()
    }

    /// A call that has passed is over.
    pub(crate) fn call_ended(&mut self, now: ClockReading) {
        self.calls -= 1;
        self.lifecycle.mark_idle(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime};

    fn gate(actions: &[Hook], on_thaw: bool) -> Gate {
        let mut has_action = PerHook::none();
        actions.iter().for_each(|hook| *has_action.get_mut(*hook) = Some(()));
        let mut gate = Gate::new(arrival(0).now, has_action, on_thaw);
        gate.open();
        gate
    }

    fn arrival(seconds: u64) -> Arrival {
        static START: std::sync::OnceLock<(Instant, SystemTime)> = std::sync::OnceLock::new();
        let (instant, wall) = *START.get_or_init(|| (Instant::now(), SystemTime::now()));
        let after = Duration::from_secs(seconds);
        let now = ClockReading { instant: instant + after, wall: wall + after };
        Arrival { now, caller: None, machine: Machine::UNKNOWN }
    }

    fn freeze(gate: &mut Gate) {
        gate.record_evidence(&Evidence { sigcont: true, ..Evidence::default() });
    }

    fn answer(succeeded: bool, body: &str) -> HookAnswer {
        HookAnswer { succeeded, body: body.into() }
    }

    const INITIALIZE: Call = Call::Hook(Hook::Initialize);
    const PRE_STOP: Call = Call::Hook(Hook::PreStop);
    const PRE_FREEZE: Call = Call::Hook(Hook::PreFreeze);

    /// C-INIT-2: again after a failure, and the stored answer after a success; calls wait meanwhile.
    #[test]
    fn initialize_runs_until_it_succeeds() {
        let mut gate = gate(&[Hook::Initialize], false);
        let run = Verdict::Run(Task::Hook(Hook::Initialize));
        assert_eq!(gate.admit(&INITIALIZE, arrival(1)), run);
        assert_eq!(gate.admit(&INITIALIZE, arrival(1)), Verdict::Wait);
        assert_eq!(gate.admit(&Call::Event, arrival(1)), Verdict::Wait);
        gate.task_ended(arrival(2).now, answer(false, "no"));
        assert_eq!(gate.admit(&INITIALIZE, arrival(2)), run);
        gate.task_ended(arrival(3).now, answer(true, "yes"));
        assert_eq!(gate.admit(&INITIALIZE, arrival(3)), Verdict::Replay(Hook::Initialize));
        assert_eq!(gate.stored(Hook::Initialize), Some(&answer(true, "yes")));
        assert_eq!(gate.admit(&Call::Event, arrival(3)), Verdict::Pass);
    }

    /// C-STOP-5: a call after pre-stop begins another life.
    #[test]
    fn a_call_revives() {
        let mut gate = gate(&[Hook::PreStop], false);
        for _ in 0..2 {
            assert_eq!(gate.admit(&PRE_STOP, arrival(1)), Verdict::Run(Task::Hook(Hook::PreStop)));
            gate.task_ended(arrival(1).now, answer(true, ""));
            assert_eq!(gate.admit(&PRE_STOP, arrival(1)), Verdict::Replay(Hook::PreStop));
            assert_eq!(gate.admit(&Call::Http, arrival(1)), Verdict::Pass);
            gate.call_ended(arrival(1).now);
        }
        assert_eq!(gate.stop(arrival(2)), Some(Task::Hook(Hook::PreStop)));
        gate.task_ended(arrival(2).now, answer(true, ""));
        assert_eq!(gate.stop(arrival(2)), None, "it is stopped");
    }

    /// C-FRZ-3: a call that comes while pre-freeze runs waits, and thaws behind it.
    #[test]
    fn a_call_thaws_before_it_passes() {
        let mut gate = gate(&[Hook::PreFreeze], true);
        assert_eq!(gate.admit(&PRE_FREEZE, arrival(1)), Verdict::Run(Task::Hook(Hook::PreFreeze)));
        assert_eq!(gate.admit(&Call::Http, arrival(1)), Verdict::Wait);
        gate.task_ended(arrival(2).now, answer(true, ""));
        assert_eq!(gate.admit(&PRE_FREEZE, arrival(2)), Verdict::Replay(Hook::PreFreeze));
        let verdict = gate.admit(&Call::Http, arrival(60));
        let Verdict::Run(Task::Thaw(thaw)) = verdict else { panic!("{verdict:?}") };
        assert!(thaw.evidence.pre_freeze && thaw.gap >= Duration::from_secs(58), "{thaw:?}");
        assert!(gate.take_thawed() && !gate.take_thawed());
        assert_eq!(gate.admit(&Call::Http, arrival(60)), Verdict::Wait);
        gate.task_ended(arrival(61).now, answer(false, ""));
        assert_eq!(gate.admit(&Call::Http, arrival(61)), Verdict::Pass);
    }

    #[test]
    fn a_thaw_without_a_hook_passes_and_is_told() {
        let mut gate = gate(&[], false);
        freeze(&mut gate);
        assert_eq!(gate.admit(&Call::Event, arrival(5)), Verdict::Pass);
        assert!(gate.take_thawed() && !gate.suspects_freeze());
        assert_eq!(gate.admit(&PRE_STOP, arrival(5)), Verdict::NotSet(Hook::PreStop));
        assert_eq!(gate.stop(arrival(5)), None);
    }

    /// A call of a minute is no freeze of a minute.
    #[test]
    fn a_long_call_is_no_gap() {
        let mut gate = gate(&[], false);
        gate.lifecycle().freezes().suspect_idle_gaps(Duration::from_secs(10));
        assert_eq!(gate.admit(&Call::Http, arrival(1)), Verdict::Pass);
        assert_eq!(gate.admit(&Call::Http, arrival(60)), Verdict::Pass);
        assert!(!gate.take_thawed());
        gate.call_ended(arrival(60).now);
        gate.call_ended(arrival(60).now);
        assert_eq!(gate.admit(&Call::Http, arrival(80)), Verdict::Pass);
        assert!(gate.take_thawed());
    }

    #[test]
    fn nothing_passes_before_the_program_serves() {
        let mut gate = Gate::new(arrival(0).now, PerHook::none(), false);
        assert_eq!(gate.admit(&Call::Http, arrival(0)), Verdict::Wait);
        assert_eq!(gate.admit(&INITIALIZE, arrival(0)), Verdict::Wait);
        gate.open();
        assert_eq!(gate.admit(&Call::Http, arrival(0)), Verdict::Pass);
    }
}
