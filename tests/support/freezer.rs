//! Standing a process still, as the platform does: by a control group's freezer, and by SIGSTOP.

use super::process::Server;
use super::{proc_fs, sys, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stops the server for that long, with SIGSTOP and SIGCONT. It stands still before and runs after.
pub fn stopped_for(server: &Server, time: Duration, meanwhile: impl FnOnce()) {
    server.process.signal(libc::SIGSTOP);
    proc_fs::wait_for_state(server.pid(), 'T');
    meanwhile();
    // Not to synchronise: the time that passes is what is tested.
    std::thread::sleep(time);
    server.process.signal(libc::SIGCONT);
    wait_until("the server runs again", || proc_fs::state(server.pid()) != 'T');
}

/// A control group of our own with one process in it. Dropped, the process runs again and the group is gone.
pub struct Freezer {
    directory: PathBuf,
    version: Version,
    pid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Freezer {
    /// Puts the process into a group, if this machine has control groups of that version and we may make one.
    pub fn new(version: Version, pid: u32) -> Result<Freezer, String> {
        let root = root(version).ok_or("not mounted")?;
        if !sys::is_root() {
            return Err("not root".to_owned());
        }
        let directory = root.join(format!("fc-hooks-test-{pid}"));
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let freezer = Freezer { directory, version, pid };
        if !freezer.directory.join(freezer.control().0).exists() {
            return Err(format!("no freezer in {}", root.display()));
        }
        freezer.write("cgroup.procs", &pid.to_string()).map_err(|error| format!("cgroup.procs: {error}"))?;
        Ok(freezer)
    }

    pub fn freeze(&self) {
        let (name, frozen, _) = self.control();
        self.write(name, frozen).expect("the freezer's file");
        wait_until("the group is frozen", || match self.version {
            Version::V1 => self.read(name).trim() == "FROZEN",
            Version::V2 => self.read("cgroup.events").contains("frozen 1"),
        });
    }

    pub fn thaw(&self) {
        let (name, _, thawed) = self.control();
        self.write(name, thawed).expect("the freezer's file");
    }

    /// The file that freezes, and what to write into it to freeze and to thaw.
    fn control(&self) -> (&'static str, &'static str, &'static str) {
        match self.version {
            Version::V1 => ("freezer.state", "FROZEN", "THAWED"),
            Version::V2 => ("cgroup.freeze", "1", "0"),
        }
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<()> {
        fs::write(self.directory.join(name), text)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let (name, _, thawed) = self.control();
        let _ = self.write(name, thawed);
        if let Some(parent) = self.directory.parent() {
            let _ = fs::write(parent.join("cgroup.procs"), self.pid.to_string());
        }
        // The kernel lets a group go a moment after its last process.
        wait_until("the group is gone", || fs::remove_dir(&self.directory).is_ok() || !self.directory.exists());
    }
}

fn root(version: Version) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let wanted = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match version {
            Version::V1 => fields.get(2) == Some(&"cgroup") && fields[3].split(',').any(|option| option == "freezer"),
            Version::V2 => fields.get(2) == Some(&"cgroup2"),
        }
    };
    let line = mounts.lines().find(wanted)?;
    line.split_whitespace().nth(1).map(|path| Path::new(path).to_owned())
}
