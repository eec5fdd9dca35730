//! Freezes a process as the platform does, by the freezer of a control group, and stops one by SIGSTOP.

use super::process::Server;
use super::wait_until;
use fc_testkit::{cgroup, is_root, proc};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub use cgroup::Version;

/// Stops the server by SIGSTOP, runs `meanwhile`, waits for that long, and lets the server go on by SIGCONT.
pub fn stopped_for(server: &Server, time: Duration, meanwhile: impl FnOnce()) {
    server.process.signal(libc::SIGSTOP);
    server.process.wait_for_state('T');
    meanwhile();
    // This does not synchronise: the test is about the time that passes.
    std::thread::sleep(time);
    server.process.signal(libc::SIGCONT);
    wait_until("the server runs again", || proc::state(server.pid()).is_ok_and(|state| state != 'T'));
}

/// A control group with one process in it. Dropping it thaws the process and removes the group.
pub struct Freezer {
    directory: PathBuf,
    version: Version,
    pid: u32,
}

impl Freezer {
    /// Puts the process into a group of its own.
    ///
    /// # Errors
    /// If this machine has no control groups of that version, or this process may not make one.
    pub fn new(version: Version, pid: u32) -> Result<Freezer, String> {
        let hierarchy = cgroup::hierarchy(version).ok_or("not mounted")?;
        if !is_root() {
            return Err("not root".to_owned());
        }
        let directory = hierarchy.join(format!("fc-hooks-test-{pid}"));
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let freezer = Freezer { directory, version, pid };
        if !freezer.directory.join(freezer.control().0).exists() {
            return Err(format!("no freezer in {}", hierarchy.display()));
        }
        freezer.write("cgroup.procs", &pid.to_string()).map_err(|error| format!("cgroup.procs: {error}"))?;
        Ok(freezer)
    }

    /// Freezes the process. Returns when the kernel says that it is frozen.
    pub fn freeze(&self) {
        let (name, frozen, _) = self.control();
        self.write(name, frozen).expect("the freezer's file");
        wait_until("the group is frozen", || cgroup::is_frozen(&self.directory));
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
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let (name, _, thawed) = self.control();
        let _ = self.write(name, thawed);
        if let Some(parent) = self.directory.parent() {
            let _ = fs::write(parent.join("cgroup.procs"), self.pid.to_string());
        }
        // The kernel removes a group only a moment after its last process has left.
        wait_until("the group is gone", || fs::remove_dir(&self.directory).is_ok() || !self.directory.exists());
    }
}
