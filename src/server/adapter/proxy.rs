//! The adapter's loop: wait, clock, signals, children, the program's side, the clients' side, deadlines, stages.
//!
//! As in the server's loop, one thread steps through what is ready, and every step is bounded. What the program's side
//! has to say comes first: a connection that the program has closed must not get the request that came with it. All
//! system calls go through [`AdapterSystem`].

use super::hooks::RunningTask;
use super::peers::{Client, Pool, Upstream};
use super::slab::{Kind, Slab};
use super::stages::Stage;
use super::system::AdapterSystem;
use crate::adapter::gate::Gate;
use crate::adapter::own_paths::OwnPaths;
use crate::adapter::program::Program;
use crate::adapter::relay::{ROOM_BEFORE, ROOM_BEHIND};
use crate::adapter::settings::{Action, Settings};
use crate::config::Config;
use crate::function::freeze::Evidence;
use crate::function::lifecycle::ClockReading;
use crate::function::marker_log::MarkerLog;
use crate::function::per_hook::PerHook;
use crate::http1::head::HeaderStorage;
use crate::platform::hooks::Hook;
use crate::server::accept::Acceptor;
use crate::server::awake_clock::AwakeClock;
use crate::server::drain::Drain;
use crate::server::system::{Ready, Signals, Token};
use crate::start_error::StartError;
use crate::tuning::{
    OVERSLEPT_MIN, RELAY_BYTES, RELAY_BYTES_CROWDED, RELAY_HELD_BYTES_MANY, SCRATCH_BYTES_BEHIND_HEAD, TURN_TIME_MAX,
};
use std::ffi::CString;
use std::time::{Duration, Instant};

/// The name of the output of a command of a hook.
pub(super) const COMMAND: Token = Token(u64::MAX - 2);

/// A program, its clients, and the hooks between them.
pub(crate) struct Proxy<O: AdapterSystem> {
    pub(super) system: O,
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) own_paths: OwnPaths,
    /// The environment of commands, before they are told about their call.
    pub(super) environment: Vec<CString>,
    pub(super) program: Program,
    pub(super) gate: Gate,
    pub(super) marker_log: MarkerLog,
    pub(super) clients: Slab<Client<O::Socket>>,
    pub(super) upstreams: Slab<Upstream<O::Socket>>,
    /// Connections to the program without a request, the last used at the end.
    pub(super) kept: Vec<Token>,
    pub(super) accept: Acceptor,
    pub(super) stage: Stage,
    pub(super) drain: Option<Drain>,
    pub(super) task: Option<RunningTask<O::Socket>>,
    /// Clients with a call that waits for the gate.
    pub(super) waiting: Vec<Token>,
    /// Clients to look at in this turn, although their sockets are not ready.
    pub(super) again: Vec<Token>,
    pub(super) clock: AwakeClock,
    pub(super) now: ClockReading,
    /// Counts the waits.
    pub(super) turn: u64,
    /// Every read goes here. It is there while events are handled, and during a wait unless the instance seems frozen.
    pub(super) scratch: Vec<u8>,
    pub(super) head: Vec<u8>,
    pub(super) headers: HeaderStorage,
    pub(super) pool: Pool,
    /// Bytes that wait for their receivers, or for a hook.
    pub(super) held_bytes: usize,
    /// Clients with a deadline.
    pub(super) timed: usize,
    /// No deadline of a client is earlier.
    pub(super) earliest_deadline: Duration,
    /// Why the loop must end.
    pub(super) failure: Option<StartError>,
    pub(super) has_served: bool,
    pub(super) owes_settling_in: bool,
}

impl<O: AdapterSystem> Proxy<O> {
    /// The program was started as this process.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(
        mut system: O,
        config: Config,
        settings: Settings,
        pid: i32,
        environment: Vec<CString>,
    ) -> Proxy<O> {
        let now = system.now();
        let clock = AwakeClock::new(now.instant);
        let mut has_action = PerHook::none();
        let mut paths = Vec::new();
        for action in Hook::ALL.iter().filter_map(|hook| settings.hook(*hook)).chain(&settings.on_thaw) {
            if let Action::Request { path, .. } = action {
                paths.push(path.as_str());
            }
        }
        let own_paths = OwnPaths::new(paths.into_iter());
        for hook in Hook::ALL {
            *has_action.get_mut(*hook) = settings.hook(*hook).map(drop);
        }
        let mut gate = Gate::new(now, has_action, settings.on_thaw.is_some());
        if config.idle_means_frozen {
            gate.lifecycle().freezes().suspect_idle_gaps(config.limits.idle_thaw_time_min);
        }
        Proxy {
            program: Program::new(pid, clock.reading(), settings.ready_time_max, settings.kill_time_max),
            marker_log: MarkerLog::new(config.call_markers),
            clients: Slab::new(Kind::CLIENT),
            upstreams: Slab::new(Kind::PROGRAM),
            kept: Vec::new(),
            accept: Acceptor::new(),
            stage: Stage::starting(),
            drain: None,
            task: None,
            waiting: Vec::new(),
            again: Vec::new(),
            scratch: Vec::new(),
            head: Vec::new(),
            headers: HeaderStorage::default(),
            pool: Pool::default(),
            held_bytes: 0,
            timed: 0,
            earliest_deadline: Duration::MAX,
            failure: None,
            has_served: false,
            owes_settling_in: false,
            system,
            config,
            settings,
            own_paths,
            environment,
            gate,
            clock,
            now,
            turn: 0,
        }
    }

    /// Serves until the program has ended or a signal ends both. Returns the exit code.
    pub(crate) fn run(&mut self) -> Result<u8, StartError> {
        if self.settings.early {
            self.listen()?;
        }
        let mut ready = Vec::new();
        while !matches!(self.stage, Stage::Over) {
            self.watch_listener();
            let limit = self.wait_limit();
            let interrupted = self.wait(&mut ready, limit)?;
            // What the program's side says comes first.
            for event in ready.iter().filter(|event| Kind::PROGRAM.has(event.token) && event.token.0 < COMMAND.0) {
                self.step_upstream(event);
            }
            for event in &ready {
                match event.token {
                    Token::LISTENER => self.on_acceptable(ready.len() == 1),
                    Token::WAKE => {}
                    COMMAND => self.read_command(),
                    token if Kind::CLIENT.has(token) => self.step_client(event),
                    _ => {}
                }
            }
            self.fire_timeouts();
            self.look_again();
            let saw_all = !interrupted && limit == Some(Duration::ZERO);
            self.advance_stage(saw_all)?;
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
        }
        self.system.flush_output();
        Ok(self.program.exit_code())
    }

    /// The line that says how the program has ended, if it needs one.
    pub(crate) fn last_words(&self, name: &str) -> Option<String> {
        self.program.last_words(name)
    }

    /// The bytes of a body to read at a time.
    pub(super) fn relay_bytes(&self) -> usize {
        if self.held_bytes > RELAY_HELD_BYTES_MANY { RELAY_BYTES_CROWDED } else { RELAY_BYTES }
    }

    /// `None`: no deadline is pending, so the wait has no limit.
    fn wait_limit(&self) -> Option<Duration> {
        let drains = matches!(self.stage, Stage::Draining);
        if !self.again.is_empty() || (drains && self.drain.is_some_and(|drain| !drain.polled_once)) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.reading();
        let drain = self.drain.map(|drain| now + drain.time_left(self.config.limits.drain_time_max));
        let drain = drain.filter(|_| drains);
        let clients = (self.timed > 0).then_some(now + TURN_TIME_MAX);
        let task = self.task.as_ref().and_then(RunningTask::deadline);
        let deadlines = [drain, clients, task, self.accept.deadline(), self.program.deadline(), self.stage.deadline()];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_sub(now).min(TURN_TIME_MAX))
    }

    /// One wait; then the clocks, the signals, and what they tell about freezes. True if the wait was interrupted.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, StartError> {
        if std::mem::take(&mut self.owes_settling_in) {
            let machine = self.system.machine();
            self.gate.lifecycle().freezes().settle_in(machine);
        }
        if self.gate.suspects_freeze() {
            self.release_buffers();
        }
        #[cfg(test)]
        super::peers::SPARE_BYTES.set(self.spare_bytes());
        let before = self.system.monotonic();
        self.look_at_turn(before);
        let interrupted =
            self.system.wait(ready, limit).map_err(|error| StartError::io("wait for connections", &error.into()))?;
        if self.scratch.is_empty() {
            self.make_scratch();
        }
        self.now = self.system.now();
        self.clock.turn(self.now.instant);
        self.turn += 1;
        let Signals { stop_age, continued, any } = self.system.signals();
        let overslept = limit
            .and_then(|limit| self.now.instant.saturating_duration_since(before).checked_sub(limit))
            .filter(|excess| *excess >= OVERSLEPT_MIN);
        let unexplained = interrupted && !any;
        let evidence = Evidence { sigcont: continued, overslept, interrupted: unexplained, ..Evidence::default() };
        if evidence.any() {
            self.gate.record_evidence(&evidence);
        }
        if any {
            self.reap();
        }
        match stop_age {
            Some(_) if self.drain.is_some() => self.count_drain(evidence.any()),
            Some(age) => self.begin_drain(age),
            None => {}
        }
        Ok(interrupted)
    }

    /// A frozen instance holds no memory that the call which thaws it can have anew.
    #[cold]
    #[inline(never)]
    fn release_buffers(&mut self) {
        self.pool = Pool::default();
        self.head = Vec::new();
        self.scratch = Vec::new();
    }

    /// A whole head fits, and some of what follows it.
    #[cold]
    #[inline(never)]
    fn make_scratch(&mut self) {
        let bytes = RELAY_BYTES.max(self.config.limits.head_bytes_max + SCRATCH_BYTES_BEHIND_HEAD);
        self.scratch = vec![0; ROOM_BEFORE + bytes + ROOM_BEHIND];
    }

    /// A freeze between two waits interrupts neither (C-FRZ-11), but the turn takes longer than its work.
    fn look_at_turn(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.now.instant);
        if took >= OVERSLEPT_MIN {
            self.gate.record_evidence(&Evidence { overslept: Some(took), ..Evidence::default() });
        }
    }

    /// Handles the deadlines that have passed.
    fn fire_timeouts(&mut self) {
        let now = self.clock.reading();
        self.accept.end_pause(now);
        if now >= self.earliest_deadline {
            let is_due = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
            let overdue = self.clients.pick(|client| is_due(client.deadline));
            let later =
                self.clients.iter().filter_map(|(_, client)| client.deadline).filter(|deadline| *deadline > now);
            self.earliest_deadline = later.min().unwrap_or(Duration::MAX);
            for token in overdue {
                let outcome = self.on_deadline(token);
                self.sync(token, outcome);
            }
        }
        self.fire_task_timeout(now);
    }

    /// Looks at clients whose turn has come without their doing: the gate has opened, or their next request is there.
    fn look_again(&mut self) {
        for token in std::mem::take(&mut self.again) {
            let outcome = self.serve(token, false);
            self.sync(token, outcome);
        }
    }
}

#[cfg(test)]
impl<O: AdapterSystem> Proxy<O> {
    /// The bytes of memory that is empty and kept for a later call.
    fn spare_bytes(&self) -> usize {
        let of_clients = self.clients.iter().flat_map(|(_, client)| [&client.input, &client.output.bytes]);
        let of_program = self.upstreams.iter().flat_map(|(_, upstream)| [&upstream.input, &upstream.output.bytes]);
        let empty = of_clients.chain(of_program).filter(|buffer| buffer.is_empty()).map(Vec::capacity);
        self.pool.bytes() + self.head.capacity() + self.scratch.capacity() + empty.sum::<usize>()
    }

    /// What must hold when the loop has ended.
    pub(crate) fn check_end(&self) {
        assert_eq!((self.clients.len(), self.timed, self.waiting.len()), (0, 0, 0));
        assert!(self.task.is_none() && self.upstreams.len() == self.kept.len());
    }
}

#[cfg(test)]
#[path = "../../../tests/adapter_sim/mod.rs"]
mod tests;
