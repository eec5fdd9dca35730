//! What a virtual machine is made of, as arguments of QEMU.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::program::{Files, Program};
use super::tools::{Accel, Tools};
use crate::error::{Error, Result};

/// The memory of a guest without the files of its target.
const MEMORY_MIB: u64 = 256;

/// By which hardware the guest measures time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ClockSource {
    /// The counter in the processor.
    Tsc,
    /// The high precision event timer of the chip set.
    Hpet,
    /// The timer of the power management.
    #[value(name = "acpi_pm")]
    AcpiPm,
}

impl ClockSource {
    /// Its name in Linux.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tsc => "tsc",
            Self::Hpet => "hpet",
            Self::AcpiPm => "acpi_pm",
        }
    }
}

/// What drives the hardware clock of the guest: `-rtc clock=` of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Rtc {
    /// The clock of the host, which runs on while the guest stands.
    #[default]
    Host,
    /// A clock of the host that nobody sets.
    Rt,
    /// The clock of the guest, which stands when the guest does.
    Vm,
}

impl Rtc {
    /// Its name in QEMU.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Rt => "rt",
            Self::Vm => "vm",
        }
    }
}

/// How a guest departs from the usual.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The clock of the guest's kernel. `None` leaves the choice to the kernel: tsc.
    pub clock_source: Option<ClockSource>,
    /// What drives its hardware clock.
    pub rtc: Rtc,
    /// Memory in MiB. `None`: 256, and what the target's files take.
    pub memory_mib: Option<u64>,
    /// Tell the guest when it is a copy (VMGENID). The kernel reseeds its random numbers then, if it has the driver.
    pub generation_id: bool,
    /// Carry CRIU into the guest, for [`super::Method::Criu`]. The target then has no namespaces of its own.
    pub criu: bool,
    /// Further words for the command line of the guest's kernel.
    pub append: Vec<String>,
}

/// Everything that stays the same when a guest is restored from a snapshot.
#[derive(Debug)]
pub(super) struct Machine {
    qemu: PathBuf,
    kernel: PathBuf,
    accel: Accel,
    options: Options,
    memory_mib: u64,
    initramfs: OwnedFd,
    image: Option<Arc<File>>,
    port: u16,
}

/// The descriptors that QEMU inherits, by their use.
pub(super) struct Wires<'a> {
    pub(super) qmp: BorrowedFd<'a>,
    pub(super) console: BorrowedFd<'a>,
    /// The ports of the guest, by name.
    pub(super) ports: [(&'static str, BorrowedFd<'a>); 3],
}

impl Machine {
    /// A machine for `program`, which will listen on `port` in the guest.
    ///
    /// # Errors
    /// If a file of the guest cannot be read.
    pub(super) fn new(tools: &Tools, accel: Accel, program: &Program, port: u16, options: &Options) -> Result<Self> {
        let failed = |cause| Error::failed("make", "a file for the guest", cause);
        // A file without a name: nothing stays behind, however this program ends.
        let mut file = tempfile::tempfile().map_err(failed)?;
        std::io::Write::write_all(&mut file, &program.initramfs(tools, options.criu)?).map_err(failed)?;
        let image = match &program.files {
            Files::Image { archive, .. } => Some(archive.clone()),
            Files::Alone { .. } => None,
        };
        Ok(Self {
            qemu: tools.qemu.clone(),
            kernel: tools.kernel.file.clone(),
            accel,
            options: options.clone(),
            memory_mib: options.memory_mib.unwrap_or_else(|| MEMORY_MIB + program.memory_mib()),
            initramfs: file.into(),
            image,
            port,
        })
    }

    /// The program of QEMU.
    pub(super) fn qemu(&self) -> &PathBuf {
        &self.qemu
    }

    /// The target's port in the guest.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The arguments of QEMU. `host_port` is forwarded on loopback. `incoming` is the address of a saved state.
    pub(super) fn arguments(&self, wires: &Wires<'_>, host_port: u16, incoming: Option<&str>) -> Vec<String> {
        let (accel, cpu) = match self.accel {
            Accel::Kvm => ("kvm", "host"),
            Accel::Tcg => ("tcg", "max"),
        };
        let mut words: Vec<String> =
            ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc"]
                .map(str::to_owned)
                .into();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("-accel", accel.to_owned());
        option("-cpu", cpu.to_owned());
        option("-m", self.memory_mib.to_string());
        option("-rtc", format!("base=utc,clock={}", self.options.rtc.name()));
        option("-kernel", self.kernel.display().to_string());
        option("-initrd", path_of(&self.initramfs));
        option("-append", self.command_line());

        option("-chardev", format!("socket,id=qmp,fd={}", wires.qmp.as_raw_fd()));
        option("-mon", "chardev=qmp,mode=control".to_owned());
        option("-chardev", format!("socket,id=console,fd={}", wires.console.as_raw_fd()));
        option("-serial", "chardev:console".to_owned());
        option("-device", "virtio-serial-pci".to_owned());
        for (name, descriptor) in &wires.ports {
            option("-chardev", format!("socket,id={name},fd={}", descriptor.as_raw_fd()));
            option("-device", format!("virtserialport,chardev={name},name={name}"));
        }
        let forward = format!("hostfwd=tcp:127.0.0.1:{host_port}-:{}", self.port);
        option("-netdev", format!("user,id=net,{forward}"));
        option("-device", "virtio-net-pci,netdev=net,romfile=".to_owned());
        if let Some(image) = &self.image {
            option("-drive", format!("if=none,id=image,format=raw,readonly=on,file={}", path_of(image.as_ref())));
            option("-device", "virtio-blk-pci,drive=image".to_owned());
        }
        if self.options.generation_id {
            option("-device", "vmgenid,guid=auto".to_owned());
        }
        if let Some(address) = incoming {
            // With -S the restored guest stands until we say that it goes on.
            words.extend(["-incoming".to_owned(), address.to_owned(), "-S".to_owned()]);
        }
        words
    }

    /// The guest ends at a panic, because `panic=-1` restarts it and QEMU was told not to restart. `no_timer_check`
    /// leaves out a test of the timer that a busy host makes fail, with a panic.
    fn command_line(&self) -> String {
        let mut line = "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check".to_owned();
        if let Some(source) = self.options.clock_source {
            line.push_str(&format!(" clocksource={}", source.name()));
            // Without this a kernel in a virtual machine may find the counter unstable and leave it.
            line.push_str(if source == ClockSource::Tsc { " tsc=reliable" } else { "" });
        }
        for word in &self.options.append {
            line.push(' ');
            line.push_str(word);
        }
        line
    }
}

/// A path by which another process of the same user opens an open file anew. It works for files without a name.
pub(super) fn path_of(file: &impl AsRawFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
