//! One lifecycle: start, initialize, calls, freezes, thaws by the next call, pre-stop, SIGTERM.
//!
//! It does to one instance, step by step, what the platform would do, and records the answer and the output of the
//! target for each step. A [`Timeline`] conforms if every step kept the contract. [`crate::report`] shows it.

mod buffered;
mod call;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::check::alike;
use crate::clock::{Deadline, seconds};
use crate::error::{Error, Result};
use crate::http::{Conn, Response};
use crate::instance::{Instance, Setup, Variant};
use crate::output::{Output, Stream};
use crate::platform::{Hook, Request};
use crate::target::{self, Exit, Ready, Spec};

/// A step has ended when the target has printed nothing for this long.
const QUIET: Duration = Duration::from_millis(15);
const QUIET_WAIT: Duration = Duration::from_millis(300);

/// Before a freeze, the target has this long to print what it has to say about a call.
const OUTPUT_WAIT: Duration = Duration::from_millis(500);

/// A step keeps this many lines of the target: the first and the last ones.
const LINES_MAX: usize = 2000;

/// A target that closed its connections because it ends has ended after this time.
const EXIT_WAIT: Duration = Duration::from_millis(500);

/// A step keeps this many characters of a body.
const BODY_CHARS: usize = 200;

/// A path that no target has.
const NO_SUCH_PATH: &str = "/no-such-path";

/// The steps of one lifecycle.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target and the platform.
    pub setup: Setup,
    /// The event to send.
    pub event: Vec<u8>,
    /// The method and the path of an HTTP call that replaces the event.
    pub http: Option<(String, String)>,
    /// The number of calls before the first freeze.
    pub calls: usize,
    /// The number of calls at the same time.
    pub concurrency: usize,
    /// The number of freezes.
    pub freezes: usize,
    /// The length of a freeze.
    pub freeze: Duration,
}

/// One step, and how the target behaved.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The time from the start of the target to this step, in milliseconds.
    pub at_ms: f64,
    /// The time of the step in milliseconds.
    pub ms: f64,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The request id, if the step was one call.
    pub request_id: Option<String>,
    /// The body of the answer, cut.
    pub body: String,
    /// More about the step: the method of the freeze, the exit code, or the fault.
    pub note: String,
    /// The lines that the target printed during the step.
    pub log: Vec<String>,
    /// What an author should know although the step keeps the contract. Empty if there is nothing.
    pub warning: String,
    /// Whether the target kept the contract in this step.
    pub ok: bool,
}

/// A whole lifecycle.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// The target in words.
    pub target: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Whether the target kept the contract in every step.
    pub conforms: bool,
    /// The time of the whole in milliseconds.
    pub ms: f64,
}

/// Follows a lifecycle while it runs.
pub trait Watcher {
    /// A step begins.
    fn begins(&mut self, name: &str);
    /// A step has ended.
    fn ended(&mut self, step: &Step);
    /// The last step has this warning.
    fn warned(&mut self, warning: &str);
    /// Something about the step at work that should be known before its end.
    fn noticed(&mut self, said: &str);
    /// The target runs, and this is its output.
    fn prints(&mut self, output: &Output);
}

/// Runs one lifecycle.
///
/// # Errors
/// If the target cannot be started, or cannot be frozen.
pub fn run(plan: &Plan, watcher: &mut dyn Watcher) -> Result<Timeline> {
    let started = Instant::now();
    watcher.begins("start");
    let instance = Instance::start(&plan.setup, &Variant::default())?;
    if let Some(output) = instance.target.output() {
        watcher.prints(output);
    }
    let mut runner = Runner {
        plan,
        instance,
        started,
        steps: Vec::new(),
        mark: 0,
        unknown: Vec::new(),
        unseen: Vec::new(),
        was_frozen: false,
        watcher,
    };
    runner.run()?;
    let steps = runner.steps;
    let conforms = steps.iter().all(|step| step.ok);
    Ok(Timeline { target: plan.setup.spec.to_string(), conforms, ms: ms(started.elapsed()), steps })
}

/// Runs the steps and records them.
struct Runner<'a> {
    plan: &'a Plan,
    instance: Instance,
    started: Instant,
    steps: Vec<Step>,
    mark: usize,
    /// The answers to a path that no target has.
    unknown: Vec<(Request, Response)>,
    /// The ids of calls before the first freeze about which the target has printed no line.
    unseen: Vec<String>,
    was_frozen: bool,
    watcher: &'a mut dyn Watcher,
}

impl Runner<'_> {
    fn run(&mut self) -> Result<()> {
        if !self.ready()? {
            return Ok(());
        }
        let initialized = !self.instance.platform.calls(Hook::Initialize) || self.hook(Hook::Initialize);
        if !initialized && self.has_died() {
            return Ok(());
        }
        if initialized {
            if !self.instance.platform.calls(Hook::Initialize) && self.instance.platform.calls(Hook::PreStop) {
                self.ask_for_unknown_path();
            }
            self.calls();
            for _ in 0..self.plan.freezes {
                if self.has_died() {
                    return Ok(());
                }
                if !self.freeze()? {
                    return Ok(());
                }
            }
            if self.has_died() {
                return Ok(());
            }
            if self.instance.platform.calls(Hook::PreStop) {
                self.hook(Hook::PreStop);
                if self.has_died() {
                    return Ok(());
                }
            }
        }
        self.stop()
    }

    /// Whether the target has ended by itself. No step before SIGTERM asks it to.
    fn has_died(&mut self) -> bool {
        // A call that got no answer may be the first sign of the end.
        let suspect = self.steps.last().is_some_and(|step| !step.ok && step.status.is_none());
        if suspect {
            self.ends_soon();
        }
        let Some(exit) = self.instance.target.try_exit() else { return false };
        let note = format!("the target {exit} by itself{}", target::daemon(&self.instance.target.left_behind()));
        self.record(Instant::now(), Step { name: "end".into(), note, ok: false, ..Step::default() });
        true
    }

    /// Whether the target ends within a moment.
    fn ends_soon(&mut self) -> bool {
        target::wait_exit(&mut *self.instance.target, Deadline::after(EXIT_WAIT)).is_some()
    }

    /// The start-up check.
    fn ready(&mut self) -> Result<bool> {
        self.watcher.begins("start-up check (TCP)");
        let Self { instance, watcher, .. } = self;
        let ready = instance.wait_ready_noting(&mut |said| watcher.noticed(said));
        let ok = ready == Ready::Yes;
        let note = match ready {
            Ready::Yes => format!("the target listens on port {}", self.instance.target.addr().port()),
            Ready::Exited(how) => format!("the target {how} before it listened"),
            Ready::No(why) => why,
            Ready::Stranger(why) => return Err(Error::new(why)),
        };
        let started = self.started;
        let unreachable = self.unreachable().filter(|_| ok);
        let ok = ok && unreachable.is_none();
        let note = unreachable.unwrap_or(note);
        self.record(started, Step { name: "start-up check (TCP)".into(), note, ok, ..Step::default() });
        Ok(ok)
    }

    /// Why the platform cannot reach a target that we reach at 127.0.0.1 (C-START-1).
    fn unreachable(&self) -> Option<String> {
        let addr = self.instance.target.outer_addr()?;
        let why = Conn::open(addr, self.instance.call_deadline()).err()?;
        Some(format!("the target listens on 127.0.0.1 only ({addr}: {why}): let it listen on 0.0.0.0"))
    }

    /// Calls a hook. Returns whether it succeeded.
    fn hook(&mut self, hook: Hook) -> bool {
        let request = self.instance.platform.hook(hook);
        self.watcher.begins(&request.line);
        let started = Instant::now();
        let deadline = Deadline::after(self.instance.limits.of(hook));
        let answer = self.instance.conn().and_then(|mut conn| conn.exchange(&request.bytes(), deadline));
        let genuine = answer.as_ref().ok().filter(|response| response.is_success()).cloned();
        let ok = self.answered(started, request.line.clone(), &request, answer);
        if let Some(genuine) = genuine {
            self.compare_with_unknown_path(&request, &genuine);
            if genuine.status != 200 {
                self.warn(format!(
                    "FC 2.0 knows 200 for success and 404 for failure, FC 3.0 takes each 2xx for success: answer 200 \
                     in place of {}",
                    genuine.status
                ));
            }
        }
        ok
    }

    /// Adds a warning to the last step.
    fn warn(&mut self, warning: String) {
        if let Some(step) = self.steps.last_mut() {
            let warnings = [std::mem::take(&mut step.warning), warning.clone()];
            step.warning = warnings.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
            self.watcher.warned(&warning);
        }
    }

    /// Warns of a hook that is answered like a path that does not exist: then probably no hook ran. A log marker of the
    /// hook shows that it did.
    fn compare_with_unknown_path(&mut self, request: &Request, genuine: &Response) {
        let is_marker = |line: &String| line.starts_with("FC ") && line.contains(&request.id);
        if self.steps.last().is_some_and(|step| step.log.iter().any(is_marker)) {
            return;
        }
        if request.line.starts_with("POST") {
            self.ask_for_unknown_path();
        }
        let (method, hook) = request.line.split_once(' ').unwrap_or_default();
        let same = |(unknown, answer): &(Request, Response)| {
            unknown.line.starts_with(method) && alike((request, genuine), (unknown, answer))
        };
        if self.unknown.iter().any(same) {
            self.warn(format!(
                "it answers {NO_SUCH_PATH} the same way, so {hook} probably runs no hook: implement the hook, or leave \
                 it out of --hooks"
            ));
        }
    }

    /// Asks for a path that no target has, as a client does. That is done once, before the first call: between
    /// pre-freeze and the freeze, or after pre-stop, it would change the life.
    fn ask_for_unknown_path(&mut self) {
        let ask = |method| {
            let request = self.instance.platform.http(method, NO_SUCH_PATH, &[], Vec::new());
            self.instance.send(&request).ok().map(|answer| (request, answer))
        };
        self.unknown = ["GET", "POST"].into_iter().filter_map(ask).collect();
    }

    /// Makes the calls before the first freeze, one after the other or many at the same time.
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
        let name = format!("{count} calls, {at_once} at a time");
        self.watcher.begins(&name);
        let started = Instant::now();
        let step = call::many(self.plan, &self.instance, count, at_once);
        self.record(started, Step { name, ..step });
    }

    /// Calls pre-freeze if the platform does, freezes, and thaws by a call. Returns whether the target lives.
    fn freeze(&mut self) -> Result<bool> {
        if matches!(self.plan.setup.spec, Spec::Addr(_)) {
            self.noted("freeze", "skipped: a server that already runs cannot be frozen");
            return Ok(true);
        }
        if self.instance.platform.calls(Hook::PreFreeze) {
            self.hook(Hook::PreFreeze);
        }
        if self.has_died() {
            return Ok(false);
        }
        self.wait_for_lines();
        let name = format!("freeze for {}", seconds(self.plan.freeze));
        self.watcher.begins(&name);
        let started = Instant::now();
        let proof = match self.instance.target.freeze() {
            Ok(proof) => proof,
            // There is nothing to freeze if the target has just ended, and that is a fault of the target.
            Err(cause) => return if self.ends_soon() { Ok(!self.has_died()) } else { Err(cause) },
        };
        std::thread::sleep(self.plan.freeze);
        // The next call arrives during the freeze, and the platform thaws the instance because of it. Where nothing
        // accepts calls during the freeze, it is sent right after the thaw.
        let mut request = call::request(self.plan, &self.instance.platform);
        let early = self.plan.setup.freeze_with.keeps_connections().then(|| self.send(&request));
        self.record(started, Step { name, note: proof.to_string(), ok: true, ..Step::default() });
        self.was_frozen = true;
        let name = format!("thaw: {}", request.line);
        self.watcher.begins(&name);
        let mut thawed = Instant::now();
        self.instance.target.thaw()?;
        let sent = early.unwrap_or_else(|| {
            thawed = Instant::now();
            request = call::request(self.plan, &self.instance.platform);
            self.send(&request)
        });
        let answer = sent.and_then(|mut conn| conn.read(self.instance.call_deadline()));
        self.answered(thawed, name, &request, answer);
        if self.has_died() {
            return Ok(false);
        }
        if let Some(clocks) = self.instance.target.own_clocks()? {
            self.noted("clocks", &clocks);
        }
        Ok(true)
    }

    /// Sends a request on a new connection, and reads nothing.
    fn send(&self, request: &Request) -> std::result::Result<Conn, String> {
        let mut conn = self.instance.conn()?;
        conn.send(&request.bytes(), self.instance.call_deadline())?;
        Ok(conn)
    }

    /// Sends SIGTERM and waits for the exit.
    fn stop(&mut self) -> Result<()> {
        if matches!(self.plan.setup.spec, Spec::Addr(_)) {
            self.noted("SIGTERM", "skipped: a server that already runs gets no signals");
            return Ok(());
        }
        let started = Instant::now();
        self.watcher.begins("SIGTERM");
        let deadline = Deadline::after(self.instance.limits.term);
        let silent = self.lines_out() == Some(0);
        let is_python = self.instance.target.pid().is_some_and(buffered::is_python);
        let exit = match self.instance.target.try_exit() {
            Some(exit) => Some(exit),
            None => {
                let sent = self.instance.target.terminate();
                let exit = target::wait_exit(&mut *self.instance.target, deadline);
                // If it ended in the same moment by itself, the signal had no addressee.
                if exit.is_none() {
                    sent?;
                }
                exit
            }
        };
        let took = ms(started.elapsed());
        if let Some(output) = self.instance.target.output() {
            output.wait_end(Deadline::after(QUIET_WAIT));
        }
        let (note, ok) = match exit {
            Some(exit) => (format!("the target {exit}"), matches!(exit, Exit::Code(0 | 143) | Exit::Signal(15))),
            None => (format!("the target still runs after {}", seconds(self.instance.limits.term)), false),
        };
        self.record(started, Step { name: "SIGTERM".into(), note, ok, ms: took, ..Step::default() });
        let calls = self.plan.calls + self.plan.freezes;
        if let Some(late) = self.lines_out().filter(|_| silent)
            && let Some(warning) = buffered::warning(calls, late, is_python)
        {
            self.warn(warning);
        }
        Ok(())
    }

    /// How many lines the target has printed on standard output.
    fn lines_out(&self) -> Option<usize> {
        self.instance.target.output().map(|output| output.count(Stream::Out))
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
                    step.note = "expected 2xx".into();
                }
            }
            Err(why) => step.note = why,
        }
        let ok = step.ok;
        self.record(started, step);
        ok
    }

    /// A line about a call that comes only after the freeze lay in a buffer when the instance was frozen (C-FRZ-1).
    fn judge_late_lines(&mut self, step: &mut Step) {
        let names = |id: &String| step.log.iter().any(|line| line.contains(id));
        let late = self.unseen.iter().any(names);
        self.unseen.retain(|id| !names(id));
        if late && self.was_frozen {
            step.ok = false;
            const LATE: &str = "a line about an earlier call came only now: flush standard output after each line";
            let notes = [step.note.as_str(), LATE];
            step.note = notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
        }
        if let Some(id) = step.request_id.clone().filter(|_| !self.was_frozen && step.name.ends_with("/invoke"))
            && !step.log.iter().any(|line| line.contains(&id))
        {
            self.unseen.push(id);
        }
    }

    /// A target that is slow to print has a moment for it, as in the check `output-unbuffered`.
    fn wait_for_lines(&self) {
        if let (Some(output), Some(id)) = (self.instance.target.output(), self.unseen.first()) {
            output.wait_for(self.mark, Deadline::after(OUTPUT_WAIT), |line| line.text.contains(id));
        }
    }

    fn noted(&mut self, name: &str, note: &str) {
        self.record(Instant::now(), Step { name: name.into(), note: note.into(), ok: true, ..Step::default() });
    }

    /// Adds the times and the lines that the target printed since the last step.
    fn record(&mut self, started: Instant, mut step: Step) {
        if step.ms == 0.0 {
            step.ms = ms(started.elapsed());
        }
        step.at_ms = ms(started - self.started);
        if let Some(output) = self.instance.target.output() {
            step.log = printed_since(output, &mut self.mark);
        }
        self.judge_late_lines(&mut step);
        self.watcher.ended(&step);
        self.steps.push(step);
    }
}

fn printed_since(output: &Output, mark: &mut usize) -> Vec<String> {
    output.settle(QUIET, Deadline::after(QUIET_WAIT));
    let excerpt = output.excerpt(*mark, (LINES_MAX / 2, LINES_MAX / 2), BODY_CHARS);
    *mark = excerpt.end;
    excerpt.lines
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
