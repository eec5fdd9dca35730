//! What a virtual machine needs on this machine, and where it is. Nothing is installed here: if something is missing,
//! one line says what, and how to get it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elf;
use super::kernel::Kernel;

/// How the processor of the guest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// By the processor's own virtualisation. If a guest does not start with it, it is started again by emulation.
    Kvm,
    /// By emulation in QEMU, which works everywhere.
    Tcg,
}

/// Everything that a guest is made of.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// A static busybox, the user space of the guest.
    pub busybox: PathBuf,
    /// The kernel of the guest.
    pub kernel: Kernel,
    /// How its processor is made.
    pub accel: Accel,
}

impl Tools {
    /// The versions of everything, in one line, as far as they tell.
    pub fn versions(&self) -> String {
        let said = |program: &Path, word: &str| {
            let ran = Command::new(program).arg(word).stdin(Stdio::null()).output().ok()?;
            String::from_utf8_lossy(&ran.stdout).lines().next().map(str::to_owned)
        };
        let host = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let accel = if self.accel == Accel::Kvm { "KVM" } else { "emulation" };
        let parts = [
            Some(format!("guest {}", self.kernel.version)),
            said(&self.qemu, "--version"),
            Some(format!("by {accel}")),
            said(&self.busybox, "--help"),
            in_path("criu").and_then(|criu| said(&criu, "--version")).map(|version| format!("CRIU {version}")),
            Some(format!("host {}", host.trim())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Why there can be no virtual machine here, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Finds QEMU, busybox and a kernel. The kernel is `kernel` if it is given. Else it is the newest of Debian's cloud
/// kernels in [`kernel_folder`] or `/boot`.
///
/// # Errors
/// If something is missing. Everything that is missing is named at once.
pub fn requirements(kernel: Option<&Path>) -> Result<Tools, Missing> {
    if cfg!(not(target_os = "linux")) {
        return Err(Missing("virtual machines are started on Linux only".to_owned()));
    }
    let qemu = in_path("qemu-system-x86_64");
    let busybox = in_path("busybox").filter(|file| elf::is_static(file) == Ok(true));
    let found = match kernel {
        Some(file) => Some(Kernel::open(file).map_err(|cause| Missing(cause.to_string()))?),
        None => newest_kernel(),
    };
    let mut missing = Vec::new();
    if qemu.is_none() {
        missing.push("qemu-system-x86_64 (Debian: qemu-system-x86)");
    }
    if busybox.is_none() {
        missing.push("a static busybox (Debian: busybox-static)");
    }
    let folder = kernel_folder();
    let shown = format!(
        "a kernel (--vm-kernel FILE, or Debian's linux-image-…-cloud-amd64: `apt-get download`, and `dpkg -x` into {})",
        folder.display()
    );
    if found.is_none() {
        missing.push(&shown);
    }
    match (qemu, busybox, found) {
        (Some(qemu), Some(busybox), Some(kernel)) => Ok(Tools { qemu, busybox, kernel, accel: accel() }),
        _ => Err(Missing(format!("a virtual machine needs {}", missing.join(", ")))),
    }
}

/// Where unpacked kernel packages are looked for: `fc-emulator/vm` in the user's cache folder.
pub fn kernel_folder() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("fc-emulator/vm")
}

/// Looks a program up as a shell does.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn newest_kernel() -> Option<Kernel> {
    let folders = [kernel_folder().join("boot"), PathBuf::from("/boot")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let cloud = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("vmlinuz-") && name.contains("cloud")
    };
    let kernels = files.map(|entry| entry.path()).filter(cloud).filter_map(|file| Kernel::open(&file).ok());
    kernels.max_by_key(|kernel| numbers(&kernel.version))
}

/// The numbers in a version, by which versions are ordered.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// A device file `/dev/kvm` is not enough: kvm-pvm, which runs inside a virtual machine, has one and creates machines,
/// but an ordinary kernel never boots in them. The processor's own flag tells the two apart.
fn accel() -> Accel {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let can = flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"));
    let may = || fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if can && may() { Accel::Kvm } else { Accel::Tcg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(numbers("6.12.117+deb12-cloud-amd64") > numbers("6.1.0-56-cloud-amd64"));
        assert!(numbers("6.1.0-56-cloud-amd64") > numbers("6.1.0-9-cloud-amd64"));
    }

    #[test]
    fn a_file_that_is_no_kernel_is_named() {
        let missing = requirements(Some(Path::new("/proc/self/stat"))).unwrap_err().to_string();
        assert!(missing.contains("/proc/self/stat") && !missing.contains('\n'), "{missing}");
    }
}
