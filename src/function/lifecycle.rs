//! The life of an instance as a state machine: its phases, the events that each phase allows, and freezes.
//!
//! All transitions are in [`next`], all decisions about hooks in [`Lifecycle::admit`]. Pure: callers pass times and
//! evidence. Must not know HTTP, the table of routes, or what callbacks do.
//!
//! The tricky part is the freeze. FC 3.0 never announces one (C-FRZ-2), no call follows a thaw (C-FRZ-5), and no single
//! clock shows it (C-FRZ-6). So the server collects evidence wherever it can, and any evidence makes the next request
//! the first one after a freeze. A false alarm costs one callback of the author; a missed thaw costs a dead connection.
//! Idle time alone is no evidence: from inside, waiting for a call looks the same.

pub(crate) use crate::platform::hooks::Hook;
use crate::tuning::CLOCK_JUMP_MIN;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// One reading of both clocks, because only together they show a pause.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The monotonic clock. It runs on under SIGSTOP and the cgroup freezer, but may stand still when a VM is paused.
    pub instant: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

/// The phase of life that an instance is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The pre-stop hook was answered. The instance still serves calls if the platform sends any.
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
const fn next(phase: Phase, event: Event) -> Option<Phase> {
    use Event::*;
    use Hook::*;
    use Phase::*;
    Some(match (phase, event) {
        (Created, CallBegins) => Ready, // a function without an initializer
        (Ready, CallBegins) => Ready,
        (Stopped, CallBegins) => Stopped,

        (Created, HookBegins(Initialize)) => Initializing,
        (Ready, HookBegins(Initialize)) => Initializing, // calls came first, or an earlier attempt failed
        (Initializing, HookSucceeds(Initialize)) => Ready,
        (Initializing, HookFails(Initialize)) => Created, // the platform may call it again or not (C-INIT-2)

        (Created | Ready, HookBegins(PreFreeze)) => Freezing,
        (Freezing, HookSucceeds(PreFreeze) | HookFails(PreFreeze)) => Frozen, // a failure prevents nothing (C-FRZ-4)

        (Created | Ready, HookBegins(PreStop)) => Stopping,
        (Stopping, HookSucceeds(PreStop) | HookFails(PreStop)) => Stopped, // a failure prevents nothing (C-FRZ-4)

        (Created, Thaws) => Created, // frozen before the first call (C-INIT-4)
        (Ready, Thaws) => Ready,     // frozen without a pre-freeze call (C-FRZ-2)
        (Frozen, Thaws) => Ready,    // the request that ended the freeze comes after this
        (Stopped, Thaws) => Stopped,

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

/// Signs that the instance was frozen, collected since the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The pre-freeze hook was called: the platform announced the freeze.
    pub pre_freeze: bool,
    /// SIGCONT came: the process had been stopped.
    pub sigcont: bool,
    /// The wall clock ran this much further than the monotonic clock: the machine was paused or suspended.
    pub clocks_disagree: Option<Duration>,
    /// A wait with a time limit lasted this much too long.
    pub overslept: Option<Duration>,
    /// A wait was interrupted although no signal had come. Linux does this to `epoll_wait` when it thaws a control
    /// group; the `poll` of other kernels is restarted and shows nothing. This is the weakest sign: attaching a
    /// debugger looks the same.
    pub interrupted: bool,
}

impl Evidence {
    /// Whether there is any sign.
    pub fn any(&self) -> bool {
        *self != Evidence::default()
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = [
            (self.pre_freeze, "pre-freeze"),
            (self.sigcont, "sigcont"),
            (self.clocks_disagree.is_some(), "clocks-disagree"),
            (self.overslept.is_some(), "overslept"),
            (self.interrupted, "interrupted"),
        ];
        let mut separator = "";
        for (_, name) in signs.iter().filter(|(seen, _)| *seen) {
            write!(f, "{separator}{name}")?;
            separator = "+";
        }
        Ok(())
    }
}

/// The end of a freeze, as the thaw callback gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thaw {
    /// The signs that there was a freeze.
    pub evidence: Evidence,
    /// The time between the end of the last request and the arrival of this one. The freeze was at most this long.
    /// Connections that were opened before it may be dead, credentials and caches out of date (C-FRZ-5).
    pub gap: Duration,
}

/// Counters of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls: events and HTTP calls.
    pub calls: u64,
    /// Runs of the initializer that succeeded: 0 or 1.
    pub initialized: u64,
    /// Runs of the initializer that failed.
    pub initialize_failed: u64,
    /// Runs of the pre-freeze hook.
    pub frozen: u64,
    /// Thaws that the server noticed.
    pub thawed: u64,
    /// Hook calls that got a stored answer, without a run of the hook.
    pub replayed: u64,
}

/// The life of an instance so far.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Phase,
    counts: Counts,
    evidence: Evidence,
    started: ClockReading,
    last_active: ClockReading,
    last_thaw: Option<Thaw>,
}

impl Lifecycle {
    pub(crate) fn new(now: ClockReading) -> Lifecycle {
        Lifecycle {
            phase: Phase::Created,
            counts: Counts::default(),
            evidence: Evidence::default(),
            started: now,
            last_active: now,
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
        self.started
    }

    /// When the last request before this one ended.
    pub fn last_active(&self) -> ClockReading {
        self.last_active
    }

    /// The last thaw, if there was any.
    pub fn last_thaw(&self) -> Option<&Thaw> {
        self.last_thaw.as_ref()
    }

    /// Adds evidence that the server has found.
    pub(crate) fn record_evidence(&mut self, seen: Evidence) {
        let known = &mut self.evidence;
        known.pre_freeze |= seen.pre_freeze;
        known.sigcont |= seen.sigcont;
        known.interrupted |= seen.interrupted;
        known.clocks_disagree = known.clocks_disagree.max(seen.clocks_disagree);
        known.overslept = known.overslept.max(seen.overslept);
    }

    /// Whether and how a hook call is served now.
    pub(crate) fn admit(&self, hook: Hook) -> Admission {
        // An initializer that succeeded is done for good, the other hooks as long as their phase lasts.
        let is_done = match hook {
            Hook::Initialize => self.counts.initialized > 0 && matches!(self.phase, Phase::Ready | Phase::Stopped),
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

    /// Ends a freeze if there is evidence of one. Callers do this first for each request, but not for health checks and
    /// repeated pre-freeze calls: neither means that the platform wants the instance awake.
    pub(crate) fn thaw(&mut self, now: ClockReading) -> Option<Thaw> {
        let mut evidence = std::mem::take(&mut self.evidence);
        evidence.pre_freeze |= self.phase == Phase::Frozen;
        let monotonic = now.instant.saturating_duration_since(self.last_active.instant);
        let wall = now.wall.duration_since(self.last_active.wall).unwrap_or_default();
        evidence.clocks_disagree = wall.checked_sub(monotonic).filter(|jump| *jump >= CLOCK_JUMP_MIN);
        if !evidence.any() {
            return None;
        }
        let thaw = Thaw { evidence, gap: wall.max(monotonic) };
        self.apply(Event::Thaws);
        self.counts.thawed += 1;
        self.last_thaw = Some(thaw);
        Some(thaw)
    }

    /// Moves along a transition of [`next`].
    pub(crate) fn apply(&mut self, event: Event) {
        let Some(next) = next(self.phase, event) else { unreachable!("an event that has no transition") };
        self.phase = next;
        match event {
            Event::CallBegins => self.counts.calls += 1,
            Event::HookSucceeds(Hook::Initialize) => self.counts.initialized += 1,
            Event::HookFails(Hook::Initialize) => self.counts.initialize_failed += 1,
            Event::HookSucceeds(Hook::PreFreeze) | Event::HookFails(Hook::PreFreeze) => self.counts.frozen += 1,
            Event::HookSucceeds(Hook::PreStop) | Event::HookFails(Hook::PreStop) => {}
            Event::HookBegins(_) | Event::Thaws => {}
        }
    }

    pub(crate) fn replayed(&mut self) {
        self.counts.replayed += 1;
    }

    /// A request has ended.
    pub(crate) fn mark_idle(&mut self, now: ClockReading) {
        self.last_active = now;
    }
}

#[cfg(test)]
mod tests;
