//! The instance between the freezer and the clients: it is started, frozen, asked for the counts of its callbacks, and
//! stopped.
//!
//! The target must count: `GET /tally` reports how often each of its callbacks ran. A command is frozen without a proof
//! of each freeze, because a proof takes longer than most freezes; one in [`PROOF_EVERY`] is proven. A container is
//! frozen by its engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::PATIENCE;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FreezeWith, stood_still};
use fc_emulator::http::{Conn, Response};
use fc_emulator::instance::{Instance, Limits, Setup, Variant};
use fc_emulator::output::{Line, Stream};
use fc_emulator::platform::Settings;
use fc_emulator::target::{self, Exit, Ready, Spec};
use fc_testkit::proc;

/// One freeze in this many is proven: we watch that nothing runs.
const PROOF_EVERY: u64 = 20;

/// How long an instance without work may stay awake. One that spins never sleeps.
const SLEEP_WAIT: Duration = Duration::from_secs(5);

/// The counts of its callbacks, as it reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Calls with a number.
    pub calls: u64,
    /// The sum of their numbers, in hexadecimal.
    pub sum: String,
    /// Runs of the thaw callback.
    pub thaws: u64,
    /// How many of these had each kind of evidence: pre-freeze, SIGCONT, clocks, overslept, interrupted.
    pub evidence: [u64; 5],
    /// Runs of the initializer.
    pub initialize: u64,
    /// Runs of the pre-freeze hook.
    pub pre_freeze: u64,
    /// Runs of the pre-stop hook.
    pub pre_stop: u64,
    /// What the server itself counted.
    pub lifecycle: Lifecycle,
}

/// The counts of the server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Initializer runs that succeeded.
    pub initialized: u64,
    /// Initializer runs that failed.
    pub initialize_failed: u64,
    /// Thaws that the server noticed.
    pub thawed: u64,
}

/// How an instance is started.
pub struct Start {
    /// The command or image.
    pub spec: Spec,
    /// How a command is frozen.
    pub freeze_with: FreezeWith,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

/// A running instance.
pub struct Session {
    control: Conn,
    instance: Instance,
    freezes: u64,
    lost: Option<String>,
}

impl Session {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// If it does not start, cannot be frozen by this method, or does not count its callbacks.
    pub fn start(start: &Start) -> Result<Self> {
        let second = Duration::from_secs(1);
        let limits = Limits {
            ready: 30 * second,
            initialize: PATIENCE,
            call: PATIENCE,
            pre_freeze: PATIENCE,
            pre_stop: PATIENCE,
            term: PATIENCE,
        };
        let setup = Setup {
            spec: start.spec.clone(),
            settings: Settings::default(),
            freeze_with: start.freeze_with,
            machines: None,
            port: None,
            env: start.env.clone(),
            limits,
        };
        setup.require_freezer()?;
        let mut instance = Instance::start(&setup, &Variant::default())?;
        let ready = instance.wait_ready();
        if ready != Ready::Yes {
            let stderr = instance.target.output().map(|output| output.all()).unwrap_or_default();
            let last = stderr.last().map(|line| line.text.clone()).unwrap_or_default();
            return Err(Error::failed("start", &start.spec, format!("{ready:?} {last}")));
        }
        let control = instance.conn().map_err(Error::new)?;
        let mut session = Self { control, instance, freezes: 0, lost: None };
        session.counters()?;
        Ok(session)
    }

    /// The address for clients.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.instance.target.addr()
    }

    /// Its process, if it is on this machine.
    pub fn pid(&self) -> Option<u32> {
        self.instance.target.pid()
    }

    /// The name of its freezer.
    pub fn freezer(&self) -> &'static str {
        self.instance.target.freezer().unwrap_or("nothing")
    }

    /// Freezes it. When this returns, the kernel says that it is frozen.
    ///
    /// # Errors
    /// If it cannot be frozen, or was seen running.
    pub fn freeze(&mut self) -> Result<()> {
        self.freezes += 1;
        self.instance.target.freeze_unproven()?;
        if let (Some(pid), true) = (self.pid(), self.freezes.is_multiple_of(PROOF_EVERY)) {
            stood_still(self.freezer(), || vec![pid])?;
        }
        Ok(())
    }

    /// Thaws it.
    ///
    /// # Errors
    /// If it cannot be thawed.
    pub fn thaw(&mut self) -> Result<()> {
        self.instance.target.thaw()
    }

    /// Waits until it sleeps, as an instance without work does. `None` if its process cannot be seen.
    pub fn falls_asleep(&self) -> Option<bool> {
        let pid = self.pid()?;
        // A program behind the target has to sleep, too.
        let asleep = || proc::family(pid).into_iter().all(|pid| proc::is_asleep(pid).unwrap_or(false)).then_some(());
        Some(Deadline::after(SLEEP_WAIT).until(asleep).is_some())
    }

    /// Calls a hook. The target reads from the function handler in its header what to do.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn hook(&mut self, line: &str, handler: &str) -> Result<Response> {
        let path = line.split(' ').nth(1).unwrap_or_default();
        self.ask(&request(line, path, handler))?;
        self.answer()
    }

    /// Requests the counts.
    ///
    /// # Errors
    /// If the request cannot be sent.
    pub fn request_counters(&mut self, handler: &str) -> Result<()> {
        self.ask(&request("GET /tally", "/http-invoke", handler))
    }

    /// The present counts of its callbacks.
    ///
    /// # Errors
    /// If it does not report them.
    pub fn counters(&mut self) -> Result<Counters> {
        self.request_counters("")?;
        self.read_counters()
    }

    /// The answer to [`Session::request_counters`].
    ///
    /// # Errors
    /// If there is no answer, or it is not valid.
    pub fn read_counters(&mut self) -> Result<Counters> {
        let response = self.answer()?;
        serde_json::from_slice(&response.body).map_err(|cause| {
            let came = format!("{}, status {}: does it count its callbacks?", cause, response.status);
            Error::failed("parse", "/tally", came)
        })
    }

    /// The reason if it does not answer any more, or has ended.
    pub fn lost(&mut self) -> Option<String> {
        let ended = || self.instance.target.try_exit().map(|exit| format!("during the trial it {exit}"));
        self.lost.clone().or_else(ended)
    }

    /// Sends SIGTERM and waits for the end, unless it has ended before.
    ///
    /// # Errors
    /// If the signal cannot be sent.
    pub fn stop(&mut self) -> Result<Option<Exit>> {
        if let Some(exit) = self.instance.target.try_exit() {
            return Ok(Some(exit));
        }
        self.instance.target.terminate()?;
        let exit = target::wait_exit(&mut *self.instance.target, Deadline::after(PATIENCE));
        if let Some(output) = self.instance.target.output() {
            output.wait_end(Deadline::after(Duration::from_secs(2)));
        }
        Ok(exit)
    }

    /// Panics in its output that no client requested.
    pub fn panics(&self) -> Vec<String> {
        let lines = self.instance.target.output().map(|output| output.all()).unwrap_or_default();
        let lines: Vec<&Line> = lines.iter().filter(|line| line.stream == Stream::Err).collect();
        // The message stands on the line below.
        let is_one = |pair: &&[&Line]| pair[0].text.contains("panicked at") && !pair[1].text.starts_with("asked");
        lines.windows(2).filter(is_one).map(|pair| format!("{} {}", pair[0].text, pair[1].text)).take(3).collect()
    }

    fn ask(&mut self, bytes: &str) -> Result<()> {
        let sent = self.control.send(bytes.as_bytes(), Deadline::after(PATIENCE));
        sent.map_err(|cause| self.lose(&cause))
    }

    fn answer(&mut self) -> Result<Response> {
        let answer = self.control.read(Deadline::after(PATIENCE));
        answer.map_err(|cause| self.lose(&cause))
    }

    fn lose(&mut self, cause: &str) -> Error {
        let text = format!("the connection of the driver: {cause}");
        self.lost = Some(text.clone());
        Error::new(text)
    }
}

fn request(line: &str, control_path: &str, handler: &str) -> String {
    let length = if line.starts_with("POST") { "content-length: 0\r\n" } else { "" };
    format!(
        "{line} HTTP/1.1\r\nhost: a\r\nx-fc-request-id: control\r\nx-fc-control-path: {control_path}\r\n\
         x-fc-function-handler: {handler}\r\n{length}\r\n"
    )
}
