//! One instance of the inspector, the client's connection to it, and the switch of its freezer.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::quick_client::{QuickClient, Waiting};
use fc_bench::harness::{Call, Client, Contender, Instance, Start};
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FREEZE_WAIT, FreezeGroup, FreezeWith, stood_still};
use fc_emulator::platform::{Platform, Settings};
use fc_testkit::proc;

/// How long the server may take for anything that it does while it is awake.
const PATIENCE: Duration = Duration::from_secs(10);

/// The point of a call at which the freeze is requested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// This long after the whole reply was read.
    AfterReply(Duration),
    /// In the middle of an echo of this many bytes, when this share of request and reply together has been moved.
    InCall(usize, f64),
}

/// What the inspector reports about its life.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Thaws that the server noticed.
    pub thawed: u64,
    /// The last of them.
    pub last_thaw: Option<Thaw>,
}

/// One thaw that the server noticed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thaw {
    evidence: Map<String, Value>,
    /// The length of the freeze at most, as the server reports it.
    pub gap_ms: u64,
}

impl Thaw {
    /// The names of the evidence that the server had.
    pub fn evidence(&self) -> Vec<String> {
        let seen = self.evidence.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
        seen.map(|(name, _)| name.clone()).collect()
    }
}

/// A running instance.
pub struct Target {
    instance: Instance,
    group: Arc<FreezeGroup>,
    switch: Arc<Switch>,
    platform: Platform,
    client: QuickClient,
    /// Whether a call was left in the middle.
    is_in_call: bool,
}

/// A frozen instance. Dropping it thaws the instance.
pub struct Frozen {
    /// From the last byte that was read to the end of the write that requested the freeze, in microseconds.
    pub requested_us: f64,
    in_force: Instant,
    _guard: Guard,
}

impl Frozen {
    /// How long the freeze has been in force.
    pub fn span(&self) -> Duration {
        self.in_force.elapsed()
    }
}

/// The file of a freezer, open for writing.
struct Switch {
    file: File,
    freeze: &'static [u8],
    thaw: &'static [u8],
}

/// Thaws.
struct Thawing(Arc<Switch>);

impl Undo for Thawing {
    fn undo(&self) {
        // If the group was removed in the meantime, there is nothing to thaw.
        let _ = rustix::io::write(&self.0.file, self.0.thaw);
    }
}

impl Switch {
    fn open(group: &FreezeGroup, method: FreezeWith) -> Result<Self> {
        let (name, freeze, thaw) = match method {
            FreezeWith::CgroupV1 => ("freezer.state", &b"FROZEN"[..], &b"THAWED"[..]),
            FreezeWith::CgroupV2 => ("cgroup.freeze", &b"1"[..], &b"0"[..]),
            _ => return Err(Error::new(format!("`{method}` has no file to write into"))),
        };
        let path = group.entry().map(|entry| entry.with_file_name(name)).unwrap_or_else(|| PathBuf::from(name));
        let file = File::options().write(true).open(&path);
        let file = file.map_err(|cause| Error::failed("open", path.display(), cause))?;
        Ok(Self { file, freeze, thaw })
    }
}

impl Target {
    /// Starts an instance on these processors and calls its initializer.
    ///
    /// # Errors
    /// If it does not start, if it cannot be frozen by this method, or if it is not the inspector.
    pub fn start(
        contender: &Contender,
        method: FreezeWith,
        processors: &[usize],
        waiting: Waiting,
        body_bytes_max: usize,
    ) -> Result<Self> {
        let group = Arc::new(FreezeGroup::new(method)?);
        let switch = Arc::new(Switch::open(&group, method)?);
        let start = Start { processors, group: Some(group.clone()), ..Start::default() };
        let instance = Instance::start(contender, &start)?;
        let (deadline, first) = (Deadline::after(PATIENCE), Client::default());
        first.connect(contender, &instance, deadline)?.call(Call::Initialize, deadline)?;
        let client = QuickClient::connect(instance.address(), waiting, body_bytes_max)?;
        let platform = Platform::new(Settings::default());
        let mut target = Self { instance, group, switch, platform, client, is_in_call: false };
        target.lifecycle()?;
        Ok(target)
    }

    /// Requests the inspector's document.
    ///
    /// # Errors
    /// If the answer is not this document.
    pub fn lifecycle(&mut self) -> Result<Lifecycle> {
        self.begin_document();
        self.client.finish(Deadline::after(PATIENCE))?;
        self.read_document()
    }

    /// Calls the server and freezes it at this moment. Returns when the freeze is proven. The second value is the
    /// document that the frozen reply contained, if the moment is after a reply.
    ///
    /// # Errors
    /// If the server does not answer, or the freeze does not come into force.
    pub fn freeze_at(&mut self, moment: Moment) -> Result<(Frozen, Option<Lifecycle>)> {
        let pid = self.instance.pid();
        let asleep = || proc::is_asleep(pid).ok()?.then_some(());
        Deadline::after(PATIENCE).until(asleep).ok_or_else(|| Error::new("the server does not come to rest"))?;
        let (deadline, switch) = (Deadline::after(PATIENCE), self.switch.clone());
        match moment {
            Moment::AfterReply(_) => self.begin_document(),
            Moment::InCall(bytes, _) => self.client.begin(self.platform.invoke(vec![b'x'; bytes]).bytes()),
        }
        // An interrupt comes before the call or after the freeze was requested, so the clean-up always knows of the
        // freeze.
        let (requested_us, guard) = cleanup::make(|| {
            match moment {
                Moment::AfterReply(_) => self.client.finish(deadline)?,
                Moment::InCall(bytes, share) => {
                    self.client.advance_to((2.0 * bytes as f64 * share) as usize, deadline)?;
                }
            }
            let reached = Instant::now();
            if let Moment::AfterReply(delay) = moment
                && !delay.is_zero()
            {
                // Not by spinning: the server may need the client's processor.
                std::thread::sleep(delay);
            }
            let written = rustix::io::write(&switch.file, switch.freeze);
            let requested_us = reached.elapsed().as_secs_f64() * 1e6;
            written.map_err(|cause| Error::failed("request", "the freeze", cause))?;
            Ok((requested_us, Thawing(switch)))
        })?;
        let frozen = || self.group.is_frozen(pid).then_some(());
        let in_force = Deadline::after(FREEZE_WAIT).until(frozen).map(|()| Instant::now());
        let in_force = in_force.ok_or_else(|| Error::new("the freeze did not come into force"))?;
        stood_still(self.group.name(), || self.group.pids(pid))?;
        self.is_in_call = matches!(moment, Moment::InCall(..));
        let lifecycle = if self.is_in_call { None } else { Some(self.read_document()?) };
        Ok((Frozen { requested_us, in_force, _guard: guard }, lifecycle))
    }

    /// Thaws the instance, completes the call that was left in the middle, and requests the document. With
    /// `sent_frozen`, this request is in the socket before the thaw; not for a call in the middle. Returns the length
    /// of the freeze and the document.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn thaw(&mut self, frozen: Frozen, sent_frozen: bool) -> Result<(Duration, Lifecycle)> {
        if sent_frozen {
            self.begin_document();
            self.client.send(Deadline::after(PATIENCE))?;
        }
        let span = frozen.span();
        drop(frozen);
        if std::mem::take(&mut self.is_in_call) {
            self.client.finish(Deadline::after(PATIENCE))?;
        }
        if !sent_frozen {
            self.begin_document();
        }
        self.client.finish(Deadline::after(PATIENCE))?;
        Ok((span, self.read_document()?))
    }

    fn begin_document(&mut self) {
        self.client.begin(self.platform.http("GET", "/", &[], Vec::new()).bytes());
    }

    fn read_document(&self) -> Result<Lifecycle> {
        #[derive(Deserialize)]
        struct Document {
            lifecycle: Lifecycle,
        }
        let (status, body) = self.client.reply()?;
        let document: serde_json::Result<Document> = serde_json::from_slice(body);
        document.map(|document| document.lifecycle).map_err(|cause| {
            Error::failed("read", "the inspector's document", format!("status {status}, {cause}: is it the inspector?"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_named_whatever_its_names_are() {
        let text = r#"{"thawed": 2, "lastThaw": {"gapMs": 1502, "evidence":
            {"sigcont": false, "oversleptMs": 1499, "interrupted": true, "clocksDisagreeMs": null}}}"#;
        let Lifecycle { thawed, last_thaw } = serde_json::from_str(text).unwrap();
        let thaw = last_thaw.unwrap();
        let mut names = thaw.evidence();
        names.sort_unstable();
        assert_eq!((thawed, thaw.gap_ms, names), (2, 1502, vec!["interrupted".to_owned(), "oversleptMs".to_owned()]));
        let none: Lifecycle = serde_json::from_str(r#"{"thawed": 0, "lastThaw": null}"#).unwrap();
        assert!(none.last_thaw.is_none());
    }
}
