//! Counts the system calls of a process that runs, with strace.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Folder;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_testkit::proc;

/// How long strace may take to attach.
const ATTACH_WAIT: Duration = Duration::from_secs(60);

/// How long the process may take to wait again after that. One that never sleeps is counted as it is.
const SETTLE_WAIT: Duration = Duration::from_secs(2);

/// So often in a row both must be asleep.
const ASLEEP: u32 = 5;

/// The first line in which strace names itself.
///
/// # Errors
/// If it cannot be started.
pub fn version() -> Result<String> {
    let asked = Command::new("strace").arg("--version").stdin(Stdio::null()).output();
    let asked =
        asked.map_err(|cause| Error::new(format!("strace, which counts system calls, cannot be started: {cause}")))?;
    Ok(String::from_utf8_lossy(&asked.stdout).lines().next().unwrap_or_default().to_owned())
}

/// The system calls of a process and its threads while `calls` calls are made, by name, for one of the calls.
///
/// # Errors
/// If there is no strace, it cannot attach, or a call fails.
pub fn system_calls(pid: u32, calls: u32, mut call: impl FnMut() -> Result<()>) -> Result<Vec<(String, f64)>> {
    let folder = Folder::new()?;
    let file = folder.file("calls");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-p", &pid.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| Error::failed("start", "strace", cause))?;
    let traced = || is_traced(pid).then_some(());
    let ended = |strace: &mut std::process::Child| !matches!(strace.try_wait(), Ok(None));
    let attached =
        Deadline::after(ATTACH_WAIT).until(|| traced().map(|()| true).or(ended(&mut strace).then_some(false)));
    if attached == Some(true) {
        settle(pid, strace.id());
    }
    let called = (0..calls).try_for_each(|_| call());
    if let Some(pid) = Pid::from_raw(strace.id().cast_signed()) {
        let _ = kill_process(pid, Signal::INT);
    }
    strace.wait().map_err(|cause| Error::failed("wait for", "strace", cause))?;
    called?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let rows = counts(&text);
    if attached != Some(true) || rows.is_empty() {
        return Err(Error::new(format!("strace could not attach to process {pid}")));
    }
    Ok(rows.into_iter().map(|(name, count)| (name, count as f64 / f64::from(calls))).collect())
}

/// Whether strace has attached to every thread: it takes them one by one, and the first is rarely the one that serves.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut threads = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    threads.all(|thread| proc::status(thread, "TracerPid").is_ok_and(|tracer| tracer != "0"))
}

/// Waits until strace has let every thread go on to its next system call. A thread that has a tracer is interrupted
/// first, and what it calls before it goes on would not be counted.
fn settle(pid: u32, strace: u32) {
    let mut asleep = 0;
    let _ = Deadline::after(SETTLE_WAIT).until(|| {
        let both = [pid, strace].iter().all(|pid| proc::all_asleep(*pid).unwrap_or(true));
        asleep = if both { asleep + 1 } else { 0 };
        (asleep >= ASLEEP).then_some(())
    });
}

/// The rows of `strace -c -U name,calls`, without the total.
fn counts(text: &str) -> Vec<(String, u64)> {
    let row = |line: &str| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    };
    text.lines().filter_map(row).filter(|(name, _): &(String, u64)| name != "total").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_strace_are_read() {
        let text = "syscall              calls\n---------------- ---------\nepoll_wait             402\n\
                    recvfrom               400\n---------------- ---------\ntotal                  802\n";
        assert_eq!(counts(text), [("epoll_wait".to_owned(), 402), ("recvfrom".to_owned(), 400)]);
        assert!(counts("").is_empty());
    }
}
