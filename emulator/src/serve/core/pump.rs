//! Brings calls and instances together: after each event, waiting calls get free places, missing instances are thawed
//! or started, and idle ones are frozen.

use super::{Action, Instance, InstanceId, Phase, Scheduler, Time, Waiting};

impl Scheduler {
    /// In the middle of a turn of the shell, no instance is frozen.
    pub(super) fn pump(&mut self, now: Time, mid_turn: bool, actions: &mut Vec<Action>) {
        self.dispatch(now, actions);
        self.supply(now, actions);
        let mut settles = false;
        for index in 0..self.instances.len() {
            let instance = &mut self.instances[index];
            if instance.should_freeze(&self.policy, now) {
                match mid_turn {
                    true => settles = true,
                    false => instance.begin_freeze(&self.policy, actions),
                }
            } else if instance.draining {
                let id = instance.id;
                self.stop_if_drained(id, actions);
            }
        }
        if settles {
            actions.push(Action::Settle);
        }
    }

    /// Gives waiting calls the free places, oldest call first.
    pub(super) fn dispatch(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.queue.is_empty() || !self.instances.iter().any(|instance| instance.has_slot(&self.policy)) {
            return;
        }
        let mut index = 0;
        while let Some(waiting) = self.queue.get(index) {
            let Some(place) = self.place(waiting) else {
                // Without sessions, a call that finds no place shows that there is none.
                if self.policy.sessions.is_none() {
                    return;
                }
                index += 1;
                continue;
            };
            let Some(waiting) = self.queue.remove(index) else { return };
            if let Some(name) = &waiting.call.session {
                self.bind(name, place, now);
            }
            let instance = &mut self.instances[place];
            let found = instance.take_call();
            actions.push(Action::Dispatch { call: waiting.call.id, instance: instance.id, found });
        }
    }

    /// The place of a call: in the instance of its session, else in the busiest one, so that the others can rest.
    fn place(&self, waiting: &Waiting) -> Option<usize> {
        let free = |instance: &Instance| instance.has_slot(&self.policy) && self.fits(instance, waiting);
        let candidates = self.instances.iter().enumerate().filter(|(_, instance)| free(instance));
        candidates.max_by_key(|(_, instance)| (instance.running, instance.idle_since)).map(|(index, _)| index)
    }

    /// Whether sessions allow that this instance serves this call.
    fn fits(&self, instance: &Instance, waiting: &Waiting) -> bool {
        let Some(policy) = &self.policy.sessions else { return true };
        match waiting.call.session.as_ref().and_then(|name| self.sessions.get(name)) {
            Some(session) => match session.instance {
                Some(bound) => bound == instance.id,
                None => instance.sessions < policy.per_instance,
            },
            // An instance of one session serves no other call.
            None => !policy.exclusive || instance.sessions == 0,
        }
    }

    pub(super) fn could_serve(&self, id: InstanceId, waiting: &Waiting) -> bool {
        self.instances.iter().any(|instance| instance.id == id && self.fits(instance, waiting))
    }

    /// Thaws or starts instances for the calls that still wait. Those that are on their way count.
    fn supply(&mut self, now: Time, actions: &mut Vec<Action>) {
        if !self.queue.is_empty() {
            let unbound = self.thaw_for_sessions(actions);
            let coming: usize = self.instances.iter().filter(|one| one.is_coming()).map(|one| self.capacity(one)).sum();
            let mut missing = unbound.saturating_sub(coming);
            while missing > 0 {
                let frozen = self.instances.iter().enumerate().filter(|(_, one)| one.can_thaw());
                let usable = frozen.filter(|(_, one)| self.capacity(one) > 0);
                let served = match usable.max_by_key(|(_, one)| one.idle_since).map(|(index, _)| index) {
                    Some(index) => {
                        self.instances[index].thaw(actions);
                        self.capacity(&self.instances[index])
                    }
                    None if self.live() < self.policy.instances_max => self.start(now, actions),
                    None => break,
                };
                missing = missing.saturating_sub(served);
            }
        }
        while self.live() < self.policy.instances_min && now >= self.spare_start_at {
            self.start(now, actions);
        }
    }

    /// Thaws the frozen instances that a session waits for. Returns the number of calls that any instance can serve.
    fn thaw_for_sessions(&mut self, actions: &mut Vec<Action>) -> usize {
        if self.policy.sessions.is_none() {
            return self.queue.len();
        }
        let mut unbound = 0;
        for waiting in &self.queue {
            let session = waiting.call.session.as_ref().and_then(|name| self.sessions.get(name));
            let Some(bound) = session.and_then(|session| session.instance) else {
                unbound += 1;
                continue;
            };
            if let Some(instance) = self.instances.iter_mut().find(|one| one.id == bound && one.can_thaw()) {
                instance.thaw(actions);
            }
        }
        unbound
    }

    /// How many waiting calls that belong to no instance yet this one can take when it serves.
    fn capacity(&self, instance: &Instance) -> usize {
        match &self.policy.sessions {
            None => self.policy.concurrency,
            Some(sessions) => self.policy.concurrency.min(sessions.per_instance.saturating_sub(instance.sessions)),
        }
    }

    fn live(&self) -> usize {
        self.instances.iter().filter(|instance| instance.phase != Phase::Ending).count()
    }

    fn start(&mut self, now: Time, actions: &mut Vec<Action>) -> usize {
        let instance = Instance::new(self.next_id, now);
        self.next_id += 1;
        actions.push(Action::Start(instance.id));
        self.instances.push(instance);
        self.capacity(&self.instances[self.instances.len() - 1]).max(1)
    }
}
