//! Helpers that checks share: instances in a known state, or the reason why there is none.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::schedule::Schedule;
use super::servers::{self, Server};
use super::{Plan, Stop, Verdict, blocked, fail, skip};
use crate::clock::{Deadline, millis};
use crate::freezer::Proof;
use crate::http::{Conn, Response};
use crate::instance::{Instance, Morgue, Variant};
use crate::output::{Line, Output};
use crate::platform::{Hook, Request, ids};
use crate::target::{self, Ready, Spec, Target};

/// The output is complete if the target printed nothing for this long.
const QUIET: Duration = Duration::from_millis(150);

/// How long a check waits for output that should be there already.
pub const OUTPUT_WAIT: Duration = Duration::from_millis(1500);

/// Between an answer, or a part of a request, and a freeze. The target needs it to read what we sent and to wait for
/// more, so that its timers run: Puma arms its idle timer up to 0.3 s after the answer.
pub const REST: Duration = Duration::from_millis(500);

/// What a thaw makes a target do, a timer that fires or an exit, it does within this time.
pub const AFTER_THAW: Duration = Duration::from_millis(200);

/// A target that closed its connections because it ends has ended after this time.
const END_WAIT: Duration = Duration::from_millis(300);

/// Everything that a check works with.
pub struct CheckContext<'a> {
    /// The target, and how it is checked.
    pub plan: &'a Plan,
    /// All checks share a server that already runs, so it is initialized once.
    shared_initialized: &'a Mutex<bool>,
    schedule: &'a Schedule<'a>,
    /// The check at work. A part of it on a second thread has no name.
    check: Option<&'static str>,
    /// The software that serves, once a check has recognised it.
    server: &'a OnceLock<&'static Server>,
    /// The targets that the check started and uses no more.
    morgue: Arc<Morgue>,
}

impl<'a> CheckContext<'a> {
    /// The context of one check. All but `check` is the same for all checks of one run.
    pub fn new(
        plan: &'a Plan,
        shared_initialized: &'a Mutex<bool>,
        server: &'a OnceLock<&'static Server>,
        schedule: &'a Schedule<'a>,
        check: &'static str,
    ) -> Self {
        Self { plan, shared_initialized, schedule, check: Some(check), server, morgue: Arc::default() }
    }

    /// Names the end of a target that ended by itself, if that is why the check did not pass.
    pub fn with_its_end(&self, verdict: Verdict) -> Verdict {
        let mut remains = self.morgue.take();
        let mut explained = |why: String| match remains.iter_mut().find_map(|remains| end(&mut *remains.target, &why)) {
            Some(end) => format!("{why}{end}"),
            None => why,
        };
        match verdict {
            Err(Stop::Fail(why)) => Err(Stop::Fail(explained(why))),
            Err(Stop::Blocked { by, why }) => Err(Stop::Blocked { by, why: explained(why) }),
            Err(Stop::Untested(why)) => Err(Stop::Untested(explained(why))),
            verdict => verdict,
        }
    }

    /// Waits without work, so that another check can work meanwhile. Every wait of a good part of a second belongs
    /// here: while the target is frozen or idle, or while we look whether it closes a connection.
    pub fn rest<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.schedule.rest(self.check, wait)
    }

    /// Tries two things on instances of their own, at the same time where instances may run at the same time. The
    /// first that does not pass decides.
    pub fn both(
        &self,
        first: impl FnOnce(&Self) -> Verdict,
        second: impl FnOnce(&Self) -> Verdict + Send,
    ) -> Result<(String, String), Stop> {
        if !self.schedule.overlaps() {
            return Ok((first(self)?, second(self)?));
        }
        std::thread::scope(|scope| {
            let part = Self { check: None, morgue: self.morgue.clone(), ..*self };
            let other = scope.spawn(move || part.schedule.beside(|| second(&part)));
            let one = first(self);
            let other = self.rest(|| other.join());
            let panicked = |_| Err(Stop::Untested("the check itself panicked".into()));
            Ok((one?, other.unwrap_or_else(panicked)?))
        })
    }

    /// Recognises the server by the headers of an answer, else by the command lines of its processes.
    pub fn recognise(&self, instance: &Instance, response: &Response) {
        if self.server.get().is_none() {
            let by_commands = || instance.target.pid().and_then(servers::by_processes);
            if let Some(server) = servers::by_headers(response).or_else(by_commands) {
                // Another check may have been faster. Both saw the same target.
                let _ = self.server.set(server);
            }
        }
    }

    /// The fix for the server that was recognised, if it has one for this check.
    pub fn known_fix(&self, check: &super::Check) -> Option<String> {
        self.server.get()?.advice(check.id)
    }

    /// Whether all checks share one server that already runs.
    pub fn is_shared(&self) -> bool {
        matches!(self.plan.setup.spec, Spec::Addr(_))
    }

    /// An instance that accepts connections.
    pub fn start(&self) -> Result<Instance, Stop> {
        self.start_as(&Variant::default())
    }

    /// An instance that accepts connections and was started differently.
    pub fn start_as(&self, variant: &Variant) -> Result<Instance, Stop> {
        let mut instance = self.launch(variant)?;
        match instance.wait_ready() {
            Ready::Yes => Ok(instance),
            Ready::Exited(exit) => blocked("ready", format!("the target {exit} before it listened")),
            Ready::No(why) => blocked("ready", why),
            Ready::Stranger(why) => Err(Stop::Untested(why)),
        }
    }

    /// An instance that was just started and is not ready yet.
    pub fn launch(&self, variant: &Variant) -> Result<Instance, Stop> {
        // The instances before it are gone, unless the check fails by one of them.
        let mut remains = self.morgue.take();
        remains.retain_mut(|remains| remains.target.try_exit().is_some());
        let instance = Instance::start(&self.plan.setup, variant)?.leave_to(&self.morgue);
        self.morgue.give_back(remains);
        Ok(instance)
    }

    /// An instance that has had no call yet.
    pub fn fresh(&self) -> Result<Instance, Stop> {
        if self.is_shared() {
            return skip("this check needs a fresh instance, and this server already ran before");
        }
        self.start()
    }

    /// An instance that was initialized, if the hook is configured.
    pub fn initialized(&self) -> Result<Instance, Stop> {
        let instance = self.start()?;
        if self.is_shared() {
            let mut done = self.shared_initialized.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !std::mem::replace(&mut *done, true) {
                self.initialize(&instance)?;
            }
        } else {
            self.initialize(&instance)?;
        }
        Ok(instance)
    }

    /// Calls the initializer, if the hook is configured.
    pub fn initialize(&self, instance: &Instance) -> Result<(), Stop> {
        if !instance.platform.calls(Hook::Initialize) {
            return Ok(());
        }
        match instance.hook(Hook::Initialize) {
            Ok(response) if response.is_success() => Ok(()),
            Ok(response) => blocked("initialize", format!("POST /initialize was answered {}", response.status)),
            Err(why) => blocked("initialize", format!("POST /initialize: {why}")),
        }
    }

    /// Skips the check unless the platform calls this hook.
    pub fn require(&self, hook: Hook) -> Result<(), Stop> {
        match crate::platform::Platform::new(self.plan.setup.settings.clone()).calls(hook) {
            true => Ok(()),
            false => skip(format!("the platform does not call {} under these options", hook.path())),
        }
    }

    /// The hooks that the platform calls. A shared server gets no pre-stop, because that would be its end.
    pub fn hooks(&self, instance: &Instance) -> Vec<Hook> {
        let spared = |hook: &Hook| self.is_shared() && *hook == Hook::PreStop;
        Hook::ALL.into_iter().filter(|hook| instance.platform.calls(*hook) && !spared(hook)).collect()
    }

    /// The request and the answer of a successful call.
    pub fn invoke(&self, instance: &Instance) -> Result<(Request, Response), Stop> {
        let request = self.request(instance);
        let by = if self.plan.http_only { "http-call" } else { "invoke" };
        match instance.send(&request) {
            Ok(response) if response.is_success() => Ok((request, response)),
            Ok(response) => blocked(by, format!("{} was answered {}", request.line, response.status)),
            Err(why) => blocked(by, format!("{}: {why}", request.line)),
        }
    }

    /// A call: the event, or the HTTP call of a function that takes no events.
    pub fn request(&self, instance: &Instance) -> Request {
        match self.plan.http_only {
            true => instance.platform.http(&self.plan.http_method, &self.plan.http_path, &[], Vec::new()),
            false => instance.platform.invoke(self.plan.event.clone()),
        }
    }

    /// Skips the check unless the function takes events.
    pub fn require_events(&self) -> Result<(), Stop> {
        if self.plan.http_only { skip("the function takes no events (--http)") } else { Ok(()) }
    }

    /// Whether the function answers an event with the same bytes.
    pub fn echoes(&self, instance: &Instance) -> bool {
        if self.plan.http_only {
            return false;
        }
        let event = format!("fc-emulator {:x}", ids::random());
        let response = instance.send(&instance.platform.invoke(event.clone()));
        response.is_ok_and(|response| response.body == event.as_bytes())
    }

    /// Freezes the instance, with proof, and waits for `span`. The instance stays frozen.
    pub fn freeze(&self, instance: &mut Instance, span: Duration) -> Result<Proof, Stop> {
        if self.is_shared() {
            return skip("a server that already runs cannot be frozen");
        }
        let proof = instance.target.freeze()?;
        self.rest(|| std::thread::sleep(span));
        Ok(proof)
    }

    /// Skips the check where no connection outlives a freeze.
    pub fn require_kept_connections(&self) -> Result<(), Stop> {
        if self.is_shared() {
            return skip("a server that already runs cannot be frozen");
        }
        let freeze_with = self.plan.setup.freeze_with;
        if freeze_with.keeps_connections() { Ok(()) } else { skip(format!("no connection outlives {freeze_with}")) }
    }

    /// The output of the target, if we can read it.
    pub fn output<'i>(&self, instance: &'i Instance) -> Result<&'i Output, Stop> {
        match instance.target.output() {
            Some(output) => Ok(output),
            None => skip("the output of a server that already runs cannot be read"),
        }
    }

    /// Skips the check where we cannot send signals.
    pub fn require_signals(&self) -> Result<(), Stop> {
        if self.is_shared() { skip("a server that already runs gets no signals") } else { Ok(()) }
    }
}

/// How a target ended by itself and what it printed last, as the end of a sentence that begins with `why`.
fn end(target: &mut dyn Target, why: &str) -> Option<String> {
    let exit = target::wait_exit(target, Deadline::after(END_WAIT))?;
    let words = target::last_words(target);
    let told = why.contains(&format!("the target {exit}"));
    match (told, why.contains(&words)) {
        (true, true) => None,
        (true, false) => Some(words),
        (false, _) => Some(format!("; the target {exit} by itself{}{words}", target::daemon(&target.left_behind()))),
    }
}

/// Whether the answers to two calls differ only in ids, times, counts, and the path that was asked for.
pub fn alike(one: (&Request, &Response), other: (&Request, &Response)) -> bool {
    let essence = |(request, response): (&Request, &Response)| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        let body = String::from_utf8_lossy(&response.body).replace(&request.id, "").replace(path, "");
        let body: String = body.chars().filter(|c| !c.is_ascii_digit()).collect();
        (response.status, body)
    };
    essence(one) == essence(other)
}

/// Waits until the target has printed nothing for a moment.
pub fn settle(output: &Output) {
    output.settle(QUIET, Deadline::after(OUTPUT_WAIT));
}

/// Waits for a line after `mark`.
pub fn line(output: &Output, mark: usize, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
    output.wait_for(mark, Deadline::after(OUTPUT_WAIT), wanted)
}

/// Passes with "`call`: 200 in 0.4 ms" after a success, and fails with the reason otherwise.
pub fn success(call: &str, since: std::time::Instant, answer: Result<Response, String>) -> super::Verdict {
    match answer {
        Ok(response) if response.is_success() => {
            Ok(format!("{call}: {} in {}", response.status, millis(since.elapsed())))
        }
        Ok(response) => fail(format!("{call}: {} `{}`", response.status, response.body_text(80))),
        Err(why) => fail(format!("{call}: {why}")),
    }
}

/// Opens a second connection beside one that is in use.
pub fn second_conn(instance: &Instance) -> Result<Conn, Stop> {
    instance.conn().map_err(|why| Stop::Blocked { by: "other-connection", why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Platform, Settings};

    #[test]
    fn alike_answers_differ_only_in_ids_times_and_counts() {
        let platform = Platform::new(Settings::default());
        let (one, two) = (platform.hook(Hook::PreStop), platform.hook(Hook::PreStop));
        let answer = |body: String| {
            let mut response = Response::new(1, 200);
            response.body = body.into_bytes();
            response
        };
        let (a, b) = (answer(format!("stopped {} at 12:01", one.id)), answer(format!("stopped {} at 3:59", two.id)));
        assert!(alike((&one, &a), (&two, &b)));
        assert!(!alike((&one, &a), (&two, &answer("no such path".into()))));
    }
}
