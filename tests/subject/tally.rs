//! A function that counts its own callbacks. `fc-stress freezes` and `fc-stress soak` try to make it lose count.
//!
//! A call carries a number in its path, in hexadecimal, and gets it back. The function counts the numbers and adds them
//! up, so that a client that knows its own sum sees a call that ran twice or not at all. The number 0 is not counted:
//! it is for calls that the client may not complete. `/tally` shows the counts. Counting takes no further memory.
//!
//! `TALLY_FAULT` plants a fault, to show that the stress tools notice it.

use crate::pattern::{Pattern, Then};
use fc_hooks::{App, Context, Error, Reply, Request, Result, Route, Thaw};
use serde_json::json;

/// The counts so far.
#[derive(Default)]
pub struct State {
    calls: u64,
    sum: u64,
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

/// A planted fault.
#[derive(Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Each call leaks 1,000 bytes.
    Memory,
    /// Some calls leak a descriptor.
    Descriptors,
    /// Some calls run twice.
    Twice,
    /// Some replies carry another number.
    Mixed,
    /// Pre-stop counts double.
    Stop,
    /// The process ends in the middle of a call.
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

/// A tally without any count, and with the fault that the environment names.
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

/// Pre-stop must have run exactly once. Only the end of the process can tell.
impl Drop for State {
    fn drop(&mut self) {
        if self.pre_stop != 1 {
            eprintln!("tally: pre-stop ran {} times", self.pre_stop);
            std::process::exit(3);
        }
    }
}

impl State {
    /// Counts the number in the path, and returns its text.
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

/// Counts first, because a callback that fails has run too.
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

/// Counts the number in the first 16 bytes of the event, and returns the event.
fn event(state: &mut State, context: &Context<'_>, request: &Request<'_>) -> Result {
    let text = request.body().get(..16).ok_or_else(|| Error::msg("an event of too few bytes"))?;
    state.count(std::str::from_utf8(text)?)?;
    match context.function_handler() {
        Some("fail") => Err(Error::typed("Asked", String::from_utf8_lossy(text).into_owned())),
        Some("panic") => panic!("asked for {}", String::from_utf8_lossy(text)),
        _ => Ok(request.body().to_vec().into()),
    }
}

/// Returns the number, and the length and digest (FNV-1a) of the body.
fn digest(state: &mut State, _: &Context<'_>, request: &Request<'_>) -> Result {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = request.body().iter().fold(0xcbf2_9ce4_8422_2325, mix);
    Ok(format!("{} {} {digest:016x}", state.number(request)?, request.body().len()).into())
}

fn big(state: &mut State, _: &Context<'_>, request: &Request<'_>) -> Result {
    Ok(state.pattern(request)?.read_whole().into())
}
