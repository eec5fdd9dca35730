//! The system calls: listening, readiness, sockets, signals.
//!
//! The poller has one file for each backend, with the same methods in the same order: `epoll` on Linux, `poll`
//! elsewhere. `--cfg fc_hooks_poll` forces `poll` on Linux, for tests only. Every `unsafe` block of the crate is in
//! this folder.

pub(crate) mod environment;
#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
mod epoll;
#[cfg(feature = "tiny_http")]
pub(crate) mod find_socket_by_peer;
mod forks;
pub(crate) mod listen;
pub(crate) mod machine;
#[cfg(all(feature = "no_backtrace", target_env = "musl"))]
#[allow(unsafe_code)]
mod no_backtrace;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
mod poll;
#[cfg(feature = "adapter")]
pub(crate) mod process;
#[cfg(feature = "adapter")]
pub(crate) mod program;
pub(crate) mod signals;
pub(crate) mod stdout;
pub(crate) mod unix;

use rustix::io::Errno;
use rustix::net::sockopt;
use std::os::fd::AsFd;

#[cfg(all(target_os = "linux", not(fc_hooks_poll)))]
pub(crate) use epoll::Poller;
#[cfg(not(all(target_os = "linux", not(fc_hooks_poll))))]
pub(crate) use poll::Poller;

/// Has the kernel ask now and then whether the client is still there. Connections have no idle limit (C-CONN-1), so
/// only the kernel can tell that a client has vanished, as happens in a long freeze. It wakes no process while the
/// client answers.
pub(crate) fn set_keepalive(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_keepalive(socket, true)
}

/// Has the kernel send small writes at once. Several of them in a row would each wait for the client's delayed
/// acknowledgement otherwise.
pub(crate) fn set_nodelay(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)
}

/// `std::fs::set_permissions` would do the same in five times the bytes.
#[allow(unsafe_code)]
pub(crate) fn set_mode(path: &std::ffi::CStr, mode: u32) -> std::io::Result<()> {
    // SAFETY: the path is a C string that lives as long as the call.
    let outcome = unsafe { libc::chmod(path.as_ptr(), mode as libc::mode_t) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Bytes in a socket's send queue that the client's kernel has not acknowledged.
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

/// Closed on exec, never blocking: other kernels do both in the call that makes the descriptor.
#[cfg(target_vendor = "apple")]
pub(crate) fn set_cloexec_nonblock(socket: impl AsFd) -> Result<(), Errno> {
    rustix::io::ioctl_fioclex(&socket)?;
    rustix::io::ioctl_fionbio(&socket, true)
}

/// A socket that is closed on exec and never blocks.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn stream_socket(family: rustix::net::AddressFamily) -> Result<std::os::fd::OwnedFd, Errno> {
    use rustix::net::SocketFlags;
    rustix::net::socket_with(
        family,
        rustix::net::SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

#[cfg(target_vendor = "apple")]
pub(crate) fn stream_socket(family: rustix::net::AddressFamily) -> Result<std::os::fd::OwnedFd, Errno> {
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None)?;
    set_cloexec_nonblock(&socket)?;
    Ok(socket)
}
