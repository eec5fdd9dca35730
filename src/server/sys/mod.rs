//! Readiness and signals, as thinly as the kernels allow.
//!
//! One poller front, one file per backend with the same methods in the same order: `epoll` on Linux, `poll` elsewhere.
//! `--cfg fc_hooks_poll` forces `poll` on Linux, for tests only. Every `unsafe` block of the crate is in here.

#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
mod epoll;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
mod poll;
pub(crate) mod signals;

#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
pub(crate) use epoll::Poller;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
pub(crate) use poll::Poller;

/// Closed on exec, never blocking: what other kernels do in the call that makes the descriptor.
#[cfg(target_vendor = "apple")]
pub(crate) fn prepare(socket: impl std::os::fd::AsFd) -> Result<(), rustix::io::Errno> {
    rustix::io::ioctl_fioclex(&socket)?;
    rustix::io::ioctl_fionbio(&socket, true)
}
