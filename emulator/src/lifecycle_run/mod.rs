//! One life, seen: start, initialize, calls, freezes, thaws by the next call, pre-stop, SIGTERM.
//!
//! Carries out what the platform would do to one instance, step by step, and records each step
//! with what the target answered and printed. A [`Timeline`] conforms when every step went as the
//! contract says; how it is shown is [`crate::report`]'s business.

mod call;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::{Deadline, seconds};
use crate::error::Result;
use crate::http::{Response, cut};
use crate::instance::{Instance, Setup, Variant};
use crate::output::Output;
use crate::platform::{Hook, Request};
use crate::target::{self, Exit, Ready, Spec};

/// How long output must be silent before it counts to the step just ended.
const QUIET: Duration = Duration::from_millis(15);
const QUIET_WAIT: Duration = Duration::from_millis(300);

/// So much of a body is kept.
const BODY_CHARS: usize = 200;

/// What is done in one life.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target and the platform.
    pub setup: Setup,
    /// The event that is sent.
    pub event: Vec<u8>,
    /// Send this HTTP call, method and path, instead of the event.
    pub http: Option<(String, String)>,
    /// Calls before each freeze.
    pub calls: usize,
    /// Calls at once.
    pub concurrency: usize,
    /// How often it is frozen.
    pub freezes: usize,
    /// How long each time.
    pub freeze: Duration,
}

/// One thing that was done, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// When, counted from the start of the target.
    pub at_ms: f64,
    /// How long it took.
    pub ms: f64,
    /// The HTTP status, if it was a call that was answered.
    pub status: Option<u16>,
    /// The request id, if it was a single call.
    pub request_id: Option<String>,
    /// The answer's body, cut.
    pub body: String,
    /// What else there is to say: the way of freezing, the exit code, what went wrong.
    pub note: String,
    /// What the target printed meanwhile.
    pub log: Vec<String>,
    /// Whether it went as the contract says.
    pub ok: bool,
}

/// A whole life.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// The target, in words.
    pub target: String,
    /// Everything that was done, in order.
    pub steps: Vec<Step>,
    /// Whether every step went as the contract says.
    pub conforms: bool,
    /// Time of the whole.
    pub ms: f64,
}

/// Hears of a life while it goes on.
pub trait Watcher {
    /// A step begins.
    fn begins(&mut self, name: &str);
    /// It has ended.
    fn ended(&mut self, step: &Step);
}

/// Lives one life.
///
/// # Errors
/// When the target cannot be started at all, or cannot be frozen.
pub fn run(plan: &Plan, watcher: &mut dyn Watcher) -> Result<Timeline> {
    let started = Instant::now();
    watcher.begins("start");
    let instance = Instance::start(&plan.setup, &Variant::default())?;
    let mut teller = Teller { plan, instance, started, steps: Vec::new(), mark: 0, watcher };
    teller.life()?;
    let steps = teller.steps;
    let conforms = steps.iter().all(|step| step.ok);
    Ok(Timeline { target: plan.setup.spec.to_string(), conforms, ms: ms(started.elapsed()), steps })
}

/// Lives the life and tells of it.
struct Teller<'a> {
    plan: &'a Plan,
    instance: Instance,
    started: Instant,
    steps: Vec<Step>,
    mark: usize,
    watcher: &'a mut dyn Watcher,
}

impl Teller<'_> {
    fn life(&mut self) -> Result<()> {
        if !self.ready() {
            return Ok(());
        }
        let initialized = !self.instance.platform.calls(Hook::Initialize) || self.hook(Hook::Initialize);
        if initialized {
            self.calls();
            for _ in 0..self.plan.freezes {
                if self.has_died() {
                    return Ok(());
                }
                self.freeze()?;
            }
            if self.has_died() {
                return Ok(());
            }
            if self.instance.platform.calls(Hook::PreStop) {
                self.hook(Hook::PreStop);
            }
        }
        self.stop()
    }

    /// Whether the target has ended by itself, which no step of a life asks of it before SIGTERM.
    fn has_died(&mut self) -> bool {
        let Some(exit) = self.instance.target.try_exit() else { return false };
        let note = format!("{exit} by itself");
        self.record(Instant::now(), Step { name: "end".into(), note, ok: false, ..Step::default() });
        true
    }

    /// The start-up check.
    fn ready(&mut self) -> bool {
        self.watcher.begins("start-up check (TCP)");
        let ready = self.instance.wait_ready();
        let addr = self.instance.target.addr();
        let note = match ready {
            Ready::Yes => format!("listens on port {}", addr.port()),
            Ready::Exited(exit) => format!("{exit} before it listened"),
            Ready::Late => format!("nobody listens on {addr} after {}", seconds(self.instance.limits.ready)),
        };
        let started = self.started;
        let ok = ready == Ready::Yes;
        self.record(started, Step { name: "start-up check (TCP)".into(), note, ok, ..Step::default() });
        ok
    }

    /// Calls a hook; true when it succeeded.
    fn hook(&mut self, hook: Hook) -> bool {
        let request = self.instance.platform.hook(hook);
        self.watcher.begins(&request.line);
        let started = Instant::now();
        let deadline = Deadline::after(self.instance.limits.of(hook));
        let answer = self.instance.conn().and_then(|mut conn| conn.exchange(&request.bytes(), deadline));
        self.answered(started, request.line.clone(), &request, answer)
    }

    /// The calls before a freeze, one by one or many at once.
    fn calls(&mut self) {
        let (count, at_once) = (self.plan.calls, self.plan.concurrency.max(1));
        if at_once == 1 && count <= call::SINGLE_CALLS_MAX {
            for _ in 0..count {
                let request = call::request(self.plan, &self.instance.platform);
                self.watcher.begins(&request.line);
                let started = Instant::now();
                let answer = self.instance.send(&request);
                self.answered(started, request.line.clone(), &request, answer);
            }
            return;
        }
        let at_once = at_once.min(count.max(1));
        let name = format!("{count} calls, {at_once} at once");
        self.watcher.begins(&name);
        let started = Instant::now();
        let step = call::many(self.plan, &self.instance, count, at_once);
        self.record(started, Step { name, ..step });
    }

    /// Pre-freeze if the platform calls it, the freeze, and the call that ends it.
    fn freeze(&mut self) -> Result<()> {
        if matches!(self.plan.setup.spec, Spec::Addr(_)) {
            self.skipped("freeze", "skipped: a running address cannot be frozen");
            return Ok(());
        }
        if self.instance.platform.calls(Hook::PreFreeze) {
            self.hook(Hook::PreFreeze);
        }
        let name = format!("freeze for {}", seconds(self.plan.freeze));
        self.watcher.begins(&name);
        let started = Instant::now();
        let proof = self.instance.target.freeze()?;
        std::thread::sleep(self.plan.freeze);
        // The next call arrives while the instance stands still, and is what it is thawed for.
        let request = call::request(self.plan, &self.instance.platform);
        let sent = self.instance.conn().and_then(|mut conn| {
            conn.send(&request.bytes(), self.instance.call_deadline())?;
            Ok(conn)
        });
        self.record(started, Step { name, note: proof.to_string(), ok: true, ..Step::default() });
        let name = format!("thaw: {}", request.line);
        self.watcher.begins(&name);
        let thawed = Instant::now();
        self.instance.target.thaw()?;
        let answer = sent.and_then(|mut conn| conn.read(self.instance.call_deadline()));
        self.answered(thawed, name, &request, answer);
        Ok(())
    }

    /// SIGTERM and the exit.
    fn stop(&mut self) -> Result<()> {
        if matches!(self.plan.setup.spec, Spec::Addr(_)) {
            self.skipped("SIGTERM", "skipped: a running address cannot be sent signals");
            return Ok(());
        }
        let started = Instant::now();
        self.watcher.begins("SIGTERM");
        let deadline = Deadline::after(self.instance.limits.term);
        let exit = match self.instance.target.try_exit() {
            Some(exit) => Some(exit),
            None => {
                self.instance.target.terminate()?;
                target::wait_exit(&mut *self.instance.target, deadline)
            }
        };
        let took = ms(started.elapsed());
        if let Some(output) = self.instance.target.output() {
            output.wait_end(Deadline::after(QUIET_WAIT));
        }
        let (note, ok) = match exit {
            Some(exit) => (exit.to_string(), matches!(exit, Exit::Code(0 | 143) | Exit::Signal(15))),
            None => (format!("still running after {}", seconds(self.instance.limits.term)), false),
        };
        self.record(started, Step { name: "SIGTERM".into(), note, ok, ms: took, ..Step::default() });
        Ok(())
    }

    fn answered(
        &mut self,
        started: Instant,
        name: String,
        request: &Request,
        answer: std::result::Result<Response, String>,
    ) -> bool {
        let mut step = Step { name, request_id: Some(request.id.clone()), ..Step::default() };
        step.ms = ms(started.elapsed());
        match answer {
            Ok(response) => {
                step.status = Some(response.status);
                step.ok = response.is_success();
                step.body = response.body_text(BODY_CHARS);
                if !step.ok {
                    step.note = "2xx was expected".into();
                }
            }
            Err(why) => step.note = why,
        }
        let ok = step.ok;
        self.record(started, step);
        ok
    }

    fn skipped(&mut self, name: &str, note: &str) {
        self.record(Instant::now(), Step { name: name.into(), note: note.into(), ok: true, ..Step::default() });
    }

    /// Adds what was printed since the last step, and the times.
    fn record(&mut self, started: Instant, mut step: Step) {
        if step.ms == 0.0 {
            step.ms = ms(started.elapsed());
        }
        step.at_ms = ms(started - self.started);
        if let Some(output) = self.instance.target.output() {
            step.log = printed_since(output, &mut self.mark);
        }
        self.watcher.ended(&step);
        self.steps.push(step);
    }
}

fn printed_since(output: &Output, mark: &mut usize) -> Vec<String> {
    output.settle(QUIET, Deadline::after(QUIET_WAIT));
    let lines = output.since(*mark);
    *mark += lines.len();
    lines.into_iter().map(|line| cut(&line.text, BODY_CHARS)).collect()
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
