//! The instance's lifecycle, checked from outside: by the log, by the clocks, and by the callbacks that run.

use super::coverage::Kind;
use super::function::Variant;
use super::requests::{Does, HookAnswer, StreamEnd, What};
use super::world::{Clocks, Sim, looks};
use crate::function::lifecycle::{Evidence, Hook};
use std::time::Duration;

/// A drift of the clocks that counts as evidence.
const DRIFT_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    pub(super) pre_freeze: bool,
    pub(super) sigcont: bool,
    pub(super) drift: bool,
    pub(super) overslept: bool,
    pub(super) interrupted: bool,
}

impl Signs {
    fn any(self) -> bool {
        self.pre_freeze || self.sigcont || self.drift || self.overslept || self.interrupted
    }
}

/// The call that is being handled, from its first line in the log on.
struct Current {
    number: u64,
    hook: Option<Hook>,
    /// A freeze is over: the thaw callback comes before any other.
    thaw: Option<Signs>,
    thawed: bool,
    must_run: bool,
    ran: bool,
}

pub(super) struct Life {
    pub(super) variant: Variant,
    pub(super) initialized: bool,
    pub(super) frozen: bool,
    pub(super) stopped: bool,
    pub(super) stop_runs: u32,
    stored: [Option<HookAnswer>; 3],
    pub(super) signs: Signs,
    /// Calls whose first line is in the log and whose last is not.
    pub(super) open: Vec<(String, u64)>,
    current: Option<Current>,
}

/// Whether a hook's callback gives a reply, streams read to their end.
fn succeeds(does: Does) -> bool {
    match does {
        Does::Owned(_) | Does::Echo | Does::Fixed | Does::Status(_) => true,
        Does::Fails | Does::Panics => false,
        Does::Stream { end, .. } => end == StreamEnd::Whole,
    }
}

impl Life {
    pub(super) fn new(variant: Variant) -> Life {
        Life {
            variant,
            initialized: false,
            frozen: false,
            stopped: false,
            stop_runs: 0,
            stored: [None; 3],
            signs: Signs::default(),
            open: Vec::new(),
            current: None,
        }
    }

    pub(super) fn hook_ran(&mut self, hook: Hook, number: u64, does: Does) {
        self.stored[hook as usize] = Some(HookAnswer::Of(number, does));
        self.stop_runs += u32::from(hook == Hook::PreStop);
    }

    fn must_run(&self, hook: Hook) -> bool {
        match hook {
            Hook::Initialize => !self.initialized,
            Hook::PreFreeze => !self.frozen && !self.stopped,
            Hook::PreStop => !self.stopped,
        }
    }

    fn answer(&self, hook: Hook) -> HookAnswer {
        let kept = match hook {
            Hook::Initialize => self.initialized,
            Hook::PreFreeze => self.frozen && !self.stopped,
            Hook::PreStop => self.stopped,
        };
        self.stored[hook as usize].filter(|_| kept).unwrap_or(HookAnswer::Refused)
    }
}

fn hook_of(word: &str) -> Option<Option<Hook>> {
    match word {
        "Invoke" => Some(None),
        "Initialize" => Some(Some(Hook::Initialize)),
        "PreFreeze" => Some(Some(Hook::PreFreeze)),
        "PreStop" => Some(Some(Hook::PreStop)),
        _ => None,
    }
}

impl Sim {
    /// A line of the log.
    pub(super) fn printed(&mut self, line: &str) {
        self.note(|| format!("log: {}", line.trim_end()));
        let words: Vec<&str> = line.trim_end().splitn(6, ' ').collect();
        let ["FC", word, edge, "RequestId:", id, ..] = words[..] else { return self.fail("log", line.to_owned()) };
        let Some(hook) = hook_of(word) else { return self.fail("log", line.to_owned()) };
        let number = u64::from_str_radix(id.trim_end_matches(','), 16).unwrap_or(0);
        let name = (word.to_owned(), number);
        if edge == "Start" {
            if self.life.open.contains(&name) {
                self.fail("log markers in pairs", format!("{line:?} came twice"));
            }
            self.life.open.push(name);
            return self.call_begins(number, hook);
        }
        match self.life.open.iter().position(|open| *open == name) {
            Some(at) => drop(self.life.open.swap_remove(at)),
            None => self.fail("log markers in pairs", format!("{line:?} without a beginning")),
        }
        if self.life.current.as_ref().is_some_and(|current| current.number == number) {
            self.call_ends();
        }
    }

    fn call_begins(&mut self, number: u64, hook: Option<Hook>) {
        self.call_ends();
        // The stop at the end reads the clock itself, before its line.
        let (before, last) = looks();
        let (rest, now) = if number == 0 { (before, last) } else { (last, self.loop_looked) };
        self.life.signs.drift |= drift(rest, now) >= DRIFT_MIN;
        let mut thaw = self.life.signs;
        thaw.pre_freeze |= self.life.frozen;
        // Only a call or the initializer brings a stopped instance back (C-STOP-5).
        let is_call = self.find(number).is_some_and(|ask| {
            use What::*;
            matches!(ask.what, Call(_) | Event(_) | Outside(_) | Missing | WrongMethod)
        });
        let brings_back = self.life.stopped && (hook == Some(Hook::Initialize) || (hook.is_none() && is_call));
        let stays = if self.life.stopped { !brings_back } else { hook == Some(Hook::PreFreeze) && self.life.frozen };
        let thaw = Some(thaw).filter(|signs| signs.any() && !stays);
        if thaw.is_some() {
            (self.life.signs, self.life.frozen) = (Signs::default(), false);
        }
        if brings_back {
            self.seen.count(Kind::LifeGoesOn);
            // One run of pre-stop belongs to each life.
            self.life.stop_runs = 0;
            self.life.stopped = false;
        }
        let unauthorised = self.find(number).is_some_and(|ask| matches!(ask.what, What::Hook(..)) && hook.is_none());
        if unauthorised {
            self.seen.count(Kind::HookUnauthorised);
        }
        let must_run = hook.is_some_and(|hook| self.life.must_run(hook));
        if let Some(hook) = hook.filter(|_| !must_run) {
            let answer = self.life.answer(hook);
            self.seen.count(match (hook, answer) {
                (_, HookAnswer::Refused) => Kind::HookRefused,
                (Hook::Initialize, _) => Kind::InitializeReplayed,
                (Hook::PreFreeze, _) => Kind::PreFreezeReplayed,
                (Hook::PreStop, _) => Kind::PreStopReplayed,
            });
            if let Some(ask) = self.find_mut(number) {
                ask.hook_answer = Some(answer);
            }
        }
        self.life.current = Some(Current { number, hook, thaw, thawed: false, must_run, ran: false });
    }

    /// The call in hand is over: nothing may be owed.
    pub(super) fn call_ends(&mut self) {
        let Some(current) = self.life.current.take() else { return };
        if current.thaw.is_some() && !current.thawed {
            self.fail("a thaw for each freeze", format!("none before {:016x}: {:?}", current.number, current.thaw));
        }
        if current.must_run && !current.ran {
            self.fail("hooks run when they must", format!("{:?} of {:016x} did not", current.hook, current.number));
        }
    }

    pub(super) fn thawed(&mut self, evidence: &Evidence) {
        self.note(|| format!("on_thaw: {evidence}"));
        let Some(current) = &mut self.life.current else { return self.fail("a thaw for each freeze", "for no call") };
        let again = std::mem::replace(&mut current.thawed, true);
        let (ran, expected) = (current.ran, current.thaw);
        match expected {
            Some(signs) if !again && !ran => {
                if signs.interrupted || signs.drift {
                    self.seen.count(Kind::ThawWithoutHook);
                }
                let told = [evidence.pre_freeze, evidence.sigcont, evidence.interrupted];
                let told_times = [evidence.overslept.is_some(), evidence.clocks_disagree.is_some()];
                if told != [signs.pre_freeze, signs.sigcont, signs.interrupted]
                    || told_times != [signs.overslept, signs.drift]
                {
                    self.fail("evidence of freezes", format!("{evidence} is told of {signs:?}"));
                }
            }
            _ => self.fail("a thaw for each freeze", format!("{evidence} for {expected:?}, again {again}, late {ran}")),
        }
    }

    /// A callback begins.
    pub(super) fn begin(&mut self, number: u64, hook: Option<Hook>) {
        self.note(|| format!("callback of {number:016x}, {hook:?}"));
        if let Some(stop) = self.stop
            && number != 0
            && self.turn.awake.saturating_sub(stop.awake + stop.forgiven) >= self.limits.drain_time_max
            && stop.known
        {
            self.fail("no callback beyond the drain", format!("{number:016x} begins"));
        }
        if number == 0 && self.stop.is_none() {
            self.fail("hooks run when they must", "pre-stop by itself without a signal");
        }
        let Some(current) = &mut self.life.current else {
            return self.fail("log markers in pairs", format!("a callback of {number:016x} without a line"));
        };
        let fine = current.number == number && current.hook == hook && !current.ran;
        let owes_thaw = current.thaw.is_some() && !current.thawed;
        let may_run = hook.is_none() || current.must_run;
        current.ran = true;
        if !fine {
            self.fail("a callback once for each request", format!("{number:016x} in the place of another"));
        }
        if owes_thaw {
            self.fail("a thaw for each freeze", format!("{number:016x} ran before"));
        }
        if !may_run {
            self.fail("hooks no more often than allowed", format!("{hook:?} of {number:016x}"));
        }
        if let Some(ask) = self.find_mut(number) {
            ask.ran += 1;
            if ask.ran > 1 || !ask.refused.is_empty() {
                let details = format!("{number:016x} ran {} times, to be refused: {:?}", ask.ran, ask.refused);
                self.fail("a callback once for each request", details);
            }
        }
    }

    /// A hook's callback is done; streams are yet to be read, but their end is known.
    pub(super) fn hook_ends(&mut self, hook: Hook, does: Does) {
        let number = self.life.current.as_ref().map_or(0, |current| current.number);
        let life = &mut self.life;
        match hook {
            Hook::Initialize => life.initialized |= succeeds(does),
            Hook::PreFreeze => life.frozen = true,
            // After it the initializer is owed again (C-INIT-5).
            Hook::PreStop => (life.stopped, life.initialized) = (true, false),
        }
        self.seen.count(match (hook, number) {
            (Hook::Initialize, _) if succeeds(does) => Kind::InitializeRan,
            (Hook::Initialize, _) => Kind::InitializeFailed,
            (Hook::PreFreeze, _) => Kind::PreFreezeRan,
            (Hook::PreStop, 0) => Kind::PreStopAtExit,
            (Hook::PreStop, _) => Kind::PreStopCalled,
        });
        if let Some(ask) = self.find_mut(number) {
            ask.hook_answer = Some(HookAnswer::Of(number, does));
        }
    }

    /// A hook call was decided.
    pub(super) fn outcome(&mut self, number: Option<u64>, hook: Hook, ran: bool) {
        let number = number.unwrap_or(0);
        if self.life.variant == Variant::Bare {
            self.seen.count(Kind::HookUnimplemented);
            self.life.signs.pre_freeze |= hook == Hook::PreFreeze;
        }
        let current = self.life.current.as_ref().filter(|current| current.number == number && current.hook.is_some());
        if ran != current.is_some_and(|current| current.ran) {
            self.fail("hooks are told to the observer", format!("{hook:?} of {number:016x}: ran {ran}"));
        }
    }
}

/// How far the wall clock ran ahead between two looks.
fn drift(from: Clocks, to: Clocks) -> Duration {
    let monotonic = to.monotonic.saturating_sub(from.monotonic);
    let wall = (to.monotonic + to.ahead).saturating_sub(from.monotonic + from.ahead);
    wall.saturating_sub(monotonic)
}
