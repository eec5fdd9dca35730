//! The instance between freezer and clients: started, told to freeze, asked what its callbacks did, and stopped.
//!
//! Its subject is one that counts: `GET /tally` says how often each of its callbacks ran. A command is frozen by a
//! freezer that it is put under after its start, and without the pause for a proof of each freeze, which would be
//! longer than most of them; one in [`PROOF_EVERY`] is proven. A container is frozen by its engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::PATIENCE;
use crate::cleanup::{self, Guard, Undo};
use crate::clock::Deadline;
use crate::contest::proc_fs;
use crate::error::{Error, Result};
use crate::freezer::{self, Freezer, Way, stood_still};
use crate::http::{Conn, Response};
use crate::instance::{Instance, Limits, Setup, Variant};
use crate::output::{Line, Stream};
use crate::platform::Settings;
use crate::subject::{self, Exit, Ready, Spec};

/// One freeze in so many is proven by watching that nothing runs.
const PROOF_EVERY: u64 = 20;

/// How long an instance without work may stay awake. One that spins does so for ever.
const SLEEP_WAIT: Duration = Duration::from_secs(5);

/// What its callbacks did, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Calls with a number.
    pub calls: u64,
    /// The sum of their numbers, in hexadecimal.
    pub sum: String,
    /// Runs of the thaw callback.
    pub thaws: u64,
    /// How many of these had which evidence: pre-freeze, SIGCONT, clocks, overslept, interrupted.
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

/// The server's own counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Initializer runs that succeeded.
    pub initialized: u64,
    /// Initializer runs that failed.
    pub initialize_failed: u64,
    /// Thaws noticed.
    pub thawed: u64,
}

/// How it is started.
pub struct Start {
    /// The command or image.
    pub spec: Spec,
    /// How a command is frozen.
    pub way: Way,
    /// Variables.
    pub env: Vec<(String, String)>,
}

/// A running instance.
pub struct Stage {
    control: Conn,
    /// Dropped first: what is frozen cannot be taken away.
    cage: Option<Cage>,
    instance: Instance,
    freezes: u64,
    lost: Option<String>,
}

/// The freezer of a command.
struct Cage {
    freezer: std::sync::Arc<dyn Freezer>,
    leader: u32,
    _guard: Guard,
}

struct Removal(std::sync::Arc<dyn Freezer>, u32);

impl Undo for Removal {
    fn undo(&self) {
        // Killed first, because a freezer's group goes only with its last member.
        let group = rustix::process::Pid::from_raw(self.1.cast_signed());
        if let Some(group) = group.filter(|_| self.0.pids(self.1).contains(&self.1)) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.thaw(self.1);
        self.0.remove();
    }
}

impl Cage {
    fn around(leader: u32, way: Way) -> Result<Self> {
        let freezer: std::sync::Arc<dyn Freezer> = match way {
            // Not the last resort of this way: what is measured must be what was asked for.
            Way::Auto => freezer::for_process(Way::CgroupV1).or_else(|_| freezer::for_process(Way::CgroupV2))?,
            way => freezer::for_process(way)?,
        }
        .into();
        let guard = cleanup::register(Removal(freezer.clone(), leader));
        if let Some(file) = freezer.admission() {
            std::fs::write(&file, leader.to_string())
                .map_err(|cause| Error::failed("write to", file.display(), cause))?;
        }
        Ok(Self { freezer, leader, _guard: guard })
    }
}

impl Stage {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// When it does not start, cannot be frozen in this way, or does not count its callbacks.
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
            // The subject's own freezer is not used, and this one costs nothing.
            way: Way::Sigstop,
            port: None,
            env: start.env.clone(),
            limits,
        };
        let mut instance = Instance::start(&setup, &Variant::default())?;
        let ready = instance.wait_ready();
        if ready != Ready::Yes {
            let stderr = instance.subject.output().map(|output| output.all()).unwrap_or_default();
            let last = stderr.last().map(|line| line.text.clone()).unwrap_or_default();
            return Err(Error::failed("start", &start.spec, format!("{ready:?} {last}")));
        }
        let cage = match (&start.spec, instance.subject.pid()) {
            (Spec::Command(_), Some(pid)) => Some(Cage::around(pid, start.way)?),
            _ => None,
        };
        let control = instance.conn().map_err(Error::new)?;
        let mut stage = Self { control, cage, instance, freezes: 0, lost: None };
        stage.tally()?;
        Ok(stage)
    }

    /// Where clients go.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.instance.subject.addr()
    }

    /// Its process, if it is on this machine.
    pub fn pid(&self) -> Option<u32> {
        self.instance.subject.pid()
    }

    /// By which means it is frozen.
    pub fn way(&self) -> &'static str {
        self.cage.as_ref().map_or("docker pause", |cage| cage.freezer.way())
    }

    /// Freezes it; it is frozen by the kernel's word when this returns.
    ///
    /// # Errors
    /// When it cannot be frozen, or was seen running.
    pub fn freeze(&mut self) -> Result<()> {
        self.freezes += 1;
        let Some(Cage { freezer, leader, .. }) = &self.cage else {
            return self.instance.subject.freeze().map(drop);
        };
        freezer.freeze(*leader)?;
        if self.freezes.is_multiple_of(PROOF_EVERY) {
            stood_still(freezer.way(), || vec![*leader])?;
        }
        Ok(())
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When it cannot be thawed.
    pub fn thaw(&mut self) -> Result<()> {
        match &self.cage {
            Some(cage) => cage.freezer.thaw(cage.leader),
            None => self.instance.subject.thaw(),
        }
    }

    /// Waits until it sleeps, as an instance does that has nothing to do. None if it is out of sight.
    pub fn falls_asleep(&self) -> Option<bool> {
        let pid = self.pid()?;
        let asleep = || proc_fs::is_asleep(pid).ok()?.then_some(());
        Some(Deadline::after(SLEEP_WAIT).until(asleep).is_some())
    }

    /// Sends a hook, with what its function handler is to be called, which is how the subject is told what to do.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn hook(&mut self, line: &str, handler: &str) -> Result<Response> {
        let path = line.split(' ').nth(1).unwrap_or_default();
        self.ask(&request(line, path, handler))?;
        self.answer()
    }

    /// Sends the question for the tally.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn ask_tally(&mut self, handler: &str) -> Result<()> {
        self.ask(&request("GET /tally", "/http-invoke", handler))
    }

    /// What its callbacks did so far.
    ///
    /// # Errors
    /// When it does not say.
    pub fn tally(&mut self) -> Result<Tally> {
        self.ask_tally("")?;
        self.read_tally()
    }

    /// The answer to [`Stage::ask_tally`].
    ///
    /// # Errors
    /// When it does not come, or is none.
    pub fn read_tally(&mut self) -> Result<Tally> {
        let response = self.answer()?;
        serde_json::from_slice(&response.body).map_err(|cause| {
            let came = format!("{}, status {}: does it count its callbacks?", cause, response.status);
            Error::failed("understand", "/tally", came)
        })
    }

    /// That it does not answer us any more, or has ended, if so.
    pub fn lost(&mut self) -> Option<String> {
        let ended = || self.instance.subject.try_exit().map(|exit| format!("in the middle it {exit}"));
        self.lost.clone().or_else(ended)
    }

    /// Sends SIGTERM and waits for the end, unless it has ended before.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn stop(&mut self) -> Result<Option<Exit>> {
        if let Some(exit) = self.instance.subject.try_exit() {
            return Ok(Some(exit));
        }
        self.instance.subject.terminate()?;
        let exit = subject::wait_exit(&mut *self.instance.subject, Deadline::after(PATIENCE));
        if let Some(output) = self.instance.subject.output() {
            output.wait_end(Deadline::after(Duration::from_secs(2)));
        }
        Ok(exit)
    }

    /// Panics that were not asked for, among what it printed.
    pub fn panics(&self) -> Vec<String> {
        let lines = self.instance.subject.output().map(|output| output.all()).unwrap_or_default();
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
        let text = format!("our own connection: {cause}");
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
