//! The function behind the connections: hooks, events, HTTP calls, output, and their faults.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::http::Request;

/// Pre-freeze takes this long, so that a call can arrive while it runs.
const PRE_FREEZE_TIME: Duration = Duration::from_millis(30);
const PRE_FREEZE_LONG: Duration = Duration::from_millis(300);

/// `dies-on-probe` survives this many probes.
const PROBES_MAX: usize = 10;

/// One answer.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into() }
    }
}

/// The function and its fault.
pub struct App {
    fault: String,
    state: Mutex<State>,
    invokes: AtomicUsize,
    /// Events so far.
    events: AtomicUsize,
    probes: AtomicUsize,
    /// Lines that `buffers-output` holds back.
    held: Mutex<String>,
}

#[derive(Default)]
struct State {
    initialized: bool,
    poisoned: bool,
    pre_freezes: usize,
    pre_freezing: bool,
    /// Pre-freeze was called, and no call has come since.
    quiesced: bool,
    /// Pre-freeze was called, and no freeze has come since.
    announced: bool,
    /// A freeze came without pre-freeze before it, or before the first call.
    surprised: bool,
    thawed: bool,
    pre_stops: usize,
}

impl App {
    pub fn new(fault: String) -> Self {
        Self {
            fault,
            state: Mutex::default(),
            invokes: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            held: Mutex::default(),
        }
    }

    /// Whether this is the fault.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(crate::is_fault(name), "{name}");
        self.fault == name
    }

    pub fn was_stopped(&self) -> bool {
        self.state().pre_stops > 0
    }

    pub fn thawed(&self) {
        let mut state = self.state();
        let announced = std::mem::take(&mut state.announced);
        state.thawed = true;
        state.surprised = match () {
            () if self.has("stale-before-first-call") => self.events.load(Ordering::SeqCst) == 0,
            () => self.has("needs-pre-freeze") && !announced,
        };
    }

    pub fn half_initialized(&self) {
        self.state().poisoned = self.has("initialize-poisoned");
    }

    /// Notes a connection that ended without a request.
    pub fn probed(&self, how: &str) {
        let count = self.probes.fetch_add(1, Ordering::SeqCst) + 1;
        if self.has("dies-on-probe") && count > PROBES_MAX {
            std::process::exit(1);
        }
        if (self.has("logs-probes") && how == "end") || (self.has("logs-resets") && how == "reset") {
            self.print(&format!("connection {how} without a request"));
        }
    }

    /// Prints a line at once, unless the fault is to hold it back.
    pub fn print(&self, line: &str) {
        if self.has("buffers-output") || self.has("buffers-output-without-ids") {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.push_str(line);
            held.push('\n');
            return;
        }
        // If nothing reads the output any more, a lost line does not matter.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    pub fn flush(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = std::io::stdout().write_all(held.as_bytes());
        let _ = std::io::stdout().flush();
    }

    /// The answer to a request. `None` closes the connection.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        if std::env::var("DIE_AT").is_ok_and(|path| path == request.path()) {
            std::process::exit(3);
        }
        if self.has("logs-secret") {
            self.print(&format!("token {}", request.header("x-fc-security-token").unwrap_or_default()));
        }
        match self.route(request) {
            "/initialize" => Some(self.hook(request, "Initialize", Self::initialize)),
            "/pre-freeze" => Some(self.hook(request, "PreFreeze", Self::pre_freeze)),
            "/pre-stop" => Some(self.hook(request, "PreStop", Self::pre_stop)),
            "/invoke" => self.invoke(request),
            _ => Some(self.http(request)),
        }
    }

    /// The path of the hook or the event that the request calls. It is empty for the call of a client.
    fn route(&self, request: &Request) -> &'static str {
        const CALLS: [(&str, &str); 4] =
            [("POST", "/initialize"), ("GET", "/pre-freeze"), ("GET", "/pre-stop"), ("POST", "/invoke")];
        let by_path = CALLS.iter().find(|(method, path)| {
            let any_method = self.has("any-method") && *path != "/invoke";
            *path == request.path() && (any_method || *method == request.method)
        });
        let outside = |path: &str| {
            (self.has("outside-pre-stop") && path == "/pre-stop")
                || (self.has("outside-initialize") && path == "/initialize")
        };
        let by_path = by_path.map(|(_, path)| *path);
        match request.header("x-fc-control-path").filter(|path| !path.is_empty()) {
            Some("/http-invoke") => by_path.filter(|path| outside(path)).unwrap_or_default(),
            Some(said) => CALLS.iter().find(|(_, path)| *path == said).map_or("", |(_, path)| path),
            None if self.has("needs-control-path") => "",
            None => by_path.unwrap_or_default(),
        }
    }

    fn hook(&self, request: &Request, word: &str, hook: fn(&Self) -> Reply) -> Reply {
        if self.has("hook-500-without-headers") && request.header("x-fc-request-id").is_none() {
            return Reply::new(500, "KeyError: x-fc-request-id");
        }
        if self.has("answers-any-path") {
            return self.http(request);
        }
        if self.lacks_credentials(request) {
            return Reply::new(404, "no credentials");
        }
        let silent = match word {
            _ if self.has("buffers-output-without-ids") => true,
            "Initialize" => self.has("no-initialize-markers"),
            _ => self.has("no-hook-markers"),
        };
        let id = request.header("x-fc-request-id").unwrap_or_default();
        if !silent {
            self.print(&format!("FC {word} Start RequestId: {id}"));
        }
        let reply = hook(self);
        if !silent {
            self.print(&format!("FC {word} End RequestId: {id}"));
        }
        reply
    }

    fn initialize(&self) -> Reply {
        if self.has("initialize-slow") {
            std::thread::sleep(Duration::from_secs(30));
        }
        let mut state = self.state();
        if self.has("initialize-missing") || state.poisoned {
            return Reply::new(404, "no such path");
        }
        let again = self.has("initialize-once") && state.initialized
            || self.has("initialize-once-after-thaw") && state.thawed
            || self.has("initialize-once-after-pre-stop") && state.pre_stops > 0;
        if again {
            return Reply::new(409, "initialized already");
        }
        state.initialized = true;
        Reply::new(200, "initialized")
    }

    fn pre_freeze(&self) -> Reply {
        if self.has("hook-500") {
            return Reply::new(500, "Internal Server Error");
        }
        if self.has("pre-freeze-missing") {
            return Reply::new(404, "no such path");
        }
        let mut state = self.state();
        state.pre_freezes += 1;
        state.quiesced = true;
        state.announced = true;
        if self.has("pre-freeze-once") && state.pre_freezes > 1 {
            return Reply::new(409, "frozen already");
        }
        state.pre_freezing = true;
        drop(state);
        std::thread::sleep(if self.has("pre-freeze-locks") { PRE_FREEZE_LONG } else { PRE_FREEZE_TIME });
        self.state().pre_freezing = false;
        Reply::new(200, "flushed")
    }

    fn pre_stop(&self) -> Reply {
        let mut state = self.state();
        if self.has("pre-stop-misspelt") || (self.has("pre-stop-after-thaw-fails") && state.quiesced) {
            return Reply::new(404, "no such path");
        }
        state.pre_stops += 1;
        match state.pre_stops {
            2.. if self.has("pre-stop-once") => Reply::new(404, "stopped already"),
            _ if self.has("hook-204") => Reply::new(204, ""),
            _ => Reply::new(200, "stopped"),
        }
    }

    fn lacks_credentials(&self, request: &Request) -> bool {
        self.has("needs-credentials") && request.header("x-fc-security-token").is_none()
    }

    fn invoke(&self, request: &Request) -> Option<Reply> {
        self.events.fetch_add(1, Ordering::SeqCst);
        let at_once = self.invokes.fetch_add(1, Ordering::SeqCst) + 1;
        let reply = self.event(request, at_once);
        self.invokes.fetch_sub(1, Ordering::SeqCst);
        reply
    }

    fn event(&self, request: &Request, at_once: usize) -> Option<Reply> {
        let mut state = self.state();
        state.quiesced = false;
        let dropped = (self.has("early-call-dropped") && !state.initialized)
            || (self.has("empty-event-dropped") && request.body.is_empty());
        if dropped {
            return None;
        }
        let early = self.has("early-call-refused") && !state.initialized;
        let stopped = self.has("pre-stop-is-final") && state.pre_stops > 0;
        if early || (self.has("pre-freeze-locks") && state.pre_freezing) || state.surprised || stopped {
            return Some(Reply::new(503, "not now"));
        }
        drop(state);
        if self.lacks_credentials(request) {
            return Some(Reply::new(404, "no credentials"));
        }
        let retried = request.header("x-fc-retry-count").is_some_and(|count| count != "0");
        if retried && self.has("retry-refused") {
            return Some(Reply::new(409, "known already"));
        }
        if retried && self.has("retry-replayed") {
            return Some(self.result(&request.body));
        }
        if self.has("refuses-parallel") {
            // Long enough that calls which were sent together meet here.
            std::thread::sleep(Duration::from_millis(40));
            if at_once > 1 {
                return Some(Reply::new(503, "one at a time"));
            }
        }
        self.mark(request, "Start", "");
        if self.has("logs-event") && request.body.len() < 100_000 {
            self.print(&String::from_utf8_lossy(&request.body));
        }
        let reply = self.result(&request.body);
        let failed = reply.status >= 400 && !self.has("markers-without-error");
        self.mark(request, "End", if failed { ", Error: Unhandled function error" } else { "" });
        Some(reply)
    }

    /// Prints a log marker of an event.
    fn mark(&self, request: &Request, word: &str, end: &str) {
        let id = request.header("x-fc-request-id").unwrap_or_default();
        let line = match () {
            () if self.has("markers-wrong-case") => format!("fc invoke {} requestId: {id}", word.to_lowercase()),
            () if self.has("markers-indented") => format!("INFO  FC Invoke {word} RequestId: {id}"),
            () if self.has("markers-wrong-id") => format!("FC Invoke {word} RequestId: 00000000"),
            () if self.has("buffers-output-without-ids") => format!("{word} of an event"),
            () => format!("FC Invoke {word} RequestId: {id}{end}"),
        };
        match self.has("markers-on-stderr") {
            true => eprintln!("{line}"),
            false => self.print(&line),
        }
    }

    /// Echoes an event. The event `fail` fails.
    fn result(&self, event: &[u8]) -> Reply {
        if self.has("invoke-missing") {
            return Reply::new(404, "no such path");
        }
        match event {
            b"fail" if self.has("error-text") => Reply::new(404, "it failed"),
            b"fail" => Reply::new(404, r#"{"errorMessage":"it failed","errorType":"Example"}"#),
            _ if self.has("event-as-text") => Reply::new(200, String::from_utf8_lossy(event).into_owned()),
            _ => Reply::new(200, event),
        }
    }

    fn http(&self, request: &Request) -> Reply {
        if request.path() == "/health" && self.has("health-markers") {
            self.mark(request, "Start", "");
            self.mark(request, "End", "");
        }
        let called = self.events.load(Ordering::SeqCst) > 0;
        match (request.method.as_str(), request.path()) {
            (_, "/health") if self.has("health-ends") && called => Reply::new(503, "gone"),
            (_, "/health") if self.has("health-503") => Reply::new(503, "not yet"),
            (_, "/health") => Reply::new(200, "healthy"),
            _ if self.has("http-500") => Reply::new(500, "no handler"),
            _ if self.has("answers-any-path") => Reply::new(200, "hello"),
            ("GET" | "HEAD", "/") => Reply::new(200, "hello"),
            _ => Reply::new(404, "no such path"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
