//! Counts the instructions of one start in user space with valgrind's callgrind. Callgrind runs the program on a
//! simulated processor. That is slow, and the count is the same on every machine of a kind.
//!
//! The count begins with the exec and ends when the first call was answered and the server sleeps again. Then vgdb asks
//! for the count, so that it holds nothing of the exit.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::Client;
use super::{Outcome, ending, trace};
use crate::harness::{Contender, Instance, Start};
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use tempfile::TempDir;

/// The time limit of a start.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_QUICK: Duration = Duration::from_secs(3);

/// A start that takes longer than this is not repeated.
const SLOW: Duration = Duration::from_secs(3);

/// How long callgrind may take to write the count.
const DUMP_WAIT: Duration = Duration::from_secs(10);

/// The count of one start.
pub struct Counted {
    /// Instructions in user space.
    pub instructions: u64,
    /// Whether the start took so long that it should not be repeated.
    pub slow: bool,
}

/// The version of valgrind, `valgrind-3.19.0`.
///
/// # Errors
/// If valgrind cannot be started.
pub fn version() -> Outcome<String> {
    let asked = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    let asked = asked.map_err(|cause| format!("valgrind, which counts instructions, cannot be started: {cause}"))?;
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// Starts a contender once under callgrind.
///
/// # Errors
/// If the contender does not run under valgrind, or does not answer in time.
pub fn count(contender: &Contender, client: &Client, quick: bool) -> Outcome<Counted> {
    let began = Instant::now();
    let folder = Folder::new().map_err(|cause| cause.to_string())?;
    let vgdb = folder.option("--vgdb-prefix", "vgdb");
    let prefix = [
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        // The command may be a script, and its interpreter starts by another exec.
        "--trace-children=yes".to_owned(),
        folder.option("--callgrind-out-file", "out"),
        vgdb.clone(),
    ];
    let instance = Instance::start(contender, &Start { prefix: &prefix, ..Start::default() });
    let instance = instance.map_err(|cause| cause.to_string())?;
    let deadline = Deadline::after(if quick { PATIENCE_QUICK } else { PATIENCE });
    let mut conn = connect(&instance, deadline)?;
    let reply = conn.exchange(&client.initialize(), deadline).map_err(|why| format!("under valgrind: {why}"))?;
    client.judge_initialize(contender, &reply)?;
    deadline
        .until(|| trace::sleeps(instance.pid()).then_some(()))
        .ok_or("under valgrind the server did not come to rest in time")?;
    let asked = Command::new("vgdb").args([vgdb, format!("--pid={}", instance.pid()), "dump".to_owned()]).output();
    asked.map_err(|cause| format!("vgdb, which asks for the count, cannot be started: {cause}"))?;
    // Callgrind gives this name to the first count that we ask for. The count at the exit would have no number.
    let dump = folder.path.join("out.1");
    let total = || std::fs::read_to_string(&dump).ok().and_then(|text| total_of(&text));
    let instructions = Deadline::after(DUMP_WAIT).until(total).ok_or("callgrind wrote no total in time")?;
    Ok(Counted { instructions, slow: began.elapsed() > SLOW })
}

fn connect(instance: &Instance, deadline: Deadline) -> Outcome<Conn> {
    let open = deadline.until(|| match instance.try_exit() {
        Some(status) => Some(Err(format!("under valgrind {}", ending(status)))),
        None => Conn::open(instance.address(), deadline).ok().map(Ok),
    });
    open.unwrap_or_else(|| Err("under valgrind its port was not open in time".to_owned()))
}

/// The number in the line `totals: 111272`, which ends a complete file.
fn total_of(dump: &str) -> Option<u64> {
    dump.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

/// The folder for callgrind's files. Dropping it, or an interrupt, removes the folder.
struct Folder {
    path: PathBuf,
    _guard: Guard,
}

struct Removal(Mutex<Option<TempDir>>);

impl Undo for Removal {
    fn undo(&self) {
        let folder = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A folder that cannot be removed is one of the system's folder for temporary files.
        let _ = folder.map(TempDir::close);
    }
}

impl Folder {
    fn new() -> Result<Self> {
        let (path, guard) = cleanup::make(|| {
            let folder = tempfile::Builder::new().prefix("fc-bench-").tempdir();
            let folder = folder.map_err(|cause| Error::failed("create", "a temporary folder", cause))?;
            Ok((folder.path().to_owned(), Removal(Mutex::new(Some(folder)))))
        })?;
        Ok(Self { path, _guard: guard })
    }

    fn option(&self, name: &str, file: &str) -> String {
        format!("{name}={}", self.path.join(file).display())
    }
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
