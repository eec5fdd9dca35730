//! Opening a listener, and leaving no socket file behind.

use crate::config::Listen;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Connections that the kernel completes before the server accepts them. 1,024: as many as the table holds by default.
const BACKLOG: i32 = 1024;

/// A listening socket, closed on exec and never blocking. The file of a Unix socket is removed with it.
pub(crate) struct Listener {
    socket: OwnedFd,
    file: Option<SocketFile>,
}

/// The socket file that this listener made. Its path may be another server's file by the time it is removed.
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// `mode`: the permissions of a Unix socket's file.
    pub(crate) fn open(address: &Listen, mode: Option<u32>) -> io::Result<Listener> {
        let listener = match address {
            Listen::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = super::stream_socket(family)?;
                // A restarted instance must not wait until the kernel has forgotten the last one's connections.
                sockopt::set_socket_reuseaddr(&socket, true)?;
                net::bind(&socket, address)?;
                Listener { socket, file: None }
            }
            Listen::Unix(path) => {
                let socket = super::stream_socket(AddressFamily::UNIX)?;
                let address = SocketAddrUnix::new(path)?;
                bind_unix(&socket, path, &address)?;
                let file = SocketFile { path: path.clone(), identity: identity(path) };
                let listener = Listener { socket, file: Some(file) };
                if let (Some(mode), Some(path)) = (mode, address.path()) {
                    // Nobody can connect before the socket listens, so nobody slips in by the first permissions.
                    super::set_mode(&path, mode)?;
                }
                listener
            }
        };
        net::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The address that was asked for; with port 0, with the port that the kernel has chosen.
    pub(crate) fn address(&self, asked: &Listen) -> io::Result<Listen> {
        match asked {
            Listen::Tcp(address) if address.port() == 0 => {
                let actual = net::getsockname(&self.socket)?;
                Ok(Listen::Tcp(SocketAddr::try_from(actual)?))
            }
            asked => Ok(asked.clone()),
        }
    }
}

impl Drop for Listener {
    /// Unlinks before the socket is closed. Otherwise a new server could rebind the path first, and this one would
    /// delete the new server's file.
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && file.identity.is_some()
            && identity(&file.path) == file.identity
        {
            // If it cannot be removed, the next server finds it abandoned.
            let _ = std::fs::remove_file(&file.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A socket file outlives its process. One without a listener is replaced; every other file is left alone.
fn bind_unix(socket: &OwnedFd, path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    match net::bind(socket, address) {
        Err(Errno::ADDRINUSE) if is_abandoned(path, address)? => {
            std::fs::remove_file(path)?;
            Ok(net::bind(socket, address)?)
        }
        outcome => Ok(outcome?),
    }
}

/// A listener with a full backlog refuses as well, but with another error. The socket does not block on it.
fn is_abandoned(path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    Ok(is_socket && net::connect(super::stream_socket(AddressFamily::UNIX)?, address) == Err(Errno::CONNREFUSED))
}
