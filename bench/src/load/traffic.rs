//! Which connection sends when, and what is recorded.
//!
//! Times are the input and decisions the output. There is no socket and no clock, so the tests can simulate a server
//! that stalls. There are two ways to load:
//!
//! - **Closed:** each connection sends its next request after its reply. Latency counts from the sending. A server that
//!   stalls gets fewer requests, so the percentiles describe only the requests that it accepted; the requests per
//!   second show the rest.
//! - **Fixed rate:** the clock decides when a request is due. A request that finds no free connection waits, and its
//!   latency counts from its due time. All requests that were due during a stall show it (no coordinated omission).
//!
//! A request belongs to the run if it was due within the window, whenever its reply comes.

use std::collections::VecDeque;

use super::Nanos;
use super::counters::Counters;
use super::schedule::Schedule;

/// The number of failures in a row, on old and new connections, after which further attempts would show nothing new.
const FAILURES_MAX: u32 = 1_000;

/// The window that counts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Requests that were due earlier are warm-up.
    pub from: Nanos,
    /// No request is due from this time on.
    pub to: Nanos,
}

/// The state of all connections, as far as decisions need it.
#[derive(Debug)]
pub struct Traffic {
    schedule: Option<Schedule>,
    window: Window,
    counting: bool,
    /// Free connections, and since when. The connection that has been free longest is the next, so that all are used.
    free: VecDeque<(usize, Nanos)>,
    /// The due time of the request that a connection carries.
    carried: Vec<Option<Nanos>>,
    failures: u32,
    /// The counters.
    pub counters: Counters,
}

impl Traffic {
    /// This many connections, all free from `start` on; `rate` is the rate of all together.
    pub fn new(connections: usize, rate: Option<f64>, start: Nanos, window: Window) -> Self {
        Self {
            schedule: rate.map(|rate| Schedule::new(start, rate)),
            window,
            counting: false,
            free: (0..connections).map(|connection| (connection, start)).collect(),
            carried: vec![None; connections],
            failures: 0,
            counters: Counters::default(),
        }
    }

    /// The connection that should send a request now, if any. Call it until it returns `None`.
    pub fn next(&mut self, now: Nanos) -> Option<usize> {
        let (connection, since) = *self.free.front().filter(|_| !self.is_hopeless())?;
        let due = match &mut self.schedule {
            None if now >= self.window.to => return None,
            None => now,
            Some(schedule) => {
                if !self.counting && now >= self.window.from {
                    // Requests that were still waiting when the warm-up ended do not count.
                    schedule.skip_to(self.window.from);
                    self.counting = true;
                }
                let due = schedule.due();
                // After the end, the loop sends only the requests that are late because of the client, not because of
                // the server.
                let over = due >= self.window.to || (now >= self.window.to && since > due);
                if due > now || over {
                    return None;
                }
                schedule.take();
                if due >= self.window.from {
                    self.counters.sent_late(now - due.max(since).min(now));
                }
                due
            }
        };
        self.free.pop_front();
        self.carried[connection] = Some(due);
        Some(connection)
    }

    /// When [`Traffic::next`] should be called again, even if no event comes.
    pub fn wake(&self) -> Option<Nanos> {
        let due = self.schedule.as_ref()?.due();
        (!self.free.is_empty() && due < self.window.to).then_some(due)
    }

    /// The reply to a connection's request has arrived. The connection is not free yet.
    pub fn answered(&mut self, connection: usize, now: Nanos) {
        self.failures = 0;
        if let Some(due) = self.carried[connection].take().filter(|due| *due >= self.window.from) {
            self.counters.answered(now - due.min(now));
        }
    }

    /// A connection broke, with its request if it carried one. It is not free.
    pub fn failed(&mut self, connection: usize, cause: impl FnOnce() -> String) {
        self.failures += 1;
        self.counters.cause(cause);
        if self.carried[connection].take().is_some_and(|due| due >= self.window.from) {
            self.counters.failed();
        }
    }

    /// A connection can carry a request.
    pub fn freed(&mut self, connection: usize, now: Nanos) {
        self.free.push_back((connection, now));
    }

    /// A free connection is gone.
    pub fn lost(&mut self, connection: usize) {
        self.free.retain(|(free, _)| *free != connection);
    }

    /// Whether the run should end, because nothing but failures came.
    pub fn is_hopeless(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether a reply is still awaited.
    pub fn is_awaited(&self) -> bool {
        self.carried.iter().any(Option::is_some)
    }

    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Ends the window early.
    pub fn end_at(&mut self, now: Nanos) {
        self.window.to = self.window.to.min(now);
    }

    /// Ends the counting: a request that was due and has no reply is counted with its age.
    pub fn close(mut self, now: Nanos) -> Counters {
        let Window { from, to } = self.window;
        // Requests of the warm-up count, too: they hung through the whole window.
        for due in self.carried.iter().flatten() {
            self.counters.hung(now - due.min(&now));
        }
        for due in self.schedule.iter().flat_map(|it| it.waiting(to.min(now))).filter(|due| *due >= from) {
            self.counters.left_over(now - due);
        }
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;
    const STALL: Nanos = 200 * MS;

    /// A simulated server that takes 100 µs for each request, one after the other, and stops at 500 ms for 200 ms.
    fn simulate(connections: usize, rate: Option<f64>, window: Window) -> Counters {
        let mut traffic = Traffic::new(connections, rate, 0, window);
        let mut queue: VecDeque<(usize, Nanos)> = VecDeque::new();
        let (mut now, mut idle_from, mut stalled) = (0, 0, false);
        while now < window.to {
            while let Some(connection) = traffic.next(now) {
                let begins = now.max(idle_from);
                let stall = !stalled && begins >= 500 * MS;
                stalled |= stall;
                idle_from = begins + MS / 10 + if stall { STALL } else { 0 };
                queue.push_back((connection, idle_from));
            }
            let reply = queue.front().map(|(_, at)| *at);
            now = [reply, traffic.wake(), Some(window.to)].into_iter().flatten().min().unwrap().max(now);
            if let Some((connection, _)) = queue.pop_front_if(|(_, at)| *at <= now) {
                traffic.answered(connection, now);
                traffic.freed(connection, now);
            }
        }
        traffic.close(now)
    }

    fn p99(counters: &Counters) -> f64 {
        counters.run().percentiles_us[2]
    }

    #[test]
    fn a_stall_is_felt_by_all_that_were_due_meanwhile() {
        let window = Window { from: 0, to: 1000 * MS };
        let fixed = simulate(16, Some(1000.0), window);
        assert_eq!((fixed.requests + fixed.hung + fixed.left_over, fixed.errors), (1000, 0));
        assert!(p99(&fixed) > 180_000.0, "{}", p99(&fixed));
        // The stall takes a fifth of one second: this many requests were due in it, with waits spread evenly from 200
        // ms to 0.
        let felt: u64 = fixed.run().latency_us.iter().filter(|(us, _)| *us > 1_000.0).map(|(_, count)| count).sum();
        assert!((199..=230).contains(&felt), "{felt}");
        // The closed loop does not show it: one stalled request of many thousand.
        let closed = simulate(1, None, window);
        assert!(p99(&closed) < 110.0 && closed.run().percentiles_us[4] > 190_000.0);
    }

    #[test]
    fn who_cannot_keep_up_shows_it() {
        let window = Window { from: 100 * MS, to: 400 * MS };
        let counters = simulate(4, Some(20_000.0), window);
        // Half of 6,000 requests are served. The others are not dropped, and the oldest has waited longest.
        assert_eq!(counters.requests + counters.hung + counters.left_over, 6000);
        assert!((2900..=3010).contains(&counters.requests), "{}", counters.requests);
        let run = counters.run();
        assert_eq!(run.latency_us.iter().map(|(_, count)| count).sum::<u64>(), 6000);
        assert!(run.percentiles_us[4] > 140_000.0, "{:?}", run.percentiles_us);
        assert!(run.note.unwrap().contains("still waited"));
    }

    #[test]
    fn the_window_takes_what_was_due_in_it() {
        let mut traffic = Traffic::new(1, None, 0, Window { from: 10, to: 20 });
        for (sent, answered) in [(5, 12), (12, 13), (19, 25)] {
            assert_eq!(traffic.next(sent), Some(0));
            assert_eq!(traffic.next(sent), None);
            traffic.answered(0, answered);
            traffic.freed(0, answered);
        }
        assert_eq!(traffic.next(25), None);
        let counters = traffic.close(30);
        assert_eq!((counters.requests, counters.hung), (2, 0));
    }

    #[test]
    fn who_hangs_through_the_whole_window_is_not_overlooked() {
        let mut traffic = Traffic::new(1, None, 0, Window { from: 10, to: 20 });
        assert_eq!((traffic.next(5), traffic.next(15)), (Some(0), None));
        assert!(traffic.is_awaited());
        let counters = traffic.close(30);
        assert_eq!((counters.requests, counters.hung, counters.run().percentiles_us[4]), (0, 1, 0.025));
    }

    #[test]
    fn after_the_end_only_our_own_lateness_is_made_good() {
        let window = Window { from: 0, to: 10 };
        let late = |free_since| {
            let mut traffic = Traffic::new(1, Some(1e9 / 8.0), 0, window);
            assert_eq!(traffic.next(0), Some(0));
            traffic.answered(0, free_since);
            traffic.freed(0, free_since);
            traffic.next(11)
        };
        assert_eq!((late(7), late(9)), (Some(0), None));
    }

    #[test]
    fn failures_count_once_and_end_a_hopeless_run() {
        let mut traffic = Traffic::new(2, None, 0, Window { from: 0, to: 1000 * MS });
        assert_eq!((traffic.next(0), traffic.next(0)), (Some(0), Some(1)));
        traffic.failed(0, || "reset".into());
        traffic.failed(0, || "refused".into());
        traffic.freed(0, 1);
        traffic.lost(0);
        assert_eq!(traffic.next(1), None);
        for _ in 2..FAILURES_MAX {
            assert!(!traffic.is_hopeless());
            traffic.failed(0, || "refused".into());
        }
        assert!(traffic.is_hopeless() && traffic.is_awaited());
        traffic.answered(1, 2);
        assert!(!traffic.is_hopeless() && !traffic.is_awaited());
        let counters = traffic.close(3);
        assert_eq!((counters.requests, counters.errors, counters.first_error.as_deref()), (1, 1, Some("reset")));
    }
}
