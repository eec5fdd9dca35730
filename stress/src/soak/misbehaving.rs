//! Misbehaving clients, and calls that do not succeed. Each knows the correct response.
//!
//! Their requests use id 0, because some may or may not have run.

use std::time::Duration;

use crate::trial::{AwakeClock, Load, PATIENCE, SlowClient, get, post};
use fc_emulator::clock::Deadline;
use fc_testkit::Rng;
use fc_testkit::http::Response;

/// Defines the kinds and the list of them, from which one is drawn.
macro_rules! misbehaviours {
    ($($(#[$meaning:meta])* $misbehaviour:ident,)*) => {
        /// The kinds of misbehaviour.
        #[derive(Clone, Copy, Debug)]
        enum Misbehaviour {
            $($(#[$meaning])* $misbehaviour,)*
        }

        const MISBEHAVIOURS: &[Misbehaviour] = &[$(Misbehaviour::$misbehaviour),*];
    };
}

misbehaviours! {
    /// A call that fails, and another call after it on the same connection.
    Error,
    Panic,
    FailedEvent,
    PanickedEvent,
    NoRoute,
    WrongMethod,
    /// A client that requests a hook.
    OutsideHook,
    /// Streams that fail or panic half-way. The server must cut them, so that no client takes them for complete.
    BrokenStream,
    CollapsingStream,
    /// Requests that are not valid HTTP.
    NoRequest,
    BareLineFeed,
    TwoLengths,
    BrokenChunk,
    EndlessHead,
    LargeBody,
    /// Connections that open and close.
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

/// One misbehaving client. It runs until the load ends.
pub fn misbehave(load: &Load<'_>, time: &AwakeClock, mut rng: Rng) {
    while time.enter() {
        let misbehaviour = MISBEHAVIOURS[rng.within(0, MISBEHAVIOURS.len() as u64 - 1) as usize];
        if let Err(fault) = once(misbehaviour, load, &mut rng) {
            load.report_fault(format!("{misbehaviour:?}: {fault}"));
        }
        time.leave();
        let rest = rng.millis(0, 60);
        time.sleep_awake(rest);
    }
}

fn once(misbehaviour: Misbehaviour, load: &Load<'_>, rng: &mut Rng) -> Result<(), String> {
    let mut client = SlowClient::open(load.addr(), Deadline::after(PATIENCE))?;
    let length = |bytes: usize| format!("POST {ECHO} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    match misbehaviour {
        Misbehaviour::Error => goes_on(&mut client, get("/error/0000000000000000").as_bytes(), 500),
        Misbehaviour::Panic => goes_on(&mut client, get("/panic/0000000000000000").as_bytes(), 500),
        Misbehaviour::FailedEvent => goes_on(&mut client, &event("fail"), 404),
        Misbehaviour::PanickedEvent => goes_on(&mut client, &event("panic"), 404),
        Misbehaviour::NoRoute => goes_on(&mut client, get("/nobody/knows").as_bytes(), 404),
        Misbehaviour::WrongMethod => goes_on(&mut client, &post("/tally", "/http-invoke", b"x"), 405),
        Misbehaviour::OutsideHook => {
            let hooks = ["/pre-stop", "/pre-freeze", "/initialize"];
            goes_on(&mut client, get(hooks[rng.within(0, 2) as usize]).as_bytes(), 404)
        }
        Misbehaviour::BrokenStream => is_cut(client, "broken", rng),
        Misbehaviour::CollapsingStream => is_cut(client, "collapsing", rng),
        Misbehaviour::NoRequest => is_refused(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        Misbehaviour::BareLineFeed => is_refused(client, b"GET / HTTP/1.1\nhost: a\n\n", 400),
        Misbehaviour::TwoLengths => {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
            is_refused(client, head.as_bytes(), 400)
        }
        Misbehaviour::BrokenChunk => {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n";
            is_refused(client, head.as_bytes(), 400)
        }
        Misbehaviour::EndlessHead => {
            let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(100_000));
            is_refused(client, head.as_bytes(), 431)
        }
        Misbehaviour::LargeBody => is_refused(client, length(1 << 40).as_bytes(), 413),
        Misbehaviour::Nothing => Ok(()),
        Misbehaviour::NothingReset => leave(client, b"", true),
        Misbehaviour::HalfHead => leave(client, &get(ECHO).as_bytes()[..20], false),
        Misbehaviour::HalfHeadReset => leave(client, &get(ECHO).as_bytes()[..20], true),
        Misbehaviour::HalfBody => leave(client, &[length(100_000).as_bytes(), &[b'b'; 50_000]].concat(), false),
        Misbehaviour::HalfBodyReset => leave(client, &[length(100_000).as_bytes(), &[b'b'; 50_000]].concat(), true),
        Misbehaviour::HalfClosed => {
            client.send(length(9).as_bytes(), Deadline::after(PATIENCE))?;
            client.finish();
            client.ends(Deadline::after(PATIENCE)).map(drop)
        }
        Misbehaviour::AnswerUnread => leave(client, get("/stream/0000000000000000?900000").as_bytes(), false),
        Misbehaviour::AnswerReset => leave(client, get("/big/0000000000000000?900000").as_bytes(), true),
        Misbehaviour::HeadForEver => is_refused(client, &get(ECHO).as_bytes()[..30], 408),
        Misbehaviour::BodyForEver => is_refused(client, length(9).as_bytes(), 408),
    }
}

/// The server answers with this status, and the connection then serves an honest call.
fn goes_on(client: &mut SlowClient, request: &[u8], status: u16) -> Result<(), String> {
    answered(client, request, status)?;
    let reply = answered(client, get(ECHO).as_bytes(), 200)?;
    if reply.body != b"0000000000000000" {
        return Err(format!("a wrong answer to the call after it: {}", String::from_utf8_lossy(&reply.body)));
    }
    client.is_quiet()
}

fn answered(client: &mut SlowClient, request: &[u8], status: u16) -> Result<Response, String> {
    client.send(request, Deadline::after(PATIENCE))?;
    let reply = client.reply(Deadline::after(PATIENCE), || {})?;
    match (reply.status == status, reply.closes) {
        (true, false) => Ok(reply),
        (right, _) => {
            let what = if right { "with `Connection: close`" } else { "which is wrong" };
            Err(format!("answered {}, {what}: {}", reply.status, String::from_utf8_lossy(&reply.body)))
        }
    }
}

/// The server rejects the request with this status and closes the connection.
fn is_refused(mut client: SlowClient, request: &[u8], status: u16) -> Result<(), String> {
    // The rejection may arrive before everything is sent.
    let sent = client.send(request, Deadline::after(PATIENCE));
    let reply = client.reply(Deadline::after(PATIENCE), || {}).map_err(|cause| format!("{cause}, {sent:?}"))?;
    if reply.status != status || !reply.closes {
        return Err(format!("answered {}, closes: {}", reply.status, reply.closes));
    }
    client.finish();
    client.ends(Deadline::after(PATIENCE)).map(drop)
}

/// The server begins the reply and ends it early.
fn is_cut(mut client: SlowClient, route: &str, rng: &mut Rng) -> Result<(), String> {
    let bytes = rng.within(0, 200) * 1000;
    client.send(get(&format!("/{route}/0000000000000000?{bytes}")).as_bytes(), Deadline::after(PATIENCE))?;
    match client.reply(Deadline::after(PATIENCE), || {}) {
        Err(cause) if cause.starts_with("cut") || cause.starts_with("closed") => Ok(()),
        Err(cause) => Err(cause),
        Ok(reply) => Err(format!("a broken stream looked complete: {} bytes", reply.body.len())),
    }
}

/// Sends this and closes the connection.
fn leave(mut client: SlowClient, bytes: &[u8], reset: bool) -> Result<(), String> {
    client.send(bytes, Deadline::after(PATIENCE))?;
    // This is not to synchronise: it leaves at different stages of the request.
    std::thread::sleep(Duration::from_micros(300));
    if reset {
        client.reset();
    }
    Ok(())
}

fn event(handler: &str) -> Vec<u8> {
    let head = "POST /invoke HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /invoke\r\ncontent-length: 16\r\n";
    format!("{head}x-fc-function-handler: {handler}\r\n\r\n0000000000000000").into_bytes()
}
