//! The scheduler of one function, as a state machine: which instance serves a call, and when an instance is started,
//! frozen, thawed, checked and stopped.
//!
//! It does no I/O and reads no clock. The shell tells it what happened ([`Event`]) and when, and carries out what it
//! answers ([`Action`]). An instance goes this way:
//!
//! ```text
//! Starting ─▶ Initializing ─▶ Checking ─▶ Serving ─▶ PreFreezing ─▶ Freezing ─▶ Frozen
//!                                            ▲                                    │
//!                                            └───────────── Thawing ◀─────────────┘
//! Serving, Thawing ─▶ Stopping ─▶ Ending ─▶ (removed)
//! ```
//!
//! Steps that the function does not have are left out. Every phase also leads to `Ending`, when the instance is killed,
//! fails or exits by itself.

mod instance;
mod pump;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use instance::{Instance, Phase};
pub use session::{Session, SessionTimes};

/// A moment, as the time since the shell began.
pub type Time = Duration;

/// The number of a call.
pub type CallId = u64;

/// The number of an instance, which is never used again.
pub type InstanceId = u32;

/// How a function is scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Calls that an instance handles at the same time.
    pub concurrency: usize,
    /// Instances that run at the same time.
    pub instances_max: usize,
    /// Instances that are kept, even without calls.
    pub instances_min: usize,
    /// Calls that wait for an instance.
    pub queue_max: usize,
    /// How long a call waits for an instance.
    pub queue_time: Duration,
    /// Whether the Initializer is called.
    pub initialize: bool,
    /// Whether pre-freeze is called.
    pub pre_freeze: bool,
    /// Whether pre-stop is called.
    pub pre_stop: bool,
    /// Whether instances are frozen.
    pub freeze: bool,
    /// How long an instance is idle before it is frozen.
    pub freeze_after: Duration,
    /// How long an instance is idle before it is reclaimed.
    pub idle_time: Duration,
    /// The health check, if there is one.
    pub health: Option<Health>,
    /// Session affinity, if there is one.
    pub sessions: Option<Sessions>,
}

/// The health check (C-HLT-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// From the start of traffic to the first check after it.
    pub initial_delay: Duration,
    /// Between two checks.
    pub period: Duration,
    /// Failures in a row that make an instance unhealthy.
    pub failures: u32,
    /// Successes in a row that make it healthy again.
    pub successes: u32,
}

/// Session affinity (C-SES-3, C-SES-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Sessions that one instance holds.
    pub per_instance: usize,
    /// How long a session lives.
    pub life: Duration,
    /// How long a session lives without a call.
    pub idle: Duration,
    /// Whether an instance belongs to one session and ends with it.
    pub exclusive: bool,
}

/// A call that asks for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// The session that it belongs to.
    pub session: Option<String>,
    /// Whether it waits as long as it takes, however many calls wait already, as an asynchronous call does.
    pub patient: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call asks for an instance.
    Arrived(Call),
    /// A waiting caller gave up.
    Left(CallId),
    /// A call that had been dispatched to this instance is over. Its session, if it had one, is used until now.
    Ended(InstanceId, Option<String>),
    /// Everything that had come when a call was over is carried out.
    Settled,
    /// The instance accepts connections.
    Started(InstanceId),
    /// The Initializer succeeded.
    Initialized(InstanceId),
    /// The start or the Initializer failed.
    Failed(InstanceId, Failure),
    /// A health check ended; whether it succeeded.
    Checked(InstanceId, bool),
    /// Pre-freeze answered, or its time was over.
    PreFrozen(InstanceId),
    /// The freeze is in force.
    Frozen(InstanceId),
    /// The instance cannot be frozen.
    FreezeFailed(InstanceId),
    /// The instance runs again.
    Thawed(InstanceId),
    /// Pre-stop answered, or its time was over.
    PreStopped(InstanceId),
    /// The instance ended by itself, or cannot be thawed.
    Lost(InstanceId),
    /// Everything of an instance is removed.
    Removed(InstanceId),
    /// Somebody asks by hand.
    Asked(InstanceId, Wish),
    /// A session was deleted.
    SessionDeleted(String),
    /// A session is to be paused.
    SessionPaused(String),
    /// A session is to go on after a pause.
    SessionResumed(String),
    /// Time passed.
    Tick,
}

/// What somebody asks of an instance by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Freeze it as soon as it is idle, even if it would not be frozen by itself.
    Freeze,
    /// Thaw it, and leave it thawed until its next call.
    Thaw,
    /// Stop it in the orderly way, after its calls.
    Reclaim,
    /// End it at once.
    Kill,
}

/// Why an instance failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether it was the Initializer.
    pub by_initializer: bool,
    /// The cause in words.
    pub text: String,
}

/// Why a call gets no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many calls as can wait wait already.
    QueueFull,
    /// The call waited as long as it may.
    WaitedTooLong,
    /// The instance that was started for it failed.
    Failed(Failure),
    /// Its session is paused.
    SessionPaused,
}

/// What the shell must do. It answers each action but the last three with an event; a failed thaw is a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start an instance, and wait until it accepts connections.
    Start(InstanceId),
    /// Call the Initializer.
    Initialize(InstanceId),
    /// Check its health.
    Check(InstanceId),
    /// Call pre-freeze.
    PreFreeze(InstanceId),
    /// Freeze it.
    Freeze(InstanceId),
    /// Say when everything that has come so far is carried out: the answer of the call that is over is on its way, and
    /// the calls that came meanwhile have found the instance awake. An instance that were frozen before that would be
    /// frozen between any two calls of a busy function.
    Settle,
    /// Thaw it.
    Thaw(InstanceId),
    /// Call pre-stop.
    PreStop(InstanceId),
    /// End it: by SIGTERM and some time if `orderly`, else at once. Then remove it.
    End {
        /// The instance.
        instance: InstanceId,
        /// Whether it gets a SIGTERM and time first.
        orderly: bool,
    },
    /// Send a call to an instance.
    Dispatch {
        /// The call.
        call: CallId,
        /// The instance.
        instance: InstanceId,
        /// How the call found its instance.
        found: Found,
    },
    /// Answer a call with an error.
    Refuse(CallId, Refusal),
    /// An instance was lost to its sessions, or a session ended by itself.
    SessionEnded(String),
}

/// How a call found its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is the first call of the instance.
    Cold,
    /// The instance was frozen before.
    Thawed,
    /// The instance was awake.
    Warm,
}

impl Found {
    /// Its name, for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Thawed => "thawed",
            Self::Warm => "warm",
        }
    }
}

/// A call in the queue.
#[derive(Clone, Debug)]
struct Waiting {
    call: Call,
    since: Time,
}

/// The scheduler of one function.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    instances: Vec<Instance>,
    sessions: BTreeMap<String, Session>,
    queue: VecDeque<Waiting>,
    next_id: InstanceId,
    /// After a failed start, none is made only to keep the minimum until this time.
    spare_start_at: Time,
}

/// How long after a failed start the minimum of instances is not restored.
const SPARE_START_PAUSE: Duration = Duration::from_secs(10);

impl Scheduler {
    /// A scheduler without instances.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            instances: Vec::new(),
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            next_id: 1,
            spare_start_at: Time::ZERO,
        }
    }

    /// The instances that are not removed yet, oldest first.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The sessions that live.
    pub fn sessions(&self) -> &BTreeMap<String, Session> {
        &self.sessions
    }

    /// The number of calls that wait for an instance.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes in what happened, and adds what must be done now.
    pub fn apply(&mut self, event: Event, now: Time, actions: &mut Vec<Action>) {
        let mid_turn = matches!(event, Event::Ended(..));
        match event {
            Event::Arrived(call) => self.arrive(call, now, actions),
            Event::Left(call) => self.queue.retain(|waiting| waiting.call.id != call),
            Event::Settled => {}
            Event::Tick => self.tick(now, actions),
            Event::SessionDeleted(name) => self.end_session(&name, now, actions),
            Event::SessionPaused(name) => self.pause_session(&name, now, actions),
            Event::SessionResumed(name) => self.resume_session(&name, now, actions),
            Event::Asked(id, wish) => self.ask(id, wish, now, actions),
            Event::Removed(id) => self.instances.retain(|instance| instance.id != id),
            Event::Lost(id) => self.end(id, false, actions),
            Event::Failed(id, failure) => self.fail(id, failure, now, actions),
            Event::Ended(id, session) => self.call_ended(id, session.as_deref(), now),
            Event::Checked(id, good) => self.checked(id, good, now, actions),
            Event::Started(id)
            | Event::Initialized(id)
            | Event::PreFrozen(id)
            | Event::Frozen(id)
            | Event::FreezeFailed(id)
            | Event::Thawed(id)
            | Event::PreStopped(id) => self.advance(id, &event, now, actions),
        }
        self.pump(now, mid_turn, actions);
    }

    fn arrive(&mut self, call: Call, now: Time, actions: &mut Vec<Action>) {
        if let Some(name) = &call.session
            && !self.open_session(name, now)
        {
            actions.push(Action::Refuse(call.id, Refusal::SessionPaused));
            return;
        }
        // A call that finds an instance does not wait, so the length of the queue is judged after it.
        self.queue.push_back(Waiting { call, since: now });
        self.dispatch(now, actions);
        let last = self.queue.back().map(|waiting| (waiting.call.id, waiting.call.patient));
        if let (Some((id, false)), true) = (last, self.queue.len() > self.policy.queue_max) {
            self.queue.pop_back();
            actions.push(Action::Refuse(id, Refusal::QueueFull));
        }
    }

    fn call_ended(&mut self, id: InstanceId, session: Option<&str>, now: Time) {
        if let Some(session) = session.and_then(|name| self.sessions.get_mut(name)) {
            session.used = now;
        }
        let Some(instance) = self.instance(id) else { return };
        instance.running = instance.running.saturating_sub(1);
        instance.idle_since = now;
    }

    /// A failure answers as many waiting calls as the instance would have taken, so that a function that cannot start
    /// is not started for ever.
    fn fail(&mut self, id: InstanceId, failure: Failure, now: Time, actions: &mut Vec<Action>) {
        let Some(instance) = self.instance(id) else { return };
        // Somebody who killed it knows why it failed. Its calls wait for another one.
        let ending = instance.phase == Phase::Ending;
        self.end(id, false, actions);
        if ending {
            return;
        }
        self.spare_start_at = now + SPARE_START_PAUSE;
        for _ in 0..self.policy.concurrency {
            let Some(waiting) = self.queue.pop_front() else { return };
            actions.push(Action::Refuse(waiting.call.id, Refusal::Failed(failure.clone())));
        }
    }

    fn checked(&mut self, id: InstanceId, good: bool, now: Time, actions: &mut Vec<Action>) {
        let Some(health) = self.policy.health.clone() else { return };
        let Some(instance) = self.instance(id) else { return };
        if instance.phase == Phase::Checking {
            if good {
                instance.serve(now);
                instance.next_check = now + health.initial_delay.max(health.period);
            } else {
                let text = "the first health check after the start failed".to_owned();
                self.fail(id, Failure { by_initializer: false, text }, now, actions);
            }
            return;
        }
        instance.checking = false;
        instance.next_check = now + health.period;
        instance.count_check(good, &health);
    }

    fn ask(&mut self, id: InstanceId, wish: Wish, now: Time, actions: &mut Vec<Action>) {
        match wish {
            Wish::Kill => self.end(id, false, actions),
            Wish::Reclaim => self.stop(id, actions),
            Wish::Thaw => {
                let Some(instance) = self.instance(id) else { return };
                instance.keep_awake = true;
                if instance.phase == Phase::Frozen {
                    instance.thaw(actions);
                }
            }
            Wish::Freeze => {
                let Some(instance) = self.instance(id) else { return };
                instance.keep_awake = false;
                instance.freeze_now = true;
                instance.idle_since = now;
            }
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        let limit = self.policy.queue_time;
        self.queue.retain(|waiting| {
            let late = !waiting.call.patient && now >= waiting.since + limit;
            if late {
                actions.push(Action::Refuse(waiting.call.id, Refusal::WaitedTooLong));
            }
            !late
        });
        self.expire_sessions(now, actions);
        if self.policy.health.is_some() {
            for instance in self.instances.iter_mut().filter(|instance| instance.check_is_due(now)) {
                instance.checking = true;
                actions.push(Action::Check(instance.id));
            }
        }
        for id in self.idle_too_long(now) {
            self.stop(id, actions);
        }
    }

    fn instance(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|instance| instance.id == id)
    }
}
