//! Sockets that never wait, for clients with many of them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use fc_emulator::error::{Error, Result};

/// Starts to connect. A connection in progress is no error. The inner error is an immediate refusal by the server.
///
/// # Errors
/// If we lack a descriptor, a port or memory.
pub fn connect_soon(address: SocketAddr) -> Result<std::result::Result<OwnedFd, Errno>> {
    let ours = |cause: Errno| Error::failed("connect to", address, cause);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(ours)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Ok(socket)),
        Err(cause @ (Errno::CONNREFUSED | Errno::CONNRESET | Errno::TIMEDOUT)) => Ok(Err(cause)),
        Err(cause) => Err(ours(cause)),
    }
}

/// Makes the following close send a reset. If that fails, the close is orderly, and the port stays in TIME_WAIT.
pub fn reset(socket: &OwnedFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
