//! Counts the system calls of a running process by strace.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_testkit::proc;

/// How long strace may take to attach.
const ATTACH_WAIT: Duration = Duration::from_secs(60);

/// The system calls of a process, all its threads included, for each of so many calls, by name.
///
/// # Errors
/// If there is no strace, it cannot attach, or a call fails.
pub fn system_calls(pid: u32, calls: u32, mut call: impl FnMut() -> Result<()>) -> Result<Vec<(String, f64)>> {
    let folder = tempfile::tempdir().map_err(|cause| Error::failed("make", "a folder", cause))?;
    let file = folder.path().join("calls");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-p", &pid.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| Error::failed("start", "strace", cause))?;
    let traced = || proc::status(pid, "TracerPid").is_ok_and(|pid| pid != "0").then_some(());
    let attached = Deadline::after(ATTACH_WAIT).until(traced).is_some();
    let called = (0..calls).try_for_each(|_| call());
    if let Some(pid) = Pid::from_raw(strace.id().cast_signed()) {
        let _ = kill_process(pid, Signal::INT);
    }
    strace.wait().map_err(|cause| Error::failed("wait for", "strace", cause))?;
    called?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let rows = counts(&text);
    if !attached || rows.is_empty() {
        return Err(Error::new("strace could not attach to the process"));
    }
    Ok(rows.into_iter().map(|(name, count)| (name, count as f64 / f64::from(calls))).collect())
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
