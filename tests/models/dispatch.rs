//! `dispatch`: any sequence of requests, callbacks that do anything, clocks that jump, against a model of the contract.
//!
//! - Exactly those callbacks run, in that order, that the contract says: initialize until it succeeds once, pre-freeze
//!   once per freeze, pre-stop once, on_thaw once per evidence and before all else, a hook for no outside caller.
//! - A hook answers 200 or 404, and the same again when it is repeated; so does an event.
//! - Every call's log begins and ends once, with an id that stays on its line. Every answer is one whole reply on the
//!   wire.
//! - No sequence brings the lifecycle where its table has no row.

use super::{Draw, wire};
use crate::function::app::App;
use crate::function::callback::HookOutcome;
use crate::function::context::{Context, Env};
use crate::function::dispatch::{Answer, CallLog, Dispatcher, LogMarker};
use crate::function::lifecycle::{ClockReading, Evidence, Hook, Phase, Thaw};
use crate::function::per_hook::PerHook;
use crate::function::reply::Reply;
use crate::function::request::{Headers, LoggedId, Peer, Request};
use crate::function::route::Route;
use crate::http1::fields::Header;
use crate::tuning::LOGGED_ID_BYTES_MAX;
use crate::{Error, server};
use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Read};
use std::rc::Rc;
use std::time::Duration;

/// Options, then one step a line: `!` and signs of a freeze, `~` and seconds that pass on both clocks, `.` for a stop
/// signal; else what callbacks do (see [`play`]) and `METHOD target`, with headers as `name:value` behind tabs.
pub(super) fn run(input: &[u8]) {
    let mut draw = Draw(input);
    let options = draw.byte();
    CLOCKS.set((0, 0));
    let mut world = World::new(options);
    while let Some(line) = draw.line() {
        match line {
            [b'!', signs, ..] => world.record_evidence(*signs),
            [b'~', wall, monotonic, ..] => world.pass(i64::from(*wall as i8), i64::from(*monotonic)),
            [b'.', behaviour @ ..] => world.stop(behaviour.first().copied().unwrap_or_default()),
            [behaviour, request @ ..] => world.request(*behaviour, request),
            [] => {}
        }
    }
}

thread_local! {
    /// The start of the run, and how many seconds the wall clock and the monotonic one are ahead of it.
    static START: Cell<Option<ClockReading>> = const { Cell::new(None) };
    static CLOCKS: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

fn now() -> ClockReading {
    let start = START.get().unwrap_or_else(server::PROCESS_ENV.now);
    START.set(Some(start));
    let (wall, monotonic) = CLOCKS.get();
    let seconds = |count: i64| Duration::from_secs(count.unsigned_abs());
    let wall = if wall < 0 { start.wall - seconds(wall) } else { start.wall + seconds(wall) };
    ClockReading { instant: start.instant + seconds(monotonic), wall }
}

/// What ran, as callbacks and model tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Hook(Hook),
    Thaw,
    Event,
    Http(&'static str),
}

#[derive(Default)]
struct Script {
    behaviour: u8,
    ran: Vec<Ran>,
    phases: Vec<Phase>,
    outcome: Vec<HookOutcome>,
}

/// A reader that panics. Without the panic's message, for which the fuzzer would end the process.
struct Spiteful;

impl Read for Spiteful {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        std::panic::resume_unwind(Box::new("told to panic"))
    }
}

type Shared = Rc<RefCell<Script>>;

/// What every callback does.
fn play(script: &Shared, what: Ran, context: &Context<'_>) -> crate::Result {
    let mut script = script.borrow_mut();
    script.ran.push(what);
    script.phases.push(context.lifecycle().phase());
    match script.behaviour {
        b'f' => Err(Error::typed("Told", "told to \"fail\"\n")),
        b'p' => std::panic::resume_unwind(Box::new("told to panic")),
        b's' => Ok(Reply::stream(Cursor::new("streamed"))),
        b'l' => Ok(Reply::stream_sized(Cursor::new("streamed"), 8)),
        b'e' => Ok(Reply::stream_sized(Cursor::new("too early"), 100)),
        b'q' => Ok(Reply::stream(Spiteful)),
        b'n' => Ok(Reply::stream(Cursor::new("none of this")).with_status(204)?),
        b'5' => Ok(Reply::from("an own status").with_status(503)?.with_header("a", "b")?),
        _ => Ok(format!("{what:?}").into()),
    }
}

fn fails(behaviour: u8) -> bool {
    matches!(behaviour, b'f' | b'p' | b'e' | b'q')
}

fn on_thaw(script: &mut Shared, context: &Context<'_>, thaw: &Thaw) -> crate::Result<()> {
    let what = if thaw.evidence.any() { Ran::Thaw } else { Ran::Http("a thaw without evidence") };
    play(script, what, context).map(drop)
}

static FULL: App<Shared> = App::<Shared>::new(&[
    Route::initialize(|script, context| play(script, Ran::Hook(Hook::Initialize), context)),
    Route::pre_freeze(|script, context| play(script, Ran::Hook(Hook::PreFreeze), context)),
    Route::pre_stop(|script, context| play(script, Ran::Hook(Hook::PreStop), context)),
    Route::on_thaw(on_thaw),
    Route::invoke(|script, context, _| play(script, Ran::Event, context)),
    Route::get("/a", |script, context, _| play(script, Ran::Http("/a"), context)),
    Route::prefix("/p/", |script, context, _| play(script, Ran::Http("/p/"), context)),
    Route::fallback(|script, context, _| play(script, Ran::Http("fallback"), context)),
])
.observe_hooks(|script, _, _, outcome| script.borrow_mut().outcome.push(outcome));

static BARE: App<Shared> = App::<Shared>::new(&[
    Route::on_thaw(on_thaw),
    Route::get("/a", |script, context, _| play(script, Ran::Http("/a"), context)),
])
.observe_hooks(|script, _, _, outcome| script.borrow_mut().outcome.push(outcome));

#[derive(Default)]
struct Lines(Vec<(LogMarker, bool)>);

impl CallLog for Lines {
    fn start(&mut self, marker: LogMarker, request_id: LoggedId<'_>) {
        let request_id = request_id.text();
        assert!(!request_id.is_empty() && request_id.len() <= LOGGED_ID_BYTES_MAX, "an id of {}", request_id.len());
        assert!(request_id.bytes().all(|byte| byte.is_ascii_graphic()), "{request_id:?} in the log");
        self.0.push((marker, true));
    }

    fn end(&mut self, marker: LogMarker, _: LoggedId<'_>, _: bool) {
        self.0.push((marker, false));
    }
}

/// Which call it is (C-DISP-1 to C-DISP-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Health,
    Hook(Hook),
    Unauthorised(Hook),
    Event,
    WrongMethod,
    Http,
}

/// The real service beside what the contract says of it.
struct World {
    service: Dispatcher<Shared>,
    script: Shared,
    full: bool,
    strict: bool,
    initialized: bool,
    frozen: bool,
    stopped: bool,
    noted: bool,
    /// Both clocks at the end of the last request.
    rested: (i64, i64),
    stored: PerHook<Option<(u16, Vec<u8>)>>,
}

impl World {
    fn new(options: u8) -> World {
        let full = options & 1 == 0;
        let env = Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN };
        let script = Shared::default();
        let mut service = Dispatcher::new(if full { &FULL } else { &BARE }, Rc::clone(&script), env);
        service.health_path = Some("/health".to_owned());
        service.control_path_required = options & 2 != 0;
        World {
            service,
            script,
            full,
            strict: options & 2 != 0,
            initialized: false,
            frozen: false,
            stopped: false,
            noted: false,
            rested: (0, 0),
            stored: PerHook::none(),
        }
    }

    fn record_evidence(&mut self, signs: u8) {
        let evidence = Evidence {
            sigcont: signs & 1 != 0,
            interrupted: signs & 2 != 0,
            overslept: (signs & 4 != 0).then_some(Duration::from_secs(2)),
            ..Evidence::default()
        };
        self.noted |= evidence.any();
        self.service.record_evidence(evidence);
    }

    fn pass(&mut self, wall: i64, monotonic: i64) {
        let (wall_before, monotonic_before) = CLOCKS.get();
        CLOCKS.set((wall_before + wall, monotonic_before + monotonic));
    }

    fn stop(&mut self, behaviour: u8) {
        let runs = self.full && !self.stopped;
        let expected = if runs { self.expected(Call::Hook(Hook::PreStop), "", "", behaviour) } else { Vec::new() };
        self.script.borrow_mut().behaviour = behaviour;
        let mut lines = Lines::default();
        self.service.stop(&mut lines);
        let marker = LogMarker::Hook(Hook::PreStop);
        assert_eq!(lines.0, [(marker, true), (marker, false)][..if runs { 2 } else { 0 }]);
        self.check_ran(&expected);
        self.script.borrow_mut().outcome.clear();
        // Only a call's end is the end of activity; what pre-stop answered is the answer to those who ask later.
        *self.stored.get_mut(Hook::PreStop) = None;
    }

    fn request(&mut self, behaviour: u8, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let mut parts = line.split('\t');
        let Some((method, target)) = parts.next().and_then(|words| words.split_once(' ')) else { return };
        // What the parser of heads lets through.
        if method.is_empty() || !(target.starts_with('/') || target == "*") || target.contains([' ', '\r', '\0']) {
            return;
        }
        let headers: Vec<_> = parts
            .filter_map(|header| header.split_once(':'))
            .map(|(name, value)| Header::new(name, value.as_bytes()))
            .collect();
        let headers = Headers(&headers);
        // What a caller's clock shows is for the tests of `caller_clock`: the clocks of this world are not the
        // caller's.
        if headers.get("x-fc-request-id").is_some_and(|id| id.starts_with("1-")) {
            return;
        }
        let call = self.call(method, target.split('?').next().unwrap_or_default(), headers);
        let expected = self.expected(call, method, target, behaviour);
        self.script.borrow_mut().behaviour = behaviour;
        let request = Request { method, path_and_query: target, headers, body: b"event", peer: Peer::Unix };
        let mut lines = Lines::default();
        let answer = self.service.handle(&request, now(), usize::MAX, &mut lines);
        self.check_ran(&expected);
        self.check_answer(call, &expected, behaviour, &answer);
        let streaming = answer.streaming;
        let meta = wire::meta(behaviour.is_ascii_lowercase(), behaviour == b's' && target.contains('0'));
        let status = answer.reply.status;
        let (received, ended) = wire::send(answer, meta, method, usize::MAX);
        if let Some(marker) = streaming {
            self.service.finish(marker, LoggedId::new(b"id"), ended == Some(true), &mut lines);
        }
        self.check_log(call, &lines);
        assert_eq!(received.status, status);
        if let Call::Hook(hook) = call {
            self.check_repeat(hook, &expected, (received.status, received.body), method);
        }
        if !self.is_silent(call) {
            self.rested = CLOCKS.get();
        }
    }

    fn call(&self, method: &str, path: &str, headers: Headers<'_>) -> Call {
        let health = path == "/health" && matches!(method, "GET" | "HEAD" | "OPTIONS");
        let named = |name: &str| name.eq_ignore_ascii_case("x-fc-control-path");
        let said: Vec<&[u8]> =
            headers.iter().filter(|(name, value)| named(name) && !value.is_empty()).map(|(_, value)| value).collect();
        match said[..] {
            [b"/initialize"] => Call::Hook(Hook::Initialize),
            [b"/pre-freeze"] => Call::Hook(Hook::PreFreeze),
            [b"/pre-stop"] => Call::Hook(Hook::PreStop),
            [b"/invoke"] => Call::Event,
            _ if health => Call::Health,
            [_, ..] => Call::Http,
            [] => {
                let hook = match path {
                    "/initialize" => Hook::Initialize,
                    "/pre-freeze" => Hook::PreFreeze,
                    "/pre-stop" => Hook::PreStop,
                    "/invoke" => return if method == "POST" { Call::Event } else { Call::WrongMethod },
                    _ => return Call::Http,
                };
                let right = if hook == Hook::Initialize { "POST" } else { "GET" };
                match (method == right, self.strict) {
                    (false, _) => Call::WrongMethod,
                    (true, true) => Call::Unauthorised(hook),
                    (true, false) => Call::Hook(hook),
                }
            }
        }
    }

    /// Calls that leave no trace: no log, no thaw, no activity.
    fn is_silent(&self, call: Call) -> bool {
        call == Call::Health || (matches!(call, Call::Hook(_)) && !self.full)
    }

    /// What must run, in order; moves the model on.
    fn expected(&mut self, call: Call, method: &str, target: &str, behaviour: u8) -> Vec<Ran> {
        let mut ran = Vec::new();
        if self.is_silent(call) {
            self.noted |= call == Call::Hook(Hook::PreFreeze);
            return ran;
        }
        let brings_back = matches!(call, Call::Http | Call::Hook(Hook::Initialize)) || call == Call::Event;
        let stays = if self.stopped { !brings_back } else { call == Call::Hook(Hook::PreFreeze) && self.frozen };
        if self.thaws(stays) {
            ran.push(Ran::Thaw);
        }
        let path = target.split('?').next().unwrap_or_default();
        if brings_back {
            // Life goes on (C-STOP-5).
            self.stopped = false;
        }
        match call {
            Call::Hook(Hook::Initialize) if !self.initialized => {
                self.initialized = !fails(behaviour);
                ran.push(Ran::Hook(Hook::Initialize));
            }
            Call::Hook(Hook::PreFreeze) if !self.frozen && !self.stopped => {
                self.frozen = true;
                ran.push(Ran::Hook(Hook::PreFreeze));
            }
            Call::Hook(Hook::PreStop) if !self.stopped => {
                // After it the initializer is owed again (C-INIT-5).
                (self.stopped, self.initialized) = (true, false);
                ran.push(Ran::Hook(Hook::PreStop));
            }
            Call::Event if self.full => ran.push(Ran::Event),
            Call::Http if path == "/a" && matches!(method, "GET" | "HEAD") => ran.push(Ran::Http("/a")),
            Call::Http if path == "/a" || !self.full => {}
            Call::Http if path.starts_with("/p/") => ran.push(Ran::Http("/p/")),
            Call::Http => ran.push(Ran::Http("fallback")),
            _ => {}
        }
        ran
    }

    /// Whether there is evidence of a freeze, which is used up unless the call leaves the instance as it is.
    fn thaws(&mut self, stays: bool) -> bool {
        let ((wall, monotonic), (wall_before, monotonic_before)) = (CLOCKS.get(), self.rested);
        let (wall, monotonic) = (wall - wall_before, monotonic - monotonic_before);
        self.noted |= wall.max(0) - monotonic >= 1;
        if stays {
            return false;
        }
        let evidence = self.noted || self.frozen;
        (self.noted, self.frozen) = (false, false);
        evidence
    }

    fn check_ran(&mut self, expected: &[Ran]) {
        let mut script = self.script.borrow_mut();
        assert_eq!(std::mem::take(&mut script.ran), expected);
        for (ran, phase) in expected.iter().zip(std::mem::take(&mut script.phases)) {
            let fits = match ran {
                Ran::Hook(Hook::Initialize) => phase == Phase::Initializing,
                Ran::Hook(Hook::PreFreeze) => phase == Phase::Freezing,
                Ran::Hook(Hook::PreStop) => phase == Phase::Stopping,
                Ran::Thaw => matches!(phase, Phase::Created | Phase::Ready),
                Ran::Event | Ran::Http(_) => phase == Phase::Ready,
            };
            assert!(fits, "{ran:?} while {phase}");
        }
    }

    fn check_answer(&mut self, call: Call, expected: &[Ran], behaviour: u8, answer: &Answer) {
        let status = answer.reply.status;
        let outcome = std::mem::take(&mut self.script.borrow_mut().outcome);
        match call {
            Call::Hook(hook) | Call::Unauthorised(hook) => {
                assert_eq!(status, if answer.failed { 404 } else { 200 }, "a hook's answer (C-STAT-1)");
                let ran = expected.contains(&Ran::Hook(hook));
                assert!(!ran || answer.failed == fails(behaviour));
                let [seen] = outcome[..] else { panic!("outcome {outcome:?}") };
                assert_eq!((seen.hook, seen.ran, seen.failed), (hook, ran, answer.failed));
                assert!(answer.streaming.is_none());
                return;
            }
            Call::Event => {
                assert_eq!(
                    (status, answer.failed),
                    if self.full && !fails(behaviour) { (200, false) } else { (404, true) }
                );
            }
            Call::Http => {}
            Call::WrongMethod => assert_eq!((status, answer.failed), (405, false)),
            Call::Health => assert_eq!((status, answer.failed), (200, false)),
        }
        assert!(outcome.is_empty(), "no hook was called, but {outcome:?}");
    }

    fn check_log(&self, call: Call, lines: &Lines) {
        let marker = match call {
            Call::Hook(hook) => LogMarker::Hook(hook),
            _ => LogMarker::Invoke,
        };
        let count = if self.is_silent(call) { 0 } else { 2 };
        assert_eq!(lines.0, [(marker, true), (marker, false)][..count], "the log of {call:?}");
    }

    /// A hook that did not run answers what it answered last, unless the instance has stopped.
    fn check_repeat(&mut self, hook: Hook, expected: &[Ran], answer: (u16, Vec<u8>), method: &str) {
        if method == "HEAD" || !self.full {
            return;
        }
        if expected.contains(&Ran::Hook(hook)) {
            *self.stored.get_mut(hook) = Some(answer);
        } else if !self.stopped || hook == Hook::PreStop {
            assert!(self.stored.get(hook).as_ref().is_none_or(|stored| *stored == answer), "another answer");
        }
    }
}
