//! Opening a listener.

use crate::config::Listen;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connections that the kernel completes before we accept them. 1,024: as many as there are slots by default.
const BACKLOG: i32 = 1024;

/// A listening socket, closed on exec and never blocking.
pub(crate) fn listen(address: &Listen) -> io::Result<OwnedFd> {
    let socket = match address {
        Listen::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = stream_socket(family)?;
            // A restarted instance must not wait for the last one's connections to be forgotten.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            net::bind(&socket, address)?;
            socket
        }
        Listen::Unix(path) => {
            let socket = stream_socket(AddressFamily::UNIX)?;
            bind_unix(&socket, path)?;
            socket
        }
    };
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The address with the port that the kernel chose, where it had to.
pub(crate) fn actual_address(asked: &Listen, listener: &OwnedFd) -> io::Result<Listen> {
    match asked {
        Listen::Tcp(address) if address.port() == 0 => {
            let actual = net::getsockname(listener)?;
            Ok(Listen::Tcp(SocketAddr::try_from(actual)?))
        }
        asked => Ok(asked.clone()),
    }
}

/// A socket file outlives its process. One that nobody listens on is replaced, any other file is left alone.
fn bind_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    let address = SocketAddrUnix::new(path)?;
    match net::bind(&socket, &address) {
        Err(error) if error == rustix::io::Errno::ADDRINUSE && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            Ok(net::bind(&socket, &address)?)
        }
        outcome => Ok(outcome?),
    }
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(not(target_vendor = "apple"))]
fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

#[cfg(target_vendor = "apple")]
fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = net::socket(family, SocketType::STREAM, None)?;
    super::sys::prepare(&socket)?;
    Ok(socket)
}
