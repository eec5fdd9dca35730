//! One instance: its phase, and the steps from one phase to the next.

use super::{Action, Event, Found, Health, InstanceId, Policy, Scheduler, Time};

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was started and does not listen yet.
    Starting,
    /// Its Initializer runs.
    Initializing,
    /// Its first health check runs.
    Checking,
    /// It serves calls, or is idle and awake.
    Serving,
    /// Its pre-freeze hook runs.
    PreFreezing,
    /// It is being frozen.
    Freezing,
    /// It is frozen.
    Frozen,
    /// It is being thawed.
    Thawing,
    /// Its pre-stop hook runs.
    Stopping,
    /// It is being ended and removed.
    Ending,
}

impl Phase {
    /// All phases, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Starting,
        Self::Initializing,
        Self::Checking,
        Self::Serving,
        Self::PreFreezing,
        Self::Freezing,
        Self::Frozen,
        Self::Thawing,
        Self::Stopping,
        Self::Ending,
    ];

    /// Its name, for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Initializing => "initializing",
            Self::Checking => "checking",
            Self::Serving => "serving",
            Self::PreFreezing => "pre-freezing",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Thawing => "thawing",
            Self::Stopping => "stopping",
            Self::Ending => "ending",
        }
    }
}

/// One instance, as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// What it does.
    pub phase: Phase,
    /// The calls that run on it.
    pub running: usize,
    /// The sessions that are bound to it.
    pub sessions: usize,
    /// Since when it is idle, if no call runs.
    pub idle_since: Time,
    /// Whether it takes no more calls, because it is to be stopped.
    pub draining: bool,
    /// Whether its health checks let it have calls.
    pub healthy: bool,
    /// Whether a pause of its session keeps it frozen.
    pub paused: bool,
    pub(super) checking: bool,
    pub(super) next_check: Time,
    pub(super) freeze_now: bool,
    pub(super) keep_awake: bool,
    checks_failed: u32,
    checks_passed: u32,
    next_found: Found,
}

impl Instance {
    pub(super) fn new(id: InstanceId, now: Time) -> Self {
        Self {
            id,
            phase: Phase::Starting,
            running: 0,
            sessions: 0,
            idle_since: now,
            draining: false,
            healthy: true,
            paused: false,
            checking: false,
            next_check: now,
            freeze_now: false,
            keep_awake: false,
            checks_failed: 0,
            checks_passed: 0,
            next_found: Found::Cold,
        }
    }

    /// Whether it may get another call now.
    pub(super) fn has_slot(&self, policy: &Policy) -> bool {
        self.phase == Phase::Serving
            && !self.draining
            && !self.paused
            && self.healthy
            && self.running < policy.concurrency
    }

    /// Whether it will be able to take calls without being asked to.
    pub(super) fn is_coming(&self) -> bool {
        let soon = matches!(
            self.phase,
            Phase::Starting
                | Phase::Initializing
                | Phase::Checking
                | Phase::PreFreezing
                | Phase::Freezing
                | Phase::Thawing
        );
        soon && !self.draining && !self.paused
    }

    /// Whether a thaw would make it able to take calls.
    pub(super) fn can_thaw(&self) -> bool {
        self.phase == Phase::Frozen && !self.draining && !self.paused && self.healthy
    }

    pub(super) fn take_call(&mut self) -> Found {
        self.running += 1;
        self.keep_awake = false;
        self.freeze_now = false;
        std::mem::replace(&mut self.next_found, Found::Warm)
    }

    pub(super) fn serve(&mut self, now: Time) {
        self.phase = Phase::Serving;
        self.idle_since = now;
    }

    pub(super) fn thaw(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Thawing;
        actions.push(Action::Thaw(self.id));
    }

    pub(super) fn check_is_due(&self, now: Time) -> bool {
        self.phase == Phase::Serving && !self.draining && !self.checking && now >= self.next_check
    }

    /// Whether nothing keeps it from being frozen now.
    pub(super) fn should_freeze(&self, policy: &Policy, now: Time) -> bool {
        let idle = self.phase == Phase::Serving && self.running == 0 && !self.draining && !self.checking;
        let due = policy.freeze && now >= self.idle_since + policy.freeze_after;
        idle && (due || self.freeze_now || self.paused) && !self.keep_awake
    }

    pub(super) fn begin_freeze(&mut self, policy: &Policy, actions: &mut Vec<Action>) {
        self.freeze_now = false;
        if policy.pre_freeze {
            self.phase = Phase::PreFreezing;
            actions.push(Action::PreFreeze(self.id));
        } else {
            self.phase = Phase::Freezing;
            actions.push(Action::Freeze(self.id));
        }
    }

    pub(super) fn count_check(&mut self, good: bool, health: &Health) {
        let (up, down) = match good {
            true => (&mut self.checks_passed, &mut self.checks_failed),
            false => (&mut self.checks_failed, &mut self.checks_passed),
        };
        *up += 1;
        *down = 0;
        if self.checks_failed >= health.failures {
            self.healthy = false;
        } else if self.checks_passed >= health.successes {
            self.healthy = true;
        }
    }
}

impl Scheduler {
    /// The next step after one that ended well. An event that does not fit to the phase comes too late, and changes
    /// nothing.
    pub(super) fn advance(&mut self, id: InstanceId, event: &Event, now: Time, actions: &mut Vec<Action>) {
        let (initialize, check) = (self.policy.initialize, self.policy.health.is_some());
        let awaited = self.queue.iter().any(|waiting| self.could_serve(id, waiting));
        let Some(instance) = self.instance(id) else { return };
        match (instance.phase, event) {
            (Phase::Starting, Event::Started(_)) if initialize => {
                instance.phase = Phase::Initializing;
                actions.push(Action::Initialize(id));
            }
            (Phase::Starting, Event::Started(_)) | (Phase::Initializing, Event::Initialized(_)) if check => {
                instance.phase = Phase::Checking;
                actions.push(Action::Check(id));
            }
            (Phase::Starting, Event::Started(_)) | (Phase::Initializing, Event::Initialized(_)) => instance.serve(now),
            // A call that came meanwhile is served without the freeze.
            (Phase::PreFreezing, Event::PreFrozen(_)) if awaited || instance.draining => {
                instance.phase = Phase::Serving
            }
            (Phase::PreFreezing, Event::PreFrozen(_)) => {
                instance.phase = Phase::Freezing;
                actions.push(Action::Freeze(id));
            }
            (Phase::Freezing, Event::Frozen(_)) => {
                instance.phase = Phase::Frozen;
                instance.next_found = if instance.next_found == Found::Cold { Found::Cold } else { Found::Thawed };
                // Somebody may have asked for a thaw meanwhile.
                if instance.draining || instance.keep_awake {
                    instance.thaw(actions);
                }
            }
            (Phase::Freezing, Event::FreezeFailed(_)) => {
                instance.keep_awake = true;
                instance.phase = Phase::Serving;
            }
            (Phase::Thawing, Event::Thawed(_)) => {
                instance.phase = Phase::Serving;
                // What was due during the freeze is not overdue: the instance stood still.
                instance.next_check = instance.next_check.max(now);
            }
            (Phase::Stopping, Event::PreStopped(_)) => self.end(id, true, actions),
            _ => {}
        }
        self.stop_if_drained(id, actions);
    }

    /// Stops an instance in the orderly way, as soon as it is idle and awake.
    pub(super) fn stop(&mut self, id: InstanceId, actions: &mut Vec<Action>) {
        let Some(instance) = self.instance(id) else { return };
        instance.draining = true;
        instance.paused = false;
        if instance.phase == Phase::Frozen {
            instance.thaw(actions);
        }
        self.stop_if_drained(id, actions);
    }

    pub(super) fn stop_if_drained(&mut self, id: InstanceId, actions: &mut Vec<Action>) {
        let pre_stop = self.policy.pre_stop;
        let Some(instance) = self.instance(id) else { return };
        if !instance.draining || instance.phase != Phase::Serving || instance.running > 0 {
            return;
        }
        if pre_stop {
            instance.phase = Phase::Stopping;
            actions.push(Action::PreStop(id));
            self.unbind_sessions(id, actions);
        } else {
            self.end(id, true, actions);
        }
    }

    /// Ends an instance, whatever it does.
    pub(super) fn end(&mut self, id: InstanceId, orderly: bool, actions: &mut Vec<Action>) {
        let Some(instance) = self.instance(id) else { return };
        if instance.phase != Phase::Ending {
            instance.phase = Phase::Ending;
            instance.draining = true;
            actions.push(Action::End { instance: id, orderly });
            self.unbind_sessions(id, actions);
        }
    }

    /// The instances that were idle for so long that they are reclaimed. Those of living sessions stay, and so does the
    /// minimum.
    pub(super) fn idle_too_long(&self, now: Time) -> Vec<InstanceId> {
        let kept = self.instances.iter().filter(|instance| !instance.draining).count();
        let surplus = kept.saturating_sub(self.policy.instances_min);
        let idle = self.instances.iter().filter(|instance| {
            let still = matches!(instance.phase, Phase::Serving | Phase::Frozen) && instance.running == 0;
            let over = now >= instance.idle_since + self.policy.idle_time;
            still && over && !instance.draining && instance.sessions == 0 && !instance.checking
        });
        idle.map(|instance| instance.id).take(surplus).collect()
    }
}
