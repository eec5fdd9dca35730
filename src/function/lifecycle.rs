//! The life of an instance as a state machine: its phases, the events that each phase allows, and freezes.
//!
//! All transitions are in [`next`], all decisions about hooks in [`Lifecycle::admit`]. Pure: callers pass times and
//! evidence. Must not know HTTP, the table of routes, or what callbacks do.
//!
//! Freezes are inferred by `freeze`; this module says in which phase a request may end one.

use crate::function::caller_clock::CallerTime;
pub(crate) use crate::function::freeze::{ClockReading, Evidence, FreezeDetector, Gap, Machine, Thaw};
pub(crate) use crate::platform::hooks::Hook;
use std::fmt;

/// The phase of life that an instance is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Listening. No call has come, or the initializer failed.
    Created,
    /// The initializer is running.
    Initializing,
    /// Serving.
    Ready,
    /// The pre-freeze hook is running.
    Freezing,
    /// The pre-freeze hook was answered: from now on the platform can freeze the instance at any instant.
    Frozen,
    /// The pre-stop hook is running.
    Stopping,
    /// The pre-stop hook was answered. The next call or initializer brings the instance back to life (C-STOP-5).
    Stopped,
}

impl Phase {
    /// The name of the phase: `created`, `initializing`, ….
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Initializing => "initializing",
            Phase::Ready => "ready",
            Phase::Freezing => "freezing",
            Phase::Frozen => "frozen",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What moves an instance from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    CallBegins,
    Thaws,
    HookBegins(Hook),
    HookSucceeds(Hook),
    HookFails(Hook),
}

/// Every transition there is. One thread runs one callback at a time, so while a hook is running no event arrives but
/// the hook's own end.
pub(crate) const fn next(phase: Phase, event: Event) -> Option<Phase> {
    use Event::*;
    use Hook::*;
    use Phase::*;
    Some(match (phase, event) {
        (Created, CallBegins) => Ready, // a function without an initializer
        (Ready, CallBegins) => Ready,
        (Stopped, CallBegins) => Ready, // pre-stop was not the end (C-STOP-5)

        (Created, HookBegins(Initialize)) => Initializing,
        (Ready, HookBegins(Initialize)) => Initializing, // calls came first, or an earlier attempt failed
        (Stopped, HookBegins(Initialize)) => Initializing, // pre-stop was not the end (C-INIT-5)
        (Initializing, HookSucceeds(Initialize)) => Ready,
        (Initializing, HookFails(Initialize)) => Created, // the platform may call it again or not (C-INIT-2)

        (Created | Ready, HookBegins(PreFreeze)) => Freezing,
        (Freezing, HookSucceeds(PreFreeze) | HookFails(PreFreeze)) => Frozen, // a failure prevents nothing (C-FRZ-4)

        (Created | Ready, HookBegins(PreStop)) => Stopping,
        (Stopping, HookSucceeds(PreStop) | HookFails(PreStop)) => Stopped, // a failure prevents nothing (C-FRZ-4)

        (Created, Thaws) => Created, // frozen before the first call (C-INIT-4)
        (Ready, Thaws) => Ready,     // frozen without a pre-freeze call (C-FRZ-2)
        (Frozen, Thaws) => Ready,    // the request that ended the freeze comes after this
        (Stopped, Thaws) => Ready,   // the request that brings it back comes after this

        _ => return None,
    })
}

/// How a hook call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Run,
    /// The first answer is given again; the callback does not run.
    Replay,
    /// The answer is a failure: the hook has no place in this phase.
    Refuse,
}

/// Counters of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls: events and HTTP calls.
    pub calls: u64,
    /// Initializer runs that succeeded: one at most for each life that a pre-stop ends.
    pub initialized: u64,
    /// Runs of the initializer that failed.
    pub initialize_failed: u64,
    /// Runs of the pre-freeze hook.
    pub frozen: u64,
    /// Thaws that the server noticed.
    pub thawed: u64,
    /// Runs of the pre-stop hook.
    pub stopped: u64,
    /// Calls and initializers that came after a pre-stop and brought the instance back to life (C-STOP-5).
    pub revived: u64,
    /// Hook calls that got a stored answer, without a run of the hook.
    pub replayed: u64,
}

/// The life of an instance so far.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Phase,
    counts: Counts,
    /// The initializer succeeded, and no pre-stop came since (C-INIT-5).
    is_initialized: bool,
    freezes: FreezeDetector,
    last_thaw: Option<Thaw>,
}

impl Lifecycle {
    pub(crate) fn new(now: ClockReading) -> Lifecycle {
        Lifecycle {
            phase: Phase::Created,
            counts: Counts::default(),
            is_initialized: false,
            freezes: FreezeDetector::new(now),
            last_thaw: None,
        }
    }

    /// The current phase; inside a hook, the phase of that hook.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When the server started.
    pub fn started(&self) -> ClockReading {
        self.freezes.started()
    }

    /// When the last request before this one ended.
    pub fn last_active(&self) -> ClockReading {
        self.freezes.last_active()
    }

    /// The time between the last activity and this request: the longest estimate, and its clock.
    pub fn idle(&self) -> Gap {
        self.freezes.gap()
    }

    /// The last thaw, if there was any.
    pub fn last_thaw(&self) -> Option<&Thaw> {
        self.last_thaw.as_ref()
    }

    pub(crate) fn freezes(&mut self) -> &mut FreezeDetector {
        &mut self.freezes
    }

    /// Whether and how a hook call is served now.
    pub(crate) fn admit(&self, hook: Hook) -> Admission {
        // An initializer that succeeded is done until a pre-stop, the other hooks as long as their phase lasts.
        let is_done = match hook {
            Hook::Initialize => self.is_initialized && self.phase == Phase::Ready,
            Hook::PreFreeze => self.phase == Phase::Frozen,
            Hook::PreStop => self.phase == Phase::Stopped,
        };
        if is_done {
            Admission::Replay
        } else if next(self.phase, Event::HookBegins(hook)).is_some() {
            Admission::Run
        } else {
            Admission::Refuse
        }
    }

    /// A request has come. Call before anything else is done for it, but not for a probe, which does not mean that the
    /// instance is wanted awake.
    #[inline]
    pub(crate) fn look(&mut self, now: ClockReading, caller: Option<CallerTime>, machine: Machine) {
        self.freezes.look(now, caller, machine);
    }

    /// Whether there is evidence of a freeze.
    pub(crate) fn seems_frozen(&self) -> bool {
        self.phase == Phase::Frozen || self.freezes.suspects()
    }

    /// Ends a freeze if there is evidence of one. Not for a request that leaves the instance as it is: a repeated
    /// pre-freeze or pre-stop call. Its evidence waits for the request that does not.
    pub(crate) fn thaw(&mut self) -> Option<Thaw> {
        if self.phase == Phase::Frozen {
            self.freezes.record(&Evidence { pre_freeze: true, ..Evidence::default() });
        }
        let thaw = self.freezes.conclude()?;
        self.apply(Event::Thaws);
        self.counts.thawed += 1;
        self.last_thaw = Some(thaw);
        Some(thaw)
    }

    /// Moves along a transition of [`next`].
    #[inline(always)]
    pub(crate) fn apply(&mut self, event: Event) {
        let Some(next) = next(self.phase, event) else { unreachable!("an event that has no transition") };
        let before = std::mem::replace(&mut self.phase, next);
        if before == Phase::Stopped {
            self.counts.revived += 1;
        }
        match event {
            Event::CallBegins => self.counts.calls += 1,
            Event::HookSucceeds(Hook::Initialize) => {
                self.is_initialized = true;
                self.counts.initialized += 1;
            }
            Event::HookFails(Hook::Initialize) => self.counts.initialize_failed += 1,
            Event::HookSucceeds(Hook::PreFreeze) | Event::HookFails(Hook::PreFreeze) => self.counts.frozen += 1,
            Event::HookSucceeds(Hook::PreStop) | Event::HookFails(Hook::PreStop) => {
                self.is_initialized = false;
                self.counts.stopped += 1;
            }
            Event::HookBegins(_) | Event::Thaws => {}
        }
    }

    pub(crate) fn replayed(&mut self) {
        self.counts.replayed += 1;
    }

    /// A request has ended.
    pub(crate) fn mark_idle(&mut self, now: ClockReading) {
        self.freezes.mark_idle(now);
    }
}

#[cfg(test)]
mod tests;
