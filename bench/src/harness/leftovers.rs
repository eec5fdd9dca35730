//! Ends and removes what killed runs have left: processes, control groups, copies of programs, temporary folders.
//!
//! The kernel kills a contender when the run dies that started it (`PR_SET_PDEATHSIG`), but not what the contender has
//! started. A watcher does that at once, and where it was killed, too, the next run. Both go by names that tell the
//! run, and touch only what belongs to a run that has ended.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cpu_limit;
use super::run_folder::{Started, of_dead_runs, started};
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::owner::Owner;
use fc_emulator::platform::PORT_NAMES;

/// How long the watcher waits for the end of a run that has closed its descriptors.
const END_WAIT: Duration = Duration::from_secs(60);

/// Ends what dead runs have left. `copies` is the folder in which runs copy programs. Returns a sentence about each
/// thing that was there.
pub fn end(copies: &Path) -> Vec<String> {
    let mut said = fc_emulator::leftovers::end_groups();
    cpu_limit::end_those_of_dead_runs();
    for (folder, owner) in of_dead_runs(&std::env::temp_dir()) {
        let ended: usize = started(&folder).iter().map(|it| end_session(*it)).sum();
        if ended > 0 {
            let es = if ended == 1 { "" } else { "es" };
            said.push(format!("ended {ended} process{es} that an earlier run (pid {}) left", owner.pid()));
        }
        said.extend(remove(&folder, owner));
    }
    for (folder, owner) in of_dead_runs(copies) {
        said.extend(remove(&folder, owner));
    }
    said
}

fn remove(folder: &Path, owner: Owner) -> Option<String> {
    let pid = owner.pid();
    // Another run may be doing the same.
    fs::remove_dir_all(folder).ok()?;
    Some(format!("removed the folder {} that an earlier run (pid {pid}) left", folder.display()))
}

/// Kills what is left of a session, and returns the number of processes.
fn end_session(session: Started) -> usize {
    let leader = Process::new(session.pid.cast_signed()).and_then(|leader| leader.stat());
    // The kernel gives the number of a session to no process while the session has members. A leader that was started
    // after the entry is another process, so the session of that run had no members then.
    if leader.is_ok_and(|leader| leader.starttime > ticks(session.at) + 1) {
        return 0;
    }
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    let is_ours = |process: &Process| is_member(process, session.pid) && has_port(process);
    all.filter(|process| is_ours(process) && kill_member(process.pid, session.pid)).count()
}

/// In clock ticks since the boot, as `/proc` has it.
fn ticks(nanos: u64) -> u64 {
    (u128::from(nanos) * u128::from(procfs::ticks_per_second()) / 1_000_000_000) as u64
}

fn is_member(process: &Process, session: u32) -> bool {
    process.stat().is_ok_and(|stat| stat.session.cast_unsigned() == session && !matches!(stat.state, 'Z' | 'X'))
}

/// Whether a process has the variables of a contender in its environment.
fn has_port(process: &Process) -> bool {
    let is_there = |variables: &std::collections::HashMap<std::ffi::OsString, _>| {
        PORT_NAMES.iter().all(|name| variables.contains_key(std::ffi::OsStr::new(name)))
    };
    process.environ().is_ok_and(|variables| is_there(&variables))
}

/// Kills a process if it is in this session. Between a look and a kill the id could pass to another process, so the
/// process is held before it is looked at.
pub(super) fn kill_member(pid: i32, session: u32) -> bool {
    let Some(held) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    Process::new(pid).is_ok_and(|process| is_member(&process, session))
        && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

/// A process that waits for the end of this one, and ends what it leaves if it is killed. Dropping it ends it.
pub struct Watcher {
    _guard: Guard,
}

struct Ending(Mutex<Child>);

impl Undo for Ending {
    fn undo(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been killed already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Watcher {
    /// Starts it: this program once more, with the hidden command `watch`.
    ///
    /// # Errors
    /// If this program cannot be started once more.
    pub fn start(copies: &Path) -> Result<Self> {
        // By this name it is found even after it was removed or replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("fc-bench").arg("watch").arg(copies).arg(Owner::this_run().name(WATCHED));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A signal to our process group must not end it with us.
        command.process_group(0);
        let ((), guard) = cleanup::make(|| {
            let _alone = fc_emulator::target::no_fork();
            let child = command.spawn().map_err(|cause| Error::failed("start", "/proc/self/exe", cause))?;
            Ok(((), Ending(Mutex::new(child))))
        })?;
        Ok(Self { _guard: guard })
    }
}

/// The beginning of the argument that names a run to its watcher.
const WATCHED: &str = "run";

/// The command `watch`: waits until standard input ends, and with it the run, and ends what it has left.
pub fn watch(copies: &Path, run: &str) {
    let mut input = std::io::stdin().lock();
    while input.read(&mut [0; 16]).is_ok_and(|bytes| bytes > 0) {}
    let run = Owner::of_name(run, WATCHED);
    // Its descriptors close a moment before it counts as dead.
    let dead = || run.is_none_or(|run| run.is_dead()).then_some(());
    if Deadline::after(END_WAIT).until(dead).is_some() {
        end(copies);
    }
}
