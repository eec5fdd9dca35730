//! System calls that the standard library does not offer.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: takes numbers only. The caller has not waited for this child yet, so the id is still the child's.
    let outcome = unsafe { libc::kill(pid as i32, signal) };
    assert_eq!(outcome, 0, "cannot send signal {signal} to {pid}: {}", std::io::Error::last_os_error());
}

/// Limits the descriptors of the program to this number.
pub fn limit_descriptors(command: &mut Command, count: u64) {
    let limit = libc::rlimit { rlim_cur: count as libc::rlim_t, rlim_max: count as libc::rlim_t };
    // SAFETY: between fork and exec only setrlimit is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}
