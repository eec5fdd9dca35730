//! Freezes, inferred: which signs there are, how sure they are, and how long the instance stood.
//!
//! A freeze is never announced on FC 3.0 (C-FRZ-2), never followed by a call on thaw (C-FRZ-5), and no clock shows each
//! kind of it (C-FRZ-6). So evidence is collected from wherever it shows, and the next request counts as the first one
//! after a freeze as soon as there is any. A thaw too many costs the author one callback; a thaw missed costs a dead
//! connection. No sign costs a system call on the way of a request, a timer or a thread.
//!
//! Pure: readings of clocks come in. Must not know phases, hooks or callbacks: `lifecycle` does.

use crate::function::caller_clock::{CallerClock, CallerTime};
use crate::tuning::CLOCK_JUMP_MIN;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks, because some pauses show only where the two disagree.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClockReading {
    /// The monotonic clock. It runs on under SIGSTOP and under a cgroup freezer, and stands still while the machine is
    /// paused.
    pub instant: Instant,
    /// The time of day.
    pub wall: SystemTime,
}

/// Signs that the instance stood still, collected since the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The pre-freeze hook was called: the platform announced a freeze (C-FRZ-2).
    pub pre_freeze: bool,
    /// SIGCONT came: another process had stopped this one.
    pub sigcont: bool,
    /// The time of day ran ahead of the monotonic clock by this much: the machine was suspended or paused and its clock
    /// was set afterwards, or somebody set the clock.
    pub clocks_disagree: Option<Duration>,
    /// Our clock fell behind the caller's by this much: the machine was paused (C-FRZ-10).
    pub caller_clock: Option<Duration>,
    /// A wait with a time limit, or a turn of the server's loop, lasted this much longer than it can have without a
    /// freeze (C-FRZ-11).
    pub overslept: Option<Duration>,
    /// A wait was interrupted though no signal had come, as Linux does to `epoll_wait` when it thaws a control group.
    /// The `poll` of other kernels is restarted instead and shows nothing. Attaching a debugger looks the same.
    pub interrupted: bool,
    /// The host name or the address is another one than before: the process was restored elsewhere (C-RST-7). The
    /// server looks only where there is another sign.
    pub restored: bool,
    /// No request came for this long on a platform that freezes instances without requests (C-FRZ-1). See
    /// [`Limits::idle_thaw_time_min`](crate::Limits::idle_thaw_time_min).
    pub idle: Option<Duration>,
}

/// How sure it is that the instance stood still. A later one is surer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Confidence {
    /// Only an idle gap: the platform freezes instances without requests, but not each of them.
    Possible,
    /// A sign that something else can give too: a debugger, a clock that was set, an announcement without a freeze.
    Likely,
    /// A sign that only a freeze gives.
    Certain,
}

impl Confidence {
    /// It in a word: `possible`, `likely`, `certain`.
    pub const fn name(self) -> &'static str {
        match self {
            Confidence::Possible => "possible",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Evidence {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        *self != Evidence::default()
    }

    /// How sure the surest sign is; none without a sign.
    pub fn confidence(&self) -> Option<Confidence> {
        self.signs().into_iter().filter(|(seen, ..)| *seen).map(|(_, confidence, _)| confidence).max()
    }

    /// Every sign: whether it was seen, how sure it is, its name.
    fn signs(&self) -> [(bool, Confidence, &'static str); 8] {
        use Confidence::*;
        [
            (self.pre_freeze, Likely, "pre-freeze"),
            (self.sigcont, Certain, "sigcont"),
            (self.clocks_disagree.is_some(), Likely, "clocks-disagree"),
            (self.caller_clock.is_some(), Certain, "caller-clock"),
            (self.overslept.is_some(), Certain, "overslept"),
            (self.interrupted, Likely, "interrupted"),
            (self.restored, Certain, "restored"),
            (self.idle.is_some(), Possible, "idle"),
        ]
    }

    fn add(&mut self, seen: &Evidence) {
        self.pre_freeze |= seen.pre_freeze;
        self.sigcont |= seen.sigcont;
        self.clocks_disagree = self.clocks_disagree.max(seen.clocks_disagree);
        self.caller_clock = self.caller_clock.max(seen.caller_clock);
        self.overslept = self.overslept.max(seen.overslept);
        self.interrupted |= seen.interrupted;
        self.restored |= seen.restored;
        self.idle = self.idle.max(seen.idle);
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, _, name) in self.signs().iter().filter(|(seen, ..)| *seen) {
            write!(f, "{separator}{name}")?;
            separator = "+";
        }
        Ok(())
    }
}

/// The clock that a length was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The monotonic clock of this machine.
    Monotonic,
    /// The time of day of this machine.
    Wall,
    /// The monotonic clock, and how far it fell behind the caller's.
    Caller,
}

impl Clock {
    /// It in a word: `monotonic`, `wall`, `caller`.
    pub const fn name(self) -> &'static str {
        match self {
            Clock::Monotonic => "monotonic",
            Clock::Wall => "wall",
            Clock::Caller => "caller",
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The time between the last activity and a request: the longest estimate, and the clock it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// How long it was.
    pub length: Duration,
    /// The clock that says so.
    pub clock: Clock,
}

/// A freeze that has ended, as the thaw callback gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thaw {
    /// The signs of the freeze.
    pub evidence: Evidence,
    /// How sure the surest sign is.
    pub confidence: Confidence,
    /// The time between the last activity and the request that thawed; the freeze was at most this long. Connections
    /// from before it may be dead, credentials and caches out of date (C-FRZ-5).
    pub gap: Duration,
    /// The clock that `gap` is from.
    pub gap_clock: Clock,
}

/// Where a process is: what can differ after it was restored elsewhere (C-RST-7). A fingerprint of the host name and of
/// the address that connections to the outside would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u64);

/// What the detector may ask of the machine, and only once a freeze is suspected.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    /// The monotonic clock that the kernel does not slew.
    pub(crate) raw: fn() -> Duration,
    pub(crate) place: fn() -> Option<Place>,
}

#[cfg(any(test, fuzzing))]
impl Machine {
    /// Tells nothing.
    pub(crate) const UNKNOWN: Machine = Machine { raw: || Duration::ZERO, place: || None };
}

/// Collects evidence between requests, and judges it at each request.
#[derive(Clone, Debug)]
pub(crate) struct FreezeDetector {
    evidence: Evidence,
    /// There is evidence.
    suspected: bool,
    started: ClockReading,
    /// The time of day at the start, since 1970.
    started_ms: u64,
    last_active: ClockReading,
    passed: Passed,
    caller: CallerClock,
    /// The time of day is behind by this much since pauses that the caller's clock showed. When somebody sets it right,
    /// the jump is no second freeze (C-FRZ-10).
    behind: Duration,
    /// The monotonic and the raw clock when the kernel's slewing was last accounted for.
    slewing_known: Option<(Instant, Duration)>,
    place: Option<Place>,
    idle_min: Option<Duration>,
}

impl FreezeDetector {
    pub(crate) fn new(now: ClockReading) -> FreezeDetector {
        FreezeDetector {
            evidence: Evidence::default(),
            suspected: false,
            started: now,
            last_active: now,
            passed: Passed::default(),
            started_ms: now.wall.duration_since(UNIX_EPOCH).map_or(0, millis),
            caller: CallerClock::default(),
            behind: Duration::ZERO,
            slewing_known: None,
            place: None,
            idle_min: None,
        }
    }

    /// Takes gaps of at least this length for evidence.
    pub(crate) fn suspect_idle_gaps(&mut self, idle_min: Duration) {
        self.idle_min = Some(idle_min).filter(|min| !min.is_zero());
    }

    /// Remembers where the process is, and how the raw clock stands, once the first reply has left.
    pub(crate) fn settle_in(&mut self, machine: Machine) {
        self.place = (machine.place)();
        self.slewing_known = Some((self.last_active.instant, (machine.raw)()));
    }

    pub(crate) fn started(&self) -> ClockReading {
        self.started
    }

    pub(crate) fn last_active(&self) -> ClockReading {
        self.last_active
    }

    pub(crate) fn gap(&self) -> Gap {
        self.passed.longest()
    }

    /// Adds evidence that the server came across.
    #[inline(never)]
    pub(crate) fn record(&mut self, seen: &Evidence) {
        self.evidence.add(seen);
        self.suspected |= seen.any();
    }

    /// A request has come: looks at what the clocks say about the time since the last one.
    #[inline(never)]
    pub(crate) fn look(&mut self, now: ClockReading, caller: Option<CallerTime>, machine: Machine) {
        let monotonic = now.instant.saturating_duration_since(self.last_active.instant);
        let wall = now.wall.duration_since(self.last_active.wall).unwrap_or_default();
        let jump = wall.checked_sub(monotonic).filter(|jump| *jump >= CLOCK_JUMP_MIN);
        let clocks_disagree = jump.filter(|jump| !self.is_known_correction(*jump));
        let caller_clock = caller.and_then(|caller| self.fall_behind(now, caller, machine));
        if let Some(fall) = caller_clock {
            // Where the clock was set right before this request, the jump says the same as the fall.
            self.behind = (self.behind + fall).saturating_sub(jump.unwrap_or_default());
        }
        self.passed = Passed { monotonic, wall, behind: caller_clock.unwrap_or_default() };
        let idle = self.idle_min.and_then(|min| Some(self.gap().length).filter(|length| *length >= min));
        if clocks_disagree.is_some() || caller_clock.is_some() || idle.is_some() {
            self.record(&Evidence { clocks_disagree, caller_clock, idle, ..Evidence::default() });
        }
        if self.suspected {
            self.look_around(machine);
        }
    }

    #[cold]
    fn look_around(&mut self, machine: Machine) {
        if self.place.is_some() {
            let place = (machine.place)();
            self.evidence.restored |= place.is_some() && place != self.place;
            self.place = place.or(self.place);
        }
    }

    /// Whether the time of day only caught up with pauses that were noticed before.
    fn is_known_correction(&mut self, jump: Duration) -> bool {
        let is_known = !self.behind.is_zero() && jump <= self.behind + CORRECTION_SLACK;
        self.behind = self.behind.saturating_sub(jump);
        if self.behind < CORRECTION_SLACK {
            self.behind = Duration::ZERO;
        }
        is_known
    }

    fn fall_behind(&mut self, now: ClockReading, caller: CallerTime, machine: Machine) -> Option<Duration> {
        let ours_ms = self.started_ms + millis(now.instant.saturating_duration_since(self.started.instant));
        let slewing_known = &mut self.slewing_known;
        self.caller.observe(ours_ms, caller, || {
            let raw = (machine.raw)();
            let before = slewing_known.replace((now.instant, raw));
            let Some((instant, raw_before)) = before else { return Duration::ZERO };
            raw.saturating_sub(raw_before).saturating_sub(now.instant.saturating_duration_since(instant))
        })
    }

    pub(crate) fn suspects(&self) -> bool {
        self.suspected
    }

    /// The evidence so far, which is used up by this. The request in hand ended a freeze if there is any.
    pub(crate) fn conclude(&mut self) -> Option<Thaw> {
        if !std::mem::take(&mut self.suspected) {
            return None;
        }
        let evidence = std::mem::take(&mut self.evidence);
        let confidence = evidence.confidence()?;
        let Gap { length, clock } = self.gap();
        // A wait cannot have overslept for longer than the gap that it lies in, whatever a clock lost meanwhile.
        let gap = length.max(evidence.overslept.unwrap_or_default());
        Some(Thaw { evidence, confidence, gap, gap_clock: clock })
    }

    /// A request has ended.
    pub(crate) fn mark_idle(&mut self, now: ClockReading) {
        self.last_active = now;
    }
}

/// By how much a correction may differ from the pauses it makes up for: the caller's time has whole seconds, and the
/// requests were under way.
const CORRECTION_SLACK: Duration = Duration::from_secs(2);

/// The time between the last activity and the request in hand, by each clock.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    monotonic: Duration,
    wall: Duration,
    /// How far our clock fell behind the caller's.
    behind: Duration,
}

impl Passed {
    fn longest(self) -> Gap {
        let Passed { monotonic, wall, behind } = self;
        let caller = monotonic + behind;
        let length = wall.max(caller);
        // The monotonic clock is the plainest source, and less than a second is no difference.
        let clock = if length < monotonic + CLOCK_JUMP_MIN {
            Clock::Monotonic
        } else if caller == length {
            Clock::Caller
        } else {
            Clock::Wall
        };
        Gap { length, clock }
    }
}

/// As [`Duration::as_millis`], without a division of 128 bits.
pub(crate) fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(u64::from(time.subsec_millis()))
}

#[cfg(test)]
mod tests;
