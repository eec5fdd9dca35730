//! Readiness and signals, as thinly as the kernels allow.
//!
//! One poller front, one file per backend with the same methods in the same order: `epoll` on Linux, `poll` elsewhere.
//! `--cfg fc_hooks_poll` forces `poll` on Linux, for tests only. Every `unsafe` block of the crate is in here.

#[cfg(feature = "tiny_http")]
pub(crate) mod accepted;
#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
mod epoll;
pub(crate) mod listen;
pub(crate) mod machine;
#[cfg(all(feature = "no_backtrace", target_env = "musl"))]
#[allow(unsafe_code)]
mod no_backtrace;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
mod poll;
pub(crate) mod signals;
pub(crate) mod unix;

#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
pub(crate) use epoll::Poller;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
pub(crate) use poll::Poller;

/// Bytes in a socket's send queue that its peer has not acknowledged.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn unacked_bytes(socket: std::os::fd::BorrowedFd<'_>) -> Option<usize> {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and TIOCOUTQ writes one int to the address given.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if outcome == 0 { usize::try_from(bytes).ok() } else { None }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn unacked_bytes(_: std::os::fd::BorrowedFd<'_>) -> Option<usize> {
    None
}

/// Closed on exec, never blocking: what other kernels do in the call that makes the descriptor.
#[cfg(target_vendor = "apple")]
pub(crate) fn prepare(socket: impl std::os::fd::AsFd) -> Result<(), rustix::io::Errno> {
    rustix::io::ioctl_fioclex(&socket)?;
    rustix::io::ioctl_fionbio(&socket, true)
}
