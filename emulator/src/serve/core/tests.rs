//! Tables of events with the actions that must follow.

use super::*;

fn policy() -> Policy {
    Policy {
        concurrency: 1,
        instances_max: 2,
        instances_min: 0,
        queue_max: 1,
        queue_time: Time::from_secs(60),
        initialize: true,
        pre_freeze: false,
        pre_stop: true,
        freeze: true,
        freeze_after: Time::ZERO,
        idle_time: Time::from_secs(300),
        health: None,
        sessions: None,
    }
}

/// A scheduler and its clock, in seconds.
struct World(Scheduler, u64);

impl World {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = policy();
        change(&mut policy);
        Self(Scheduler::new(policy), 0)
    }

    /// What follows from an event, and from everything being settled after it.
    fn at(&mut self, secs: u64, event: Event) -> Vec<Action> {
        let mut actions = self.at_once(secs, event);
        if actions.last() == Some(&Action::Settle) {
            actions.pop();
            actions.extend(self.at_once(secs, Event::Settled));
        }
        actions
    }

    fn at_once(&mut self, secs: u64, event: Event) -> Vec<Action> {
        self.1 = secs;
        let mut actions = Vec::new();
        self.0.apply(event, Time::from_secs(secs), &mut actions);
        actions
    }

    fn then(&mut self, event: Event) -> Vec<Action> {
        self.at(self.1, event)
    }

    /// Every row: an event, and the actions that follow from it.
    fn table(&mut self, rows: Vec<(Event, Vec<Action>)>) {
        for (index, (event, expected)) in rows.into_iter().enumerate() {
            let shown = format!("row {index}: {event:?}");
            assert_eq!(self.then(event), expected, "{shown}");
        }
    }
}

fn call(id: CallId) -> Event {
    Event::Arrived(Call { id, session: None, patient: false })
}

fn session_call(id: CallId, session: &str) -> Event {
    Event::Arrived(Call { id, session: Some(session.to_owned()), patient: false })
}

fn to(call: CallId, instance: InstanceId, found: Found) -> Action {
    Action::Dispatch { call, instance, found }
}

#[test]
fn from_zero_to_frozen_to_a_thaw() {
    World::new(|_| ()).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (Event::Ended(1, None), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
        (call(2), vec![Action::Thaw(1)]),
        (Event::Thawed(1), vec![to(2, 1, Found::Thawed)]),
        (Event::Ended(1, None), vec![Action::Freeze(1)]),
        // A call that comes during the freeze waits for it, and starts nothing.
        (call(3), vec![]),
        (Event::Frozen(1), vec![Action::Thaw(1)]),
        (Event::Thawed(1), vec![to(3, 1, Found::Thawed)]),
    ]);
}

#[test]
fn a_call_that_has_come_finds_the_instance_awake() {
    let mut world = World::new(|_| ());
    for event in [call(1), Event::Started(1), Event::Initialized(1)] {
        world.then(event);
    }
    for (event, expected) in [
        (Event::Ended(1, None), vec![Action::Settle]),
        (call(2), vec![to(2, 1, Found::Warm)]),
        (Event::Settled, vec![]),
        (Event::Ended(1, None), vec![Action::Settle]),
        (Event::Settled, vec![Action::Freeze(1)]),
        (Event::Settled, vec![]),
    ] {
        let shown = format!("{event:?}");
        assert_eq!(world.at_once(0, event), expected, "{shown}");
    }
}

#[test]
fn scale_out_then_the_queue_then_429() {
    World::new(|_| ()).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (call(2), vec![Action::Start(2)]),
        (call(3), vec![Action::Refuse(3, Refusal::QueueFull)]),
        // An asynchronous call waits, however many wait already.
        (Event::Arrived(Call { id: 4, session: None, patient: true }), vec![]),
        (Event::Ended(1, None), vec![to(2, 1, Found::Warm)]),
        (Event::Started(2), vec![Action::Initialize(2)]),
        (Event::Initialized(2), vec![to(4, 2, Found::Cold)]),
    ]);
}

#[test]
fn a_failed_start_answers_the_call_that_asked_for_it() {
    let failure = Failure { by_initializer: true, text: "no".to_owned() };
    World::new(|_| ()).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (
            Event::Failed(1, failure.clone()),
            vec![Action::End { instance: 1, orderly: false }, Action::Refuse(1, Refusal::Failed(failure))],
        ),
        (Event::Removed(1), vec![]),
        (call(2), vec![Action::Start(2)]),
    ]);
}

#[test]
fn pre_freeze_comes_before_the_freeze_and_a_call_prevents_it() {
    World::new(|policy| policy.pre_freeze = true).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (Event::Ended(1, None), vec![Action::PreFreeze(1)]),
        (call(2), vec![]),
        (Event::PreFrozen(1), vec![to(2, 1, Found::Warm)]),
        (Event::Ended(1, None), vec![Action::PreFreeze(1)]),
        (Event::PreFrozen(1), vec![Action::Freeze(1)]),
    ]);
}

#[test]
fn an_idle_instance_is_thawed_for_pre_stop_and_ended() {
    let mut world = World::new(|_| ());
    for event in [call(1), Event::Started(1), Event::Initialized(1), Event::Ended(1, None), Event::Frozen(1)] {
        world.then(event);
    }
    assert_eq!(world.at(299, Event::Tick), []);
    assert_eq!(world.at(300, Event::Tick), [Action::Thaw(1)]);
    world.table(vec![
        (Event::Thawed(1), vec![Action::PreStop(1)]),
        // A call does not go to an instance that stops.
        (call(2), vec![Action::Start(2)]),
        (Event::PreStopped(1), vec![Action::End { instance: 1, orderly: true }]),
        (Event::Removed(1), vec![]),
    ]);
}

#[test]
fn a_kill_ends_whatever_runs_and_waiting_calls_get_another_instance() {
    World::new(|policy| policy.instances_max = 1).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (call(2), vec![]),
        (Event::Asked(1, Wish::Kill), vec![Action::End { instance: 1, orderly: false }, Action::Start(2)]),
        (Event::Ended(1, None), vec![]),
        (Event::Lost(1), vec![]),
        (Event::Removed(1), vec![]),
    ]);
}

#[test]
fn a_reclaim_waits_for_the_calls() {
    World::new(|_| ()).table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (Event::Asked(1, Wish::Reclaim), vec![]),
        (Event::Ended(1, None), vec![Action::PreStop(1)]),
    ]);
}

#[test]
fn a_session_keeps_its_instance_and_an_exclusive_one_ends_it() {
    let sessions = Sessions { per_instance: 1, life: Time::from_secs(100), idle: Time::from_secs(10), exclusive: true };
    let mut world = World::new(|policy| policy.sessions = Some(sessions));
    world.table(vec![
        (session_call(1, "a"), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (Event::Ended(1, Some("a".to_owned())), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
        // The frozen instance belongs to the first session.
        (session_call(2, "b"), vec![Action::Start(2)]),
        (session_call(3, "a"), vec![Action::Refuse(3, Refusal::QueueFull)]),
        (Event::Left(2), vec![]),
        (session_call(4, "a"), vec![Action::Thaw(1)]),
        (Event::Thawed(1), vec![to(4, 1, Found::Thawed)]),
        (Event::Ended(1, Some("a".to_owned())), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
    ]);
    let ended = world.at(10, Event::Tick);
    assert!(ended.contains(&Action::SessionEnded("a".to_owned())) && ended.contains(&Action::Thaw(1)), "{ended:?}");
}

#[test]
fn a_paused_session_keeps_its_instance_frozen_until_it_is_resumed() {
    let sessions = Sessions { per_instance: 1, life: Time::from_secs(100), idle: Time::from_secs(10), exclusive: true };
    let mut world = World::new(|policy| {
        policy.sessions = Some(sessions);
        policy.freeze = false;
    });
    let (pause, resume) = (|| Event::SessionPaused("a".to_owned()), || Event::SessionResumed("a".to_owned()));
    world.table(vec![
        (session_call(1, "a"), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (session_call(2, "a"), vec![]),
        // The call that runs goes on, the one that waits does not.
        (pause(), vec![Action::Refuse(2, Refusal::SessionPaused)]),
        (session_call(3, "a"), vec![Action::Refuse(3, Refusal::SessionPaused)]),
        (Event::Ended(1, Some("a".to_owned())), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
        (resume(), vec![Action::Thaw(1)]),
        // It stays awake, although nobody calls it.
        (Event::Thawed(1), vec![]),
        (session_call(4, "a"), vec![to(4, 1, Found::Thawed)]),
        (Event::Ended(1, Some("a".to_owned())), vec![]),
        // A resume that comes during the freeze thaws after it.
        (pause(), vec![Action::Freeze(1)]),
        (resume(), vec![]),
        (Event::Frozen(1), vec![Action::Thaw(1)]),
        (Event::Thawed(1), vec![]),
        (pause(), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
    ]);
    // A pause does not end by the idle time, but by the life of the session.
    assert_eq!(world.at(99, Event::Tick), []);
    let ended = world.at(100, Event::Tick);
    assert!(ended.contains(&Action::SessionEnded("a".to_owned())) && ended.contains(&Action::Thaw(1)), "{ended:?}");
}

#[test]
fn a_pause_of_one_session_leaves_the_others_of_its_instance_alone() {
    let sessions =
        Sessions { per_instance: 9, life: Time::from_secs(100), idle: Time::from_secs(90), exclusive: false };
    let mut world = World::new(|policy| {
        policy.sessions = Some(sessions);
        policy.concurrency = 2;
        policy.freeze = false;
    });
    let pause = |name: &str| Event::SessionPaused(name.to_owned());
    let ended = |name: &str| Event::Ended(1, Some(name.to_owned()));
    world.table(vec![
        (session_call(1, "a"), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Initialize(1)]),
        (Event::Initialized(1), vec![to(1, 1, Found::Cold)]),
        (session_call(2, "b"), vec![to(2, 1, Found::Warm)]),
        (ended("a"), vec![]),
        (ended("b"), vec![]),
        (pause("a"), vec![]),
        (session_call(3, "b"), vec![to(3, 1, Found::Warm)]),
        (ended("b"), vec![]),
        (pause("b"), vec![Action::Freeze(1)]),
        (Event::Frozen(1), vec![]),
        // A new session does not wake those that are paused.
        (session_call(4, "c"), vec![Action::Start(2)]),
        (Event::SessionResumed("b".to_owned()), vec![Action::Thaw(1)]),
    ]);
}

#[test]
fn an_unhealthy_instance_gets_no_calls_until_it_is_healthy() {
    let health = Health { initial_delay: Time::ZERO, period: Time::from_secs(3), failures: 2, successes: 1 };
    let mut world = World::new(|policy| {
        policy.health = Some(health);
        policy.initialize = false;
        policy.freeze = false;
        policy.instances_max = 1;
        policy.queue_max = 9;
    });
    world.table(vec![
        (call(1), vec![Action::Start(1)]),
        (Event::Started(1), vec![Action::Check(1)]),
        (Event::Checked(1, true), vec![to(1, 1, Found::Cold)]),
        (Event::Ended(1, None), vec![]),
    ]);
    for secs in [3, 6] {
        assert_eq!(world.at(secs, Event::Tick), [Action::Check(1)]);
        assert_eq!(world.then(Event::Checked(1, false)), []);
    }
    assert_eq!(world.then(call(2)), []);
    assert_eq!(world.at(9, Event::Tick), [Action::Check(1)]);
    assert_eq!(world.then(Event::Checked(1, true)), [to(2, 1, Found::Warm)]);
}

#[test]
fn calls_do_not_wait_for_ever() {
    let mut world = World::new(|_| ());
    world.then(call(1));
    assert_eq!(world.at(59, Event::Tick), []);
    assert_eq!(world.at(60, Event::Tick), [Action::Refuse(1, Refusal::WaitedTooLong)]);
}

/// Whatever happens to the instances, each call is dispatched or refused once, and only to an instance that serves.
#[test]
fn no_call_is_lost_or_doubled_in_random_worlds() {
    for seed in 0..300 {
        let mut rng = fc_testkit::Rng::new(seed);
        let mut world = World::new(|policy| {
            policy.concurrency = 1 + (seed % 3) as usize;
            policy.instances_max = 4;
            policy.queue_max = 5;
            policy.pre_freeze = seed % 2 == 0;
        });
        let mut answered = BTreeMap::new();
        let mut running: Vec<InstanceId> = Vec::new();
        let mut due: Vec<Event> = Vec::new();
        let mut next_call = 0;
        while next_call < 200 || !due.is_empty() || !running.is_empty() {
            let event = match rng.below(8) {
                0 | 1 if next_call < 200 => {
                    next_call += 1;
                    call(next_call)
                }
                2 if next_call < 200 => {
                    let wishes = [Wish::Freeze, Wish::Thaw, Wish::Reclaim, Wish::Kill];
                    let id = world.0.next_id.saturating_sub(1 + rng.below(4) as u32);
                    Event::Asked(id, wishes[rng.below(4)])
                }
                3 if !running.is_empty() => {
                    let index = rng.below(running.len());
                    Event::Ended(running.swap_remove(index), None)
                }
                _ if !due.is_empty() => due.remove(rng.below(due.len())),
                _ => Event::Tick,
            };
            for action in world.at_once(0, event) {
                match action {
                    Action::Start(id) => due.push(Event::Started(id)),
                    Action::Initialize(id) => due.push(Event::Initialized(id)),
                    Action::PreFreeze(id) => due.push(Event::PreFrozen(id)),
                    Action::Freeze(id) => due.push(Event::Frozen(id)),
                    Action::Thaw(id) => due.push(Event::Thawed(id)),
                    Action::PreStop(id) => due.push(Event::PreStopped(id)),
                    Action::End { instance, .. } => due.push(Event::Removed(instance)),
                    Action::Settle => due.push(Event::Settled),
                    Action::Check(_) | Action::SessionEnded(_) => {}
                    Action::Refuse(id, _) => assert_eq!(answered.insert(id, 0), None, "seed {seed}: call {id}"),
                    Action::Dispatch { call, instance, .. } => {
                        assert_eq!(answered.insert(call, instance), None, "seed {seed}: call {call}");
                        running.push(instance);
                    }
                }
            }
        }
        assert_eq!(answered.len(), 200, "seed {seed}: every call has an answer");
    }
}
