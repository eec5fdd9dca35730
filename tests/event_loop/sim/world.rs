//! One world: its clocks, its signals, its clients, and the first rule that was broken in it.

use super::client::Client;
use super::coverage::{Kind, Seen};
use super::function::Variant;
use super::lifecycle_check::Life;
use super::machines::Machines;
use super::requests::Ask;
use super::rng::Rng;
use crate::function::lifecycle::ClockReading;
use crate::limits::Limits;
use crate::tuning::TURN_TIME_MAX;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

pub(super) type Shared = Rc<RefCell<Sim>>;

/// Both clocks: the monotonic one, and how far the wall clock is ahead of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    pub(super) monotonic: Duration,
    pub(super) ahead: Duration,
}

/// A point in time as the rules count it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Time without that of freezes.
    pub(super) awake: Duration,
    /// The same as documented: no turn counts more than `TURN_TIME_MAX`.
    pub(super) counted: Duration,
    pub(super) freezes: u32,
    pub(super) turn: u64,
}

impl Mark {
    /// Whether the server may count `limit` as over since `self`: each freeze costs a turn.
    pub(super) fn may_be_over(self, now: Mark, limit: Duration) -> bool {
        let frozen = TURN_TIME_MAX * now.freezes.saturating_sub(self.freezes);
        now.awake.saturating_sub(self.awake) + frozen >= limit
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) at: Duration,
    pub(super) awake: Duration,
    pub(super) freezes: u32,
    /// Freezes since then that left no evidence.
    pub(super) unseen_freezes: u32,
    /// Time since in turns that looked like a freeze: the drain counts little of it.
    pub(super) forgiven: Duration,
    /// The loop has asked for signals since.
    pub(super) known: bool,
    pub(super) known_at: Mark,
    /// Between that turn's time and the answer: it counts twice.
    pub(super) gap: Duration,
}

/// Rates of mishaps, in a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) act: usize,
    pub(super) jump: usize,
    pub(super) freeze: usize,
    pub(super) spurious: usize,
    pub(super) accept: usize,
    pub(super) watch: usize,
    pub(super) interrupt: usize,
    pub(super) short: usize,
    pub(super) error: usize,
}

pub(super) struct Sim {
    pub(super) chance: Rng,
    pub(super) limits: Limits,
    pub(super) rates: Rates,
    pub(super) clocks: Clocks,
    pub(super) awake: Duration,
    /// Time as the clients live it, freezes of the server included.
    pub(super) world: Duration,
    pub(super) freezes: u32,
    pub(super) freezes_left: usize,
    pub(super) turn: Mark,
    /// None before the loop's first look at the clocks.
    pub(super) turn_began: Option<Duration>,
    /// When the wait in hand began, and its limit: a wait that oversleeps is evidence.
    pub(super) waiting: Option<(Duration, Option<Duration>)>,
    pub(super) wait_began: Duration,
    /// A piece of a streamed reply was read in this turn.
    pub(super) streamed: bool,
    pub(super) interrupted: bool,
    pub(super) turn_took: Duration,
    pub(super) overslept: bool,
    /// This turn's wait brought evidence of a freeze.
    pub(super) looks_frozen: bool,
    /// The loop's last look at the clocks.
    pub(super) loop_looked: Clocks,
    pub(super) stop: Option<Stop>,
    /// Every name that a connection had.
    pub(super) tokens: Vec<u64>,
    pub(super) stop_at_tick: Option<u64>,
    /// The stop comes when a connection lets others have their turn.
    pub(super) stop_on_yield: bool,
    /// The stop may come in any wait.
    pub(super) stop_in_wait: bool,
    pub(super) ticks: u64,
    pub(super) continued: bool,
    pub(super) signals_new: bool,
    pub(super) wake_pending: bool,
    pub(super) clients: Vec<Client>,
    pub(super) queue: VecDeque<usize>,
    pub(super) listening: bool,
    pub(super) listener_watched: bool,
    pub(super) descriptors_max: usize,
    /// The last accept failed for want of descriptors or memory, in this turn.
    pub(super) exhausted_at: Option<u64>,
    pub(super) tells_queue: bool,
    pub(super) hysteresis: bool,
    /// Counts up whenever something happens: waits in which nothing does are a busy loop.
    pub(super) progress: u64,
    pub(super) life: Life,
    pub(super) machines: Machines,
    /// Connections that were accepted since the machines were last looked at.
    pub(super) accepted: usize,
    pub(super) seen: Seen,
    pub(super) trace: Option<VecDeque<String>>,
    /// The rule that was broken first, and how.
    pub(super) broken: Option<(&'static str, String)>,
}

/// Steps of a trace that are kept.
const TRACE_MAX: usize = 120;

thread_local! {
    /// The clocks and the stop flag that the dispatcher's `Env` reads, which is plain functions.
    static NOW: Cell<Clocks> = const { Cell::new(Clocks { monotonic: Duration::ZERO, ahead: Duration::ZERO }) };
    static LOOKS: Cell<(Clocks, Clocks)> = const { Cell::new((
        Clocks { monotonic: Duration::ZERO, ahead: Duration::ZERO },
        Clocks { monotonic: Duration::ZERO, ahead: Duration::ZERO },
    )) };
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn env_now() -> ClockReading {
    let clocks = NOW.get();
    LOOKS.set((LOOKS.get().1, clocks));
    moment(clocks)
}

pub(super) fn env_cancelled() -> bool {
    STOPPED.get()
}

/// The last but one and the last time that the dispatcher's `Env` read the clocks.
pub(super) fn looks() -> (Clocks, Clocks) {
    LOOKS.get()
}

/// An instant can only come from the real clock, so all of them are told from their difference to this one.
fn moment(clocks: Clocks) -> ClockReading {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    ClockReading {
        instant: *BASE.get_or_init(Instant::now) + clocks.monotonic,
        wall: wall + clocks.monotonic + clocks.ahead,
    }
}

impl Sim {
    pub(super) fn new(seed: u64, traced: bool) -> Sim {
        let mut chance = Rng::new(seed);
        let limits = super::scenario::limits(&mut chance);
        let rates = super::scenario::rates(&mut chance);
        let variant = chance.pick(&[Variant::Full, Variant::Full, Variant::Strict, Variant::Bare]);
        let mut sim = Sim {
            limits,
            rates,
            clocks: Clocks { monotonic: Duration::from_millis(chance.below(1 << 30) as u64), ahead: Duration::ZERO },
            awake: Duration::ZERO,
            world: Duration::ZERO,
            freezes: 0,
            freezes_left: if chance.one_in(2) { chance.below(8) } else { 0 },
            turn: Mark::default(),
            turn_began: None,
            waiting: None,
            wait_began: Duration::ZERO,
            streamed: false,
            interrupted: false,
            turn_took: Duration::ZERO,
            overslept: false,
            looks_frozen: false,
            tokens: Vec::new(),
            loop_looked: Clocks::default(),
            stop: None,
            stop_at_tick: chance.one_in(3).then(|| chance.below(600) as u64),
            stop_on_yield: false,
            stop_in_wait: true,
            ticks: 0,
            continued: false,
            signals_new: false,
            wake_pending: false,
            clients: Vec::new(),
            queue: VecDeque::new(),
            listening: true,
            listener_watched: true,
            descriptors_max: if chance.one_in(4) { 1 + chance.below(3) } else { usize::MAX },
            exhausted_at: None,
            tells_queue: !chance.one_in(5),
            hysteresis: chance.one_in(2),
            progress: 0,
            life: Life::new(variant),
            machines: Machines::new(),
            accepted: 0,
            seen: Seen::new(),
            trace: traced.then(VecDeque::new),
            broken: None,
            chance,
        };
        STOPPED.set(false);
        sim.show_clocks();
        if seed % super::directed::DIRECTED == super::directed::DIRECTED - 1 {
            super::directed::people(&mut sim, seed);
        } else {
            super::scenario::people(&mut sim);
        }
        sim
    }

    /// A step for the trace.
    pub(super) fn note(&mut self, step: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE_MAX {
            trace.pop_front();
        }
        trace.push_back(format!("turn {:>4} {:>12.3?} {}", self.turn.turn, self.awake, step()));
    }

    /// A rule is broken. It is told at the next wait, because a callback's panic would be caught.
    pub(super) fn fail(&mut self, rule: &'static str, details: impl Into<String>) {
        let details = details.into();
        self.note(|| format!("BROKEN {rule}: {details}"));
        if self.broken.is_none() {
            self.broken = Some((rule, details));
        }
    }

    pub(super) fn find(&self, number: u64) -> Option<&Ask> {
        let ask = self.clients.get((number >> 8) as usize & 0xff)?.asks.get(number as usize & 0xff)?;
        (ask.number == number).then_some(ask)
    }

    pub(super) fn find_mut(&mut self, number: u64) -> Option<&mut Ask> {
        let ask = self.clients.get_mut((number >> 8) as usize & 0xff)?.asks.get_mut(number as usize & 0xff)?;
        (ask.number == number).then_some(ask)
    }

    fn show_clocks(&mut self) {
        NOW.set(self.clocks);
    }

    /// Before every call of the system: the world goes on meanwhile.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        while self.chance.permille(self.rates.act) {
            self.somebody_acts();
        }
        if self.chance.permille(self.rates.jump) {
            let long = self.chance.one_in(8);
            let ms = if long { self.chance.below(6_000) } else { self.chance.below(40) };
            self.seen.count(if long { Kind::LongJump } else { Kind::Jump });
            self.pass(Duration::from_millis(ms as u64));
        }
        if self.chance.permille(self.rates.freeze) && self.freezes_left > 0 {
            self.seen.count(Kind::FreezeBetweenCalls);
            self.freeze(false);
        }
        if self.stop_at_tick.is_some_and(|at| at <= self.ticks) && self.stop.is_none() {
            self.seen.count(Kind::StopBetweenCalls);
            self.signal_stop();
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.clocks.monotonic += time;
        self.awake += time;
        self.world += time;
        self.progress += u64::from(!time.is_zero());
        self.show_clocks();
    }

    /// The server stands still for a while. True if the freeze interrupts the wait in hand.
    pub(super) fn freeze(&mut self, waiting: bool) -> bool {
        let ms = self.chance.pick(&[5, 300, 900, 1_500, 60_000, 3_600_000, 400_000_000]);
        let time = Duration::from_millis(1 + self.chance.below(ms) as u64);
        self.freezes_left = self.freezes_left.saturating_sub(1);
        self.freezes += 1;
        self.world += time;
        self.progress += 1;
        let way = self.chance.below(4);
        self.note(|| format!("freeze of {time:?}, way {way}, in a wait: {waiting}"));
        let kind = [Kind::FreezeSilent, Kind::FreezeSigcont, Kind::FreezeInterrupts, Kind::FreezeVm][way];
        self.seen.count(kind);
        // Time outside of waits counts in full while the server stops.
        let seen = waiting && (way == 1 || way == 2);
        if way == 3 {
            self.clocks.ahead += time;
        } else {
            self.clocks.monotonic += time;
            if let Some(stop) = &mut self.stop {
                stop.unseen_freezes += u32::from(!seen);
            }
        }
        self.show_clocks();
        if way == 1 {
            self.continued = true;
            self.signals_new = true;
            self.wake_pending = true;
        }
        way == 2 && waiting
    }

    pub(super) fn signal_stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.note(|| "SIGTERM".to_owned());
        self.stop = Some(Stop {
            at: self.clocks.monotonic,
            awake: self.awake,
            freezes: self.freezes,
            unseen_freezes: 0,
            forgiven: Duration::ZERO,
            known: false,
            known_at: Mark::default(),
            gap: Duration::ZERO,
        });
        STOPPED.set(true);
        (self.signals_new, self.wake_pending) = (true, true);
        self.progress += 1;
        for client in &mut self.clients {
            client.owed = client.is_owed_at_stop();
        }
    }

    /// In the middle of a callback.
    pub(super) fn inside(&mut self, number: u64) {
        let plan = self.find(number).map(|ask| (ask.busy, ask.freezes_inside, ask.stops_inside));
        let (busy, freezes, stops) = plan.unwrap_or_default();
        self.tick();
        self.pass(busy);
        if freezes && self.freezes_left > 0 {
            self.seen.count(Kind::FreezeInCall);
            self.freeze(false);
        }
        if stops && self.stop.is_none() {
            self.seen.count(Kind::StopInCallback);
            self.signal_stop();
        }
        let stopped = self.stop.is_some();
        if let Some(ask) = self.find_mut(number) {
            ask.stopped = stopped;
        }
    }

    /// Whether time enough has passed since the stop for the server to cut what is in hand.
    pub(super) fn drain_is_over(&self) -> bool {
        self.stop.is_some_and(|stop| {
            let seen = self.freezes.saturating_sub(stop.freezes);
            stop.unseen_freezes > 0
                || self.awake - stop.awake + stop.gap + TURN_TIME_MAX * seen >= self.limits.drain_time_max
        })
    }

    /// The loop looks at the clock before a wait. If the time since its last look, or since the last callback ended, is
    /// more than work can take, that is evidence of a freeze (C-FRZ-11).
    pub(super) fn look_before_wait(&mut self) -> Instant {
        self.tick();
        let now = self.clocks.monotonic;
        let idle_since = self.loop_looked.monotonic.max(looks().1.monotonic);
        let too_long = now.saturating_sub(idle_since) >= Duration::from_secs(1);
        if !std::mem::take(&mut self.streamed) && too_long {
            self.seen.count(Kind::FreezeInTurn);
            self.life.signs.overslept = true;
        }
        self.wait_began = now;
        moment(self.clocks).instant
    }

    /// The loop looks at the clocks; the first time after a wait it is this turn's time.
    pub(super) fn look(&mut self) -> ClockReading {
        self.tick();
        if self.looks_frozen
            && self.waiting.is_none()
            && let Some(stop) = &mut self.stop
        {
            stop.forgiven += self.clocks.monotonic.saturating_sub(self.loop_looked.monotonic);
        }
        self.loop_looked = self.clocks;
        let now = self.clocks.monotonic;
        let turn_began = *self.turn_began.get_or_insert(now);
        if let Some((began, limit)) = self.waiting.take() {
            let took = now - turn_began;
            self.turn_began = Some(now);
            self.turn_took = took;
            self.turn.counted += took.min(TURN_TIME_MAX);
            (self.turn.awake, self.turn.freezes) = (self.awake, self.freezes);
            self.turn.turn += 1;
            let excess = limit.and_then(|limit| (now - began).checked_sub(limit));
            self.overslept = excess.is_some_and(|excess| excess >= Duration::from_secs(1));
            self.life.signs.overslept |= self.overslept;
        }
        moment(self.clocks)
    }
}
