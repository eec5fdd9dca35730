//! The function that is served: callbacks that do what the request's script says, and tell what they saw.

use super::coverage::Kind;
use super::requests::{self, Does, FIXED, StreamEnd, What};
use super::world::Shared;
use crate::function::lifecycle::{Hook, Thaw};
use crate::{App, Context, Error, Reply, Request, Route};
use std::io::{self, Read};
use std::panic::resume_unwind;

pub(super) struct Function {
    pub(super) sim: Shared,
}

/// Which hooks the function has, and whom it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Full,
    /// No hook without the platform's header.
    Strict,
    /// No hook but on_thaw.
    Bare,
}

const INITIALIZE: Route<Function> = Route::initialize(|function, context| hook(function, context, Hook::Initialize));
const PRE_FREEZE: Route<Function> = Route::pre_freeze(|function, context| hook(function, context, Hook::PreFreeze));
const PRE_STOP: Route<Function> = Route::pre_stop(|function, context| hook(function, context, Hook::PreStop));
const THAW: Route<Function> = Route::on_thaw(thaw);
const EVENT: Route<Function> = Route::invoke(call);
const CALL: Route<Function> = Route::prefix("/call/", call);
const SHORT: Route<Function> = Route::get("/fixed", |_, _, _| Ok(FIXED.into()));

static FULL: App<Function> = App::new(&[INITIALIZE, PRE_FREEZE, PRE_STOP, THAW, EVENT, CALL, SHORT])
    .show_errors()
    .health_path("/health")
    .observe_hooks(observe);

static STRICT: App<Function> = App::new(&[INITIALIZE, PRE_FREEZE, PRE_STOP, THAW, EVENT, CALL, SHORT])
    .show_errors()
    .health_path("/health")
    .observe_hooks(observe)
    .require_control_path();

static BARE: App<Function> =
    App::new(&[THAW, EVENT, CALL, SHORT]).show_errors().health_path("/health").observe_hooks(observe);

impl Variant {
    pub(super) fn app(self) -> &'static App<Function> {
        match self {
            Variant::Full => &FULL,
            Variant::Strict => &STRICT,
            Variant::Bare => &BARE,
        }
    }
}

fn number(context: &Context<'_>) -> Option<u64> {
    context.request_id().and_then(|id| u64::from_str_radix(id, 16).ok())
}

fn call(function: &mut Function, context: &Context<'_>, request: &Request<'_>) -> crate::Result {
    let number = number(context);
    let does = {
        let mut sim = function.sim.borrow_mut();
        let number = number.unwrap_or_default();
        let Some(ask) = sim.find(number) else {
            sim.fail("its own request", "a call with a number that nobody sent");
            return Err(Error::msg("unknown"));
        };
        let expected = requests::contents(number, ask.body_bytes);
        let in_path = request.path().strip_prefix("/call/").map(|text| text == format!("{number:016x}"));
        let same = ask.method == request.method() && in_path.unwrap_or(request.path() == "/invoke");
        let what = ask.what;
        let (What::Call(does) | What::Event(does)) = what else {
            sim.fail("its own request", format!("{what:?} reached the function"));
            return Err(Error::msg("not a call"));
        };
        if !same || request.body() != expected {
            sim.fail("its own request", format!("{number:016x} has {} bytes of body", request.body().len()));
        }
        sim.begin(number, None);
        does
    };
    act(function, number.unwrap_or_default(), does)
}

fn hook(function: &mut Function, context: &Context<'_>, hook: Hook) -> crate::Result {
    let number = number(context);
    let does = {
        let mut sim = function.sim.borrow_mut();
        let does = match number.map(|number| sim.find(number).map(|ask| ask.what)) {
            Some(Some(What::Hook(known, does, _))) if known == hook => does,
            // The server itself, at its end.
            None if hook == Hook::PreStop => Does::Owned(3),
            other => {
                sim.fail("hooks are the platform's", format!("{hook:?} ran for {other:?}"));
                Does::Fails
            }
        };
        sim.begin(number.unwrap_or(0), Some(hook));
        sim.life.hook_ran(hook, number.unwrap_or(0), does);
        does
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(function, number.unwrap_or(0), does)));
    function.sim.borrow_mut().hook_ends(hook, does);
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Takes time, or is frozen, or told to stop; then does what it was asked to.
fn act(function: &mut Function, number: u64, does: Does) -> crate::Result {
    {
        let mut sim = function.sim.borrow_mut();
        sim.inside(number);
    }
    let marked = |reply: Reply| reply.with_header("x-number", format!("{number:016x}"));
    match does {
        Does::Owned(bytes) => Ok(marked(requests::contents(number, bytes).into())?),
        Does::Echo => Ok(marked(Reply::echo())?),
        Does::Fixed => Ok(marked(FIXED.into())?),
        Does::Status(status) => Ok(marked(requests::contents(number, 5).into())?.with_status(status)?),
        Does::Fails => Err(Error::typed("Simulated", format!("fails {number:016x}"))),
        // As a panic, but without a word on standard error.
        Does::Panics => resume_unwind(Box::new(format!("panics {number:016x}"))),
        Does::Stream { bytes, sized, end } => {
            let reader = Pieces { sim: function.sim.clone(), number, at: 0, bytes, end };
            let length = bytes as u64;
            Ok(marked(if sized { Reply::stream_sized(reader, length) } else { Reply::stream(reader) })?)
        }
    }
}

fn thaw(function: &mut Function, _: &Context<'_>, thaw: &Thaw) -> crate::Result<()> {
    let mut sim = function.sim.borrow_mut();
    sim.seen.count(Kind::Thaw);
    sim.thawed(&thaw.evidence);
    sim.tick();
    if sim.chance.one_in(10) { Err(Error::msg("thawing fails")) } else { Ok(()) }
}

fn observe(function: &mut Function, context: &Context<'_>, _: &Request<'_>, seen: crate::HookOutcome) {
    let mut sim = function.sim.borrow_mut();
    sim.outcome(number(context), seen.hook, seen.ran);
}

/// The body of a streamed reply.
struct Pieces {
    sim: Shared,
    number: u64,
    at: usize,
    bytes: usize,
    end: StreamEnd,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut sim = self.sim.borrow_mut();
        sim.tick();
        // The dispatcher reads the streams of hooks and events whole; the loop pulls those of other calls.
        sim.streamed |= sim.find(self.number).is_some_and(|ask| matches!(ask.what, What::Call(_)));
        if sim.chance.one_in(12) {
            sim.seen.count(Kind::InterruptedReader);
            return Err(io::ErrorKind::Interrupted.into());
        }
        let stop_at = match self.end {
            StreamEnd::Whole => self.bytes,
            StreamEnd::Fails(at) | StreamEnd::Panics(at) | StreamEnd::Short(at) => at,
        };
        let left = stop_at.saturating_sub(self.at).min(buffer.len());
        if left == 0 {
            return match self.end {
                StreamEnd::Whole | StreamEnd::Short(_) => Ok(0),
                StreamEnd::Fails(_) => Err(io::Error::other("the stream fails")),
                StreamEnd::Panics(_) => {
                    drop(sim);
                    resume_unwind(Box::new("the stream panics".to_owned()))
                }
            };
        }
        let portion = sim.chance.portion(left);
        buffer[..portion].copy_from_slice(&requests::contents_from(self.number, self.at, portion));
        self.at += portion;
        Ok(portion)
    }
}
