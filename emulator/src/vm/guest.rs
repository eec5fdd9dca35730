//! A running guest with the target in it, and every way to freeze it.

use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::agent::{Clocks, Lag};
use super::machine::{Machine, Options, path_of};
use super::program::Program;
use super::tools::{Accel, Tools};
use super::vmm::Vmm;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::target::{Exit, Listener, Port};

/// How long a guest may take from the start of QEMU to the start of the target. Under emulation it takes 4 to 15 s.
const BOOT_WAIT: Duration = Duration::from_secs(120);

/// How often a guest is booted until its clock keeps time.
const BOOTS_MAX: usize = 3;

/// How long its clock is watched for that, at least.
const CLOCK_WATCH: Duration = Duration::from_millis(400);

/// How long it may take to save or to load the state of a guest.
const STATE_WAIT: Duration = Duration::from_secs(120);

/// How a guest is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// The machine is paused and continued by QEMU.
    VmPause,
    /// The machine is saved in a snapshot, QEMU ends, and another QEMU restores it.
    VmSnapshot,
    /// The machine is saved in a snapshot and restored in the same QEMU.
    VmSnapshotSame,
    /// The process of QEMU is stopped by SIGSTOP and continued by SIGCONT.
    VmmStop,
    /// CRIU saves the process in the guest, the process ends, and CRIU restores it. The machine runs on. It needs
    /// [`Options::criu`], and no open connections.
    Criu,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::VmPause, Self::VmSnapshot, Self::VmSnapshotSame, Self::VmmStop, Self::Criu];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::VmPause => "vm-pause",
            Self::VmSnapshot => "vm-snapshot",
            Self::VmSnapshotSame => "vm-snapshot-same",
            Self::VmmStop => "vmm-stop",
            Self::Criu => "criu",
        }
    }

    /// Whether a connection outlives the freeze, and the forwarded port is open meanwhile, so that a call can be sent
    /// which waits for the thaw.
    pub fn keeps_connections(self) -> bool {
        !matches!(self, Self::VmSnapshot | Self::Criu)
    }
}

/// The evidence that a guest stood still, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How it was frozen.
    pub method: Method,
    /// How many threads were watched and did not run: the guest's processors, or every thread of QEMU. None when QEMU
    /// has ended, which is proof enough.
    pub threads: usize,
    /// The size of the saved state.
    pub saved_bytes: Option<u64>,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, threads, saved_bytes } = self;
        let saved = saved_bytes.map_or(String::new(), |bytes| format!("; {} MB are saved", bytes / 1_000_000));
        match method {
            Method::VmSnapshot => write!(f, "{}{saved}; QEMU has ended", method.name()),
            Method::Criu => write!(f, "{}; CRIU has saved the process, which has ended", method.name()),
            Method::VmmStop => write!(f, "{}; the {threads} threads of QEMU do not run", method.name()),
            _ => write!(f, "{}{saved}; the guest's processors do not run (threads: {threads})", method.name()),
        }
    }
}

/// The saved state of a guest. Every restore makes another copy of the guest.
#[derive(Clone)]
pub struct Snapshot {
    machine: Arc<Machine>,
    state: Arc<File>,
    clocks: Clocks,
}

impl Snapshot {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.state.metadata().map_or(0, |data| data.len())
    }
}

/// A virtual machine with the target in it. Dropping it takes everything away.
pub struct Guest {
    machine: Arc<Machine>,
    /// `None` while the guest exists as a snapshot only.
    vmm: Option<Vmm>,
    frozen: Option<Frozen>,
    /// The clocks when it was frozen last, or restored.
    clocks: Option<Clocks>,
    output: Output,
    /// Given back after QEMU is gone: fields are dropped in order.
    port: Port,
}

/// How a guest stands, and what its thaw needs.
enum Frozen {
    Paused,
    Stopped,
    Saved(Snapshot),
    SavedInside,
    SavedByCriu,
}

impl Guest {
    /// Boots `program`, which listens on `port` in the guest, and returns when it is about to start. The thread that
    /// boots or thaws a guest must live as long as the guest.
    ///
    /// On a busy machine the kernel of a guest may take the frequency of its counter for another one, and its clock
    /// then runs several times too fast. Such a guest is booted again.
    ///
    /// # Errors
    /// If the guest does not get that far. The text has the last lines of its console.
    pub fn boot(tools: &Tools, program: &Program, port: u16, options: &Options) -> Result<Self> {
        for _ in 0..BOOTS_MAX {
            let booted = Self::boot_with(tools, tools.accel, program, port, options);
            let mut guest = match tools.accel {
                Accel::Kvm => booted.or_else(|_| Self::boot_with(tools, Accel::Tcg, program, port, options))?,
                Accel::Tcg => booted?,
            };
            // A target that ends at once takes its guest with it, and then there is no clock to look at.
            if guest.keeps_time().unwrap_or(true) {
                return Ok(guest);
            }
        }
        Err(Error::failed("boot", "the guest", "its clock does not keep time, because this machine is too busy"))
    }

    /// Whether a second of the guest is about a second of ours. The guest reads its clock at some moment between the
    /// question and the answer, so the time between two readings is known within bounds.
    fn keeps_time(&mut self) -> Result<bool> {
        let first = self.clocks()?;
        let first_answered = Instant::now();
        std::thread::sleep(CLOCK_WATCH);
        let second = self.clocks()?;
        let (least, most) = (second.asked - first_answered, first.asked.elapsed());
        let passed = second.monotonic.saturating_sub(first.monotonic);
        Ok(passed >= least / 2 && passed <= most * 2)
    }

    fn boot_with(tools: &Tools, accel: Accel, program: &Program, port: u16, options: &Options) -> Result<Self> {
        let machine = Arc::new(Machine::new(tools, accel, program, port, options)?);
        let (host_port, output) = (Port::free()?, Output::new());
        let vmm = Vmm::start(&machine, host_port.number(), &output, None)?;
        let up = vmm.agent.wait_up(Deadline::after(BOOT_WAIT));
        up.map_err(|cause| vmm.explain(Error::failed("boot", "the guest", cause)))?;
        Ok(Self { machine, vmm: Some(vmm), frozen: None, clocks: None, output, port: host_port })
    }

    /// Starts a copy of the guest that was saved, at a port of its own. Its state is that of the moment of the
    /// snapshot.
    ///
    /// # Errors
    /// If QEMU cannot load the state.
    pub fn restore(snapshot: &Snapshot) -> Result<Self> {
        let (host_port, output) = (Port::free()?, Output::new());
        let vmm = restored(snapshot, host_port.number(), &output)?;
        let (machine, clocks) = (snapshot.machine.clone(), Some(snapshot.clocks));
        Ok(Self { machine, vmm: Some(vmm), frozen: None, clocks, output, port: host_port })
    }

    /// Where the target is called: a port on loopback, which QEMU forwards. QEMU accepts a connection before the target
    /// does, so an open connection is no sign that the target listens. [`Guest::listener`] is.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// What the target prints.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The process id of QEMU, if there is a QEMU now.
    pub fn vmm_pid(&self) -> Option<u32> {
        self.vmm.as_ref().map(Vmm::pid)
    }

    /// Waits until the program listens.
    ///
    /// # Errors
    /// If the guest does not answer, the program ends, or it does not listen in time.
    pub fn wait_ready(&mut self, time_max: Duration) -> Result<()> {
        let deadline = Deadline::after(time_max);
        while self.listener()? != Listener::Reachable {
            if let Some(exit) = self.try_exit() {
                let said: Vec<String> = self.output().all().into_iter().map(|line| line.text.to_string()).collect();
                return Err(Error::new(format!("the program in the virtual machine {exit}: {}", said.join(" | "))));
            }
            if deadline.passed() {
                return Err(Error::new("the program in the virtual machine did not listen in time"));
            }
        }
        Ok(())
    }

    /// Whether the target listens on its port, as the kernel of the guest has it.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn listener(&mut self) -> Result<Listener> {
        let question = format!("listens {:04X}", self.machine.port());
        Ok(match self.running()?.agent.ask(&question)?.as_str() {
            "yes" => Listener::Reachable,
            "loopback" => Listener::LoopbackOnly,
            _ => Listener::None,
        })
    }

    /// The clock source that the kernel of the guest uses.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn clock_source(&mut self) -> Result<String> {
        self.running()?.agent.ask("source")
    }

    /// A number that the kernel of the guest draws at random, as text. Two clones that get the same one share the state
    /// of the kernel's generator.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn random(&mut self) -> Result<String> {
        self.running()?.agent.ask("random")
    }

    /// The minor and major page faults of the target since its start, as the kernel of the guest counts them.
    ///
    /// # Errors
    /// If the guest does not answer, or the target has ended.
    pub fn faults(&mut self) -> Result<(u64, u64)> {
        let told = self.running()?.agent.ask("faults")?;
        let numbers = told.split_once(' ').and_then(|(minor, major)| Some((minor.parse().ok()?, major.parse().ok()?)));
        numbers.ok_or_else(|| Error::failed("understand the guest's page faults", told, "no numbers"))
    }

    /// The bytes of what [`Method::Criu`] saved last.
    ///
    /// # Errors
    /// If the guest does not answer, or nothing was saved.
    pub fn saved_bytes(&mut self) -> Result<u64> {
        // While the target is saved, the guest itself runs on.
        let vmm = self.vmm.as_mut().ok_or_else(|| Error::new("the guest is not running"))?;
        let told = vmm.agent.ask("saved")?;
        told.parse().map_err(|_| Error::failed("understand the size of what CRIU saved", told, "no number"))
    }

    /// The clocks of the guest.
    ///
    /// # Errors
    /// If the guest does not answer, as when it stands still.
    pub fn clocks(&mut self) -> Result<Clocks> {
        self.running()?.agent.clocks()
    }

    /// Sets the guest's clock of the day, as a time service would, to a whole second.
    ///
    /// # Errors
    /// If the guest does not answer, or refuses.
    pub fn set_clock(&mut self, time: SystemTime) -> Result<()> {
        let secs = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.running()?.agent.order(&format!("set {secs}"))
    }

    /// Sends SIGTERM to the target, which is process 1 of its namespace.
    ///
    /// # Errors
    /// If the guest does not answer, or the target has ended.
    pub fn terminate(&mut self) -> Result<()> {
        self.running()?.agent.order("signal TERM")
    }

    /// How the target ended, or `None` while it runs or is frozen. A target that a signal ended has the code 128 + its
    /// number, as shells have it.
    pub fn try_exit(&mut self) -> Option<Exit> {
        let vmm = self.vmm.as_ref()?;
        match (vmm.agent.exit_code(), vmm.try_exit()) {
            (Some(code), _) => Some(Exit::Code(code)),
            // QEMU ended without a word of the target: the machine broke down.
            (None, Some(status)) => Some(Exit::Code(status.code().filter(|code| *code != 0).unwrap_or(-1))),
            (None, None) => None,
        }
    }

    /// Freezes the guest and shows that it stands.
    ///
    /// # Errors
    /// If it is frozen already, cannot be frozen, or was seen running.
    pub fn freeze(&mut self, method: Method) -> Result<Proof> {
        self.clocks = Some(self.clocks()?);
        let vmm = self.running()?;
        let mut saved_bytes = None;
        let (frozen, threads) = match method {
            Method::VmPause => (Frozen::Paused, vmm.pause()?),
            Method::VmmStop => (Frozen::Stopped, vmm.stop_process()?),
            Method::VmSnapshotSame => {
                let threads = vmm.pause()?;
                save_inside(vmm)?;
                (Frozen::SavedInside, threads)
            }
            Method::Criu => {
                vmm.agent.order("save")?;
                (Frozen::SavedByCriu, 0)
            }
            Method::VmSnapshot => {
                let snapshot = self.snapshot()?;
                saved_bytes = Some(snapshot.bytes());
                self.vmm.take().map_or(Ok(()), Vmm::quit)?;
                (Frozen::Saved(snapshot), 0)
            }
        };
        self.frozen = Some(frozen);
        Ok(Proof { method, threads, saved_bytes })
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// If the guest is not frozen, or QEMU cannot go on.
    pub fn thaw(&mut self) -> Result<()> {
        let not_frozen = || Error::failed("thaw", "the guest", "it is not frozen");
        match self.frozen.take().ok_or_else(not_frozen)? {
            Frozen::Saved(snapshot) => {
                self.vmm = Some(restored(&snapshot, self.port.number(), &self.output)?);
                Ok(())
            }
            Frozen::Paused => self.running()?.resume(),
            Frozen::Stopped => self.running()?.continue_process(),
            Frozen::SavedByCriu => self.running()?.agent.order("restore"),
            Frozen::SavedInside => {
                let vmm = self.running()?;
                load_inside(vmm)?;
                vmm.resume()
            }
        }
    }

    /// What the guest's own clocks say about the time since it was frozen or saved last: by how much less than the host
    /// it has lived. After a pause of the machine that is the pause, and after a stop of QEMU it is nothing.
    ///
    /// # Errors
    /// If it was never frozen, or does not answer.
    pub fn lag(&mut self) -> Result<Lag> {
        let before = self.clocks.ok_or_else(|| Error::new("the guest was never frozen"))?;
        Ok(self.clocks()?.since(&before))
    }

    /// Pauses the guest and saves its state. It stands still afterwards; [`Guest::resume`] lets it go on.
    ///
    /// # Errors
    /// If it is frozen, or QEMU cannot save it.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let machine = self.machine.clone();
        let clocks = self.clocks()?;
        let vmm = self.running()?;
        vmm.pause()?;
        let state = save(vmm)?;
        Ok(Snapshot { machine, state: Arc::new(state), clocks })
    }

    /// Lets the guest go on after [`Guest::snapshot`].
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn resume(&mut self) -> Result<()> {
        self.running()?.resume()
    }

    fn running(&mut self) -> Result<&mut Vmm> {
        if self.frozen.is_some() {
            return Err(Error::new("the guest is frozen"));
        }
        self.vmm.as_mut().ok_or_else(|| Error::new("the guest is not running"))
    }
}

/// Saves the state of a paused guest to a file without a name.
fn save(vmm: &mut Vmm) -> Result<File> {
    let deadline = Deadline::after(STATE_WAIT);
    let file = tempfile::tempfile().map_err(|cause| Error::failed("make", "a file for the snapshot", cause))?;
    // The usual limit is that of a live migration over a network.
    vmm.qmp.command("migrate-set-parameters", json!({ "max-bandwidth": 1_u64 << 40 }), deadline)?;
    vmm.qmp.command("migrate", json!({ "uri": format!("exec:cat > {}", path_of(&file)) }), deadline)?;
    let ended = deadline.until(|| {
        let told = vmm.qmp.command("query-migrate", json!({}), deadline);
        match told.as_ref().map(|told| told["status"].as_str().unwrap_or_default()) {
            Ok("completed") => Some(Ok(())),
            Ok("failed" | "cancelled") => Some(Err(Error::failed("save", "the guest", "QEMU says that it failed"))),
            Ok(_) => None,
            Err(error) => Some(Err(error.clone())),
        }
    });
    ended.unwrap_or_else(|| Err(Error::failed("save", "the guest", "it took too long")))?;
    Ok(file)
}

/// Starts QEMU with a saved state and lets the guest go on.
fn restored(snapshot: &Snapshot, host_port: u16, output: &Output) -> Result<Vmm> {
    let deadline = Deadline::after(STATE_WAIT);
    // Each copy opens the file anew, so that it reads from its beginning.
    let address = format!("exec:cat {}", path_of(snapshot.state.as_ref()));
    let mut vmm = Vmm::start(&snapshot.machine, host_port, output, Some(&address))?;
    let loaded = deadline.until(|| match vmm.qmp.status(deadline) {
        Ok(status) if status == "inmigrate" => None,
        Ok(_) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    let loaded = loaded.unwrap_or_else(|| Err(Error::failed("restore", "the guest", "it took too long")));
    loaded.map_err(|cause| vmm.explain(cause))?;
    vmm.resume()?;
    Ok(vmm)
}

/// The names of the disk for snapshots within one QEMU, and of the snapshot.
const DISK: &str = "states";
const TAG: &str = "frozen";

/// Saves the state of a paused guest within QEMU, on a disk that the guest does not see.
fn save_inside(vmm: &mut Vmm) -> Result<()> {
    let deadline = Deadline::after(STATE_WAIT);
    let nodes = vmm.qmp.command("query-named-block-nodes", json!({ "flat": true }), deadline)?;
    if !nodes.as_array().into_iter().flatten().any(|node| node["node-name"] == DISK) {
        make_disk(vmm, deadline)?;
    } else {
        let arguments = json!({ "job-id": "forget", "tag": TAG, "devices": [DISK] });
        vmm.qmp.command("snapshot-delete", arguments, deadline)?;
        vmm.qmp.finish_job("forget", deadline)?;
    }
    let arguments = json!({ "job-id": "save", "tag": TAG, "vmstate": DISK, "devices": [DISK] });
    vmm.qmp.command("snapshot-save", arguments, deadline)?;
    vmm.qmp.finish_job("save", deadline)
}

/// QEMU itself writes the empty disk, so no other tool is needed. The file has no name, and QEMU keeps it open.
fn make_disk(vmm: &mut Vmm, deadline: Deadline) -> Result<()> {
    let file = tempfile::tempfile().map_err(|cause| Error::failed("make", "a file for the snapshot", cause))?;
    let arguments = json!({ "driver": "file", "node-name": "states-file", "filename": path_of(&file) });
    vmm.qmp.command("blockdev-add", arguments, deadline)?;
    let options = json!({ "driver": "qcow2", "file": "states-file", "size": 1 << 20 });
    vmm.qmp.command("blockdev-create", json!({ "job-id": "format", "options": options }), deadline)?;
    vmm.qmp.finish_job("format", deadline)?;
    vmm.qmp.command(
        "blockdev-add",
        json!({ "driver": "qcow2", "node-name": DISK, "file": "states-file" }),
        deadline,
    )?;
    Ok(())
}

/// Goes back to the state that [`save_inside`] saved.
fn load_inside(vmm: &mut Vmm) -> Result<()> {
    let deadline = Deadline::after(STATE_WAIT);
    let arguments = json!({ "job-id": "load", "tag": TAG, "vmstate": DISK, "devices": [DISK] });
    vmm.qmp.command("snapshot-load", arguments, deadline)?;
    vmm.qmp.finish_job("load", deadline)
}
