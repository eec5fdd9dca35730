//! Clients that are not honest, and calls that do not succeed. Each knows what must come of it.
//!
//! Their calls carry the number 0: of some nobody can know whether they have run.

use std::time::Duration;

use crate::clock::Deadline;
use crate::freezes::{Load, PATIENCE, Timekeeper, Wire, get, post};
use crate::random::Random;

/// One list for both: what there is, and what can be drawn.
macro_rules! deeds {
    ($($(#[$meaning:meta])* $deed:ident,)*) => {
        /// What they do.
        #[derive(Clone, Copy, Debug)]
        enum Deed {
            $($(#[$meaning])* $deed,)*
        }

        const DEEDS: &[Deed] = &[$(Deed::$deed),*];
    };
}

deeds! {
    /// A call that fails, and another behind it on the same connection.
    Error,
    Panic,
    FailedEvent,
    PanickedEvent,
    NoRoute,
    WrongMethod,
    /// A client who asks for a hook.
    OutsideHook,
    /// Streams that fail or panic half way: cut, so that nobody takes them for whole.
    BrokenStream,
    CollapsingStream,
    /// Requests that are none.
    NoRequest,
    BareLineFeed,
    TwoLengths,
    BrokenChunk,
    EndlessHead,
    LargeBody,
    /// Connections that come and go.
    Nothing,
    NothingReset,
    HalfHead,
    HalfHeadReset,
    HalfBody,
    HalfBodyReset,
    HalfClosed,
    AnswerUnread,
    AnswerReset,
    /// Heads and bodies that do not end: 408.
    HeadForEver,
    BodyForEver,
}

const ECHO: &str = "/echo/0000000000000000";

/// One of them, until all is over.
pub fn rascal(load: &Load<'_>, time: &Timekeeper, mut random: Random) {
    while time.enter() {
        let deed = DEEDS[random.within(0, DEEDS.len() as u64 - 1) as usize];
        if let Err(fault) = once(deed, load, &mut random) {
            load.blame(format!("{deed:?}: {fault}"));
        }
        time.leave();
        let rest = random.millis(0, 60);
        time.rest(rest);
    }
}

fn once(deed: Deed, load: &Load<'_>, random: &mut Random) -> Result<(), String> {
    let mut wire = Wire::open(load.addr(), Deadline::after(PATIENCE))?;
    let length = |bytes: usize| format!("POST {ECHO} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    match deed {
        Deed::Error => goes_on(&mut wire, get("/error/0000000000000000").as_bytes(), 500),
        Deed::Panic => goes_on(&mut wire, get("/panic/0000000000000000").as_bytes(), 500),
        Deed::FailedEvent => goes_on(&mut wire, &event("fail"), 404),
        Deed::PanickedEvent => goes_on(&mut wire, &event("panic"), 404),
        Deed::NoRoute => goes_on(&mut wire, get("/nobody/knows").as_bytes(), 404),
        Deed::WrongMethod => goes_on(&mut wire, &post("/tally", "/http-invoke", b"x"), 405),
        Deed::OutsideHook => {
            let hooks = ["/pre-stop", "/pre-freeze", "/initialize"];
            goes_on(&mut wire, get(hooks[random.within(0, 2) as usize]).as_bytes(), 404)
        }
        Deed::BrokenStream => is_cut(wire, "broken", random),
        Deed::CollapsingStream => is_cut(wire, "collapsing", random),
        Deed::NoRequest => is_refused(wire, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        Deed::BareLineFeed => is_refused(wire, b"GET / HTTP/1.1\nhost: a\n\n", 400),
        Deed::TwoLengths => {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
            is_refused(wire, head.as_bytes(), 400)
        }
        Deed::BrokenChunk => {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n";
            is_refused(wire, head.as_bytes(), 400)
        }
        Deed::EndlessHead => {
            let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(100_000));
            is_refused(wire, head.as_bytes(), 431)
        }
        Deed::LargeBody => is_refused(wire, length(1 << 40).as_bytes(), 413),
        Deed::Nothing => Ok(()),
        Deed::NothingReset => leave(wire, b"", true),
        Deed::HalfHead => leave(wire, &get(ECHO).as_bytes()[..20], false),
        Deed::HalfHeadReset => leave(wire, &get(ECHO).as_bytes()[..20], true),
        Deed::HalfBody => leave(wire, &[length(100_000).as_bytes(), &[b'b'; 50_000]].concat(), false),
        Deed::HalfBodyReset => leave(wire, &[length(100_000).as_bytes(), &[b'b'; 50_000]].concat(), true),
        Deed::HalfClosed => {
            wire.send(length(9).as_bytes(), Deadline::after(PATIENCE))?;
            wire.finish();
            wire.ends(Deadline::after(PATIENCE)).map(drop)
        }
        Deed::AnswerUnread => leave(wire, get("/stream/0000000000000000?900000").as_bytes(), false),
        Deed::AnswerReset => leave(wire, get("/big/0000000000000000?900000").as_bytes(), true),
        Deed::HeadForEver => is_refused(wire, &get(ECHO).as_bytes()[..30], 408),
        Deed::BodyForEver => is_refused(wire, length(9).as_bytes(), 408),
    }
}

/// Answered so; then the connection serves an honest call.
fn goes_on(wire: &mut Wire, request: &[u8], status: u16) -> Result<(), String> {
    answered(wire, request, status)?;
    let reply = answered(wire, get(ECHO).as_bytes(), 200)?;
    if reply.body != b"0000000000000000" {
        return Err(format!("a wrong answer behind it: {}", String::from_utf8_lossy(&reply.body)));
    }
    wire.is_quiet()
}

fn answered(wire: &mut Wire, request: &[u8], status: u16) -> Result<crate::freezes::Reply, String> {
    wire.send(request, Deadline::after(PATIENCE))?;
    let reply = wire.reply(Deadline::after(PATIENCE), || {})?;
    match (reply.status == status, reply.closes) {
        (true, false) => Ok(reply),
        (right, _) => {
            let what = if right { "and about to close" } else { "which is wrong" };
            Err(format!("answered {}, {what}: {}", reply.status, String::from_utf8_lossy(&reply.body)))
        }
    }
}

/// Refused with this status, and closed.
fn is_refused(mut wire: Wire, request: &[u8], status: u16) -> Result<(), String> {
    // The refusal may come before all is sent.
    let sent = wire.send(request, Deadline::after(PATIENCE));
    let reply = wire.reply(Deadline::after(PATIENCE), || {}).map_err(|cause| format!("{cause}, {sent:?}"))?;
    if reply.status != status || !reply.closes {
        return Err(format!("answered {}, closes: {}", reply.status, reply.closes));
    }
    wire.finish();
    wire.ends(Deadline::after(PATIENCE)).map(drop)
}

/// Begun, and ended before its end.
fn is_cut(mut wire: Wire, route: &str, random: &mut Random) -> Result<(), String> {
    let bytes = random.within(0, 200) * 1000;
    wire.send(get(&format!("/{route}/0000000000000000?{bytes}")).as_bytes(), Deadline::after(PATIENCE))?;
    match wire.reply(Deadline::after(PATIENCE), || {}) {
        Err(cause) if cause.starts_with("cut") || cause.starts_with("closed") => Ok(()),
        Err(cause) => Err(cause),
        Ok(reply) => Err(format!("a broken stream was taken for whole: {} bytes", reply.body.len())),
    }
}

/// Sends this and is gone.
fn leave(mut wire: Wire, bytes: &[u8], reset: bool) -> Result<(), String> {
    wire.send(bytes, Deadline::after(PATIENCE))?;
    // Not to synchronise: it is to leave at different stages of what it began.
    std::thread::sleep(Duration::from_micros(300));
    if reset {
        wire.reset();
    }
    Ok(())
}

fn event(handler: &str) -> Vec<u8> {
    let head = "POST /invoke HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /invoke\r\ncontent-length: 16\r\n";
    format!("{head}x-fc-function-handler: {handler}\r\n\r\n0000000000000000").into_bytes()
}
