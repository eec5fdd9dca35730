//! The shell of one function: it carries out what the scheduler decides, and leases instances to calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Shared;
use super::config::FunctionConfig;
use super::core::{Action, Call, CallId, Event, Failure, Found, InstanceId, Phase, Refusal, Scheduler, Time, Wish};
use super::hooks;
use super::tasks::Tasks;
use super::worker::{self, Listener, Starting, Worker};
use crate::clock::seconds;
use crate::platform::Hook;

/// How often time passes for the scheduler.
const TICK: Duration = Duration::from_millis(50);

/// From the end of a call to the freeze of its instance, at least.
const SETTLE_TIME: Duration = Duration::from_millis(1);

/// Every so many ticks, instances are looked at: whether they ended by themselves.
const TICKS_PER_LOOK: u32 = 5;

/// One function that runs.
pub struct Function {
    /// What it is.
    pub config: FunctionConfig,
    /// What it shares with the other functions.
    pub shared: Arc<Shared>,
    /// Its asynchronous calls.
    pub tasks: Tasks,
    runtime: Handle,
    state: Mutex<State>,
    calls: AtomicU64,
    settling: AtomicBool,
}

/// Where a waiting caller gets its instance.
type Answerer = oneshot::Sender<Result<Lease, Refusal>>;

struct State {
    scheduler: Scheduler,
    workers: HashMap<InstanceId, Member>,
    waiters: HashMap<CallId, Answerer>,
    phases: Vec<(InstanceId, Phase)>,
}

enum Member {
    Starting(Option<Starting>),
    Ready(Arc<Worker>),
}

/// An instance that is leased to a call. Dropping it ends the call.
pub struct Lease {
    /// The instance.
    pub worker: Arc<Worker>,
    /// Its number.
    pub instance: InstanceId,
    /// How the call found it.
    pub found: Found,
    function: Arc<Function>,
    session: Option<String>,
    request: Option<String>,
}

impl Lease {
    /// The call has this id. Lines that the instance prints can then be told to be its.
    pub fn name(&mut self, request: &str) {
        self.worker.call_began(request);
        self.request = Some(request.to_owned());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            self.worker.call_ended(request);
        }
        self.function.apply(Event::Ended(self.instance, self.session.take()));
    }
}

/// A caller that waits for an instance. Dropping it says that it gave up.
struct Waiter {
    function: Arc<Function>,
    call: CallId,
    answered: bool,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.answered {
            self.function.state().waiters.remove(&self.call);
            self.function.apply(Event::Left(self.call));
        }
    }
}

impl Function {
    /// A function without instances. Time passes for it until it is dropped.
    pub fn new(config: FunctionConfig, shared: Arc<Shared>, tasks: Tasks) -> Arc<Self> {
        let state = State {
            scheduler: Scheduler::new(config.policy.clone()),
            workers: HashMap::new(),
            waiters: HashMap::new(),
            phases: Vec::new(),
        };
        let runtime = Handle::current();
        let (calls, settling) = (AtomicU64::new(1), AtomicBool::new(false));
        let function = Arc::new(Self { config, shared, tasks, runtime, state: Mutex::new(state), calls, settling });
        let weak = Arc::downgrade(&function);
        function.runtime.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            let mut count = 0;
            loop {
                ticks.tick().await;
                let Some(function) = weak.upgrade() else { return };
                function.apply(Event::Tick);
                count += 1;
                if count % TICKS_PER_LOOK == 0 {
                    function.look_for_exits();
                }
            }
        });
        function
    }

    /// Waits for an instance.
    ///
    /// # Errors
    /// If the call gets none.
    pub async fn lease(self: &Arc<Self>, session: Option<String>, patient: bool) -> Result<Lease, Refusal> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.state().waiters.insert(call, send);
        let mut waiter = Waiter { function: self.clone(), call, answered: false };
        self.apply(Event::Arrived(Call { id: call, session: session.clone(), patient }));
        let answer = receive.await;
        waiter.answered = true;
        let mut lease = answer.unwrap_or(Err(Refusal::WaitedTooLong))?;
        lease.session = session;
        Ok(lease)
    }

    /// Tells the scheduler what happened, and carries out its answer.
    pub fn apply(self: &Arc<Self>, event: Event) {
        let mut actions = Vec::new();
        let mut answers = Vec::new();
        let now = self.shared.now();
        {
            let mut state = self.state();
            let state = &mut *state;
            if let Event::Removed(id) = &event {
                state.workers.remove(id);
            }
            state.scheduler.apply(event, now, &mut actions);
            actions.retain(|action| !self.answer(state, action, &mut answers));
            self.note_phases(state, now);
        }
        // Outside the lock: a lease that nobody takes comes back at once.
        for (waiter, answer) in answers {
            drop(waiter.send(answer));
        }
        for action in actions {
            self.perform(action);
        }
    }

    /// What the scheduler and its instances look like.
    pub fn look<T>(&self, look: impl FnOnce(&Scheduler) -> T) -> T {
        look(&self.state().scheduler)
    }

    /// Changes the scheduler by something that is no event, and that nothing follows from.
    pub fn change<T>(&self, change: impl FnOnce(&mut Scheduler, Time) -> T) -> T {
        change(&mut self.state().scheduler, self.shared.now())
    }

    /// The instance with this number, if it is there and ready.
    pub fn worker(&self, id: InstanceId) -> Option<Arc<Worker>> {
        match self.state().workers.get(&id) {
            Some(Member::Ready(worker)) => Some(worker.clone()),
            _ => None,
        }
    }

    /// Asks something of an instance by hand. Returns whether there is one with this number.
    pub fn ask(self: &Arc<Self>, id: InstanceId, wish: Wish) -> bool {
        let known = self.look(|scheduler| scheduler.instances().iter().any(|instance| instance.id == id));
        self.apply(Event::Asked(id, wish));
        known
    }

    fn answer(
        self: &Arc<Self>,
        state: &mut State,
        action: &Action,
        answers: &mut Vec<(Answerer, Result<Lease, Refusal>)>,
    ) -> bool {
        match action {
            Action::Dispatch { call, instance, found } => {
                let waiter = state.waiters.remove(call);
                let Some(Member::Ready(worker)) = state.workers.get(instance) else { return true };
                let lease = Lease {
                    worker: worker.clone(),
                    instance: *instance,
                    found: *found,
                    function: self.clone(),
                    session: None,
                    request: None,
                };
                match waiter {
                    Some(waiter) => answers.push((waiter, Ok(lease))),
                    // Its caller just gave up. The lease comes back outside the lock.
                    None => answers.push((oneshot::channel().0, Ok(lease))),
                }
                true
            }
            Action::Refuse(call, refusal) => {
                if let Some(waiter) = state.waiters.remove(call) {
                    answers.push((waiter, Err(refusal.clone())));
                }
                true
            }
            _ => false,
        }
    }

    fn note_phases(&self, state: &mut State, now: Time) {
        let instances = state.scheduler.instances();
        let journal = &self.shared.journal;
        state.phases.retain(|(id, _)| {
            let there = instances.iter().any(|instance| instance.id == *id);
            if !there {
                journal.phase(&self.config.name, *id, None, now);
            }
            there
        });
        for (index, instance) in instances.iter().enumerate() {
            match state.phases.get_mut(index) {
                Some((_, phase)) if *phase == instance.phase => {}
                Some((_, phase)) => {
                    *phase = instance.phase;
                    journal.phase(&self.config.name, instance.id, Some(instance.phase), now);
                }
                None => {
                    state.phases.push((instance.id, instance.phase));
                    journal.phase(&self.config.name, instance.id, Some(instance.phase), now);
                }
            }
        }
    }

    fn perform(self: &Arc<Self>, action: Action) {
        match action {
            Action::Start(id) => self.start(id),
            Action::Initialize(id) => self.call_hook(id, Hook::Initialize),
            Action::PreFreeze(id) => self.call_hook(id, Hook::PreFreeze),
            Action::PreStop(id) => self.call_hook(id, Hook::PreStop),
            Action::Check(id) => self.check(id),
            Action::Freeze(id) => self.freeze(id),
            Action::Thaw(id) => self.thaw(id),
            Action::Settle => self.settle(),
            Action::End { instance, orderly } => self.end(instance, orderly),
            Action::SessionEnded(name) => tracing::debug!(function = self.config.name, session = name, "session ended"),
            // These were answered under the lock.
            Action::Dispatch { .. } | Action::Refuse(..) => {}
        }
    }

    fn start(self: &Arc<Self>, id: InstanceId) {
        self.state().workers.insert(id, Member::Starting(None));
        let (for_lines, for_ready) = (Arc::downgrade(self), self.clone());
        let line = move |line: crate::output::Line| {
            let Some(function) = for_lines.upgrade() else { return };
            let likely = function.worker(id).and_then(|worker| worker.likely_call());
            function.shared.print(&function.config.name, id, &line);
            let at = function.shared.now();
            function.shared.logs.add(&function.config.name, id, at, line.stream, line.text.to_string(), likely);
        };
        let ready = move |started: Result<Worker, String>| match started {
            Ok(worker) => {
                // An instance that was ended meanwhile is still to be removed.
                let ended = matches!(for_ready.state().workers.get(&id), None | Some(Member::Ready(_)));
                if !ended {
                    for_ready.state().workers.insert(id, Member::Ready(Arc::new(worker)));
                }
                let ending = for_ready.look(|scheduler| {
                    scheduler.instances().iter().any(|instance| instance.id == id && instance.phase == Phase::Ending)
                });
                if ending { for_ready.end(id, false) } else { for_ready.apply(Event::Started(id)) }
            }
            Err(text) => {
                tracing::warn!(function = for_ready.config.name, instance = id, "start failed: {text}");
                for_ready.apply(Event::Failed(id, Failure { by_initializer: false, text }));
                for_ready.removed(id);
            }
        };
        let listener = Listener { line: Box::new(line), ready: Box::new(ready) };
        match worker::start(&self.config, listener) {
            Ok(starting) => {
                if let Some(Member::Starting(slot)) = self.state().workers.get_mut(&id) {
                    *slot = Some(starting);
                }
            }
            Err(why) => {
                self.apply(Event::Failed(id, Failure { by_initializer: false, text: why.to_string() }));
                self.removed(id);
            }
        }
    }

    fn call_hook(self: &Arc<Self>, id: InstanceId, hook: Hook) {
        let Some(worker) = self.worker(id) else { return };
        let function = self.clone();
        self.runtime.spawn(async move {
            let called = hooks::call(&worker, &function.config, hook).await;
            if let Err(why) = &called {
                tracing::warn!(function = function.config.name, instance = id, "{} failed: {why}", hook.path());
            }
            function.apply(match (hook, called) {
                (Hook::Initialize, Ok(())) => Event::Initialized(id),
                (Hook::Initialize, Err(text)) => Event::Failed(id, Failure { by_initializer: true, text }),
                (Hook::PreFreeze, _) => Event::PreFrozen(id),
                (Hook::PreStop, _) => Event::PreStopped(id),
            });
        });
    }

    fn check(self: &Arc<Self>, id: InstanceId) {
        let (Some(worker), Some(health)) = (self.worker(id), self.config.health.clone()) else { return };
        let function = self.clone();
        self.runtime.spawn(async move {
            let good = hooks::check(&worker, &health).await;
            if let Err(why) = &good {
                tracing::warn!(function = function.config.name, instance = id, "health check failed: {why}");
            }
            function.apply(Event::Checked(id, good.is_ok()));
        });
    }

    fn freeze(self: &Arc<Self>, id: InstanceId) {
        let Some(worker) = self.worker(id) else { return };
        let function = self.clone();
        worker.freeze(move |frozen| match frozen {
            Ok(()) => function.apply(Event::Frozen(id)),
            Err(why) => {
                tracing::warn!(function = function.config.name, instance = id, "freeze failed: {why}");
                function.apply(Event::FreezeFailed(id));
            }
        });
    }

    /// Says that everything is settled after a moment in which the answer is sent, its caller reads it, and a busy
    /// caller sends the next call. Without it, a busy function would be frozen thousands of times a second.
    fn settle(self: &Arc<Self>) {
        if self.settling.swap(true, Ordering::Relaxed) {
            return;
        }
        let function = self.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(SETTLE_TIME).await;
            function.settling.store(false, Ordering::Relaxed);
            function.apply(Event::Settled);
        });
    }

    fn thaw(self: &Arc<Self>, id: InstanceId) {
        let Some(worker) = self.worker(id) else { return };
        let function = self.clone();
        let keeps = self.config.setup.freeze_with.keeps_connections();
        worker.thaw(keeps, move |thawed| match thawed {
            Ok(()) => function.apply(Event::Thawed(id)),
            Err(why) => {
                tracing::warn!(function = function.config.name, instance = id, "thaw failed: {why}");
                function.apply(Event::Lost(id));
            }
        });
    }

    fn end(self: &Arc<Self>, id: InstanceId, orderly: bool) {
        let worker = match self.state().workers.get_mut(&id) {
            Some(Member::Ready(worker)) => worker.clone(),
            // It is removed as soon as its start notices.
            Some(Member::Starting(starting)) => return starting.iter().for_each(Starting::cancel),
            None => return,
        };
        let function = self.clone();
        worker.end(orderly, move || function.removed(id));
    }

    fn removed(self: &Arc<Self>, id: InstanceId) {
        self.shared.logs.forget(&self.config.name, id);
        self.apply(Event::Removed(id));
    }

    fn look_for_exits(self: &Arc<Self>) {
        let ready = |(id, member): (&InstanceId, &Member)| match member {
            Member::Ready(worker) => Some((*id, worker.clone())),
            Member::Starting(_) => None,
        };
        let workers: Vec<_> = self.state().workers.iter().filter_map(ready).collect();
        for (id, worker) in workers {
            if let Some(exit) = worker.try_exit() {
                let is_over = self.look(|scheduler| {
                    !scheduler.instances().iter().any(|one| one.id == id && one.phase != Phase::Ending)
                });
                if !is_over {
                    tracing::warn!(function = self.config.name, instance = id, "the instance {exit} by itself");
                    self.apply(Event::Lost(id));
                }
            }
        }
    }

    /// The text for a call that took too long.
    pub fn timed_out(&self) -> String {
        format!("Function timed out after {}", seconds(self.config.setup.limits.call))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
