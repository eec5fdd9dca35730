//! A Linux kernel to boot: its version, out of the file itself, and the drivers that it has as modules.
//!
//! Debian's cloud kernels have the virtio drivers as modules, and a kernel of one's own may have them built in. So each
//! wanted driver is looked up with everything it depends on, and a driver without a file counts as built in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// The drivers that a guest needs: the bus, the network card, the ports of the agent, the disk of an image.
const DRIVERS: [&str; 4] = ["virtio_pci", "virtio_net", "virtio_console", "virtio_blk"];

/// What CRIU needs beside them: reports about sockets, and nf_tables, without which version 3.17.1 refuses to do
/// anything.
const CRIU_DRIVERS: [&str; 8] =
    ["unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag", "nf_tables"];

/// A kernel file and the folder of its modules, if there is one.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The file that QEMU loads.
    pub file: PathBuf,
    /// What `uname -r` says in the guest.
    pub version: String,
    modules: Option<PathBuf>,
}

/// One driver, ready to be loaded.
pub(super) struct Module {
    /// The name of the file in the guest.
    pub(super) name: String,
    /// The module itself, not compressed.
    pub(super) content: Vec<u8>,
}

impl Kernel {
    /// Reads the version out of the file and finds the modules: beside it, as `dpkg -x` unpacks a package
    /// (`boot/vmlinuz-V`, `lib/modules/V`), or in `/lib/modules`.
    ///
    /// # Errors
    /// If the file cannot be read or is no x86 Linux kernel.
    pub fn open(file: &Path) -> Result<Self> {
        let image = fs::read(file).map_err(|cause| Error::failed("read", file.display(), cause))?;
        let version = version(&image)
            .ok_or_else(|| Error::failed("boot", file.display(), "the file is no Linux kernel for x86 (bzImage)"))?;
        let beside = file.parent().and_then(Path::parent).map(|root| root.join("lib/modules"));
        let folders = [beside, Some(PathBuf::from("/lib/modules"))];
        let modules = folders.into_iter().flatten().map(|folder| folder.join(&version)).find(|folder| folder.is_dir());
        Ok(Self { file: file.to_owned(), version, modules })
    }

    /// The modules that a guest needs, each after those it depends on.
    ///
    /// # Errors
    /// If a module cannot be read or unpacked.
    pub(super) fn drivers(&self, busybox: &Path, criu: bool) -> Result<Vec<Module>> {
        let mut files = BTreeMap::new();
        if let Some(folder) = &self.modules {
            collect(&folder.join("kernel"), &mut files)?;
        }
        let mut loaded = Vec::new();
        let more = if criu { &CRIU_DRIVERS[..] } else { &[] };
        for driver in DRIVERS.iter().chain(more) {
            load(driver, &files, busybox, &mut loaded)?;
        }
        Ok(loaded)
    }
}

/// Appends a module and, before it, those it depends on.
fn load(name: &str, files: &BTreeMap<String, PathBuf>, busybox: &Path, loaded: &mut Vec<Module>) -> Result<()> {
    let file_name = format!("{name}.ko");
    let Some(file) = files.get(name) else { return Ok(()) };
    if loaded.iter().any(|module| module.name == file_name) {
        return Ok(());
    }
    let content = unpack(file, busybox)?;
    for dependency in dependencies(&content) {
        load(&dependency, files, busybox, loaded)?;
    }
    loaded.push(Module { name: file_name, content });
    Ok(())
}

/// Every module below `folder`, by its name.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let failed = |cause| Error::failed("read", folder.display(), cause);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            // A file may have hyphens where the kernel has underscores.
            files.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

fn unpack(file: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let mut command = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => applet(busybox, "xzcat"),
        Some("gz") => applet(busybox, "zcat"),
        Some("zst") => Command::new("zstdcat"),
        _ => return fs::read(file).map_err(|cause| Error::failed("read", file.display(), cause)),
    };
    let failed = |cause: &dyn std::fmt::Display| Error::failed("unpack", file.display(), cause);
    let ran = command.arg(file).stdin(Stdio::null()).output().map_err(|cause| failed(&cause))?;
    match ran.status.success() {
        true => Ok(ran.stdout),
        false => Err(failed(&String::from_utf8_lossy(&ran.stderr).trim())),
    }
}

fn applet(busybox: &Path, name: &str) -> Command {
    let mut command = Command::new(busybox);
    command.arg(name);
    command
}

/// The field `depends` of the module's `.modinfo`: names, separated by commas.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|window| window == FIELD) else { return Vec::new() };
    let value = module[at + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The first word of the version text, to which the header of a bzImage points (`Documentation/arch/x86/boot.rst`).
fn version(image: &[u8]) -> Option<String> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let pointer = image.get(0x20e..0x210)?;
    let start = usize::from(u16::from_le_bytes([pointer[0], pointer[1]])) + 0x200;
    let text = image.get(start..)?.split(|byte| *byte == 0 || *byte == b' ').next()?;
    std::str::from_utf8(text).ok().filter(|version| !version.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_header() {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30c].copy_from_slice(b"6.1.0-5 (x)\0");
        assert_eq!(version(&image).as_deref(), Some("6.1.0-5"));
        image[0x202] = 0;
        assert_eq!(version(&image), None);
        assert_eq!(version(b"\x7fELF"), None);
    }

    #[test]
    fn dependencies_are_names_with_underscores() {
        let module = b"\0license=GPL\0depends=virtio-ring,virtio\0intree=Y\0";
        assert_eq!(dependencies(module), ["virtio_ring", "virtio"]);
        assert!(dependencies(b"\0license=GPL\0depends=\0name=x\0").is_empty());
        assert!(dependencies(b"").is_empty());
    }
}
