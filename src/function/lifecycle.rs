//! What an instance lives through, as a state machine: phases, what may happen in each, and freezes.
//!
//! All transitions are in [`next`], all decisions about hooks in [`Lifecycle::admit`]. Pure: times and evidence are
//! handed in. Must not know HTTP, the table of routes, or what callbacks do.
//!
//! The tricky part is the freeze. It is never announced on FC 3.0 (C-FRZ-2), never followed by a call on thaw
//! (C-FRZ-5), and no single clock shows it (C-FRZ-6). So evidence is collected from wherever it shows, and the next
//! request is taken for the first after a freeze as soon as there is any. A thaw too many costs the author one
//! callback; a thaw missed costs a dead connection. An idle gap alone is no evidence: waiting looks the same from
//! inside.

pub(crate) use crate::platform::hooks::Hook;
use crate::tuning::CLOCK_JUMP_MIN;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// One reading of both clocks, because only together they show a pause.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The monotonic clock. Runs on under SIGSTOP or a cgroup freezer; may not under a VM pause.
    pub instant: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Listening; no request so far, or the initializer failed.
    Created,
    /// The initializer is running.
    Initializing,
    /// Serving.
    Ready,
    /// The pre-freeze hook is running.
    Freezing,
    /// The pre-freeze hook was answered: from now on the instance can stand still at any instant.
    Frozen,
    /// The pre-stop hook is running.
    Stopping,
    /// The pre-stop hook was answered. Calls are still served: the platform decides.
    Stopped,
}

impl Phase {
    /// The phase in a word: `created`, `initializing`, ….
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

/// Every transition there is. One thread runs one callback at a time, so no event but the hook's own end arrives while a
/// hook is running.
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

/// What to do with a hook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Run,
    /// Answer what was answered the first time; the callback does not run again.
    Replay,
    /// Answer that it failed: the instance has stopped.
    Refuse,
}

/// Signs that the instance stood still, gathered since the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The pre-freeze hook was called: the platform said so.
    pub pre_freeze: bool,
    /// SIGCONT came: somebody had stopped the process.
    pub sigcont: bool,
    /// The wall clock ran ahead of the monotonic one by this much: the machine was paused or suspended.
    pub clocks_disagree: Option<Duration>,
    /// A wait with a time limit lasted this much longer than asked.
    pub overslept: Option<Duration>,
    /// A wait was interrupted though no signal had come, as Linux does to `epoll_wait` when it thaws a control group;
    /// other kernels' `poll` is restarted instead and shows nothing. The weakest sign: attaching a debugger looks the
    /// same.
    pub interrupted: bool,
}

impl Evidence {
    /// Whether there is any.
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

/// A freeze that has ended, as the thaw callback gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thaw {
    /// Why we believe that there was a freeze.
    pub evidence: Evidence,
    /// Between the last activity and the request that thawed: the freeze was at most this long. Connections
    /// opened before it may be dead, credentials and caches out of date (C-FRZ-5).
    pub gap: Duration,
}

/// How often an instance did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls served: events and HTTP.
    pub calls: u64,
    /// Initializer runs that succeeded: 0 or 1.
    pub initialized: u64,
    /// Initializer runs that failed.
    pub initialize_failed: u64,
    /// Runs of the pre-freeze hook.
    pub frozen: u64,
    /// Thaws noticed.
    pub thawed: u64,
    /// Hook calls answered from store, without running the hook again.
    pub replayed: u64,
}

/// An instance's life so far.
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

    /// The phase the instance is in; inside a hook the one that belongs to it.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How often what happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When serving began.
    pub fn started(&self) -> ClockReading {
        self.started
    }

    /// The end of the last request before this one.
    pub fn last_active(&self) -> ClockReading {
        self.last_active
    }

    /// The last thaw noticed, if any.
    pub fn last_thaw(&self) -> Option<&Thaw> {
        self.last_thaw.as_ref()
    }

    /// Notes evidence that the server came across.
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

    /// Ends a freeze if there is evidence of one. Call before anything else is done for a request, but not for
    /// probes, nor for a repeated pre-freeze call: neither means that the instance is wanted awake.
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
