//! Sessions: which instance serves which session, and how long a session lives.

use super::{Action, InstanceId, Phase, Refusal, Scheduler, Time};

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The instance that serves it, once it had a call and while that instance lives.
    pub instance: Option<InstanceId>,
    /// When it began.
    pub since: Time,
    /// When its last call came.
    pub used: Time,
    /// When somebody last changed it by the API.
    pub changed: Time,
    /// How long it lives.
    pub life: Time,
    /// How long it lives without a call.
    pub idle: Time,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether a call resumes it.
    pub resumes_by_call: bool,
}

impl Scheduler {
    /// Begins a session, or changes the times of one that lives. `None` leaves a value as it is. Returns whether the
    /// function has sessions at all.
    pub fn set_session(&mut self, name: &str, now: Time, wanted: &SessionTimes) -> bool {
        let Some(policy) = &self.policy.sessions else { return false };
        let (life, idle) = (policy.life, policy.idle);
        let new = Session {
            instance: None,
            since: now,
            used: now,
            changed: now,
            life,
            idle,
            paused: false,
            resumes_by_call: false,
        };
        let session = self.sessions.entry(name.to_owned()).or_insert(new);
        if *wanted != SessionTimes::default() {
            session.changed = now;
        }
        session.life = wanted.life.unwrap_or(session.life);
        session.idle = wanted.idle.unwrap_or(session.idle);
        session.resumes_by_call = wanted.resumes_by_call.unwrap_or(session.resumes_by_call);
        true
    }

    /// Pauses a session: it accepts no calls. Its instance is frozen as soon as it is idle and no call thaws it, unless
    /// it serves another session that is not paused.
    pub(super) fn pause_session(&mut self, name: &str, now: Time, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        session.paused = true;
        session.changed = now;
        let (bound, resumes_by_call) = (session.instance, session.resumes_by_call);
        if let Some(bound) = bound {
            self.rest_if_paused(bound);
        }
        if !resumes_by_call {
            self.queue.retain(|waiting| {
                let is_of = waiting.call.session.as_deref() == Some(name);
                if is_of {
                    actions.push(Action::Refuse(waiting.call.id, Refusal::SessionPaused));
                }
                !is_of
            });
        }
    }

    /// Ends a pause. The instance is thawed, and stays awake until the next call ends.
    pub(super) fn resume_session(&mut self, name: &str, now: Time, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        if !session.paused {
            return;
        }
        session.paused = false;
        session.used = now;
        session.changed = now;
        let bound = session.instance;
        if let Some(instance) = bound.and_then(|id| self.instance(id)) {
            instance.paused = false;
            instance.keep_awake = true;
            if instance.phase == Phase::Frozen {
                instance.thaw(actions);
            }
        }
    }

    /// An instance whose sessions are all paused is frozen until one of them goes on.
    fn rest_if_paused(&mut self, id: InstanceId) {
        let rests = self.sessions.values().filter(|one| one.instance == Some(id)).all(|one| one.paused);
        if let Some(instance) = self.instance(id) {
            instance.paused = rests && instance.sessions > 0;
            instance.keep_awake &= !instance.paused;
        }
    }

    /// A call of this session came. Returns whether the session accepts calls.
    pub(super) fn open_session(&mut self, name: &str, now: Time) -> bool {
        if !self.set_session(name, now, &SessionTimes::default()) {
            return true;
        }
        let Some(session) = self.sessions.get_mut(name) else { return true };
        if session.paused && !session.resumes_by_call {
            return false;
        }
        session.used = now;
        if std::mem::take(&mut session.paused)
            && let Some(bound) = session.instance
            && let Some(instance) = self.instance(bound)
        {
            instance.paused = false;
        }
        true
    }

    pub(super) fn bind(&mut self, name: &str, place: usize, now: Time) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        session.used = now;
        if session.instance.is_none() {
            session.instance = Some(self.instances[place].id);
            self.instances[place].sessions += 1;
        }
    }

    /// The sessions of an instance that is gone. A session that had the instance for itself ends with it; another one
    /// gets a new instance with its next call.
    pub(super) fn unbind_sessions(&mut self, id: InstanceId, actions: &mut Vec<Action>) {
        let exclusive = self.policy.sessions.as_ref().is_some_and(|sessions| sessions.exclusive);
        self.sessions.retain(|name, session| {
            if session.instance != Some(id) {
                return true;
            }
            session.instance = None;
            let waits = self.queue.iter().any(|waiting| waiting.call.session.as_deref() == Some(name));
            let keep = !exclusive || waits;
            if !keep {
                actions.push(Action::SessionEnded(name.clone()));
            }
            keep
        });
        if let Some(instance) = self.instance(id) {
            instance.sessions = 0;
        }
    }

    pub(super) fn expire_sessions(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.sessions.is_empty() {
            return;
        }
        let running = |id: InstanceId| self.instances.iter().any(|one| one.id == id && one.running > 0);
        let over = |session: &Session| {
            let idle = now >= session.used + session.idle && !session.instance.is_some_and(running);
            now >= session.since + session.life || (idle && !session.paused)
        };
        let ended = self.sessions.iter().filter(|(_, session)| over(session)).map(|(name, _)| name.clone());
        for name in ended.collect::<Vec<_>>() {
            self.end_session(&name, now, actions);
        }
    }

    /// Ends a session. An instance that belonged to it alone is stopped (C-SES-4).
    pub(super) fn end_session(&mut self, name: &str, now: Time, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.remove(name) else { return };
        actions.push(Action::SessionEnded(name.to_owned()));
        let exclusive = self.policy.sessions.as_ref().is_some_and(|sessions| sessions.exclusive);
        let Some(instance) = session.instance.and_then(|id| self.instance(id)) else { return };
        instance.sessions = instance.sessions.saturating_sub(1);
        instance.idle_since = instance.idle_since.max(now);
        let id = instance.id;
        self.rest_if_paused(id);
        if exclusive {
            self.stop(id, actions);
        }
    }
}

/// What a caller of the API wants of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTimes {
    /// How long it lives.
    pub life: Option<Time>,
    /// How long it lives without a call.
    pub idle: Option<Time>,
    /// Whether a call resumes it after a pause.
    pub resumes_by_call: Option<bool>,
}
