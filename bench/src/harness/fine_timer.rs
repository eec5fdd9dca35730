//! Waits that end when they should.

use std::num::NonZeroU64;

use rustix::thread::set_current_timer_slack;

/// Timers of this thread without slack: the kernel wakes the thread when it is time, not up to 50 µs later. Only while
/// the client waits: child processes inherit the slack, and a server should have ordinary timers.
pub struct FineTimer;

impl FineTimer {
    /// Sets them.
    #[must_use]
    pub fn set() -> Self {
        // If this fails, the pauses are longer, and the results show it.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        Self
    }
}

impl Drop for FineTimer {
    fn drop(&mut self) {
        let _ = set_current_timer_slack(None);
    }
}
