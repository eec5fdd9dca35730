//! Outside Linux no process adopts orphans, so there is no supervisor: the target is a child with a process group of its
//! own, and whatever leaves that group is neither frozen nor ended.

use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Exit;
use super::command::Program;
use super::port::no_fork;
use crate::error::{Error, Result};
use crate::freezer::FreezeGroup;

/// See the module for Linux. The leader stands for the supervisor.
pub(super) struct Supervisor {
    leader: u32,
    state: Mutex<(Child, Option<Exit>, bool)>,
}

/// What a new target prints.
pub(super) struct Streams {
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

impl Supervisor {
    pub(super) fn start(program: &Program, _group: &FreezeGroup) -> Result<(Self, Streams)> {
        let mut command = Command::new(&program.path);
        command.args(program.words.iter().skip(1)).env_clear();
        command.envs(program.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let alone = no_fork();
        let spawned = command.spawn();
        drop(alone);
        let mut child = spawned.map_err(|cause| Error::failed("start", &program.shown, cause))?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::failed("start", &program.shown, "it has no output"));
        };
        let streams = Streams { out: out.into(), err: err.into() };
        Ok((Self { leader: child.id(), state: Mutex::new((child, None, false)) }, streams))
    }

    pub(super) fn pid(&self) -> u32 {
        self.leader
    }

    pub(super) fn leader(&self) -> u32 {
        self.leader
    }

    /// The child is not reaped before [`Supervisor::end`], so that no other process gets its id.
    pub(super) fn try_exit(&self) -> Option<Exit> {
        let mut state = self.state();
        if state.1.is_none() && self.has_ended() {
            self.kill_group();
            state.1 = state.0.wait().ok().map(exit_of);
            state.2 = true;
        }
        state.1
    }

    pub(super) fn while_it_is_there<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!state.2).then(work)
    }

    pub(super) fn others(&self) -> Vec<u32> {
        Vec::new()
    }

    pub(super) fn end(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.2, true) {
            self.kill_group();
            // It was killed, so it ends.
            let _ = state.0.wait();
        }
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = Pid::from_raw(self.leader.cast_signed());
        pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))))
    }

    fn kill_group(&self) {
        if let Some(group) = Pid::from_raw(self.leader.cast_signed()) {
            // The group may be empty.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn state(&self) -> MutexGuard<'_, (Child, Option<Exit>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap_or_default()),
    }
}
