//! The function that keeps count of its own callbacks, for those who try to make it lose count: `fc-stress freezes` and
//! `fc-stress soak`.
//!
//! A call carries a number in its path, in hexadecimal, and gets it back. Numbers are counted and added up, so that a
//! caller that knows its own sum sees a call that ran twice or not at all; 0 is for calls of which their caller cannot
//! know whether they ran. `/tally` shows everything. What is counted does not grow.
//!
//! `TALLY_FAULT` makes it what it should not be, to show that this is noticed.

use crate::pattern::{Pattern, Then};
use fc_hooks::{App, Context, Error, Reply, Request, Result, Route, Thaw};
use serde_json::json;

/// What has run so far.
#[derive(Default)]
pub struct State {
    calls: u64,
    sum: u64,
    /// Calls with number 0.
    thaws: u64,
    /// In the order of [`EVIDENCE`].
    evidence: [u64; 5],
    initialize: u64,
    pre_freeze: u64,
    pre_stop: u64,
    fault: Fault,
    leaked: Vec<Vec<u8>>,
    files: Vec<std::fs::File>,
}

const EVIDENCE: [&str; 5] = ["pre-freeze", "sigcont", "clocks-disagree", "overslept", "interrupted"];

/// What is wrong with it.
#[derive(Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Each call leaves 1,000 bytes behind.
    Memory,
    /// Some calls leave a descriptor behind.
    Descriptors,
    /// Some calls run twice.
    Twice,
    /// Some answers carry another's number.
    Mixed,
    /// Pre-stop is not done with once.
    Stop,
    /// It ends in the middle of a call.
    Death,
}

pub static APP: App<State> = App::new(&[
    Route::initialize(initialize),
    Route::pre_freeze(|state, _| {
        state.pre_freeze += 1;
        Ok(format!("pre-freeze, run {}", state.pre_freeze).into())
    }),
    Route::pre_stop(|state, _| {
        state.pre_stop += if state.fault == Fault::Stop { 2 } else { 1 };
        Ok(format!("pre-stop, run {}", state.pre_stop).into())
    }),
    Route::on_thaw(thawed),
    Route::invoke(event),
    Route::get("/tally", |state, context, _| Ok(state.show(context))),
    Route::prefix("/echo/", |state, _, request| Ok(state.number(request)?.into())),
    Route::prefix("/digest/", digest),
    Route::prefix("/big/", big),
    Route::prefix("/stream/", |state, _, request| Ok(Reply::stream(state.pattern(request)?))),
    Route::prefix("/sized/", |state, _, request| {
        let pattern = state.pattern(request)?;
        let bytes = pattern.bytes;
        Ok(Reply::stream_sized(pattern, bytes))
    }),
    Route::prefix("/broken/", |state, _, request| Ok(Reply::stream(state.pattern(request)?.then(Then::Fail)))),
    Route::prefix("/collapsing/", |state, _, request| Ok(Reply::stream(state.pattern(request)?.then(Then::Panic)))),
    Route::prefix("/error/", |state, _, request| Err(Error::typed("Asked", state.number(request)?))),
    Route::prefix("/panic/", |state, _, request| panic!("asked for {}", state.number(request)?)),
]);

/// A tally that starts with nothing.
pub fn state() -> State {
    let mut state = State::default();
    state.fault = match std::env::var("TALLY_FAULT").as_deref() {
        Err(_) => Fault::None,
        Ok("memory") => Fault::Memory,
        Ok("descriptors") => Fault::Descriptors,
        Ok("twice") => Fault::Twice,
        Ok("mixed") => Fault::Mixed,
        Ok("stop") => Fault::Stop,
        Ok("death") => Fault::Death,
        Ok(unknown) => panic!("no fault is called '{unknown}'"),
    };
    state
}

/// The end of the process is the last place where it can be told that pre-stop ran once.
impl Drop for State {
    fn drop(&mut self) {
        if self.pre_stop != 1 {
            eprintln!("tally: pre-stop ran {} times", self.pre_stop);
            std::process::exit(3);
        }
    }
}

impl State {
    /// Counts the number in the path, and gives it as it came.
    fn number(&mut self, request: &Request<'_>) -> Result<String> {
        let text = request.path().rsplit('/').next().unwrap_or_default();
        self.count(text)?;
        let wrong = self.fault == Fault::Mixed && self.calls.is_multiple_of(50);
        Ok(if wrong { format!("{:016x}", self.sum) } else { text.to_owned() })
    }

    fn count(&mut self, text: &str) -> Result<u64> {
        let number = u64::from_str_radix(text, 16)?;
        if number == 0 {
            return Ok(0);
        }
        self.calls += 1;
        self.sum = self.sum.wrapping_add(number);
        match self.fault {
            Fault::Memory => self.leaked.push(vec![1; 1000]),
            Fault::Descriptors if self.calls.is_multiple_of(20) => {
                self.files.push(std::fs::File::open("/proc/self/stat")?);
            }
            Fault::Death if self.calls == 50 => std::process::exit(9),
            Fault::Twice if self.calls.is_multiple_of(50) => {
                self.calls += 1;
                self.sum = self.sum.wrapping_add(number);
            }
            _ => {}
        }
        Ok(number)
    }

    fn pattern(&mut self, request: &Request<'_>) -> Result<Pattern> {
        let number = u64::from_str_radix(&self.number(request)?, 16)?;
        let bytes = request.query().unwrap_or("0").parse()?;
        Ok(Pattern::keyed(number, bytes))
    }

    fn show(&self, context: &Context<'_>) -> Reply {
        let counts = context.lifecycle().counts();
        json!({
            "calls": self.calls, "sum": format!("{:016x}", self.sum),
            "thaws": self.thaws, "evidence": self.evidence, "initialize": self.initialize,
            "pre_freeze": self.pre_freeze, "pre_stop": self.pre_stop,
            "lifecycle": {
                "initialized": counts.initialized, "initialize_failed": counts.initialize_failed,
                "thawed": counts.thawed,
            },
        })
        .into()
    }
}

fn initialize(state: &mut State, context: &Context<'_>) -> Result {
    state.initialize += 1;
    match context.function_handler() {
        Some("fail") => Err(Error::typed("Asked", "to fail")),
        Some("panic") => panic!("asked to initialize and panic"),
        _ => Ok(format!("initialize, run {}", state.initialize).into()),
    }
}

/// Counts first: a callback that fails has run.
fn thawed(state: &mut State, context: &Context<'_>, thaw: &Thaw) -> Result<()> {
    state.thaws += 1;
    let seen = thaw.evidence.to_string();
    for (count, name) in state.evidence.iter_mut().zip(EVIDENCE) {
        *count += u64::from(seen.split('+').any(|part| part == name));
    }
    match context.function_handler() {
        Some("fail") => Err(Error::typed("Asked", "to fail")),
        Some("panic") => panic!("asked to thaw and panic"),
        _ => Ok(()),
    }
}

/// The number is the event's first 16 bytes; the event comes back.
fn event(state: &mut State, context: &Context<'_>, request: &Request<'_>) -> Result {
    let text = request.body().get(..16).ok_or_else(|| Error::msg("an event of too few bytes"))?;
    state.count(std::str::from_utf8(text)?)?;
    match context.function_handler() {
        Some("fail") => Err(Error::typed("Asked", String::from_utf8_lossy(text).into_owned())),
        Some("panic") => panic!("asked for {}", String::from_utf8_lossy(text)),
        _ => Ok(request.body().to_vec().into()),
    }
}

/// Number, length and digest of what was sent (FNV-1a).
fn digest(state: &mut State, _: &Context<'_>, request: &Request<'_>) -> Result {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = request.body().iter().fold(0xcbf2_9ce4_8422_2325, mix);
    Ok(format!("{} {} {digest:016x}", state.number(request)?, request.body().len()).into())
}

fn big(state: &mut State, _: &Context<'_>, request: &Request<'_>) -> Result {
    Ok(state.pattern(request)?.read_whole().into())
}
