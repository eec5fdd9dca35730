use super::*;
use crate::function::request::{LoggedId, Peer};
use crate::function::route::Route;
use crate::http1::fields::Header;
use crate::{Error, Thaw};
use std::cell::Cell;
use std::io::Cursor;
use std::time::{Duration, Instant, SystemTime};

thread_local! {
    /// How far the fake clocks are ahead of the real ones.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn now() -> ClockReading {
    let ahead = AHEAD.with(Cell::get);
    ClockReading { instant: Instant::now() + ahead, wall: SystemTime::now() + ahead }
}

/// Only the wall clock jumps: what a pause of the whole machine looks like.
fn now_after_pause() -> ClockReading {
    ClockReading { instant: Instant::now(), wall: SystemTime::now() + AHEAD.with(Cell::get) }
}

/// What the callbacks did, in order, and what they are to do next.
#[derive(Default)]
struct Script {
    ran: Vec<String>,
    fail: bool,
    panic: bool,
}

impl Script {
    fn play(&mut self, what: &str) -> crate::Result {
        self.ran.push(what.to_owned());
        assert!(!self.panic, "told to panic");
        if self.fail { Err(Error::typed("Told", "told to fail")) } else { Ok(format!("{what} done").into()) }
    }
}

fn on_thaw(script: &mut Script, _: &Context<'_>, thaw: &Thaw) -> crate::Result<()> {
    script.ran.push(format!("thaw by {}", thaw.evidence));
    if script.fail { Err(Error::msg("told to fail")) } else { Ok(()) }
}

static APP: App<Script> = App::<Script>::new(&[
    Route::initialize(|script, _| script.play("initialize")),
    Route::pre_freeze(|script, _| script.play("pre-freeze")),
    Route::pre_stop(|script, _| script.play("pre-stop")),
    Route::on_thaw(on_thaw),
    Route::invoke(|script, _, request| script.play(&format!("invoke {}", request.body().escape_ascii()))),
    Route::get("/a", |script, _, _| script.play("a")),
    Route::get("/503", |_, _, _| Ok(Reply::new().with_status(503)?)),
    Route::get("/stream", |_, _, _| Ok(Reply::stream(Cursor::new("streamed")))),
    Route::fallback(|script, _, request| script.play(&format!("fallback {}", request.path()))),
])
.health_path("/health");

static BARE: App<Script> = App::new(&[Route::get("/a", |script, _, _| script.play("a"))]);

#[derive(Default)]
struct Lines(Vec<String>);

impl CallLog for Lines {
    fn start(&mut self, marker: LogMarker, request_id: LoggedId<'_>) {
        self.0.push(format!("{} start {request_id}", marker.word()));
    }

    fn end(&mut self, marker: LogMarker, request_id: LoggedId<'_>, failed: bool) {
        self.0.push(format!("{} end {request_id}{}", marker.word(), if failed { " failed" } else { "" }));
    }
}

/// What came of one call, as text: status, x-fc-status, body.
struct Bench {
    service: Dispatcher<Script>,
    lines: Lines,
}

impl Bench {
    fn new(app: &'static App<Script>) -> Bench {
        let env = Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN };
        Bench { service: Dispatcher::new(app, Script::default(), env), lines: Lines::default() }
    }

    fn call(&mut self, line: &str, headers: &[(&str, &str)]) -> String {
        let (method, path_and_query) = line.split_once(' ').unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        let request = Request { method, path_and_query, headers: Headers(&headers), body: b"event", peer: Peer::Unix };
        let received = (self.service.env.now)();
        let answer = self.service.handle(&request, received, usize::MAX, &mut self.lines);
        let body = answer.reply.body.bytes().map_or("stream".into(), String::from_utf8_lossy);
        let (status, fc_status) = (answer.reply.status, if answer.failed { 404 } else { 200 });
        format!("{status} {fc_status} {body}")
    }

    /// The call as the platform makes it.
    fn platform(&mut self, control_path: &str, line: &str) -> String {
        self.call(line, &[("x-fc-control-path", control_path), ("x-fc-request-id", "id-1")])
    }

    fn ran(&mut self) -> Vec<String> {
        std::mem::take(&mut self.service.state.ran)
    }
}

const FAILED: &str = r#"{"errorMessage":"told to fail","errorType":"Told"}"#;

/// C-DISP-1, C-DISP-2, C-DISP-4: which call it is, and what runs.
#[test]
fn who_is_calling() {
    // control path header, request, what runs, status
    let cases: [(Option<&str>, &str, &str, u16); 24] = [
        // The header decides alone.
        (Some("/initialize"), "POST /initialize", "initialize", 200),
        (Some("/pre-freeze"), "GET /pre-freeze", "pre-freeze", 200),
        (Some("/pre-stop"), "GET /pre-stop", "pre-stop", 200),
        (Some("/invoke"), "POST /invoke", "invoke event", 200),
        (Some("/initialize"), "POST /", "initialize", 200),
        (Some("/invoke"), "POST /elsewhere", "invoke event", 200),
        (Some("/http-invoke"), "GET /a", "a", 200),
        // An outside caller who asks for a hook's path gets the author's routes.
        (Some("/http-invoke"), "POST /initialize", "fallback /initialize", 200),
        (Some("/http-invoke"), "GET /pre-freeze", "fallback /pre-freeze", 200),
        (Some("/http-invoke"), "GET /pre-stop", "fallback /pre-stop", 200),
        (Some("/http-invoke"), "GET /pre-stop?x", "fallback /pre-stop", 200),
        (Some("/http-invoke"), "POST /invoke", "fallback /invoke", 200),
        (Some("/something-new"), "GET /pre-stop", "fallback /pre-stop", 200),
        (Some(" /pre-stop"), "GET /pre-stop", "fallback /pre-stop", 200),
        (Some("/PRE-STOP"), "GET /pre-stop", "fallback /pre-stop", 200),
        // Without it, method and path decide; empty means none.
        (None, "POST /initialize", "initialize", 200),
        (None, "GET /pre-freeze", "pre-freeze", 200),
        (Some(""), "GET /pre-stop", "pre-stop", 200),
        (None, "POST /invoke", "invoke event", 200),
        (None, "GET /pre-stop?x=y", "pre-stop", 200),
        (None, "GET /initialize", "", 405),
        (None, "POST /pre-stop", "", 405),
        (None, "HEAD /pre-freeze", "", 405),
        (None, "GET /pre-stop/", "fallback /pre-stop/", 200),
    ];
    for (control_path, line, expected, status) in cases {
        let mut bench = Bench::new(&APP);
        let headers: Vec<_> = control_path.map(|path| ("X-Fc-Control-Path", path)).into_iter().collect();
        let answer = bench.call(line, &headers);
        assert_eq!(bench.ran().join(","), expected, "{control_path:?} {line}");
        assert!(answer.starts_with(&status.to_string()), "{control_path:?} {line}: {answer}");
    }
}

/// Nobody but the platform can set the header (C-DISP-3). Where it contradicts itself somebody did.
#[test]
fn a_doubled_header_runs_no_hook() {
    for values in
        [["", "/http-invoke"], ["/http-invoke", ""], ["/pre-stop", "/http-invoke"], ["/pre-stop", "/pre-stop"]]
    {
        let mut bench = Bench::new(&APP);
        bench.call("GET /pre-stop", &values.map(|value| ("x-fc-control-path", value)));
        assert_eq!(bench.ran(), ["fallback /pre-stop"], "{values:?}");
    }
}

/// C-FRZ-4: a freeze that was announced comes, whether or not there is a hook for it.
#[test]
fn an_announced_freeze_is_evidence_without_a_hook() {
    static HOOKLESS: App<Script> =
        App::new(&[Route::on_thaw(on_thaw), Route::get("/a", |script, _, _| script.play("a"))]);
    let mut bench = Bench::new(&HOOKLESS);
    assert!(bench.platform("/pre-freeze", "GET /pre-freeze").starts_with("404 404 "));
    bench.platform("/http-invoke", "GET /a");
    bench.platform("/http-invoke", "GET /a");
    assert_eq!(bench.ran(), ["thaw by pre-freeze", "a", "a"]);
}

#[test]
fn hooks_without_the_header_can_be_refused() {
    static STRICT: App<Script> = App::<Script>::new(&[
        Route::initialize(|script, _| script.play("initialize")),
        Route::invoke(|script, _, _| script.play("invoke")),
    ])
    .require_control_path();
    let mut bench = Bench::new(&STRICT);
    assert!(
        bench.call("POST /initialize", &[]).starts_with("404 404 {\"errorMessage\":\"x-fc-control-path is absent\"")
    );
    bench.call("POST /invoke", &[]);
    bench.platform("/initialize", "POST /initialize");
    assert_eq!(bench.ran(), ["invoke", "initialize"]);
}

/// C-STAT-1, C-STAT-2, C-FRZ-4: 200 or 404 and never 500, whatever happens; the body is the return value.
#[test]
fn hook_answers() {
    for (path, line) in [("initialize", "POST"), ("pre-freeze", "GET"), ("pre-stop", "GET")] {
        let call = |bench: &mut Bench| bench.platform(&format!("/{path}"), &format!("{line} /{path}"));
        let mut bench = Bench::new(&APP);
        assert_eq!(call(&mut bench), format!("200 200 {path} done"));
        let mut bench = Bench::new(&APP);
        bench.service.state.fail = true;
        assert_eq!(call(&mut bench), format!("404 404 {FAILED}"));
        let mut bench = Bench::new(&APP);
        bench.service.state.panic = true;
        let expected = r#"404 404 {"errorMessage":"told to panic","errorType":"Panic"}"#;
        assert_eq!(call(&mut bench), expected);
        let mut bench = Bench::new(&BARE);
        let message = format!("404 404 {{\"errorMessage\":\"/{path} is not implemented by this function\"");
        assert!(call(&mut bench).starts_with(&message));
        assert!(bench.lines.0.is_empty(), "what is not there leaves no marks in the log");
    }
}

/// C-INV-3: events answer 200 or 404, HTTP calls as the handler says; the header says whether the call failed.
#[test]
fn call_answers() {
    let mut bench = Bench::new(&APP);
    assert_eq!(bench.platform("/invoke", "POST /invoke"), "200 200 invoke event done");
    assert_eq!(bench.platform("/http-invoke", "GET /a"), "200 200 a done");
    assert_eq!(bench.platform("/http-invoke", "GET /503"), "503 404 ");
    assert!(bench.platform("/http-invoke", "POST /a").starts_with("405 200 "), "the client's mistake");
    bench.service.state.fail = true;
    assert_eq!(bench.platform("/invoke", "POST /invoke"), format!("404 404 {FAILED}"));
    assert_eq!(
        bench.platform("/http-invoke", "GET /a"),
        r#"500 404 {"errorMessage":"internal error","errorType":"Told"}"#,
        "anyone may have called, so the text stays inside"
    );
    bench.service.state.panic = true;
    assert!(bench.platform("/invoke", "POST /invoke").starts_with("404 404 "));
    assert!(bench.platform("/http-invoke", "GET /a").starts_with("500 404 "));
    let mut bare = Bench::new(&BARE);
    assert!(bare.platform("/http-invoke", "GET /pre-stop").starts_with("404 200 {\"errorMessage\":\"no route"));
    assert!(bare.platform("/invoke", "POST /invoke").starts_with("404 404 "));
    assert_eq!(bare.service.lifecycle.phase(), Phase::Ready);
}

/// The error says which status the call gets, and the table whether callers read why.
#[test]
fn errors_of_http_calls() {
    fn fail(status: u16) -> crate::Result {
        Err(Error::typed("Told", "told to fail").with_status(status)?)
    }
    static SHOWN: App<Script> = App::new(&[
        Route::get("/404", |_, _, _| fail(404)),
        Route::get("/503", |_, _, _| fail(503)),
        Route::get("/json", |_, _, request| request.json::<u8>().map(|_| ().into())),
        Route::invoke(|_, _, _| fail(503)),
        Route::show_errors(),
    ]);
    static HIDDEN: App<Script> =
        App::new(&[Route::get("/404", |_, _, _| fail(404)), Route::get("/503", |_, _, _| fail(503))]);
    let hidden = FAILED.replace("told to fail", "internal error");
    let cases = [
        (&SHOWN, "/http-invoke", "GET /503", format!("503 404 {FAILED}")),
        (&SHOWN, "/http-invoke", "GET /404", format!("404 200 {FAILED}")),
        (&SHOWN, "/invoke", "POST /invoke", format!("404 404 {FAILED}")),
        (&HIDDEN, "/http-invoke", "GET /503", format!("503 404 {hidden}")),
        (&HIDDEN, "/http-invoke", "GET /404", format!("404 200 {FAILED}")),
    ];
    for (app, control_path, line, expected) in cases {
        assert_eq!(Bench::new(app).platform(control_path, line), expected, "{line}");
    }
    let mistake = Bench::new(&SHOWN).platform("/http-invoke", "GET /json");
    assert!(mistake.starts_with("400 200 {\"errorMessage\":\"expected value at line 1 column 1\""), "{mistake}");
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let mut bench = Bench::new(&APP);
    let request = Request { method: "PUT", path_and_query: "/a", headers: Headers(&[]), body: b"", peer: Peer::Unix };
    let answer = bench.service.handle(&request, now(), usize::MAX, &mut bench.lines);
    assert_eq!(answer.reply.header_lines().collect::<Vec<_>>(), [("allow", "GET, HEAD")]);
}

/// C-INIT-2: a repeat after a success does not run the hook again, one after a failure does.
#[test]
fn initialize_runs_until_it_succeeds() {
    let mut bench = Bench::new(&APP);
    let call = |bench: &mut Bench| bench.platform("/initialize", "POST /initialize");
    bench.service.state.fail = true;
    assert!(call(&mut bench).starts_with("404 404 "));
    bench.service.state.panic = true;
    assert!(call(&mut bench).starts_with("404 404 "));
    (bench.service.state.fail, bench.service.state.panic) = (false, false);
    assert_eq!(call(&mut bench), "200 200 initialize done");
    bench.service.state.fail = true;
    for _ in 0..3 {
        assert_eq!(call(&mut bench), "200 200 initialize done");
    }
    assert_eq!(bench.ran().len(), 3);
    assert_eq!(bench.service.lifecycle.counts().replayed, 3);
}

/// C-FRZ-2, C-STOP-4: once per freeze, a retry gets the same answer, failures included; the next call thaws.
#[test]
fn pre_freeze_runs_once_per_freeze() {
    let mut bench = Bench::new(&APP);
    let freeze = |bench: &mut Bench| bench.platform("/pre-freeze", "GET /pre-freeze");
    bench.service.state.fail = true;
    assert_eq!((freeze(&mut bench), freeze(&mut bench)), (format!("404 404 {FAILED}"), format!("404 404 {FAILED}")));
    bench.service.state.fail = false;
    assert_eq!(bench.service.lifecycle.phase(), Phase::Frozen);
    bench.platform("/invoke", "POST /invoke");
    assert_eq!((freeze(&mut bench), freeze(&mut bench)), {
        let done = "200 200 pre-freeze done".to_owned();
        (done.clone(), done)
    });
    assert_eq!(bench.ran(), ["pre-freeze", "thaw by pre-freeze", "invoke event", "pre-freeze"]);
}

/// C-STOP-2, C-STOP-4: pre-stop thaws first, and a repeat with no call in between gets the stored answer.
#[test]
fn a_repeated_pre_stop_is_replayed() {
    let mut bench = Bench::new(&APP);
    let stop = |bench: &mut Bench| bench.platform("/pre-stop", "GET /pre-stop");
    bench.platform("/pre-freeze", "GET /pre-freeze");
    let done = "200 200 pre-stop done";
    assert_eq!(stop(&mut bench), done);
    bench.service.record_evidence(Evidence { sigcont: true, ..Evidence::default() });
    assert_eq!(stop(&mut bench), done, "the sign of a freeze waits for a call that brings the instance back");
    assert!(bench.platform("/pre-freeze", "GET /pre-freeze").starts_with("404 404 "));
    bench.call("GET /pre-freeze", &[("x-fc-control-path", "/pre-stop")]);
    bench.service.stop(&mut bench.lines);
    assert_eq!(bench.ran(), ["pre-freeze", "thaw by pre-freeze", "pre-stop"]);
    assert_eq!(bench.platform("/invoke", "POST /invoke"), "200 200 invoke event done");
    assert_eq!(bench.ran(), ["thaw by sigcont", "invoke event"]);
}

/// C-STOP-5, C-INIT-5: a call or the initializer brings the instance back; then every hook is owed again.
#[test]
fn life_goes_on_after_pre_stop() {
    let mut bench = Bench::new(&APP);
    let stop = |bench: &mut Bench| assert_eq!(bench.platform("/pre-stop", "GET /pre-stop"), "200 200 pre-stop done");
    let initialize = |bench: &mut Bench| bench.platform("/initialize", "POST /initialize");
    initialize(&mut bench);
    stop(&mut bench);
    assert_eq!(bench.call("PUT /invoke", &[]).get(..3), Some("405"), "an outside caller's mistake brings nothing back");
    assert_eq!(bench.service.lifecycle.phase(), Phase::Stopped);
    assert_eq!(bench.platform("/http-invoke", "GET /a"), "200 200 a done");
    assert_eq!(bench.service.lifecycle.phase(), Phase::Ready);
    initialize(&mut bench);
    initialize(&mut bench);
    bench.platform("/pre-freeze", "GET /pre-freeze");
    stop(&mut bench);
    initialize(&mut bench);
    bench.service.stop(&mut bench.lines);
    let expected = [
        "initialize",
        "pre-stop",
        "a",
        "initialize",
        "pre-freeze",
        "thaw by pre-freeze",
        "pre-stop",
        "initialize",
        "pre-stop",
    ];
    assert_eq!(bench.ran(), expected);
    let counts = bench.service.lifecycle.counts();
    assert_eq!((counts.stopped, counts.revived, counts.initialized, counts.replayed), (3, 2, 3, 1));
}

/// C-STOP-3: a process that is told to end runs pre-stop itself if nobody called it.
#[test]
fn a_stop_runs_pre_stop() {
    let mut bench = Bench::new(&APP);
    bench.platform("/pre-freeze", "GET /pre-freeze");
    bench.service.stop(&mut bench.lines);
    bench.service.stop(&mut bench.lines);
    assert_eq!(bench.ran(), ["pre-freeze", "thaw by pre-freeze", "pre-stop"]);
    assert_eq!(bench.lines.0.last().unwrap(), "PreStop end -");
}

/// C-START-4: the health check neither thaws nor counts, whoever asks.
#[test]
fn health_checks_are_not_calls() {
    let mut bench = Bench::new(&APP);
    bench.platform("/pre-freeze", "GET /pre-freeze");
    let (ran, lines) = (bench.ran().len(), bench.lines.0.len());
    for headers in [&[][..], &[("x-fc-control-path", "/http-invoke")]] {
        assert_eq!(bench.call("GET /health", headers), "200 200 ok");
        assert_eq!(bench.call("HEAD /health?deep", headers), "200 200 ok");
    }
    assert_eq!((bench.ran().len(), bench.lines.0.len(), ran), (0, lines, 1));
    assert_eq!((bench.service.lifecycle.phase(), bench.service.lifecycle.counts().calls), (Phase::Frozen, 0));
    assert!(bench.call("POST /health", &[]).contains("fallback"), "only GET is the check");
    bench.call("GET /health", &[("x-fc-control-path", "/pre-stop")]);
    assert!(bench.ran().contains(&"pre-stop".to_owned()), "the control path decides (C-DISP-1)");
}

/// C-FRZ-5: the thaw callback comes before everything else, with the evidence; its failure is not the request's.
#[test]
fn thaws() {
    let mut bench = Bench::new(&APP);
    bench.service.record_evidence(Evidence { sigcont: true, ..Evidence::default() });
    bench.platform("/initialize", "POST /initialize");
    bench.service.record_evidence(Evidence { interrupted: true, ..Evidence::default() });
    bench.service.state.fail = true;
    assert_eq!(bench.platform("/http-invoke", "GET /503"), "503 404 ");
    bench.service.state.fail = false;
    // An hour of idling is no evidence (C-INIT-4); an hour on the wall clock alone is.
    AHEAD.set(Duration::from_secs(3600));
    bench.platform("/invoke", "POST /invoke");
    bench.service.env.now = now_after_pause;
    AHEAD.set(Duration::ZERO);
    bench.platform("/invoke", "POST /invoke");
    AHEAD.set(Duration::from_secs(60));
    bench.platform("/invoke", "POST /invoke");
    let expected = [
        "thaw by sigcont",
        "initialize",
        "thaw by interrupted",
        "invoke event",
        "invoke event",
        "thaw by clocks-disagree",
        "invoke event",
    ];
    assert_eq!(bench.ran(), expected);
    AHEAD.set(Duration::ZERO);
}

/// C-LOG-1 to C-LOG-3.
#[test]
fn log_marks() {
    let mut bench = Bench::new(&APP);
    bench.platform("/initialize", "POST /initialize");
    bench.call("GET /a", &[("x-fc-request-id", "")]);
    bench.service.state.fail = true;
    bench.platform("/invoke", "POST /invoke");
    bench.platform("/pre-freeze", "GET /pre-freeze");
    bench.platform("/pre-stop", "GET /pre-stop");
    let expected = [
        "Initialize start id-1",
        "Initialize end id-1",
        "Invoke start -",
        "Invoke end -",
        "Invoke start id-1",
        "Invoke end id-1 failed",
        "PreFreeze start id-1",
        "PreFreeze end id-1 failed",
        "PreStop start id-1",
        "PreStop end id-1 failed",
    ];
    assert_eq!(bench.lines.0, expected);
}

/// C-INV-6: a streamed reply ends its call when it ends; of a hook or an event it is read whole.
#[test]
fn streams() {
    static STREAMS: App<()> = App::new(&[
        Route::invoke(|_, _, _| Ok(Reply::stream(Cursor::new("whole")))),
        Route::initialize(|_, _| Ok(Reply::stream_sized(Cursor::new("short"), 100))),
    ]);
    let env = Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN };
    let mut service = Dispatcher::new(&STREAMS, (), env);
    for (path, expected) in [("/invoke", (200, "whole")), ("/initialize", (404, "unexpected end of file"))] {
        let request =
            Request { method: "POST", path_and_query: path, headers: Headers(&[]), body: b"", peer: Peer::Unix };
        let answer = service.handle(&request, now(), usize::MAX, &mut Lines::default());
        let body = String::from_utf8_lossy(answer.reply.body.bytes().unwrap());
        assert!(answer.reply.status == expected.0 && body.contains(expected.1), "{path}: {body}");
        assert!(answer.streaming.is_none());
    }
    let mut bench = Bench::new(&APP);
    assert_eq!(bench.platform("/http-invoke", "GET /stream"), "200 200 stream");
    assert_eq!(bench.lines.0, ["Invoke start id-1"]);
    bench.service.finish(LogMarker::Invoke, LoggedId::new(b"id-1"), true, &mut bench.lines);
    assert_eq!(bench.lines.0, ["Invoke start id-1", "Invoke end id-1 failed"]);
    bench.platform("/http-invoke", "HEAD /stream");
    assert_eq!(bench.lines.0.len(), 4, "nothing is streamed for HEAD");
}

/// The observer sees what the hook itself never does: repeats.
#[test]
fn hooks_are_observed() {
    static OBSERVED: App<Vec<HookOutcome>> = App::<Vec<HookOutcome>>::new(&[Route::initialize(|_, _| Ok(().into()))])
        .observe_hooks(|seen, _, _, what| seen.push(what));
    let mut service = Dispatcher::new(
        &OBSERVED,
        Vec::new(),
        Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN },
    );
    for _ in 0..2 {
        let request = Request {
            method: "POST",
            path_and_query: "/initialize",
            headers: Headers(&[]),
            body: b"",
            peer: Peer::Unix,
        };
        service.handle(&request, now(), usize::MAX, &mut Lines::default());
    }
    let outcome = |ran| HookOutcome { hook: Hook::Initialize, ran, failed: false };
    assert_eq!(service.state, [outcome(true), outcome(false)]);
}
