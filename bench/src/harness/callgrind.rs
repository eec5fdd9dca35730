//! An instance under valgrind's callgrind, which runs it on a simulated processor. That is slow, and the count of
//! instructions is the same on every machine of a kind.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Contender, Folder, Instance, Start};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_testkit::proc;

/// How long callgrind may take to write the count.
const DUMP_WAIT: Duration = Duration::from_secs(10);

/// The instance. It counts from its exec on.
pub struct Callgrind {
    instance: Instance,
    folder: Folder,
    dumps: u32,
}

impl Callgrind {
    /// The version of valgrind, `valgrind-3.19.0`.
    ///
    /// # Errors
    /// If valgrind cannot be started.
    pub fn version() -> Result<String> {
        let asked = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
        let asked = asked
            .map_err(|cause| Error::new(format!("valgrind, which counts instructions, cannot be started: {cause}")))?;
        Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    }

    /// Starts an instance, with these variables in addition to those of the platform and of the contender.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(contender: &Contender, env: &[(&str, &str)]) -> Result<Self> {
        let folder = Folder::new()?;
        let prefix = [
            "valgrind".to_owned(),
            "--quiet".to_owned(),
            "--tool=callgrind".to_owned(),
            // The command may be a script, and its interpreter starts by another exec.
            "--trace-children=yes".to_owned(),
            format!("--callgrind-out-file={}", folder.file("out").display()),
            vgdb_prefix(&folder),
        ];
        let instance = Instance::start(contender, &Start { prefix: &prefix, env, ..Start::default() })?;
        Ok(Self { instance, folder, dumps: 0 })
    }

    /// Connects as soon as the port is open.
    ///
    /// # Errors
    /// If it ends first, or does not listen in time.
    pub fn connect(&self, deadline: Deadline) -> Result<Conn> {
        let open = deadline.until(|| match self.instance.try_exit() {
            Some(status) => Some(Err(Error::new(format!("under valgrind it ended: {status}")))),
            None => Conn::open(self.address(), deadline).ok().map(Ok),
        });
        open.unwrap_or_else(|| Err(Error::new("under valgrind its port was not open in time")))
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.instance.address()
    }

    /// The instructions in user space since the last count, or since the exec, once the instance sleeps.
    ///
    /// # Errors
    /// If it does not come to rest in time, or nothing can be counted.
    pub fn count(&mut self, deadline: Deadline) -> Result<u64> {
        let pid = self.instance.pid();
        deadline
            .until(|| proc::all_asleep(pid).unwrap_or(false).then_some(()))
            .ok_or_else(|| Error::new("under valgrind the server did not come to rest in time"))?;
        let words = [vgdb_prefix(&self.folder), format!("--pid={pid}"), "dump".to_owned()];
        let asked = Command::new("vgdb").args(words).output();
        asked.map_err(|cause| Error::new(format!("vgdb, which asks for the count, cannot be started: {cause}")))?;
        // Callgrind numbers the counts that it is asked for, and begins at zero after each. The count at the exit would
        // have no number.
        self.dumps += 1;
        let dump = self.folder.file(&format!("out.{}", self.dumps));
        let total = || std::fs::read_to_string(&dump).ok().and_then(|text| total_of(&text));
        Deadline::after(DUMP_WAIT).until(total).ok_or_else(|| Error::new("callgrind wrote no total in time"))
    }
}

fn vgdb_prefix(folder: &Folder) -> String {
    format!("--vgdb-prefix={}", folder.file("vgdb").display())
}

/// The number in the line `totals: 111272`, which ends a complete file.
fn total_of(dump: &str) -> Option<u64> {
    dump.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_last_line_of_a_whole_file() {
        let dump = "# callgrind format\nevents: Ir\nsummary: 3666\n\nfn=(1)\n0 12\n\ntotals: 3666\n";
        assert_eq!(total_of(dump), Some(3666));
        assert_eq!(total_of("events: Ir\nsummary: 3666\nfn=(1)\n0 12\n"), None);
    }
}
