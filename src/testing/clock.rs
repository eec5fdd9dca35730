//! The clocks of an instance under test. Several instances of a thread take turns: each shows its own clocks before it
//! runs.

use crate::function::context::Env;
use crate::function::freeze::{ClockReading, Evidence, Machine, Place};
use crate::server::PROCESS_ENV;
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How an instance is frozen, and so which signs there are of it (C-FRZ-6). A freeze that only clocks show must last
/// for 3 s to be sure to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freeze {
    /// By the freezer of its control group, as `docker pause` does. A wait is interrupted when it thaws.
    ControlGroup,
    /// By SIGSTOP and SIGCONT.
    Sigstop,
    /// The machine is suspended: its monotonic clock stands still, and its time of day is set afterwards. Where these
    /// two disagree by 1 s it shows, and in the request ids as well.
    MachineSuspended,
    /// The machine is paused: all its clocks stand still and stay behind. The time in the request ids of the platform
    /// shows it, from the second request on (C-FRZ-10).
    MachinePaused,
    /// The machine is paused, and restored from a snapshot in another place (C-RST-7).
    Restored,
    /// Without any sign.
    Unnoticed,
}

thread_local! {
    static SHOWN: Cell<Option<Clock>> = const { Cell::new(None) };
}

/// The clocks shown, for the dispatcher.
pub(super) const ENV: Env = Env {
    now: || shown().reading(),
    cancelled: || shown().cancelled,
    machine: Machine { raw: || shown().raw, place: || Some(Place(shown().place)) },
};

fn shown() -> Clock {
    SHOWN.get().unwrap_or_else(Clock::new)
}

/// All clocks of one instance, and the platform's.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    monotonic: Instant,
    wall: SystemTime,
    raw: Duration,
    /// The platform's time of day, which no freeze stops.
    platform: SystemTime,
    place: u64,
    cancelled: bool,
}

impl Clock {
    /// The time of day is the same in every test.
    pub(super) fn new() -> Clock {
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let monotonic = (PROCESS_ENV.now)().instant;
        Clock { monotonic, wall: start, raw: Duration::ZERO, platform: start, place: 0, cancelled: false }
    }

    pub(super) fn show(&self) {
        SHOWN.set(Some(*self));
    }

    pub(super) fn reading(&self) -> ClockReading {
        ClockReading { instant: self.monotonic, wall: self.wall }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.monotonic += time;
        self.raw += time;
        self.wall += time;
        self.platform += time;
    }

    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Freezes, and returns the signs that no clock gives.
    pub(super) fn freeze(&mut self, time: Duration, how: Freeze) -> Evidence {
        match how {
            Freeze::ControlGroup | Freeze::Sigstop | Freeze::Unnoticed => self.advance(time),
            Freeze::MachineSuspended => {
                self.wall += time;
                self.platform += time;
            }
            Freeze::MachinePaused => self.platform += time,
            Freeze::Restored => {
                self.platform += time;
                self.place += 1;
            }
        }
        Evidence { interrupted: how == Freeze::ControlGroup, sigcont: how == Freeze::Sigstop, ..Evidence::default() }
    }

    /// As FC 3.0 makes them: the platform's time, and a number.
    pub(super) fn request_id(&self, number: u64) -> String {
        let since_1970 = self.platform.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("1-{:08x}-{number:08x}-{number:012x}", since_1970.as_secs())
    }
}
