use super::*;
use crate::http1::fields::Header;
use crate::http1::head::{Framing, RequestMeta};
use crate::{Error, Reply, Route};
use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::time::{Instant, SystemTime};

/// Gives one piece, then fails.
struct Fails(bool);

impl Read for Fails {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            return Err(io::Error::other("broken"));
        }
        buffer[0] = b'x';
        Ok(1)
    }
}

static APP: App<()> = App::new(&[
    Route::get("/static", |_, _, _| Ok("static".into())),
    Route::get("/stream", |_, _, _| Ok(Reply::stream(Cursor::new("streamed")))),
    Route::get("/nothing", |_, _, _| Ok(Reply::stream(Cursor::new("streamed")).with_status(204)?)),
    Route::get("/fails", |_, _, _| Ok(Reply::stream(Fails(false)))),
    Route::get("/error", |_, _, _| Err(Error::msg("no"))),
    Route::get("/large", |_, _, _| Ok(vec![b'l'; 100_000].into())),
    Route::get("/stop", |_, _, _| {
        STOPPED.set(true);
        Ok("stopping".into())
    }),
    Route::pre_stop(|_, _| Ok("stopped".into())),
]);

thread_local! {
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Default)]
struct Lines(Vec<String>);

impl CallLog for Lines {
    fn start(&mut self, _: LogMarker, request_id: LoggedId<'_>) {
        self.0.push(format!("start {request_id}"));
    }

    fn end(&mut self, _: LogMarker, request_id: LoggedId<'_>, failed: bool) {
        self.0.push(format!("end {request_id}{}", if failed { " failed" } else { "" }));
    }
}

struct Bench {
    dispatcher: Dispatcher<()>,
    exchange: Exchange,
    lines: Lines,
}

fn now() -> ClockReading {
    ClockReading { instant: Instant::now(), wall: SystemTime::now() }
}

impl Bench {
    fn new() -> Bench {
        STOPPED.set(false);
        let env = Env { now, cancelled: || STOPPED.get(), machine: crate::function::freeze::Machine::UNKNOWN };
        let dispatcher = dispatcher(&APP, (), &Config::default(), env);
        Bench { dispatcher, exchange: Exchange::default(), lines: Lines::default() }
    }

    /// A request whose client keeps the connection open, or does not.
    fn start(&mut self, line: &str, client_keeps: bool, allowance: Allowance) -> Started {
        let (method, path_and_query) = line.split_once(' ').unwrap();
        let meta = RequestMeta {
            framing: Framing::Sized(0),
            keep_alive: client_keeps,
            expects_continue: false,
            http10: method == "OLD",
        };
        let method = if method == "OLD" { "GET" } else { method };
        let headers = [Header::new("x-fc-request-id", b"id-1")];
        let head = Head { method, path_and_query, headers: &headers, meta };
        let received = Received { head, body: b"", client: Peer::Unix, at: now() };
        self.exchange.start(&mut self.dispatcher, received, allowance, &mut self.lines)
    }

    /// Everything that is to be written, so many bytes at a time; and whether the stream failed.
    fn written(&mut self, piece: usize) -> (String, bool) {
        let mut bytes = Vec::new();
        loop {
            match self.exchange.next(&mut self.dispatcher, &mut self.lines) {
                Ok(Next::Write(head, body)) => {
                    let taken: Vec<u8> = head.iter().chain(body).take(piece).copied().collect();
                    self.exchange.advance(taken.len());
                    bytes.extend(taken);
                }
                Ok(Next::Done) => return (String::from_utf8(bytes).unwrap(), false),
                Err(StreamFailed) => return (String::from_utf8(bytes).unwrap(), true),
            }
        }
    }
}

const ANY: usize = usize::MAX;

/// Client, engine and stop: each can end the connection, and the response says so.
#[test]
fn whether_the_connection_stays_open() {
    // Request, the client keeps, the engine can, a pre-stop call came before: stays open.
    let cases = [
        ("GET /static", true, true, false, true),
        ("GET /static", false, true, false, false),
        ("GET /static", true, false, false, false),
        ("GET /static", true, true, true, true), // life goes on (C-STOP-5)
        ("GET /stop", true, true, false, false),
        ("GET /error", true, true, false, true),
        ("GET /stream", true, true, false, true),
        ("OLD /stream", true, true, false, false),
        ("OLD /static", true, true, false, true),
    ];
    for (line, client_keeps, keep, is_stopped, expected) in cases {
        let mut bench = Bench::new();
        if is_stopped {
            bench.start("GET /pre-stop", true, Allowance { keep: true, reply_bytes_max: ANY });
            bench.written(ANY);
        }
        let started = bench.start(line, client_keeps, Allowance { keep, reply_bytes_max: ANY });
        let (text, failed) = bench.written(ANY);
        assert_eq!((started.keep, failed), (expected, false), "{line}");
        assert_eq!(text.contains("\r\nconnection: close\r\n"), !expected, "{line}: {text}");
        assert!(bench.exchange.response.is_empty());
    }
}

/// C-LOG-1: a call's log ends once: with its reply, at the end or the failure of a stream, or when it is given up.
#[test]
fn every_call_that_starts_ends() {
    let allowance = || Allowance { keep: true, reply_bytes_max: ANY };
    for (line, at_start, at_end, fails) in [
        ("GET /static", &["start id-1", "end id-1"][..], &["start id-1", "end id-1"][..], false),
        ("GET /error", &["start id-1", "end id-1 failed"], &["start id-1", "end id-1 failed"], false),
        ("GET /stream", &["start id-1"], &["start id-1", "end id-1"], false),
        ("HEAD /stream", &["start id-1", "end id-1"], &["start id-1", "end id-1"], false),
        ("GET /nothing", &["start id-1", "end id-1"], &["start id-1", "end id-1"], false),
        ("GET /fails", &["start id-1"], &["start id-1", "end id-1 failed"], true),
    ] {
        for piece in [ANY, 1] {
            let mut bench = Bench::new();
            bench.start(line, true, allowance());
            assert_eq!(bench.lines.0, at_start, "{line}");
            assert_eq!(bench.written(piece).1, fails, "{line}");
            assert_eq!(bench.lines.0, at_end, "{line}");
            assert!(!bench.exchange.abandon(&mut bench.dispatcher, &mut bench.lines), "{line}: nothing is left");
            assert_eq!(bench.lines.0, at_end, "{line}");
        }
    }
    let mut bench = Bench::new();
    bench.start("GET /stream", true, allowance());
    assert!(bench.exchange.abandon(&mut bench.dispatcher, &mut bench.lines), "the client must see a reset");
    assert_eq!(bench.lines.0, ["start id-1", "end id-1"]);
    assert!(bench.exchange.response.is_empty());
}

#[test]
fn a_reply_that_the_engine_has_no_memory_for_is_a_503() {
    let mut bench = Bench::new();
    let started = bench.start("GET /large", true, Allowance { keep: true, reply_bytes_max: 50_000 });
    assert!(started.overloaded && started.keep);
    assert!(bench.written(ANY).0.starts_with("HTTP/1.1 503 "));
    assert!(!bench.start("GET /large", true, Allowance { keep: true, reply_bytes_max: ANY }).overloaded);
}

#[test]
fn what_is_no_reply_is_written_too() {
    let mut bench = Bench::new();
    bench.exchange.send_continue();
    assert_eq!(bench.written(3).0, "HTTP/1.1 100 Continue\r\n\r\n");
    bench.exchange.reject(ProtocolError::HeadTimeout, true);
    let (text, _) = bench.written(7);
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("\r\nconnection: close\r\n"), "{text}");
    assert!(bench.lines.0.is_empty(), "neither is a call");
}

/// What the configuration adds to the app's own settings.
#[test]
fn a_configuration_applies_to_the_dispatcher() {
    let env = Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN };
    let mut config = Config::default();
    assert_eq!(dispatcher(&APP, (), &config, env).health_path, None);
    config.set("health-path", "/up").unwrap();
    config.set("require-control-path", "on").unwrap();
    let configured = dispatcher(&APP, (), &config, env);
    assert_eq!((configured.health_path.as_deref(), configured.control_path_required), (Some("/up"), true));
}

/// The exit of a stopping instance does not depend on clients.
#[test]
fn a_stop_lingers_no_longer_than_it_may() {
    let mut limits = Limits::default();
    assert_eq!(linger_time(&limits, false), limits.linger_time_max);
    assert_eq!(linger_time(&limits, true), DRAIN_LINGER_TIME_MAX);
    limits.linger_time_max = Duration::from_millis(1);
    assert_eq!(linger_time(&limits, true), limits.linger_time_max);
}
