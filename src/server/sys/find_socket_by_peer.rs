//! Finds the socket of a connection that a library has accepted, among the descriptors of the process.
//!
//! For the `tiny_http` engine: tiny_http has no way to close a connection, and gives no descriptor to its users.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::net::{self, SocketType, sockopt};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// A second descriptor of a connection that belongs to the library.
pub(crate) struct FoundSocket {
    pub(crate) socket: OwnedFd,
    /// Distinguishes the connection from a later one with the same client address.
    pub(crate) identity: u64,
}

#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const DESCRIPTORS: &str = "/dev/fd";

/// Fails where the descriptors cannot be listed.
pub(crate) fn check_descriptors() -> io::Result<()> {
    fs::read_dir(DESCRIPTORS).map(drop)
}

/// The open connection of the listener with the client at this address; `None` if it is closed.
///
/// One client address can have a connection to each listener of the process. Where the listener is not known, two such
/// connections are an error: a wrong one must not be touched.
///
/// Other threads open and close descriptors meanwhile. So the address is read from a duplicate, which no other thread
/// can close.
pub(crate) fn find_socket_by_peer(peer: SocketAddr, listener: Option<SocketAddr>) -> io::Result<Option<FoundSocket>> {
    let mut found: Option<FoundSocket> = None;
    for entry in fs::read_dir(DESCRIPTORS)? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| is_connected(*number)) else { continue };
        let Some(socket) = duplicate(number)? else { continue };
        let address = net::getpeername(&socket);
        if address == Err(Errno::NOTSOCK) {
            // The number is another file's by now. To close a descriptor of a file ends the process's locks on it.
            std::mem::forget(socket);
        } else if let Ok(Some(address)) = address
            && address.try_into() == Ok(peer)
            && sockopt::socket_type(&socket) == Ok(SocketType::STREAM)
            && listener.is_none_or(|listener| is_accepted_by(&socket, listener))
        {
            let file = File::from(socket);
            let identity = file.metadata()?.ino();
            // Several descriptors may be of one connection.
            if found.as_ref().is_some_and(|found| found.identity != identity) {
                return Err(io::Error::other("two connections of this process have this client address"));
            }
            found = Some(FoundSocket { socket: file.into(), identity });
        }
    }
    Ok(found)
}

/// A connection has the address of its listener; one that listens on every address leaves its port.
fn is_accepted_by(socket: &OwnedFd, listener: SocketAddr) -> bool {
    let Ok(Ok(local)) = net::getsockname(socket).map(SocketAddr::try_from) else { return false };
    let same_address = listener.ip().is_unspecified() || local.ip().to_canonical() == listener.ip().to_canonical();
    same_address && local.port() == listener.port()
}

fn is_connected(number: libc::c_int) -> bool {
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: writes at most that many bytes to the address; a number that is no socket is an error.
    unsafe { libc::getpeername(number, (&raw mut address).cast(), &raw mut bytes) == 0 }
}

/// `None` if no descriptor has that number any more.
fn duplicate(number: libc::c_int) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes numbers and changes no descriptor; one that is not open is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EBADF) { Ok(None) } else { Err(error) };
    }
    // SAFETY: fcntl has just made it, and no other code knows of it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(copy) }))
}
