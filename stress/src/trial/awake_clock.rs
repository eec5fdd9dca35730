//! The clients' knowledge of time: whether the instance is frozen, and how much of a period its time limits can have
//! counted.
//!
//! Honest clients rest with [`AwakeClock::sleep_awake`], which counts only the time in which the instance is awake.
//! [`Reading`]s decide whether a time limit may have fired. They err in favour of the server: of a freeze they subtract
//! only the proven part beyond [`TURN_MAX`], because the server's own clock may count that much. This is also the gate
//! that stops and restarts the load.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fc_emulator::clock::Deadline;

/// The part of a freeze that a time limit of the server may count: one turn of its loop (ARCHITECTURE.md).
pub const TURN_MAX: Duration = Duration::from_millis(250);

/// Shared by the driver, which freezes, and by the clients.
#[derive(Default)]
pub struct AwakeClock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The instance is frozen, and clients rest.
    standing: bool,
    /// Since when the freeze is in force.
    frozen_at: Option<Instant>,
    /// The part of all freezes that no time limit may have counted.
    forgiven: Duration,
    held: bool,
    over: bool,
    busy: usize,
}

/// A point in time, and the part that no time limit may have counted until then.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    forgiven: Duration,
}

impl Reading {
    /// The most that a time limit can have counted since an earlier reading.
    pub fn since(self, earlier: Self) -> Duration {
        (self.at - earlier.at).saturating_sub(self.forgiven.saturating_sub(earlier.forgiven))
    }
}

impl AwakeClock {
    /// A reading of now.
    pub fn reading(&self) -> Reading {
        let state = self.state();
        Reading { at: Instant::now(), forgiven: state.forgiven }
    }

    /// The driver is about to request a freeze.
    pub fn freezes(&self) {
        self.state().standing = true;
    }

    /// The freeze is in force.
    pub fn frozen(&self) {
        self.state().frozen_at = Some(Instant::now());
    }

    /// The driver is about to thaw.
    pub fn thaws(&self) {
        let mut state = self.state();
        if let Some(at) = state.frozen_at.take() {
            state.forgiven += at.elapsed().saturating_sub(TURN_MAX);
        }
    }

    /// The freeze has ended, or did not come into force.
    pub fn thawed(&self) {
        self.state().standing = false;
        self.changed.notify_all();
    }

    /// Sleeps until the instance was awake for this long, or until the load ends.
    pub fn sleep_awake(&self, span: Duration) {
        let mut left = span;
        let mut state = self.state();
        while !state.over && (state.standing || !left.is_zero()) {
            if state.standing {
                state = self.wait(state, None);
                continue;
            }
            let began = Instant::now();
            state = self.wait(state, Some(left));
            left = left.saturating_sub(began.elapsed());
        }
    }

    /// Waits until the load may continue. Returns false if it has ended. A client that was let in calls
    /// [`AwakeClock::leave`] afterwards.
    pub fn enter(&self) -> bool {
        let mut state = self.state();
        while state.held && !state.over {
            state = self.wait(state, None);
        }
        state.busy += usize::from(!state.over);
        !state.over
    }

    /// The counterpart of [`AwakeClock::enter`].
    pub fn leave(&self) {
        let mut state = self.state();
        state.busy -= 1;
        if state.busy == 0 {
            self.changed.notify_all();
        }
    }

    /// Lets no client in any more. Returns true once no client is in.
    pub fn hold(&self, deadline: Deadline) -> bool {
        let mut state = self.state();
        state.held = true;
        while state.busy > 0 {
            let Some(left) = deadline.left() else { return false };
            state = self.wait(state, Some(left));
        }
        true
    }

    /// Lets the load continue.
    pub fn release(&self) {
        self.state().held = false;
        self.changed.notify_all();
    }

    /// Ends the load.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, span: Option<Duration>) -> MutexGuard<'a, State> {
        match span {
            Some(span) => self.changed.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_counts_one_turn_and_a_rest_waits_for_its_end() {
        let time = AwakeClock::default();
        let began = time.reading();
        time.freezes();
        time.frozen();
        let rested = std::thread::scope(|scope| {
            let resting = scope.spawn(|| {
                time.sleep_awake(Duration::from_millis(1));
                Instant::now()
            });
            std::thread::sleep(TURN_MAX + Duration::from_millis(150));
            let thawed_at = Instant::now();
            time.thaws();
            time.thawed();
            resting.join().unwrap().saturating_duration_since(thawed_at)
        });
        assert!(!rested.is_zero(), "it rested while all stood still");
        let now = time.reading();
        let forgiven = (now.at - began.at) - now.since(began);
        assert!(forgiven >= Duration::from_millis(150) && now.since(began) >= TURN_MAX, "{forgiven:?}");
    }

    #[test]
    fn the_gate_lets_the_load_come_to_rest_and_go_on() {
        let time = AwakeClock::default();
        assert!(time.enter());
        assert!(!time.hold(Deadline::after(Duration::ZERO)), "one is still in");
        time.leave();
        assert!(time.hold(Deadline::after(Duration::ZERO)));
        std::thread::scope(|scope| {
            let entering = scope.spawn(|| time.enter());
            time.release();
            assert!(entering.join().unwrap());
        });
        time.end();
        assert!(!time.enter());
    }
}
