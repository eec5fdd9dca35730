//! From a request to an answer: the lifecycle decides about it, a callback runs, and its outcome becomes a reply.
//!
//! Pure except for the author's callbacks: log lines go to a [`CallLog`], and [`Env`] has the clocks. Must not know how
//! requests arrive or how replies leave.

mod answer;

pub(crate) use answer::Answer;
use answer::{conclude, failure, wrong_method};

use crate::function::app::{App, Found};
use crate::function::call::{Call, classify};
use crate::function::callback::{HookFn, HookOutcome};
use crate::function::caller_clock::CallerTime;
use crate::function::context::{Context, Env};
use crate::function::error::Error;
use crate::function::lifecycle::{Admission, ClockReading, Event, Evidence, Lifecycle, Phase, Thaw};
use crate::function::panic::{self, Failure};
use crate::function::per_hook::PerHook;
use crate::function::reply::{Body, Reply};
use crate::function::request::{Headers, LoggedId, Peer, Request};
use crate::logging::OneLine;
use crate::networks::Networks;
use crate::platform::hooks::{Hook, INVOKE_MARKER, INVOKE_PATH, INVOKE_TIME_LIMIT};
use crate::platform::{headers, request_id};
use std::io;
use std::time::{Duration, Instant};

/// Runs one function: its table, its state, and its life.
pub(crate) struct Dispatcher<S: 'static> {
    app: &'static App<S>,
    state: S,
    lifecycle: Lifecycle,
    /// The answer of the last run of each hook, for repeated calls (C-INIT-2, C-STOP-4).
    stored: PerHook<Option<Stored>>,
    env: Env,
    /// Before the next wait there is something to do: see [`before_wait`](Dispatcher::before_wait).
    is_due: bool,
    has_served: bool,
    /// Looked at the machine after its first reply.
    is_settled: bool,
    pub(crate) health_path: Option<String>,
    pub(crate) control_path_required: bool,
    pub(crate) hooks_from: Option<Networks>,
}

struct Stored {
    reply: Reply,
    failed: bool,
}

/// The kinds of calls that have log markers (C-LOG-1, C-LOG-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogMarker {
    Invoke,
    Hook(Hook),
}

impl LogMarker {
    pub(crate) fn word(self) -> &'static str {
        match self {
            LogMarker::Invoke => INVOKE_MARKER,
            LogMarker::Hook(hook) => hook.marker(),
        }
    }
}

/// Receives the start and the end of each call.
pub(crate) trait CallLog {
    fn start(&mut self, marker: LogMarker, request_id: LoggedId<'_>);
    fn end(&mut self, marker: LogMarker, request_id: LoggedId<'_>, failed: bool);
}

impl<S> Dispatcher<S> {
    pub(crate) fn new(app: &'static App<S>, state: S, env: Env) -> Dispatcher<S> {
        Dispatcher {
            app,
            state,
            lifecycle: Lifecycle::new((env.now)()),
            stored: PerHook::none(),
            env,
            is_due: false,
            has_served: false,
            is_settled: false,
            health_path: app.health_path.map(str::to_owned),
            control_path_required: app.control_path_required,
            hooks_from: None,
        }
    }

    /// Adds evidence of a freeze that the server has found.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_evidence(&mut self, evidence: Evidence) {
        self.lifecycle.freezes().record(&evidence);
    }

    /// Takes gaps between requests of at least this length for evidence of a freeze; zero turns that off.
    pub(crate) fn suspect_idle_gaps(&mut self, idle_min: Duration) {
        self.lifecycle.freezes().suspect_idle_gaps(idle_min);
    }

    /// Once the first reply has left, remembers facts about the machine that differ after a restore. Not before,
    /// because that would delay the first reply. Then tells whether a freeze was announced or noticed, and no call has
    /// ended it: the server can give back memory.
    #[inline]
    pub(crate) fn before_wait(&mut self) -> bool {
        self.is_due && self.settle()
    }

    #[cold]
    fn settle(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_settled, true) {
            let machine = self.env.machine;
            self.lifecycle.freezes().settle_in(machine);
        }
        self.is_due = self.lifecycle.seems_frozen();
        self.is_due
    }

    /// The end of the last callback.
    pub(crate) fn last_active(&self) -> Instant {
        self.lifecycle.last_active().instant
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Whether a stop signal has come.
    pub(crate) fn is_cancelled(&self) -> bool {
        (self.env.cancelled)()
    }

    /// Serves one request. If the reply of a call would hold more memory than `reply_bytes_max` until it is sent, the
    /// answer is 503 instead.
    pub(crate) fn handle(
        &mut self,
        request: &Request<'_>,
        received: ClockReading,
        reply_bytes_max: usize,
        log: &mut dyn CallLog,
    ) -> Answer {
        let mut call = classify(request, self.health_path.as_deref(), self.control_path_required);
        if let Call::Hook(hook) = call
            && self.is_stranger(request.peer)
        {
            call = Call::Unauthorised(hook);
        }
        let marker = match call {
            Call::Health => return Answer::done("ok".into(), false),
            Call::Hook(hook) if self.app.hook(hook).is_none() => return self.not_implemented(hook, request, received),
            Call::Hook(hook) => LogMarker::Hook(hook),
            Call::Event | Call::Http | Call::WrongMethod(_) | Call::Unauthorised(_) => LogMarker::Invoke,
        };
        let request_id = request.logged_id();
        log.start(marker, request_id);
        self.lifecycle.look(received, self.caller_time(request, request_id), self.env.machine);
        self.thaw(&call, request.headers, received, request_id);
        let mut answer = match call {
            Call::Hook(hook) => self.run_hook(hook, request, received, request_id),
            Call::Event => self.run_event(request, received, request_id),
            Call::Http => self.run_http(request, received, request_id),
            Call::WrongMethod(allow) => wrong_method(allow.to_owned()),
            Call::Unauthorised(hook) => {
                self.observe(hook, false, true, request, received, request_id);
                self.refuse_hook(request.peer)
            }
            Call::Health => unreachable!("answered above"),
        };
        if matches!(call, Call::Event | Call::Http) {
            answer.limit_memory(reply_bytes_max, request.method);
        }
        if matches!(answer.reply.body, Body::Stream(..)) && request.method != "HEAD" {
            answer.streaming = Some(marker);
        } else {
            log.end(marker, request_id, answer.failed);
        }
        self.lifecycle.mark_idle((self.env.now)());
        self.is_due |= !std::mem::replace(&mut self.has_served, true);
        answer
    }

    /// Ends a call with a streamed reply: the stream was sent, or it failed.
    pub(crate) fn finish(&mut self, marker: LogMarker, request_id: LoggedId<'_>, failed: bool, log: &mut dyn CallLog) {
        log.end(marker, request_id, failed);
        self.lifecycle.mark_idle((self.env.now)());
    }

    /// Runs pre-stop before the process ends, if the platform did not call it (C-STOP-3).
    pub(crate) fn stop(&mut self, log: &mut dyn CallLog) {
        if self.app.hook(Hook::PreStop).is_none() || self.lifecycle.phase() == Phase::Stopped {
            return;
        }
        let now = (self.env.now)();
        let request = Request {
            method: Hook::PreStop.method(),
            path_and_query: Hook::PreStop.path(),
            headers: Headers(&[]),
            body: b"",
            peer: Peer::None,
        };
        let marker = LogMarker::Hook(Hook::PreStop);
        log.start(marker, LoggedId::NONE);
        self.lifecycle.look(now, None, self.env.machine);
        self.thaw(&Call::Hook(Hook::PreStop), request.headers, now, LoggedId::NONE);
        let answer = self.run_hook(Hook::PreStop, &request, now, LoggedId::NONE);
        log.end(marker, LoggedId::NONE, answer.failed);
    }

    #[cold]
    #[inline(never)]
    fn refuse_hook(&self, peer: Peer) -> Answer {
        let cause = if self.is_stranger(peer) { "the peer may not call hooks" } else { headers::CONTROL_PATH_ABSENT };
        Answer::failed(404, &failure("HookRefused", cause))
    }

    /// Whether a peer may not call hooks. One on a Unix socket is of this machine, and the socket's file has its own
    /// permissions.
    fn is_stranger(&self, peer: Peer) -> bool {
        let Some(networks) = &self.hooks_from else { return false };
        matches!(peer, Peer::Ip(address) if !networks.contains(address.ip()))
    }

    /// The time of the caller, if the request tells one.
    fn caller_time(&self, request: &Request<'_>, request_id: LoggedId<'_>) -> Option<CallerTime> {
        match self.app.caller_clock {
            None => request_id::unix_time(request_id.bytes()).map(CallerTime::from),
            Some((header, format)) => format.parse(request.headers.get(header)?),
        }
    }

    /// Runs the thaw callback if there was a freeze that this call ends. The platform sends nothing else to a frozen
    /// instance than a repeated pre-freeze, and only a call or the initializer brings a stopped one back (C-STOP-5).
    #[inline(always)]
    fn thaw(&mut self, call: &Call, headers: Headers<'_>, now: ClockReading, request_id: LoggedId<'_>) {
        let leaves_it_as_it_is = match self.lifecycle.phase() {
            Phase::Frozen => matches!(call, Call::Hook(Hook::PreFreeze)),
            Phase::Stopped => !matches!(call, Call::Event | Call::Http | Call::Hook(Hook::Initialize)),
            _ => false,
        };
        if self.lifecycle.seems_frozen() && !leaves_it_as_it_is {
            self.thaw_now(headers, now, request_id);
        }
    }

    #[cold]
    #[inline(never)]
    fn thaw_now(&mut self, headers: Headers<'_>, now: ClockReading, request_id: LoggedId<'_>) {
        let Some(thaw) = self.lifecycle.thaw() else { return };
        let Thaw { evidence, confidence, gap, gap_clock, .. } = thaw;
        let gap_ms = gap.as_millis() as u64;
        log::info!(
            "thawed after at most {gap_ms} ms by the {} clock ({}: {evidence}), request {request_id}",
            gap_clock.name(),
            confidence.name()
        );
        let Some(callback) = self.app.on_thaw else { return };
        let context = context(headers, now, None, &self.lifecycle, self.env);
        if let Err(failure) = panic::run(|| callback(&mut self.state, &context, &thaw)) {
            log_failure("on_thaw", &failure, request_id);
        }
    }

    fn not_implemented(&mut self, hook: Hook, request: &Request<'_>, received: ClockReading) -> Answer {
        if hook == Hook::PreFreeze {
            // The freeze comes all the same (C-FRZ-4), and the next request must thaw.
            self.is_due = true;
            self.record_evidence(Evidence { pre_freeze: true, ..Evidence::default() });
        }
        self.observe(hook, false, true, request, received, LoggedId::NONE);
        let message = format!("{} is not implemented by this function", hook.path());
        Answer::failed(404, &failure("HookNotImplemented", &message))
    }

    fn run_hook(
        &mut self,
        hook: Hook,
        request: &Request<'_>,
        received: ClockReading,
        request_id: LoggedId<'_>,
    ) -> Answer {
        let Some(callback) = self.app.hook(hook) else { return self.not_implemented(hook, request, received) };
        let admission = self.lifecycle.admit(hook);
        let answer = match (admission, self.stored.get(hook)) {
            (Admission::Run, _) => self.run_hook_now(hook, callback, request.headers, received, request_id),
            (Admission::Replay, Some(stored)) => {
                self.lifecycle.replayed();
                Answer::done(stored.reply.duplicate(), stored.failed)
            }
            (Admission::Replay, None) | (Admission::Refuse, _) => {
                let message = format!("{} refused: the instance is {}", hook.path(), self.lifecycle.phase());
                Answer::failed(404, &failure("HookRefused", &message))
            }
        };
        self.observe(hook, admission == Admission::Run, answer.failed, request, received, request_id);
        answer
    }

    fn observe(
        &mut self,
        hook: Hook,
        ran: bool,
        failed: bool,
        request: &Request<'_>,
        received: ClockReading,
        request_id: LoggedId<'_>,
    ) {
        let Some(observer) = self.app.observer else { return };
        let context = context(request.headers, received, None, &self.lifecycle, self.env);
        let state = &mut self.state;
        if let Err(failure) =
            panic::catch_panic(|| observer(state, &context, request, HookOutcome { hook, ran, failed }))
        {
            log_failure("the observer of hooks", &failure, request_id);
        }
    }

    fn run_hook_now(
        &mut self,
        hook: Hook,
        callback: HookFn<S>,
        headers: Headers<'_>,
        received: ClockReading,
        request_id: LoggedId<'_>,
    ) -> Answer {
        self.is_due |= hook == Hook::PreFreeze;
        self.lifecycle.apply(Event::HookBegins(hook));
        let context = context(headers, received, hook.time_limit(), &self.lifecycle, self.env);
        let state = &mut self.state;
        let outcome = panic::run(|| {
            let mut reply = callback(state, &context)?;
            reply.read_whole().map_err(stream_failed)?;
            reply.forget_request();
            Ok(reply)
        });
        self.lifecycle.apply(if outcome.is_ok() { Event::HookSucceeds(hook) } else { Event::HookFails(hook) });
        let answer = conclude(hook.path(), outcome, request_id);
        *self.stored.get_mut(hook) = Some(Stored { reply: answer.reply.duplicate(), failed: answer.failed });
        answer
    }

    // Out of line, like `run_http` and `run_hook`: in `handle` the frames of all three would add up, and each page of
    // the stack costs a fault at the start and memory while frozen.
    #[inline(never)]
    fn run_event(&mut self, request: &Request<'_>, received: ClockReading, request_id: LoggedId<'_>) -> Answer {
        let Some(callback) = self.app.invoke else {
            let message = format!("{INVOKE_PATH} is not implemented by this function");
            return Answer::failed(404, &failure("NotImplemented", &message));
        };
        self.lifecycle.apply(Event::CallBegins);
        let context = context(request.headers, received, Some(INVOKE_TIME_LIMIT), &self.lifecycle, self.env);
        let state = &mut self.state;
        let outcome = panic::run(|| {
            let mut reply = callback(state, &context, request)?;
            // Only HTTP calls can stream (C-INV-6).
            reply.read_whole().map_err(stream_failed)?;
            Ok(reply)
        });
        conclude(INVOKE_PATH, outcome, request_id)
    }

    #[inline(never)]
    fn run_http(&mut self, request: &Request<'_>, received: ClockReading, request_id: LoggedId<'_>) -> Answer {
        self.lifecycle.apply(Event::CallBegins);
        match self.app.find(request.method, request.path()) {
            Found::Call(callback) => {
                let context = context(request.headers, received, Some(INVOKE_TIME_LIMIT), &self.lifecycle, self.env);
                match panic::run(|| callback(&mut self.state, &context, request)) {
                    Ok(reply) => {
                        let failed = reply.status >= 500;
                        Answer::done(reply, failed)
                    }
                    Err(failure) => self.http_failure(failure, request_id),
                }
            }
            Found::WrongMethod(allow) => wrong_method(allow),
            Found::Nothing => Answer::client_error(404, &failure("NotFound", "no route has this path")),
        }
    }

    /// Anyone may have made the call, so the texts of inner errors stay inside unless the author asks for them.
    #[cold]
    #[inline(never)]
    fn http_failure(&self, mut failure: Failure, request_id: LoggedId<'_>) -> Answer {
        let status = failure.status;
        if status < 500 {
            return Answer::client_error(status, &failure);
        }
        log_failure("the call", &failure, request_id);
        if !self.app.errors_shown {
            failure.message = INTERNAL_ERROR.to_owned();
        }
        Answer::failed(status, &failure)
    }
}

/// The message of a failed HTTP call.
const INTERNAL_ERROR: &str = "internal error";

fn context<'a>(
    headers: Headers<'a>,
    received: ClockReading,
    time_limit: Option<&'static str>,
    lifecycle: &'a Lifecycle,
    env: Env,
) -> Context<'a> {
    Context { headers, received, time_limit, lifecycle, env }
}

#[cold]
#[inline(never)]
fn stream_failed(error: io::Error) -> Error {
    Error::typed("StreamFailed", error.to_string())
}

/// Kept out of line, because each use of the macro takes more than the call.
#[cold]
#[inline(never)]
fn log_failure(what: &str, failure: &Failure, request_id: LoggedId<'_>) {
    log::error!("{what} failed: {}: {}, request {request_id}", failure.error_type, OneLine(&failure.message));
}

#[cfg(test)]
mod tests;
