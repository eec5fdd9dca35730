//! System calls that the standard library does not offer.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: takes numbers only. The caller has not waited for this child yet, so the id is still the child's.
    let outcome = unsafe { libc::kill(pid as i32, signal) };
    assert_eq!(outcome, 0, "cannot send signal {signal} to {pid}: {}", std::io::Error::last_os_error());
}

/// Ends a process that may have ended.
pub fn end(pid: u32) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
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

/// Has the kernel refuse a system call of the program with this error, as a container's security profile does.
#[cfg(target_os = "linux")]
pub fn forbid(command: &mut Command, call: libc::c_long, error: i32) {
    const fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // The number of the call stands first in what the kernel shows to the filter.
    let filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe; the kernel copies the filter.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            let outcome = match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
                0 => libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
                failed => failed,
            };
            if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
}
