//! Which share of its processor time a process spends in user space.
//!
//! The kernel knows the sum exactly and the split only by looking: at each tick of its clock, 250 times a second or so,
//! which is too seldom for a share of a tenth. `perf` looks ten thousand times a second. Where there is no `perf`, or
//! it may not look, the ticks have to do.
//!
//! The timer of `perf` interrupts, and a system call that ends has interrupts switched off until it is back in user
//! space. So a look that was due within that time finds the instruction behind the system call, and is the kernel's.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::Folder;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_testkit::proc;

/// Looks in each second of processor time. The kernel allows ten times as many.
const PER_SECOND: u32 = 10_000;

/// How long perf may take to attach.
const ATTACH_WAIT: Duration = Duration::from_secs(10);

/// It must have been seen asleep so often in a row.
const ASLEEP: u32 = 5;

/// Addresses of the kernel have this bit.
const KERNEL: u64 = 1 << 63;

/// The instruction of a system call. Elsewhere none is known, and such looks stay in user space.
const SYSTEM_CALL: &[u8] = if cfg!(target_arch = "x86_64") {
    &[0x0f, 0x05]
} else if cfg!(target_arch = "aarch64") {
    &[0x01, 0x00, 0x00, 0xd4]
} else {
    &[]
};

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// How often the process was seen in user space.
    pub user: u64,
    /// How often it was seen on a processor.
    pub all: u64,
    /// Whether perf looked. If not, these are ticks of the kernel's clock.
    pub by_perf: bool,
}

/// A process that is being looked at.
pub struct Looking {
    pid: u32,
    perf: Option<(Child, Folder)>,
    before: (u64, u64),
}

impl Looks {
    /// The share in user space. `None` if the process did not work.
    pub fn user_share(self) -> Option<f64> {
        (self.all > 0).then(|| self.user as f64 / self.all as f64)
    }
}

impl Looking {
    /// Begins.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn begin(pid: u32) -> Result<Self> {
        let perf = perf(pid).ok();
        Ok(Self { pid, perf, before: ticks(pid)? })
    }

    /// Ends.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn end(self) -> Result<Looks> {
        let (user, all) = ticks(self.pid)?;
        let by_ticks = Looks { user: user - self.before.0, all: all - self.before.1, by_perf: false };
        let memory = File::open(format!("/proc/{}/mem", self.pid)).ok();
        let is_back = |address| memory.as_ref().is_some_and(|memory| follows_system_call(memory, address));
        let by_perf = self.perf.and_then(|(perf, folder)| read(perf, &folder.file("samples"), is_back));
        Ok(by_perf.unwrap_or(by_ticks))
    }
}

/// Starts perf, and waits until it has attached.
fn perf(pid: u32) -> Result<(Child, Folder)> {
    let folder = Folder::new()?;
    let file = folder.file("samples");
    let mut perf = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", &PER_SECOND.to_string(), "-p", &pid.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| Error::failed("start", "perf", cause))?;
    // When its counters run it sleeps, and the head of its file is written.
    let mut asleep = 0;
    let attached = || match perf.try_wait() {
        Ok(None) => {
            let written = std::fs::metadata(&file).is_ok_and(|file| file.len() > 0);
            asleep = if written && proc::all_asleep(perf.id()).unwrap_or(false) { asleep + 1 } else { 0 };
            (asleep >= ASLEEP).then_some(true)
        }
        _ => Some(false),
    };
    match Deadline::after(ATTACH_WAIT).until(attached) {
        Some(true) => Ok((perf, folder)),
        _ => {
            // It may have ended already.
            let _ = perf.kill();
            let _ = perf.wait();
            Err(Error::failed("look at", format!("process {pid}"), "perf could not attach"))
        }
    }
}

fn read(mut perf: Child, file: &Path, is_back: impl Fn(u64) -> bool) -> Option<Looks> {
    kill_process(Pid::from_raw(perf.id().cast_signed())?, Signal::INT).ok()?;
    perf.wait().ok()?;
    let listed =
        Command::new("perf").args(["script", "-F", "event,ip", "-i"]).arg(file).stdin(Stdio::null()).output().ok()?;
    looks(&String::from_utf8_lossy(&listed.stdout), is_back)
}

/// From lines like `cpu-clock:  40123a`, with an address in hexadecimal digits. `is_back` tells the addresses at which
/// a look is the kernel's. `None` if there is no line, or if perf had no right to look at the kernel and left it out,
/// which the event's name tells: `cpu-clock:u`.
fn looks(listed: &str, is_back: impl Fn(u64) -> bool) -> Option<Looks> {
    let mut at: BTreeMap<u64, u64> = BTreeMap::new();
    for line in listed.lines() {
        let Some((event, address)) = line.trim().rsplit_once(char::is_whitespace) else { continue };
        if event.trim().trim_end_matches(':').ends_with(":u") {
            return None;
        }
        if let Ok(address) = u64::from_str_radix(address, 16) {
            *at.entry(address).or_default() += 1;
        }
    }
    let user = at.iter().filter(|(address, _)| **address & KERNEL == 0 && !is_back(**address));
    let seen = Looks { user: user.map(|(_, count)| count).sum(), all: at.values().sum(), by_perf: true };
    (seen.all > 0).then_some(seen)
}

/// Whether a process makes a system call just before this address.
fn follows_system_call(memory: &File, address: u64) -> bool {
    let mut before = [0; SYSTEM_CALL.len()];
    let from = address.checked_sub(before.len() as u64);
    !before.is_empty()
        && from.is_some_and(|from| memory.read_exact_at(&mut before, from).is_ok())
        && before == SYSTEM_CALL
}

/// In user space, and in all.
fn ticks(pid: u32) -> Result<(u64, u64)> {
    let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat());
    let stat = stat.map_err(|cause| Error::failed("read", format!("the processor time of process {pid}"), cause))?;
    Ok((stat.utime, stat.utime + stat.stime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Contender, Instance, Start};
    use crate::results::Kind;

    #[test]
    fn addresses_of_the_kernel_are_told_from_others() {
        let listed = "cpu-clock:  ffffffff8152d0a1\ncpu-clock:      40123a\n cpu-clock: ffffffff813a2313\n\
                      cpu-clock:      7f3e00001000\n\nnonsense\n";
        let seen = looks(listed, |_| false).unwrap();
        assert_eq!(seen, Looks { user: 2, all: 4, by_perf: true });
        assert_eq!(seen.user_share(), Some(0.5));
        assert_eq!(looks(listed, |address| address == 0x40_123a), Some(Looks { user: 1, all: 4, by_perf: true }));
        let none = ["", "cpu-clock:u:   7fe1746c7912\n"].map(|listed| looks(listed, |_| false));
        assert_eq!(none, [None, None]);
    }

    #[test]
    fn the_end_of_a_system_call_is_known_by_the_instruction_before() {
        let code = [&[0x90][..], SYSTEM_CALL, &[0x90]].concat();
        let memory = File::open("/proc/self/mem").unwrap();
        let found = (0..=code.len()).filter(|at| follows_system_call(&memory, code.as_ptr() as u64 + *at as u64));
        let behind = 1 + SYSTEM_CALL.len();
        assert_eq!(found.collect::<Vec<_>>(), if SYSTEM_CALL.is_empty() { vec![] } else { vec![behind] });
        assert!(!follows_system_call(&memory, 0) && !follows_system_call(&memory, 1));
    }

    #[test]
    fn a_process_that_computes_is_in_user_space() {
        let words = ["sh", "-c", "while :; do :; done"].map(str::to_owned).to_vec();
        let contender = Contender::of_command("it", Kind::Custom, words);
        let instance = Instance::start(&contender, &Start::default()).unwrap();
        let looking = Looking::begin(instance.pid()).unwrap();
        let worked = || (instance.cpu().unwrap() > 300_000_000).then_some(());
        assert!(Deadline::after(Duration::from_secs(60)).until(worked).is_some());
        let looks = looking.end().unwrap();
        if !looks.by_perf {
            fc_testkit::skip("user space by perf: it is not there, or may not look");
        }
        assert!(looks.user_share().unwrap() > 0.5, "{looks:?}");
    }
}
