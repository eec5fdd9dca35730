//! The stages of an instance: its program starts, it serves, it stops.
//!
//! A stop first finishes what is in progress, then runs pre-stop, and only then ends the program: the hook may be a
//! request to it. A program that ends by itself ends the instance; what it had in hand is answered with 502, because
//! its connections end with it.

use super::client_side::Outcome;
use super::peers::Owner;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, Event, State};
use crate::adapter::gate::{Arrival, Task};
use crate::adapter::head::write_bare_request;
use crate::adapter::program;
use crate::adapter::settings::Ready;
use crate::adapter::upstream;
use crate::function::request::LoggedId;
use crate::server::drain::Drain;
use crate::server::system::Token;
use crate::start_error::StartError;
use crate::tuning::READY_RETRY_MAX;
use std::time::Duration;

/// How far the instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The program does not serve yet. The next look whether it does comes at that time, unless one is under way.
    Starting {
        next_look: Duration,
        asking: Option<Token>,
        status: Option<u16>,
    },
    Serving,
    /// What is in progress is finished.
    Draining,
    /// Pre-stop runs.
    PreStop,
    /// The program was told to end, or it has ended.
    Ending,
    Over,
}

impl Stage {
    pub(super) fn starting() -> Stage {
        Stage::Starting { next_look: Duration::ZERO, asking: None, status: None }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Stage::Starting { next_look, asking: None, .. } => Some(*next_look),
            _ => None,
        }
    }

    pub(super) fn note_status(&mut self, seen: u16) {
        if let Stage::Starting { status, .. } = self {
            *status = Some(seen);
        }
    }
}

/// The shortest pause between two looks. A look takes a twentieth of that, and a fast program serves within ten of
/// them.
const READY_RETRY_MIN: Duration = Duration::from_micros(100);

/// A pause is this part of the time that has passed: what it adds to a start is in proportion to the start.
const READY_RETRY_PART: u32 = 8;

fn pause_after(passed: Duration) -> Duration {
    (passed / READY_RETRY_PART).clamp(READY_RETRY_MIN, READY_RETRY_MAX)
}

impl<O: AdapterSystem> Proxy<O> {
    pub(super) fn advance_stage(&mut self, saw_all: bool) -> Result<(), StartError> {
        let now = self.clock.reading();
        if let Some(signal) = self.program.expire(now) {
            self.system.signal_group(self.program.pid(), signal);
        }
        if matches!(self.program.state(), program::State::Exited(_)) {
            self.program_has_ended();
            return Ok(());
        }
        match self.stage {
            Stage::Starting { next_look, asking: None, .. } if next_look <= now => self.look_whether_ready()?,
            Stage::Draining => self.finish_drain(saw_all),
            Stage::PreStop if self.task.is_none() => self.run_pre_stop(),
            _ => {}
        }
        Ok(())
    }

    /// The kernel completes connections from now on.
    #[cold]
    #[inline(never)]
    pub(super) fn listen(&mut self) -> Result<(), StartError> {
        self.system.listen()
    }

    #[cold]
    #[inline(never)]
    fn look_whether_ready(&mut self) -> Result<(), StartError> {
        let now = self.clock.reading();
        let next_look = now + pause_after(now);
        self.stage = Stage::Starting { next_look, asking: None, status: None };
        self.head.clear();
        if let Ready::Request { method, path, .. } = &self.settings.ready {
            write_bare_request(&mut self.head, method, path, None);
        }
        // Without a request, the outcome of making the connection is the answer.
        let Ok(token) = self.send_on(Owner::Ready, None, 0..0) else { return Ok(()) };
        if self.settings.ready == Ready::Connect {
            let Some(upstream) = self.upstreams.get(token) else { return Ok(()) };
            let is_made =
                self.system.take_error(&upstream.socket).is_ok() && self.system.is_connected(&upstream.socket);
            self.close_upstream(token, upstream::CloseReason::Done);
            return if is_made { self.begin_serving() } else { Ok(()) };
        }
        self.stage = Stage::Starting { next_look, asking: Some(token), status: None };
        Ok(())
    }

    /// The program has answered the question whether it serves, or has closed the connection.
    #[cold]
    #[inline(never)]
    pub(super) fn ready_answered(&mut self, is_whole: bool) {
        let Stage::Starting { next_look, status, .. } = self.stage else { return };
        let next_look = next_look.max(self.clock.reading());
        self.stage = Stage::Starting { next_look, asking: None, status: None };
        let Ready::Request { statuses, .. } = &self.settings.ready else { return };
        if is_whole
            && status.is_some_and(|status| statuses.contains(status))
            && let Err(error) = self.begin_serving()
        {
            self.failure = Some(error);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_serving(&mut self) -> Result<(), StartError> {
        self.program.served();
        self.stage = Stage::Serving;
        self.gate.open();
        self.again.append(&mut self.waiting);
        if self.settings.early { Ok(()) } else { self.listen() }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn begin_drain(&mut self, age: Duration) {
        self.drain = Some(Drain::new(age, self.now.instant));
        self.stop_accepting();
        self.drop_kept();
        log::info!("stopping: {} connections are open", self.clients.len());
        if let Stage::Starting { asking, .. } = self.stage {
            if let Some(token) = asking {
                self.close_upstream(token, upstream::CloseReason::Stopping);
            }
            return self.end_program();
        }
        if self.stage == Stage::Serving {
            self.stage = Stage::Draining;
        }
    }

    pub(super) fn count_drain(&mut self, was_frozen: bool) {
        if let Some(drain) = &mut self.drain {
            drain.count(self.now.instant, was_frozen);
        }
    }

    /// Closes what is idle; once nothing is in progress, or the time is over, pre-stop comes.
    #[cold]
    #[inline(never)]
    fn finish_drain(&mut self, saw_all: bool) {
        self.accept_backlog();
        let Some(drain) = &mut self.drain else { return };
        drain.polled_once |= saw_all;
        if !drain.polled_once {
            return;
        }
        let is_over = drain.time_left(self.config.limits.drain_time_max).is_zero();
        for token in self.clients.pick(|client| client.machine.is_between_calls() && client.input.is_empty()) {
            let outcome: Outcome = self.linger(token, Event::Stopped);
            self.sync(token, outcome.map_err(|_| CloseReason::Stopping));
        }
        if is_over {
            // The program, which is asked to end next, need not wait for them.
            for token in self.clients.pick(|client| !matches!(client.state(), State::Waiting | State::Lingering)) {
                self.close(token, CloseReason::Stopping);
            }
        }
        let is_done = self.clients.iter().all(|(_, client)| client.state() == State::Lingering);
        if is_over || (is_done && self.task.is_none()) {
            self.stage = Stage::PreStop;
            self.run_pre_stop();
        }
    }

    /// Runs pre-stop if it is due, and ends the program behind it.
    #[cold]
    #[inline(never)]
    fn run_pre_stop(&mut self) {
        if self.task.is_some() {
            return;
        }
        let arrival = Arrival { now: self.now, caller: None, machine: self.system.machine() };
        match self.gate.stop(arrival) {
            Some(task @ (Task::Hook(_) | Task::Thaw(_))) => {
                self.prepare_task(task, None, None, LoggedId::NONE);
                self.start_task();
            }
            None => self.end_program(),
        }
    }

    #[cold]
    #[inline(never)]
    fn end_program(&mut self) {
        self.stage = Stage::Ending;
        let now = self.clock.reading();
        if let Some(signal) = self.program.stop(now) {
            self.system.signal_group(self.program.pid(), signal);
        }
    }

    /// What it had in hand is read to its end: its last replies may be there.
    #[cold]
    #[inline(never)]
    fn program_has_ended(&mut self) {
        if self.stage != Stage::Ending {
            self.stop_accepting();
            self.drain.get_or_insert(Drain::new(Duration::ZERO, self.now.instant));
            self.stage = Stage::Ending;
        }
        if self.task.is_some() {
            self.end_task(Err("the program has ended".to_owned()));
        }
        for token in self.clients.pick(|client| client.state() == State::Waiting) {
            let outcome = self.bad_gateway(token, "the program has ended");
            self.sync(token, outcome);
        }
        let is_done = |state| matches!(state, State::New | State::Idle | State::Receiving | State::Lingering);
        let is_over = self.clients.iter().all(|(_, client)| is_done(client.state()));
        let has_time = self.drain.is_some_and(|drain| !drain.time_left(crate::tuning::DRAIN_LINGER_TIME_MAX).is_zero());
        if is_over || !has_time {
            for token in self.clients.pick(|_| true) {
                self.close(token, CloseReason::Stopping);
            }
            self.stage = Stage::Over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long a program takes to serve, the adapter learns of it within an eighth of that time, or within the
    /// shortest pause.
    #[test]
    fn a_start_is_noticed_in_proportion() {
        let ms = Duration::from_millis;
        assert_eq!([8, 80, 400, 60_000].map(|passed| pause_after(ms(passed))), [1, 10, 50, 50].map(ms));
        assert_eq!(pause_after(Duration::ZERO), Duration::from_micros(100));
        let (mut look, mut looks) = (Duration::ZERO, 0);
        while look < ms(1000) {
            look += pause_after(look);
            looks += 1;
        }
        assert!(looks < 80, "{looks} looks in the first second");
    }
}
